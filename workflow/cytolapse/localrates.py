"""What one cell holds through time -> the rate at which it changes, at every moment.

A rate that changes slowly is told from masks that are drawn a little large or
small by what all tracks of a movie have in common: a Gaussian process whose
few parameters are learned from them together.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from cytolapse.fits import ROUNDING, Track


class _Tried(NamedTuple):
    """What is averaged over, in units of the median track: memories in its span, swings in noise over its span."""

    memories: tuple[float, ...]
    swings: tuple[float, ...]


_OF_LOGS = _Tried((1 / 8, 1 / 4, 1 / 2, 1.0), (0.5, 1.0, 2.0, 4.0, 8.0, 16.0))
# Light is told from its noise far better than size is, and a promoter changes faster than growth.
_OF_SLOPES = _Tried((1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0), tuple(2.0**power for power in range(-1, 10)))
# What forgets itself within much less than a frame is told from noise by nothing.
_LEAST_MEMORY_FRAMES = 0.75
_LAG1_Z = (0.0, 0.3, 0.6, 0.9)
_ASSUMED_SPREAD_Z = 0.5
# Tracks, and frames of each, that the movie's parameters are learned from: fewer miss changes that noise nearly hides.
_LEARNED_TRACKS = 400
_LEARNED_FRAMES = 40
# Parameters that are less likely than the best by this factor are left out.
_LEAST_WEIGHT = 0.02
# Longer tracks are worked through in overlapping pieces.
_PIECE_FRAMES = 200


class LocalRates(NamedTuple):
    """Rates at the frames of one track; arrays of shape (n,)."""

    rate_per_h: np.ndarray
    se_per_h: np.ndarray
    window_h: np.ndarray
    noise: np.ndarray  # standard deviation of the values' noise, of ln(size) or of the quantity


class _Models(NamedTuple):
    """Parameters that all tracks of a movie share, in units of the noise; arrays of shape (models, 1, 1)."""

    swing_per_h: np.ndarray  # standard deviation of the rate about its mean over the track, over that of the noise
    memory_h: np.ndarray
    lag1: np.ndarray


class _Movie(NamedTuple):
    """The likely models of a movie, and under each the variance of the noise; arrays of shape (models,)."""

    models: _Models
    weights: np.ndarray
    variance: np.ndarray
    degrees: float  # residuals that the noise of the movie counts for beside those of a track


class _Pattern(NamedTuple):
    """Frames of one or more tracks: times from the first, and numbers; arrays of shape (n,)."""

    hours: np.ndarray
    frame: np.ndarray


def local_rates(tracks: Sequence[Track], *, residual_lag1: float) -> list[LocalRates]:
    """Growth rate of every cell at each of its frames, with its error.

    ln(size) is taken for a straight line, plus the integral of a deviation of
    the rate that forgets itself exponentially, plus noise that is
    autoregressive in the frame number [1]_. How far rates deviate and for how
    long, and how alike neighbouring masks are, is learned from all tracks of
    the movie by restricted likelihood, and averaged over as far as it stays
    open. Where growth is steady, the rate is that of the whole track; where it
    changes, that of a window as wide as the noise allows. The noise of a track
    is estimated from its own residuals and those of the movie, as if each
    were one track.

    Chosen by error against truth on simulated tracks of 8 to 28 frames with
    steady growth, a sudden halving, a steady rise over the cycle and slow
    fluctuations: straight lines in moving windows (Savitzky and Golay) of any
    one width come near to it in one of these and have up to eight times its
    error in another.

    What it does *not* know: sudden changes. One is drawn out over the memory;
    state it as an event, which no rate spans.

    Parameters
    ----------
    tracks : sequence of Track
        Of one movie, each without an event in it.
    residual_lag1 : float
        Correlation of the noise of neighbouring frames that is assumed before
        anything is looked at.

    Returns
    -------
    list of LocalRates
        `window_h` is the width of a moving window in which a straight line
        would draw on frames as far away.

    References
    ----------
    .. [1] Rasmussen, C. E. & Williams, C. K. I. (2006). Gaussian Processes
       for Machine Learning, chapters 2.7 and 9.4. Swain, P. S. et al. (2016).
       Inferring time derivatives including cell growth rates using Gaussian
       processes. Nat. Commun. 7, 13766, which fits each track alone.
    """
    logs = [track._replace(size=np.log(np.asarray(track.size, float))) for track in tracks]
    return _local(logs, residual_lag1, _OF_LOGS)


def local_slopes(tracks: Sequence[Track], *, residual_lag1: float) -> list[LocalRates]:
    """Change per hour of any quantity, at each frame of every cell, with its error.

    As `local_rates`, of the quantity itself in place of ln(size). Since the
    noise and the changes of all tracks are learned together, their values
    should be alike in scale.

    Parameters
    ----------
    tracks : sequence of Track
        Of one movie, each without an event in it; `size` holds the quantity,
        which may be of any sign.
    residual_lag1 : float
        As in `local_rates`.
    """
    return _local(tracks, residual_lag1, _OF_SLOPES)


def _local(tracks: Sequence[Track], residual_lag1: float, tried: _Tried) -> list[LocalRates]:
    """Slopes of the values of tracks."""
    if not tracks:
        return []
    movie = _learn(tracks, residual_lag1, tried)
    rates: list[LocalRates | None] = [None] * len(tracks)
    for pattern, values, members in _alike(tracks):
        for index, found in zip(members, _rates(pattern, values, movie), strict=True):
            rates[index] = found
    return rates


def _alike(tracks: Sequence[Track]) -> Iterator[tuple[_Pattern, np.ndarray, list[int]]]:
    """Tracks of one pattern, their values of shape (tracks, n), and their indices: what is costly is of the pattern."""
    patterns: dict[bytes, list[int]] = {}
    for index, track in enumerate(tracks):
        hours, frame = np.asarray(track.time_h, float), np.asarray(track.frame, float)
        key = np.round(np.concatenate([hours - hours[0], frame - frame[0]]), 6)
        patterns.setdefault(key.tobytes(), []).append(index)
    for members in patterns.values():
        first = tracks[members[0]]
        hours = np.asarray(first.time_h, float)
        values = np.array([np.asarray(tracks[index].size, float) for index in members])
        yield _Pattern(hours - hours[0], np.asarray(first.frame, float)), values, members


def _learn(tracks: Sequence[Track], residual_lag1: float, tried: _Tried) -> _Movie:
    """The likely models of a movie, and the noise under each."""
    chosen = [tracks[index] for index in np.unique(np.linspace(0, len(tracks) - 1, _LEARNED_TRACKS).astype(int))]
    chosen = [Track(*(np.asarray(each)[:_LEARNED_FRAMES] for each in track)) for track in chosen]
    span_h = float(np.median([track.time_h[-1] - track.time_h[0] for track in chosen]))
    frame_h = float(np.median(np.concatenate([np.diff(track.time_h) for track in chosen])))
    memories = [each for each in tried.memories if each * span_h >= _LEAST_MEMORY_FRAMES * frame_h]
    grid = product([(0.0, 1.0), *product(tried.swings, memories)], _LAG1_Z)
    swing, memory, z = np.array([(*shape, z) for shape, z in grid]).T[:, :, None, None]
    models = _Models(swing / span_h, memory * span_h, np.tanh(z))
    squares, degrees, constant = [], [], 0.0
    for pattern, values, _ in _alike(chosen):
        solved = _solve(pattern, models)
        squares.append(_squares(solved, values))
        degrees += [len(pattern.hours) - 2] * len(values)
        constant = constant + len(values) * solved.log_constant
    of_tracks, free = np.concatenate(squares, axis=1), np.array(degrees, float)
    usual = float(np.median(free))
    largest = max(float(np.abs(track.size).max()) for track in chosen)
    least = (ROUNDING * (largest or 1.0)) ** 2
    variance = np.array([_scale(each, free, usual, least) for each in of_tracks])
    fit = (usual + free) * np.log1p(of_tracks / (usual * variance[:, None])) + free * np.log(variance[:, None])
    assumed = -(((z[:, 0, 0] - np.arctanh(residual_lag1)) / _ASSUMED_SPREAD_Z) ** 2) / 2
    log_weight = constant - fit.sum(axis=1) / 2 + assumed
    weight = np.exp(log_weight - log_weight.max())
    likely = np.flatnonzero(weight >= _LEAST_WEIGHT)
    weight = weight[likely] / weight[likely].sum()
    return _Movie(_Models(*(each[likely] for each in models)), weight, variance[likely], usual)


def _scale(squares: np.ndarray, degrees: np.ndarray, usual: float, least: float) -> float:
    """Variance of the noise where that of tracks scatters as an inverse chi-square of `usual` degrees."""
    variance = max(float(np.median(squares / degrees)), least)
    for _ in range(20):
        trust = (usual + degrees) / (usual + squares / variance)
        variance = max(float(trust @ squares / degrees.sum()), least)
    return variance


class _Solved(NamedTuple):
    """What the models make of a pattern; the first axis is that of the models."""

    inverse: np.ndarray  # of the covariance of the values, (models, n, n)
    of_rate: np.ndarray  # covariance of the rate with the values, (models, n, n)
    line: np.ndarray  # (n, 2)
    weighted: np.ndarray  # inverse times line, (models, n, 2)
    unsure: np.ndarray  # covariance of level and rate, (models, 2, 2)
    log_constant: np.ndarray  # of the restricted likelihood, (models,)


def _solve(pattern: _Pattern, models: _Models) -> _Solved:
    """Covariances over the variance of the noise.

    The deviation of the values is the integral of that of the rate from the first frame.
    """
    noise = models.lag1 ** np.abs(np.subtract.outer(pattern.frame, pattern.frame))
    row, column = pattern.hours[:, None] / models.memory_h, pattern.hours / models.memory_h
    apart, from_start = np.exp(-np.abs(row - column)), np.exp(-row)
    size = 2 * np.minimum(row, column) + from_start + np.exp(-column) - apart - 1
    rate = np.where(column <= row, apart - from_start, 2 - from_start - apart)
    swing = models.swing_per_h**2
    covariance = noise + swing * models.memory_h**2 * size
    inverse = np.linalg.inv(covariance)
    line = np.stack([np.ones(len(pattern.hours)), pattern.hours - pattern.hours.mean()], axis=1)
    weighted = inverse @ line
    information = line.T @ weighted
    log_constant = -(np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(information)[1]) / 2
    return _Solved(inverse, swing * models.memory_h * rate, line, weighted, np.linalg.inv(information), log_constant)


def _squares(solved: _Solved, values: np.ndarray) -> np.ndarray:
    """Weighted sums of squares about the line of each track, (models, tracks)."""
    centred = (values - values.mean(axis=1, keepdims=True)).T
    explained = np.swapaxes(solved.weighted, 1, 2) @ centred  # (models, 2, tracks)
    squares = (centred * (solved.inverse @ centred)).sum(axis=1)
    return np.maximum(squares - (explained * (solved.unsure @ explained)).sum(axis=1), 0)


def _rates(pattern: _Pattern, values: np.ndarray, movie: _Movie) -> list[LocalRates]:
    """Rates of tracks of one pattern; a long one piece by piece."""
    frames = len(pattern.hours)
    if frames <= _PIECE_FRAMES:
        return _rates_of_piece(pattern, values, movie)
    out = [LocalRates(*np.empty((4, frames))) for _ in values]
    step = _PIECE_FRAMES // 2
    for begin in range(0, frames - step, step):
        first = min(begin, frames - _PIECE_FRAMES)
        part = slice(first, first + _PIECE_FRAMES)
        hours = pattern.hours[part]
        pieces = _rates_of_piece(_Pattern(hours - hours[0], pattern.frame[part]), values[:, part], movie)
        # what lies near the start of a piece is better known from the one before
        kept = 0 if first == 0 else begin + step // 2
        for whole, piece in zip(out, pieces, strict=True):
            for all_frames, own in zip(whole, piece, strict=True):
                all_frames[kept : part.stop] = own[kept - first :]
    return out


def _rates_of_piece(pattern: _Pattern, values: np.ndarray, movie: _Movie) -> list[LocalRates]:
    solved = _solve(pattern, movie.models)
    degrees = len(pattern.hours) - 2
    # the rate is that of the line, and what the deviations from it say
    left = np.array([[0.0], [1.0]]) - np.swapaxes(solved.weighted, 1, 2) @ np.swapaxes(solved.of_rate, 1, 2)
    believed = solved.of_rate @ solved.inverse
    draw = believed + np.swapaxes(left, 1, 2) @ solved.unsure @ np.swapaxes(solved.weighted, 1, 2)  # (models, n, n)
    unknown = movie.models.swing_per_h[:, 0] ** 2 - (believed * solved.of_rate).sum(axis=2)
    unknown = np.maximum(unknown + (left * (solved.unsure @ left)).sum(axis=1), 0)  # (models, n)
    own = _squares(solved, values)
    scale = (movie.degrees * movie.variance[:, None] + own) / (movie.degrees + degrees)  # (models, tracks)
    away_h = np.abs(np.subtract.outer(pattern.hours, pattern.hours))
    draws = np.tensordot(movie.weights, np.abs(draw), 1)
    # a straight line in a window of width w draws on frames that are 3/8 w away
    window_h = 8 / 3 * (draws * away_h**2).sum(axis=1) / (draws * away_h).sum(axis=1)
    window_h = np.minimum(window_h, pattern.hours[-1])
    found = []
    for track, value in enumerate(values):
        rates = draw @ (value - value.mean())  # (models, n)
        rate = movie.weights @ rates
        variance = movie.weights @ (scale[:, track, None] * unknown + (rates - rate) ** 2)
        noise = np.full(len(rate), np.sqrt(movie.weights @ scale[:, track]))
        found.append(LocalRates(rate, np.sqrt(variance), window_h, noise))
    return found
