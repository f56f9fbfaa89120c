import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from cytolapse.features import (
    StageDrift,
    focus_score,
    is_blank,
    measure_intensities,
    measure_movie,
    measure_shapes,
    out_of_focus,
    volume_um3,
    width_px,
)
from cytolapse.illumination import background_of_frame, surroundings
from cytolapse.inspection import inspect_movie
from cytolapse.movies import write_stack
from cytolapse.tables import empty_table, read_metadata, read_table, write_table

DATA = Path(os.environ.get("CYTOLAPSE_DATA", "../shared/data"))


def rod(length_px, width, angle_rad, bend_rad=0.0, middle=(0.3, 0.6)):
    """A drawn rod with round tips; its midline is an arc of `bend_rad`, the angle counts from the y axis."""
    straight = length_px - width
    along = np.linspace(-straight / 2, straight / 2, 81)
    if bend_rad:
        radius = straight / bend_rad
        y, x = radius * np.sin(along / radius), radius * (1 - np.cos(along / radius))
    else:
        y, x = along, np.zeros_like(along)
    cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
    side = int(length_px + 2 * width)
    y, x = cosine * y - sine * x + side / 2 + middle[0], sine * y + cosine * x + side / 2 + middle[1]
    grid_y, grid_x = np.indices((side, side))
    squared = np.full((side, side), np.inf)
    for a_y, a_x, b_y, b_x in zip(y[:-1], x[:-1], y[1:], x[1:], strict=True):
        d_y, d_x = b_y - a_y, b_x - a_x
        part = np.clip(((grid_y - a_y) * d_y + (grid_x - a_x) * d_x) / (d_y**2 + d_x**2), 0, 1)
        squared = np.minimum(squared, (grid_y - a_y - part * d_y) ** 2 + (grid_x - a_x - part * d_x) ** 2)
    return (squared <= width**2 / 4).astype(np.uint16)


def ellipse(long_px, short_px, angle_rad):
    """A drawn ellipse of two half-axes."""
    y, x = np.indices((2 * int(long_px) + 9, 2 * int(long_px) + 9)) - long_px - 4.3
    along = y * math.cos(angle_rad) + x * math.sin(angle_rad)
    across = x * math.cos(angle_rad) - y * math.sin(angle_rad)
    return ((along / long_px) ** 2 + (across / short_px) ** 2 <= 1).astype(np.uint16)


def shape_of(labels):
    (row,) = measure_shapes(labels).to_dict("records")
    return row


@pytest.mark.parametrize("length_px", [16, 24, 40, 60])
def test_the_length_of_a_rod_at_any_angle_is_right_to_three_per_cent(length_px):
    angles = np.linspace(-1.5, 1.5, 13)
    found = [shape_of(rod(length_px, 8, angle, middle=(angle % 1, 0.4)))["length_px"] for angle in angles]

    assert found == pytest.approx([length_px] * len(angles), rel=0.03)
    assert np.mean(found) == pytest.approx(length_px, rel=0.01)


def test_the_length_of_the_shortest_rod_is_right_to_half_a_pixel():
    found = [shape_of(rod(12, 8, angle, middle=(angle, 0.1)))["length_px"] for angle in np.linspace(0, 1.5, 13)]

    assert found == pytest.approx([12] * 13, abs=0.5)
    assert np.mean(found) == pytest.approx(12, rel=0.02)


@pytest.mark.parametrize("bend_rad", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("length_px", [40, 60, 120])
def test_the_length_of_a_bent_rod_is_that_along_its_arc(length_px, bend_rad):
    found = [shape_of(rod(length_px, 8, angle, bend_rad))["length_px"] for angle in (0, 0.4, 0.8, 1.9)]

    assert found == pytest.approx([length_px] * 4, rel=0.025)


@pytest.mark.parametrize("half_axes", [(10, 10), (20, 20), (20, 15), (20, 10)])
def test_the_length_of_an_ellipse_is_its_long_axis(half_axes):
    row = shape_of(ellipse(*half_axes, 0.5))

    assert row["length_px"] == pytest.approx(2 * half_axes[0], rel=0.025)
    assert row["major_axis_px"] == pytest.approx(2 * half_axes[0], rel=0.02)
    assert row["minor_axis_px"] == pytest.approx(2 * half_axes[1], rel=0.02)


def test_a_rod_about_to_divide_is_as_long_as_its_halves():
    labels = np.zeros((30, 70), np.uint16)
    for start in (5, 30):
        half = rod(25, 9, math.pi / 2, middle=(0, 0))
        y, x = np.nonzero(half)
        labels[y - y.min() + 10, x - x.min() + start] = 1

    assert shape_of(labels)["length_px"] == pytest.approx(50, rel=0.03)


def test_width_is_that_of_the_rod_drawn_and_of_a_disk_its_diameter():
    assert shape_of(rod(40, 8, 0.7, 1.0))["width_px"] == pytest.approx(8, rel=0.03)
    assert width_px(np.array([math.pi * 25]), np.array([10.0])) == pytest.approx([10])
    assert width_px(np.array([8 * 32 + math.pi * 16]), np.array([40.0])) == pytest.approx([8])


def test_an_area_too_large_for_the_length_gives_the_circle_of_that_area():
    assert width_px(np.array([400.0]), np.array([10.0])) == pytest.approx([math.sqrt(1600 / math.pi)])


@pytest.mark.parametrize("angle_rad", [-1.2, -0.5, 0.3, math.pi / 4, 1.4])
def test_orientation_is_the_angle_from_the_y_axis_to_the_rod(angle_rad):
    assert shape_of(rod(40, 8, angle_rad))["orientation_rad"] == pytest.approx(angle_rad, abs=0.02)


def test_a_rod_from_the_top_left_to_the_bottom_right_has_a_positive_orientation():
    labels = np.eye(20, dtype=np.uint16) | np.eye(20, k=1, dtype=np.uint16)

    assert shape_of(labels)["orientation_rad"] == pytest.approx(math.pi / 4, abs=0.05)


def test_shapes_agree_with_those_of_skimage_on_a_field_of_cells():
    from skimage.measure import regionprops_table

    labels = np.zeros((150, 200), np.uint16)
    for number, angle in enumerate(np.linspace(-1.5, 1.5, 8)):
        cell = rod(30, 9, angle, bend_rad=number / 8)
        y, x = np.nonzero(cell)
        row, column = divmod(number, 4)
        labels[y + 70 * row, x + 49 * column] = number + 1

    found = measure_shapes(labels)
    names = ["label", "area", "centroid", "perimeter_crofton", "orientation", "eccentricity"]
    known = regionprops_table(labels, properties=[*names, "axis_major_length"])

    assert found["label"].tolist() == known["label"].tolist()
    assert found["area_px"].tolist() == known["area"].tolist()
    np.testing.assert_allclose(found["y_px"], known["centroid-0"])
    np.testing.assert_allclose(found["x_px"], known["centroid-1"])
    np.testing.assert_allclose(found["perimeter_px"], known["perimeter_crofton"])
    np.testing.assert_allclose(found["orientation_rad"], known["orientation"], atol=1e-9)
    np.testing.assert_allclose(found["major_axis_px"], known["axis_major_length"], rtol=0.01)
    np.testing.assert_allclose(found["eccentricity"], known["eccentricity"], atol=0.01)


def test_the_perimeter_of_a_disk_is_that_of_the_circle():
    assert shape_of(ellipse(30, 30, 0))["perimeter_px"] == pytest.approx(2 * math.pi * 30, rel=0.02)


def test_solidity_counts_the_pixels_that_the_hull_holds():
    labels = np.zeros((20, 20), np.uint16)
    labels[2:12, 2:12] = 1
    labels[7:12, 7:12] = 0  # an L: the hull takes back the triangle of 4 + 3 + 2 + 1 centres and its border

    assert shape_of(labels)["solidity"] == pytest.approx(75 / (75 + 10))


@pytest.mark.parametrize("labels", [np.ones((1, 1)), np.ones((1, 7)), np.ones((9, 1)), np.ones((5, 6)), np.eye(4)])
def test_what_is_convex_has_solidity_one_down_to_a_single_pixel(labels):
    row = shape_of(np.pad(labels.astype(np.uint16), 2))

    assert row["solidity"] == 1
    assert np.isfinite(row["length_px"])
    assert row["width_px"] > 0


def test_cells_that_touch_do_not_change_each_others_shape():
    alone, both = np.zeros((40, 60), np.uint16), np.zeros((40, 60), np.uint16)
    alone[10:30, 10:30] = both[10:30, 10:30] = 4
    both[10:30, 30:50] = 9

    found = measure_shapes(both)

    assert found["label"].tolist() == [4, 9]
    assert found.iloc[0].to_dict() == measure_shapes(alone).iloc[0].to_dict()


def test_a_cell_is_flagged_only_where_it_touches_the_edge_of_the_frame():
    labels = np.zeros((30, 30), np.uint16)
    labels[0:5, 5:10], labels[10:15, 25:30], labels[1:5, 15:20] = 1, 2, 3

    assert measure_shapes(labels)["flag_border"].tolist() == [True, True, False]


def test_volumes_are_those_of_the_bodies():
    sphere = {key: np.array([2.0]) for key in ("length_um", "width_um", "major_axis_um", "minor_axis_um")}
    capsule = {"length_um": np.array([5.0]), "width_um": np.array([2.0])}

    assert volume_um3(sphere, "rod") == pytest.approx([4 / 3 * math.pi])
    assert volume_um3(sphere, "ellipsoid") == pytest.approx([4 / 3 * math.pi])
    assert volume_um3(capsule, "rod") == pytest.approx([math.pi * 3 + 4 / 3 * math.pi])
    assert np.isnan(volume_um3(capsule, "none")).all()


def test_an_unknown_volume_model_is_refused():
    with pytest.raises(ValueError, match="no volume model is called 'cube'; the models are none, rod, ellipsoid"):
        volume_um3({"length_um": np.ones(1)}, "cube")


LIGHT = {"background": "local", "ring_min_px": 30, "saturation_au": 1000.0}
RINGS = {"ring_gap_px": 2, "ring_px": 5}


def test_light_of_a_cell_is_measured_over_its_mask_and_null_for_a_plane_not_taken():
    labels = np.zeros((60, 60), np.uint16)
    labels[20:30, 20:30] = 1
    plane = np.full((60, 60), 50, np.uint16)
    plane[20:30, 20:30] = 200
    plane[20, 20:25] = 1000

    (row,) = measure_intensities(plane, labels, surroundings(labels, **RINGS), **LIGHT).to_dict("records")
    (none,) = measure_intensities(None, labels, surroundings(labels, **RINGS), **LIGHT).to_dict("records")

    assert row["pixels"] == 100
    assert row["mean_raw_au"] == pytest.approx(240)
    assert row["median_raw_au"] == 200
    assert row["sd_au"] == pytest.approx(800 * math.sqrt(0.05 * 0.95))
    assert (row["background_au"], row["background_method"]) == (50, "local")
    assert row["saturated_fraction"] == pytest.approx(0.05)
    assert none["label"] == 1
    assert all(value is None or value != value or str(value) == "<NA>" for key, value in none.items() if key != "label")


def test_background_of_the_frame_is_used_where_it_is_asked_for():
    labels = np.zeros((60, 60), np.uint16)
    labels[20:30, 20:30] = 1
    plane = np.full((60, 60), 50, np.uint16)

    rows = measure_intensities(
        plane, labels, surroundings(labels, **RINGS), background="frame", ring_min_px=30, saturation_au=None
    )

    assert rows["background_method"].tolist() == ["frame"]
    assert rows["saturated_fraction"].isna().all()


def test_where_nothing_is_background_the_background_is_null_and_has_no_method():
    labels = np.ones((20, 20), np.uint16)

    rows = measure_intensities(np.ones((20, 20), np.uint16), labels, surroundings(labels, **RINGS), **LIGHT)

    assert rows["background_au"].isna().all()
    assert rows["background_method"].isna().all()
    assert rows["mean_raw_au"].tolist() == [1]


def test_an_unknown_background_is_refused():
    labels = np.zeros((20, 20), np.uint16)
    with pytest.raises(ValueError, match="no background is called 'sky'; there are local, frame"):
        measure_intensities(
            labels, labels, surroundings(labels, **RINGS), background="sky", ring_min_px=1, saturation_au=None
        )


def field(seed=0, shift=(0.0, 0.0), blur_px=0.0, shape=(256, 256), cells=12, noise_au=3.0):
    """A picture of disks over noise; the places come from the seed."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    image = np.zeros(shape)
    for cy, cx in rng.uniform(30, 226, (cells, 2)):
        image += 300 / (1 + np.exp(np.hypot(y - cy - shift[0], x - cx - shift[1]) - 9))
    if blur_px:
        image = ndimage.gaussian_filter(image, blur_px)
    noise = np.random.default_rng(seed + 1000 + int(10 * shift[0])).normal(100, noise_au, shape)
    return (image + noise).round().clip(0, 65535).astype(np.uint16)


@pytest.mark.parametrize("plane", [
    np.zeros((64, 64), np.uint16),
    np.full((64, 64), 7, np.uint8),
    field(cells=0),
    np.random.default_rng(0).poisson(0.05, (256, 256)).astype(np.uint8),
    np.random.default_rng(0).normal(0, 1, (128, 128)).astype(np.float32),
    np.ones((1, 1), np.uint8),
], ids=["zeros", "constant", "noise", "few counts", "float noise", "one pixel"])  # fmt: skip
def test_a_plane_of_nothing_but_noise_is_blank(plane):
    assert is_blank(plane)


def test_hot_pixels_and_uneven_light_do_not_make_a_picture():
    plane = field(cells=0)
    plane[np.random.default_rng(1).random(plane.shape) < 0.001] = 60000
    slope = np.linspace(0, 40, 256).astype(np.uint16)

    assert is_blank(plane)
    assert is_blank(field(cells=0) + slope)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_single_dim_cell_is_a_picture(dtype):
    plane = field(cells=0)
    plane[100:115, 100:115] += 12

    assert not is_blank(plane.astype(dtype))


def outside(plane):
    return background_of_frame(plane, surroundings(np.zeros(plane.shape, np.uint16), **RINGS))


def test_a_blurred_picture_has_a_lower_focus_score_also_when_it_is_as_noisy_as_the_sharp_one():
    scores = [focus_score(plane, outside(plane)) for plane in (field(blur_px=blur) for blur in (0, 2, 4, 6))]

    assert scores == sorted(scores, reverse=True)
    assert scores[1] < scores[0] / 2


def test_the_focus_score_hardly_depends_on_how_bright_and_how_many_the_cells_are():
    few, many = field(cells=5), field(cells=20)
    bright = (field(cells=5, noise_au=0).astype(int) * 4 - 300).astype(np.uint16)

    assert focus_score(many, outside(many)) == pytest.approx(focus_score(few, outside(few)), rel=0.25)
    assert focus_score(bright, outside(bright)) == pytest.approx(focus_score(few, outside(few)), rel=0.25)


def test_where_there_is_nothing_to_be_sharp_there_is_no_focus_score():
    plane = field(cells=0)

    assert math.isnan(focus_score(plane, outside(plane)._replace(sd_au=10)))


def test_a_frame_far_less_sharp_than_its_neighbours_is_flagged_and_a_slow_change_is_not():
    score = np.linspace(10, 5, 30)
    score[[12, 13]] = 1.0
    score[20] = np.nan

    flagged = out_of_focus(score, focus_window_frames=9, focus_drop=0.5)

    assert np.flatnonzero(flagged).tolist() == [12, 13]


def test_of_fewer_than_three_frames_none_is_flagged():
    assert not out_of_focus(np.array([10.0, 0.1]), focus_window_frames=9, focus_drop=0.5).any()


def test_a_jump_of_the_stage_is_found_to_half_a_pixel_and_stays():
    drift = StageDrift(0.4)

    found = [drift.follow(field(shift=shift)) for shift in [(0, 0), (0, 0), (7.3, -4.2), (7.3, -4.2)]]

    assert found[:2] == [(0, 0), (0, 0)]
    assert found[2] == pytest.approx((7.3, -4.2), abs=0.5)
    assert found[3] == pytest.approx(found[2], abs=0.1)


def test_a_slow_drift_adds_up():
    drift = StageDrift(0.4)

    for frame in range(41):
        found = drift.follow(field(shift=(0.5 * frame, 0)))

    assert found == pytest.approx((20, 0), abs=3)


def test_cells_that_move_each_its_own_way_do_not_move_the_stage():
    rng = np.random.default_rng(0)
    places = rng.uniform(40, 216, (25, 2))
    y, x = np.indices((256, 256))
    drift = StageDrift(0.4)

    for _ in range(15):
        image = sum(300 / (1 + np.exp(np.hypot(y - cy, x - cx) - 9)) for cy, cx in places)
        found = drift.follow((image + rng.normal(100, 3, image.shape)).astype(np.uint16))
        places += rng.normal(0, 1.5, places.shape)

    assert found == (0, 0)


@pytest.mark.skipif(not (DATA / "Fluo-N2DH-GOWT1").exists(), reason="needs the data in CYTOLAPSE_DATA")
@pytest.mark.parametrize("movie", ["Fluo-N2DH-GOWT1", "Fluo-N2DL-HeLa"])
def test_on_real_movies_of_a_stage_that_stands_still_the_drift_is_nought(movie):
    import tifffile

    drift = StageDrift(0.4)
    for path in sorted((DATA / movie / "01").glob("t*.tif"))[:16]:
        found = drift.follow(tifffile.imread(path))

    assert np.abs(found).max() < 2


KNOBS = {
    "pixel_size_um": None,
    "object": "cell",
    "volume_model": "rod",
    "background": "local",
    **RINGS,
    "ring_min_px": 30,
    "max_saturated_fraction": 0.001,
    "focus_window_frames": 5,
    "focus_drop": 0.5,
    "drift_gain": 0.4,
    "provenance": {"code": "abc"},
}
FRAMES = 7


@pytest.fixture
def stage(tmp_path):
    """A movie of two cells and two channels.

    Phase: frame 3 is blank, frame 5 out of focus; the stage jumps by (6, -4) at
    frame 2. Reporter: taken on every second frame; saturated on frame 4.
    """
    labels = np.zeros((FRAMES, 128, 160), np.uint16)
    phase, reporter = [], []
    rng = np.random.default_rng(0)
    for frame in range(FRAMES):
        dy, dx = (6, -4) if frame >= 2 else (0, 0)
        labels[frame, 30 + dy : 60 + dy, 40 + dx : 50 + dx] = 1
        labels[frame, 70 + dy : 90 + dy, 90 + dx : 110 + dx] = 2
        if frame == 3:
            labels[frame] = 0
        image = np.where(labels[frame] > 0, 800.0, 0.0)
        image = ndimage.gaussian_filter(image, 5 if frame == 5 else 0.7)
        phase.append((image + rng.normal(100, 3, image.shape)).astype(np.uint16))
        light = np.where(labels[frame] == 1, 500, 0) + rng.normal(200, 5, image.shape)
        light[labels[frame] == 2] = 65535 if frame == 4 else 200
        reporter.append(light.astype(np.uint16) if frame % 2 == 0 else np.zeros_like(labels[frame]))
    pages = [page for pair in zip(phase, reporter, strict=True) for page in pair]
    shared = {"pixel_size_um": 0.5, "frame_interval_min": 5, "description": None, "dtype": np.uint16}
    write_stack(tmp_path / "movie.tif", pages, shape=(FRAMES, 2, 128, 160), axes="TCYX", **shared)
    write_stack(tmp_path / "labels.tif", labels, shape=labels.shape, axes="TYX", **shared)
    info = inspect_movie(
        str(tmp_path / "movie.tif"),
        position=None,
        axes=None,
        channels=["phase", "gfp"],
        segment_channel="phase",
        stated=[],
        on_bad_movie="stop",
    )
    (tmp_path / "movie.json").write_text(json.dumps(info))
    confidence = empty_table("confidence").reindex(range(2 * FRAMES))
    confidence["frame"] = np.repeat(np.arange(FRAMES), 2)
    confidence["label"] = np.tile([1, 2], FRAMES)
    confidence["mask_confidence"] = confidence["label"] / 4
    confidence = confidence[confidence["frame"] != 3]
    records = {"provenance": json.dumps({"label": {"code": "xyz"}})}
    write_table("confidence", confidence, tmp_path / "confidence.parquet", metadata=records)
    return tmp_path


def measured(stage, **changes):
    names = ["movie.json", "labels.tif", "confidence.parquet"]
    tables = ["objects", "intensities", "planes"]
    paths = [stage / name for name in names] + [stage / f"{name}.parquet" for name in tables]
    measure_movie(*paths, **{**KNOBS, **changes})
    return [read_table(name, stage / f"{name}.parquet") for name in tables]


def test_pixels_become_micrometres(stage):
    objects, _, _ = measured(stage)

    first = objects.iloc[0]
    assert len(objects) == 2 * (FRAMES - 1)
    assert (first["y_px"], first["x_px"]) == (44.5, 44.5)
    assert (first["y_um"], first["x_um"]) == (22.25, 22.25)
    assert first["area_um2"] == 300 * 0.25
    assert first["major_axis_um"] == pytest.approx(30 * 2 / math.sqrt(3) * 0.5, rel=0.01)
    assert first["volume_model"] == "rod"
    assert first["volume_um3"] > 0
    assert first["mask_confidence"] == 0.25
    assert first["intensity_au"] == pytest.approx(870, rel=0.05)
    twice = measured(stage, pixel_size_um=1.0)[0]
    np.testing.assert_allclose(twice["length_um"], 2 * objects["length_um"])


def test_the_jump_of_the_stage_is_taken_off_the_aligned_positions(stage):
    objects, _, planes = measured(stage)

    phase = planes[planes["channel"] == "phase"].set_index("frame")
    assert (phase.loc[0, "drift_y_px"], phase.loc[0, "drift_x_px"]) == (0, 0)
    assert phase.loc[2:, "drift_y_px"].to_numpy() == pytest.approx(6, abs=0.3)
    assert phase.loc[2:, "drift_x_px"].to_numpy() == pytest.approx(-4, abs=0.3)
    assert planes.loc[planes["channel"] == "gfp", "drift_y_px"].isna().all()
    one = objects[objects["label"] == 1]
    assert one["y_aligned_um"].to_numpy() == pytest.approx(22.25, abs=0.2)
    assert one["y_um"].iloc[-1] == pytest.approx(25.25)


def test_a_plane_that_was_not_taken_is_null_and_no_zero(stage):
    _, intensities, planes = measured(stage)

    gfp = intensities[intensities["channel"] == "gfp"]
    missing = gfp[gfp["frame"] % 2 == 1]
    assert len(missing)
    assert missing.drop(columns=["frame", "label", "channel", "compartment"]).isna().all(axis=None)
    taken = gfp[(gfp["frame"] == 0) & (gfp["label"] == 1)].iloc[0]
    assert taken["mean_raw_au"] == pytest.approx(700, abs=2)
    assert taken["background_au"] == pytest.approx(200, abs=1)
    assert taken["compartment"] == "whole"
    plane = planes[(planes["channel"] == "gfp") & (planes["frame"] == 1)].iloc[0]
    assert not plane["acquired"]
    assert plane.drop(["frame", "channel", "acquired"]).isna().all()


def test_blank_blurred_and_saturated_planes_are_flagged_and_no_others(stage):
    _, _, planes = measured(stage)

    phase = planes[planes["channel"] == "phase"]
    gfp = planes[planes["channel"] == "gfp"]
    assert phase.loc[phase["flag_blank"], "frame"].tolist() == [3]
    assert phase.loc[phase["flag_out_of_focus"], "frame"].tolist() == [5]
    assert phase["focus_score"].isna().tolist() == (phase["frame"] == 3).tolist()
    assert gfp.loc[gfp["flag_saturated"].fillna(False), "frame"].tolist() == [4]
    assert planes.loc[planes["channel"] == "phase", "flag_saturated"].tolist() == [False] * FRAMES


def test_a_saturated_cell_says_what_share_of_it_is_saturated(stage):
    _, intensities, _ = measured(stage)

    row = intensities.query("channel == 'gfp' and frame == 4 and label == 2").iloc[0]
    assert row["saturated_fraction"] == 1


def test_the_tables_say_what_was_measured_and_by_whom(stage):
    measured(stage, object="nucleus")

    for name in ("objects", "intensities", "planes"):
        metadata = read_metadata(stage / f"{name}.parquet")
        assert metadata["object"] == "nucleus"
        assert json.loads(metadata["provenance"]) == {"label": {"code": "xyz"}, "measure": {"code": "abc"}}


def test_a_movie_without_a_cell_has_planes_and_no_other_rows(stage):
    write_stack(
        stage / "labels.tif",
        np.zeros((FRAMES, 128, 160), np.uint16),
        shape=(FRAMES, 128, 160),
        dtype=np.uint16,
        pixel_size_um=0.5,
        frame_interval_min=5,
        axes="TYX",
        description=None,
    )
    write_table("confidence", empty_table("confidence"), stage / "confidence.parquet")

    objects, intensities, planes = measured(stage)

    assert objects.empty
    assert intensities.empty
    assert len(planes) == 2 * FRAMES
    assert objects.dtypes.equals(empty_table("objects").dtypes)


def test_a_refused_movie_gives_tables_without_rows(stage):
    (stage / "movie.json").write_text(json.dumps({"status": "refused", "reason": "cut off", "path": "a.tif"}))

    tables = measured(stage)

    assert all(table.empty for table in tables)


def test_labels_of_another_movie_are_refused(stage):
    write_stack(
        stage / "labels.tif",
        np.zeros((2, 16, 16), np.uint16),
        shape=(2, 16, 16),
        dtype=np.uint16,
        pixel_size_um=None,
        frame_interval_min=None,
        axes="TYX",
        description=None,
    )

    with pytest.raises(ValueError, match=r"its shape is \(2, 16, 16\), movie .* has \(7, 128, 160\); run label again"):
        measured(stage)


def test_an_unknown_background_of_a_movie_is_refused(stage):
    with pytest.raises(ValueError, match="no background is called 'sky'; there are local, frame"):
        measured(stage, background="sky")
