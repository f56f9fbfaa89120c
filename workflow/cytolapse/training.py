"""Annotated images to a model: learn, judge on images left out, learn from all."""

import hashlib
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from cytolapse.annotation_checks import Comparison, check_masks, compare_cells, trusted_doubts
from cytolapse.annotations import Annotation, annotations_digest, find_pairs, read_pairs
from cytolapse.checkpoints import Checkpoints
from cytolapse.devices import choose_device
from cytolapse.evaluation import BINS
from cytolapse.files import atomic_path
from cytolapse.judgement import (
    JUDGED_TIMES,
    cell_histogram,
    curve_rows,
    draw_roc,
    find_cells,
    judge,
    pixel_scores,
    quick_scores,
    usual_area_px,
)
from cytolapse.learning import CHECKS, choose_precision, fit_network, predict_still, prepare_still, reproducible
from cytolapse.models import CHOSEN, CLASSES, NORMALISATION, Model, load_model, save_model, weights_digest
from cytolapse.progress import Progress, Work, course, write_course, write_tsv
from cytolapse.scaling import diameter_px, working_scale

log = logging.getLogger(__name__)

ON_BAD_MODEL = ("keep", "stop")


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


def split_held_out(
    annotations: Sequence[Annotation], hold_out: float, seed: int
) -> tuple[list[Annotation], list[Annotation]]:
    """Set aside what the network shall not see, to judge it by.

    Of three or more images whole ones are set aside, drawn by the seed among
    those with cells. Of one or two images a quarter is cut off instead, from
    the first side where both parts keep cells.

    Parameters
    ----------
    annotations : sequence of Annotation
    hold_out : float
        Below 1 the share of the images, at least one of them; from 1 on their
        number; 0 sets nothing aside.
    seed : int

    Returns
    -------
    rest, held_out : lists of Annotation
        `held_out` is empty where nothing can be spared.

    Raises
    ------
    ValueError
        If no image would be left to learn from.
    """
    if hold_out == 0:
        return list(annotations), []
    total = len(annotations)
    with_cells = [index for index, each in enumerate(annotations) if (each.labels > 0).any()]
    if total < 3 or len(with_cells) < 2:
        return _split_stripes(annotations)
    count = int(hold_out) if hold_out >= 1 else max(1, round(hold_out * total))
    if count >= total:
        raise ValueError(f"hold_out is {hold_out}: of {total} annotated images none is left to train on")
    order = np.random.default_rng(seed).permutation(with_cells)
    chosen = set(order[: min(count, len(with_cells) - 1)].tolist())
    rest = [each for index, each in enumerate(annotations) if index not in chosen]
    return rest, [annotations[index] for index in sorted(chosen)]


def _split_stripes(annotations: Sequence[Annotation]) -> tuple[list[Annotation], list[Annotation]]:
    rest, held_out = [], []
    for each in annotations:
        height, width = each.labels.shape
        quarter_y, quarter_x = height // 4, width // 4
        cuts = (
            (np.s_[..., : width - quarter_x], np.s_[..., width - quarter_x :]),
            (np.s_[..., : height - quarter_y, :], np.s_[..., height - quarter_y :, :]),
            (np.s_[..., quarter_x:], np.s_[..., :quarter_x]),
            (np.s_[..., quarter_y:, :], np.s_[..., :quarter_y, :]),
        )
        for kept, cut in cuts:
            if (each.labels[kept] > 0).any() and (each.labels[cut] > 0).any():
                rest.append(Annotation(each.name, each.image[kept], each.labels[kept]))
                held_out.append(Annotation(f"{each.name} (a quarter)", each.image[cut], each.labels[cut]))
                break
        else:
            rest.append(each)
    return rest, held_out


def split_folds(
    annotations: Sequence[Annotation], folds: int, seed: int
) -> list[tuple[list[Annotation], list[Annotation]]]:
    """Leave every image out once: which one in which fold is drawn by the seed, images with cells dealt out first.

    Parameters
    ----------
    annotations : sequence of Annotation
    folds : int
        Parts to leave out in turn, 2 to the number of images.
    seed : int

    Returns
    -------
    list of (rest, held_out)
        Lists of Annotation, of each fold.

    Raises
    ------
    ValueError
        If there are fewer than two folds, or more than images.
    """
    if not 2 <= folds <= len(annotations):
        raise ValueError(f"folds is {folds}; wanted 2 to {len(annotations)}, the number of annotated images")
    order = np.random.default_rng(seed).permutation(len(annotations)).tolist()
    order.sort(key=lambda index: not (annotations[index].labels > 0).any())
    fold_of = {index: place % folds for place, index in enumerate(order)}
    return [
        (
            [each for index, each in enumerate(annotations) if fold_of[index] != fold],
            [each for index, each in enumerate(annotations) if fold_of[index] == fold],
        )
        for fold in range(folds)
    ]


def _phases(
    annotations: Sequence[Annotation], hold_out: float, folds: int | None, seed: int
) -> dict[str, tuple[list[Annotation], list[Annotation]]]:
    """What is learned from and what is left out, by name of the phase; nothing where no image can be spared."""
    with_cells = sum(bool((each.labels > 0).any()) for each in annotations)
    if folds is not None and len(annotations) >= 3 and with_cells >= 2:
        splits = split_folds(annotations, min(folds, with_cells), seed)
        return {f"fold_{number}": split for number, split in enumerate(splits, start=1)}
    rest, held_out = split_held_out(annotations, hold_out, seed)
    return {"held_out": (rest, held_out)} if held_out else {}


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
    """Train on a part, judge and choose the threshold on the rest, then train on all.

    The last network starts afresh from the same seed and settings; its
    threshold and held-out scores are those of the networks before it, which
    have not seen what they are judged on.

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
    settings["scale"] = working_scale(area_px, working_diameter_px)
    log.info(
        "cells are %.3g px wide; the network sees the images at %.3g times their size",
        *(diameter_px(area_px), settings["scale"]),
    )
    points = []
    phases = _phases(annotations, hold_out, folds, settings["seed"])
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
            probabilities += _predictions(network, left_out, progress, settings)
        steps = max(1, round(steps * float(np.mean(taken))))
        points.append(curve_rows("held_out", cell_histogram(held_out, probabilities)))
        with progress.timed("label", JUDGED_TIMES * _pixels(held_out)):
            metrics["held_out"] = judge(held_out, probabilities, settings["scale"])
        pairs = zip(held_out, probabilities, strict=True)
        doubts += _doubts(
            [_compare(*pair, area_px, settings["scale"], progress) for pair in pairs if pair[0].name in whole]
        )
        _check_floor("images left out", metrics["held_out"]["roc_area"], floor_roc_area, metrics)
    else:
        log.warning("no image is held out: threshold and scores come from the training images and flatter the model")
    network, _ = fit_network(annotations, phase="final", check=None, steps=steps, **fit)
    histogram, comparisons = np.zeros((2, BINS), np.int64), []
    for each, probability in zip(annotations, _predictions(network, annotations, progress, settings), strict=True):
        histogram += cell_histogram([each], [probability])
        if each.name not in whole:
            comparisons.append(_compare(each, probability, area_px, settings["scale"], progress))
    doubts += _doubts(comparisons)
    points.insert(0, curve_rows("training", histogram))
    metrics["training"] = pixel_scores(annotations, histogram)
    _check_floor("the training images", metrics["training"]["roc_area"], floor_roc_area, metrics)
    if not held_out:
        probabilities = list(_predictions(network, annotations, progress, settings))
        metrics["training"] = judge(annotations, probabilities, settings["scale"])
    metrics["threshold_from"] = ("cross_validation" if len(phases) > 1 else "held_out") if held_out else "training"
    metrics["annotation_warnings"] = doubts
    knobs = {
        "steps_held_out": steps_held_out,
        "hold_out": hold_out,
        "folds": folds,
        "floor_roc_area": floor_roc_area,
        "working_diameter_px": working_diameter_px,
    }
    chosen = metrics["held_out" if held_out else "training"]
    device = next(network.parameters()).device
    model = Model(
        network=network.cpu(),
        architecture=settings["architecture"],
        channels=settings["channels"],
        classes=CLASSES,
        normalisation=dict(NORMALISATION),
        pixel_size_um=pixel_size_um,
        cell_area_px=area_px,
        scale=settings["scale"],
        **{name: chosen[name] for name in CHOSEN},
        trained={
            "seed": settings["seed"],
            "steps": steps,
            "settings": _as_json(settings | knobs),
            "start_from": None if settings["start_from"] is None else str(settings["start_from"]),
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
        found = _predictions(network, left_out, None, settings)
        probabilities |= {each.name: probability for each, probability in zip(left_out, found, strict=True)}
    return {each.name: probabilities[each.name] for each in annotations}


def _work(
    phases: Mapping[str, tuple[list[Annotation], list[Annotation]]],
    annotations: Sequence[Annotation],
    compared_last: Sequence[Annotation],
    steps: int,
    steps_held_out: int,
) -> dict[str, Work]:
    """What there is to do, for the time that is left: with what follows on each phase, judging and comparing."""
    work = {}
    for phase, (_, left_out) in phases.items():
        pixels = _pixels(left_out)
        work[phase] = Work(steps_held_out, CHECKS, pixels, pixels, (JUDGED_TIMES + 1) * pixels)
    predict_px, label_px = _pixels(annotations), _pixels(compared_last)
    if not phases:
        label_px += JUDGED_TIMES * predict_px
        predict_px *= 2
    return work | {"final": Work(steps, predict_px=predict_px, label_px=label_px)}


def _pixels(annotations: Sequence[Annotation]) -> int:
    return sum(each.labels.size for each in annotations)


def _checker(
    left_out: Sequence[Annotation], progress: Progress, settings: Mapping[str, Any]
) -> Callable[[nn.Module], tuple[float, float]]:
    def check(network: nn.Module) -> tuple[float, float]:
        probabilities = list(_predictions(network, left_out, progress, settings))
        with progress.timed("label", _pixels(left_out)):
            return quick_scores(left_out, probabilities, settings["scale"])

    return check


def _compare(each: Annotation, probability: np.ndarray, area_px: float, scale: float, progress: Progress) -> Comparison:
    with progress.timed("label", each.labels.size):
        return compare_cells(each, find_cells(probability, 0.5, area_px, scale), probability, area_px)


def _doubts(comparisons: Sequence[Comparison]) -> list[str]:
    doubts = trusted_doubts(comparisons)
    for doubt in doubts:
        log.warning("annotations: %s", doubt)
    return doubts


def _predictions(
    network: nn.Module, annotations: Sequence[Annotation], progress: Progress | None, settings: Mapping[str, Any]
) -> Iterator[np.ndarray]:
    device = next(network.parameters()).device
    precision = choose_precision(settings["precision"], device)
    for each in annotations:
        image = prepare_still(each, settings["channels"], NORMALISATION, settings["scale"])
        timed = progress.timed("predict", each.labels.size) if progress else nullcontext()
        # as many threads as in training: sums in another order could tip a pixel over
        with timed, reproducible(settings["seed"], settings["threads"]):
            probability = predict_still(network, image, shape=each.labels.shape, device=device, precision=precision)
        yield probability


def _check_floor(images: str, score: float, floor: float, metrics: dict[str, Any]) -> None:
    if score < floor:
        raise TrainingRejected(images, score, floor, metrics)


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(dict(settings), default=str, sort_keys=True))


def train_model(
    annotations_folder: str | os.PathLike,
    *,
    weights_path: str | os.PathLike,
    json_path: str | os.PathLike,
    log_path: str | os.PathLike,
    log_figure_path: str | os.PathLike,
    roc_path: str | os.PathLike,
    roc_figure_path: str | os.PathLike,
    archive_folder: str | os.PathLike,
    checkpoint_folder: str | os.PathLike,
    progress_folder: str | os.PathLike,
    code: str,
    **settings: Any,
) -> dict[str, Any]:
    """Train on an annotations folder and write the model and what it was judged by.

    No output is written before the training has ended well. Until then its
    course is to be seen in `progress_folder`, and a training that was cut off
    goes on from `checkpoint_folder`. Slips in the masks are named in the log
    and in model.json.

    Parameters
    ----------
    annotations_folder : path
        As for `annotations.read_pairs`.
    weights_path, json_path : path
        The model file and model.json.
    log_path, log_figure_path : path
        `Training.log`, tab-separated, and its picture (PNG).
    roc_path, roc_figure_path : path
        `Training.roc`, tab-separated, and the pixelwise ROC of training and
        held-out images (PNG).
    archive_folder : path
        The model file and model.json are also kept in its subfolder that is
        named by the digest of the weights. What lies there already stays:
        the same weights with other `models.CHOSEN`, pixel size, area of a cell
        or scale go to DIGEST-2.
    checkpoint_folder : path
        Checkpoints of this model's trainings; removed when one has ended well.
    progress_folder : path
        training.tsv and training.png, written while the training goes.
    code : str
        Digest of the code that runs: a checkpoint of other code is not used.
    **settings
        As for `train`.

    Returns
    -------
    dict
        digest and metrics.

    Raises
    ------
    TrainingRejected, TrainingInterrupted, ValueError, RuntimeError
        As for `train` and `annotations.read_pairs`.
    """
    annotations, warnings = _checked(annotations_folder)
    digest = annotations_digest(annotations_folder, {})
    with Checkpoints(checkpoint_folder, _training_key(digest, code, settings)) as checkpoints:
        result = train(annotations, checkpoints=checkpoints, progress_folder=progress_folder, **settings)
        result.model.trained["annotations"] = digest
        result.model.trained["metrics"]["annotation_warnings"][:0] = warnings
        written = (weights_path, json_path, log_path, log_figure_path, roc_path, roc_figure_path)
        for folder in {Path(path).parent for path in written}:
            folder.mkdir(parents=True, exist_ok=True)
        _archive(result.model, Path(archive_folder))
        write_course(result.log, log_path, log_figure_path)
        write_tsv(result.roc, roc_path)
        draw_roc(result.roc, roc_figure_path)
        digest = save_model(result.model, weights_path, json_path, half=False)
        checkpoints.remove()
    return {"digest": digest, "metrics": result.model.trained["metrics"]}


def _checked(folder: str | os.PathLike) -> tuple[list[Annotation], list[str]]:
    """The annotations without slips of the brush, and what was found in their masks."""
    annotations, warnings = [], []
    for pair, annotation in zip(find_pairs(folder), read_pairs(folder), strict=True):
        checked, found = check_masks(annotation, str(pair.masks))
        annotations.append(checked)
        warnings += found
    for warning in warnings:
        log.warning("annotations: %s", warning)
    return annotations, warnings


def _training_key(annotations: str, code: str, settings: Mapping[str, Any]) -> str:
    """Digest of all that the networks of a training depend on; the floor only judges them."""
    device = choose_device(settings["device"])
    start_from = settings["start_from"]
    parts = {
        **{name: value for name, value in settings.items() if name != "floor_roc_area"},
        "annotations": annotations,
        "code": code,
        "start_from": None if start_from is None else hashlib.sha256(Path(start_from).read_bytes()).hexdigest(),
        "device": device.type,
        "precision": str(choose_precision(settings["precision"], device)),
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _archive(model: Model, folder: Path) -> None:
    """Keep a model for good, unless it is kept already."""
    digest = weights_digest(model.network.state_dict())
    for number in itertools.count(1):
        kept = folder / (digest if number == 1 else f"{digest}-{number}")
        try:
            there = json.loads((kept / "model.json").read_text())
        except FileNotFoundError:
            kept.mkdir(parents=True, exist_ok=True)
            save_model(model, kept / "weights.safetensors", kept / "model.json", half=False)
            return
        if all(there.get(key) == getattr(model, key) for key in (*CHOSEN, "pixel_size_um", "cell_area_px", "scale")):
            return


def train_or_keep(
    annotations_folder: str | os.PathLike,
    *,
    weights_path: str | os.PathLike,
    json_path: str | os.PathLike,
    status_path: str | os.PathLike,
    on_bad_model: str,
    **rest: Any,
) -> dict[str, Any]:
    """Train; where that fails and a model was accepted before, keep that one and say so.

    Parameters
    ----------
    annotations_folder, weights_path, json_path
        As for `train_model`.
    status_path : path
        JSON to write: status (accepted or kept), reason, digest of the model
        that now lies there, and the metrics of this training.
    on_bad_model : {'keep', 'stop'}
        Whether a failed or rejected training leaves the accepted model in
        place, or is an error.
    **rest
        The other paths and settings of `train_model`.

    Returns
    -------
    dict
        What was written to `status_path`.

    Raises
    ------
    ValueError
        If `on_bad_model` is neither.
    TrainingRejected, ValueError, RuntimeError, OSError, MemoryError
        What the training raised, under 'stop' or where no model was accepted
        before.
    """
    if on_bad_model not in ON_BAD_MODEL:
        raise ValueError(f"on_bad_model is {on_bad_model!r}; wanted one of {', '.join(ON_BAD_MODEL)}")
    try:
        trained = train_model(annotations_folder, weights_path=weights_path, json_path=json_path, **rest)
        status = {"status": "accepted", "reason": None, **trained}
    except (TrainingRejected, ValueError, RuntimeError, OSError, MemoryError) as error:
        accepted = _accepted_digest(weights_path, json_path)
        if on_bad_model == "stop" or accepted is None:
            raise
        log.exception("the training failed; the model accepted before is kept: %s", weights_path)
        status = {
            "status": "kept",
            "reason": f"{type(error).__name__}: {error}",
            "digest": accepted,
            "metrics": getattr(error, "metrics", {}),
        }
    Path(status_path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(status_path) as temporary:
        temporary.write_text(json.dumps(status, indent=1, sort_keys=True) + "\n")
    return status


def _accepted_digest(weights_path: str | os.PathLike, json_path: str | os.PathLike) -> str | None:
    """Digest of the model that lies there, None if there is none that can be used."""
    try:
        digest = weights_digest(load_model(weights_path).network.state_dict())
        return digest if json.loads(Path(json_path).read_text())["digest"] == digest else None
    except (OSError, ValueError, KeyError):
        return None
