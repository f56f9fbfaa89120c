"""How good probabilities and labels are, against hand-drawn ones.

Pixels are counted in histograms of 256 bins, which add up over images and
never hold more than one image. Pixels labelled `annotations.IGNORE` in the
truth count in no score.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cytolapse.annotations import IGNORE

BINS = 256

# Scores that differ by less than this, or by less than this part of a cell, say nothing.
_EQUAL = 0.005
_EQUAL_CELLS = 0.5


class Roc(NamedTuple):
    """A receiver operating characteristic: one point a threshold, from the strictest to the laxest.

    At `threshold[i]` a pixel is called cell where its probability is above
    it. The last threshold, below 0, calls every pixel cell.
    """

    threshold: np.ndarray
    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray


class Matches(NamedTuple):
    """Cells matched one to one: found and true, found in vain, and missed."""

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def average_precision(self) -> float:
        """TP / (TP + FP + FN); nan where there is no cell on either side."""
        return _ratio(self.true_positives, sum(self))


class Detections(NamedTuple):
    """Cells found, counted by the majority rule.

    `merged_per_100` counts the found cells that hold most of more than one
    true cell, `split_per_100` the true cells that hold most of more than one
    found cell, per 100 true cells. A ratio without a count is nan.
    """

    precision: float
    recall: float
    merged_per_100: float
    split_per_100: float


def probability_histogram(probability: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Number of background and of cell pixels at each of 256 probabilities.

    Parameters
    ----------
    probability : array of shape (y, x)
        Probability of cell: uint8 with 255 for 1, or float from 0 to 1.
    labels : int array of shape (y, x)
        Truth: 0 is background, above 0 cell, `IGNORE` not judged.

    Returns
    -------
    int64 array of shape (2, 256)
        Row 0 of background, row 1 of cells. Histograms of several images add.

    Raises
    ------
    ValueError
        If the two differ in shape.
    """
    _check_shapes(labels, probability, "probability")
    if probability.dtype != np.uint8:
        probability = np.rint(np.clip(probability, 0, 1) * (BINS - 1)).astype(np.uint8)
    return np.stack(
        [np.bincount(probability[where].ravel(), minlength=BINS) for where in (labels == 0, labels > 0)]
    ).astype(np.int64)


def roc_curve(histogram: np.ndarray) -> Roc:
    """Pixelwise ROC: share of cell pixels found against share of background taken for cell.

    Parameters
    ----------
    histogram : int array of shape (2, 256)
        From `probability_histogram`, added over images.

    Returns
    -------
    Roc
        Arrays of 257 points from (0, 0) to (1, 1).

    Raises
    ------
    ValueError
        If there is no pixel of cell, or none of background.
    """
    background, cell = histogram.sum(axis=1)
    if not background or not cell:
        raise ValueError(
            f"a ROC needs pixels of cells and of background; found {cell} of cells and {background} of background"
        )
    above = np.concatenate([np.zeros((2, 1), np.int64), np.cumsum(histogram[:, ::-1], axis=1)], axis=1)
    threshold = (np.arange(BINS, -1, -1) - 1) / (BINS - 1)
    return Roc(threshold, above[0] / background, above[1] / cell)


def roc_area(histogram: np.ndarray) -> float:
    """Area under the pixelwise ROC: 1 is perfect, 0.5 is chance.

    The chance that a cell pixel has a higher probability than a background
    pixel, ties counting half [1]_. It does not say whether cells are told
    apart.

    Parameters
    ----------
    histogram : int array of shape (2, 256)
        From `probability_histogram`, added over images.

    Raises
    ------
    ValueError
        If there is no pixel of cell, or none of background.

    References
    ----------
    .. [1] J. A. Hanley and B. J. McNeil, Radiology 143 (1982) 29-36.
    """
    curve = roc_curve(histogram)
    return float(np.trapezoid(curve.true_positive_rate, curve.false_positive_rate))


def match_cells(truth: np.ndarray, found: np.ndarray, iou: float) -> Matches:
    """Match cells one to one, the most pairs that overlap by at least `iou`.

    Parameters
    ----------
    truth, found : int arrays of shape (y, x)
        Label images; numbers need not be consecutive.
    iou : float
        Intersection over union, above 0 and at most 1, that makes a match.

    Returns
    -------
    Matches
        Those of several images add up by field.

    Raises
    ------
    ValueError
        If the two differ in shape, or `iou` is out of range.
    """
    if not 0 < iou <= 1:
        raise ValueError(f"iou is {iou}; wanted above 0 and at most 1")
    return _matches(_overlaps(truth, found), iou)


def average_precision(truth: np.ndarray, found: np.ndarray, iou: float) -> float:
    """TP / (TP + FP + FN) of one image, cells matched at `iou`.

    The score that StarDist [1]_ and Cellpose report as average precision; nan
    where neither image has a cell. Over several images, add the counts of
    `match_cells` instead.

    Parameters
    ----------
    truth, found, iou
        As for `match_cells`.

    References
    ----------
    .. [1] U. Schmidt et al., Cell detection with star-convex polygons,
       MICCAI 2018.
    """
    return match_cells(truth, found, iou).average_precision


def cell_jaccards(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Jaccard index of every true cell with the found cell that covers most of it.

    0 where no found cell covers more than half of the true one.

    Parameters
    ----------
    truth, found : int arrays of shape (y, x)
        Label images.

    Returns
    -------
    float array of shape (cells,)
        In the order of the labels of `truth`. Those of several images
        concatenate.
    """
    return _jaccards(_overlaps(truth, found))


def _jaccards(overlaps: "_Overlaps") -> np.ndarray:
    jaccards = np.zeros(len(overlaps.true_px))
    most = 2 * overlaps.shared_px > overlaps.true_px[overlaps.true]
    jaccards[overlaps.true[most]] = overlaps.iou[most]
    return jaccards


def seg_score(truth: np.ndarray, found: np.ndarray) -> float:
    """SEG of the Cell Tracking Challenge: the mean of `cell_jaccards`.

    It punishes poor outlines and missed, merged and split cells, but not
    cells found in vain [1]_. nan where the truth has no cell.

    Parameters
    ----------
    truth, found : int arrays of shape (y, x)
        Label images.

    References
    ----------
    .. [1] M. Maska et al., Bioinformatics 30 (2014) 1609-1617.
    """
    jaccards = cell_jaccards(truth, found)
    return float(jaccards.mean()) if jaccards.size else float("nan")


def detection_scores(truth: np.ndarray, found: np.ndarray) -> Detections:
    """Precision and recall of cells, and how many are merged or split.

    A true cell, or marker, is detected by the found cell that covers more
    than half of it (the majority rule of the Cell Tracking Challenge). A found
    cell is right if it detects one. Where the truth holds markers smaller
    than cells, `split_per_100` says nothing.

    Parameters
    ----------
    truth, found : int arrays of shape (y, x)
        Label images.
    """
    overlaps = _overlaps(truth, found)
    cells, candidates = len(overlaps.true_px), len(overlaps.found_px)
    covers = 2 * overlaps.shared_px > overlaps.true_px[overlaps.true]
    held = np.bincount(overlaps.found[covers], minlength=candidates)
    inside = 2 * overlaps.shared_px > overlaps.found_px[overlaps.found]
    parts = np.bincount(overlaps.true[inside], minlength=cells)
    return Detections(
        precision=_ratio(np.count_nonzero(held), candidates),
        recall=_ratio(np.count_nonzero(covers), cells),
        merged_per_100=_ratio(100 * np.count_nonzero(held > 1), cells),
        split_per_100=_ratio(100 * np.count_nonzero(parts > 1), cells),
    )


def choose_threshold(scores: Mapping[float, float], area_bias: Mapping[float, float | None], cells: int) -> float:
    """The threshold that finds cells best, and draws them as large as they are.

    Scores within 0.005 of the best, or within half a cell where that is more,
    count as equal: they hang on single cells, while the areas of all cells
    follow the threshold closely. Of thresholds that do equally well,
    the one is taken whose cells have the least bias of area, of those the
    one in the middle.

    Parameters
    ----------
    scores : mapping of float to float
        Of each candidate, of images that the network has not learned from.
    area_bias : mapping of float to float or None
        Of each candidate, by which part cells are found too large; None where
        no cell is matched, which has no bias, and is no good.
    cells : int
        Number of true cells that the scores are means over.

    Returns
    -------
    float
    """
    least_score = max(scores.values()) - max(_EQUAL, _EQUAL_CELLS / cells)
    off = {
        threshold: float("inf") if area_bias[threshold] is None else abs(area_bias[threshold])
        for threshold, score in sorted(scores.items())
        if score >= least_score
    }
    least = [threshold for threshold, each in off.items() if each <= min(off.values()) + 1e-9]
    return least[(len(least) - 1) // 2]


def label_scores(truths: Sequence[np.ndarray], found: Sequence[np.ndarray], ious: Sequence[float]) -> dict[str, float]:
    """Scores of labels, over all cells of several images together.

    AP punishes cells missed, merged, split and invented, but moves in leaps
    with the overlap; SEG feels every pixel of an outline, but not what is
    invented. `score` is the mean of the two.

    Parameters
    ----------
    truths, found : sequences of int arrays of shape (y, x)
        Label images, in the same order.
    ious : sequence of float
        Overlaps at which cells are matched.

    Returns
    -------
    dict
        score, mean_ap (over `ious`), seg, and ap_50, ap_75, ... by overlap in
        percent; of the cells that overlap by more than half, area_bias, by
        which part they are found too large in the geometric mean, and
        area_sd, the standard deviation of the logarithm of that ratio; both
        None where no cell is matched.
    """
    overlaps = [_overlaps(*pair) for pair in zip(truths, found, strict=True)]
    precisions = {}
    for iou in ious:
        counts = np.sum([_matches(each, iou) for each in overlaps], axis=0)
        precisions[f"ap_{round(100 * iou)}"] = Matches(*map(int, counts)).average_precision
    jaccards = np.concatenate([_jaccards(each) for each in overlaps])
    mean_ap = float(np.mean(list(precisions.values())))
    seg = float(jaccards.mean()) if jaccards.size else float("nan")
    ratios = np.concatenate([_log_area_ratios(each) for each in overlaps])
    return {
        "score": (mean_ap + seg) / 2,
        "mean_ap": mean_ap,
        "seg": seg,
        "area_bias": float(np.exp(ratios.mean()) - 1) if ratios.size else None,
        "area_sd": float(ratios.std()) if ratios.size else None,
        **precisions,
    }


class _Overlaps(NamedTuple):
    """Pairs of a true and a found cell that share pixels; cells numbered from 0."""

    true: np.ndarray
    found: np.ndarray
    shared_px: np.ndarray
    true_px: np.ndarray
    found_px: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        return self.shared_px / (self.true_px[self.true] + self.found_px[self.found] - self.shared_px)


def _overlaps(truth: np.ndarray, found: np.ndarray) -> _Overlaps:
    _check_shapes(truth, found, "labels found")
    judged = truth != IGNORE
    if not judged.all():
        truth, found = np.where(judged, truth, 0), np.where(judged, found, 0)
    true_px, found_px = np.bincount(truth.ravel()), np.bincount(found.ravel())
    true_px[0] = found_px[0] = 0
    both = (truth > 0) & (found > 0)
    pairs, shared_px = np.unique(
        truth[both].astype(np.int64) * len(found_px) + found[both].astype(np.int64), return_counts=True
    )
    true_number, found_number = np.cumsum(true_px > 0) - 1, np.cumsum(found_px > 0) - 1
    return _Overlaps(
        true_number[pairs // len(found_px)],
        found_number[pairs % len(found_px)],
        shared_px,
        true_px[true_px > 0],
        found_px[found_px > 0],
    )


def _log_area_ratios(overlaps: _Overlaps) -> np.ndarray:
    """Of cells that overlap by more than half (there can be one such pair a cell): ln(found area / true area)."""
    pairs = overlaps.iou > 0.5
    return np.log(overlaps.found_px[overlaps.found[pairs]] / overlaps.true_px[overlaps.true[pairs]])


def _matches(overlaps: _Overlaps, iou: float) -> Matches:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    cells, candidates = len(overlaps.true_px), len(overlaps.found_px)
    pairs = overlaps.iou >= iou
    matched = 0
    if pairs.any():
        allowed = csr_array(
            (np.ones(np.count_nonzero(pairs), bool), (overlaps.true[pairs], overlaps.found[pairs])),
            shape=(cells, candidates),
        )
        matched = int(np.count_nonzero(maximum_bipartite_matching(allowed) >= 0))
    return Matches(matched, candidates - matched, cells - matched)


def _check_shapes(truth: np.ndarray, other: np.ndarray, name: str) -> None:
    if truth.shape != other.shape:
        raise ValueError(f"{name} of shape {other.shape} for a truth of shape {truth.shape}; wanted the same size")


def _ratio(part: int, whole: int) -> float:
    return float(part) / float(whole) if whole else float("nan")
