"""Probabilities of one frame -> labels: which pixels are cells, and which pixels are one cell."""

import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

METHODS = ("threshold", "watershed")


class Cuts(NamedTuple):
    """How readily touching cells are parted: as in `label_cells`."""

    split_depth: float
    split_neck: float


USUAL_CUTS = Cuts(0.2, 0.7)
"""Those that suit most images: others are chosen only where they find more cells."""

# Cell minus edge is cut at levels this far apart to look for dips between cells.
_LEVEL_STEP = 0.1
LEAST_PART = 0.1
"""Fewest pixels of a cell, as a part of a usual cell's: half a daughter cut by the border is more."""

# Fewest pixels of a seed, as a part of the fewest pixels of a cell.
_SEED_PART = 0.25
# Half of a width is uncertain by about this many pixels of the network: much of two rods, little of two nuclei.
_UNCERTAIN_PX = 2.0
# With more regions than this, one pass over the frame is faster than a crop each.
_MANY_REGIONS = 100
# Pixels of the network around a crop, so that smoothing sees the same as in the whole frame.
_CROP_MARGIN_PX = 5
# Where no configuration is asked: how a model is judged, and how it measures widths of cells.
_JUDGED = {"method": "watershed", "seed_threshold": 0.2, "fill_holes": True}
_FOUR = ndimage.generate_binary_structure(2, 1)
_EIGHT = ndimage.generate_binary_structure(2, 2)


def least_area_px(usual_area_px: float) -> int:
    """Fewest pixels of a cell where nobody says: a tenth of a usual one."""
    return max(1, round(LEAST_PART * usual_area_px))


def area_limits_px(usual_area_px: float, small_part: float) -> dict[str, int]:
    """`min_area_px` and `small_area_px` of `label_cells` where nobody says, of a model's `small_part`."""
    return {"min_area_px": least_area_px(usual_area_px), "small_area_px": round(small_part * usual_area_px)}


def label_cells(
    probability: np.ndarray,
    *,
    method: str,
    threshold: float,
    seed_threshold: float,
    split_depth: float,
    split_neck: float,
    min_area_px: int,
    min_confidence: float,
    fill_holes: bool,
    network_scale: float,
    small_area_px: int = 0,
) -> np.ndarray:
    """Label every cell of one frame.

    A pixel is cell where the probability of cell is above `threshold`.
    `threshold` calls each connected region of such pixels (sharing a side)
    a cell. `watershed` also parts cells that touch, first by what the network
    saw, then by shape. The network's word is the interior, cell minus edge: a
    seed is a part of it above `seed_threshold`, and it is several seeds where,
    between parts that are each large enough to be a cell's, the interior falls
    by `split_depth` or more. The seeds then grow over their region until they
    meet, on the ridge of the edge [1]_. A region without a seed stays one
    cell. The shape's word is the neck: where what is now one cell has a waist
    narrower than `split_neck` times the narrower of the two parts that it
    joins, it is cut there; 4 pixels of the network are added to either width, so
    that small cells need a clearer neck. A part smaller than `min_area_px` goes to the
    neighbours that it touches; a region that small is dropped, and so is a
    cell of which the network is not sure, by the mean probability in it. Of a cell
    inside the frame that is smaller than `small_area_px` it must be surer: half
    way from the threshold to 1.

    Without the class edge the interior is the probability of cell.

    Cells on the border of the frame are kept. Cells that lie on top of each
    other cannot be told by labels, where a pixel has one owner.

    Parameters
    ----------
    probability : float array of shape (classes, y, x)
        Probability, 0 to 1, of cell, then of edge where there are two classes.
    method : {'threshold', 'watershed'}
        How cells are parted.
    threshold : float
        Probability of cell above which a pixel is cell.
    seed_threshold : float
        Interior above which a pixel may be a seed. Read by `watershed` alone.
    split_depth : float
        Least fall of the interior between two cells of one region. Read by
        `watershed` alone.
    split_neck : float
        Width of a neck, over that of the narrower part, below which it is
        cut; 0 cuts none. Widths are twice the greatest distance to the
        outside, and 4 px of the network; holes too small for a cell do not count as outside.
        Read by `watershed` alone.
    min_area_px : int
        Fewest pixels of a cell.
    min_confidence : float
        Least mean probability of cell in a cell.
    fill_holes : bool
        Whether background enclosed by one cell becomes part of it.
    network_scale : float
        Pixels of the network a pixel of the frame: what the network is unsure
        of is counted in its own pixels.
    small_area_px : int
        Pixels below which a cell that does not touch the border of the frame
        is small; 0 calls none small.

    Returns
    -------
    int32 array of shape (y, x)
        0 is background; cells are 1 to n in the order in which their first
        pixels come, row by row.

    Raises
    ------
    ValueError
        If the array has another shape, or there is no such method.

    References
    ----------
    .. [1] F. Meyer, "Topographic distance and watershed lines", Signal
       Processing 38 (1994) 113-125.
    """
    if probability.ndim != 3 or len(probability) not in (1, 2):
        raise ValueError(
            f"probability has shape {probability.shape}; wanted (classes, y, x) with the class cell, or cell and edge"
        )
    if method not in METHODS:
        raise ValueError(f"no labelling method is called {method!r}; the methods are {', '.join(METHODS)}")
    labels = _components(probability[0] > threshold, min_area_px)
    if method == "watershed":
        labels = _part(labels, probability, seed_threshold, split_depth, min_area_px, 1 / network_scale)
        labels = _cut_necks(labels, split_neck, min_area_px, 1 / network_scale)
    if fill_holes:
        labels = _filled(labels)
    return _without_doubtful(_in_order(labels), probability[0], min_confidence, small_area_px, (1 + threshold) / 2)


def find_cells(
    probability: np.ndarray,
    threshold: float,
    min_area_px: int,
    network_scale: float,
    cuts: Cuts = USUAL_CUTS,
    min_confidence: float = 0.0,
    small_area_px: int = 0,
) -> np.ndarray:
    """Label a frame by watershed, whatever the configuration says of `label`.

    So a model is judged, and the widths of cells are measured by it: an
    option of labelling must make neither anew. (Another version of this
    module does: both follow what it does.)

    Parameters
    ----------
    probability : uint8 array of shape (classes, y, x)
        255 is a probability of 1.
    threshold, min_area_px, network_scale, min_confidence, small_area_px
        As for `label_cells`.
    cuts : Cuts

    Returns
    -------
    int32 array of shape (y, x)
    """
    return label_cells(
        probability.astype(np.float32) / 255,
        threshold=threshold,
        min_area_px=min_area_px,
        small_area_px=small_area_px,
        network_scale=network_scale,
        min_confidence=min_confidence,
        **_JUDGED,
        **cuts._asdict(),
    )


def mean_probability(labels: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Mean probability of cell in each of the labels 1 to n.

    Parameters
    ----------
    labels : int array of shape (y, x)
        Every number from 1 to the largest occurs.
    cell : float array of shape (y, x)

    Returns
    -------
    float array of shape (n,)
    """
    area_px = np.bincount(labels.ravel())
    total = np.bincount(labels.ravel(), weights=cell.ravel())
    return total[1:] / area_px[1:]


def on_border(labels: np.ndarray) -> np.ndarray:
    """The labels that touch the border of the frame, 0 among them where it does.

    Parameters
    ----------
    labels : int array of shape (y, x)

    Returns
    -------
    int array
        In ascending order.
    """
    return np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))


def _without_doubtful(
    labels: np.ndarray, cell: np.ndarray, min_confidence: float, small_area_px: int, least_of_small: float
) -> np.ndarray:
    """Of labels 1 to n those that are sure enough, numbered anew."""
    small = np.bincount(labels.ravel()) < small_area_px
    small[on_border(labels)] = False
    if min_confidence == 0 and not small.any():
        return labels
    needed = np.where(small[1:], max(least_of_small, min_confidence), min_confidence)
    sure = np.append(False, mean_probability(labels, cell) >= needed)
    return _in_order(np.where(sure[labels], labels, 0))


def _components(mask: np.ndarray, min_area_px: float) -> np.ndarray:
    """Connected regions of enough pixels, 1 to n."""
    labels, count = ndimage.label(mask, _FOUR)
    kept = np.bincount(labels.ravel(), minlength=count + 1) >= min_area_px
    kept[0] = False
    if kept[1:].all():
        return labels
    number = np.zeros(count + 1, np.int32)
    number[kept] = np.arange(1, kept.sum() + 1)
    return number[labels]


def _part(
    regions: np.ndarray,
    probability: np.ndarray,
    seed_threshold: float,
    split_depth: float,
    min_area_px: int,
    network_px: float,
) -> np.ndarray:
    """Split the regions that hold several seeds; leave the others as they are."""
    boxes = ndimage.find_objects(regions)
    windows = boxes if len(boxes) <= _MANY_REGIONS else [(slice(None), slice(None))]
    labels = regions.copy()
    highest = len(boxes)
    for number, window in enumerate(windows, 1):
        window = _widened(window, network_px)
        here = regions[window]
        mask = here == number if len(windows) > 1 or len(boxes) == 1 else here > 0
        interior = _interior(probability[(slice(None), *window)], network_px)
        seeds = _seeds(interior, mask, seed_threshold, split_depth, _SEED_PART * min_area_px)
        for region in _crowded(seeds, here):
            box = boxes[region - 1]
            inner = tuple(
                slice(b.start - (w.start or 0), b.stop - (w.start or 0)) for b, w in zip(box, window, strict=True)
            )
            mask = here[inner] == region
            parts = _grown(np.where(mask, seeds[inner], 0), mask, -interior[inner], min_area_px)
            labels[box][mask] = parts[mask] + highest
            highest += int(parts.max())
    return labels


def _widened(window: tuple[slice, slice], network_px: float) -> tuple[slice, slice]:
    if window[0].start is None:
        return window
    margin_px = math.ceil(_CROP_MARGIN_PX * network_px)
    return tuple(slice(max(0, each.start - margin_px), each.stop + margin_px) for each in window)


def _interior(probability: np.ndarray, network_px: float) -> np.ndarray:
    """How far inside a cell a pixel is: at most 1, low on edges and outside."""
    cell_minus_edge = probability[0] - probability[1] if len(probability) == 2 else probability[0]
    # one pixel of smoothing: the ridge between two cells is often one pixel wide and broken
    return ndimage.gaussian_filter(cell_minus_edge, network_px)


def _cut_necks(labels: np.ndarray, split_neck: float, min_area_px: int, network_px: float) -> np.ndarray:
    """Cut each label where it has a neck between two wider parts."""
    if split_neck == 0:
        return labels
    parted = labels.copy()
    highest = int(labels.max())
    for number, window in enumerate(ndimage.find_objects(labels), 1):
        if window is None:
            continue
        mask = np.pad(labels[window] == number, 1)
        seeds = _wide_places(_without_small_holes(mask, min_area_px), split_neck, network_px)
        if seeds.max() > 1:
            parts = _grown(np.where(mask, seeds, 0), mask, -ndimage.distance_transform_edt(mask), min_area_px)[
                1:-1, 1:-1
            ]
            parted[window] = np.where(parts > 1, parts - 1 + highest, parted[window])
            highest += max(int(parts.max()) - 1, 0)
    return parted


def _without_small_holes(mask: np.ndarray, min_area_px: int) -> np.ndarray:
    """A hole too small for a cell is a dark spot of this one; beside it lie no necks."""
    holes, count = ndimage.label(~mask, _EIGHT)
    if count == 1:
        return mask
    small = np.bincount(holes.ravel()) < min_area_px
    # The corner of the padded mask lies outside, however little of that there is.
    small[holes[0, 0]] = False
    return mask | small[holes]


def _wide_places(mask: np.ndarray, split_neck: float, network_px: float) -> np.ndarray:
    """The parts of a shape that lie between necks, each by its widest place, 1 to n."""
    from skimage.morphology import local_maxima, reconstruction

    # On a scale of logarithms a neck of a given part of the width is a dip of a given depth.
    dip = np.log(ndimage.distance_transform_edt(mask) + _UNCERTAIN_PX * network_px)
    if ndimage.label(local_maxima(dip), _EIGHT)[1] == 1:
        return mask.astype(np.int32)
    leveled = reconstruction(dip + np.log(split_neck), dip, footprint=_EIGHT)
    return ndimage.label(local_maxima(leveled) & mask, _EIGHT)[0]


def _seeds(
    interior: np.ndarray, mask: np.ndarray, seed_threshold: float, split_depth: float, min_area_px: float
) -> np.ndarray:
    """Seeds, 1 to n: what is above the threshold, cut where the interior dips.

    A seed is replaced by what is left of it at a higher level where that is
    several parts, each large enough and each rising by `split_depth` above
    the level: so the dip between them is that deep.
    """
    seeds = _components(mask & (interior > seed_threshold), min_area_px)
    top = float(interior.max(initial=0.0, where=mask))
    for level in np.arange(seed_threshold + _LEVEL_STEP, top - split_depth, _LEVEL_STEP):
        higher = _components((seeds > 0) & (interior > level), min_area_px)
        count = int(higher.max())
        if count < 2:
            continue
        rises = np.zeros(count + 1, bool)
        rises[higher[interior > level + split_depth]] = True
        rises[0] = False
        parent = _owner(higher, seeds)
        split = np.bincount(parent[rises], minlength=int(seeds.max()) + 1) > 1
        split[0] = False
        if split.any():
            fresh = np.where((rises & split[parent])[higher], higher + int(seeds.max()), 0)
            seeds = _in_order(np.where(split[seeds], 0, seeds) + fresh)
    return seeds


def _owner(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Of each part 0 to n, the whole that it lies in; 0 for part 0."""
    owner = np.zeros(int(parts.max()) + 1, np.int64)
    owner[parts.ravel()] = wholes.ravel()
    owner[0] = 0
    return owner


def _crowded(seeds: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """The regions that hold more than one seed."""
    several = np.bincount(_owner(seeds, regions)[1:]) > 1
    return np.flatnonzero(several)


def _grown(seeds: np.ndarray, mask: np.ndarray, landscape: np.ndarray, min_area_px: int) -> np.ndarray:
    """Watershed of one region; a seed whose part is too small for a cell gives way."""
    from skimage.segmentation import watershed

    while True:
        # The inside of a seed has nowhere to grow: leaving it out saves most of the time.
        settled = ndimage.minimum_filter(seeds, size=3) == ndimage.maximum_filter(seeds, size=3)
        settled &= seeds > 0
        parts = watershed(landscape, np.where(settled, 0, seeds), mask=mask & ~settled)
        parts[settled] = seeds[settled]
        area_px = np.bincount(parts.ravel())
        area_px[0] = 0
        small = (area_px > 0) & (area_px < min_area_px)
        # All small: the largest stays, so that the region does not lose every seed.
        small[area_px.argmax()] = False
        if not small.any():
            return parts
        seeds = np.where(small[seeds], 0, seeds)


def _filled(labels: np.ndarray) -> np.ndarray:
    """Give each hole that borders on one cell only to that cell."""
    holes, count = ndimage.label(labels == 0, _EIGHT)
    enclosed = np.ones(count + 1, bool)
    enclosed[on_border(holes)] = enclosed[0] = False
    if not enclosed.any():
        return labels
    # An enclosed pixel is never on the rim, so that each has its four neighbours.
    at = np.flatnonzero(enclosed[holes])
    hole = holes.ravel()[at]
    lowest = np.full(count + 1, np.iinfo(np.int64).max)
    highest = np.zeros(count + 1, np.int64)
    for step in (-labels.shape[1], -1, 1, labels.shape[1]):
        beside = labels.ravel()[at + step]
        touch = beside > 0
        np.minimum.at(lowest, hole[touch], beside[touch])
        np.maximum.at(highest, hole[touch], beside[touch])
    filled = labels.copy()
    filled.ravel()[at] = np.where(lowest == highest, highest, 0)[hole]
    return filled


def _in_order(labels: np.ndarray) -> np.ndarray:
    """Number the labels 1 to n by their first pixel, row by row."""
    at = np.flatnonzero(labels)
    found = labels.ravel()[at]
    if not len(found):
        return np.zeros(labels.shape, np.int32)
    first = np.full(int(found.max()) + 1, labels.size)
    # The last write to an index stays: backwards, that is the first pixel.
    first[found[::-1]] = at[::-1]
    present = np.flatnonzero(first < labels.size)
    number = np.zeros(len(first), np.int32)
    number[present[np.argsort(first[present])]] = np.arange(1, len(present) + 1)
    return number[labels]
