"""Budding yeast of the simulator: what is true of it, and what the pipeline finds of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from staged import staged, true_cells

from cytolapse.simulation import NUCLEI, YEAST, simulate_movie
from cytolapse.truth import truth_tables

MOVED_H = 2.0
# an optical section: no light from out of focus
COLONY = replace(YEAST, frames=48, founders=5, height_px=224, width_px=224, haze_fraction=0.0)
STEADY = replace(
    COLONY, frames=30, founders=2, height_px=160, width_px=160, growth_rate_cv=0.0, reporter_sd=0.0, share_sd=0.0
)


@pytest.fixture(scope="module")
def yeast():
    """A colony whose reporter goes into the nuclei."""
    return simulate_movie(replace(COLONY, nuclear_ratio=0.4, translocated_ratio=3.0, translocation_time_h=MOVED_H), 3)


@pytest.fixture(scope="module")
def found(yeast, tmp_path_factory):
    """What the pipeline makes of it, on the truth's own outlines."""
    rings = {"nuclear_ring_gap_px": 2, "nuclear_ring_px": 3}
    return staged(tmp_path_factory.mktemp("yeast"), yeast, nucleus_channel="nucleus", **rings)


def families(lineage, tracks, true):
    """(bud, mother, frame) of all that the pipeline calls buds, under their true numbers; 0 for what is no cell."""
    cell = {(f, t): true.get((f, la), 0) for f, la, t in tracks.astype(int).itertuples(index=False)}
    known = lineage.dropna(subset=["parent"])
    return {
        (cell[frame, track], cell.get((frame, parent), 0), frame)
        for track, parent, frame in known[["track", "parent", "first_frame"]].astype(int).itertuples(index=False)
    }


def true_families(simulated):
    cells = simulated.lineage.drop_duplicates("cell").dropna(subset=["parent"])
    return set(cells[["cell", "parent", "first_frame"]].astype(int).itertuples(index=False, name=None))


def test_a_mother_keeps_her_size_and_her_number_while_she_buds(yeast):
    cells, lineage = yeast.cells, yeast.lineage

    mothers = lineage[lineage["cycle"] > 0]
    assert len(mothers) > 15
    for row in mothers.itertuples():
        own = cells[(cells["cell"] == row.cell) & cells["frame"].between(row.first_frame, row.last_frame)]
        assert own["volume_um3"].to_numpy() == pytest.approx(row.size_birth)
        assert row.growth_rate_per_h == 0


def test_all_that_mother_and_bud_grow_by_goes_into_the_bud():
    steady = simulate_movie(STEADY, 1)
    lineage = steady.lineage.drop_duplicates("cell").set_index("cell")
    rate_per_h = STEADY.growth_rate_per_h

    seen = 0
    for bud, row in lineage.dropna(subset=["parent"]).iterrows():
        volume = steady.cells.set_index(["cell", "time_h"])["volume_um3"]
        host_um3 = volume[row["parent"]].iloc[-1]
        for time_h, bud_um3 in volume[bud].items():
            if bud_um3 < 0.59 * host_um3:  # it has not left her
                age_h = time_h - row["birth_time_h"]
                both = 0.2**3 * host_um3 + host_um3 * math.expm1(rate_per_h * age_h)
                assert bud_um3 == pytest.approx(both, rel=1e-6)
                seen += 1
    assert seen > 20


def test_a_bud_leaves_at_its_share_and_buds_itself_at_the_size_that_the_rule_says():
    exact = replace(STEADY, frames=60, division_cv=0.0, division_rule="sizer")

    lineage = simulate_movie(exact, 2).lineage

    first = lineage[(lineage["cycle"] == 0) & lineage["parent"].notna()].dropna(subset=["division_time_h"])
    assert len(first) >= 2
    # from bud_share of that size on its mother's rim to the size of the sizer, doubling every 1.5 hours
    full_um3 = exact.birth_size / exact.bud_share
    assert first["size_division"].to_numpy() == pytest.approx(full_um3)
    hours = math.log(1 + 0.6 - 0.2**3) / exact.growth_rate_per_h + math.log(1 / 0.6) / exact.growth_rate_per_h
    of_grown_mothers = first["size_birth"].to_numpy() == pytest.approx(0.2**3 * full_um3)
    assert of_grown_mothers
    assert first["cycle_time_h"].to_numpy() == pytest.approx(hours)


def test_a_bud_hangs_on_the_rim_of_its_mother_until_it_leaves(yeast):
    lineage = yeast.lineage.drop_duplicates("cell").set_index("cell")
    touching = small = 0
    for bud, row in lineage.dropna(subset=["parent"]).iterrows():
        seen = yeast.cells[yeast.cells["cell"] == bud].set_index("frame")
        for frame in seen.index[seen["volume_um3"] < 0.3 * seen["volume_um3"].max()]:
            small += 1
            near = ndimage.binary_dilation(yeast.labels[frame] == bud, iterations=2)
            touching += bool((near & (yeast.labels[frame] == row["parent"])).any())
    assert small > 50
    assert touching == small


def test_labels_of_yeast_have_the_area_that_the_tables_say(yeast):
    whole = yeast.cells[~yeast.cells["flag_border"]]

    ratio = whole["area_px"] * 0.25**2 / whole["area_um2"]
    assert ratio.mean() == pytest.approx(1, abs=0.01)
    assert ratio.quantile(0.02) > 0.94


def test_a_colony_of_yeast_spreads_without_overlaps():
    crowd = simulate_movie(replace(COLONY, frames=40, founders=12), 6)

    last = crowd.cells[(crowd.cells["frame"] == 39) & ~crowd.cells["flag_border"]]
    assert len(last) > 30
    assert (last["area_px"] * 0.25**2 / last["area_um2"]).min() > 0.85


def test_yeast_has_dark_cells_and_a_bright_rim_under_phase_contrast_and_shines_in_a_marker(yeast):
    phase = yeast.movie[-1, 0].astype(float)
    inside = ndimage.distance_transform_edt(yeast.labels[-1] > 0)
    outside = ndimage.distance_transform_edt(yeast.labels[-1] == 0)

    rim, field = phase[(outside > 0) & (outside < 2)].mean(), np.median(phase[outside > 15])
    assert rim > 2.5 * field
    assert phase[(inside > 2) & (inside < 4)].mean() < field
    marked = simulate_movie(replace(COLONY, frames=1, modality="fluorescence"), 1)
    assert marked.parameters.channels == ("marker", "reporter")
    mask = marked.labels[0] > 0
    assert marked.movie[0, 0][mask].mean() > 2 * marked.movie[0, 0][~mask].mean()


@pytest.mark.parametrize(("grows", "off"), [("volume", 0.03), ("area", 0.1)])
def test_a_steady_reporter_of_yeast_keeps_its_concentration_in_mothers_and_buds(grows, off):
    cells = simulate_movie(replace(STEADY, grows=grows), 1).cells

    assert cells["cell"].nunique() > 3
    # a bud that has just emerged grows manyfold in a step, faster in volume than in area
    assert cells["concentration_au_per_um3"].to_numpy() == pytest.approx(400, rel=off)
    assert cells["concentration_au_per_um3"].median() == pytest.approx(400, rel=0.01)


def test_the_truth_of_yeast_has_a_cycle_a_bud_in_the_tables_of_a_measurement(yeast):
    growth = truth_tables(yeast, experiment="sim", movie="a")["growth"]

    buds = growth[growth["parent_id"].notna() & (growth["cycle"] == 0)]
    assert (growth["division_kind"] == "budding").all()
    assert growth["sister_id"].isna().all()
    by_mother = growth.groupby("cell_id")["cycle"].max()
    counted = buds["parent_id"].value_counts()
    assert counted.to_dict() == by_mother[by_mother > 0].to_dict()
    ends = growth.dropna(subset=["division_time_h"]).set_index(["cell_id", "cycle"])["division_time_h"]
    assert sorted(ends) == pytest.approx(sorted(buds["birth_time_h"]))
    assert growth["frames_observed"].sum() == len(yeast.cells)


def test_every_bud_that_appears_in_a_colony_is_given_to_its_mother(yeast, found):
    given, true = families(found["lineage"], found["tracks"], true_cells(found["labels"], yeast)), true_families(yeast)

    assert len(true) >= 20
    recall, precision = len(given & true) / len(true), len(given & true) / len(given)
    assert recall >= 0.95
    assert precision >= 0.95


def test_in_a_crowded_colony_nine_of_ten_buds_are_given_to_their_mothers(tmp_path):
    crowd = simulate_movie(replace(COLONY, founders=14), 2)

    tables = staged(tmp_path, crowd)

    given, true = (
        families(tables["lineage"], tables["tracks"], true_cells(tables["labels"], crowd)),
        true_families(crowd),
    )
    assert len(true) > 50
    assert len(given & true) > 0.9 * len(true)
    assert len(given & true) > 0.9 * len(given)


def test_what_a_threshold_outlines_as_a_bud_is_given_to_its_mother(tmp_path):
    marked = simulate_movie(replace(COLONY, modality="fluorescence"), 3)

    tables = staged(tmp_path, marked, by_threshold=True)

    # many a bud is outlined with its mother until it is large: none of these is found, or found late
    given = {pair[:2] for pair in families(tables["lineage"], tables["tracks"], true_cells(tables["labels"], marked))}
    true = {pair[:2] for pair in true_families(marked)}
    assert len(given & true) >= 5
    assert len(given & true) > 0.9 * len(given)


def test_mothers_have_a_cycle_a_bud_and_births_within_a_frame_of_the_truth(yeast, found):
    growth, true = found["growth"], truth_tables(yeast, experiment="simulated", movie="a")["growth"]

    assert (growth["division_kind"] == "budding").all()
    assert len(growth) == pytest.approx(len(true), abs=2)
    interval_h = yeast.parameters.frame_interval_min / 60
    births = (np.sort(growth["birth_time_h"].dropna()), np.sort(true["birth_time_h"].dropna()))
    assert len(births[0]) == len(births[1])
    assert np.abs(births[0] - births[1]).max() <= interval_h


def ratios(expression, true, simulated, inner, outer):
    """Measured ratio of two compartments beside the true one, of whole cells."""
    light = expression[expression["channel"] == "reporter"]
    cell = [true.get((f, la), 0) for f, la in zip(light["frame"], light["label"], strict=True)]
    means = light.assign(cell=cell).pivot_table(index=["frame", "cell"], columns="compartment", values="mean_au")
    both = means.reset_index().merge(simulated.cells[["frame", "cell", "time_h", "nuclear_ratio", "flag_border"]])
    both = both[~both["flag_border"].astype(bool)].dropna()
    return both.assign(measured=both[inner] / both[outer])


def test_the_ratio_of_nucleus_to_ring_follows_a_reporter_that_moves(yeast, found):
    seen = ratios(found["expression"], true_cells(found["labels"], yeast), yeast, "nucleus", "ring")
    before, after = seen[seen["time_h"] < MOVED_H], seen[seen["time_h"] > MOVED_H + 0.5]

    assert len(before) > 80
    assert len(after) > 200
    # all but the blur is taken out: a nucleus of eight pixels that is darker than what is around gets light of it
    assert (after["measured"] / after["nuclear_ratio"]).median() == pytest.approx(1, abs=0.04)
    assert (before["measured"] - before["nuclear_ratio"]).median() == pytest.approx(0.08, abs=0.05)
    # cells differ by a tenth, and are told apart by it
    assert np.corrcoef(after["measured"], after["nuclear_ratio"].astype(float))[0, 1] > 0.8


def test_the_ratio_of_a_nucleus_to_its_ring_follows_a_reporter_that_moves(tmp_path):
    # one alone: where cells lie over each other, a ring has light of both
    flat = replace(NUCLEI, frames=6, founders=1, height_px=320, width_px=320, surround_um=0.0, haze_fraction=0.0)
    moving = replace(flat, nuclear_ratio=0.5, translocated_ratio=2.5, translocation_time_h=0.4, translocation_h=0.0)
    simulated = simulate_movie(replace(moving, reporter_au_per_um3=1500.0), 5)

    rings = {"nuclear_ring_gap_px": 3, "nuclear_ring_px": 5, "background": "frame"}
    tables = staged(tmp_path, simulated, object="nucleus", **rings)

    seen = ratios(tables["expression"], true_cells(tables["labels"], simulated), simulated, "whole", "ring")
    before, after = seen[seen["time_h"] < 0.4], seen[seen["time_h"] > 0.4]
    assert min(len(before), len(after)) == 3
    for part in (before, after):
        assert (part["measured"] / part["nuclear_ratio"]).median() == pytest.approx(1, abs=0.08)


def test_a_reporter_that_moves_is_all_there_in_its_compartments(yeast):
    tables = truth_tables(yeast, experiment="sim", movie="a")
    whole, nucleus, ring = (
        tables["expression"][tables["expression"]["compartment"] == name].reset_index(drop=True)
        for name in ("whole", "nucleus", "ring")
    )

    ratio = (nucleus["mean_au"] / ring["mean_au"]).to_numpy(float)
    assert ratio == pytest.approx(yeast.cells["nuclear_ratio"].to_numpy(), nan_ok=True)
    cytoplasm_px = tables["cells"]["area_um2"] / 0.25**2 - nucleus["total_au"] / nucleus["mean_au"]
    summed = (nucleus["total_au"] + ring["mean_au"] * cytoplasm_px).to_numpy(float)
    known = ~np.isnan(ratio)
    assert known.sum() > 200
    assert summed[known] == pytest.approx(whole["total_au"].to_numpy(float)[known])
    mean = yeast.cells.groupby("time_h")["nuclear_ratio"].mean()
    assert mean[mean.index < MOVED_H].mean() == pytest.approx(0.4, rel=0.1)
    assert mean[mean.index > MOVED_H + 0.6].mean() == pytest.approx(3.0, rel=0.1)


def test_a_bud_gets_its_nucleus_before_it_leaves_and_shows_it_in_the_third_channel(yeast):
    assert yeast.parameters.channels == ("phase", "reporter", "nucleus")
    assert yeast.movie.shape[1] == 3
    buds = yeast.cells[yeast.cells["parent"].notna()]
    with_nucleus = buds.groupby("cell")["nuclear_ratio"].agg(lambda ratio: ratio.notna().to_numpy())
    assert not any(rows[0] for rows in with_nucleus)
    assert all((np.diff(rows.astype(int)) >= 0).all() for rows in with_nucleus)
    last = yeast.cells[(yeast.cells["frame"] == 47) & ~yeast.cells["flag_border"]]
    brightest = {row.cell: yeast.movie[47, 2][yeast.labels[47] == row.cell].max() for row in last.itertuples()}
    dark = [brightest[row.cell] for row in last.itertuples() if math.isnan(row.nuclear_ratio)]
    lit = [brightest[row.cell] for row in last.itertuples() if not math.isnan(row.nuclear_ratio)]
    assert min(lit) > 2 * max(dark)
