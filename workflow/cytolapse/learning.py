"""Annotated images -> a network that has learned them.

The length of a training is counted in steps and every random number comes
from its seed: on one machine, with the same number of threads, one seed gives
one network, bit by bit.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cytolapse.annotations import Annotation
from cytolapse.arithmetic import autocast, choose_precision, reproducible
from cytolapse.augmentation import augment
from cytolapse.cards import CLASSES
from cytolapse.checkpoints import Checkpoints, Snapshot
from cytolapse.crowding import Donor, cut_donors
from cytolapse.devices import choose_device
from cytolapse.models import NORMALISATION, compress, load_model
from cytolapse.networks import build_network
from cytolapse.progress import Progress, Row, Work
from cytolapse.stills import Still, scaled_still
from cytolapse.targets import make_targets, weighted_loss

log = logging.getLogger(__name__)

CHECKS = 10
"""How often a network is scored on images left out, in the course of its training."""

_LOG_ROWS = 200
# A score has improved where it is better than all before it by more than this: less is chance.
_LEAST_GAIN = 0.005
_LEAST_AREA_GAIN = 0.0005


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
    with autocast(device, precision):
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
