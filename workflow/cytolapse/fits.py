"""Sizes of one cell through time -> its growth rate, with an honest error.

A rate is the least-squares slope of ln(size) against time. Neighbouring
residuals are alike (a mask drawn a little large stays a little large), so that
the textbook error is too small by half; the errors here allow for that.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

# Fewer frames leave no residual to take an error from.
LEAST_FIT_FRAMES = 3
_LEAST_LAG1_FRAMES = 8
_LEAST_MODEL_FRAMES = 5
_NORMAL_95 = 1.96
# A residual below this is what arithmetic leaves of none.
ROUNDING = 1e-12

# The lag-1 correlation is averaged over on Fisher's scale, where its error is
# about the same everywhere.
_LAG1_Z = np.linspace(-1.0, 2.0, 25)
_LAG1 = np.tanh(_LAG1_Z)
# How far the assumption may be off, and by how much the tracks of one movie may
# differ: chosen by simulation. Less, and intervals are too narrow where it is
# wrong; more, and those of short tracks are wider than they have to be.
_ASSUMED_SPREAD_Z = 0.5
_TRACK_SPREADS_Z = np.array([0.1, 0.2, 0.35, 0.5])


class Track(NamedTuple):
    """Sizes of one cell that a line is fitted to; arrays of shape (n,), n >= 3.

    Sizes lie above 0, in any unit; times, in hours, and frame numbers increase,
    with gaps allowed for.
    """

    size: np.ndarray
    time_h: np.ndarray
    frame: np.ndarray


class Fit(NamedTuple):
    """A line through ln(size) against time.

    `covariance` is that of the level at `middle_h` and the rate: variance of
    the level, covariance, variance of the rate.
    """

    rate_per_h: float
    se_per_h: float
    lo95_per_h: float
    hi95_per_h: float
    log_size: float
    middle_h: float
    covariance: tuple[float, float, float]
    frames: int
    span_h: float
    r2: float
    residual_sd: float
    residual_lag1: float
    model: str | None

    def size_at(self, time_h: float) -> float:
        """The fitted size at a time, in the unit of the sizes that were fitted."""
        return float(np.exp(self.log_size + self.rate_per_h * (time_h - self.middle_h)))

    def with_error(self, se_per_h: float) -> "Fit":
        """The same with one more error of the rate, of which residuals do not know."""
        half = np.hypot(self.hi95_per_h - self.rate_per_h, _NORMAL_95 * se_per_h)
        return self._replace(
            se_per_h=float(np.hypot(self.se_per_h, se_per_h)),
            lo95_per_h=float(self.rate_per_h - half),
            hi95_per_h=float(self.rate_per_h + half),
        )

    def log_covariance(self, time_h: float, other_h: float) -> float:
        """Covariance of the fitted ln(size) at two times; at one and the same, its variance."""
        a, b = time_h - self.middle_h, other_h - self.middle_h
        level, both, rate = self.covariance
        return level + (a + b) * both + a * b * rate


def believed_lag1(tracks: Sequence[Track], *, residual_lag1: float) -> np.ndarray:
    """What to believe of the correlation of neighbouring residuals of each track, before it is fitted.

    How alike neighbouring masks are is a matter of the segmenter and the
    optics, so that a movie's tracks tell of each other what few frames cannot
    tell of themselves. Correlations of tracks are taken as normal on Fisher's
    scale about that of the movie, which lies around `residual_lag1` (spread
    0.5) before anything is seen; how far they differ is learned with it. The
    belief about a track comes from the other tracks alone: its own residuals
    count once, when it is fitted.

    Parameters
    ----------
    tracks : sequence of Track
        Of one movie.
    residual_lag1 : float
        Correlation of residuals one frame apart that is assumed before
        anything is looked at.

    Returns
    -------
    array of shape (tracks, correlations)
        Logarithm of the weight of each correlation that `growth_rate`
        averages over.

    Raises
    ------
    ValueError
        As `growth_rate` of a track that cannot be fitted.
    """
    evidence = np.array([_evidence(track) for track in tracks]).reshape(len(tracks), len(_LAG1))
    evidence = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    movie_z, spread_z = (each.ravel() for each in np.meshgrid(_LAG1_Z, _TRACK_SPREADS_Z, indexing="ij"))
    of_track = np.exp(-(((_LAG1_Z - movie_z[:, None]) / spread_z[:, None]) ** 2) / 2)
    of_track /= of_track.sum(axis=1, keepdims=True)  # (movies, correlations)
    told = np.log(evidence @ of_track.T)  # (tracks, movies)
    assumed = -(((movie_z - np.arctanh(residual_lag1)) / _ASSUMED_SPREAD_Z) ** 2) / 2
    from_others = assumed + told.sum(axis=0) - told
    weight = np.exp(from_others - from_others.max(axis=1, keepdims=True))
    return np.log(weight @ of_track / weight.sum(axis=1, keepdims=True))


def growth_rate(track: Track, believed: np.ndarray) -> Fit:
    """Exponential growth rate of one cell, per hour, with an honest error.

    The rate is the ordinary least-squares slope of ln(size) against time; its
    error takes the residuals for an autoregressive process of first order in
    the frame number. The correlation is not known, and few frames tell little
    about it: the variance of the slope is averaged over correlations, each
    weighted by its restricted likelihood [1]_ times what is believed of it. The
    interval is the slope plus and minus the quantile of Student's t with n - 2
    degrees of freedom times the standard error.

    It does *not* guard against a frame with a wrong mask: see `area_jumps`.

    Parameters
    ----------
    track : Track
        Sizes and their times.
    believed : array of shape (correlations,)
        A row of `believed_lag1`.

    Returns
    -------
    Fit
        `residual_sd` and `residual_lag1` are measured from this fit's
        residuals alone, the latter corrected for its bias [2]_ and NaN below
        eight frames. `model` is 'exponential' or 'linear', None below five
        frames: both curves have as many parameters and the same error, in
        ln(size), so that the lower corrected Akaike criterion is the lower
        sum of squares.

    Raises
    ------
    ValueError
        If the arrays differ in length, hold fewer than three frames, a size
        that is not above 0, or times or frames that do not increase.

    References
    ----------
    .. [1] Harville, D. A. (1974). Bayesian inference for variance components
       using only error contrasts. Biometrika 61, 383-385.
    .. [2] Kendall, M. G. (1954). Note on bias in the estimation of
       autocorrelation. Biometrika 41, 403-404; here for residuals about a
       line: E[r] = rho - (2 + 4 rho) / n.

    Examples
    --------
    >>> hours = np.arange(4) / 3
    >>> track = Track(2.0 ** (3 * hours), hours, np.arange(4))
    >>> growth_rate(track, believed_lag1([track], residual_lag1=0.5)[0]).rate_per_h
    2.0794...
    """
    line = _line(track)
    covariance = _covariance(line, believed)
    se = math.sqrt(covariance[2])
    half = float(stdtrit(line.frames - 2, 0.975)) * se
    log_size = line.level + line.rate * line.x + line.residuals
    squares = float(line.residuals @ line.residuals)
    around_mean = float(((log_size - line.level) ** 2).sum())
    return Fit(
        rate_per_h=line.rate,
        se_per_h=se,
        lo95_per_h=line.rate - half,
        hi95_per_h=line.rate + half,
        log_size=line.level,
        middle_h=line.middle_h,
        covariance=covariance,
        frames=line.frames,
        span_h=float(line.x[-1] - line.x[0]),
        r2=1 - squares / around_mean if around_mean > 0 else np.nan,
        residual_sd=float(np.sqrt(squares / (line.frames - 2))),
        residual_lag1=_lag1(line.residuals, line.frame),
        model=_growth_model(line.x, log_size, line.rate, squares),
    )


class _Line(NamedTuple):
    """The ordinary least-squares line of a track."""

    x: np.ndarray  # hours from the middle
    frame: np.ndarray
    residuals: np.ndarray
    level: float
    rate: float
    middle_h: float
    frames: int


def _line(track: Track) -> _Line:
    size, time_h = np.asarray(track.size, float), np.asarray(track.time_h, float)
    frame = np.asarray(track.frame, int)
    _check_fit(size, time_h, frame)
    log_size = np.log(size)
    middle_h, level = float(time_h.mean()), float(log_size.mean())
    x = time_h - middle_h
    rate = float(x @ log_size / (x @ x))
    return _Line(x, frame, log_size - level - rate * x, level, rate, middle_h, len(x))


def _check_fit(size: np.ndarray, time_h: np.ndarray, frame: np.ndarray) -> None:
    if not size.shape == time_h.shape == frame.shape or size.ndim != 1:
        raise ValueError(
            f"size, time_h and frame have shapes {size.shape}, {time_h.shape} and {frame.shape}; "
            "a fit needs one of each for every frame"
        )
    if len(size) < LEAST_FIT_FRAMES:
        raise ValueError(f"there are {len(size)} frames; a growth rate with an error needs {LEAST_FIT_FRAMES}")
    if not (np.isfinite(size) & (size > 0)).all():
        worst = int(np.argmin(np.isfinite(size) & (size > 0)))
        raise ValueError(f"size in frame {frame[worst]} is {size[worst]:g}; sizes must be above 0")
    if not ((np.diff(time_h) > 0).all() and (np.diff(frame) > 0).all()):
        raise ValueError("frames and times must increase; sort the cell by frame")


def _evidence(track: Track) -> np.ndarray:
    """Restricted log-likelihood of each correlation, its noise's variance profiled out."""
    return _likelihood(_line(track))[0]


def _likelihood(line: _Line) -> tuple[np.ndarray, np.ndarray]:
    """Restricted log-likelihood, and weighted sum of squares, of each correlation."""
    n = line.frames
    kept = _LAG1[:, None] ** np.diff(line.frame)  # (correlations, n - 1)
    fresh = np.sqrt(1 - kept**2)

    def whitened(values):
        return np.concatenate([np.full((len(_LAG1), 1), values[0]), (values[1:] - kept * values[:-1]) / fresh], axis=1)

    one, time, error = whitened(np.ones(n)), whitened(line.x), whitened(line.residuals)
    oo, ot, tt = (one * one).sum(1), (one * time).sum(1), (time * time).sum(1)
    oe, te = (one * error).sum(1), (time * error).sum(1)
    determinant = oo * tt - ot**2
    explained = (tt * oe**2 - 2 * ot * oe * te + oo * te**2) / determinant
    squares = np.maximum((error * error).sum(1) - explained, np.finfo(float).tiny)
    return -np.log(fresh).sum(1) - np.log(determinant) / 2 - (n - 2) / 2 * np.log(squares), squares


def _covariance(line: _Line, believed: np.ndarray) -> tuple[float, float, float]:
    """Of level and rate, averaged over what the lag-1 correlation may be."""
    log_weight, squares = _likelihood(line)
    log_weight = log_weight + believed
    weight = np.exp(log_weight - log_weight.max())
    weight *= np.maximum(squares / (line.frames - 2), ROUNDING**2) / weight.sum()
    one, spread = np.ones(line.frames), line.x @ line.x
    level = weight @ _quadratic_form(one, one, line.frame) / line.frames**2
    both = weight @ _quadratic_form(one, line.x, line.frame) / (line.frames * spread)
    rate = weight @ _quadratic_form(line.x, line.x, line.frame) / spread**2
    return float(level), float(both), float(rate)


def _quadratic_form(a: np.ndarray, b: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """a' V b for each correlation, V[i, j] = correlation ** |frame[i] - frame[j]|."""
    dense = np.zeros((2, frame[-1] - frame[0] + 1))
    dense[:, frame - frame[0]] = a, b
    at_lag = np.correlate(*dense, "full")
    middle = dense.shape[1] - 1
    folded = at_lag[middle:].copy()
    folded[1:] += at_lag[:middle][::-1]
    return (_LAG1[:, None] ** np.arange(len(folded))) @ folded


def _lag1(residuals: np.ndarray, frame: np.ndarray) -> float:
    n = len(residuals)
    follows = np.diff(frame) == 1
    squares = residuals @ residuals
    if n < _LEAST_LAG1_FRAMES or follows.sum() < n / 2 or squares == 0:
        return np.nan
    products = (residuals[1:] * residuals[:-1])[follows].sum() * (n - 1) / follows.sum()
    return float(np.clip((products / squares + 2 / n) / (1 - 4 / n), -1, 1))


def _growth_model(x: np.ndarray, log_size: np.ndarray, rate: float, squares: float) -> str | None:
    """Which of exp(a + b x) and a (1 + k x) lies nearer in ln(size)."""
    if len(x) < _LEAST_MODEL_FRAMES:
        return None
    # 1 + k x must stay above 0 on the whole track
    lowest, highest = -0.999 / x[-1], 0.999 / -x[0]
    slope = min(max(rate, lowest), highest)
    for _ in range(10):  # Gauss-Newton in the one parameter that is not linear
        error = log_size - np.log1p(slope * x)
        error -= error.sum() / len(x)
        gradient = x / (1 + slope * x)
        gradient -= gradient.sum() / len(x)
        before, slope = slope, slope + float(gradient @ error / (gradient @ gradient))
        slope = min(max(slope, lowest), highest)
        if abs(slope - before) < 1e-6 * highest:
            break
    return "linear" if error @ error < squares else "exponential"
