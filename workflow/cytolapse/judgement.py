"""Answers of a network to annotated images -> its scores, the settings that suit it, its ROC."""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from scipy import ndimage

from cytolapse.annotations import IGNORE, Annotation
from cytolapse.evaluation import (
    choose_threshold,
    label_scores,
    probability_histogram,
    roc_area,
    roc_curve,
)
from cytolapse.files import atomic_path
from cytolapse.labeling import LEAST_PART, USUAL_CUTS, Cuts, area_limits_px, find_cells, least_area_px, on_border

T = TypeVar("T")

_THRESHOLDS = tuple(round(0.2 + 0.05 * step, 2) for step in range(13))
_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(9))
_OF_IMAGE = ("ap_50", "seg")
_DEPTHS = (0.05, 0.1, 0.2, 0.3, 0.4)
_NECKS = (0.6, 0.7, 0.8, 0.85, 0.9)
_CUTS = tuple(itertools.starmap(Cuts, itertools.product(_DEPTHS, _NECKS)))
_CONFIDENCES = (0.0, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85)
# Small is a cell below this part of the smallest hundredth of the whole cells that are drawn, ...
_OF_SMALLEST = 0.5
# ... and never above this part of a usual one: a nucleus that condenses has half the width.
_LARGEST_SMALL = 0.25
# Fewer cells than this do not show the smallest of a hundred.
_CELLS_FOR_SMALLEST = 100
# Another setting than the usual must gain more than this many cells, or chance would choose.
_CELLS_GAINED = 3

JUDGED_TIMES = len(_THRESHOLDS) + len(_CUTS) + len(_CONFIDENCES) + 1
"""How often `judge` labels each image of `left_out`; of `last` once less."""


class Answers(NamedTuple):
    """Annotated images, and the probabilities that a network answers them with.

    The probabilities are uint8 arrays of shape (classes, y, x), in the same
    order; 255 is a probability of 1.
    """

    annotations: Sequence[Annotation]
    probabilities: Sequence[np.ndarray]


def judge(
    left_out: Answers, network_scale: float, last: Answers | None = None, small_part: float = 0.0
) -> dict[str, Any]:
    """All scores of probabilities, with the settings of labelling that serve them best.

    Cells are labelled by watershed, and not with the settings of the
    configuration: a labelling option must not make every model anew. First
    the threshold is chosen, then at that the cuts between cells, then with
    those how sure the network must be of a cell.

    Two networks seldom draw outlines alike, and images left out hold few
    cells. Where the settings are for another network than the one that is
    judged, it answers annotated images, too: it errs in those that it has
    learned from as in others, only less. The threshold is one that does best
    on the images left out, at which the last network draws cells as large as
    they are (`evaluation.choose_threshold`). Another setting of the labels
    than the usual one has to gain cells on both together, and to lose none on
    the images left out (`choose_setting`).

    Parameters
    ----------
    left_out : Answers
        Of the network that is judged, to images that it has not learned from.
    network_scale : float
        As for `labeling.label_cells`.
    last : Answers or None
        Of the network that the settings are for, where that is another one.
    small_part : float
        From `part_of_small`, of all annotated images; 0 calls no cell small.

    Returns
    -------
    dict
        Of the images left out: images, roc_area; threshold, and at it
        false_positive_rate and true_positive_rate of pixels; split_depth,
        split_neck, min_confidence; with all of them ap_50, ap_75, mean_ap
        (overlaps of 0.5 to 0.9), seg, area_bias and area_sd of cells;
        score_by_threshold, score_by_cuts and score_by_confidence; by_image,
        ap_50 and seg of each image with cells, and by_image_range, the lowest
        and highest of each. Of the last network, or the same: last_area_bias,
        and last_area_bias_by_threshold.

    Raises
    ------
    ValueError
        If no cell, or no background, is drawn in the images left out.
    """
    histogram = cell_histogram(*left_out)
    pixels = pixel_scores(left_out.annotations, histogram)
    limits = area_limits_px(usual_area_px(each.labels for each in left_out.annotations), small_part)
    networks = [answers for answers in (left_out, last) if answers is not None]
    cells = [_count_cells(answers.annotations) for answers in networks]

    def label(
        probability: np.ndarray, threshold: float, cuts: Cuts = USUAL_CUTS, confidence: float = 0.0
    ) -> np.ndarray:
        return find_cells(
            probability,
            threshold,
            network_scale=network_scale,
            cuts=cuts,
            min_confidence=confidence,
            **limits,
        )

    def scores_of(threshold: float, cuts: Cuts = USUAL_CUTS, confidence: float = 0.0) -> list[dict[str, float]]:
        return [
            label_scores(
                [each.labels for each in answers.annotations],
                [label(probability, threshold, cuts, confidence) for probability in answers.probabilities],
                _IOUS,
            )
            for answers in networks
        ]

    def cells_right(scores: Mapping[T, list[dict[str, float]]]) -> dict[T, list[float]]:
        return {
            setting: [each["score"] * number for each, number in zip(of_networks, cells, strict=True)]
            for setting, of_networks in scores.items()
        }

    by_threshold = {threshold: scores_of(threshold) for threshold in _THRESHOLDS}
    by_score = {each: scores[0]["score"] for each, scores in by_threshold.items()}
    bias = {each: scores[-1]["area_bias"] for each, scores in by_threshold.items()}
    threshold = choose_threshold(by_score, bias, cells[0])
    by_cuts = {cuts: scores_of(threshold, cuts) for cuts in _CUTS}
    cuts = choose_setting(cells_right(by_cuts), USUAL_CUTS, unlike=_steps_from_usual)
    by_confidence = {least: scores_of(threshold, cuts, least) for least in _CONFIDENCES}
    confidence = choose_setting(cells_right(by_confidence), 0.0, unlike=float)
    best = by_confidence[confidence][0]
    curve = roc_curve(histogram)
    point = int(np.argmin(np.abs(curve.threshold - threshold)))
    by_image = _scores_by_image(left_out, lambda answer: label(answer, threshold, cuts, confidence))
    return {
        **pixels,
        "threshold": threshold,
        **cuts._asdict(),
        "min_confidence": confidence,
        "false_positive_rate": _rounded(curve.false_positive_rate[point]),
        "true_positive_rate": _rounded(curve.true_positive_rate[point]),
        **{name: _rounded(best[name]) for name in ("ap_50", "ap_75", "mean_ap", "seg")},
        **{name: _rounded(best[name]) for name in ("area_bias", "area_sd")},
        "score_by_threshold": {f"{each:.2f}": _rounded(score) for each, score in by_score.items()},
        "score_by_cuts": {
            f"{each.split_depth:.2f}, {each.split_neck:.2f}": _rounded(scores[0]["score"])
            for each, scores in by_cuts.items()
        },
        "score_by_confidence": {
            f"{least:.2f}": _rounded(scores[0]["score"]) for least, scores in by_confidence.items()
        },
        "by_image": by_image,
        "by_image_range": {
            name: [pick(of_image[name] for of_image in by_image.values()) for pick in (min, max)] for name in _OF_IMAGE
        },
        "last_area_bias": _rounded(bias[threshold]),
        "last_area_bias_by_threshold": {f"{each:.2f}": _rounded(of_cells) for each, of_cells in bias.items()},
    }


def choose_setting(right: Mapping[T, Sequence[float]], usual: T, *, unlike: Callable[[T], float]) -> T:
    """The setting by which most cells are right, if it gains some over the usual one.

    Of those that are within one cell of the best, the one most like the
    usual: that little says nothing.

    Parameters
    ----------
    right : mapping of a setting to numbers of cells
        The usual one among them. Of the images left out, then of others if
        there are any; they add up, but where fewer cells are right on the
        images left out than by the usual setting, others do not count.
    usual : setting
    unlike : callable
        How far a setting is from the usual one.

    Returns
    -------
    setting
    """
    total = {each: sum(cells) for each, cells in right.items() if cells[0] >= right[usual][0]}
    best = max(total.values())
    if best < total[usual] + _CELLS_GAINED:
        return usual
    alike = [each for each, cells in total.items() if cells >= best - 1]
    return min(alike, key=lambda each: (unlike(each), -total[each]))


def _steps_from_usual(cuts: Cuts) -> int:
    tried = (_DEPTHS, _NECKS)
    return sum(abs(of.index(one) - of.index(usual)) for of, one, usual in zip(tried, cuts, USUAL_CUTS, strict=True))


def _count_cells(annotations: Sequence[Annotation]) -> int:
    return sum(np.unique(each.labels[each.labels > 0]).size for each in annotations)


def _scores_by_image(answers: Answers, label: Callable[[np.ndarray], np.ndarray]) -> dict[str, dict[str, float]]:
    scores = {}
    for each, probability in zip(*answers, strict=True):
        if (each.labels > 0).any():
            of_image = label_scores([each.labels], [label(probability)], [0.5])
            scores[each.name] = {name: _rounded(of_image[name]) for name in _OF_IMAGE}
    return scores


def quick_scores(
    annotations: Sequence[Annotation], probabilities: Sequence[np.ndarray], network_scale: float
) -> tuple[float, float]:
    """Area under the pixelwise ROC; score of labels at a threshold of 0.5, usual cuts, no cell called small.

    Parameters
    ----------
    annotations, probabilities, network_scale
        As for `judge`.

    Returns
    -------
    (float, float)
        `evaluation.roc_area`, and `evaluation.label_scores`' score.
    """
    truths = [each.labels for each in annotations]
    least_px = least_area_px(usual_area_px(truths))
    found = [find_cells(probability, 0.5, least_px, network_scale) for probability in probabilities]
    area = roc_area(cell_histogram(annotations, probabilities))
    return area, label_scores(truths, found, _IOUS)["score"]


def usual_area_px(truths: Iterable[np.ndarray]) -> float:
    """The median area of the cells in label images."""
    return float(np.median(np.concatenate([np.unique(truth[truth > 0], return_counts=True)[1] for truth in truths])))


def part_of_small(truths: Sequence[np.ndarray]) -> float:
    """Area below which a cell is small, over that of a usual one, as drawn cells tell.

    Below half of what the smallest hundredth of the drawn cells have, a found
    cell is seldom one. From a tenth, the fewest pixels of any cell, to a quarter.

    Parameters
    ----------
    truths : sequence of int array of shape (y, x)
        Label images; a cell at the border, or beside pixels that nobody
        judged, may be cut, and does not count.

    Returns
    -------
    float
    """
    area_px = np.concatenate([_whole_areas_px(truth) for truth in truths])
    if len(area_px) < _CELLS_FOR_SMALLEST:
        return LEAST_PART
    smallest = np.quantile(area_px, 0.01) / usual_area_px(truths)
    return round(float(np.clip(_OF_SMALLEST * smallest, LEAST_PART, _LARGEST_SMALL)), 3)


def _whole_areas_px(truth: np.ndarray) -> np.ndarray:
    beside_unjudged = truth[ndimage.binary_dilation(truth == IGNORE)]
    cells, area_px = np.unique(truth[truth > 0], return_counts=True)
    return area_px[~np.isin(cells, np.concatenate([on_border(truth), beside_unjudged]))]


def cell_histogram(annotations: Sequence[Annotation], probabilities: Iterable[np.ndarray]) -> np.ndarray:
    """Histogram of the class cell, which comes first, added up over all images.

    Parameters
    ----------
    annotations, probabilities
        As for `judge`; the probabilities may come one by one.

    Returns
    -------
    int array of shape (2, 256)
        As `evaluation.probability_histogram`.
    """
    pairs = zip(annotations, probabilities, strict=True)
    return sum(probability_histogram(probability[0], each.labels) for each, probability in pairs)


def pixel_scores(annotations: Sequence[Annotation], histogram: np.ndarray) -> dict[str, Any]:
    """Names of the images, and the area under their pixelwise ROC from `cell_histogram`."""
    return {"images": [each.name for each in annotations], "roc_area": _rounded(roc_area(histogram))}


def curve_rows(images: str, histogram: np.ndarray) -> pd.DataFrame:
    """The points of a pixelwise ROC.

    Parameters
    ----------
    images : str
        Which images these are, for the column of that name.
    histogram : int array of shape (2, 256)
        From `cell_histogram`.

    Returns
    -------
    DataFrame
        images, threshold, false_positive_rate, true_positive_rate.
    """
    return pd.DataFrame({"images": images, **roc_curve(histogram)._asdict()})


def draw_roc(roc: pd.DataFrame, path: str | os.PathLike) -> None:
    """Draw the pixelwise ROCs, whole and enlarged at the corner of few errors.

    Parameters
    ----------
    roc : DataFrame
        From `curve_rows`, of one or more kinds of images.
    path : path
        PNG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (whole, corner) = pyplot.subplots(1, 2, figsize=(9, 4.5), layout="constrained")
    for images, points in roc.groupby("images", sort=False):
        area = np.trapezoid(points["true_positive_rate"], points["false_positive_rate"])
        name = f"{images.replace('_', ' ')} images, area {area:.4f}"
        for axes in (whole, corner):
            axes.plot(points["false_positive_rate"], points["true_positive_rate"], label=name, linewidth=1.5)
    for axes in (whole, corner):
        axes.set(xlabel="background taken for cell", ylabel="cell pixels found")
    whole.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    whole.set(xlim=(0, 1), ylim=(0, 1), title="Pixelwise ROC")
    corner.set(xlim=(0, 0.1), ylim=(0.9, 1), title="Enlarged")
    whole.legend(loc="lower right", frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
    pyplot.close(figure)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)
