"""The numbers of the benchmark of tracks, where the answer is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from cytolapse.exports import write_ctc
from cytolapse.movies import write_stack
from cytolapse.tables import typed, write_table


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))


def masks_of(cells, frames):
    """Masks of 4 x 4 pixels at (row, column) of a grid of cells, from {(frame, number): (row, column)}."""
    masks = np.zeros((frames, 24, 48), np.uint16)
    for (frame, number), (row, column) in cells.items():
        masks[frame, 6 * row : 6 * row + 4, 6 * column : 6 * column + 4] = number
    return masks


# A mother of five frames, her daughters 2 and 3, of which 3 divides again, and 6, who stays alone.
TRUE = {
    **{(frame, 1): (0, 1) for frame in range(5)},
    **{(frame, 2): (0, 0) for frame in range(5, 12)},
    **{(frame, 3): (0, 3) for frame in range(5, 9)},
    **{(frame, 4): (0, 2) for frame in range(9, 12)},
    **{(frame, 5): (0, 4) for frame in range(9, 12)},
    **{(frame, 6): (3, 0) for frame in range(12)},
}
TRACKS = {1: (0, 4, 0), 2: (5, 11, 1), 3: (5, 8, 1), 4: (9, 11, 3), 5: (9, 11, 3), 6: (0, 11, 0)}


@pytest.fixture
def sequence(tmp_path):
    from sequences import Sequence, write_dense

    write_dense(tmp_path / "truth/TRA", masks_of(TRUE, 12), TRACKS, truth=True)
    return Sequence("given_drawn", {}, lambda: [], tmp_path / "truth")


def tracked(folder, tracks, parents):
    """What a program found: {(frame, place): track}, on the true cells' masks."""
    from trackers import Tracked

    folder.mkdir()
    places = sorted({place for _, place in tracks})
    label = {place: index + 1 for index, place in enumerate(places)}
    labels = masks_of({(frame, label[place]): place for frame, place in tracks}, 12)
    facts = {"pixel_size_um": 1.0, "frame_interval_min": 5.0, "axes": "TYX", "description": None}
    write_stack(folder / "labels.tif", labels, shape=labels.shape, dtype="uint16", **facts)
    rows = [(frame, label[place], track) for (frame, place), track in tracks.items()]
    table = pd.DataFrame(rows, columns=["frame", "label", "track"])
    of_track = table.groupby("track")["frame"].agg(first_frame="min", last_frame="max").reset_index()
    of_track["parent"] = pd.array([parents.get(track) for track in of_track["track"]], "Int32")
    tables = (folder / name for name in ("labels.tif", "tracks.parquet", "lineage.parquet"))
    paths = Tracked(*tables, None, folder / "ctc")
    write_table("tracks", typed("tracks", table), paths.tracks)
    write_table("lineage", typed("lineage", of_track), paths.lineage)
    write_ctc(*paths)
    return paths


def found_as_true(changes=None):
    """The true cells by place, under numbers of their own."""
    return {(frame, place): 10 + number for (frame, number), place in TRUE.items()} | (changes or {})


PARENTS = {12: 11, 13: 11, 14: 13, 15: 13}


def test_tracks_as_drawn_are_right_by_both_programs_and_by_our_own_counts(sequence, tmp_path):
    from trackscores import score

    scores = score(sequence, tracked(tmp_path / "found", found_as_true(), PARENTS), tmp_path / "dense")

    for name in ("DET", "TRA", "LNK", "CT", "identity", "cycle_right", "cycle_right_born", "division_F1_nearest"):
        assert scores[name] == 1, name
    for name in ("DET", "TRA", "LNK"):
        assert scores[f"{name}_traccuracy"] == 1
    for name in ("BC", "divisions_traccuracy", "division_F1_by_tolerance"):
        assert scores[name] == pytest.approx([1, 1, 1, 1])
    assert (scores["divisions"], scores["cycles"], scores["cycles_born"]) == (2, 2, 1)


def test_a_division_that_is_seen_two_frames_late_is_right_from_a_tolerance_of_two_on(sequence, tmp_path):
    from trackscores import score

    # The mother's number stays with the daughter at (0, 3) for two frames, and the other has none there.
    late = {(frame, (0, 3)): 11 for frame in (5, 6)}
    cells = {key: track for key, track in found_as_true(late).items() if key not in {(5, (0, 0)), (6, (0, 0))}}

    scores = score(sequence, tracked(tmp_path / "found", cells, PARENTS), tmp_path / "dense")

    assert scores["BC"] == pytest.approx([0.5, 0.5, 1, 1])
    assert scores["division_F1_by_tolerance"] == [0.5, 0.5, 1, 1]
    assert scores["divisions_traccuracy"][1] == 0.5
    # the first mother's end is late, and with it the beginning of the second's
    assert scores["cycle_right"] == scores["cycle_right_born"] == 0


def test_a_program_without_divisions_finds_none_and_is_no_error(sequence, tmp_path):
    from trackscores import score

    scores = score(sequence, tracked(tmp_path / "found", found_as_true(), {}), tmp_path / "dense")

    assert scores["BC"] == scores["division_F1_by_tolerance"] == [0, 0, 0, 0]
    assert scores["divisions_traccuracy"] == [None] * 4
    assert scores["cycle_right"] == 0


def test_two_cells_that_change_numbers_once_are_kept_in_all_other_links(sequence, tmp_path):
    from trackscores import identity, match_tracks

    cells = {
        (frame, place): {12: 16, 16: 12}.get(track, track) if frame >= 8 else track
        for (frame, place), track in found_as_true().items()
    }
    found = tracked(tmp_path / "found", cells, PARENTS)
    files = {frame: sequence.truth / f"TRA/man_track{frame:03d}.tif" for frame in range(12)}

    # links of true cells: 4 + 6 + 3 + 2 + 2 + 11
    assert identity(match_tracks(found, files)) == pytest.approx(26 / 28)


def test_a_truth_with_marks_on_some_frames_is_judged_on_these(sequence, tmp_path):
    import dataclasses

    from trackscores import score

    for frame in (1, 2, 6, 10):
        (sequence.truth / f"TRA/man_track{frame:03d}.tif").unlink()
    sparse = dataclasses.replace(sequence, complete=False)

    scores = score(sparse, tracked(tmp_path / "found", found_as_true(), PARENTS), tmp_path / "dense")

    assert scores["TRA"] == scores["TRA_traccuracy"] == scores["identity"] == scores["cycle_right"] == 1
    assert scores["BC"] == pytest.approx([1, 1, 1, 1])


def test_the_marked_frames_alone_are_a_sequence_without_gaps(tmp_path):
    from scores import read_tracks
    from sequences import write_dense

    masks = masks_of({(0, 1): (0, 0), (2, 1): (0, 0), (2, 4): (1, 0), (2, 5): (1, 2)}, 3)

    # 4 and 5 are daughters of 3, who is in none of these frames, and she of 1, who is seen again beside them
    write_dense(tmp_path, masks, {1: (0, 9, 0), 3: (5, 6, 1), 4: (7, 9, 3), 5: (7, 9, 3)}, truth=False)

    assert read_tracks(tmp_path / "res_track.txt") == {1: (0, 0, 0), 4: (2, 2, 1), 5: (2, 2, 1), 6: (2, 2, 1)}
    assert tifffile.imread(tmp_path / "mask002.tif")[0, 0] == 6


def test_a_bud_counts_where_it_begins_a_track_and_its_mother_is_beside_it(tmp_path):
    from sequences import write_dense
    from trackscores import buds, match_tracks

    true = {(frame, 1): (0, 0) for frame in range(12)}
    # of four buds the first is beside the mother, the others are not
    true |= {(frame, number): (0, number - 1) for number in (2, 3, 4, 5) for frame in range(number, 12)}
    tracks = {1: (0, 11, 0)} | {number: (number, 11, 0) for number in (2, 3, 4, 5)}
    write_dense(tmp_path / "truth/TRA", masks_of(true, 12), tracks, truth=True)
    files = {frame: tmp_path / f"truth/TRA/man_track{frame:03d}.tif" for frame in range(12)}
    cells = {(frame, place): number for (frame, number), place in true.items()}
    # 4 has no mother; 5 is seen a frame early
    found = tracked(tmp_path / "found", cells | {(4, (0, 4)): 5}, {2: 1, 3: 1, 5: 1})

    assert buds(found, files, tracks, match_tracks(found, files)) == {"buds": 4, "begin": 0.75, "with_mother": 0.25}


def testshuffled_labels_keep_the_masks_and_lose_the_numbers(sequence):
    from sequences import shuffled

    files = [sequence.truth / f"TRA/man_track{frame:03d}.tif" for frame in range(12)]
    numbers = []
    for path, labels in zip(files, shuffled(files), strict=True):
        mask = tifffile.imread(path)
        assert ((labels > 0) == (mask > 0)).all()
        assert labels.max() == len(np.unique(mask)) - 1
        assert all(len(np.unique(labels[mask == number])) == 1 for number in np.unique(mask))
        numbers.append(int(labels[18, 0]))
    assert len(set(numbers)) > 1


def test_the_crowd_stays_as_many_and_doubles_its_size_until_it_divides():
    from trackers import crowd

    objects = crowd(50, 60, 0)

    assert (objects.groupby("frame").size() == 50).all()
    assert objects["area_um2"].max() > 1.7 * objects["area_um2"].min()
    assert not objects.duplicated(["frame", "label"]).any()


def test_the_speed_of_every_program_is_measured_on_a_crowd_that_cytolapse_finds_divisions_in(tmp_path):
    from trackers import speeds

    found = speeds(tmp_path, cells=40, frames=30, rounds=1)

    assert found.keys() == {"cytolapse", "trackpy", "laptrack"}
    assert min(found.values()) > 0
    assert pd.read_parquet(tmp_path / "lineage.parquet")["parent"].notna().sum() > 20


@pytest.mark.parametrize("tracker", ["trackpy", "laptrack"])
def test_the_other_trackers_keep_cells_apart_and_laptrack_finds_a_division(tracker):
    from trackers import OTHERS

    rows = [(frame, 10.0, 5.0) for frame in range(6)] + [(frame, 40.0, 5.0 + frame / 5) for frame in range(3)]
    rows += [(frame, 40.0 + side, 6.0) for frame in range(3, 6) for side in (-4.0, 4.0)]
    objects = pd.DataFrame(rows, columns=["frame", "y_um", "x_um"])

    track, mothers = OTHERS[tracker](objects)

    assert len(set(track[:6])) == 1
    assert len(set(track[6:9])) == 1
    assert set(track[:6]).isdisjoint(track[6:])
    assert sorted(mothers.values()) == ([] if tracker == "trackpy" else [track[6], track[6]])


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (["given_hella"], "given_hella: no such part; they are given_sim, given_gowt1"),
        (["own_hela"], "own_hela: .* holds no labels of it; run benchmarks/accuracy.py first"),
    ],
)
def test_a_part_that_cannot_be_is_refused_before_anything_is_tracked(tmp_path, parts, said):
    from tracking import parts_of

    with pytest.raises(SystemExit, match=said):
        parts_of(parts, tmp_path)


def test_the_page_has_a_row_for_each_program_that_was_judged(sequence, tmp_path):
    from tracking import as_markdown
    from trackscores import score

    scores = score(sequence, tracked(tmp_path / "found", found_as_true(), PARENTS), tmp_path / "dense")
    speed = {"cells": 1000, "frames": 200, "per_second": {"cytolapse": 30000, "trackpy": 63000, "laptrack": 4000}}

    text = as_markdown({"own_hela": dict.fromkeys(("cytolapse", "trackpy", "laptrack"), scores)}, speed)

    assert text.count("| own: hela |") == 6
    assert "| own: hela | LapTrack | 1.000 / 1.000 | 1.000 / 1.000 | 1.000 / 1.000 | 1.000 | 1.000, 1.000" in text
    assert "| Cytolapse | 30,000 |" in text


def test_divisions_get_fewer_the_higher_the_score_that_is_asked_for(tmp_path):
    from balance import balance_as_markdown, balances
    from sequences import Sequence, write_dense
    from staged import staged
    from trackers import Tracked

    from cytolapse.simulation import Simulation, simulate_movie

    colony = simulate_movie(Simulation(frames=17, height_px=80, width_px=80, founders=3), 2)
    staged(tmp_path, colony)
    seen = colony.cells.groupby("cell")["frame"].agg(["min", "max"])
    parents = colony.lineage.set_index("cell")["parent"].fillna(0).astype(int)
    tracks = {int(cell): (int(first), int(last), int(parents[cell])) for cell, first, last in seen.itertuples()}
    write_dense(tmp_path / "truth/TRA", colony.labels, tracks, truth=True)
    row = {"interval": 5, "division": "fission"}
    colony_given = Sequence("given_ecoli", {}, lambda: [], tmp_path / "truth", row)
    tables = (tmp_path / f"{name}.parquet" for name in ("tracks", "lineage", "repairs"))

    found = balances(
        [colony_given], {"given_ecoli": Tracked(tmp_path / "labels.tif", *tables, tmp_path / "ctc")}, tmp_path / "kept"
    )

    by_score = list(found["given_ecoli"].values())
    counts = [each["divisions_found"] for each in by_score]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]
    assert by_score[2]["division_recall"] > 0.4
    assert by_score[2]["division_F1"] == pytest.approx(by_score[2]["divisions_traccuracy"][1], abs=0.15)
    recall, precision = by_score[0]["division_recall"], by_score[0]["division_precision"]
    assert f"| 0.05 | {recall:.3f}, {precision:.3f}, " in balance_as_markdown(found)


def test_the_balance_wants_the_movies_that_it_is_drawn_from(tmp_path):
    from tracking import parts_of

    (tmp_path / "results/hela/01").mkdir(parents=True)
    (tmp_path / "results/hela/01/labels.tif").touch()

    assert parts_of(["balance"], tmp_path) == ["own_hela", "given_sim", "given_ecoli", "balance"]
