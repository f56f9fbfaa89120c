"""Growth rates at every frame of tracks whose truth is known."""

import math

import numpy as np
import pytest

from cytolapse.fits import Track
from cytolapse.localrates import local_rates


def tracks_of(hours, rates_per_h, noise_sd, lag1, seed):
    """Tracks with these rates, of shape (tracks, frames), and autoregressive noise of ln(size)."""
    fresh = np.random.default_rng(seed).normal(size=rates_per_h.shape)
    noise = fresh.copy()
    for frame in range(1, len(hours)):
        noise[:, frame] = lag1 * noise[:, frame - 1] + math.sqrt(1 - lag1**2) * fresh[:, frame]
    steps = (rates_per_h[:, 1:] + rates_per_h[:, :-1]) / 2 * np.diff(hours)
    log_size = np.concatenate([np.zeros((len(rates_per_h), 1)), steps.cumsum(axis=1)], axis=1)
    return [Track(np.exp(each), hours, np.arange(len(hours))) for each in log_size + noise_sd * noise]


def errors(tracks, rates_per_h):
    """Errors of the rates, and over the stated standard errors."""
    found = local_rates(tracks, residual_lag1=0.5)
    error = np.array([each.rate_per_h for each in found]) - rates_per_h
    return error, error / np.array([each.se_per_h for each in found])


HOURS = np.linspace(0, 0.7, 15)
STEADY = np.ones((30, 15))
HALVED = np.where(HOURS < 0.35, 1.2, 0.6) * STEADY
RISING = (0.8 + 0.4 * HOURS / 0.7) * STEADY


def test_without_noise_a_steady_rate_is_the_rate_at_every_frame():
    for rates in local_rates(tracks_of(HOURS, STEADY[:3], 0.0, 0.0, 0), residual_lag1=0.5):
        assert rates.rate_per_h == pytest.approx(1.0, abs=1e-6)


def test_steady_growth_is_as_well_known_as_by_the_slope_of_the_whole_track():
    tracks = tracks_of(HOURS, STEADY, 0.02, 0.57, 1)
    slopes = np.array([np.polyfit(HOURS, np.log(track.size), 1)[0] for track in tracks])

    error, _ = errors(tracks, STEADY)

    assert np.sqrt((error**2).mean()) < 1.5 * np.sqrt(((slopes - 1) ** 2).mean())


@pytest.mark.parametrize("rates_per_h", [HALVED, RISING])
def test_changing_growth_is_followed_better_than_by_a_straight_line_and_by_neighbouring_frames(rates_per_h):
    tracks = tracks_of(HOURS, rates_per_h, 0.02, 0.57, 2)
    logs = np.log([track.size for track in tracks])
    slopes = np.array([np.polyfit(HOURS, each, 1)[0] for each in logs])[:, None]
    windows = np.gradient(logs, HOURS, axis=1)

    error, _ = errors(tracks, rates_per_h)

    rms = [np.sqrt((each**2).mean()) for each in (error, slopes - rates_per_h, windows - rates_per_h)]
    assert rms[0] < 0.8 * rms[1]
    assert rms[0] < 0.6 * rms[2]


@pytest.mark.parametrize("rates_per_h", [STEADY, HALVED, RISING])
@pytest.mark.parametrize("lag1", [0.0, 0.57])
def test_stated_errors_hold_the_truth(rates_per_h, lag1):
    _, over_se = errors(tracks_of(HOURS, rates_per_h, 0.02, lag1, 3), rates_per_h)

    # where growth is steady or rises the process allows for more than there is
    assert (np.abs(over_se) < 1.96).mean() > 0.9


def test_the_window_narrows_where_growth_changes():
    steady, halved = (
        np.median([each.window_h for each in local_rates(tracks_of(HOURS, rates, 0.01, 0.3, 4), residual_lag1=0.5)])
        for rates in (STEADY, HALVED)
    )

    assert halved < 0.7 * steady
    assert steady <= HOURS[-1]


def test_gaps_and_uneven_times_are_allowed_for():
    (track,) = tracks_of(HOURS, STEADY[:1], 0.0, 0.0, 0)
    kept = np.array([0, 1, 3, 4, 8, 9, 14])

    (rates,) = local_rates([Track(*(each[kept] for each in track))], residual_lag1=0.5)

    assert rates.rate_per_h == pytest.approx(1.0, abs=1e-6)
    assert len(rates.se_per_h) == 7


def test_a_long_track_is_worked_through_in_pieces_that_agree_with_the_truth():
    hours = np.arange(430) / 12
    rates_per_h = (0.5 + 0.2 * np.sin(hours / 4))[None]

    (rates,) = local_rates(tracks_of(hours, rates_per_h, 0.01, 0.3, 5), residual_lag1=0.5)

    error = rates.rate_per_h - rates_per_h[0]
    assert np.sqrt((error**2).mean()) < 0.03
    # no step where two pieces meet
    assert np.abs(np.diff(rates.rate_per_h)).max() < 0.02


def test_without_a_track_there_is_no_rate():
    assert local_rates([], residual_lag1=0.5) == []
