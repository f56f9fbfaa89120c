import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from cytolapse.features import measure_movie
from cytolapse.illumination import surroundings
from cytolapse.inspection import inspect_movie
from cytolapse.intensities import measure_intensities
from cytolapse.movies import write_stack
from cytolapse.tables import empty_table, read_metadata, read_table, write_table

DATA = Path(os.environ.get("CYTOLAPSE_DATA", "../shared/data"))

LIGHT = {"background": "local", "ring_min_px": 30, "saturation_au": 1000.0}
RINGS = {"ring_gap_px": 2, "ring_px": 5, "spread_px": 2}
KNOBS = {
    "pixel_size_um": None,
    "object": "cell",
    "volume_model": "rod",
    "background": "local",
    **RINGS,
    "ring_min_px": 30,
    "dark": {},
    "flat_field": {},
    "blank": {},
    "nucleus_channel": None,
    "nucleus_smoothing_px": 1.0,
    "nuclear_ring_gap_px": 1,
    "nuclear_ring_px": 0,
    "max_saturated_fraction": 0.001,
    "focus_window_frames": 5,
    "focus_drop": 0.5,
    "blank_contrast": 8.0,
    "drift_gain": 0.4,
    "provenance": {"code": "abc"},
}
FRAMES = 7


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


def test_light_around_a_cell_that_is_not_counted_is_left_out_with_what_the_ring_takes_from_the_mask():
    labels = np.zeros((200, 200), np.uint16)
    labels[20:30, 20:30] = 1
    plane = np.full((200, 200), 50, np.uint16)
    plane[20:30, 20:30] = 200
    plane[13:37, 13:37][labels[13:37, 13:37] == 0] = 60

    rings = {"ring_gap_px": 2, "ring_px": 5}
    none = measure_intensities(plane, labels, surroundings(labels, **rings, spread_px=0), **LIGHT).loc[0]
    gap = measure_intensities(plane, labels, surroundings(labels, **rings, spread_px=2), **LIGHT).loc[0]

    # 10 au on the 24 * 24 - 100 pixels of gap and ring, and on the 100 of the mask that the ring calls background
    assert (none["background_au"], none["left_out_au"]) == (60, 10 * 24 * 24)
    # what the gap holds is no more than its background: nothing of it was counted
    assert gap["left_out_au"] == 10 * 24 * 24
    assert (none["spread_pixels"], gap["spread_pixels"], gap["spread_raw_au"]) == (0, 14 * 14 - 100, 60)


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
        z_projection="none",
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
    assert phase["flag_out_of_focus"].isna().tolist() == (phase["frame"] == 3).tolist()
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


def test_a_plane_that_was_not_taken_has_no_exposure(stage):
    info = json.loads((stage / "movie.json").read_text())
    (stage / "movie.json").write_text(json.dumps(info | {"exposure_ms": {"gfp": 50.0}}))

    _, _, planes = measured(stage)

    gfp = planes[planes["channel"] == "gfp"].set_index("frame")["exposure_ms"]
    assert gfp.dropna().to_dict() == {frame: 50.0 for frame in range(0, FRAMES, 2)}


def test_the_tables_state_the_rules_of_their_flags(stage):
    measured(stage)

    rules = {name: json.loads(read_metadata(stage / f"{name}.parquet")["flags"]) for name in ("objects", "planes")}
    assert set(rules["objects"]) == {"flag_border"}
    assert set(rules["planes"]) == {"flag_blank", "flag_out_of_focus", "flag_saturated"}
    assert "below 0.5 of its median over 5 frames" in rules["planes"]["flag_out_of_focus"]
