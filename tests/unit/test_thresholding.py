import json

import numpy as np
import pytest
from drawn import a_movie, disks
from scipy import ndimage

from cytolapse.movies import StackReader
from cytolapse.tables import read_table
from cytolapse.thresholding import threshold_movie, usual_region_px
from planning.checks import read_schema, with_defaults

DEFAULTS = with_defaults(read_schema("config"), {})["threshold"]
FAR_APART = disks((120, 160), (30, 30, 12), (30, 110, 12), (85, 60, 12))


def picture(labels, level_au=1000.0, ground_au=200.0, seed=0):
    """Disks over a noisy ground; `level_au` of all, or of each."""
    rng = np.random.default_rng(seed)
    levels = np.append(0.0, np.broadcast_to(level_au, labels.max()))
    return (ground_au + levels[labels] + rng.normal(0, 20, labels.shape)).clip(0).astype(np.uint16)


def thresholded(folder, *pictures, **settings):
    """Labels of a movie of these pictures."""
    movie_json = a_movie(folder, np.stack(pictures))
    paths = folder / "labels.tif", folder / "confidence.parquet"
    of_sheet = {"pixel_size_um": None, "frame_interval_min": None, "provenance": {"code": "abc"}}
    threshold_movie(movie_json, *paths, **{**DEFAULTS, **of_sheet, **settings})
    with StackReader(paths[0]) as stack:
        return [stack.read(frame).astype(int) for frame in range(stack.shape[0])]


def overlap(found, true):
    """Intersection over union of the foregrounds."""
    return np.count_nonzero((found > 0) & (true > 0)) / np.count_nonzero((found > 0) | (true > 0))


@pytest.mark.parametrize("grey_values", ["auto", "log", "linear"])
def test_bright_cells_are_found_with_their_outlines(tmp_path, grey_values):
    (found,) = thresholded(tmp_path, picture(FAR_APART), grey_values=grey_values)

    assert found.max() == 3
    assert overlap(found, FAR_APART) > 0.85
    confidence = read_table("confidence", tmp_path / "confidence.parquet")
    assert confidence["label"].tolist() == [1, 2, 3]
    assert confidence["mask_confidence"].isna().all()


def test_dark_cells_are_found_where_they_are_said_to_be_dark(tmp_path):
    dark = picture(FAR_APART, level_au=-1000, ground_au=2000)

    (found,) = thresholded(tmp_path, dark, cells="dark")

    assert found.max() == 3
    assert overlap(found, FAR_APART) > 0.9


def test_a_cell_much_dimmer_than_others_is_found_on_a_scale_of_logarithms(tmp_path):
    dim = picture(FAR_APART, level_au=[3000, 3000, 600])

    assert thresholded(tmp_path, dim, grey_values="linear")[0].max() == 2
    assert thresholded(tmp_path, dim)[0].max() == 3


def test_one_threshold_holds_for_the_movie_so_that_an_empty_frame_stays_empty(tmp_path):
    full, empty = thresholded(tmp_path, picture(FAR_APART), picture(np.zeros_like(FAR_APART), level_au=[], seed=1))

    assert (full.max(), empty.max()) == (3, 0)


def test_dim_and_bright_cells_are_drawn_as_wide_unless_the_common_threshold_is_asked_for(tmp_path):
    levels_au = [3000, 3000, 800]
    image = 200 + ndimage.gaussian_filter(np.append(0.0, levels_au)[FAR_APART], 2.0)
    own, common = (thresholded(tmp_path, image.astype(np.uint16), outline=outline)[0] for outline in ("own", "common"))

    assert np.bincount(own.ravel())[1:].std() < 0.05 * np.bincount(own.ravel())[1:].mean()
    assert np.bincount(common.ravel())[1] > 1.2 * np.bincount(common.ravel())[3]


def test_an_outline_of_another_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="outline is 'half'; wanted one of own, common"):
        thresholded(tmp_path, picture(FAR_APART), outline="half")


def test_cells_hidden_in_noise_are_found_in_frames_that_are_smoothed_more(tmp_path, caplog):
    rng = np.random.default_rng(0)
    many = disks((240, 320), *((y, x, 16) for y in range(30, 240, 60) for x in range(30, 320, 60)))
    hidden = (1000 + 100 * (many > 0) + rng.normal(0, 70, many.shape)).astype(np.uint16)

    (found,) = thresholded(tmp_path, hidden)

    assert found.max() == many.max()
    assert overlap(found, many) > 0.8
    assert "frames are smoothed by 2 px, not 1" in caplog.text
    with StackReader(tmp_path / "labels.tif") as stack:
        assert stack.description["label"]["found"]["smoothing_px"] == 2


def test_cells_that_touch_are_parted_at_their_neck_and_not_where_that_is_not_wanted(tmp_path):
    touching = picture(disks((100, 120), (50, 40, 18), (50, 72, 18)))

    assert thresholded(tmp_path, touching)[0].max() == 2
    assert thresholded(tmp_path, touching, split_neck=0)[0].max() == 1


def test_light_that_falls_off_to_one_side_is_taken_off_by_a_square_larger_than_a_cell(tmp_path):
    slope_au = np.linspace(0, 2000, 160)[None].astype(np.uint16)
    uneven = picture(FAR_APART) + slope_au

    assert overlap(thresholded(tmp_path, uneven, grey_values="linear")[0], FAR_APART) < 0.3
    level = thresholded(tmp_path, uneven, grey_values="linear", background_px=41)[0]
    assert level.max() == 3
    assert overlap(level, FAR_APART) > 0.8


def test_a_greater_factor_finds_less(tmp_path):
    area_px = [
        np.count_nonzero(thresholded(tmp_path, picture(FAR_APART), smoothing_px=4, factor=factor)[0])
        for factor in (0.7, 1.0, 1.5)
    ]

    assert area_px[0] > area_px[1] > area_px[2] > 0


def test_specks_of_less_than_a_tenth_of_a_usual_cell_go_and_stay_where_fewer_pixels_are_named(tmp_path):
    specked = disks((120, 160), (30, 30, 12), (30, 110, 12), (85, 60, 12), (100, 130, 2))

    assert thresholded(tmp_path, picture(specked))[0].max() == 3
    assert thresholded(tmp_path, picture(specked), min_area_px=5)[0].max() == 4


def test_a_hole_is_filled_or_not(tmp_path):
    ring = disks((80, 80), (40, 40, 20))
    ring[disks((80, 80), (40, 40, 6)) > 0] = 0

    assert thresholded(tmp_path, picture(ring))[0][40, 40] == 1
    assert thresholded(tmp_path, picture(ring), fill_holes=False)[0][40, 40] == 0


def test_what_was_found_is_kept_beside_the_record_of_the_stage(tmp_path):
    thresholded(tmp_path, picture(FAR_APART), grey_values="linear")

    with StackReader(tmp_path / "labels.tif") as stack:
        record = stack.description["label"]
    assert record["code"] == "abc"
    assert record["found"]["background"] == pytest.approx(200, abs=10)
    assert 400 < record["found"]["threshold"] < 1000
    assert record["found"]["min_area_px"] == pytest.approx(0.1 * np.pi * 12**2, rel=0.1)


def test_a_movie_of_one_grey_value_has_no_cell(tmp_path):
    assert thresholded(tmp_path, np.full((40, 50), 7, np.uint16))[0].max() == 0


def test_a_frame_that_was_not_acquired_has_no_cell(tmp_path):
    movie_json = a_movie(tmp_path, np.stack([picture(FAR_APART)] * 2), acquired=[True, False])
    of_sheet = {"pixel_size_um": None, "frame_interval_min": None, "provenance": {}}
    threshold_movie(movie_json, tmp_path / "labels.tif", tmp_path / "confidence.parquet", **DEFAULTS, **of_sheet)

    assert set(read_table("confidence", tmp_path / "confidence.parquet")["frame"]) == {0}


def test_a_refused_movie_gives_one_empty_page_and_no_rows(tmp_path):
    (tmp_path / "movie.json").write_text(json.dumps({"status": "refused", "reason": "cut off"}))
    of_sheet = {"pixel_size_um": None, "frame_interval_min": None, "provenance": {}}
    paths = [tmp_path / name for name in ("movie.json", "labels.tif", "confidence.parquet")]

    threshold_movie(*paths, **DEFAULTS, **of_sheet)

    with StackReader(paths[1]) as stack:
        assert stack.shape == (1, 1, 1)
    assert read_table("confidence", paths[2]).empty


def test_a_usual_cell_is_that_of_the_frames_before_cells_grow_into_each_other_and_no_speck():
    single = disks((60, 60), (20, 20, 8)) > 0
    specked = single | (disks((60, 60), (50, 50, 1)) > 0)
    merged = disks((60, 60), (30, 30, 25)) > 0

    assert usual_region_px([specked, single, merged, merged]) == pytest.approx(np.count_nonzero(single), abs=1)
    assert usual_region_px([np.zeros((5, 5), bool)]) == 1
