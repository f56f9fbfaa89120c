"""A movie -> labels without a network: Otsu's threshold, then necks, then the height of each cell."""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from cytolapse.heights import outlined_at, relative_heights
from cytolapse.labeling import label_cells, least_area_px
from cytolapse.masks import LabelledFrame, write_labels, write_no_labels
from cytolapse.movies import Movie, open_movie, sampled_planes
from cytolapse.otsu import Cut, GreyScale, find_scale, flattened, levels, stretched

logger = logging.getLogger(__name__)

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
        As in `otsu.GreyScale`.
    factor : float
        As in `otsu.find_cut`.
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
        asked = GreyScale(cells, grey_values, smoothing_px, background_px)
        scale, cut, sampled = find_scale(list(sampled_planes(movie, info)), asked, factor=factor)
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
    at = levels(scale, cut)
    heights = [relative_heights(_cells(image, scale, cut, labelling), image, *at) for image in images]
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
    _, background = levels(scale, cut)
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
