"""Annotated stills from CYTOLAPSE_DATA: which a network learns from, and which judge it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import data as movies
import numpy as np
import tifffile

from cytolapse.annotations import Annotation


@dataclass(frozen=True)
class Judged:
    """A still to judge by.

    Attributes
    ----------
    still : Annotation
        With every cell drawn, but for those that lie wholly in the margin.
    margin_px : int
        Width of a strip along the border in which cells are not drawn.
    tracked : bool
        Whether a label is one cell through all stills of the task.
    partly : bool
        Whether only some cells are drawn: then they alone are judged.
    """

    still: Annotation
    margin_px: int = 0
    tracked: bool = True
    partly: bool = False


@dataclass(frozen=True)
class Stills:
    """What a task gives.

    Attributes
    ----------
    name : str
    load : callable
        Data folder -> annotations to learn from, stills to judge by. No still
        is in both, and none that judges stands beside one that teaches where
        there are enough to leave a stretch out.
    train : dict
        Settings of train, and the architecture.
    """

    name: str
    load: Callable[[Path], tuple[list[Annotation], list[Judged]]]
    train: dict[str, Any] = field(default_factory=dict)


def _movie_stills(
    name: str, train_frames: tuple[int, ...], apart: int, stretch: tuple[int, int] | None = None
) -> Callable[[Path], tuple[list[Annotation], list[Judged]]]:
    """Frames of one of the movies of `data.TASKS`.

    Those that judge lie `apart` frames or more from those that teach.
    """
    task = next(task for task in movies.TASKS if task.name == name)

    def load(data: Path) -> tuple[list[Annotation], list[Judged]]:
        masks = task.masks(data)
        first, last = stretch or (0, max(masks))
        far = [
            frame
            for frame in sorted(masks)
            if first <= frame <= last and min(abs(frame - each) for each in train_frames) >= apart
        ]
        train = [movies.still(task, data, frame, task.margin_px) for frame in train_frames]
        judged = [Judged(movies.still(task, data, frame, 0), task.margin_px) for frame in far]
        return train, judged + _drawn_by_people(task, data, far)

    return load


def _drawn_by_people(task: movies.Task, data: Path, frames: list[int]) -> list[Judged]:
    """The cells that people have drawn on the same frames, where they have."""
    drawn = movies.frames(data / task.folder / "01_GT/SEG", "man_seg")
    return [
        Judged(
            Annotation(
                f"human t{frame:03d}",
                movies.image_of(task, data, frame),
                tifffile.imread(drawn[frame]).astype(np.int32),
            ),
            partly=True,
        )
        for frame in frames
        if frame in drawn
    ]


def _simulated(data: Path) -> tuple[list[Annotation], list[Judged]]:
    """Fluo-N2DH-SIM+, of which all is drawn: each second of the frames that judge."""
    task = next(task for task in movies.TASKS if task.name == "sim")
    judged = [frame for frame in sorted(task.masks(data)) if task.judged(frame)]
    read = lambda frame: movies.still(task, data, frame, 0)  # noqa: E731 - one use
    return [read(frame) for frame in movies.SIM], [Judged(read(frame)) for frame in judged[::2]]


def _data_science_bowl(data: Path) -> tuple[list[Annotation], list[Judged]]:
    """DSB2018: of the images in the order of their ids each fifth judges."""
    from skimage.io import imread

    folder = data / "DSB2018-nuclei"
    stills = []
    for path in sorted((folder / "images").iterdir()):
        image = imread(path)
        image = image if image.ndim == 2 else image[..., :3].mean(-1).astype(np.uint8)
        stills.append(Annotation(path.stem, image, imread(folder / "masks" / path.name).astype(np.int32)))
    judged = [Judged(still, tracked=False) for still in stills[4::5]]
    return [still for number, still in enumerate(stills) if number % 5 != 4], judged


def _usiigaci(*judging: int) -> Callable[[Path], tuple[list[Annotation], list[Judged]]]:
    """Seven stills of T98G in phase contrast: three judge, four teach."""

    def load(data: Path) -> tuple[list[Annotation], list[Judged]]:
        folder = data / "Usiigaci-T98G-phase"
        teaching, judged = [], []
        for number, path in enumerate(sorted((folder / "images").glob("*.tif"))):
            labels = tifffile.imread(folder / "masks" / path.name).squeeze().astype(np.int32)
            still = Annotation(path.stem, tifffile.imread(path).squeeze(), labels)
            if number in judging:
                judged.append(Judged(still, tracked=False))
            else:
                teaching.append(still)
        return teaching, judged

    return load


def _yeast(data: Path) -> tuple[list[Annotation], list[Judged]]:
    """Ten frames of budding yeast: the first four teach, the last four judge."""
    folder = data / "yeastvision-yeast"
    phase, labels = tifffile.imread(folder / "phase.tif"), tifffile.imread(folder / "masks_tracked.tif")
    stills = [
        Annotation(f"t{n:03d}", image, mask.astype(np.int32))
        for n, (image, mask) in enumerate(zip(phase, labels, strict=True))
    ]
    return stills[:4], [Judged(still) for still in stills[6:]]


# Small cells of phase contrast learn as well in the small network, in half the time.
SMALL = movies.TRAINING["ecoli"]

TASKS = (
    Stills("gowt1", _movie_stills("gowt1", movies.GOWT1, apart=3)),
    Stills("hela", _movie_stills("hela", movies.HELA, apart=3)),
    # Twice as many frames that teach leave fewer between them.
    Stills("gowt1_15", _movie_stills("gowt1", movies.GOWT1_15, apart=2)),
    Stills("hela_15", _movie_stills("hela", movies.HELA_15, apart=2)),
    Stills("ecoli", _movie_stills("ecoli", movies.ECOLI, apart=5, stretch=(33, 59)), SMALL),
    Stills("sim", _simulated),
    Stills("dsb", _data_science_bowl, {"train": {"steps": 2000, "steps_held_out": 600}}),
    # Each of the seven is judged once at least. What teaches the first teaches the shipped model `phase`, too.
    Stills("usiigaci", _usiigaci(1, 3, 5)),
    Stills("usiigaci2", _usiigaci(0, 2, 4)),
    Stills("usiigaci3", _usiigaci(0, 3, 6)),
    Stills("yeast", _yeast, SMALL),
)
