"""Annotated images to a model: learn, judge on images left out, learn from all."""

import itertools
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import nn

from cytolapse.annotations import Annotation, annotations_digest, read_pairs
from cytolapse.evaluation import roc_area
from cytolapse.files import atomic_path
from cytolapse.judgement import cell_histogram, curve_rows, draw_roc, judge, pixel_scores, usual_area_px
from cytolapse.learning import choose_precision, fit_network, predict_still, prepare_still, reproducible
from cytolapse.models import CLASSES, NORMALISATION, Model, load_model, save_model, weights_digest
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

    `log` has one row every few steps: phase (held_out or final), step,
    learning_rate, loss, held_out_roc_area (null where it was not measured).
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


def train(
    annotations: Sequence[Annotation],
    *,
    steps: int,
    steps_held_out: int,
    hold_out: float,
    floor_roc_area: float,
    pixel_size_um: float | None,
    working_diameter_px: float | None,
    **settings: Any,
) -> Training:
    """Train on a part, judge and choose the threshold on the rest, then train on all.

    The second network starts afresh from the same seed and settings; its
    threshold and held-out scores are those of the first.

    Parameters
    ----------
    annotations : sequence of Annotation
    steps : int
        Steps of the training on all images.
    steps_held_out : int
        Steps of the training that leaves some out.
    hold_out : float
        As for `split_held_out`. Where nothing is left out, threshold and
        floor are judged on the training images, and the metrics say so.
    floor_roc_area : float
        Least area under the pixelwise ROC, of the images left out and of the
        training images.
    pixel_size_um : float or None
        Pixel size of the annotated images, where known.
    working_diameter_px : float or None
        As for `scaling.working_scale`.
    **settings
        As for `learning.fit_network`, but for scale: channels, architecture, seed, ...

    Returns
    -------
    Training

    Raises
    ------
    TrainingRejected
        If an area is below the floor.
    ValueError, RuntimeError
        As for `learning.fit_network` and `split_held_out`.
    """
    metrics: dict[str, Any] = {"held_out": None}
    cell_area_px = usual_area_px(each.labels for each in annotations)
    settings["scale"] = working_scale(cell_area_px, working_diameter_px)
    log.info(
        "cells are %.3g px wide; the network sees the images enlarged by %.3g",
        *(diameter_px(cell_area_px), settings["scale"]),
    )
    logs, points = [], []
    rest, held_out = split_held_out(annotations, hold_out, settings["seed"])
    if held_out:
        log.info("held out: %s", ", ".join(each.name for each in held_out))

        def area(network: nn.Module) -> float:
            return roc_area(cell_histogram(held_out, _predictions(network, held_out, settings)))

        network, rows = fit_network(rest, phase="held_out", check=area, steps=steps_held_out, **settings)
        probabilities = list(_predictions(network, held_out, settings))
        logs.append(rows)
        points.append(curve_rows("held_out", cell_histogram(held_out, probabilities)))
        metrics["held_out"] = judge(held_out, probabilities, settings["scale"])
        _check_floor("images left out", metrics["held_out"]["roc_area"], floor_roc_area, metrics)
    else:
        log.warning("no image is held out: threshold and scores come from the training images and flatter the model")
    network, rows = fit_network(annotations, phase="final", check=None, steps=steps, **settings)
    logs.append(rows)
    histogram = cell_histogram(annotations, _predictions(network, annotations, settings))
    points.insert(0, curve_rows("training", histogram))
    metrics["training"] = pixel_scores(annotations, histogram)
    _check_floor("the training images", metrics["training"]["roc_area"], floor_roc_area, metrics)
    if not held_out:
        metrics["training"] = judge(annotations, list(_predictions(network, annotations, settings)), settings["scale"])
    metrics["threshold_from"] = "held_out" if held_out else "training"
    knobs = {"steps_held_out": steps_held_out, "hold_out": hold_out, "floor_roc_area": floor_roc_area}
    knobs["working_diameter_px"] = working_diameter_px
    device = next(network.parameters()).device
    model = Model(
        network=network.cpu(),
        architecture=settings["architecture"],
        channels=settings["channels"],
        classes=CLASSES,
        normalisation=dict(NORMALISATION),
        pixel_size_um=pixel_size_um,
        cell_area_px=cell_area_px,
        scale=settings["scale"],
        threshold=metrics[metrics["threshold_from"]]["threshold"],
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
    return Training(model, pd.concat(logs, ignore_index=True), pd.concat(points, ignore_index=True))


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
    if not 2 <= folds <= len(annotations):
        raise ValueError(f"folds is {folds}; wanted 2 to {len(annotations)}, the number of annotated images")
    order = np.random.default_rng(settings["seed"]).permutation(len(annotations))
    fold_of = {annotations[index].name: place % folds for place, index in enumerate(order)}
    probabilities: dict[str, np.ndarray] = {}
    for fold in range(folds):
        rest = [each for each in annotations if fold_of[each.name] != fold]
        left_out = [each for each in annotations if fold_of[each.name] == fold]
        network, _ = fit_network(rest, phase=f"fold {fold + 1} of {folds}", check=None, **settings)
        for each, probability in zip(left_out, _predictions(network, left_out, settings), strict=True):
            probabilities[each.name] = probability
    return {each.name: probabilities[each.name] for each in annotations}


def _predictions(
    network: nn.Module, annotations: Sequence[Annotation], settings: Mapping[str, Any]
) -> Iterator[np.ndarray]:
    device = next(network.parameters()).device
    precision = choose_precision(settings["precision"], device)
    for each in annotations:
        image = prepare_still(each, settings["channels"], NORMALISATION, settings["scale"])
        # as many threads as in training: sums in another order could tip a pixel over
        with reproducible(settings["seed"], settings["threads"]):
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
    roc_path: str | os.PathLike,
    figure_path: str | os.PathLike,
    archive_folder: str | os.PathLike,
    **settings: Any,
) -> dict[str, Any]:
    """Train on an annotations folder and write the model and what it was judged by.

    Nothing is written before the training has ended well.

    Parameters
    ----------
    annotations_folder : path
        As for `annotations.read_pairs`.
    weights_path, json_path : path
        The model file and model.json.
    log_path, roc_path : path
        `Training.log` and `Training.roc`, tab-separated.
    figure_path : path
        The pixelwise ROC of training and held-out images, PNG.
    archive_folder : path
        The model file and model.json are also kept in its subfolder that is
        named by the digest of the weights. What lies there already stays:
        the same weights with another threshold, pixel size, area of a
        cell or scale go to DIGEST-2.
    **settings
        As for `train`.

    Returns
    -------
    dict
        digest and metrics.

    Raises
    ------
    TrainingRejected, ValueError, RuntimeError
        As for `train` and `annotations.read_pairs`.
    """
    annotations = read_pairs(annotations_folder)
    result = train(annotations, **settings)
    result.model.trained["annotations"] = annotations_digest(annotations_folder, {})
    for folder in {Path(path).parent for path in (weights_path, json_path, log_path, roc_path, figure_path)}:
        folder.mkdir(parents=True, exist_ok=True)
    _archive(result.model, Path(archive_folder))
    _write_tsv(result.log, log_path)
    _write_tsv(result.roc, roc_path)
    draw_roc(result.roc, figure_path)
    digest = save_model(result.model, weights_path, json_path, half=False)
    return {"digest": digest, "metrics": result.model.trained["metrics"]}


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
        if all(
            there.get(key) == getattr(model, key) for key in ("threshold", "pixel_size_um", "cell_area_px", "scale")
        ):
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


def _write_tsv(table: pd.DataFrame, path: str | os.PathLike) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, float_format="%.6g", lineterminator="\n")
