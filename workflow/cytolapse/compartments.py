"""Parts of cells: the nucleus by its marker, and the ring around it."""

import numpy as np
from scipy import ndimage

from cytolapse.shapes import Cells

# Light of a cell that is split in two explains so much of its variance at least where there is a nucleus:
# noise of any strength is explained to 0.64 by its own halves.
_LEAST_EXPLAINED = 0.7
_FEWEST_PX = 4
# Blur dims the rim of a cell, which is no sign of a nucleus; smoothing takes that further in.
_RIM_PX = 2


def find_nuclei(marker: np.ndarray, cells: Cells, *, smoothing_px: float) -> np.ndarray:
    """The nucleus in each cell, where a marker of nuclei shows one.

    Otsu's threshold [1]_ of each cell by itself, its rim left out, and of what
    is above it the largest piece. A cell whose light does not fall into two classes any better
    than noise does has none.

    Parameters
    ----------
    marker : array of shape (y, x)
        Light of the nuclear marker.
    cells : Cells
        Of the same frame.
    smoothing_px : float
        Standard deviation of the Gaussian that the marker is smoothed by.

    Returns
    -------
    int array of shape (y, x)
        The number of the cell in its nucleus, 0 elsewhere.

    References
    ----------
    .. [1] Otsu, N. (1979). IEEE Trans. Syst. Man Cybern. 9, 62-66.
    """
    nuclei = np.zeros(cells.shape, np.int64)
    if not len(cells.label):
        return nuclei
    inside = np.zeros(nuclei.size, bool)
    inside[cells.at] = True
    inside = inside.reshape(cells.shape)
    # what lies outside of cells has no part in the smoothing
    weight = ndimage.gaussian_filter(inside.astype(np.float64), smoothing_px)
    smooth = ndimage.gaussian_filter(np.where(inside, marker, 0.0), smoothing_px).ravel()[cells.at]
    value = smooth / weight.ravel()[cells.at]
    depth = ndimage.distance_transform_cdt(np.pad(inside, 1), "chessboard")[1:-1, 1:-1].ravel()[cells.at]
    deep = depth > _RIM_PX + 2 * smoothing_px
    threshold, explained = _otsu_by_cell(value[deep], cells.owner[deep], len(cells.label))
    bright = (value > threshold[cells.owner]) & (explained >= _LEAST_EXPLAINED)[cells.owner]
    mask = np.zeros(nuclei.size, bool)
    mask[cells.at[bright]] = True
    piece, pieces = ndimage.label(mask.reshape(cells.shape))
    # nuclei of cells that touch may touch: a piece ends where its cell does
    owner = cells.owner[bright]
    key, pixels = np.unique(owner * (pieces + 1) + piece.ravel()[cells.at[bright]], return_counts=True)
    order = np.lexsort((-pixels, key // (pieces + 1)))
    first = order[np.unique(key[order] // (pieces + 1), return_index=True)[1]]
    largest = np.zeros(len(cells.label), np.int64)
    kept = first[pixels[first] >= _FEWEST_PX]
    largest[key[kept] // (pieces + 1)] = key[kept] % (pieces + 1)
    chosen = piece.ravel()[cells.at[bright]] == largest[owner]
    nuclei.ravel()[cells.at[bright][chosen]] = cells.label[owner[chosen]]
    return nuclei


def _otsu_by_cell(value: np.ndarray, owner: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Otsu's threshold of each cell, and the part of its variance that two classes explain; 0 without pixels."""
    threshold, part = np.zeros((2, count))
    cells, owner = np.unique(owner, return_inverse=True)
    if not len(cells):
        return threshold, part
    count = len(cells)
    order = np.lexsort((value, owner))
    value, owner = value[order], owner[order]
    pixels = np.bincount(owner, minlength=count)
    start = np.cumsum(pixels) - pixels
    mean = np.bincount(owner, value, count) / pixels
    off = value - mean[owner]
    variance = np.bincount(owner, off**2, count) / pixels
    below = np.arange(len(value)) - start[owner] + 1
    summed = np.cumsum(off)
    summed -= np.concatenate([[0.0], summed])[start][owner]
    above = pixels[owner] - below
    # of the last pixel of a cell nothing lies above
    between = np.where(above > 0, summed**2 / (below * np.maximum(above, 1)), 0.0)
    # pixels of one value belong to one class
    between[:-1][(value[1:] == value[:-1]) & (owner[1:] == owner[:-1])] = 0.0
    best = np.lexsort((between, owner))[start + pixels - 1]
    explained = between[best] / np.where(variance > 0, variance, 1.0)
    threshold[cells], part[cells] = value[best], np.where(variance > 0, explained, 0.0)
    return threshold, part


def ring_around(inner: np.ndarray, allowed: np.ndarray | None, *, gap_px: int, ring_px: int) -> np.ndarray:
    """The ring around each labelled part.

    Parameters
    ----------
    inner : int array of shape (y, x)
        Nuclei under the numbers of their cells; 0 elsewhere.
    allowed : int array of shape (y, x), or None
        Labels of the cells that a ring must stay in; None where nuclei alone
        are known, and a ring ends halfway to the next.
    gap_px : int
        Pixels this near to the nucleus are left out: blur has light of both there.
    ring_px : int
        Width of the ring.

    Returns
    -------
    int array of shape (y, x)
        The number of the cell in its ring, 0 elsewhere.
    """
    if not inner.any():
        return np.zeros_like(inner)
    distance, nearest = ndimage.distance_transform_cdt(inner == 0, "chessboard", return_indices=True)
    owner = inner[nearest[0], nearest[1]]
    ring = (distance > gap_px) & (distance <= gap_px + ring_px)
    if allowed is not None:
        ring &= owner == allowed
    return np.where(ring, owner, 0)
