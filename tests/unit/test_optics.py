"""Microscope and camera of the simulator: from cells to counts."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from cytolapse.optics import camera_counts, stage_drift
from cytolapse.simulation import NUCLEI, Simulation, simulate_movie

SMALL = Simulation(frames=3, height_px=96, width_px=96, founders=2)
DARK = replace(SMALL, frames=1, founders=0, modality="fluorescence", vignetting=0.0, tilt=0.0, offset_au=100.0)


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


def test_phase_contrast_has_a_halo():
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
    drifting = replace(SMALL, frames=6, founders=3, height_px=200, width_px=200, drift_um_per_sqrt_h=2.0)

    still, moved = (
        simulate_movie(replace(drifting, drift_um_per_sqrt_h=0.0), 9).cells,
        simulate_movie(drifting, 9).cells,
    )

    both = still.merge(moved, on=["frame", "cell"], suffixes=("_still", "_moved"))
    assert both["y_aligned_um_still"].to_numpy() == pytest.approx(both["y_aligned_um_moved"].to_numpy())
    shift_um = both.assign(shift=both["y_um_moved"] - both["y_um_still"]).groupby("frame")["shift"].agg(["min", "max"])
    assert (shift_um["max"] - shift_um["min"]).max() < 1e-9
    assert shift_um["max"].abs().max() > 0.05


def test_a_stage_that_jumps_stands_still_between_jumps():
    jumping = replace(SMALL, frames=200, jumps_per_h=1.0, jump_um=5.0)

    far_um = np.hypot(*np.diff(stage_drift(jumping, np.random.default_rng(0)), axis=0).T)

    # one jump an hour, in 200 frames of 5 minutes
    assert (far_um > 0).sum() == pytest.approx(200 / 12, abs=10)
    assert far_um[far_um > 0].mean() == pytest.approx(5, rel=0.6)


def test_frames_out_of_focus_are_blurred_and_the_others_are_not():
    some = replace(SMALL, frames=8, modality="fluorescence", defocus_fraction=0.5, defocus_sigma_um=1.0)

    blurred, sharp = (
        simulate_movie(each, 1).movie[:, 0].astype(float) for each in (some, replace(some, defocus_fraction=0))
    )

    contrast = np.abs(np.diff(blurred)).max(axis=(1, 2)) / np.abs(np.diff(sharp)).max(axis=(1, 2))
    assert 0 < (contrast < 0.6).sum() < 8
    assert ((contrast < 0.6) | (contrast > 0.9)).all()


def test_the_background_drifts_by_its_share_an_hour():
    drifting = replace(DARK, frames=25, background_au=1000.0, background_drift_per_h=-0.2)

    background_au = simulate_movie(drifting, 0).movie[:, 1].astype(float).mean(axis=(1, 2)) - 100

    assert background_au[0] == pytest.approx(1000, rel=0.01)
    assert background_au[-1] == pytest.approx(600, rel=0.01)


def test_a_reporter_looked_at_in_each_third_frame_is_0_between():
    movie = simulate_movie(replace(SMALL, frames=7, reporter_every_frames=3), 1).movie

    assert movie[:, 1].any(axis=(1, 2)).tolist() == [True, False, False, True, False, False, True]
    assert movie[:, 0].any(axis=(1, 2)).all()


def test_autofluorescence_and_crosstalk_add_to_the_reporter_of_silent_cells():
    silent = replace(SMALL, frames=1, modality="fluorescence", silent_fraction=0.999999, background_au=0.0)
    silent = replace(silent, height_px=200, width_px=200)
    silent = replace(silent, vignetting=0.0, tilt=0.0, offset_au=0.0, read_noise_e=0.0, electrons_per_au=5.0)

    nothing, own, leaked = (
        simulate_movie(replace(silent, **change), 1)
        for change in ({}, {"autofluorescence_au_per_um3": 50_000.0}, {"crosstalk": 0.02})
    )

    volume_um3 = nothing.cells["volume_um3"].sum()
    before_au = nothing.movie[0, 1].astype(float).sum()
    assert own.movie[0, 1].astype(float).sum() - before_au == pytest.approx(50_000 * volume_um3, rel=0.05)
    marker_au = nothing.movie[0, 0].astype(float).sum()
    assert leaked.movie[0, 1].astype(float).sum() - before_au == pytest.approx(0.02 * marker_au, rel=0.05)
