"""Cells of the simulator: how they grow, divide, express and move."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from cytolapse.shapes import measure_shapes
from cytolapse.simulation import NUCLEI, Simulation, simulate_movie

SMALL = Simulation(frames=3, height_px=96, width_px=96, founders=2)
EXACT = replace(
    SMALL,
    growth_rate_cv=0.0,
    division_cv=0.0,
    share_sd=0.0,
    width_of_cell_cv=0.0,
    reporter_sd=0.0,
    growth_rate_per_h=1.0,
)


def summed_over_sisters(simulated, column):
    """A column of the lineage summed over both daughters, by mother."""
    lineage = simulated.lineage
    daughters = lineage.dropna(subset=["parent"]).groupby("parent")
    return daughters.filter(lambda sisters: len(sisters) == 2).groupby("parent")[column].sum()


@pytest.mark.parametrize("grows", ["length", "area", "volume"])
def test_a_rod_doubles_what_grows_within_ln2_over_its_rate(grows):
    # an hour at ln 2 per hour, in cells that have just been born and divide at once after
    parameters = replace(EXACT, grows=grows, growth_rate_per_h=math.log(2), frames=24, founders=1, height_px=128)

    simulated = simulate_movie(parameters, 0)

    column = {"length": "length_um", "area": "area_um2", "volume": "volume_um3"}[grows]
    whole = simulated.lineage.dropna(subset=["birth_time_h", "division_time_h"])
    assert len(whole) >= 1
    assert whole["cycle_time_h"].to_numpy() == pytest.approx(1.0)
    assert (whole["size_division"] / whole["size_birth"]).to_numpy() == pytest.approx(2.0)
    cell = simulated.cells[simulated.cells["cell"] == whole["cell"].iloc[0]]
    slope_per_h = np.polyfit(cell["time_h"], np.log(cell[column]), 1)[0]
    assert slope_per_h == pytest.approx(math.log(2))


def test_a_nucleus_grows_exponentially_in_area_and_keeps_its_height(nuclei):
    cells = nuclei.cells
    rate_per_h = nuclei.lineage.set_index("cell")["growth_rate_per_h"]

    for cell, rows in cells.groupby("cell"):
        if len(rows) > 2:
            slope_per_h = np.polyfit(rows["time_h"], np.log(rows["area_um2"]), 1)[0]
            assert slope_per_h == pytest.approx(rate_per_h[cell])
    assert (cells["volume_um3"] / cells["area_um2"]).to_numpy() == pytest.approx(2 / 3 * NUCLEI.height_of_cell_um)


def test_growth_rates_differ_between_cells_by_the_coefficient_of_variation(colony):
    rates_per_h = colony.lineage["growth_rate_per_h"]

    assert len(rates_per_h) > 50
    assert rates_per_h.mean() == pytest.approx(1.0, abs=0.04)
    assert rates_per_h.std() / rates_per_h.mean() == pytest.approx(0.1, abs=0.03)


def test_cells_add_one_birth_size_whatever_size_they_were_born_at():
    simulated = simulate_movie(replace(SMALL, division_cv=0.0, share_sd=0.05, frames=36, growth_rate_per_h=1.5), 2)

    whole = simulated.lineage.dropna(subset=["size_birth", "size_division"])
    assert whole["size_birth"].std() > 0.05
    assert whole["added_size"].to_numpy() == pytest.approx(simulated.parameters.birth_size)


def test_what_grows_is_shared_out_at_division_without_loss(colony):
    mothers = colony.lineage.dropna(subset=["size_division"]).set_index("cell")

    daughters = summed_over_sisters(colony, "size_birth")

    assert len(daughters) > 10
    assert daughters.to_numpy() == pytest.approx(mothers.loc[daughters.index, "size_division"].to_numpy())
    assert summed_over_sisters(colony, "division_ratio").to_numpy() == pytest.approx(1.0)


@pytest.mark.parametrize("column", ["length_{}_um", "area_{}_um2", "volume_{}_um3"])
def test_a_dividing_rod_passes_into_its_daughters_without_a_step_in_size(colony, column):
    mothers = colony.lineage.set_index("cell")[column.format("division")]

    daughters = summed_over_sisters(colony, column.format("birth"))

    assert daughters.to_numpy() == pytest.approx(mothers[daughters.index].to_numpy())


def test_a_reporter_made_in_step_with_growth_keeps_its_concentration():
    steady = replace(EXACT, grows="volume", frames=20, height_px=160, width_px=160)

    cells = simulate_movie(steady, 3).cells

    # growth dilutes what production adds; the sum over short steps is exact to a few parts in a million
    assert cells["concentration_au_per_um3"].to_numpy() == pytest.approx(25_000, rel=1e-4)
    assert (cells["production_rate_au_per_h"] / cells["volume_um3"]).to_numpy() == pytest.approx(25_000, rel=1e-6)


def test_the_total_of_the_reporter_grows_by_what_is_produced(colony):
    cells = colony.cells
    rows = cells[cells["cell"] == colony.lineage["cell"].iloc[5]]
    made_au = np.diff(rows["total_au"])
    rate_au_per_h = rows["production_rate_au_per_h"].to_numpy()

    mean_rate_au_per_h = (rate_au_per_h[1:] + rate_au_per_h[:-1]) / 2

    assert len(rows) > 4
    assert made_au == pytest.approx(mean_rate_au_per_h * 5 / 60, rel=0.2)


def test_of_a_reporter_that_matures_slowly_a_part_is_diluted_before_it_is_seen():
    steady = replace(EXACT, grows="volume", frames=6, height_px=160, width_px=160, maturation_h=0.5)

    cells = simulate_movie(steady, 3).cells

    # at a rate of 1 per hour, half an hour's worth has yet to mature: 1 of 1.5 is seen
    assert cells["concentration_au_per_um3"].to_numpy() == pytest.approx(25_000 / 1.5, rel=0.01)


def test_bleaching_takes_its_share_with_every_frame():
    still = replace(EXACT, frames=6, growth_rate_per_h=1e-3)
    kept, bleached = (simulate_movie(replace(still, bleaching_per_frame=share), 1).cells for share in (0.0, 0.1))

    ratio = bleached["total_au"] / kept["total_au"]

    assert ratio.to_numpy() == pytest.approx(0.9 ** bleached["frame"].to_numpy(float), rel=1e-3)


def test_silent_cells_and_their_daughters_make_no_reporter():
    some = simulate_movie(replace(SMALL, founders=6, frames=14, height_px=160, width_px=160, silent_fraction=0.5), 4)

    silent = some.cells.groupby("cell")["total_au"].max() == 0
    family = some.lineage.dropna(subset=["parent"])
    assert 0 < silent.mean() < 1
    assert len(family) > 4
    assert (silent[family["cell"]].to_numpy() == silent[family["parent"]].to_numpy()).all()
    assert (some.cells.loc[some.cells["cell"].map(silent), "production_rate_au_per_h"] == 0).all()


def test_bent_rods_keep_their_area_and_their_midline_is_longer_than_they_reach():
    bent = simulate_movie(replace(SMALL, frames=1, founders=3, bend_rad=1.5, height_px=128, width_px=128), 8)

    whole = bent.cells[~bent.cells["flag_border"]]
    assert (whole["area_px"] * 0.1**2 / whole["area_um2"]).to_numpy() == pytest.approx(1, abs=0.03)
    # of straight ones the two are the same
    reach_um = []
    for row in whole.itertuples():
        places_um = 0.1 * np.argwhere(bent.labels[0] == row.cell)
        reach_um.append(pdist(places_um).max() + 0.1)
    assert (whole["length_um"] - reach_um).max() > 0.15


def test_irregular_nuclei_keep_their_area_and_are_no_ellipses():
    uneven = replace(NUCLEI, frames=1, height_px=256, width_px=256, founders=8, surround_um=0.0, irregularity=0.08)
    smooth, rough = (simulate_movie(replace(uneven, irregularity=depth), 2) for depth in (0.0, 0.08))

    for simulated in (smooth, rough):
        whole = simulated.cells[~simulated.cells["flag_border"]]
        assert (whole["area_px"] * 0.25**2 / whole["area_um2"]).to_numpy() == pytest.approx(1, abs=0.01)
    filled = [_share_of_hull(simulated) for simulated in (smooth, rough)]
    assert filled[1] < filled[0] - 0.005


def _share_of_hull(simulated):
    """Mean share of the convex hull that whole cells fill."""
    shapes = measure_shapes(simulated.labels[0])
    return shapes.loc[~shapes["flag_border"], "solidity"].mean()


def test_daughters_share_the_reporter_by_size(colony):
    at_birth = colony.lineage.dropna(subset=["parent", "size_birth"]).set_index("cell")
    first = colony.cells.groupby("cell").first().loc[at_birth.index]

    # sisters start from one concentration, and fluctuate apart from there
    spread = first.groupby("parent")["concentration_au_per_um3"].agg(["min", "max", "count"])
    spread = spread[spread["count"] == 2]
    assert (spread["max"] / spread["min"]).median() < 1.1


def test_a_crowded_microcolony_spreads_without_overlaps():
    crowd = replace(SMALL, frames=28, height_px=180, width_px=180, founders=1, growth_rate_per_h=2.0)

    simulated = simulate_movie(crowd, 6)

    last = simulated.cells[(simulated.cells["frame"] == 27) & ~simulated.cells["flag_border"]]
    assert len(last) > 50
    # overlap would hand pixels of one cell to another
    assert (last["area_px"] * 0.1**2 / last["area_um2"]).min() > 0.93


def test_nuclei_wander_apart_and_cells_come_in_from_the_surroundings(nuclei):
    cells = nuclei.cells[~nuclei.cells["flag_border"]]
    moved_um = cells.groupby("cell")[["y_um", "x_um"]].agg(lambda places: places.max() - places.min()).max(axis=1)

    assert moved_um.median() > 1
    assert (cells["area_px"] * 0.25**2 / cells["area_um2"]).min() > 0.95


def test_a_colony_that_grows_out_of_the_frame_is_forgotten_outside_of_it():
    tiny = replace(SMALL, height_px=40, width_px=40, founders=1, frames=40, growth_rate_per_h=2.0)

    simulated = simulate_movie(tiny, 1)

    # 2^9 cells without forgetting; a field of 16 um2 and its rim hold but a few
    assert simulated.cells.groupby("frame").size().max() < 25
    assert simulated.lineage["end"].eq("left").any()


def test_founders_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"founders is 90, but after \d+ no room was left in a field of 6 x 6 um"):
        simulate_movie(replace(SMALL, founders=90, height_px=60, width_px=60), 0)
