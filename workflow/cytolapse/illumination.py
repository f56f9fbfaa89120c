"""Background: what a pixel reads where there is no cell."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

# Pixels further from the middle than this many standard deviations are no background.
_CLIP_SD = 3.0
# Pixels of a frame that are looked at; more would not change the value.
_SAMPLE_PX = 100_000
# Fewer than this and there is no background to speak of.
_LEAST_PX = 30
# The frame is cut into this many blocks a side, to see how even its background is.
_BLOCKS = 8
_SD_OF_QUARTILES = 1.349
_OCTANTS = 8


class Surroundings(NamedTuple):
    """Where there is background, in one frame.

    Attributes
    ----------
    shape : tuple of int
        (y, x) of the frame.
    outside : int array of shape (n,)
        Flat indices of the pixels far from every cell.
    ring : int array of shape (m,)
        Flat indices of the pixels in the rings around cells, cell by cell.
    owner : int array of shape (m,)
        Of each of these, the cell: 0 for label 1, and so on.
    octant : int array of shape (m,)
        In which of eight directions from the centre of the ring it lies.
    near : int array of shape (k,)
        Flat indices of the pixels beside cells, as far as their rings reach.
    near_owner : int array of shape (k,)
        Of each of these, the nearest cell, as in `owner`.
    spread : bool array of shape (k,)
        Whether blur has spread light of the cell to it.
    cells : int
        The greatest label.
    """

    shape: tuple[int, int]
    outside: np.ndarray
    ring: np.ndarray
    owner: np.ndarray
    octant: np.ndarray
    near: np.ndarray
    near_owner: np.ndarray
    spread: np.ndarray
    cells: int


class FrameBackground(NamedTuple):
    """Background of a frame.

    Attributes
    ----------
    value_au : float
        Per pixel; nan where no pixel is background.
    sd_au : float
        Of single pixels.
    se_au : float
        By how much the value is off at one place of the frame: the spread of
        the background between parts of the frame.
    method : str
        'frame', or 'blank' where it is that of a blank position.
    """

    value_au: float
    sd_au: float
    se_au: float
    method: str = "frame"


class LocalBackground(NamedTuple):
    """Background around each cell of a frame.

    Attributes
    ----------
    value_au, se_au : float arrays of shape (cells,)
        Background per pixel and its standard error, of label 1 and on.
    method : str array of shape (cells,)
        'local', or that of the frame where the ring had too few pixels.
    """

    value_au: np.ndarray
    se_au: np.ndarray
    method: np.ndarray


def surroundings(labels: np.ndarray, *, ring_gap_px: int, ring_px: int, spread_px: int) -> Surroundings:
    """Where there is background: far from cells, and in a ring around each.

    A ring's pixels are nearer to its cell than to any other, more than
    `ring_gap_px` and at most `ring_gap_px` + `ring_px` from it. Distances are
    counted along rows or columns, whichever is the greater.

    Parameters
    ----------
    labels : int array of shape (y, x)
        0 is background.
    ring_gap_px : int
        Pixels this near to a cell may hold some of its light, and are left out.
    ring_px : int
        Width of the ring.
    spread_px : int
        Pixels this near to a cell hold light that blur has spread from it.
    """
    empty = np.zeros(0, np.int64)
    if not labels.any():
        return Surroundings(labels.shape, np.arange(labels.size), *(empty,) * 5, empty.astype(bool), 0)
    distance, nearest = ndimage.distance_transform_cdt(labels == 0, "chessboard", return_indices=True)
    distance = distance.ravel()
    outside = np.flatnonzero(distance > ring_gap_px)
    within = distance[outside] <= ring_gap_px + ring_px
    ring = outside[within]
    width_px = labels.shape[1]
    y, x = (each.ravel() for each in nearest)
    owner = labels[y[ring], x[ring]].astype(np.int64) - 1
    near = np.flatnonzero((distance > 0) & (distance <= max(spread_px, ring_gap_px + ring_px)))
    near_owner = labels[y[near], x[near]].astype(np.int64) - 1
    order = np.argsort(owner, kind="stable")
    ring, owner = ring[order], owner[order]
    cells = int(labels.max())
    octant = _octants(ring, owner, cells, width_px)
    spread = distance[near] <= spread_px
    return Surroundings(labels.shape, outside, ring, owner, octant, near, near_owner, spread, cells)


def _octants(ring: np.ndarray, owner: np.ndarray, cells: int, width_px: int) -> np.ndarray:
    y, x = np.divmod(ring.astype(np.int32), np.int32(width_px))
    count = np.maximum(np.bincount(owner, minlength=cells), 1)
    y = y - (np.bincount(owner, y, cells) / count)[owner]
    x = x - (np.bincount(owner, x, cells) / count)[owner]
    return 4 * (y > 0) + 2 * (x > 0) + (np.abs(y) > np.abs(x))


def background_of_frame(plane: np.ndarray, around: Surroundings) -> FrameBackground:
    """Background of one plane, outside of all cells.

    The mean of what lies within three robust standard deviations of the
    median, so that cells that were not found, and hot pixels, do not count,
    and the value is finer than the camera's steps.

    Parameters
    ----------
    plane : array of shape (y, x)
        As read from the camera.
    around : Surroundings
        Of the labels of this frame.
    """
    at = around.outside[:: max(1, len(around.outside) // _SAMPLE_PX)]
    if len(at) < _LEAST_PX:
        return FrameBackground(np.nan, np.nan, np.nan)
    value = plane.ravel()[at]
    kept = _near_the_middle(value, np.zeros(len(value), np.int64), 1)
    kept_au = value[kept].astype(np.float64)
    sd_au = float(kept_au.std())
    return FrameBackground(float(kept_au.mean()), sd_au, _unevenness(kept_au, at[kept], around.shape, sd_au))


def _unevenness(value: np.ndarray, at: np.ndarray, shape: tuple[int, int], sd_au: float) -> float:
    """Standard deviation of the background between blocks of the frame."""
    y, x = np.divmod(at.astype(np.int32), np.int32(shape[1]))
    block = (y * _BLOCKS // shape[0]) * _BLOCKS + x * _BLOCKS // shape[1]
    count = np.bincount(block, minlength=_BLOCKS**2)
    mean = np.bincount(block, value, _BLOCKS**2) / np.maximum(count, 1)
    mean = mean[count >= _LEAST_PX]
    if len(mean) < 2:
        return sd_au / np.sqrt(len(value))
    return float(mean.std(ddof=1))


def local_background(
    plane: np.ndarray, around: Surroundings, frame: FrameBackground, *, ring_min_px: int
) -> LocalBackground:
    """Background of one plane around each of its cells.

    The clipped mean over the cell's ring, as in `background_of_frame`. Its
    standard error is the one between eight directions from the cell, so that
    neighbouring pixels may be alike and the light uneven.

    Parameters
    ----------
    plane : array of shape (y, x)
        As read from the camera.
    around : Surroundings
        Of the labels of this frame.
    frame : FrameBackground
        Of the same plane, for cells with too small a ring.
    ring_min_px : int
        Fewest pixels of a ring.
    """
    value = plane.ravel()[around.ring]
    kept = _near_the_middle(value, around.owner, around.cells)
    value, owner, octant = value[kept].astype(np.float64), around.owner[kept], around.octant[kept]
    count = np.bincount(owner, minlength=around.cells)
    enough = count >= max(ring_min_px, 2)
    mean = np.bincount(owner, value, around.cells) / np.maximum(count, 1)
    sector = owner * _OCTANTS + octant
    off = np.bincount(sector, value - mean[owner], around.cells * _OCTANTS).reshape(-1, _OCTANTS)
    sectors = (np.bincount(sector, minlength=around.cells * _OCTANTS).reshape(-1, _OCTANTS) > 0).sum(1)
    # Cluster-robust: each direction counts as one observation of its pixels' sum.
    se = np.sqrt((off**2).sum(1) * sectors / np.maximum(sectors - 1, 1)) / np.maximum(count, 1)
    return LocalBackground(
        np.where(enough, mean, frame.value_au),
        np.where(enough, se, frame.se_au),
        np.where(enough, "local", frame.method),
    )


def _near_the_middle(value: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Which values lie within the clip about the median of their group."""
    low, median, high = grouped_quantiles(value, group, groups, (0.25, 0.5, 0.75))
    value = value.astype(np.float64)
    sd = (high - low) / _SD_OF_QUARTILES
    if not (sd > 0).all():
        # More than half of the values are one and the same: quartiles do not tell the spread.
        count = np.maximum(np.bincount(group, minlength=groups), 1)
        plain = np.sqrt(np.bincount(group, (value - median[group]) ** 2, groups) / count)
        sd = np.where(sd > 0, sd, plain)
    return np.abs(value - median[group]) <= _CLIP_SD * sd[group]


def grouped_quantiles(
    value: np.ndarray, group: np.ndarray, groups: int, quantiles: tuple[float, ...]
) -> tuple[np.ndarray, ...]:
    """Quantiles of values group by group, without a loop over the groups.

    Parameters
    ----------
    value : array of shape (n,)
        Of any real type; 8 and 16 bits are sorted fastest.
    group : int array of shape (n,)
        Group of each value, 0 to groups - 1, in any order.
    groups : int
        Number of groups.
    quantiles : tuple of float
        Each from 0 to 1.

    Returns
    -------
    tuple of float arrays of shape (groups,)
        One a quantile, linear between the two values next to it; nan for an
        empty group.
    """
    if value.dtype in (np.uint8, np.uint16):
        # Group and value in one number; numbers of 32 bits sort faster than those of 64.
        wide = np.uint32 if groups < 2**16 else np.uint64
        ordered = np.sort((group.astype(wide) << wide(16)) | value) & wide(0xFFFF)
    else:
        ordered = value[np.lexsort((value, group))]
    count = np.bincount(group, minlength=groups)
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    ordered = np.append(ordered, 0).astype(np.float64)
    found = []
    for quantile in quantiles:
        place = quantile * np.maximum(count - 1, 0)
        below = np.floor(place).astype(np.int64)
        above = np.minimum(below + 1, np.maximum(count - 1, 0))
        low, high = ordered[np.minimum(start + below, len(value))], ordered[np.minimum(start + above, len(value))]
        found.append(np.where(count > 0, low + (place - below) * (high - low), np.nan))
    return tuple(found)
