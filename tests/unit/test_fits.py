"""Growth rates of single cells whose truth is known."""

import math

import numpy as np
import pytest

from cytolapse.fits import Track, believed_lag1, growth_rate


def correlated_residuals(tracks, frames, lag1, rng):
    """Stationary residuals of standard deviation 1, of shape (tracks, frames)."""
    fresh = rng.normal(size=(tracks, frames))
    residuals = np.empty_like(fresh)
    residuals[:, 0] = fresh[:, 0]
    for frame in range(1, frames):
        residuals[:, frame] = lag1 * residuals[:, frame - 1] + math.sqrt(1 - lag1**2) * fresh[:, frame]
    return residuals


def fitted(size, time_h, frame, *, residual_lag1=0.5):
    """The fit of a track that is alone in its movie."""
    track = Track(size, time_h, frame)
    return growth_rate(track, believed_lag1([track], residual_lag1=residual_lag1)[0])


def test_a_cell_that_doubles_every_20_minutes_grows_at_ln2_per_third_of_an_hour():
    hours = np.arange(0, 60, 5) / 60

    fit = fitted(1.5 * 2 ** (hours * 3), hours, np.arange(12))

    assert fit.rate_per_h == pytest.approx(3 * math.log(2))
    assert fit.size_at(0.0) == pytest.approx(1.5)
    assert fit.size_at(1.0) == pytest.approx(12)
    assert fit.lo95_per_h == pytest.approx(fit.hi95_per_h)
    assert (fit.frames, fit.span_h, fit.r2) == (12, pytest.approx(55 / 60), pytest.approx(1))


def test_the_rate_is_that_of_numpy_polyfit_on_uneven_times_with_gaps():
    rng = np.random.default_rng(1)
    frame = np.array([0, 1, 2, 5, 6, 9, 10, 11])
    hours = np.cumsum(rng.uniform(0.1, 0.3, 12))[frame]
    size = 40 * np.exp(0.3 * hours + 0.05 * rng.normal(size=8))
    slope, intercept = np.polyfit(hours, np.log(size), 1)
    residuals = np.log(size) - slope * hours - intercept

    fit = fitted(size, hours, frame)

    assert fit.rate_per_h == pytest.approx(slope)
    assert fit.size_at(0.0) == pytest.approx(math.exp(intercept))
    assert fit.residual_sd == pytest.approx(math.sqrt((residuals**2).sum() / 6))
    assert fit.r2 == pytest.approx(np.corrcoef(hours, np.log(size))[0, 1] ** 2)


def test_on_a_long_track_of_white_noise_the_error_is_the_textbook_one():
    frames = 1500
    hours = np.arange(frames) / 10
    log_size = 0.01 * hours + 0.03 * np.random.default_rng(4).normal(size=frames)
    _, covariance = np.polyfit(hours, log_size, 1, cov=True)

    fit = fitted(np.exp(log_size), hours, np.arange(frames))

    assert fit.se_per_h == pytest.approx(math.sqrt(covariance[0, 0]), rel=0.1)
    assert fit.residual_lag1 == pytest.approx(0, abs=0.06)


def test_on_a_long_correlated_track_the_error_grows_as_the_correlation_says():
    frames, lag1 = 1500, 0.6
    hours = np.arange(frames) / 10
    log_size = 0.01 * hours + 0.03 * correlated_residuals(1, frames, lag1, np.random.default_rng(5))[0]
    _, covariance = np.polyfit(hours, log_size, 1, cov=True)

    fit = fitted(np.exp(log_size), hours, np.arange(frames))

    # of a long track: white-noise error times sqrt((1 + lag1) / (1 - lag1)) = 2
    assert fit.se_per_h == pytest.approx(2 * math.sqrt(covariance[0, 0]), rel=0.1)
    assert fit.residual_lag1 == pytest.approx(lag1, abs=0.06)


@pytest.mark.parametrize("frames", [6, 12, 25, 60])
@pytest.mark.parametrize(("lag1", "lowest", "highest"), [(0.0, 0.93, 1.0), (0.57, 0.92, 0.98)])
def test_intervals_hold_the_truth_in_19_of_20_tracks(frames, lag1, lowest, highest):
    tracks, rate_per_h = max(400, 6000 // frames), 0.8
    hours = np.arange(frames) / 12
    noise = 0.03 * correlated_residuals(tracks, frames, lag1, np.random.default_rng(frames))

    fits = [fitted(np.exp(rate_per_h * hours + each), hours, np.arange(frames)) for each in noise]

    # three standard errors of a share of 0.95 among 400 tracks are 0.033; too wide, at 0, is the safe side
    held = np.mean([fit.lo95_per_h < rate_per_h < fit.hi95_per_h for fit in fits])
    assert lowest <= held <= highest


@pytest.mark.parametrize("lag1", [0.0, 0.57])
def test_tracks_of_one_movie_tell_each_other_how_alike_neighbouring_residuals_are(lag1):
    hours, rate_per_h = np.arange(8) / 12, 0.8
    noise = 0.03 * correlated_residuals(400, 8, lag1, np.random.default_rng(8))
    tracks = [Track(np.exp(rate_per_h * hours + each), hours, np.arange(8)) for each in noise]

    together = [
        growth_rate(track, each) for track, each in zip(tracks, believed_lag1(tracks, residual_lag1=0.5), strict=True)
    ]

    held = np.mean([fit.lo95_per_h < rate_per_h < fit.hi95_per_h for fit in together])
    assert 0.93 <= held <= 0.98
    # the error of the slopes that there were
    spread = np.std([fit.rate_per_h for fit in together])
    assert np.sqrt(np.mean([fit.se_per_h**2 for fit in together])) == pytest.approx(spread, rel=0.2)


def test_a_track_alone_with_the_assumption_0_5_is_given_the_wider_interval_where_noise_is_white():
    hours = np.arange(8) / 12
    noise = 0.03 * correlated_residuals(200, 8, 0.0, np.random.default_rng(8))
    tracks = [Track(np.exp(each), hours, np.arange(8)) for each in noise]

    alone = [fitted(*track).se_per_h for track in tracks]
    together = [
        growth_rate(*pair).se_per_h for pair in zip(tracks, believed_lag1(tracks, residual_lag1=0.5), strict=True)
    ]

    assert np.median(together) < 0.8 * np.median(alone)


def test_what_a_track_says_of_itself_is_no_part_of_what_is_believed_of_it_before():
    hours = np.arange(12) / 12
    calm, wild = (np.exp(0.03 * correlated_residuals(1, 12, lag1, np.random.default_rng(2))[0]) for lag1 in (0.0, 0.9))
    others = [Track(calm, hours, np.arange(12))] * 3

    with_calm, with_wild = (
        believed_lag1([Track(own, hours, np.arange(12)), *others], residual_lag1=0.5)[0] for own in (calm, wild)
    )

    assert with_calm == pytest.approx(with_wild)


def test_fitted_sizes_are_as_uncertain_as_they_are_scattered():
    hours = np.arange(10) / 10
    noise = 0.05 * correlated_residuals(500, 10, 0.5, np.random.default_rng(6))
    tracks = [Track(4 * np.exp(0.7 * hours + each), hours, np.arange(10)) for each in noise]
    fits = [growth_rate(*pair) for pair in zip(tracks, believed_lag1(tracks, residual_lag1=0.5), strict=True)]

    ends = np.log([[fit.size_at(-0.05), fit.size_at(0.95)] for fit in fits])

    for end, time_h in enumerate((-0.05, 0.95)):
        stated = np.mean([fit.log_covariance(time_h, time_h) for fit in fits])
        assert stated == pytest.approx(ends[:, end].var(), rel=0.25)
    stated = np.mean([fit.log_covariance(-0.05, 0.95) for fit in fits])
    assert stated == pytest.approx(np.cov(ends.T)[0, 1], abs=0.3 * ends.var(axis=0).mean())


def test_the_measured_lag1_is_near_the_truth_on_tracks_of_25_frames():
    hours = np.arange(25) / 12
    noise = 0.03 * correlated_residuals(300, 25, 0.57, np.random.default_rng(2))

    fits = [fitted(np.exp(each), hours, np.arange(25), residual_lag1=0.0) for each in noise]

    assert np.mean([fit.residual_lag1 for fit in fits]) == pytest.approx(0.57, abs=0.1)


def test_on_a_short_track_the_assumed_lag1_decides_on_the_error():
    hours = np.arange(6) / 12
    size = np.exp(0.8 * hours + 0.03 * np.array([0.1, -0.4, 0.3, 0.2, -0.5, 0.3]))

    errors = [fitted(size, hours, np.arange(6), residual_lag1=lag1).se_per_h for lag1 in (0.0, 0.4, 0.8)]

    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("model", ["exponential", "linear"])
def test_linear_and_exponential_growth_are_told_apart(model):
    hours = np.arange(20) / 10
    size = 3 + 3 * hours if model == "linear" else 3 * np.exp(0.6 * hours)
    size = size * np.exp(0.005 * np.random.default_rng(0).normal(size=20))

    assert fitted(size, hours, np.arange(20)).model == model


def test_four_frames_tell_no_growth_model_and_no_lag1():
    fit = fitted([1.0, 1.2, 1.3, 1.6], [0, 1, 2, 3], [0, 1, 2, 3])

    assert fit.model is None
    assert math.isnan(fit.residual_lag1)


@pytest.mark.parametrize(
    ("size", "time_h", "frame", "message"),
    [
        ([1, 2, 3], [0, 1], [0, 1, 2], r"shapes \(3,\), \(2,\) and \(3,\)"),
        ([1, 2], [0, 1], [0, 1], "there are 2 frames; a growth rate with an error needs 3"),
        ([1, 0, 2], [0, 1, 2], [4, 5, 6], "size in frame 5 is 0; sizes must be above 0"),
        ([1, 2, 3], [0, 1, 1], [0, 1, 2], "frames and times must increase"),
    ],
)
def test_what_cannot_be_fitted_is_refused(size, time_h, frame, message):
    with pytest.raises(ValueError, match=message):
        fitted(size, time_h, frame)
