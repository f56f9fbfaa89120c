"""Sizes of pixels: the scale that a network learns at, and that at which it is shown a movie."""

import logging
import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from cytolapse.annotations import IGNORE

log = logging.getLogger(__name__)

# A network is no better at its own scale than at one this near, and resampling blurs.
SAME_SCALE = 1.1
SMALLEST = 1 / 8
BIG_RESAMPLING = 2.0
_TIE = 1e-4


def working_scale(usual_area_px: float, working_diameter_px: float | None) -> float:
    """By what factor annotated images are shown smaller for a network to learn from.

    Of large cells there is no more to see at their full size, and a network
    takes the square of the factor less time. Small cells are shown as they
    are: enlarging them gave no better labels (docs/method.md).

    Parameters
    ----------
    usual_area_px : float
        Area of a usual cell as annotated.
    working_diameter_px : float or None
        Diameter of the disk of that area as the network is to see it, where
        it is larger; None takes images as they are.

    Returns
    -------
    float
        1/8 to 1; 1 where the cells are not much wider than that.
    """
    if working_diameter_px is None:
        return 1.0
    scale = working_diameter_px / diameter_px(usual_area_px)
    return _unless_alike(min(max(scale, SMALLEST), 1.0))


def diameter_px(area_px: float) -> float:
    """Diameter of the disk of an area."""
    return 2 * math.sqrt(area_px / math.pi)


def movie_scale(
    *,
    resample: bool,
    movie_um: float | None,
    model_um: float | None,
    movie_diameter_px: float | None,
    model_area_px: float,
) -> float:
    """By what factor to enlarge the frames of a movie, to have cells as large as in a model's annotations.

    Parameters
    ----------
    resample : bool
        Whether frames are resampled for their pixel size.
    movie_um, model_um : float or None
        Pixel sizes, in micrometres; both must be known to resample.
    movie_diameter_px : float or None
        Diameter of a usual cell in the movie. Wins over the pixel sizes.
    model_area_px : float
        Area of a usual cell in the annotations of the model.

    Returns
    -------
    float
        1 where nothing is known, or where the two are alike. Beyond a factor
        of 2 a warning is logged.

    Raises
    ------
    ValueError
        Beyond a factor of 8, which is a slip of the unit.
    """
    if movie_diameter_px is not None:
        known_px = diameter_px(model_area_px)
        scale, why = (
            known_px / movie_diameter_px,
            f"cells are {movie_diameter_px:.4g} px wide, {known_px:.4g} px in the model's annotations",
        )
    elif resample and movie_um is not None and model_um is not None:
        scale, why = movie_um / model_um, f"pixels are {movie_um:.4g} um, {model_um:.4g} um in the model's annotations"
    else:
        if resample:
            log.info(
                "the pixel size of the %s is not known: frames are taken to be at the scale of the model's annotations",
                "movie" if movie_um is None else "model",
            )
        return 1.0
    scale = _unless_alike(scale)
    if not SMALLEST <= scale <= 1 / SMALLEST:
        raise ValueError(
            f"{why}: frames would have to be resampled by {scale:.3g}, and {SMALLEST:g} to {1 / SMALLEST:g} is what "
            "can work; correct cell_diameter_px (pixels of the movie, not micrometres) or pixel_size_um, or train on "
            "images like these"
        )
    if not 1 / BIG_RESAMPLING <= scale <= BIG_RESAMPLING:
        text = "%s: frames are resampled by %.3g, and so large a factor costs accuracy; train on images like these"
        log.warning(text, why, scale)
    elif scale != 1:
        log.info("%s: frames are resampled by %.3g", why, scale)
    return scale


def _unless_alike(scale: float) -> float:
    return 1.0 if 1 / SAME_SCALE <= scale <= SAME_SCALE else scale


def scaled_shape(shape: tuple[int, int], scale: float) -> tuple[int, int]:
    """Rows and columns after enlarging by a factor, 1 at least."""
    return tuple(max(1, round(side * scale)) for side in shape)


def resize_images(images: Tensor, shape: tuple[int, int]) -> Tensor:
    """Images of shape (b, c, y, x) in another size; where it is smaller, light is averaged."""
    if tuple(images.shape[-2:]) == tuple(shape):
        return images
    return F.interpolate(images, size=shape, mode="bilinear", align_corners=False, antialias=True)


def resize_labels(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A label image in another size: a pixel that is cell by half goes to the cell with the largest share in it.

    Parameters
    ----------
    labels : int32 array of shape (y, x)
        0 background, above 0 cells, `annotations.IGNORE` not judged.
    shape : (int, int)

    Returns
    -------
    int32 array of that shape
        A cell keeps its number; one too small for a pixel is gone.
    """
    if labels.shape == tuple(shape):
        return labels
    down, across = (_weights(old, new) for old, new in zip(labels.shape, shape, strict=True))
    resized = np.zeros(shape, np.int32)
    largest, total = np.zeros((2, *shape), np.float32)
    unjudged = max(int(labels.max()), 0) + 1
    numbers = np.where(labels == IGNORE, unjudged, labels)
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        if box is None:
            continue
        rows, columns = down[:, box[0]], across[:, box[1]]
        there = _reached(rows), _reached(columns)
        share = rows[there[0]] @ (numbers[box] == number).astype(np.float32) @ columns[there[1]].T
        more = share > largest[there]
        resized[there][more] = IGNORE if number == unjudged else number
        largest[there][more] = share[more]
        total[there] += share
    # On an outline the shares of cell and background are often the same, at 1/2 almost always: one in two is cell,
    # or all cells would shrink.
    every_other = np.indices(shape).sum(axis=0) % 2
    return np.where(total + np.float32(_TIE) * (every_other - 0.5) > 0.5, resized, 0).astype(np.int32)


def _weights(old: int, new: int) -> np.ndarray:
    """What every old pixel of a line gives to the new ones, as for images: (new, old)."""
    return resize_images(torch.eye(old)[None, None], (new, old))[0, 0].numpy()


def _reached(weights: np.ndarray) -> slice:
    """The new pixels to which some old ones give."""
    new = np.flatnonzero(weights.any(axis=1))
    return slice(new[0], new[-1] + 1) if len(new) else slice(0)
