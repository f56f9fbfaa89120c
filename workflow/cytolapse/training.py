"""Annotated images to a model: learn, judge on images left out, learn from all."""

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import nn

from cytolapse.annotation_checks import Comparison, compare_cells, trusted_doubts
from cytolapse.annotations import Annotation
from cytolapse.arithmetic import choose_precision
from cytolapse.cards import CHOSEN, CLASSES
from cytolapse.checkpoints import Checkpoints
from cytolapse.devices import choose_device
from cytolapse.evaluation import BINS
from cytolapse.holdout import held_out_phases, split_folds
from cytolapse.judgement import (
    JUDGED_TIMES,
    Answers,
    cell_histogram,
    curve_rows,
    judge,
    part_of_small,
    pixel_scores,
    quick_scores,
    usual_area_px,
)
from cytolapse.labeling import find_cells, least_area_px
from cytolapse.learning import CHECKS, fit_network
from cytolapse.models import NORMALISATION, Model, load_model
from cytolapse.progress import Progress, Work, course
from cytolapse.scaling import diameter_px, working_scale
from cytolapse.starts import AUTO, name_of_start, shipped_starts
from cytolapse.stills import predict_stills

log = logging.getLogger(__name__)

# A start that draws the annotated cells worse than this, as it is, knows other cells, and what it knows of them is in
# the way: it takes steps to unlearn, and what the annotated images do not show it never unlearns.
_LEAST_SCORE_OF_START = 0.8
# Of more images than this the settings of the labels are chosen by so many: cells enough, and they are held in memory.
_MOST_JUDGED = 12


class TrainingRejected(Exception):
    """A training ended below the floor.

    Attributes
    ----------
    score : float
        Area under the pixelwise ROC that was reached.
    floor : float
        Area that was asked for.
    metrics : dict
        All that was measured.
    """

    def __init__(self, images: str, score: float, floor: float, metrics: dict[str, Any]):
        super().__init__(
            f"training rejected: the pixelwise ROC area on {images} is {score:.4f}, floor_roc_area asks for {floor}; "
            "look at the annotations, add some, or train for more steps"
        )
        self.score = score
        self.floor = floor
        self.metrics = metrics


class Training(NamedTuple):
    """What a training gives.

    `log` has one row every few steps: phase (held_out, or fold_1, fold_2,
    ...; then final), step, learning_rate, loss, and held_out_roc_area and
    held_out_score, of pixels and of labels (null where not measured).
    `roc` has the points of the pixelwise ROCs: images (training or held_out),
    threshold, false_positive_rate, true_positive_rate. The metrics are in
    `model.trained`.
    """

    model: Model
    log: pd.DataFrame
    roc: pd.DataFrame


def train(
    annotations: Sequence[Annotation],
    *,
    steps: int,
    steps_held_out: int,
    hold_out: float,
    folds: int | None,
    floor_roc_area: float,
    pixel_size_um: float | None,
    working_diameter_px: float | None,
    checkpoints: Checkpoints | None = None,
    progress_folder: str | os.PathLike | None = None,
    **settings: Any,
) -> Training:
    """Train on a part and predict the rest, then train on all, and choose the settings of the labels.

    The last network starts afresh from the same seed and settings. Its
    held-out scores are those of the networks before it, which have not seen
    what they are judged on; the settings of its labels suit these and itself
    (`judgement.judge`).

    Parameters
    ----------
    annotations : sequence of Annotation
    steps : int
        Steps of the training on all images; where the trainings before it
        stalled early (`patience`), it takes that part of them.
    steps_held_out : int
        Steps of a training that leaves some out.
    hold_out : float
        As for `split_held_out`. Where nothing is left out, threshold and
        floor are judged on the training images, and the metrics say so.
    folds : int or None
        Leave every image out once, in so many trainings of `steps_held_out`
        (at most one for each image with cells), and judge all images
        together; None leaves out once. Of fewer than three images stripes are
        left out, as by `split_held_out`.
    floor_roc_area : float
        Least area under the pixelwise ROC, of the images left out and of the
        training images.
    pixel_size_um : float or None
        Pixel size of the annotated images, where known.
    working_diameter_px : float or None
        As for `scaling.working_scale`.
    checkpoints : Checkpoints or None
        Where to go on from and where to leave what is needed for that.
    progress_folder : path or None
        Where the course is written while it goes, as training.tsv and
        training.png.
    **settings
        As for `learning.fit_network`, but for scale: channels, architecture, seed, ...
        `start_from` may also be `starts.AUTO`.

    Returns
    -------
    Training

    Raises
    ------
    TrainingRejected
        If an area is below the floor.
    TrainingInterrupted
        If a signal asked for the end.
    ValueError, RuntimeError
        As for `learning.fit_network` and `split_held_out`.
    """
    metrics: dict[str, Any] = {"held_out": None}
    area_px = usual_area_px(each.labels for each in annotations)
    small = part_of_small([each.labels for each in annotations])
    settings["scale"] = working_scale(area_px, working_diameter_px)
    log.info(
        "cells are %.3g px wide, small below %d px of area; the network sees the images at %.3g times their size",
        *(diameter_px(area_px), small * area_px, settings["scale"]),
    )
    started_from = _choose_start(annotations, settings)
    points = []
    phases = held_out_phases(annotations, hold_out, folds, settings["seed"])
    held_out = [each for _, left_out in phases.values() for each in left_out]
    # Of a part that was cut off an image, places would not be those in the image.
    whole = {each.name for each in held_out} & {each.name for each in annotations}
    learned = [each for each in annotations if each.name not in whole]
    work = _work(phases, annotations, learned, steps, steps_held_out)
    progress = Progress(work, progress_folder, at_most=settings["patience"] is not None)
    fit = settings | {"checkpoints": checkpoints, "progress": progress}
    doubts: list[str] = []
    if held_out:
        probabilities, taken = [], []
        for phase, (rest, left_out) in phases.items():
            log.info("%s: left out: %s", phase, ", ".join(each.name for each in left_out))
            check = _checker(left_out, progress, settings)
            network, rows = fit_network(rest, phase=phase, check=check, steps=steps_held_out, **fit)
            taken.append(rows[-1].step / steps_held_out)
            probabilities += predict_stills(network, left_out, progress, settings)
        steps = max(1, round(steps * float(np.mean(taken))))
        held_out_histogram = cell_histogram(held_out, probabilities)
        points.append(curve_rows("held_out", held_out_histogram))
        metrics["held_out"] = pixel_scores(held_out, held_out_histogram)
        pairs = zip(held_out, probabilities, strict=True)
        doubts += _doubts(
            [_compare(*pair, area_px, settings["scale"], progress) for pair in pairs if pair[0].name in whole]
        )
        _check_floor("images left out", metrics["held_out"]["roc_area"], floor_roc_area, metrics)
    else:
        log.warning("no image is held out: threshold and scores come from the training images and flatter the model")
    network, _ = fit_network(annotations, phase="final", check=None, steps=steps, **fit)
    histogram, comparisons = np.zeros((2, BINS), np.int64), []
    judging = _judging(annotations, held_out)
    last = Answers([annotations[index] for index in judging], [])
    for index, probability in enumerate(predict_stills(network, annotations, progress, settings)):
        each = annotations[index]
        histogram += cell_histogram([each], [probability])
        if index in judging:
            last.probabilities.append(probability)
        if each.name not in whole:
            comparisons.append(_compare(each, probability, area_px, settings["scale"], progress))
    doubts += _doubts(comparisons)
    points.insert(0, curve_rows("training", histogram))
    metrics["training"] = pixel_scores(annotations, histogram)
    _check_floor("the training images", metrics["training"]["roc_area"], floor_roc_area, metrics)
    with progress.timed("label", JUDGED_TIMES * _pixels(held_out + last.annotations)):
        if held_out:
            chosen = judge(Answers(held_out, probabilities), settings["scale"], last, small)
            metrics["held_out"] = chosen
        else:
            chosen = judge(last, settings["scale"], None, small)
            metrics["training"] = chosen
    metrics["threshold_from"] = ("cross_validation" if len(phases) > 1 else "held_out") if held_out else "training"
    metrics["annotation_warnings"] = doubts
    knobs = {
        "steps_held_out": steps_held_out,
        "hold_out": hold_out,
        "folds": folds,
        "floor_roc_area": floor_roc_area,
        "working_diameter_px": working_diameter_px,
    }
    device = next(network.parameters()).device
    model = Model(
        network=network.cpu(),
        architecture=settings["architecture"],
        channels=settings["channels"],
        classes=CLASSES,
        normalisation=dict(NORMALISATION),
        pixel_size_um=pixel_size_um,
        cell_area_px=area_px,
        small_part=small,
        scale=settings["scale"],
        **{name: chosen[name] for name in CHOSEN},
        trained={
            "seed": settings["seed"],
            "steps": steps,
            "settings": _as_json(settings | knobs | {"start_from": started_from}),
            "start_from": started_from,
            "device": device.type,
            "precision": str(choose_precision(settings["precision"], device)).removeprefix("torch."),
            "metrics": metrics,
        },
    )
    return Training(model, course(progress.rows), pd.concat(points, ignore_index=True))


def cross_validate(annotations: Sequence[Annotation], folds: int, **settings: Any) -> dict[str, np.ndarray]:
    """Probabilities of every annotated image from a network that has not seen it.

    Parameters
    ----------
    annotations : sequence of Annotation
    folds : int
        Parts to leave out in turn, 2 to the number of images; which image is
        in which is drawn by the seed.
    **settings
        As for `learning.fit_network`, without phase and check.

    Returns
    -------
    dict of str to uint8 array of shape (classes, y, x)
        By name of the annotation, in their order; 255 is a probability of 1.

    Raises
    ------
    ValueError
        If there are fewer than two folds, or more than images.
    """
    probabilities: dict[str, np.ndarray] = {}
    for fold, (rest, left_out) in enumerate(split_folds(annotations, folds, settings["seed"]), start=1):
        network, _ = fit_network(rest, phase=f"fold_{fold}", check=None, **settings)
        found = predict_stills(network, left_out, None, settings)
        probabilities |= {each.name: probability for each, probability in zip(left_out, found, strict=True)}
    return {each.name: probabilities[each.name] for each in annotations}


def _choose_start(annotations: Sequence[Annotation], settings: dict[str, Any]) -> str | None:
    """Put a model file in place of `starts.AUTO`, and give the name of where the training starts.

    Of the shipped models with the same network the one whose labels of the
    annotated images, as it is, agree best with the drawn ones
    (`judgement.quick_scores`); none where all do worse than
    `_LEAST_SCORE_OF_START`.
    """
    if settings["start_from"] != AUTO:
        return None if settings["start_from"] is None else str(settings["start_from"])
    scores = {}
    for path in shipped_starts(settings["architecture"]):
        model = load_model(path)
        if model.channels == settings["channels"] and model.normalisation == NORMALISATION:
            network = model.network.to(choose_device(settings["device"]))
            probabilities = list(predict_stills(network, annotations, None, settings))
            area, scores[path] = quick_scores(annotations, probabilities, settings["scale"])
            text = "%s, as it is: pixelwise ROC area %.4f, score of labels %.3f"
            log.info(text, name_of_start(path), area, scores[path])
    best = max(scores, key=scores.get, default=None)
    if best is None or not scores[best] >= _LEAST_SCORE_OF_START:
        settings["start_from"] = None
        log.info("the training starts from random weights")
        return None
    settings["start_from"] = str(best)
    log.info("the training starts from %s", name_of_start(best))
    return name_of_start(best)


def _work(
    phases: Mapping[str, tuple[list[Annotation], list[Annotation]]],
    annotations: Sequence[Annotation],
    compared_last: Sequence[Annotation],
    steps: int,
    steps_held_out: int,
) -> dict[str, Work]:
    """What there is to do, for the time that is left: with what follows on each phase, comparing and judging."""
    work = {}
    for phase, (_, left_out) in phases.items():
        pixels = _pixels(left_out)
        work[phase] = Work(steps_held_out, CHECKS, pixels, pixels, pixels)
    held_out = [each for _, left_out in phases.values() for each in left_out]
    judged = [annotations[index] for index in _judging(annotations, held_out)]
    label_px = _pixels(compared_last) + JUDGED_TIMES * _pixels(held_out + judged)
    return work | {"final": Work(steps, predict_px=_pixels(annotations), label_px=label_px)}


def _judging(annotations: Sequence[Annotation], held_out: Sequence[Annotation]) -> list[int]:
    """Which images the last network's labels are judged by: those with cells first, evenly where there are many.

    All, where none is held out: the scores are of these then.
    """
    if not held_out:
        return list(range(len(annotations)))
    with_cells = [index for index, each in enumerate(annotations) if (each.labels > 0).any()]
    chosen = _evenly(with_cells, _MOST_JUDGED)
    without = sorted(set(range(len(annotations))) - set(with_cells))
    return sorted(chosen + _evenly(without, _MOST_JUDGED - len(chosen)))


def _evenly(indices: Sequence[int], most: int) -> list[int]:
    places = np.linspace(0, len(indices) - 1, min(len(indices), most))
    return [indices[round(place)] for place in places]


def _pixels(annotations: Sequence[Annotation]) -> int:
    return sum(each.labels.size for each in annotations)


def _checker(
    left_out: Sequence[Annotation], progress: Progress, settings: Mapping[str, Any]
) -> Callable[[nn.Module], tuple[float, float]]:
    def check(network: nn.Module) -> tuple[float, float]:
        probabilities = list(predict_stills(network, left_out, progress, settings))
        with progress.timed("label", _pixels(left_out)):
            return quick_scores(left_out, probabilities, settings["scale"])

    return check


def _compare(each: Annotation, probability: np.ndarray, area_px: float, scale: float, progress: Progress) -> Comparison:
    with progress.timed("label", each.labels.size):
        return compare_cells(each, find_cells(probability, 0.5, least_area_px(area_px), scale), probability, area_px)


def _doubts(comparisons: Sequence[Comparison]) -> list[str]:
    doubts = trusted_doubts(comparisons)
    for doubt in doubts:
        log.warning("annotations: %s", doubt)
    return doubts


def _check_floor(images: str, score: float, floor: float, metrics: dict[str, Any]) -> None:
    if score < floor:
        raise TrainingRejected(images, score, floor, metrics)


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(dict(settings), default=str, sort_keys=True))
