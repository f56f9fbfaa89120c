"""Where cells are expected in the next frame, from the steps that they and their neighbours took."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

# So many of the cells around one tell which way things go there.
_COMPANY = 6


class Foresight(NamedTuple):
    """What a step says of the one after.

    Attributes
    ----------
    steadiness : float
        Part of its last step that a cell goes on by, 0 to 1.
    company : float
        Part of the mean last step of those around it that a cell goes by
        whose own last step is not known, 0 to 1.
    """

    steadiness: float
    company: float


NOTHING = Foresight(0.0, 0.0)


def measure_steadiness(frame: np.ndarray, position_um: np.ndarray, track: np.ndarray) -> tuple[float, float]:
    """How much of its step from one frame to the next a cell repeats in the frame after.

    The slope of a step on the one before, through 0: 1 for cells that move on
    a line at one speed, 0 for cells that wander. It is the best factor to
    foresee a step by. Places that are measured badly lower it.

    Parameters
    ----------
    frame, track : int arrays of shape (n,)
    position_um : array of shape (n, 2)
        y and x.

    Returns
    -------
    steadiness : float
        0 to 1; 0 where no cell is seen in three frames in a row.
    step_um : float
        Root of the mean squared step of these cells.
    """
    _, last, following = _steps(frame, position_um, track)
    both = np.isfinite(last).all(axis=1) & np.isfinite(following).all(axis=1)
    squares = float((last[both] ** 2).sum())
    return _slope(last[both], following[both]), (squares / max(int(both.sum()), 1)) ** 0.5


def measure_company(frame: np.ndarray, position_um: np.ndarray, track: np.ndarray) -> float:
    """How much of the mean last step of those around it a cell makes next.

    The slope of a step on the mean of the six nearest neighbours' steps before
    it, through 0: 1 where all flow together, 0 where each goes its own way.

    Parameters
    ----------
    frame, track : int arrays of shape (n,)
    position_um : array of shape (n, 2)
        y and x.

    Returns
    -------
    float
        0 to 1; 0 where no two cells are seen moving beside each other.
    """
    order, last, following = _steps(frame, position_um, track)
    frame, position_um = frame[order], position_um[order]
    moved, moves = np.isfinite(last).all(axis=1), np.isfinite(following).all(axis=1)
    foreseen, made = [np.empty((0, 2))], [np.empty((0, 2))]
    for rows in np.split(np.argsort(frame, kind="stable"), np.cumsum(np.unique(frame, return_counts=True)[1])[:-1]):
        others, those = rows[moved[rows]], rows[moves[rows]]
        if len(others) > 1 and len(those):
            foreseen.append(_mean_around(position_um[others], last[others], position_um[those], others, those))
            made.append(following[those])
    return _slope(np.concatenate(foreseen), np.concatenate(made))


def _steps(frame: np.ndarray, position_um: np.ndarray, track: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Order of the rows by track and frame, and the steps to and from each row so ordered; NaN where there is none."""
    order = np.lexsort((frame, track))
    step = np.diff(position_um[order], axis=0)
    step[(np.diff(track[order]) != 0) | (np.diff(frame[order]) != 1)] = np.nan
    none = np.full((min(len(order), 1), 2), np.nan)
    return order, np.concatenate([none, step]), np.concatenate([step, none])


def _slope(before: np.ndarray, after: np.ndarray) -> float:
    squares = float((before**2).sum())
    return float(np.clip((before * after).sum() / squares, 0, 1)) if squares > 0 else 0.0


def _mean_around(
    position_um: np.ndarray, step_um: np.ndarray, place_um: np.ndarray, who: np.ndarray, whose: np.ndarray
) -> np.ndarray:
    """Mean step of the cells nearest to each place, but not of the cell at that place itself."""
    nearest = cKDTree(position_um).query(place_um, k=np.arange(1, min(_COMPANY + 1, len(who)) + 1))[1]
    other = who[nearest] != whose[:, None]
    # one more was asked for, in case that one of them is the cell itself
    other[other.all(axis=1), _COMPANY:] = False
    return np.einsum("ij,ijk->ik", other, step_um[nearest]) / other.sum(axis=1, keepdims=True)


def expected_steps(position_um: np.ndarray, step_um: np.ndarray, foresight: Foresight) -> np.ndarray:
    """The step that each cell is expected to take to the next frame.

    Parameters
    ----------
    position_um : array of shape (n, 2)
        y and x.
    step_um : array of shape (n, 2)
        Last step of each cell; NaN where it is not known.
    foresight : Foresight

    Returns
    -------
    array of shape (n, 2)
    """
    known = np.isfinite(step_um).all(axis=1)
    expected = np.where(known[:, None], foresight.steadiness * step_um, 0.0)
    if foresight.company > 0 and known.any() and not known.all():
        here, new = np.flatnonzero(known), np.flatnonzero(~known)
        mean = _mean_around(position_um[here], step_um[here], position_um[new], here, new)
        expected[new] = foresight.company * mean
    return expected


class Onward:
    """Where cells are expected, for trackpy: on from where they were, as `expected_steps` says."""

    def __init__(self, foresight: Foresight) -> None:
        self._foresight = foresight
        self._last: dict[int, tuple[int, np.ndarray, np.ndarray]] = {}

    def __call__(self, frame: int, cells: Iterable) -> list[np.ndarray]:
        cells = list(cells)
        if not cells:
            return []
        place = np.array([cell.pos for cell in cells])
        steps = np.array([self._last_step(cell) for cell in cells])
        waited = np.array([frame - cell.t for cell in cells])[:, None]
        place[:, :2] += waited * expected_steps(place[:, :2], steps, self._foresight)
        return list(place)

    def _last_step(self, cell) -> np.ndarray:
        here = cell.pos[:2]
        at, there, step = self._last.get(cell.track.id, (cell.t, here, np.full(2, np.nan)))
        if at < cell.t:
            step = (here - there) / (cell.t - at)
        self._last[cell.track.id] = cell.t, here, step
        return step
