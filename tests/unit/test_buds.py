"""Who the mother of a bud is, among those beside it."""

import numpy as np
from celltables import drawn, linked

from cytolapse.buds import choose_buds
from cytolapse.linkedcells import arrange_cells


def budding(tmp_path, *cells, frames=20):
    tracks, lineage, _ = linked(tmp_path, drawn(*cells), frames=frames, division="budding")
    return tracks, lineage


def still(label, y_um, x_um, *, area_um2=100.0, frames=20):
    return [(frame, label, y_um, x_um, area_um2) for frame in range(frames)]


def bud(label, *, at, since, frames=20):
    """A bud that grows out of a cell of 100 um2 to the right and keeps touching it."""
    rows = []
    for frame in range(since, frames):
        area_um2 = 8.0 + 3 * (frame - since)
        reach_um = np.sqrt(100 / np.pi) + np.sqrt(area_um2 / np.pi)
        rows.append((frame, label, at[0], at[1] + reach_um, area_um2))
    return rows


def test_of_two_cells_beside_a_bud_the_one_that_it_grows_away_from_is_not_its_mother(tmp_path):
    # at first the bud lies in the middle between the two; it stays on the rim of the first
    tracks, lineage = budding(tmp_path, *still(1, 50.0, 50.0), *still(2, 50.0, 64.6), *bud(3, at=(50.0, 50.0), since=4))
    assert lineage.loc[tracks[4, 3], "parent"] == tracks[0, 1]


def test_a_cell_that_grows_as_fast_as_the_bud_beside_it_is_not_its_mother(tmp_path):
    young = [(frame, 2, 50.0, 64.4 + 0.1 * (frame - 4), 70.0 * 1.05 ** (frame - 4)) for frame in range(20)]

    tracks, lineage = budding(tmp_path, *still(1, 50.0, 50.0), *young, *bud(3, at=(50.0, 50.0), since=4))

    assert lineage.loc[tracks[4, 3], "parent"] == tracks[0, 1]


def test_a_cell_that_comes_in_at_the_edge_beside_another_is_no_bud(tmp_path):
    # a micrometre off the rim, which in the middle of the field would pass
    grown = [(frame, 2, 50.0, 58.6, 12.0, True) for frame in range(5, 20)]

    _, lineage = budding(tmp_path, *[(*row, True) for row in still(1, 48.8, 50.0)], *grown)

    assert lineage["parent"].isna().all()


def test_a_large_cell_that_appears_beside_another_is_no_bud(tmp_path):
    tracks, lineage = budding(
        tmp_path, *still(1, 50.0, 50.0), *[(frame, 2, 50.0, 61.0, 90.0) for frame in range(6, 20)]
    )
    assert lineage["parent"].isna().all()
    assert lineage.loc[tracks[6, 2], "start"] == "appeared"


def cells_of(tmp_path, tracks, frames):
    rows = [(frame, track + 1, 100.0 * track, 0.0, 50.0) for track in range(tracks) for frame in range(frames)]
    objects = drawn(*rows)
    return arrange_cells(objects, objects[["frame", "label"]].assign(track=objects["label"] - 1))


def chosen(cells, frames, *pairs):
    """Pairs (mother's track, bud's track, frame, score) that are chosen; every track has a row a frame."""
    mother = np.array([pair[0] * frames + pair[2] - 1 for pair in pairs])
    newborn = np.array([pair[1] * frames + pair[2] for pair in pairs])
    score = np.array([pair[3] for pair in pairs])
    found = choose_buds(cells, mother, newborn, score, min_daughter_frames=3, min_division_score=0.25)
    return sorted(pairs[index][:2] for index in found)


def test_a_bud_whose_mother_is_taken_gets_her_where_the_other_has_another_one(tmp_path):
    cells = cells_of(tmp_path, 5, 30)

    # 3 fits 0 a little better than its own mother 1; 4 has none but 0
    found = chosen(cells, 30, (0, 3, 10, 0.91), (1, 3, 10, 0.90), (0, 4, 11, 0.80))

    assert found == [(0, 4), (1, 3)]


def test_a_bud_whose_mother_is_taken_has_none_where_the_other_has_no_other(tmp_path):
    cells = cells_of(tmp_path, 5, 30)

    assert chosen(cells, 30, (0, 3, 10, 0.91), (0, 4, 11, 0.80)) == [(0, 3)]


def test_no_mother_buds_within_half_of_the_usual_interval(tmp_path):
    cells = cells_of(tmp_path, 14, 80)
    usual = [(0, 2 + k, 10 + 10 * k, 0.9) for k in range(4)] + [(1, 6 + k, 10 + 10 * k, 0.9) for k in range(4)]

    # four frames after a bud another one: too early where buds come every ten frames
    found = chosen(cells, 80, *usual, (0, 10, 44, 0.8), (1, 11, 46, 0.8))

    assert (0, 10) not in found
    assert (1, 11) in found
    # what is usual is not known yet
    assert (0, 10) in chosen(cells, 80, *usual[:2], (0, 10, 24, 0.8))


def test_a_bud_that_nobody_fits_has_no_mother(tmp_path):
    cells = cells_of(tmp_path, 3, 30)

    assert chosen(cells, 30, (0, 2, 10, 0.2)) == []
