"""Outlines at the same relative height of each cell: a cell is as wide when it is dim as when it is bright.

One threshold meets a bright cell low on the slope of its blurred rim, and a dim
one near its top: the one is drawn too large, the other too small.
"""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

# How far an outline may move out; blur moves it by less.
_REACH_PX = 4
# Blur lowers a cell by its outline, and a small cell is mostly that.
_RIM_PX = 2.0
# Fewer pixels of background around a cell say nothing of it.
_LEAST_AROUND_PX = 20
# A cell that keeps less of its pixels is no cell with a slope around it, but several things.
_LEAST_KEPT = 0.5


def relative_heights(labels: np.ndarray, image: np.ndarray, threshold: float, background: float) -> np.ndarray:
    """How far up each cell a threshold lies, from the background around it (0) to the cell behind its rim (1).

    Parameters
    ----------
    labels : int array of shape (y, x)
        0 background, else cells.
    image : float array of shape (y, x)
        Cells are brighter than what surrounds them.
    threshold : float
        Value of the image.
    background : float
        Value of the image that counts where next to no background is seen around a cell.

    Returns
    -------
    array of shape (cells,)
        Of the cells that are brighter than the background around them.
    """
    nearest = _nearest(labels)
    cells = (_Cell(number, box, labels, nearest, image, background) for number, box in _boxes(labels))
    return np.array([(threshold - cell.around) / cell.height for cell in cells if cell.height > 0])


def outlined_at(
    labels: np.ndarray, image: np.ndarray, part: float, background: float, *, fill_holes: bool
) -> np.ndarray:
    """Labels whose outlines lie at the same relative height of each cell.

    An outline moves out by 4 px at most, and over no pixel that is nearer to
    another cell. Of what is then above the height only the piece that holds
    most of the cell stays. A cell of which less than half would stay, and one
    that is no brighter than what surrounds it, is left as it is.

    Parameters
    ----------
    labels, image, background
        As for `relative_heights`.
    part : float
        The height, as `relative_heights` gives it.
    fill_holes : bool
        Whether holes in a cell are part of it.

    Returns
    -------
    int array of shape (y, x)
        The same numbers.
    """
    nearest = _nearest(labels)
    outlined = np.zeros_like(labels)
    for number, box in _boxes(labels):
        cell = _Cell(number, box, labels, nearest, image, background)
        mask = cell.above(cell.around + part * cell.height, fill_holes) if cell.height > 0 else cell.mask
        outlined[cell.window][mask] = number
    return outlined


class _Cell:
    """A cell in a window that holds what its outline may grow to, and some background."""

    def __init__(
        self,
        number: int,
        box: tuple[slice, ...],
        labels: np.ndarray,
        nearest: np.ndarray,
        image: np.ndarray,
        background: float,
    ):
        self.window = tuple(slice(max(side.start - 2 * _REACH_PX, 0), side.stop + 2 * _REACH_PX) for side in box)
        self.mask = labels[self.window] == number
        self._own = nearest[self.window] == number
        self._image = image[self.window]
        around = self._image[nearest[self.window] == 0]
        self.around = float(np.median(around)) if len(around) >= _LEAST_AROUND_PX else background
        self.height = float(np.median(self._image[_behind_the_rim(self.mask)])) - self.around

    def above(self, value: float, fill_holes: bool) -> np.ndarray:
        pieces, count = ndimage.label(self._own & (self._image > value))
        shares = np.bincount(pieces[self.mask], minlength=count + 1)
        shares[0] = 0
        piece = pieces == shares.argmax()
        if fill_holes:
            piece = ndimage.binary_fill_holes(piece) & self._own
        return piece if shares.any() and piece.sum() >= _LEAST_KEPT * self.mask.sum() else self.mask


def _boxes(labels: np.ndarray) -> Iterator[tuple[int, tuple[slice, ...]]]:
    return ((number, box) for number, box in enumerate(ndimage.find_objects(labels), start=1) if box is not None)


def _behind_the_rim(mask: np.ndarray) -> np.ndarray:
    """The pixels that blur has not lowered: those `_RIM_PX` deep, or the deeper half of a cell that is mostly rim."""
    depth_px = ndimage.distance_transform_edt(mask)
    return depth_px >= min(_RIM_PX, np.median(depth_px[mask]))


def _nearest(labels: np.ndarray) -> np.ndarray:
    """The cell that each pixel within reach is nearest to; 0 beyond."""
    from skimage.segmentation import expand_labels

    return expand_labels(labels, _REACH_PX)
