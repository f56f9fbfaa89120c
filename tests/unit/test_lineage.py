import json

import numpy as np
import pandas as pd
import pytest
from celltables import DIVISION, LINK, REPAIR, drawn, linked, neighbours

from cytolapse.divisions import Divisions, choose_divisions, find_divisions
from cytolapse.lineage import cut_tracks, link_movie
from cytolapse.linkedcells import arrange_cells
from cytolapse.tables import empty_table, read_metadata, read_table, typed, write_table


def a_division(at=5, until=11, late=0):
    """A nucleus of 100 um2 that divides; the second daughter may be late to be seen."""
    mother = [(frame, 1, 50.0, 50.0, 100.0) for frame in range(at)]
    near = [(frame, 1, 50.0, 45.0, 50.0) for frame in range(at, until)]
    far = [(frame, 2, 50.0, 55.0, 52.0) for frame in range(at + late, until)]
    return mother + near + far


def test_a_division_ends_the_mother_and_begins_two_daughters(tmp_path):
    tracks, lineage, _ = linked(tmp_path, drawn(*a_division(), *neighbours(11)), frames=11)

    mother, one, other = tracks[4, 1], tracks[5, 1], tracks[5, 2]
    assert len({mother, one, other}) == 3
    assert lineage.loc[[one, other], "parent"].tolist() == [mother, mother]
    assert lineage.loc[mother, ["first_frame", "last_frame", "end", "division_frame"]].tolist() == [0, 4, "division", 5]
    assert lineage.loc[mother, "division_score"] > 0.5
    assert lineage.loc[one, ["start", "end"]].tolist() == ["division", "movie_end"]
    assert lineage["division_score"].count() == 1


def test_a_mother_that_ends_and_two_tracks_that_begin_are_a_division(tmp_path):
    tracks, lineage, _ = linked(tmp_path, drawn(*a_division(), *neighbours(11)), frames=11, search_range_um=2.0)

    assert lineage.loc[[tracks[5, 1], tracks[5, 2]], "parent"].tolist() == [tracks[4, 1]] * 2


def test_a_daughter_one_frame_late_is_found_in_a_window_of_two_at_half_the_score(tmp_path):
    objects = drawn(*a_division(late=1), *neighbours(11))

    _, narrow, _ = linked(tmp_path, objects, frames=11, division_window_frames=1)
    tracks, wide, _ = linked(tmp_path, objects, frames=11, division_window_frames=2)
    on_time = linked(tmp_path, drawn(*a_division(), *neighbours(11)), frames=11, division_window_frames=2)[1]

    assert narrow["parent"].isna().all()
    assert wide.loc[[tracks[5, 1], tracks[6, 2]], "parent"].tolist() == [tracks[4, 1]] * 2
    assert wide.loc[tracks[4, 1], "division_frame"] == 5
    # the usual movement is wider over a gap, which gives back a little
    assert wide["division_score"].max() == pytest.approx(on_time["division_score"].max() / 2, rel=0.02)


@pytest.mark.parametrize("clearer", ["first", "second"])
def test_a_track_that_carried_on_through_a_division_may_end_in_the_next(clearer):
    # 0 to 3 the mother; she carries on as one daughter until 9, when both of hers are newborn
    first, second = (1.0, 0.6) if clearer == "first" else (0.6, 1.0)
    frame = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 4, 5, 6, 7, 10, 11, 12, 10, 11, 12])
    track = np.array([0] * 10 + [1] * 4 + [2] * 3 + [3] * 3)
    objects = drawn(*((f, t, 50.0, 45.0 + 10 * t, 60.0) for f, t in zip(frame, track + 1, strict=True)))
    cells = arrange_cells(objects, pd.DataFrame({"frame": frame, "label": track + 1, "track": track}))
    row = {(int(f), int(t)): index for index, (f, t) in enumerate(zip(cells.frame, cells.track, strict=True))}
    divisions = Divisions(
        np.array([row[3, 0], row[9, 0]]),
        np.array([row[4, 0], row[10, 2]]),
        np.array([row[4, 1], row[10, 3]]),
        np.array([first, second]),
    )

    chosen = choose_divisions(cells, divisions, min_daughter_frames=3, min_division_score=0.25)

    assert sorted(chosen.newborn) == sorted(divisions.newborn)


def test_a_daughter_and_her_own_daughters_have_three_generations(tmp_path):
    first = a_division(at=4, until=10)[:-6]
    second = [(f, 2, 50.0, 57.0 + f - 4, 52.0 + 8 * (f - 4)) for f in range(4, 10)]
    grand = [(f, la, y, 63.0, 46.0) for f in range(10, 16) for la, y in ((2, 45.5), (3, 54.5))]
    rest = [(f, 1, 50.0, 45.0, 50.0) for f in range(10, 16)]

    tracks, lineage, _ = linked(tmp_path, drawn(*first, *second, *grand, *rest, *neighbours(16)), frames=16)

    assert lineage.loc[tracks[4, 2], ["start", "end"]].tolist() == ["division", "division"]
    assert lineage.loc[[tracks[10, 2], tracks[10, 3]], "parent"].tolist() == [tracks[4, 2]] * 2
    assert lineage.loc[tracks[4, 2], "parent"] == tracks[3, 1]


def test_a_cell_that_appears_beside_one_that_stays_the_same_is_no_daughter(tmp_path):
    stays = [(frame, 1, 50.0, 50.0, 100.0) for frame in range(10)]
    comes = [(frame, 2, 50.0, 61.0, 95.0) for frame in range(5, 10)]

    tracks, lineage, _ = linked(tmp_path, drawn(*stays, *comes), frames=10)

    assert tracks[0, 1] == tracks[9, 1]
    assert lineage["parent"].isna().all()
    assert lineage.loc[tracks[5, 2], "start"] == "appeared"


@pytest.mark.parametrize(("min_daughter_frames", "divisions"), [(2, 1), (3, 0)])
def test_a_speck_of_two_frames_is_a_daughter_only_where_two_frames_are_enough(tmp_path, min_daughter_frames, divisions):
    objects = drawn(*(cell for cell in a_division() if cell[1] == 1 or cell[0] < 7), *neighbours(11))

    _, lineage, _ = linked(tmp_path, objects, frames=11, min_daughter_frames=min_daughter_frames)

    assert (lineage["end"] == "division").sum() == divisions


def test_a_nucleus_cut_in_two_halves_scores_below_one_that_parts(tmp_path):
    apart = a_division()
    halves = [(f, la, y, x + (3.0 if la == 1 else -3.0) * (f >= 5), area) for f, la, y, x, area in apart]

    parts, cut = (
        linked(tmp_path, drawn(*cells, *neighbours(11)), frames=11, min_division_score=0.0)[1]
        for cells in (apart, halves)
    )

    assert cut["division_score"].max() < 0.5 * parts["division_score"].max()


def test_of_two_mothers_around_a_newborn_the_one_that_halves_wins(tmp_path):
    stays = [(frame, 3, 50.0, 66.0, 100.0) for frame in range(11)]

    tracks, lineage, _ = linked(tmp_path, drawn(*a_division(), *stays, *neighbours(11)), frames=11)

    assert lineage.loc[tracks[5, 2], "parent"] == tracks[4, 1]
    assert tracks[0, 3] == tracks[10, 3]


def test_two_divisions_side_by_side_keep_their_families(tmp_path):
    beside = [(frame, label + 2, y, x + 26.0, area) for frame, label, y, x, area in a_division()]

    tracks, lineage, _ = linked(tmp_path, drawn(*a_division(), *beside, *neighbours(11)), frames=11)

    assert lineage.loc[[tracks[5, 1], tracks[5, 2]], "parent"].tolist() == [tracks[4, 1]] * 2
    assert lineage.loc[[tracks[5, 3], tracks[5, 4]], "parent"].tolist() == [tracks[4, 3]] * 2


def test_a_budding_mother_keeps_her_track_and_has_a_bud_of_each_time(tmp_path):
    objects = drawn(
        *((frame, 1, 50.0, 50.0, 100.0) for frame in range(20)),
        *((frame, 2, 50.0, 58.0 + 0.1 * (frame - 4), 12.0 + 3 * (frame - 4)) for frame in range(4, 20)),
        *((frame, 3, 42.0 - 0.1 * (frame - 12), 50.0, 12.0 + 3 * (frame - 12)) for frame in range(12, 20)),
        *((frame, 4, 50.0, 70.0, 100.0) for frame in range(20)),
    )

    tracks, lineage, _ = linked(tmp_path, objects, frames=20, division="budding")

    mother = tracks[0, 1]
    assert tracks[19, 1] == mother
    assert lineage.loc[[tracks[4, 2], tracks[12, 3]], "parent"].tolist() == [mother, mother]
    assert lineage.loc[mother, "end"] == "movie_end"
    assert lineage["division_score"].isna().all()
    assert len(lineage) == 4


def test_tracks_are_numbered_from_1_by_first_frame_and_label(tmp_path):
    _, lineage, _ = linked(tmp_path, drawn(*a_division(), *neighbours(11)), frames=11)

    assert lineage.index.tolist() == list(range(1, len(lineage) + 1))
    assert lineage["first_frame"].is_monotonic_increasing


def test_every_cell_has_exactly_one_track(tmp_path):
    objects = drawn(*a_division(), *neighbours(11))

    tracks, _, _ = linked(tmp_path, objects, frames=11)

    assert set(tracks) == set(zip(objects["frame"], objects["label"], strict=True))


def test_a_movie_without_cells_gives_typed_empties(tmp_path):
    tracks, lineage, _ = linked(tmp_path, empty_table("objects"), frames=11)

    assert tracks == {}
    assert lineage.empty


def test_one_frame_has_no_division(tmp_path):
    _, lineage, _ = linked(tmp_path, drawn((0, 1, 50, 50, 100), (0, 2, 55, 50, 50)), frames=1)

    assert lineage["start"].tolist() == ["movie_start", "movie_start"]
    assert lineage["end"].tolist() == ["movie_end", "movie_end"]


def test_a_refused_movie_gives_typed_empties_that_say_where_they_come_from(tmp_path):
    (tmp_path / "movie.json").write_text(json.dumps({"status": "refused", "reason": "cut off"}))
    metadata = {"object": "nucleus", "provenance": json.dumps({"measure": {"code": "m"}})}
    write_table("objects", empty_table("objects"), tmp_path / "objects.parquet", metadata=metadata)
    names = ("tracks", "lineage", "repairs")
    outputs = [tmp_path / f"{name}.parquet" for name in names]

    link_movie(
        tmp_path / "movie.json",
        tmp_path / "objects.parquet",
        *outputs,
        frame_interval_min=None,
        provenance={"code": "l"},
        **LINK,
        **DIVISION,
        **REPAIR,
    )

    for name, path in zip(names, outputs, strict=True):
        assert read_table(name, path).empty
        found = read_metadata(path)
        assert found["object"] == "nucleus"
        provenance = json.loads(found["provenance"])
        assert provenance["measure"] == {"code": "m"}
        assert (provenance["link"]["code"], provenance["link"]["solver"]) == ("l", "none")


def test_a_way_to_divide_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"division is 'fusion'; it must be 'fission' or 'budding'"):
        linked(tmp_path, drawn(*a_division()), frames=11, division="fusion")


def test_tracks_of_other_objects_are_refused():
    tracks = typed("tracks", pd.DataFrame({"frame": [0, 1], "label": [1, 7], "track": [1, 1]}))

    with pytest.raises(ValueError, match=r"cell 7 of frame 1 is not among the objects"):
        arrange_cells(drawn((0, 1, 1, 1, 1), (1, 1, 1, 1, 1)), tracks)


def test_cutting_where_nothing_divides_changes_no_track():
    objects = drawn(*neighbours(4))
    tracks = typed("tracks", objects[["frame", "label"]].assign(track=objects["label"] - 9))
    cells = arrange_cells(objects, tracks)

    divisions = find_divisions(cells, frames=4, **DIVISION)
    cut, lineage = cut_tracks(cells, divisions, frames=4, division="fission", swallowed=np.empty(0, int))

    pd.testing.assert_frame_equal(cut, tracks.sort_values(["frame", "label"], ignore_index=True))
    assert len(lineage) == 4
