"""What a training needs to go on after it was cut off: a file a phase, safetensors, never a pickle."""

import json
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cytolapse.files import atomic_path
from cytolapse.models import ENTRY, weights_digest

log = logging.getLogger(__name__)

EVERY_S = 300.0
"""Seconds between two checkpoints: what a machine that fails at once can cost."""

# SLURM sends SIGTERM some time (KillWait, 30 s) before it kills; Ctrl-C is SIGINT.
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TrainingInterrupted(Exception):
    """A training was told to end before it was done; it can go on from its checkpoint."""


class Snapshot(NamedTuple):
    """A phase of a training at one step: tensors by name, and notes that fit into JSON."""

    tensors: Mapping[str, Tensor]
    notes: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one training, outside its outputs, and the signals that end it early.

    As a context it takes SIGTERM and SIGINT: between steps either raises
    `TrainingInterrupted` at once; within `deferred` it makes the next
    checkpoint due, and is raised once that is written. A second signal does
    what it did before.

    Parameters
    ----------
    folder : path
        Holds PHASE.safetensors; made at the first checkpoint.
    key : str
        Digest of all that the training depends on. A checkpoint of another
        key is not used.
    every_s : float
        Seconds from one checkpoint to the next.
    """

    def __init__(self, folder: str | os.PathLike, key: str, *, every_s: float = EVERY_S):
        self.folder = Path(folder)
        self.key = key
        self.every_s = every_s
        self._saved_s = time.monotonic()
        self._told: signal.Signals | None = None
        self._waits = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Checkpoints":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._tell) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _tell(self, number: int, _frame: object) -> None:
        self._told = signal.Signals(number)
        self._give_back()
        if not self._waits:
            self.raise_if_told()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a signal waits for `raise_if_told` or for the end, so that no step is cut in two."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
        self.raise_if_told()

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._told is not None or time.monotonic() - self._saved_s >= self.every_s

    def raise_if_told(self) -> None:
        """End the training where a signal asked for it.

        Raises
        ------
        TrainingInterrupted
            Names the signal and the folder.
        """
        if self._told is not None:
            raise TrainingInterrupted(
                f"training interrupted by {self._told.name}; "
                + (
                    f"what was learned lies in {self.folder}: the same training, started again, goes on from there"
                    if any(self.folder.glob("*"))
                    else "there is no checkpoint yet: started again, it starts from the beginning"
                )
            )

    def save(self, phase: str, snapshot: Snapshot) -> None:
        """Write the checkpoint of a phase over the one before; a disk that is full costs no training."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in snapshot.tensors.items()}
        entry = {"key": self.key, "digest": weights_digest(tensors), "notes": dict(snapshot.notes)}
        path = self._path(phase)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                temporary.write_bytes(save(tensors, metadata={ENTRY: json.dumps(entry)}))
        except OSError as error:
            log.warning("no checkpoint could be written to %s (%s); the training goes on without", path, error)
        self._saved_s = time.monotonic()

    def load(self, phase: str) -> Snapshot | None:
        """The checkpoint of a phase; None where there is none that can be used, with the reason in the log."""
        path = self._path(phase)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                entry = json.loads((file.metadata() or {})[ENTRY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            if entry["key"] != self.key:
                log.info("checkpoint %s is not used: it is of other annotations, settings, code or arithmetic", path)
                return None
            if entry["digest"] != weights_digest(tensors):
                raise ValueError("its tensors are not those that were written")
            return Snapshot(tensors, entry["notes"])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            log.warning("checkpoint %s is not used: it is damaged (%s)", path, error)
            return None

    def remove(self) -> None:
        """Forget the training: it has ended well."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, phase: str) -> Path:
        return self.folder / f"{phase}.safetensors"
