import logging

import numpy as np
import pandas as pd
import pytest
import trackpy

from cytolapse.linking import link_cells, measure_search_range
from cytolapse.tables import empty_table, typed

KNOBS = {"search_range_um": None, "memory_frames": 0, "shape_weight": 1.0}


def drawn(*cells):
    """Objects from (frame, y_um, x_um[, long_um, short_um, angle]); labels by order within the frame."""
    rows = []
    labels = {}
    for frame, y_um, x_um, *shape in cells:
        long_um, short_um, angle_rad = shape or (8.0, 8.0, 0.0)
        labels[frame] = labels.get(frame, 0) + 1
        rows.append(
            {
                "frame": frame,
                "label": labels[frame],
                "y_um": y_um,
                "x_um": x_um,
                "y_aligned_um": y_um,
                "x_aligned_um": x_um,
                "area_um2": np.pi * long_um * short_um / 4,
                "major_axis_um": long_um,
                "minor_axis_um": short_um,
                "orientation_rad": angle_rad,
                "flag_border": False,
            }
        )
    return typed("objects", pd.DataFrame(rows))


def track_of(links):
    return {(int(frame), int(label)): int(track) for frame, label, track in links.tracks.itertuples(index=False)}


def test_two_cells_far_apart_keep_their_tracks_whatever_their_labels():
    objects = drawn((0, 10, 10), (0, 50, 50), (1, 51, 50), (1, 10, 11))

    tracks = track_of(link_cells(objects, **KNOBS))

    assert tracks[0, 1] == tracks[1, 2] == 1
    assert tracks[0, 2] == tracks[1, 1] == 2


def test_cells_that_pass_each_other_are_told_apart_by_their_direction():
    lying, standing = (8.0, 2.0, np.pi / 2), (8.0, 2.0, 0.0)
    objects = drawn((0, 10, 10, *lying), (0, 10, 12, *standing), (1, 10, 12, *lying), (1, 10, 10, *standing))

    by_shape = track_of(link_cells(objects, search_range_um=5.0, memory_frames=0, shape_weight=2.0))
    by_place = track_of(link_cells(objects, search_range_um=5.0, memory_frames=0, shape_weight=0.0))

    assert by_shape[0, 1] == by_shape[1, 1]
    assert by_place[0, 1] == by_place[1, 2]


def test_a_rod_that_turns_through_the_vertical_is_the_same_rod():
    objects = drawn((0, 10, 10, 8.0, 2.0, 1.56), (1, 10, 10, 8.0, 2.0, -1.56))

    tracks = link_cells(objects, search_range_um=1.0, memory_frames=0, shape_weight=5.0).tracks

    assert tracks["track"].nunique() == 1


def crossing(frames, lane_um, per_lane=4):
    """Lanes of cells that go up and down in turns by 4 um a frame, apart at first, and pass each other."""
    along = 11.0 * np.arange(per_lane) + np.random.default_rng(2).uniform(0, 4, per_lane)
    ways = [(1, along - 11.0 * per_lane), (-1, along)]
    return drawn(
        *(
            (frame, begin + way * 4.0 * frame, lane_um * lane)
            for frame in range(frames)
            for lane in range(6)
            for way, begins in ways[lane % 2 : lane % 2 + 1]
            for begin in begins
        )
    )


def test_cells_that_move_steadily_keep_their_tracks_where_they_cross():
    # side by side they are nearer to each other than to where they were
    links = link_cells(crossing(frames=20, lane_um=3.5), search_range_um=7.0, memory_frames=2, shape_weight=1.0)

    assert links.solver == "trackpy"
    assert links.foresight.steadiness > 0.9
    assert links.tracks.groupby("label")["track"].nunique().eq(1).all()
    assert links.tracks["track"].nunique() == 24


def test_a_steady_cell_that_is_missing_where_it_crosses_is_expected_behind_it():
    objects = crossing(frames=20, lane_um=3.5)
    missing = objects[~(objects["frame"].between(7, 8) & objects["label"].isin([3, 9, 14]))]

    links = link_cells(missing, search_range_um=7.0, memory_frames=2, shape_weight=1.0)

    assert links.tracks.groupby("label")["track"].nunique().eq(1).all()


def streaming(frames, step_um):
    """Cells at random in a field that all go right; as many come in at the edge as leave. Labels are cells."""
    rng = np.random.default_rng(4)
    y, x = rng.uniform(0, 240, (2, 140 + 2 * frames))
    # those that come in stand left of the field until then
    x[140:] = -rng.uniform(0, step_um * frames, 2 * frames)
    rows = [(f, cell, y[cell], x[cell] + f * step_um) for f in range(frames) for cell in range(len(y))]
    rows = [(f, cell, *yx) for f, cell, *yx in rows if 0 <= yx[1] < 240]
    return drawn(*((f, *yx) for f, _, *yx in rows)).assign(label=[cell + 1 for _, cell, *_ in rows])


def test_cells_that_come_in_with_a_flow_are_expected_to_go_along_with_it():
    objects = streaming(frames=25, step_um=7.0)

    links = link_cells(objects, search_range_um=10.0, memory_frames=2, shape_weight=1.0)

    assert links.foresight.company == pytest.approx(1, abs=0.02)
    table = objects.merge(links.tracks, on=["frame", "label"]).sort_values(["label", "frame"])
    same = np.diff(table["label"]) == 0
    kept = (np.diff(table["track"]) == 0)[same]
    came_in = (table.groupby("label")["frame"].transform("min") > 0).to_numpy()[1:][same]
    assert came_in.sum() > 400
    # four fifths where they are expected to stay
    assert kept[came_in].mean() > 0.995
    # of the others the first frame knows no flow yet
    assert kept.mean() > 0.95


def test_nothing_is_foreseen_of_cells_that_wander_or_hardly_move():
    rng = np.random.default_rng(0)
    steps = rng.normal(0, 1, (30, 20, 2))
    wander = np.cumsum(steps, axis=0) + 40.0 * np.stack(np.mgrid[:4, :5], -1).reshape(-1, 2)
    drift = 40.0 * np.stack(np.mgrid[:4, :5], -1).reshape(-1, 2) + 0.1 * np.arange(30)[:, None, None]

    for places in (wander, drift):
        links = link_cells(drawn(*((f, *yx) for f, each in enumerate(places) for yx in each)), **KNOBS)
        assert links.foresight.steadiness == 0
        assert links.tracks["track"].nunique() == 20


@pytest.mark.parametrize(("memory_frames", "tracks"), [(1, 2), (2, 1)])
def test_a_cell_missing_for_two_frames_is_found_again_with_a_memory_of_two(memory_frames, tracks):
    objects = drawn((0, 10, 10), (1, 10, 10), (4, 10, 10))

    links = link_cells(objects, search_range_um=5.0, memory_frames=memory_frames, shape_weight=1.0)

    assert links.tracks["track"].nunique() == tracks


def test_a_jump_of_the_stage_does_not_matter_as_aligned_coordinates_are_linked():
    objects = drawn((0, 10, 10), (0, 30, 30), (1, 10, 10), (1, 30, 30))
    objects.loc[objects["frame"] == 1, ["y_um", "x_um"]] += 20.0

    tracks = track_of(link_cells(objects, **KNOBS))

    assert tracks[0, 1] == tracks[1, 1]
    assert tracks[0, 2] == tracks[1, 2]


def test_no_cells_are_no_tracks():
    links = link_cells(empty_table("objects"), **KNOBS)

    assert links.tracks.empty
    assert list(links.tracks.columns) == ["frame", "label", "track"]
    assert links.solver == "none"


def test_in_a_single_frame_every_cell_is_a_track_of_its_own():
    links = link_cells(drawn((3, 10, 10), (3, 20, 20)), **KNOBS)

    assert links.tracks["track"].tolist() == [1, 2]


def test_a_single_cell_is_one_track_however_far_it_goes():
    links = link_cells(drawn(*((frame, 7.0 * frame, 0) for frame in range(5))), **KNOBS)

    assert links.tracks["track"].tolist() == [1] * 5


def test_tracks_are_numbered_by_first_frame_then_label_whatever_the_order_of_rows():
    objects = drawn((0, 50, 50), (0, 10, 10), (1, 50, 50), (1, 10, 10), (1, 90, 90))

    links = link_cells(objects, **KNOBS)
    shuffled = link_cells(objects.sample(frac=1, random_state=1), **KNOBS)

    assert links.tracks["track"].tolist() == [1, 2, 1, 2, 3]
    pd.testing.assert_frame_equal(links.tracks, shuffled.tracks)


def crowd(frames, side, step_um):
    """A field whose cells are much nearer to each other than they may move."""
    rng = np.random.default_rng(5)
    place = np.stack(np.mgrid[:side, :side], -1).reshape(-1, 2).astype(float)
    return drawn(
        *((frame, *yx, 1.0, 1.0, 0.0) for frame in range(frames) for yx in place + rng.normal(0, step_um, place.shape))
    )


def test_a_field_too_dense_for_trackpy_is_linked_by_assignment_and_the_log_says_so(caplog):
    objects = crowd(frames=3, side=15, step_um=0.05)

    with caplog.at_level(logging.WARNING):
        links = link_cells(objects, search_range_um=30.0, memory_frames=0, shape_weight=0.0)

    assert links.solver == "assignment"
    assert "assignment solver" in caplog.text
    assert links.tracks.groupby("label")["track"].nunique().eq(1).all()


def test_the_assignment_solver_remembers_cells_as_trackpy_does():
    objects = crowd(frames=3, side=15, step_um=0.02)
    missing = objects[~((objects["frame"] == 1) & (objects["label"] == 7))]

    links = link_cells(missing, search_range_um=30.0, memory_frames=1, shape_weight=0.0)

    assert links.solver == "assignment"
    tracks = track_of(links)
    assert tracks[0, 7] == tracks[2, 7]


def test_the_assignment_solver_expects_steady_cells_where_trackpy_does(monkeypatch):
    def gives_up(*_, **__):
        raise trackpy.SubnetOversizeException("too many rivals")

    objects = crossing(frames=20, lane_um=3.5)
    missing = objects[~(objects["frame"].between(7, 8) & objects["label"].isin([3, 9, 14]))]
    by_trackpy = link_cells(missing, search_range_um=7.0, memory_frames=2, shape_weight=1.0)
    monkeypatch.setattr(trackpy, "link", gives_up)

    links = link_cells(missing, search_range_um=7.0, memory_frames=2, shape_weight=1.0)

    assert links.solver == "assignment"
    assert links.foresight.steadiness == pytest.approx(by_trackpy.foresight.steadiness)
    pd.testing.assert_frame_equal(links.tracks, by_trackpy.tracks)


def test_after_empty_frames_the_assignment_solver_begins_anew():
    objects = crowd(frames=2, side=15, step_um=0.02)
    objects.loc[objects["frame"] == 1, "frame"] = 9

    links = link_cells(objects, search_range_um=30.0, memory_frames=0, shape_weight=0.0)

    assert links.tracks["track"].nunique() == len(objects)


def test_the_search_range_follows_the_movement_between_a_third_of_the_neighbours_distance_and_the_whole():
    frame = np.repeat(np.arange(10), 100)
    grid_um = np.stack(np.mgrid[:10, :10], -1).reshape(-1, 2) * 20.0

    def measured(step_um):
        return measure_search_range(frame, np.concatenate([grid_um + [step_um * each, 0.0] for each in range(10)]))

    assert measured(0.1) == pytest.approx(20 / 3)
    assert measured(3.0) == pytest.approx(12)
    assert measured(8.0) == pytest.approx(20)


def test_a_search_range_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"search_range_um is 0 um; it must be above 0"):
        link_cells(drawn((0, 1, 1)), search_range_um=0, memory_frames=0, shape_weight=1.0)


def test_objects_without_positions_are_refused():
    with pytest.raises(ValueError, match=r"objects has no column y_aligned_um; its columns are frame"):
        link_cells(drawn((0, 1, 1)).drop(columns="y_aligned_um"), **KNOBS)


def test_a_cell_without_a_position_is_refused():
    objects = drawn((0, 1, 1), (0, 2, 2))
    objects.loc[1, "x_aligned_um"] = np.nan

    with pytest.raises(ValueError, match=r"column x_aligned_um: 1 of 2 rows are null"):
        link_cells(objects, **KNOBS)
