"""The simulator: what it says of its cells is true of its pictures."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile

import demo
from cytolapse.simulation import (
    NUCLEI,
    Simulation,
    camera_counts,
    number_labels,
    simulate_movie,
    write_annotations,
    write_movie,
)

SMALL = Simulation(frames=3, height_px=96, width_px=96, founders=2)
EXACT = replace(
    SMALL,
    growth_rate_cv=0.0,
    added_size_cv=0.0,
    share_sd=0.0,
    width_of_cell_cv=0.0,
    reporter_sd=0.0,
    growth_rate_per_h=1.0,
)
DARK = replace(SMALL, frames=1, founders=0, modality="fluorescence", vignetting=0.0, tilt=0.0, offset_au=100.0)


@pytest.fixture(scope="module")
def colony():
    """Four microcolonies that grow into each other."""
    return simulate_movie(Simulation(frames=24, founders=4, grows="area", share_sd=0.03), 3)


@pytest.fixture(scope="module")
def nuclei():
    return simulate_movie(replace(NUCLEI, frames=8, height_px=256, width_px=256, founders=12, surround_um=8.0), 5)


def summed_over_sisters(simulated, column):
    """A column of the lineage summed over both daughters, by mother."""
    lineage = simulated.lineage
    daughters = lineage.dropna(subset=["parent"]).groupby("parent")
    return daughters.filter(lambda sisters: len(sisters) == 2).groupby("parent")[column].sum()


def test_one_seed_gives_one_movie_and_another_seed_another():
    first, again, other = (simulate_movie(SMALL, seed) for seed in (1, 1, 2))

    assert np.array_equal(first.movie, again.movie)
    assert np.array_equal(first.labels, again.labels)
    pd.testing.assert_frame_equal(first.cells, again.cells)
    pd.testing.assert_frame_equal(first.lineage, again.lineage)
    assert not np.array_equal(first.movie, other.movie)


def test_another_camera_sees_the_same_cells():
    cells = simulate_movie(SMALL, 1).cells

    noisy = simulate_movie(replace(SMALL, electrons_per_au=0.1, bits=12, background_au=300.0), 1)

    pd.testing.assert_frame_equal(cells, noisy.cells)


def test_movie_labels_and_tables_have_the_shapes_they_promise():
    simulated = simulate_movie(replace(SMALL, height_px=64), 4)

    assert simulated.movie.shape == (3, 2, 64, 96)
    assert simulated.labels.shape == (3, 64, 96)
    assert simulated.movie.dtype == simulated.labels.dtype == np.uint16
    assert simulated.cells["frame"].unique().tolist() == [0, 1, 2]


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
    simulated = simulate_movie(replace(SMALL, added_size_cv=0.0, share_sd=0.05, frames=36, growth_rate_per_h=1.5), 2)

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


def test_births_and_divisions_lie_in_the_interval_before_the_frame_that_shows_them(colony):
    lineage, interval_h = colony.lineage, 5 / 60
    for event in ("birth", "division"):
        seen = lineage.dropna(subset=[f"{event}_frame"])
        before_h = seen[f"{event}_frame"].astype(float) * interval_h - seen[f"{event}_time_h"]
        assert before_h.between(0, interval_h + 1e-9).all()
    daughters = lineage[lineage["start"] == "division"]
    assert (daughters["birth_frame"] == daughters["first_frame"]).all()
    divided = lineage[lineage["end"] == "division"]
    assert (divided["division_frame"] == divided["last_frame"] + 1).all()
    founders = lineage[lineage["first_frame"] == 0]
    assert founders["birth_time_h"].isna().all()
    assert founders["start"].eq("movie_start").all()


def test_a_label_has_the_area_and_the_place_that_the_tables_say(colony):
    whole = colony.cells[~colony.cells["flag_border"]]

    assert len(whole) > 300
    area_um2 = whole["area_px"] * 0.1**2
    assert (area_um2 / whole["area_um2"]).to_numpy() == pytest.approx(1.0, abs=0.04)
    assert (area_um2 / whole["area_um2"]).mean() == pytest.approx(1.0, abs=0.003)
    for row in whole.sample(40, random_state=0).itertuples():
        y_px, x_px = np.nonzero(colony.labels[row.frame] == row.cell)
        assert len(y_px) == row.area_px
        assert y_px.mean() == pytest.approx(row.y_px, abs=0.5)
        assert x_px.mean() == pytest.approx(row.x_px, abs=0.5)


def test_a_label_reaches_as_far_along_and_across_its_axis_as_the_cell_is_long_and_wide():
    simulated = simulate_movie(replace(SMALL, frames=1, founders=4), 8)

    whole = simulated.cells[~simulated.cells["flag_border"]]
    assert len(whole) >= 3
    for row in whole.itertuples():
        y_px, x_px = np.nonzero(simulated.labels[0] == row.cell)
        cos, sin = math.cos(row.orientation_rad), math.sin(row.orientation_rad)
        along_px, across_px = y_px * cos + x_px * sin, x_px * cos - y_px * sin
        # centres of the outermost pixels lie up to a pixel inside the outline
        assert 0 < row.length_um - np.ptp(along_px) * 0.1 < 0.2
        assert 0 < row.width_um - np.ptp(across_px) * 0.1 < 0.2


def test_every_label_is_a_row_of_the_table_and_every_row_a_label(colony, nuclei):
    for simulated in (colony, nuclei):
        for frame, labels in enumerate(simulated.labels):
            rows = simulated.cells[simulated.cells["frame"] == frame]
            assert sorted(rows["cell"]) == [number for number in np.unique(labels) if number]
        assert set(simulated.lineage["cell"]) == set(simulated.cells["cell"])
        daughters = simulated.lineage.dropna(subset=["parent"])
        assert (daughters["parent"] < daughters["cell"]).all()


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


def test_cells_that_are_out_of_the_field_are_not_in_the_tables(colony, nuclei):
    for simulated in (colony, nuclei):
        p = simulated.parameters
        reach_px = simulated.cells["length_um"] / 2 / p.pixel_size_um
        assert (simulated.cells["y_px"] > -reach_px - 1).all()
        assert (simulated.cells["y_px"] < p.height_px + reach_px).all()


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


def test_daughters_share_the_reporter_by_size(colony):
    at_birth = colony.lineage.dropna(subset=["parent", "size_birth"]).set_index("cell")
    first = colony.cells.groupby("cell").first().loc[at_birth.index]

    # sisters start from one concentration, and fluctuate apart from there
    spread = first.groupby("parent")["concentration_au_per_um3"].agg(["min", "max", "count"])
    spread = spread[spread["count"] == 2]
    assert (spread["max"] / spread["min"]).median() < 1.1


@pytest.mark.parametrize("base", [SMALL, replace(NUCLEI, frames=1, height_px=256, width_px=256, surround_um=0.0)])
def test_the_light_of_all_cells_adds_up_to_their_totals(base):
    clear = replace(
        base, frames=1, founders=2, background_au=0.0, vignetting=0.0, tilt=0.0, offset_au=0.0, read_noise_e=0.0
    )
    clear = replace(clear, electrons_per_au=50.0, haze_sigma_um=0.3)
    simulated = next(s for s in (simulate_movie(clear, seed) for seed in range(30)) if _well_inside(s))

    total_au = simulated.movie[0, 1].astype(float).sum()

    assert total_au == pytest.approx(simulated.cells["total_au"].sum(), rel=0.01)


def _well_inside(simulated):
    p, cells = simulated.parameters, simulated.cells
    reach_px = (cells["length_um"].max() / 2 + 1.0) / p.pixel_size_um
    return all(cells[axis].between(reach_px, p.height_px - reach_px).all() for axis in ("y_px", "x_px"))


@pytest.mark.parametrize("electrons_per_au", [0.25, 0.5, 2.0])
def test_photon_noise_has_the_variance_mean_over_electrons_per_count(electrons_per_au):
    camera = replace(DARK, electrons_per_au=electrons_per_au, read_noise_e=0.0)

    counts = camera_counts(np.full((400, 400), 2000.0), camera, np.random.default_rng(0)).astype(float)

    assert counts.mean() - 100 == pytest.approx(2000, rel=0.002)
    assert counts.var() == pytest.approx(2000 / electrons_per_au, rel=0.02)


def test_in_the_dark_the_camera_shows_offset_and_read_noise():
    camera = replace(DARK, background_au=0.0, read_noise_e=3.0, electrons_per_au=0.5, height_px=300, width_px=300)

    counts = simulate_movie(camera, 0).movie[0, 1].astype(float)

    assert counts.mean() == pytest.approx(100, abs=0.1)
    assert counts.var() == pytest.approx((3.0 / 0.5) ** 2 + 1 / 12, rel=0.03)


@pytest.mark.parametrize(("bits", "largest"), [(12, 4095), (16, 65535)])
def test_a_camera_ends_at_its_largest_value(bits, largest):
    counts = camera_counts(np.full((4, 4), 1e6), replace(DARK, bits=bits), np.random.default_rng(0))

    assert (counts == largest).all()


def test_uneven_light_dims_the_corners_and_keeps_the_mean():
    lit = replace(DARK, vignetting=0.4, background_au=20_000.0, height_px=200, width_px=200)

    image = simulate_movie(lit, 0).movie[0, 1].astype(float) - 100

    assert image.mean() == pytest.approx(20_000, rel=0.002)
    corners = np.mean(
        [image[y, x].mean() for y in (slice(0, 20), slice(-20, None)) for x in (slice(0, 20), slice(-20, None))]
    )
    assert corners < 0.8 * image[90:110, 90:110].mean()


def test_cells_are_dark_in_phase_and_bright_in_a_marker_and_in_the_reporter():
    for modality, brighter in (("phase", False), ("fluorescence", True)):
        simulated = simulate_movie(replace(SMALL, frames=1, modality=modality), 1)
        inside = simulated.labels[0] > 0
        first, reporter = simulated.movie[0].astype(float)
        assert (first[inside].mean() > first[~inside].mean()) == brighter
        assert reporter[inside].mean() > reporter[~inside].mean()
    assert Simulation(modality="phase").channels == ("phase", "reporter")
    assert Simulation(modality="fluorescence").channels == ("marker", "reporter")


def test_phase_contrast_has_a_halo():
    from scipy.ndimage import distance_transform_edt

    simulated = simulate_movie(replace(SMALL, frames=1, vignetting=0.0, tilt=0.0, height_px=200, width_px=200), 1)
    away_px = distance_transform_edt(simulated.labels[0] == 0)
    phase = simulated.movie[0, 0].astype(float)

    assert phase[(away_px > 2) & (away_px < 6)].mean() > 1.05 * phase[away_px > 40].mean()


def test_a_wider_point_spread_blurs_more():
    sharp, blurred = (
        simulate_movie(replace(SMALL, frames=1, modality="fluorescence", psf_sigma_um=sigma), 1)
        .movie[0, 0]
        .astype(float)
        for sigma in (0.1, 0.3)
    )

    assert np.abs(np.diff(sharp)).max() > 1.5 * np.abs(np.diff(blurred)).max()


def test_a_drifting_stage_moves_all_cells_alike():
    drifting = replace(EXACT, frames=6, founders=3, height_px=200, width_px=200, drift_um_per_sqrt_h=2.0)

    still, moved = (
        simulate_movie(replace(drifting, drift_um_per_sqrt_h=0.0), 9).cells,
        simulate_movie(drifting, 9).cells,
    )

    both = still.merge(moved, on=["frame", "cell"], suffixes=("_still", "_moved"))
    assert both["y_aligned_um_still"].to_numpy() == pytest.approx(both["y_aligned_um_moved"].to_numpy())
    shift_um = both.assign(shift=both["y_um_moved"] - both["y_um_still"]).groupby("frame")["shift"].agg(["min", "max"])
    assert (shift_um["max"] - shift_um["min"]).max() < 1e-9
    assert shift_um["max"].abs().max() > 0.05


def test_an_empty_field_gives_empty_tables_with_the_same_columns():
    empty, full = simulate_movie(DARK, 0), simulate_movie(replace(DARK, founders=1), 0)

    assert len(empty.cells) == len(empty.lineage) == 0
    assert not empty.labels.any()
    assert list(empty.cells.columns) == list(full.cells.columns)
    assert list(empty.lineage.columns) == list(full.lineage.columns)


def test_a_written_movie_says_its_axes_scale_times_and_channels(tmp_path):
    simulated = simulate_movie(replace(SMALL, pixel_size_um=0.08, frame_interval_min=4.0), 1)

    write_movie(tmp_path / "movie.tif", simulated)

    with tifffile.TiffFile(tmp_path / "movie.tif") as file:
        assert file.series[0].axes == "TCYX"
        assert np.array_equal(file.asarray(), simulated.movie)
        ome = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert ome["PhysicalSizeX"] == pytest.approx(0.08)
    assert ome["PhysicalSizeY"] == pytest.approx(0.08)
    assert [channel["Name"] for channel in ome["Channel"]] == ["phase", "reporter"]
    assert [plane["DeltaT"] for plane in ome["Plane"]] == [0, 0, 240, 240, 480, 480]


def test_the_pipeline_reads_a_written_movie_as_it_was_simulated(tmp_path):
    from cytolapse.inspection import inspect_movie
    from cytolapse.movies import frame_times_h, open_movie

    simulated = simulate_movie(SMALL, 1)
    write_movie(tmp_path / "movie.tif", simulated)

    info = inspect_movie(
        str(tmp_path / "movie.tif"),
        position=None,
        axes=None,
        channels=["phase", "reporter"],
        segment_channel="phase",
        stated=[],
        on_bad_movie="stop",
    )
    assert (info["status"], info["warnings"]) == ("ok", [])
    assert info["pixel_size_um"] == pytest.approx(0.1)
    assert frame_times_h(info, None) == pytest.approx([0, 5 / 60, 10 / 60])
    with open_movie(info) as movie:
        assert np.array_equal(movie.read(2, "reporter"), simulated.movie[2, 1])


def test_the_same_movie_is_written_as_the_same_bytes(tmp_path):
    simulated = simulate_movie(SMALL, 1)

    for name in ("first.tif", "again.tif"):
        write_movie(tmp_path / name, simulated)

    assert (tmp_path / "first.tif").read_bytes() == (tmp_path / "again.tif").read_bytes()


def test_annotations_are_pairs_of_image_and_masks_that_training_reads(tmp_path):
    from cytolapse.annotations import read_pairs

    simulated = simulate_movie(SMALL, 7)

    written = write_annotations(tmp_path, simulated, [0, 2])

    assert [path.name for path in written] == ["seed0007_t000.tif", "seed0007_t002.tif"]
    pairs = read_pairs(tmp_path)
    assert [np.array_equal(pair.image, simulated.movie[frame, 0]) for pair, frame in zip(pairs, (0, 2), strict=True)]
    assert np.array_equal(pairs[1].labels, simulated.labels[2])


def test_a_frame_that_was_not_simulated_cannot_be_annotated(tmp_path):
    with pytest.raises(ValueError, match="there is no frame 3; the simulated movie has frames 0 to 2"):
        write_annotations(tmp_path, simulate_movie(SMALL, 7), [3])


def test_a_cell_number_that_16_bits_cannot_hold_is_refused():
    rows = np.array([[0, 1], [2, 2]])

    assert number_labels(rows, np.array([9, 65535])).tolist() == [[0, 9], [65535, 65535]]
    with pytest.raises(OverflowError, match="65536 cells are seen; labels of 16 bits can number 65535"):
        number_labels(rows, np.array([9, 65536]))


def test_founders_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"founders is 90, but after \d+ no room was left in a field of 6 x 6 um"):
        simulate_movie(replace(SMALL, founders=90, height_px=60, width_px=60), 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "spiral"}, "kind is 'spiral'; wanted one of rod, nucleus"),
        ({"modality": "dic"}, "modality is 'dic'; wanted one of fluorescence, phase"),
        ({"grows": "mass"}, "grows is 'mass'; wanted one of length, area, volume"),
        ({"bits": 14}, "bits is 14; wanted one of 12, 16"),
        ({"kind": "nucleus"}, "grows is 'length', which a nucleus cannot share out"),
        ({"frames": 0}, "frames is 0; it must be above 0"),
        ({"pixel_size_um": -0.1}, "pixel_size_um is -0.1; it must be above 0"),
        ({"founders": -1}, "founders is -1; it must not be below 0"),
        ({"read_noise_e": math.nan}, "read_noise_e is nan; it must not be below 0"),
        ({"haze_fraction": 1.0}, "haze_fraction is 1; it must lie in 0 to 1, 1 not included"),
        ({"birth_length_um": 1.0}, "birth_length_um is 1 um; a rod 0.9 um wide must be born at least 1.35 um long"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


@pytest.fixture
def small_demo(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "BACTERIA", replace(demo.BACTERIA, frames=2, height_px=96, width_px=96, founders=2))
    demo.prepare(tmp_path)
    return tmp_path


def test_the_demo_comes_with_movies_sheets_config_and_truth(small_demo):
    names = ["control_1", "control_2", "slow_1", "slow_2"]
    sheet = pd.read_csv(small_demo / "movies.tsv", sep="\t")
    experiments = pd.read_csv(small_demo / "experiments.tsv", sep="\t")

    assert sorted(path.stem for path in (small_demo / "movies").glob("*.tif")) == names
    assert sheet["movie"].tolist() == names
    assert sheet["condition"].tolist() == ["control", "control", "slow", "slow"]
    assert experiments["channels"].tolist() == ["phase,reporter"]
    assert experiments["pixel_size_um"].isna().all()
    assert f"{small_demo.as_posix()}/experiments.tsv" in (small_demo / "config.yaml").read_text()
    truth = pd.read_parquet(small_demo / "truth" / "cells.parquet")
    assert sorted(truth["movie"].unique()) == names


def test_no_annotated_frame_of_the_demo_is_one_of_its_movies():
    movies = range(demo.FIRST_SEED, demo.FIRST_SEED + len(demo.DOUBLING_TIME_MIN) * demo.REPLICATES)

    assert not set(demo.ANNOTATED) & set(movies)
    assert len(demo.ANNOTATED) == 7


def test_the_demo_matches_cells_to_the_nearest_true_ones_and_leaves_out_what_is_far(small_demo):
    truth = pd.read_parquet(small_demo / "truth" / "cells.parquet")
    found = truth[["movie", "frame", "y_px", "x_px"]].assign(label=truth["cell"], cell_id=truth["cell"].astype(str))
    found["x_px"] += 3.0
    far = found.iloc[[0]].assign(y_px=900.0, cell_id="far")

    matches = demo.match_cells(pd.concat([found, far], ignore_index=True), truth)

    assert len(matches) == len(truth)
    assert (matches["cell_id"] == matches["cell"].astype(str)).all()
    assert demo.true_cells(matches)["cell_id"].nunique() == truth["cell"].nunique()


def test_a_demo_that_did_not_run_is_told_what_to_do(small_demo, monkeypatch):
    monkeypatch.chdir(small_demo)

    with pytest.raises(FileNotFoundError, match=r"cells.parquet: not found; run `make demo`"):
        demo.check(small_demo)
