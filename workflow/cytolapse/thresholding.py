"""A movie -> labels without a network: Otsu's threshold, then necks, then the height of each cell."""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from cytolapse.heights import outlined_at, relative_heights
from cytolapse.labeling import label_cells, least_area_px
from cytolapse.masks import LabelledFrame, write_labels, write_no_labels
from cytolapse.movies import Movie, open_movie, sampled_planes

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


OUTLINES = ("own", "common")


def threshold_movie(
    movie_json: str | os.PathLike,
    labels_path: str | os.PathLike,
    confidence_path: str | os.PathLike,
    *,
    cells: str,
    grey_values: str,
    smoothing_px: float,
    background_px: int,
    factor: float,
    outline: str,
    split_neck: float,
    min_area_px: int | None,
    fill_holes: bool,
    pixel_size_um: float | None,
    frame_interval_min: float | None,
    provenance: dict,
) -> None:
    """Label every frame of a movie by Otsu's threshold, without a model.

    One threshold holds for the whole movie, so that a dark frame stays dark.
    It finds the cells; each is then outlined at the same part of its own
    height, which is that at which the threshold meets a usual cell. Frames are
    read, labelled and written one by one. A refused movie gives one page of
    one pixel and a table without rows.

    Parameters
    ----------
    movie_json : path
        What inspect found.
    labels_path : path
        Stack (t, y, x), uint16, to write.
    confidence_path : path
        Table `confidence` to write; mask_confidence is null.
    cells, grey_values, smoothing_px, background_px
        As in `GreyScale`.
    factor : float
        As in `find_cut`.
    outline : {'own', 'common'}
        Whether outlines lie at the same part of each cell's height
        (`heights.outlined_at`), or at the threshold.
    split_neck, fill_holes
        As in `label_cells`.
    min_area_px : int or None
        Fewest pixels of a cell; None takes a tenth of the area of usual
        regions in sampled frames.
    pixel_size_um, frame_interval_min : float or None
        As stated in experiments.tsv; None takes the file's.
    provenance : dict
        Record of this stage; the threshold that was found is added.

    Raises
    ------
    ValueError
        If `outline` is neither of the two, or a frame holds more cells than
        16 bits can number.
    """
    info = json.loads(Path(movie_json).read_text())
    if info["status"] == "refused":
        write_no_labels(labels_path, confidence_path, {"label": provenance})
        return
    if outline not in OUTLINES:
        raise ValueError(f"outline is {outline!r}; wanted one of {', '.join(OUTLINES)}")
    with open_movie(info) as movie:
        planes = list(sampled_planes(movie, info))
        scale, cut = find_scale(planes, GreyScale(cells, grey_values, smoothing_px, background_px), factor=factor)
        sampled = [flattened(plane, scale) for plane in planes]
        del planes
        least_px = min_area_px
        if least_px is None:
            least_px = least_area_px(usual_region_px(stretched(image, scale, cut) > 0.5 for image in sampled))
        labelling = {"split_neck": split_neck, "min_area_px": least_px, "fill_holes": fill_holes, "network_scale": 1.0}
        part = _usual_height(sampled, scale, cut, labelling) if outline == "own" else None
        del sampled
        found = {**cut._asdict(), "smoothing_px": scale.smoothing_px, "height": part, "min_area_px": least_px}
        count = write_labels(
            labels_path,
            confidence_path,
            _labelled(movie, info, scale, cut, part, labelling),
            info=info,
            shape=(movie.frames, *movie.shape),
            pixel_size_um=pixel_size_um,
            frame_interval_min=frame_interval_min,
            records={"label": {**provenance, "found": found}},
            remedy="these are specks: raise min_area_px, smoothing_px or factor of threshold",
        )
    text = "%s: threshold %.4g over a background of %.4g; %d cells of %d px or more in %d frames"
    logger.info(text, info["path"], cut.threshold, cut.background, count, least_px, info["frames"])


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


def find_scale(planes: Sequence[np.ndarray], scale: GreyScale, *, factor: float) -> tuple[GreyScale, Cut]:
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
    """
    images = [flattened(plane, scale) for plane in planes]
    cut = find_cut(images, scale, factor=factor)
    if cut is not None:
        return scale, cut
    cut, share = _above_noise(images, scale, factor=factor)
    smoother = scale._replace(smoothing_px=max(2 * scale.smoothing_px, _HIDDEN_SMOOTHING_PX))
    smoothed = [flattened(plane, smoother) for plane in planes]
    shown = find_cut(smoothed, smoother, factor=factor)
    if shown is not None:
        among = np.concatenate([_some(stretched(image, smoother, shown) > 0.5) for image in smoothed])
        if among.mean() > _HIDDEN_TIMES * share:
            text = "cells hardly stand out of the noise: frames are smoothed by %g px, not %g (smoothing_px)"
            logger.warning(text, smoother.smoothing_px, scale.smoothing_px)
            return smoother, shown
    logger.warning(
        "no two kinds of pixels, cells and background, are to be seen: cells are few, or there are none; "
        "the threshold lies %g standard deviations of the noise above the median, with %.2g %% of the pixels above",
        *(_ABOVE_NOISE, 100 * share),
    )
    return scale, cut


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


def _off_scale(value: float, scale: GreyScale, cut: Cut) -> float:
    """A value of the scale that the threshold is on as a value of the `flattened` image."""
    if _is_linear(scale):
        return value
    return cut.low + (cut.high - cut.low) * float(np.expm1(value)) / _LOG_GAIN


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


def usual_region_px(masks: Iterable[np.ndarray]) -> float:
    """Area of a usual cell, by the regions of sampled frames.

    In a frame it is the area of the region that the median pixel lies in, so
    that specks hardly count; of frames the lower quartile, since cells that
    grow into each other are single in the frames before.

    Parameters
    ----------
    masks : iterable of bool arrays of shape (y, x)

    Returns
    -------
    float
        In pixels; 1 where there is no region.
    """
    usual_px = []
    for mask in masks:
        areas_px = np.sort(np.bincount(ndimage.label(mask)[0].ravel())[1:])
        if len(areas_px):
            covered = np.cumsum(areas_px)
            usual_px.append(areas_px[np.searchsorted(covered, covered[-1] / 2)])
    return float(np.percentile(usual_px, 25)) if usual_px else 1.0


def _usual_height(
    images: Sequence[np.ndarray], scale: GreyScale, cut: Cut, labelling: Mapping[str, Any]
) -> float | None:
    """How far up a usual cell the threshold lies; None where no sampled frame holds a cell."""
    levels = _off_scale(cut.threshold, scale, cut), _off_scale(cut.background, scale, cut)
    heights = [relative_heights(_cells(image, scale, cut, labelling), image, *levels) for image in images]
    known = np.concatenate(heights)
    return float(np.median(known)) if len(known) else None


def _cells(image: np.ndarray, scale: GreyScale, cut: Cut, labelling: Mapping[str, Any]) -> np.ndarray:
    """Cells of a `flattened` image, outlined at the threshold."""
    # Grey values say where cells are, and not where they part: a region is one seed, necks alone are cut.
    return label_cells(
        stretched(image, scale, cut)[None],
        method="watershed",
        threshold=0.5,
        seed_threshold=0.0,
        split_depth=2.0,
        min_confidence=0.0,
        **labelling,
    )


def _labelled(
    movie: Movie, info: Mapping, scale: GreyScale, cut: Cut, part: float | None, labelling: Mapping[str, Any]
) -> Iterator[LabelledFrame]:
    nothing = np.zeros(movie.shape, np.int32)
    background = _off_scale(cut.background, scale, cut)
    for frame in tqdm(range(movie.frames), desc="label", unit="frame", mininterval=10):
        plane = movie.read(frame, info["segment_channel"])
        if plane is None:
            yield LabelledFrame(nothing, None)
            continue
        image = flattened(plane, scale)
        labels = _cells(image, scale, cut, labelling)
        if part is not None:
            labels = outlined_at(labels, image, part, background, fill_holes=labelling["fill_holes"])
        yield LabelledFrame(labels, None)
