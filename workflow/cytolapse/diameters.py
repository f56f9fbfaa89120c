"""How wide the cells of a movie are, as the model finds that is to segment it."""

import logging
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from cytolapse.scaling import SAME_SCALE, SMALLEST, diameter_px

log = logging.getLogger(__name__)

AUTO = "auto"
"""In place of a diameter: measure it."""

# Side of what the network is shown of a plane, at each scale that is tried.
_WINDOW_PX = 1024
_ROUNDS = 6
# Where no cell is seen at the size of the plane, it may be seen smaller or larger.
_STARTS = (1.0, 0.5, 2.0, 0.25, 4.0)
# Probability of cell, and of that minus edge, above which a pixel is cell and middle of a cell.
_CELL, _MIDDLE = 0.5, 0.2
# Fewest pixels of the network of a cell that counts.
_SPECK_PX = 20
# Cells below this part of those with most of the pixels are specks, too.
_SPECK_PART = 0.1


def measure_diameter_px(
    planes: Sequence[np.ndarray], predict: Callable[[np.ndarray, float], np.ndarray], known_px: float
) -> float | None:
    """Diameter of a usual cell in some planes, by showing them at the scale at which their cells look as learned.

    A network finds cells that are up to about three times as wide or narrow
    as those that it learned from, and errs in their width towards what it
    knows; it sees larger ones as many specks. So the planes are shown again
    at the scale that the width of the cells with most of the pixels asks for,
    until it asks for no other; there the median of the cells is taken.

    Parameters
    ----------
    planes : sequence of float32 arrays of shape (y, x)
        Normalised.
    predict : callable
        Of planes (n, y, x) and the scale to show them at, probabilities
        (n, classes, y, x), uint8, in their own pixels.
    known_px : float
        Diameter of a usual cell as the network learned it, in its pixels.

    Returns
    -------
    float or None
        In pixels of the planes; None where no cell was found.
    """
    for start in _STARTS:
        scale, centres = start, [None] * len(planes)
        found: list[float] = []
        for _ in range(_ROUNDS):
            areas_px = []
            for number, plane in enumerate(planes):
                window = _window(plane.shape, math.ceil(_WINDOW_PX / scale), centres[number])
                probability = predict(plane[window][None], scale)[0]
                centres[number] = _busiest(probability[0], window, round(_WINDOW_PX / scale / 4))
                areas_px.append(cell_areas_px(probability, _SPECK_PX / scale**2))
            areas_px = np.concatenate(areas_px)
            if not len(areas_px):
                break
            main_px = _area_of_most_px(areas_px)
            median_px = diameter_px(float(np.median(areas_px[areas_px >= _SPECK_PART * main_px])))
            found.append(diameter_px(main_px))
            asked = min(max(known_px / found[-1], SMALLEST), 1 / SMALLEST)
            log.info("shown at %.3g: cells are %.3g px wide, their median %.3g", scale, found[-1], median_px)
            if max(asked / scale, scale / asked) < SAME_SCALE:
                return median_px
            scale = asked
        if found:
            # It swings between scales: the truth lies between.
            return math.sqrt(found[-1] * found[-2]) if len(found) > 1 else found[-1]
    return None


def _area_of_most_px(areas_px: np.ndarray) -> float:
    """The area of the cell in which the median of all pixels of cells lies: specks weigh little."""
    ordered = np.sort(areas_px)
    return float(ordered[np.searchsorted(np.cumsum(ordered), ordered.sum() / 2)])


def cell_areas_px(probability: np.ndarray, speck_px: float) -> np.ndarray:
    """Areas of the cells of a plane, roughly: a middle with the cell's pixels that are nearest to it.

    `labeling.label_cells` parts cells better. It is not used here, because
    then another way of labelling would segment every movie again.

    Parameters
    ----------
    probability : uint8 array of shape (classes, y, x)
        Of cell, and of edge where there are two classes; 255 is 1.
    speck_px : float
        Fewest pixels of a cell.

    Returns
    -------
    int array of shape (cells,)
    """
    cell = probability[0] / 255
    middles, count = ndimage.label((cell > _CELL) & (cell - probability[1:].sum(axis=0) / 255 > _MIDDLE))
    if not count:
        return np.empty(0, np.int64)
    nearest = ndimage.distance_transform_edt(middles == 0, return_distances=False, return_indices=True)
    areas_px = np.bincount(middles[tuple(nearest)][cell > _CELL], minlength=count + 1)[1:]
    return areas_px[areas_px >= speck_px]


def _window(shape: tuple[int, int], side_px: int, centre: tuple[int, int] | None) -> tuple[slice, slice]:
    """The part of a plane around a place, of a given side at most, wholly inside."""
    window = []
    for axis, length in enumerate(shape):
        side = min(side_px, length)
        middle = length // 2 if centre is None else centre[axis]
        start = min(max(middle - side // 2, 0), length - side)
        window.append(slice(start, start + side))
    return tuple(window)


def _busiest(cell: np.ndarray, window: tuple[slice, slice], side_px: int) -> tuple[int, int]:
    """The place in the plane around which most of the cells are, counted in squares."""
    around = ndimage.uniform_filter(cell.astype(np.float32), side_px, mode="constant")
    place = np.unravel_index(around.argmax(), around.shape)
    return tuple(int(at) + part.start for at, part in zip(place, window, strict=True))
