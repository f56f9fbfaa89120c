"""Overlays: outlines of cells on the images, one picture a movie."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cytolapse.movies import write_stack
from cytolapse.overlays import HUES, SHADES, draw_overlay, lineage_shades
from cytolapse.tables import typed, write_table


def of_movie(folder, labels, *, planes=None, tracks=None, parents=None, **info):
    """Files that an overlay is drawn from; `labels` (t, y, x); a label is its own track unless said."""
    labels = np.asarray(labels, np.uint16)
    frames, height, width = labels.shape
    planes = (labels > 0) * np.uint16(1000) + 100 if planes is None else planes
    scales = {"pixel_size_um": 0.5, "frame_interval_min": 30.0}
    write_stack(
        folder / "m.tif",
        planes.astype(np.uint16),
        shape=labels.shape,
        dtype="uint16",
        axes="TYX",
        description=None,
        **scales,
    )
    write_stack(folder / "l.tif", labels, shape=labels.shape, dtype="uint16", axes="TYX", description=None, **scales)
    found = [(t, int(each)) for t in range(frames) for each in np.unique(labels[t]) if each]
    of = tracks or {}
    rows = pd.DataFrame(found, columns=["frame", "label"])
    rows["track"] = [of.get(label, label) for label in rows["label"]]
    rows = rows[rows["track"] > 0]
    write_table("tracks", typed("tracks", rows), folder / "t.parquet")
    seen = rows.groupby("track", as_index=False)["frame"].agg(first_frame="min", last_frame="max")
    seen["parent"] = pd.array([(parents or {}).get(track) for track in seen["track"]], dtype="Int32")
    write_table("lineage", typed("lineage", seen), folder / "g.parquet")
    known = {
        **{
            "status": "ok",
            "reason": None,
            "warnings": [],
            "path": str(folder / "m.tif"),
            "kind": "file",
            "axes": "TYX",
        },
        **{"z_projection": "none", "focus_slices": None},
        **{"axes": "TYX", "position": None, "frames": frames, "channels": ["phase"], "segment_channel": "phase"},
        "dtype": "uint16",
        **{"height_px": height, "width_px": width, "pixel_size_um": 0.5, "frame_interval_min": 30.0, "time_h": None},
        **{"exposure_ms": {"phase": None}, "acquired": None, "saturation_au": 65535.0},
    }
    (folder / "m.json").write_text(json.dumps({**known, **info}))


def overlay_of(folder, frames=6):
    path = folder / "overlay.png"
    paths = [folder / name for name in ("m.json", "l.tif", "t.parquet", "g.parquet")]
    draw_overlay(*paths, path, frames=frames, pixel_size_um=None, frame_interval_min=None)
    return np.asarray(Image.open(path).convert("RGB"))


def square(frames=1, size_px=64, at=(16, 48)):
    labels = np.zeros((frames, size_px, size_px), int)
    labels[:, at[0] : at[1], at[0] : at[1]] = 1
    return labels


def coloured(picture):
    return picture.max(axis=2) != picture.min(axis=2)


def test_the_outline_of_a_square_is_one_pixel_wide_and_of_its_founders_hue(tmp_path):
    of_movie(tmp_path, square())

    picture = overlay_of(tmp_path)

    outline = coloured(picture)
    rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert outline.sum() == 2 * height + 2 * width - 4
    assert {tuple(colour) for colour in picture[outline]} == {HUES[0]}
    assert width == pytest.approx(384 / 2, abs=1)  # 64 px enlarged 6 times, the square half of them


def test_a_cell_without_a_track_is_outlined_in_white(tmp_path):
    of_movie(tmp_path, square(), tracks={1: 0})

    picture = overlay_of(tmp_path)

    assert not coloured(picture).any()
    assert (picture[24 + 96, 100:280] == 255).all()  # the upper side of the square, 6 times enlarged


def test_founders_have_different_hues_and_sisters_differ_in_lightness():
    lineage = pd.DataFrame({"track": [1, 2, 3, 4, 5], "parent": [None, None, 1, 1, 3], "first_frame": [0, 0, 5, 5, 9]})

    shades = lineage_shades(lineage)

    hues = {track: hue for track, (hue, _) in shades.items()}
    assert hues[1] == hues[3] == hues[4] == hues[5] != hues[2]
    assert len({shades[1], shades[3], shades[4]}) == 3
    assert shades[5] != shades[3]


def test_a_mother_that_is_not_in_the_table_makes_a_founder():
    lineage = pd.DataFrame({"track": [7], "parent": [3], "first_frame": [2]})

    assert lineage_shades(lineage) == {7: (0, 0)}


def test_many_generations_never_run_out_of_shades():
    lineage = pd.DataFrame({"track": range(1, 40), "parent": [None, *range(1, 39)], "first_frame": range(39)})

    assert {shade for _, shade in lineage_shades(lineage).values()} <= set(range(len(SHADES)))


def test_frames_are_drawn_from_first_to_last_among_those_acquired(tmp_path):
    labels = np.zeros((5, 32, 32), int)
    labels[0, 4:12, 4:12] = labels[3, 4:12, 4:12] = 1
    of_movie(tmp_path, labels, acquired={"phase": [True, False, True, True, False]})

    picture = overlay_of(tmp_path, frames=2)

    # two panels side by side, the cell outlined in both
    middle = picture.shape[1] // 2
    assert coloured(picture[:, :middle]).any()
    assert coloured(picture[:, middle:]).any()


def test_cells_too_small_to_see_are_shown_larger_as_a_part_of_the_frame(tmp_path):
    labels = np.zeros((1, 1500, 1500), int)
    labels[0, 1200:1210, 1200:1210] = 1
    of_movie(tmp_path, labels)

    outline = coloured(overlay_of(tmp_path))

    assert np.ptp(np.flatnonzero(outline.any(axis=0))) + 1 >= 12


def test_a_large_noisy_movie_gives_a_picture_below_600_kilobytes(tmp_path):
    planes = np.random.default_rng(0).normal(1000, 200, (6, 700, 700)).clip(0)
    of_movie(tmp_path, square(6, 700, (100, 300)), planes=planes)

    overlay_of(tmp_path)

    assert (tmp_path / "overlay.png").stat().st_size <= 600_000


def test_a_dim_cell_on_a_dark_ground_is_lifted_and_an_image_without_contrast_is_no_error(tmp_path):
    labels = np.zeros((1, 64, 64), int)
    labels[0, 4:20, 4:20], labels[0, 40:60, 40:60] = 1, 2
    planes = np.choose(labels, [100.0, 200.0, 2000.0])
    of_movie(tmp_path, labels, planes=planes)

    picture = overlay_of(tmp_path)

    assert picture[24 + 6 * 12, 6 * 12].max() > 40  # 5 % of the range is 10 of 205 without
    of_movie(tmp_path, labels, planes=np.full(labels.shape, 7.0))
    assert coloured(overlay_of(tmp_path)).any()


def test_a_movie_without_cells_is_drawn_without_outlines(tmp_path):
    of_movie(tmp_path, np.zeros((3, 40, 40), int))

    assert not coloured(overlay_of(tmp_path)).any()


def test_a_refused_movie_gets_a_picture_as_tall_as_its_reason(tmp_path):
    for name, reason in (("short", "zero planes"), ("long", "zero planes " * 40)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.json").write_text(json.dumps({"status": "refused", "reason": reason}))

    short, long = overlay_of(tmp_path / "short"), overlay_of(tmp_path / "long")

    assert short.shape[0] < 100 < long.shape[0]
    assert (short < 100).any()


def test_an_overlay_of_no_frames_is_refused(tmp_path):
    of_movie(tmp_path, square())

    with pytest.raises(ValueError, match="an overlay of 0 frames was asked for; at least 1 is needed"):
        overlay_of(tmp_path, frames=0)


def test_labels_of_another_size_than_the_movie_are_refused_by_name(tmp_path):
    of_movie(tmp_path, square(size_px=64))
    write_stack(
        tmp_path / "l.tif",
        square(size_px=32, at=(4, 8)).astype(np.uint16),
        **{"shape": (1, 32, 32), "dtype": "uint16", "axes": "TYX", "description": None},
        **{"pixel_size_um": 0.5, "frame_interval_min": 30.0},
    )

    with pytest.raises(ValueError, match=r"l\.tif: frame 0 is 32 x 32 px, the movie .*m\.tif is 64 x 64 px"):
        overlay_of(tmp_path)
