"""Annotated images to a model: learn, judge on images left out, learn from all.

The length of a training is counted in steps and every random number comes
from its seed: on one machine, with the same number of threads, one seed gives
one model, bit by bit.
"""

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn
from tqdm import tqdm

from cytolapse.annotations import IGNORE, Annotation, annotations_digest, read_pairs
from cytolapse.augmentation import augment
from cytolapse.evaluation import (
    choose_threshold,
    probability_histogram,
    roc_area,
    roc_curve,
)
from cytolapse.files import atomic_path
from cytolapse.labeling import label_cells
from cytolapse.models import (
    CLASSES,
    NORMALISATION,
    Model,
    load_model,
    normalisation_limits,
    normalise,
    save_model,
    weights_digest,
)
from cytolapse.networks import build_network
from cytolapse.segmentation import choose_device

log = logging.getLogger(__name__)

ON_BAD_MODEL = ("keep", "stop")
PRECISIONS = ("auto", "float32", "bfloat16")

_THRESHOLDS = tuple(round(0.2 + 0.05 * step, 2) for step in range(13))
_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(9))
_LABELLING = {"method": "watershed", "seed_threshold": 0.2, "split_depth": 0.2, "fill_holes": True}
_CHECKS = 10
_LOG_ROWS = 200


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


class Still(NamedTuple):
    """An annotated image made ready: image (channels, y, x) normalised, targets (3, y, x)."""

    image: np.ndarray
    targets: np.ndarray


def make_targets(
    labels: np.ndarray, *, edge_px: int, edge_weight: float, gap_weight: float, gap_px: float
) -> np.ndarray:
    """What the network has to say about every pixel, and how much each counts.

    An edge is every pixel within `edge_px` of one that belongs to another
    cell or, from either side, across the outline of a cell. It is thin, so
    that small cells keep a middle that is cell and not edge. Background and
    edges in narrow gaps between two cells count more [1]_: there it is
    decided whether the two are told apart.

    Parameters
    ----------
    labels : int array of shape (y, x)
        0 is background, above 0 cells, `annotations.IGNORE` not judged.
    edge_px : int
        Reach of an edge to either side, 1 or more.
    edge_weight : float
        Weight of an edge pixel; all others have 1.
    gap_weight : float
        Weight added in a gap of no width; 0 for none.
    gap_px : float
        Width over which that falls off: at d1 + d2 px to the two nearest
        cells, exp(-(d1 + d2)^2 / (2 gap_px^2)) is left of it.

    Returns
    -------
    float32 array of shape (3, y, x)
        Cell (0 or 1), edge (0 or 1) and weight, which is 0 where nobody has
        judged.

    References
    ----------
    .. [1] O. Ronneberger et al., U-Net, MICCAI 2015, equation 2. There the
       weights also balance the classes; here they do not.
    """
    edge = _edges(labels, edge_px)
    weight = 1 + (edge_weight - 1) * edge.astype(np.float32)
    if gap_weight > 0:
        weight += np.float32(gap_weight) * _narrowness(labels, gap_px)
    weight[labels == IGNORE] = 0
    return np.stack([labels > 0, edge, weight]).astype(np.float32)


def _edges(labels: np.ndarray, edge_px: int) -> np.ndarray:
    edge = np.zeros(labels.shape, bool)
    height, width = labels.shape
    for dy in range(edge_px + 1):
        for dx in range(-edge_px, edge_px + 1):
            if (dy == 0 and dx <= 0) or dy**2 + dx**2 > edge_px**2:
                continue
            upper = slice(0, max(height - dy, 0)), slice(max(-dx, 0), max(width - max(dx, 0), 0))
            lower = slice(dy, height), slice(max(dx, 0), max(width + min(dx, 0), 0))
            one, other = labels[upper], labels[lower]
            differ = (one != other) & (one != IGNORE) & (other != IGNORE)
            edge[upper] |= differ
            edge[lower] |= differ
    return edge


def _narrowness(labels: np.ndarray, gap_px: float) -> np.ndarray:
    """1 where two cells touch, falling to 0 where the second nearest is far."""
    reach = int(np.ceil(4 * gap_px))
    nearest = np.full(labels.shape, np.inf, np.float32)
    second = nearest.copy()
    for number, box in enumerate(ndimage.find_objects(np.maximum(labels, 0)), start=1):
        if box is None:
            continue
        around = tuple(slice(max(side.start - reach, 0), side.stop + reach) for side in box)
        distance = ndimage.distance_transform_edt(labels[around] != number).astype(np.float32)
        second[around] = np.minimum(second[around], np.maximum(nearest[around], distance))
        nearest[around] = np.minimum(nearest[around], distance)
    return np.exp(-((nearest + second) ** 2) / np.float32(2 * gap_px**2))


def weighted_loss(logits: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """Mean binary cross-entropy over classes and pixels, each pixel by its weight.

    Parameters
    ----------
    logits, targets : tensors of shape (b, classes, y, x)
    weight : tensor of shape (b, 1, y, x)
        A pixel of weight 0 does not count.

    Returns
    -------
    tensor without dimensions
        0 where no pixel counts.
    """
    losses = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return (losses * weight).sum() / (weight.sum() * logits.shape[1]).clamp(min=1)


def annealed_rate(step: int, *, steps: int, learning_rate: float) -> float:
    """Learning rate of one step, counted from 0: a short rise, then half a cosine down to 0.

    The rise takes a twentieth of the steps: RMSprop's first steps are large
    while it has seen few gradients.
    """
    rise = max(1, steps // 20)
    if step < rise:
        return learning_rate * (step + 1) / (rise + 1)
    return learning_rate * 0.5 * (1 + float(np.cos(np.pi * (step - rise) / max(1, steps - rise))))


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


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """The arithmetic of the network; `auto` takes bfloat16 where the processor has it.

    Nothing is timed: the same machine always gives the same answer, and with
    it the same model.

    Raises
    ------
    ValueError
        If the name is not known.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; wanted one of {', '.join(PRECISIONS)}")
    if precision != "auto":
        return getattr(torch, precision)
    if device.type == "cuda":
        quick = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        quick = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.bfloat16 if quick else torch.float32


@contextmanager
def reproducible(seed: int, threads: int) -> Iterator[None]:
    """Inside, torch draws from the seed and adds up in one order; afterwards it is as before.

    On a GPU an operation that has no such form is carried out as it is, and
    torch warns of it.
    """
    # Read when CUDA's matrix library starts; without it torch refuses to promise an order.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.utils.deterministic.fill_uninitialized_memory,
    )
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        # Fills every new tensor before it is written: costs time, and no operation here reads what nobody wrote.
        torch.utils.deterministic.fill_uninitialized_memory = False
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1], warn_only=before[2])
            torch.backends.cudnn.benchmark = before[3]
            torch.utils.deterministic.fill_uninitialized_memory = before[4]


def prepare_still(annotation: Annotation, channels: int, normalisation: Mapping[str, Any]) -> np.ndarray:
    """The image of an annotation, normalised by its own limits, one channel at a time.

    Returns
    -------
    float32 array of shape (channels, y, x)

    Raises
    ------
    ValueError
        If the image has another number of channels.
    """
    image = annotation.image if annotation.image.ndim == 3 else annotation.image[None]
    if len(image) != channels:
        wanted = "one plane (y, x)" if channels == 1 else f"{channels} planes (channel, y, x)"
        raise ValueError(
            f"annotation {annotation.name}: image of shape {annotation.image.shape}; the model takes {wanted} "
            "(channels of the model in config.yaml)"
        )
    return np.stack([normalise(plane, normalisation_limits([plane], normalisation), normalisation) for plane in image])


def predict_still(network: nn.Module, image: np.ndarray, *, device: torch.device, precision: torch.dtype) -> np.ndarray:
    """Probabilities of one normalised image, as the pipeline stores them.

    Parameters
    ----------
    network : nn.Module
        On `device`, in evaluation mode.
    image : float32 array of shape (channels, y, x)

    Returns
    -------
    uint8 array of shape (classes, y, x)
        255 is a probability of 1.
    """
    height, width = image.shape[1:]
    # mirrored up to the next multiple of the stride, also by more than the image's own size
    beyond = [(0, 0), *((0, -side % network.stride) for side in (height, width))]
    padded = np.pad(image, beyond, mode="symmetric")
    tensor = torch.from_numpy(padded)[None].to(device).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), _autocast(device, precision):
        probability = torch.sigmoid(network(tensor).float())[0, :, :height, :width]
    return torch.round(255 * probability).to(torch.uint8).cpu().numpy()


def _autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16)


def fit_network(
    annotations: Sequence[Annotation],
    *,
    phase: str,
    check: Callable[[nn.Module], float] | None,
    architecture: str,
    channels: int,
    steps: int,
    crop_px: int,
    batch_crops: int,
    learning_rate: float,
    edge_px: int,
    edge_weight: float,
    gap_weight: float,
    gap_px: float,
    augmentation: Mapping[str, Any],
    seed: int,
    threads: int,
    device: str,
    precision: str,
    start_from: str | os.PathLike | None,
) -> tuple[nn.Module, pd.DataFrame]:
    """Teach a network the annotated images, all of them.

    RMSprop [1]_ on batches of random views (`augmentation.augment`), with a
    learning rate that is annealed to 0. Each batch draws from a generator of
    its own, seeded by `seed` and the step, and is made beside the network by
    other threads.

    Parameters
    ----------
    annotations : sequence of Annotation
        Images to learn from.
    phase : str
        Shown in the progress bar and in the log.
    check : callable or None
        Scores the network on images left out, ten times in the course.
    architecture : str
        One of `networks.ARCHITECTURES`.
    channels : int
        Planes of an image.
    steps, crop_px, batch_crops : int
        Number of batches, side of a view (a multiple of the network's
        stride), views in a batch.
    learning_rate : float
        Largest learning rate of RMSprop.
    edge_px, edge_weight, gap_weight, gap_px
        As for `make_targets`.
    augmentation : mapping
        Settings of `augmentation.augment`.
    seed, threads : int
        Of this training; both belong to the result.
    device, precision : str
        As for `segmentation.choose_device` and `choose_precision`.
    start_from : path or None
        Model file to go on from, of the same architecture; None starts from
        random weights.

    Returns
    -------
    network : nn.Module
        In evaluation mode, on the device.
    log : DataFrame
        As `Training.log`.

    Raises
    ------
    ValueError
        If `crop_px` does not fit the network, an image has another number of
        channels, or `start_from` holds another architecture.
    RuntimeError
        If the loss is no longer a number.

    References
    ----------
    .. [1] T. Tieleman and G. Hinton, Neural Networks for Machine Learning,
       lecture 6.5 (2012).
    """
    where = choose_device(device)
    arithmetic = choose_precision(precision, where)
    targets = {"edge_px": edge_px, "edge_weight": edge_weight, "gap_weight": gap_weight, "gap_px": gap_px}
    with reproducible(seed, threads):
        network = _starting_network(architecture, channels, start_from)
        if crop_px % network.stride:
            raise ValueError(f"crop_px is {crop_px}; {architecture} needs a multiple of {network.stride} px")
        stills = [
            Still(prepare_still(each, channels, NORMALISATION), make_targets(each.labels, **targets))
            for each in annotations
        ]
        network = network.to(where, memory_format=torch.channels_last).train()
        optimiser = torch.optim.RMSprop(network.parameters(), lr=learning_rate, foreach=True)
        batches = _batches(stills, steps, batch_crops, crop_px, augmentation, seed, threads)
        rows, losses = [], []
        every = max(1, steps // _LOG_ROWS)
        checks = {round(steps * (number + 1) / _CHECKS) for number in range(_CHECKS)} if check else set()
        progress = tqdm(batches, desc=f"training ({phase})", total=steps, unit="step", mininterval=1)
        for step, batch in enumerate(progress, start=1):
            rate = annealed_rate(step - 1, steps=steps, learning_rate=learning_rate)
            loss = _learn(network, optimiser, rate, batch, arithmetic)
            if not np.isfinite(loss):
                raise RuntimeError(
                    f"training broke down at step {step} of {steps}: the loss is {loss}; lower learning_rate "
                    f"(now {learning_rate}), or set precision to float32"
                )
            losses.append(loss)
            if step % every == 0 or step == steps or step in checks:
                score = check(network.eval()) if step in checks else None
                network.train()
                rows.append((phase, step, rate, float(np.mean(losses)), score))
                progress.set_postfix_str(f"loss {rows[-1][3]:.3f}", refresh=False)
                losses = []
    columns = ["phase", "step", "learning_rate", "loss", "held_out_roc_area"]
    return network.eval(), pd.DataFrame(rows, columns=columns).astype({"held_out_roc_area": "float64"})


def _learn(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    learning_rate: float,
    batch: tuple[Tensor, Tensor],
    precision: torch.dtype,
) -> float:
    """One step; the loss before it."""
    device = next(network.parameters()).device
    images, targets = (each.to(device, non_blocking=True) for each in batch)
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
    with _autocast(device, precision):
        logits = network(images.contiguous(memory_format=torch.channels_last))
    loss = weighted_loss(logits, targets[:, :-1], targets[:, -1:])
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.item()


def _starting_network(architecture: str, channels: int, start_from: str | os.PathLike | None) -> nn.Module:
    if start_from is None:
        return build_network(architecture, channels=channels, classes=len(CLASSES))
    start = load_model(start_from)
    if (start.architecture, start.channels) != (architecture, channels):
        raise ValueError(
            f"start_from {start_from}: holds {start.architecture} with {start.channels} channel(s), the model to train "
            f"is {architecture} with {channels}; set its architecture to {start.architecture}, or start from another"
        )
    return start.network


def _batches(
    stills: Sequence[Still],
    steps: int,
    batch_crops: int,
    crop_px: int,
    augmentation: Mapping[str, Any],
    seed: int,
    threads: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in order, made ahead by other threads.

    Each has its own generator, so that it does not matter which thread makes
    it and when.
    """

    def batch(step: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([seed, step])
        views = [
            augment(*stills[rng.integers(len(stills))], crop_px=crop_px, rng=rng, **augmentation)
            for _ in range(batch_crops)
        ]
        images, targets = zip(*views, strict=True)
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets))

    with ThreadPoolExecutor(max_workers=max(1, threads - 1)) as makers:
        ahead: list[Future] = [makers.submit(batch, step) for step in range(min(steps, threads + 1))]
        for step in range(steps):
            made = ahead.pop(0).result()
            if step + threads + 1 < steps:
                ahead.append(makers.submit(batch, step + threads + 1))
            yield made


def train(
    annotations: Sequence[Annotation],
    *,
    steps: int,
    steps_held_out: int,
    hold_out: float,
    floor_roc_area: float,
    pixel_size_um: float | None,
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
    **settings
        As for `fit_network`: channels, architecture, seed, ...

    Returns
    -------
    Training

    Raises
    ------
    TrainingRejected
        If an area is below the floor.
    ValueError, RuntimeError
        As for `fit_network` and `split_held_out`.
    """
    metrics: dict[str, Any] = {"held_out": None}
    logs, curves = [], []
    rest, held_out = split_held_out(annotations, hold_out, settings["seed"])
    if held_out:
        log.info("held out: %s", ", ".join(each.name for each in held_out))

        def area(network: nn.Module) -> float:
            return roc_area(_histogram(held_out, _predictions(network, held_out, settings)))

        network, rows = fit_network(rest, phase="held_out", check=area, steps=steps_held_out, **settings)
        probabilities = list(_predictions(network, held_out, settings))
        logs.append(rows)
        curves.append(_curve_rows("held_out", _histogram(held_out, probabilities)))
        metrics["held_out"] = judge(held_out, probabilities)
        _check_floor("images left out", metrics["held_out"]["roc_area"], floor_roc_area, metrics)
    else:
        log.warning("no image is held out: threshold and scores come from the training images and flatter the model")
    network, rows = fit_network(annotations, phase="final", check=None, steps=steps, **settings)
    logs.append(rows)
    histogram = _histogram(annotations, _predictions(network, annotations, settings))
    curves.insert(0, _curve_rows("training", histogram))
    metrics["training"] = {"images": [each.name for each in annotations], "roc_area": _rounded(roc_area(histogram))}
    _check_floor("the training images", metrics["training"]["roc_area"], floor_roc_area, metrics)
    if not held_out:
        metrics["training"] = judge(annotations, list(_predictions(network, annotations, settings)))
    metrics["threshold_from"] = "held_out" if held_out else "training"
    knobs = {"steps_held_out": steps_held_out, "hold_out": hold_out, "floor_roc_area": floor_roc_area}
    device = next(network.parameters()).device
    model = Model(
        network=network.cpu(),
        architecture=settings["architecture"],
        channels=settings["channels"],
        classes=CLASSES,
        normalisation=dict(NORMALISATION),
        pixel_size_um=pixel_size_um,
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
    return Training(model, pd.concat(logs, ignore_index=True), pd.concat(curves, ignore_index=True))


def cross_validate(annotations: Sequence[Annotation], folds: int, **settings: Any) -> dict[str, np.ndarray]:
    """Probabilities of every annotated image from a network that has not seen it.

    Parameters
    ----------
    annotations : sequence of Annotation
    folds : int
        Parts to leave out in turn, 2 to the number of images; which image is
        in which is drawn by the seed.
    **settings
        As for `fit_network`, without phase and check.

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


def judge(annotations: Sequence[Annotation], probabilities: Sequence[np.ndarray]) -> dict[str, Any]:
    """All scores of probabilities, with the threshold that serves them best.

    Cells are labelled by watershed with fixed settings, not with those of
    the configuration: a labelling option must not make every model anew.

    Parameters
    ----------
    annotations : sequence of Annotation
    probabilities : sequence of uint8 arrays of shape (classes, y, x)
        In the same order; 255 is a probability of 1.

    Returns
    -------
    dict
        images, roc_area; threshold, and at it false_positive_rate and
        true_positive_rate of pixels, ap_50, ap_75, mean_ap (overlaps of 0.5
        to 0.9) and seg of cells; score_by_threshold.
    """
    truths = [each.labels for each in annotations]
    histogram = _histogram(annotations, probabilities)
    area_px = np.concatenate([np.bincount(truth[truth > 0]) for truth in truths])
    usual_px = float(np.median(area_px[area_px > 0]))

    def label(probability: np.ndarray, threshold: float) -> np.ndarray:
        return label_cells(
            probability.astype(np.float32) / 255,
            threshold=threshold,
            min_area_px=max(1, round(usual_px / 10)),
            **_LABELLING,
        )

    threshold, scores = choose_threshold(probabilities, truths, label=label, thresholds=_THRESHOLDS, ious=_IOUS)
    best = next(score for score in scores if score["threshold"] == threshold)
    curve = roc_curve(histogram)
    point = int(np.argmin(np.abs(curve.threshold - threshold)))
    return {
        "images": [each.name for each in annotations],
        "roc_area": _rounded(roc_area(histogram)),
        "threshold": threshold,
        "false_positive_rate": _rounded(curve.false_positive_rate[point]),
        "true_positive_rate": _rounded(curve.true_positive_rate[point]),
        **{name: _rounded(best[name]) for name in ("ap_50", "ap_75", "mean_ap", "seg")},
        "score_by_threshold": {f"{score['threshold']:.2f}": _rounded(score["score"]) for score in scores},
    }


def _predictions(
    network: nn.Module, annotations: Sequence[Annotation], settings: Mapping[str, Any]
) -> Iterator[np.ndarray]:
    device = next(network.parameters()).device
    precision = choose_precision(settings["precision"], device)
    for each in annotations:
        image = prepare_still(each, settings["channels"], NORMALISATION)
        # as many threads as in training: sums in another order could tip a pixel over
        with reproducible(settings["seed"], settings["threads"]):
            probability = predict_still(network, image, device=device, precision=precision)
        yield probability


def _check_floor(images: str, score: float, floor: float, metrics: dict[str, Any]) -> None:
    if score < floor:
        raise TrainingRejected(images, score, floor, metrics)


def _histogram(annotations: Sequence[Annotation], probabilities: Iterable[np.ndarray]) -> np.ndarray:
    """Of the class cell, which comes first, over all images."""
    pairs = zip(annotations, probabilities, strict=True)
    return sum(probability_histogram(probability[0], each.labels) for each, probability in pairs)


def _curve_rows(images: str, histogram: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"images": images, **roc_curve(histogram)._asdict()})


def _rounded(value: float) -> float:
    return round(float(value), 6)


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
        named by the digest of the weights.
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
    kept = Path(archive_folder) / weights_digest(result.model.network.state_dict())
    for folder in (kept, *(Path(path).parent for path in (weights_path, json_path, log_path, roc_path, figure_path))):
        folder.mkdir(parents=True, exist_ok=True)
    save_model(result.model, kept / "weights.safetensors", kept / "model.json", half=False)
    _write_tsv(result.log, log_path)
    _write_tsv(result.roc, roc_path)
    draw_roc(result.roc, figure_path)
    digest = save_model(result.model, weights_path, json_path, half=False)
    return {"digest": digest, "metrics": result.model.trained["metrics"]}


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


def draw_roc(roc: pd.DataFrame, path: str | os.PathLike) -> None:
    """Draw the pixelwise ROCs, whole and enlarged at the corner of few errors.

    Parameters
    ----------
    roc : DataFrame
        As `Training.roc`.
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
