import numpy as np
import pandas as pd
import pytest
from celltables import drawn, linked, neighbours

from cytolapse.linkedcells import arrange_cells, with_tracks
from cytolapse.merging import find_joints, follow_through


def a_meeting(together=(4, 6), until=11, sizes=(100.0, 90.0)):
    """Two nuclei side by side, drawn as one mask for some frames."""
    begin, end = together
    apart = [frame for frame in range(until) if not begin <= frame < end]
    one = [(frame, 1, 50.0, 45.0, sizes[0]) for frame in apart]
    other = [(frame, 2, 50.0, 56.0, sizes[1]) for frame in apart]
    middle = (sizes[0] * 45.0 + sizes[1] * 56.0) / sum(sizes)
    both = [(frame, 3, 50.0, middle, sum(sizes)) for frame in range(begin, end)]
    return one + other + both


@pytest.mark.parametrize("together", [(4, 5), (4, 6), (3, 9)])
def test_two_cells_that_are_drawn_as_one_for_a_while_keep_their_tracks_and_none_divides(tmp_path, together):
    objects = drawn(*a_meeting(together, until=14), *neighbours(14))

    tracks, lineage, repairs = linked(tmp_path, objects, frames=14)

    assert tracks[0, 1] == tracks[13, 1]
    assert tracks[0, 2] == tracks[13, 2]
    assert lineage["parent"].isna().all()
    assert len(lineage) == 6
    assert repairs["kind"].eq("merged").all()
    assert sorted(set(repairs["frame"])) == list(range(*together))
    assert set(repairs["track"]) == {tracks[0, 1], tracks[0, 2]}


def test_cells_that_turn_about_each_other_in_one_mask_are_told_apart_by_their_size(tmp_path):
    before = a_meeting((4, 4), until=4, sizes=(140.0, 70.0))
    both = [(frame, 3, 50.0, x, 210.0) for frame, x in ((4, 48.7), (5, 50.5), (6, 52.3))]
    after = [(f, label, y, 101.0 - x, area) for f, label, y, x, area in a_meeting((0, 7), sizes=(140.0, 70.0))]
    turned = before + both + [row for row in after if row[1] < 3]

    tracks, _, _ = linked(tmp_path, drawn(*turned, *neighbours(11)), frames=11)

    assert tracks[0, 1] == tracks[10, 1]
    assert tracks[0, 2] == tracks[10, 2]


def test_a_cell_that_stays_in_another_ones_mask_ends_there(tmp_path):
    tracks, lineage, repairs = linked(tmp_path, drawn(*a_meeting((6, 11)), *neighbours(11)), frames=11)

    ended = lineage[lineage["last_frame"] == 5]
    assert ended["end"].tolist() == ["merged"]
    assert tracks[10, 3] != ended.index[0]
    assert repairs.empty


def test_a_cell_that_is_lost_beside_one_that_stays_as_it_is_has_not_merged(tmp_path):
    rows = [row for row in a_meeting((6, 6)) if row[1] == 1 or row[0] < 6]

    tracks, lineage, _ = linked(tmp_path, drawn(*rows, *neighbours(11)), frames=11)

    assert lineage.loc[tracks[5, 2], "end"] == "lost"


@pytest.mark.parametrize(("max_repair_frames", "repaired"), [(2, [True] * 4), (1, [False] * 4)])
def test_a_mask_of_two_is_mended_only_where_it_is_soon_over(tmp_path, max_repair_frames, repaired):
    objects = drawn(*a_meeting((4, 6)), *neighbours(11))

    _, _, repairs = linked(tmp_path, objects, frames=11, max_repair_frames=max_repair_frames)

    assert repairs["repaired"].tolist() == repaired


def test_a_cell_drawn_as_two_for_a_frame_is_one_and_does_not_divide(tmp_path):
    whole = [(frame, 1, 50.0, 50.0, 120.0) for frame in range(11) if frame != 5]
    halves = [(5, 1, 50.0, 47.0, 70.0), (5, 2, 50.0, 54.2, 50.0)]

    tracks, lineage, repairs = linked(tmp_path, drawn(*whole, *halves, *neighbours(11)), frames=11)

    assert tracks[0, 1] == tracks[10, 1] == tracks[5, 1]
    assert (5, 2) not in tracks
    assert len(lineage) == 5
    assert repairs[["frame", "label", "track", "kind"]].values.tolist() == [[5, 2, tracks[5, 1], "split"]]


def a_flickering_division(parted, until=18, small=50.0):
    """A nucleus of 110 um2 that is drawn as two in some frames, and for good from the last of them on."""
    last = parted[-1]
    split = [frame for frame in range(until) if frame in parted or frame > last]
    whole = [(frame, 1, 50.0, 50.0, 110.0) for frame in range(until) if frame not in split]
    halves = [
        (frame, label, 50.0, 50.0 + way * 4.8, area)
        for frame in split
        for label, way, area in ((1, -1.0 * small / 110, 110.0 - small), (2, 1.0 - small / 110, small))
    ]
    return whole + [(frame, label, y, 2 * x - 50.0, area) for frame, label, y, x, area in halves]


@pytest.mark.parametrize("small", [50.0, 40.0])
@pytest.mark.parametrize("memory_frames", [0, 1, 3])
@pytest.mark.parametrize("parted", [(5, 7), (5, 8), (5, 6, 9), (5, 7, 9), (5, 6, 8, 11), (5, 6, 8, 13)])
def test_a_cell_that_is_drawn_as_two_before_it_divides_divides_once_it_stays_two(
    tmp_path, parted, memory_frames, small
):
    objects = drawn(*a_flickering_division(parted, small=small), *neighbours(18))

    tracks, lineage, repairs = linked(tmp_path, objects, frames=18, memory_frames=memory_frames)

    daughters = lineage[lineage["parent"] == tracks[0, 1]]
    assert daughters["first_frame"].tolist() == [parted[-1]] * 2
    assert lineage.loc[tracks[0, 1], "last_frame"] == parted[-1] - 1
    assert len(lineage) == 3 + 4
    assert repairs["kind"].eq("split").all()
    assert repairs["frame"].tolist() == list(parted[:-1])
    assert set(repairs["track"]) == {tracks[0, 1]}


@pytest.mark.parametrize("memory_frames", [0, 1, 3])
@pytest.mark.parametrize("parted", [(5, 6, 8), (5, 6, 7, 10), (5, 6, 8, 10)])
def test_daughters_that_were_apart_for_longer_than_they_are_drawn_as_one_were_born_before(
    tmp_path, parted, memory_frames
):
    objects = drawn(*a_flickering_division(parted), *neighbours(18))

    tracks, lineage, repairs = linked(tmp_path, objects, frames=18, memory_frames=memory_frames)

    daughters = lineage[lineage["parent"] == tracks[0, 1]]
    assert daughters["first_frame"].tolist() == [5, 5]
    assert repairs["kind"].eq("merged").all()
    assert sorted(set(repairs["frame"])) == sorted(set(range(5, parted[-1])) - set(parted))


def test_a_cell_in_a_mask_that_has_gone_into_a_third_one_is_no_daughter_of_that():
    """B parts from A for a frame, both lie in the mask of C for four and come out as one; then C divides."""
    of_three = (48.8 * 100 + 62 * 120) / 220
    rows = [(frame, 3, 50.0, 62.0, 120.0) for frame in (*range(7), *range(11, 14))]
    rows += [(frame, label, y, 62.0, 60.0) for frame in range(14, 20) for label, y in ((3, 46.0), (5, 54.0))]
    rows += [(frame, 3, 50.0, of_three, 220.0) for frame in range(7, 11)]
    rows += [(frame, 1, 50.0, 48.8, 100.0) for frame in range(5)] + [(5, 1, 50.0, 44.0, 40.0), (5, 2, 50.0, 52.0, 60.0)]
    rows += [(6, 2, 50.0, 48.8, 100.0)] + [(frame, 4, 50.0, 48.8, 100.0) for frame in range(11, 20)]
    objects = drawn(*rows, *neighbours(20))
    tracks = objects[["frame", "label"]].astype(int)
    cells = arrange_cells(objects, tracks.assign(track=tracks["label"]))

    threads = follow_through(cells, division="fission", max_repair_frames=5)

    assert len(set(threads.track[cells.label == 3])) == 1
    assert not np.isin(threads.pieces[:, 0], np.flatnonzero(cells.label == 3)).any()


def test_nothing_is_taken_for_a_piece_where_nothing_is_to_be_mended(tmp_path):
    objects = drawn(*a_flickering_division((5, 7)), *neighbours(18))

    tracks, lineage, repairs = linked(tmp_path, objects, frames=18, max_repair_frames=0)

    assert lineage[lineage["parent"] == tracks[0, 1]]["first_frame"].tolist() == [5, 5]
    assert not repairs["repaired"].any()


def test_a_bud_that_is_one_mask_with_its_mother_for_a_frame_was_there_before(tmp_path):
    objects = drawn(*a_flickering_division((5, 7), small=25.0), *neighbours(18))

    tracks, lineage, _ = linked(tmp_path, objects, frames=18, division="budding")

    assert lineage.loc[tracks[5, 2], "first_frame"] == 5
    assert tracks[5, 2] == tracks[17, 2]


def test_a_cell_that_divides_in_another_ones_mask_is_not_lost_with_it(tmp_path):
    """The pair parts; only later one of them divides, alone."""
    before = a_meeting((3, 5), until=8)
    mother = [(frame, 1, 50.0, 45.0, 100.0) for frame in range(8, 10)]
    daughters = [(frame, label, y, 45.0, 50.0) for frame in range(10, 15) for label, y in ((1, 45.0), (4, 55.0))]
    other = [(frame, 2, 50.0, 58.0, 90.0) for frame in range(8, 15)]

    tracks, lineage, _ = linked(tmp_path, drawn(*before, *mother, *daughters, *other, *neighbours(15)), frames=15)

    assert lineage["parent"].dropna().tolist() == [tracks[0, 1]] * 2
    assert tracks[0, 2] == tracks[14, 2]


def test_two_masks_that_become_one_are_found_with_both_times_reversed():
    objects = drawn(*a_meeting((4, 6)), *neighbours(11))
    track = {1: 1, 2: 2, 3: 1}
    tracks = objects[["frame", "label"]].astype(int)
    tracks["track"] = tracks["label"].map(track).fillna(tracks["label"]).astype(int)
    # the second cell begins anew behind the mask, as a linker without memory leaves it
    tracks.loc[(tracks["label"] == 2) & (tracks["frame"] > 5), "track"] = 3
    cells = arrange_cells(objects, tracks)

    one, many = find_joints(cells, later=True), find_joints(cells, later=False)

    assert cells.frame[one.whole].tolist() == [4]
    assert cells.label[one.part].tolist() == [2]
    assert cells.frame[many.whole].tolist() == [5]
    assert cells.frame[many.part].tolist() == [6]
    assert follow_through(cells, division="fission", max_repair_frames=0).merged[0].hidden_after >= 0


@pytest.mark.parametrize("seed", range(12))
def test_no_cell_is_in_two_places_at_once_where_nothing_can_be_followed(tmp_path, seed):
    rng = np.random.default_rng(seed)
    rows = [
        (frame, label, *rng.uniform(0, 60, 2), rng.uniform(5, 160))
        for frame in range(7)
        for label in range(1, rng.integers(20, 45))
    ]
    objects = drawn(*rows)

    tracks, lineage, repairs = linked(tmp_path, objects, frames=7)

    places = [(frame, track) for (frame, _), track in tracks.items()]
    assert len(places) == len(set(places))
    pieces = repairs[repairs["kind"] == "split"]
    assert len(tracks) + len(pieces) == len(objects)
    assert set(lineage.index) == set(tracks.values())
    assert set(repairs["track"]) <= set(lineage.index)


def test_rows_without_a_track_are_left_out_when_tracks_change():
    objects = drawn(*neighbours(3))
    cells = arrange_cells(objects, pd.DataFrame({**objects[["frame", "label"]], "track": objects["label"]}))

    fewer = with_tracks(cells, np.where(cells.label == 11, -1, 7 - cells.track))

    assert sorted(set(fewer.label)) == [10, 12, 13]
    assert fewer.track.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert fewer.frame[fewer.first].tolist() == [0, 0, 0]
