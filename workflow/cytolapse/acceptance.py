"""A training from the annotations folder to the files of an accepted model, or to the word why it is none."""

import hashlib
import itertools
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cytolapse.annotation_checks import check_masks
from cytolapse.annotations import Annotation, annotations_digest, find_pairs, read_pairs
from cytolapse.arithmetic import choose_precision
from cytolapse.cards import CHOSEN, read_card
from cytolapse.checkpoints import Checkpoints
from cytolapse.devices import choose_device
from cytolapse.files import atomic_path
from cytolapse.judgement import draw_roc
from cytolapse.models import Model, load_model, save_model, weights_digest
from cytolapse.progress import write_course, write_tsv
from cytolapse.starts import AUTO, shipped_starts
from cytolapse.training import TrainingRejected, train

log = logging.getLogger(__name__)

# What tells two models of the same weights apart.
_BESIDE_WEIGHTS = (*CHOSEN, "pixel_size_um", "cell_area_px", "small_part", "scale")

ON_BAD_MODEL = ("keep", "stop")


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
        the same weights with other `cards.CHOSEN`, pixel size, areas of cells
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
    with Checkpoints(checkpoint_folder, training_key(digest, code, settings)) as checkpoints:
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


def training_key(annotations: str, code: str, settings: Mapping[str, Any]) -> str:
    """Digest of all that the networks of a training depend on; the floor only judges them.

    Parameters
    ----------
    annotations, code : str
        Digests of the annotated images and of the code.
    settings : mapping
        As for `train`, with device.
    """
    device = choose_device(settings["device"])
    start_from = settings["start_from"]
    starts = shipped_starts(settings["architecture"]) if start_from == AUTO else [start_from] if start_from else []
    parts = {
        **{name: value for name, value in settings.items() if name != "floor_roc_area"},
        "annotations": annotations,
        "code": code,
        "start_from": [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in starts],
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
            there = read_card(kept / "model.json")
        except FileNotFoundError:
            kept.mkdir(parents=True, exist_ok=True)
            save_model(model, kept / "weights.safetensors", kept / "model.json", half=False)
            return
        except ValueError as error:
            log.warning("%s: the model is kept beside it", error)
            continue
        if all(there.get(key) == getattr(model, key) for key in _BESIDE_WEIGHTS):
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
        return digest if read_card(json_path, ["digest"])["digest"] == digest else None
    except (OSError, ValueError):
        return None
