"""Annotated images -> a network that has learned them.

The length of a training is counted in steps and every random number comes
from its seed: on one machine, with the same number of threads, one seed gives
one network, bit by bit.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cytolapse.annotations import Annotation
from cytolapse.augmentation import augment
from cytolapse.cards import CLASSES
from cytolapse.checkpoints import Checkpoints, Snapshot
from cytolapse.crowding import Donor, cut_donors
from cytolapse.devices import choose_device
from cytolapse.models import NORMALISATION, compress, load_model, normalisation_limits, normalise
from cytolapse.networks import build_network
from cytolapse.progress import Progress, Row, Work
from cytolapse.scaling import resize_images, resize_labels, scaled_shape
from cytolapse.targets import make_targets, weighted_loss

log = logging.getLogger(__name__)

PRECISIONS = ("auto", "float32", "bfloat16")

CHECKS = 10
"""How often a network is scored on images left out, in the course of its training."""

_LOG_ROWS = 200
# A score has improved where it is better than all before it by more than this: less is chance.
_LEAST_GAIN = 0.005
_LEAST_AREA_GAIN = 0.0005


class Still(NamedTuple):
    """An annotated image as large as the network sees it: image (channels, y, x) normalised, linear in light."""

    image: np.ndarray
    labels: np.ndarray


def fit_network(
    annotations: Sequence[Annotation],
    *,
    phase: str,
    check: Callable[[nn.Module], tuple[float, float]] | None,
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
    scale: float,
    seed: int,
    threads: int,
    device: str,
    precision: str,
    start_from: str | os.PathLike | None,
    patience: int | None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> tuple[nn.Module, list[Row]]:
    """Teach a network the annotated images, all of them.

    RMSprop [1]_ on batches of random views (`augmentation.augment`), with a
    learning rate that is annealed to 0. Each batch draws from a generator of
    its own, seeded by `seed` and the step, and is made beside the network by
    other threads.

    From a checkpoint it goes on as if it had not been cut off: the network
    is the same, bit by bit.

    Parameters
    ----------
    annotations : sequence of Annotation
        Images to learn from.
    phase : str
        Name of this part of a training: in the log, in the table and of its
        checkpoint.
    check : callable or None
        Scores the network on images left out, by pixels and by labels
        (`judgement.quick_scores`), ten times in the course.
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
        As for `targets.make_targets`.
    augmentation : mapping
        Settings of `augmentation.augment`.
    scale : float
        Factor by which the images are enlarged for the network.
    seed, threads : int
        Of this training; both belong to the result.
    device, precision : str
        As for `devices.choose_device` and `choose_precision`.
    start_from : path or None
        Model file to go on from, of the same architecture; None starts from
        random weights.
    patience : int or None
        Checks in a row without a better score of labels (by more than 0.005)
        or a better area (0.0005) after which the learning rate falls to 0
        within a tenth of `steps`, where the training ends. None, or no
        `check`: all steps are made.
    checkpoints : Checkpoints or None
        Where to go on from, and where to leave what is needed for that, every
        few minutes and at the end; None for neither.
    progress : Progress or None
        Told of every step.

    Returns
    -------
    network : nn.Module
        In evaluation mode, on the device.
    rows : list of Row
        One every few steps; the scores are None where they were not measured.

    Raises
    ------
    ValueError
        If `crop_px` does not fit the network, an image has another number of
        channels, or `start_from` holds another architecture.
    RuntimeError
        If the loss is no longer a number.
    TrainingInterrupted
        If a signal asked for the end, once the checkpoint is written.

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
        stills = [scaled_still(each, channels, scale) for each in annotations]
        donors = [donor for still in stills for donor in cut_donors(*still)] if augmentation["crowded_fraction"] else []
        log.info("%s: %d cells that can be set beside others", phase, len(donors))
        network = network.to(where, memory_format=torch.channels_last).train()
        optimiser = torch.optim.RMSprop(network.parameters(), lr=learning_rate, foreach=True)
        state = _resume(checkpoints, phase, network, optimiser) or _State(last_step=steps)
        progress = progress or Progress({phase: Work(steps)}, None, at_most=False)
        progress.begin(phase, state.step, state.last_step, state.rows)
        every = max(1, steps // _LOG_ROWS)
        checks = {round(steps * (number + 1) / CHECKS) for number in range(CHECKS)} if check else set()
        made = _batches(
            stills, donors, range(state.step, steps), batch_crops, crop_px, augmentation, targets, seed, threads
        )
        # On a terminal a bar, in a file none: the log has a line now and then.
        bar = tqdm(
            made, f"training ({phase})", initial=state.step, total=steps, unit="step", mininterval=1, disable=None
        )
        batches = iter(bar)
        with checkpoints.deferred() if checkpoints else nullcontext():
            while state.step < state.last_step:
                rate = annealed_rate(state.step, steps=steps, learning_rate=learning_rate, settles_at=state.settles_at)
                loss = _learn(network, optimiser, rate, next(batches), arithmetic)
                state.step += 1
                if not np.isfinite(loss):
                    raise RuntimeError(
                        f"training broke down at step {state.step} of {steps}: the loss is {loss}; lower "
                        f"learning_rate (now {learning_rate}), or set precision to float32"
                    )
                progress.stepped(phase, state.step, state.last_step, loss)
                state.losses.append(loss)
                ends = state.step == state.last_step
                scored = state.step in checks or (check is not None and ends)
                if scored or ends or state.step % every == 0:
                    scores = check(network.eval()) if scored else (None, None)
                    network.train()
                    state.rows.append(Row(phase, state.step, rate, float(np.mean(state.losses)), *scores))
                    state.losses = []
                    if patience and not ends and state.settles_at is None and _stalls(state.rows, patience):
                        state.settles_at = state.step
                        state.last_step = min(steps, state.step + _settling_steps(steps))
                        log.info("%s: no better for %d checks, ends at step %d", phase, patience, state.last_step)
                    progress.noted(state.rows[-1])
                if checkpoints and (checkpoints.due or state.step == state.last_step):
                    checkpoints.save(phase, _snapshot(state, network, optimiser))
                    checkpoints.raise_if_told()
    return network.eval(), state.rows


@dataclass
class _State:
    """How far a phase is: steps made, its last one, rows, losses since the last row, and where it stalled."""

    last_step: int
    step: int = 0
    rows: list[Row] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    settles_at: int | None = None


def _snapshot(state: _State, network: nn.Module, optimiser: torch.optim.Optimizer) -> Snapshot:
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    if state.step < state.last_step:
        for number, of_parameter in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": tensor for name, tensor in of_parameter.items()}
    # Nothing here draws from torch's own generators once the weights are there: views have theirs, by seed and step.
    return Snapshot(tensors, asdict(state) | {"rows": [list(row) for row in state.rows]})


def _resume(
    checkpoints: Checkpoints | None, phase: str, network: nn.Module, optimiser: torch.optim.Optimizer
) -> _State | None:
    """Put network and optimiser into the state of the checkpoint, where there is one."""
    snapshot = checkpoints.load(phase) if checkpoints else None
    if snapshot is None:
        return None
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in snapshot.tensors.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    network.load_state_dict(parts["network"])
    parameters = list(network.parameters())
    remembered: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts.get("optimiser", {}).items():
        number, _, rest = name.partition(".")
        # Laid out in memory as the parameter is: another layout may be added up in another order.
        like = parameters[int(number)]
        laid_out = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
        remembered.setdefault(int(number), {})[rest] = laid_out
    optimiser.load_state_dict(optimiser.state_dict() | {"state": remembered})
    return _State(**snapshot.notes | {"rows": [Row(*row) for row in snapshot.notes["rows"]]})


def _stalls(rows: Sequence[Row], patience: int) -> bool:
    """Whether neither score was better in the last checks than before them."""
    areas, scores = (
        [value for value in column if value is not None]
        for column in zip(*((row.held_out_roc_area, row.held_out_score) for row in rows), strict=True)
    )
    if len(scores) <= patience:
        return False
    gains = [max(values[-patience:]) - max(values[:-patience]) for values in (areas, scores)]
    return gains[0] <= _LEAST_AREA_GAIN and gains[1] <= _LEAST_GAIN


def scaled_still(annotation: Annotation, channels: int, scale: float) -> Still:
    """An annotated image as networks learn from it: normalised, at their scale, its cells numbered without gaps.

    Parameters
    ----------
    annotation : Annotation
    channels : int
        Channels that the network takes.
    scale : float
        Factor to enlarge the image by.
    """
    shape = scaled_shape(annotation.labels.shape, scale)
    image = resize_images(_normalised(annotation, channels, NORMALISATION)[None], shape)[0].numpy()
    return Still(image, resize_labels(_in_order(annotation.labels), shape))


def _in_order(labels: np.ndarray) -> np.ndarray:
    """Cells numbered 1 to n: ids may be as large as colours, and time goes with the largest."""
    numbers, inverse = np.unique(labels, return_inverse=True)
    order = np.where(numbers > 0, np.cumsum(numbers > 0), numbers)
    return order[inverse].reshape(labels.shape).astype(np.int32)


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


def annealed_rate(step: int, *, steps: int, learning_rate: float, settles_at: int | None = None) -> float:
    """Learning rate of one step, counted from 0: a short rise, then half a cosine down to 0.

    The rise takes a twentieth of the steps: RMSprop's first steps are large
    while it has seen few gradients. From `settles_at` on, where that is
    given, half a cosine takes the rate down to 0 within a tenth of the steps.
    """
    if settles_at is not None and step >= settles_at:
        from_rate = annealed_rate(settles_at, steps=steps, learning_rate=learning_rate)
        return from_rate * 0.5 * (1 + float(np.cos(np.pi * (step - settles_at) / _settling_steps(steps))))
    rise = max(1, steps // 20)
    if step < rise:
        return learning_rate * (step + 1) / (rise + 1)
    return learning_rate * 0.5 * (1 + float(np.cos(np.pi * (step - rise) / max(1, steps - rise))))


def _settling_steps(steps: int) -> int:
    """Steps in which the learning rate falls to 0 once a training has stalled: those between two checks."""
    return max(1, round(steps / CHECKS))


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
    donors: Sequence[Donor],
    steps: range,
    batch_crops: int,
    crop_px: int,
    augmentation: Mapping[str, Any],
    targets: Mapping[str, Any],
    seed: int,
    threads: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in order, made ahead by other threads; it does not matter which thread makes one and when."""

    def batch(step: int) -> tuple[Tensor, Tensor]:
        return make_batch(
            stills,
            donors,
            np.random.default_rng([seed, step]),
            batch_crops=batch_crops,
            crop_px=crop_px,
            augmentation=augmentation,
            targets=targets,
        )

    with ThreadPoolExecutor(max_workers=max(1, threads - 1)) as makers:
        ahead: list[Future] = [makers.submit(batch, step) for step in steps[: threads + 1]]
        for step in steps:
            made = ahead.pop(0).result()
            if step + threads + 1 < steps.stop:
                ahead.append(makers.submit(batch, step + threads + 1))
            yield made


def make_batch(
    stills: Sequence[Still],
    donors: Sequence[Donor],
    rng: np.random.Generator,
    *,
    batch_crops: int,
    crop_px: int,
    augmentation: Mapping[str, Any],
    targets: Mapping[str, Any],
) -> tuple[Tensor, Tensor]:
    """Sub-images as the network is shown them, and what it is to answer.

    Parameters
    ----------
    stills : sequence of Still
        From `scaled_still`.
    donors : sequence of Donor
        Cells to set beside others.
    rng : Generator
        Everything random comes from it.
    batch_crops, crop_px
        Number and side of the sub-images.
    augmentation, targets : mapping
        As for `augmentation.augment` and `targets.make_targets`.

    Returns
    -------
    images : Tensor of shape (batch_crops, channels, y, x)
    wanted : Tensor of shape (batch_crops, classes + 1, y, x)
        The last of axis 1 is the weight of a pixel.
    """

    def develop(image: np.ndarray) -> np.ndarray:
        return compress(torch.from_numpy(image), NORMALISATION).numpy()

    images, wanted = [], []
    for _ in range(batch_crops):
        still = stills[rng.integers(len(stills))]
        image, labels = augment(*still, crop_px=crop_px, rng=rng, donors=donors, develop=develop, **augmentation)
        images.append(image)
        wanted.append(make_targets(labels, **targets))
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(wanted))


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


def prepare_still(annotation: Annotation, channels: int, normalisation: Mapping[str, Any], scale: float) -> np.ndarray:
    """The image of an annotation as a network sees it.

    It is normalised by its own limits, one channel at a time, resized and
    compressed.

    Returns
    -------
    float32 array of shape (channels, y, x)
        Enlarged by `scale`.

    Raises
    ------
    ValueError
        If the image has another number of channels.
    """
    light = _normalised(annotation, channels, normalisation)[None]
    return compress(resize_images(light, scaled_shape(annotation.labels.shape, scale))[0], normalisation).numpy()


def _normalised(annotation: Annotation, channels: int, normalisation: Mapping[str, Any]) -> Tensor:
    image = annotation.image if annotation.image.ndim == 3 else annotation.image[None]
    if len(image) != channels:
        wanted = "one plane (y, x)" if channels == 1 else f"{channels} planes (channel, y, x)"
        raise ValueError(
            f"annotation {annotation.name}: image of shape {annotation.image.shape}; the model takes {wanted} "
            "(channels of the model in config.yaml)"
        )
    planes = [normalise(plane, normalisation_limits([plane], normalisation), normalisation) for plane in image]
    return torch.from_numpy(np.stack(planes))


def predict_still(
    network: nn.Module,
    image: np.ndarray,
    *,
    shape: tuple[int, int],
    device: torch.device,
    precision: torch.dtype,
) -> np.ndarray:
    """Probabilities of one image, as the pipeline stores them.

    Parameters
    ----------
    network : nn.Module
        On `device`, in evaluation mode.
    image : float32 array of shape (channels, y, x)
        From `prepare_still`.
    shape : (int, int)
        Rows and columns of the image as annotated.

    Returns
    -------
    uint8 array of shape (classes, *shape)
        255 is a probability of 1.
    """
    height, width = image.shape[1:]
    # mirrored up to the next multiple of the stride, also by more than the image's own size
    beyond = [(0, 0), *((0, -side % network.stride) for side in (height, width))]
    padded = np.pad(image, beyond, mode="symmetric")
    tensor = torch.from_numpy(padded)[None].to(device).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), _autocast(device, precision):
        probability = torch.sigmoid(network(tensor).float())[..., :height, :width]
        probability = resize_images(probability, shape)[0].clamp_(0, 1)
    return torch.round(255 * probability).to(torch.uint8).cpu().numpy()


def predict_stills(
    network: nn.Module, annotations: Sequence[Annotation], progress: Progress | None, settings: Mapping[str, Any]
) -> Iterator[np.ndarray]:
    """Probabilities of annotated images, one after another.

    Parameters
    ----------
    network : nn.Module
    annotations : sequence of Annotation
    progress : Progress or None
        Told of the time that each takes.
    settings : mapping
        Of a training: channels, scale, precision, seed and threads.

    Yields
    ------
    uint8 array of shape (classes, y, x)
        255 is a probability of 1.
    """
    device = next(network.parameters()).device
    precision = choose_precision(settings["precision"], device)
    for each in annotations:
        image = prepare_still(each, settings["channels"], NORMALISATION, settings["scale"])
        timed = progress.timed("predict", each.labels.size) if progress else nullcontext()
        # as many threads as in training: sums in another order could tip a pixel over
        with timed, reproducible(settings["seed"], settings["threads"]):
            probability = predict_still(network, image, shape=each.labels.shape, device=device, precision=precision)
        yield probability


def _autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16)
