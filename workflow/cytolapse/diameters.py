"""How wide the cells of a movie are, as the model finds that is to segment it."""

import logging
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from cytolapse.labeling import mean_probability
from cytolapse.scaling import SAME_SCALE, SMALLEST, diameter_px

log = logging.getLogger(__name__)

AUTO = "auto"
"""In place of a diameter: measure it."""

# Side of what the network is shown of a plane, at each scale that is tried.
_WINDOW_PX = 1024
_ROUNDS = 6
# Where to begin, of scales from `SMALLEST` on, each twice the one before.
_STARTS = tuple(SMALLEST * 2**octave for octave in range(1 - 2 * round(math.log2(SMALLEST))))
# Probabilities above this count for how sure the network is, those above the other are cell.
_DOUBT, _CELL = 0.1, 0.5
# Fewest pixels of a cell that counts: of the network, and of the plane.
_SPECK_PX, _SPECK_PLANE_PX = 20, 6
# What is enlarged by more than this to look like cells is noise where the network is less sure of most of it.
_BIG, _SURE = 2.0, 0.86
# Where it is nowhere as sure as this (see `_sureness`), it may not know such cells.
_UNSURE = 0.5
# Cells below this part of those with most of the pixels are specks or pieces.
_SPECK_PART = 0.3


def measure_diameter_px(
    planes: Sequence[np.ndarray],
    predict: Callable[[np.ndarray, float], np.ndarray],
    label: Callable[[np.ndarray, float, int], np.ndarray],
    known_px: float,
    *,
    name: str,
) -> float | None:
    """Diameter of a usual cell in some planes, by showing them at the scale at which their cells look as learned.

    A network is surest of cells that are about as wide as those that it
    learned from, so the scale at which it is surest comes first. It finds
    cells that are up to about three times as wide or narrow, and errs in
    their width towards what it knows; it sees larger ones as many specks. So
    the planes are shown again at the scale that the width of the cells with
    most of the pixels asks for, until it asks for no other; there the median
    of the cells is taken.

    Parameters
    ----------
    planes : sequence of float32 arrays of shape (y, x)
        Normalised.
    predict : callable
        Of planes (n, y, x) and the scale to show them at, probabilities
        (n, classes, y, x), uint8, in their own pixels.
    label : callable
        Of those of one plane, the scale and the fewest pixels of a cell, its
        label image. Cells that touch have to be parted: two counted as one
        look large, and a smaller scale, at which no gap is seen, makes them
        one for certain.
    known_px : float
        Diameter of a usual cell as the network learned it, in its pixels.
    name : str
        Of the movie or image, for the log.

    Returns
    -------
    float or None
        In pixels of the planes; None where no cell was found, or nothing but
        noise.
    """
    for scale, centre in _starts(planes[len(planes) // 2], predict, known_px, name):
        centres = [centre] * len(planes)
        found: list[float] = []
        for _ in range(_ROUNDS):
            areas_px, sure = [], []
            for number, plane in enumerate(planes):
                window = _window(plane.shape, math.ceil(_WINDOW_PX / scale), centres[number])
                probability = predict(plane[window][None], scale)[0]
                centres[number] = _busiest(probability[0], window, scale)
                labels = label(probability, scale, max(math.ceil(_SPECK_PX / scale**2), _SPECK_PLANE_PX))
                areas_px.append(np.bincount(labels.ravel())[1:])
                sure.append(mean_probability(labels, probability[0] / 255))
            areas_px, sure = np.concatenate(areas_px), np.concatenate(sure)
            if not len(areas_px):
                break
            main_px = _area_of_most_px(areas_px)
            median_px = diameter_px(float(np.median(areas_px[areas_px >= _SPECK_PART * main_px])))
            found.append(diameter_px(main_px))
            asked = min(max(known_px / found[-1], SMALLEST), 1 / SMALLEST)
            log.info("shown at %.3g: cells are %.3g px wide, their median %.3g", scale, found[-1], median_px)
            noise = scale > _BIG and np.median(sure) < _SURE
            if max(asked / scale, scale / asked) < SAME_SCALE:
                return None if noise else median_px
            scale = asked
        if found and noise:
            return None
        if found:
            # It swings between scales: the truth lies between.
            return math.sqrt(found[-1] * found[-2]) if len(found) > 1 else found[-1]
    return None


def _starts(
    plane: np.ndarray, predict: Callable[[np.ndarray, float], np.ndarray], known_px: float, name: str
) -> list[tuple[float, tuple[int, int]]]:
    """Scales to begin at, each with the place to look at: those first at which the network is surest of what is cell.

    Of scales at which it is as sure, the nearest to 1 comes first. That it is
    nowhere sure goes to the log.
    """
    centre, centres, sureness = None, {}, {}
    for scale in _STARTS:
        window = _window(plane.shape, math.ceil(_WINDOW_PX / scale), centre)
        cell = predict(plane[window][None], scale)[0, 0]
        centre = centres[scale] = _busiest(cell, window, scale)
        sureness[scale] = _sureness(cell / 255, math.pi / 4 * (known_px / scale) ** 2)
        log.info("shown at %.3g: the network is sure to %.2f", scale, sureness[scale])
    surest = max(sureness.values())
    if 0 < surest < _UNSURE:
        text = (
            "%s: at no scale is the network surer than %.2f of what it sees (of cells that it knows 0.5 to 0.8): their "
            "width may be wrong; look at the outlines, or give cell_diameter_px a number"
        )
        log.warning(text, name, surest)
    order = sorted(_STARTS, key=lambda scale: (-round(sureness[scale], 2), abs(math.log(scale))))
    return [(scale, centres[scale]) for scale in order]


def _sureness(cell: np.ndarray, known_area_px: float) -> float:
    """1 where every probability is 0 or 1, 0 where all are one half; 0 where there is less than half a usual cell."""
    if np.count_nonzero(cell > _CELL) < known_area_px / 2:
        return 0.0
    seen = cell[cell > _DOUBT]
    return 1 - float(np.mean(4 * seen * (1 - seen)))


def _area_of_most_px(areas_px: np.ndarray) -> float:
    """The area of the cell in which the median of all pixels of cells lies: specks weigh little."""
    ordered = np.sort(areas_px)
    return float(ordered[np.searchsorted(np.cumsum(ordered), ordered.sum() / 2)])


def _window(shape: tuple[int, int], side_px: int, centre: tuple[int, int] | None) -> tuple[slice, slice]:
    """The part of a plane around a place, of a given side at most, wholly inside."""
    window = []
    for axis, length in enumerate(shape):
        side = min(side_px, length)
        middle = length // 2 if centre is None else centre[axis]
        start = min(max(middle - side // 2, 0), length - side)
        window.append(slice(start, start + side))
    return tuple(window)


def _busiest(cell: np.ndarray, window: tuple[slice, slice], scale: float) -> tuple[int, int]:
    """The place in the plane around which most of the cells are, in squares; the window's middle without any."""
    if not cell.any():
        return tuple((part.start + part.stop) // 2 for part in window)
    around = ndimage.uniform_filter(cell.astype(np.float32), round(_WINDOW_PX / scale / 4), mode="constant")
    place = np.unravel_index(around.argmax(), around.shape)
    return tuple(int(at) + part.start for at, part in zip(place, window, strict=True))
