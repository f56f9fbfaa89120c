"""Grey values of a movie -> the threshold that tells its cells from background."""

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

logger = logging.getLogger(__name__)

# Every n-th pixel in y and in x is enough to know a movie's grey values.
_STEP = 2
# Fewer pixels than this and all are taken.
_FEW_PX = 100_000
# As many pixels may be brighter than what counts as the brightest: cells may be few and small, hot pixels are fewer.
_BRIGHTEST_PX = 8
# Means of two kinds of pixels are this many of their standard deviations apart; halves of mere noise are 1.9.
_APART = 2.5
# Where there are no two kinds, cells are what lies this many standard deviations of the noise above the median.
_ABOVE_NOISE = 6.0
# Smoothing that is tried where noise hides the two kinds: it leaves halves of noise as they are, and cells stand out.
_HIDDEN_SMOOTHING_PX = 2.0
_HIDDEN_TIMES = 10
_BINS = 1024
# What is 1 % of the way from dark to bright becomes 6 % of it.
_LOG_GAIN = 20.0


class GreyScale(NamedTuple):
    """How a plane becomes the image that is cut at a threshold.

    Attributes
    ----------
    cells : {'bright', 'dark'}
    grey_values : {'auto', 'log', 'linear'}
        'auto' is 'log' for bright cells, 'linear' for dark ones.
    smoothing_px : float
        Standard deviation of the Gaussian; 0 for none.
    background_px : int
        Side of the square that no cell fills; 0 takes no background off.
    """

    cells: str
    grey_values: str
    smoothing_px: float
    background_px: int


class Cut(NamedTuple):
    """Where cells are told from background, from grey values of the whole movie.

    Attributes
    ----------
    low, high : float
        Grey values between which a logarithm is taken.
    background, threshold : float
        Mean of the background, and the value above which a pixel is cell, on
        the scale of the image that is cut.
    """

    low: float
    high: float
    background: float
    threshold: float


def flattened(plane: np.ndarray, scale: GreyScale) -> np.ndarray:
    """The plane smoothed, with cells bright and, where asked for, without its background.

    The background is what is left when everything bright and narrower than
    the square is removed (a grey opening), smoothed.

    Parameters
    ----------
    plane : array of shape (y, x)
    scale : GreyScale

    Returns
    -------
    float32 array of shape (y, x)
    """
    image = plane.astype(np.float32)
    if scale.cells == "dark":
        image = -image
    if scale.smoothing_px:
        image = ndimage.gaussian_filter(image, scale.smoothing_px)
    if scale.background_px:
        size = scale.background_px
        image = image - ndimage.uniform_filter(ndimage.grey_opening(image, size=(size, size)), size)
    return image


def find_scale(
    planes: Sequence[np.ndarray], scale: GreyScale, *, factor: float
) -> tuple[GreyScale, Cut, list[np.ndarray]]:
    """The threshold of a movie, and how its planes become the images that are cut there.

    Where Otsu's threshold would part the noise, it lies six standard
    deviations of the noise above the median: cells are few then. Or they are
    hidden in the noise, and planes are smoothed by twice as much (2 px at
    least) where that shows more than ten times as many pixels of cells. The
    log says so.

    Parameters
    ----------
    planes : sequence of arrays of shape (y, x)
        Of the movie.
    scale : GreyScale
        As asked for.
    factor : float
        As for `find_cut`.

    Returns
    -------
    scale : GreyScale
        With the smoothing that it takes.
    cut : Cut
    images : list of arrays of shape (y, x)
        The planes, `flattened` by that scale.
    """
    images = [flattened(plane, scale) for plane in planes]
    cut = find_cut(images, scale, factor=factor)
    if cut is not None:
        return scale, cut, images
    cut, share = _above_noise(images, scale, factor=factor)
    smoother = scale._replace(smoothing_px=max(2 * scale.smoothing_px, _HIDDEN_SMOOTHING_PX))
    smoothed = [flattened(plane, smoother) for plane in planes]
    shown = find_cut(smoothed, smoother, factor=factor)
    if shown is not None:
        among = np.concatenate([_some(stretched(image, smoother, shown) > 0.5) for image in smoothed])
        if among.mean() > _HIDDEN_TIMES * share:
            text = "cells hardly stand out of the noise: frames are smoothed by %g px, not %g (smoothing_px)"
            logger.warning(text, smoother.smoothing_px, scale.smoothing_px)
            return smoother, shown, smoothed
    logger.warning(
        "no two kinds of pixels, cells and background, are to be seen: cells are few, or there are none; "
        "the threshold lies %g standard deviations of the noise above the median, with %.2g %% of the pixels above",
        *(_ABOVE_NOISE, 100 * share),
    )
    return scale, cut, images


def find_cut(images: Iterable[np.ndarray], scale: GreyScale, *, factor: float) -> Cut | None:
    """Otsu's threshold of grey values pooled over a movie [1]_.

    Parameters
    ----------
    images : iterable of arrays of shape (y, x)
        Planes of the movie, `flattened`.
    scale : GreyScale
    factor : float
        The distance of the threshold from the mean of the background is this
        many times Otsu's.

    Returns
    -------
    Cut or None
        Of a movie of one grey value the threshold lies above all of it. None
        where there are no two kinds of pixels.

    References
    ----------
    .. [1] N. Otsu, "A threshold selection method from gray-level histograms",
       IEEE Transactions on Systems, Man, and Cybernetics 9 (1979) 62-66.
    """
    from skimage.filters import threshold_otsu

    low, high, values = _pooled(images, scale)
    if not high > low:
        value = float(_on_scale(values.max(), scale, low, low + 1))
        return Cut(low, low + 1, value, value + 1)
    otsu = float(threshold_otsu(values, nbins=_BINS))
    below, above = values[values <= otsu], values[values > otsu]
    background = float(below.mean())
    if above.mean() - background < _APART * np.hypot(below.std(), above.std()):
        return None
    return Cut(low, high, background, background + factor * (otsu - background))


def _above_noise(images: Iterable[np.ndarray], scale: GreyScale, *, factor: float) -> tuple[Cut, float]:
    """A threshold that noise alone does not reach, and the share of the pixels that is above it."""
    low, high, values = _pooled(images, scale)
    background = float(np.median(values))
    # 1.48 median absolute deviations are a standard deviation.
    noise = 1.4826 * float(np.median(np.abs(values - background)))
    cut = Cut(low, high, background, background + factor * _ABOVE_NOISE * noise)
    return cut, float(np.mean(values > cut.threshold))


def _pooled(images: Iterable[np.ndarray], scale: GreyScale) -> tuple[float, float, np.ndarray]:
    """Lowest and highest grey value that count, and all between them on the scale of the threshold.

    Of a movie of one grey value they are left as they are.
    """
    pooled = np.concatenate([_some(image) for image in images])
    low = float(np.percentile(pooled, 1))
    rank = max(len(pooled) - _BRIGHTEST_PX, len(pooled) // 2)
    high = float(np.partition(pooled, rank)[rank])
    if not high > low:
        return low, high, pooled
    values = _on_scale(pooled, scale, low, high)
    return low, high, np.clip(values, *(float(_on_scale(np.float64(limit), scale, low, high)) for limit in (low, high)))


def _some(image: np.ndarray) -> np.ndarray:
    step = _STEP if image.size > _FEW_PX else 1
    return image[::step, ::step].ravel()


def _on_scale(image: np.ndarray, scale: GreyScale, low: float, high: float) -> np.ndarray:
    if _is_linear(scale):
        return image
    return np.log1p(np.clip((image - low) / (high - low), 0, None) * _LOG_GAIN)


def levels(scale: GreyScale, cut: Cut) -> tuple[float, float]:
    """Threshold and background as values of the `flattened` image.

    Parameters
    ----------
    scale : GreyScale
    cut : Cut

    Returns
    -------
    threshold, background : float
    """
    found = np.array([cut.threshold, cut.background])
    if not _is_linear(scale):
        found = cut.low + (cut.high - cut.low) * np.expm1(found) / _LOG_GAIN
    return float(found[0]), float(found[1])


def _is_linear(scale: GreyScale) -> bool:
    return scale.grey_values == "linear" or (scale.grey_values == "auto" and scale.cells == "dark")


def stretched(image: np.ndarray, scale: GreyScale, cut: Cut) -> np.ndarray:
    """The image with background at 0 and the threshold at one half, from 0 to 1.

    Parameters
    ----------
    image : array of shape (y, x)
        `flattened`.
    scale : GreyScale
    cut : Cut

    Returns
    -------
    float array of shape (y, x)
    """
    above = _on_scale(image, scale, cut.low, cut.high) - cut.background
    return np.clip(above / (2 * (cut.threshold - cut.background)), 0, 1)
