"""Real movies from CYTOLAPSE_DATA as experiments, with the truth that is known of them.

Nothing of the data is part of the project: this module lays it out in a
working folder, as a user would, and names what each frame may be used for.
"""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
import yaml

from cytolapse.annotations import IGNORE, Annotation

REPOSITORY = Path(__file__).parents[1]


def data_folder() -> Path:
    """The folder with the real movies.

    Raises
    ------
    SystemExit
        If it is not there.
    """
    folder = Path(os.environ.get("CYTOLAPSE_DATA", REPOSITORY.parent / "shared/data"))
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no such folder; set CYTOLAPSE_DATA to the folder with the benchmark movies")
    return folder


def frames(folder: Path, prefix: str) -> dict[int, Path]:
    """Files PREFIX000.tif, ... by number."""
    return {int(re.search(r"(\d+)\.tif$", path.name)[1]): path for path in sorted(folder.glob(f"{prefix}*.tif"))}


@dataclass(frozen=True)
class Task:
    """One movie, the frames that its model learns from, and the frames that judge it.

    Attributes
    ----------
    name : str
        Experiment and model.
    folder : str
        Below CYTOLAPSE_DATA.
    train_frames : tuple of int
        The seven annotated frames.
    masks : callable
        Data folder -> {frame: label image} of the outlines to learn from.
    judged : callable
        Whether a frame is far enough from those to be judged on.
    row : dict
        Columns of experiments.tsv.
    margin_px : int
        Width of a strip along the border in which cells are not in the truth:
        the Cell Tracking Challenge draws those alone that reach out of it.
    consensus : bool
        Whether it learns from the consensus of other programs, while people drew what judges.
    """

    name: str
    folder: str
    train_frames: tuple[int, ...]
    masks: Callable[[Path], dict[int, np.ndarray | Path]]
    judged: Callable[[int], bool]
    row: dict
    margin_px: int = 0
    consensus: bool = False


def _silver(sequence: str) -> Callable[[Path], dict]:
    return lambda data: frames(data / sequence / "01_ST/SEG", "man_seg")


def _simulated(data: Path) -> dict[int, Path]:
    return frames(data / "Fluo-N2DH-SIM+/01_GT/SEG", "man_seg")


def _supersegger(data: Path) -> dict[int, np.ndarray]:
    return dict(enumerate(tifffile.imread(data / "SuperSegger-Ecoli/labels_tracked.tif")))


GOWT1 = (0, 12, 28, 41, 51, 64, 79)
HELA = (0, 19, 32, 46, 59, 77, 91)
# Fifteen of the frames with outlines, evenly spread.
GOWT1_15 = (0, 5, 12, 19, 26, 35, 39, 46, 50, 55, 62, 69, 76, 83, 91)
HELA_15 = (0, 9, 19, 23, 29, 34, 41, 46, 51, 59, 66, 73, 79, 86, 91)
# Seven frames of the first half; the second half, when the colony is five times as dense, judges.
ECOLI = (0, 5, 10, 15, 20, 25, 29)
# Seven of the first half, too; the last two fifths judge.
SIM = (0, 5, 10, 15, 20, 25, 30)

TASKS = (
    Task(
        "gowt1",
        "Fluo-N2DH-GOWT1",
        GOWT1,
        _silver("Fluo-N2DH-GOWT1"),
        lambda frame: frame not in GOWT1,
        {"segment_channel": "gfp", "channels": "gfp", "object": "nucleus", "pixel_size_um": 0.2405, "interval": 5},
        margin_px=50,
        consensus=True,
    ),
    Task(
        "hela",
        "Fluo-N2DL-HeLa",
        HELA,
        _silver("Fluo-N2DL-HeLa"),
        lambda frame: frame not in HELA,
        {"segment_channel": "h2b", "channels": "h2b", "object": "nucleus", "pixel_size_um": 0.645, "interval": 30},
        margin_px=25,
        consensus=True,
    ),
    Task(
        "ecoli",
        "SuperSegger-Ecoli",
        ECOLI,
        _supersegger,
        lambda frame: frame >= 33,
        {"segment_channel": "phase", "channels": "phase,fluor1", "object": "cell", "pixel_size_um": 0.1, "interval": 1},
    ),
    Task(
        "sim",
        "Fluo-N2DH-SIM+",
        SIM,
        _simulated,
        lambda frame: frame >= 40,
        {"segment_channel": "dna", "channels": "dna", "object": "nucleus", "pixel_size_um": 0.125, "interval": 29},
    ),
)

# What differs from the defaults of config.yaml, and why.
OVERRIDES = {
    # A rod's length says more of its growth than its area, and it has a volume.
    "ecoli": {"measure": {"volume_model": "rod"}, "analyse": {"size_quantity": "length"}},
}
# Small dark rods learn as well in the small network, in half the time.
TRAINING: dict[str, dict] = {"ecoli": {"architecture": "googlenet_unet_small", "train": {"learning_rate": 0.001}}}


def image_of(task: Task, data: Path, frame: int) -> np.ndarray:
    """The segmented channel of one frame."""
    if task.name == "ecoli":
        return tifffile.imread(data / task.folder / "phase.tif", key=frame)
    return tifffile.imread(frames(data / task.folder / "01", "t")[frame])


def prepare(folder: Path, tasks: tuple[Task, ...]) -> None:
    """Write config, sheet, annotations and links to the movies into `folder`."""
    data = data_folder().resolve()
    columns = ["experiment", "movies", "model", "segment_channel", "channels", "object", "pixel_size_um"]
    lines = ["\t".join([*columns, "frame_interval_min"])]
    models = {}
    for task in tasks:
        movie = _movie(folder, task, data)
        annotate(folder / "annotations" / task.name, task, data, task.train_frames)
        row = task.row
        cells = [task.name, movie, task.name, *(row[column] for column in columns[3:]), row["interval"]]
        lines.append("\t".join(map(str, cells)))
        models[task.name] = {
            "annotations": f"annotations/{task.name}",
            "pixel_size_um": row["pixel_size_um"],
            **TRAINING.get(task.name, {}),
        }
    (folder / "experiments.tsv").write_text("\n".join(lines) + "\n")
    config = {
        "experiments": "experiments.tsv",
        "models": models,
        "overrides": {task.name: OVERRIDES[task.name] for task in tasks if task.name in OVERRIDES},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def _movie(folder: Path, task: Task, data: Path) -> str:
    """The movie as the user would point to it."""
    if task.name != "ecoli":
        return str(data / task.folder / "01")
    links = folder / "movies/ecoli/colony"
    links.mkdir(parents=True, exist_ok=True)
    for channel in ("phase", "fluor1"):
        link = links / f"{channel}.tif"
        link.unlink(missing_ok=True)
        link.symlink_to(data / task.folder / f"{channel}.tif")
    return "movies/ecoli/*"


def annotate(folder: Path, task: Task, data: Path, chosen: tuple[int, ...]) -> None:
    """An annotations folder with some frames of a task."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for frame in chosen:
        name, image, labels = still(task, data, frame, task.margin_px)
        tifffile.imwrite(folder / f"images/{name}.tif", image, compression="zlib")
        tifffile.imwrite(folder / f"masks/{name}.tif", labels, compression="zlib")


def still(task: Task, data: Path, frame: int, margin_px: int) -> Annotation:
    """A frame with its outlines; in the margin only drawn cells count."""
    masks = task.masks(data)[frame]
    labels = masks if isinstance(masks, np.ndarray) else tifffile.imread(masks)
    labels = _margin_unjudged(labels.astype(np.int32), margin_px)
    return Annotation(f"t{frame:03d}", image_of(task, data, frame), labels)


def _margin_unjudged(labels: np.ndarray, margin_px: int) -> np.ndarray:
    """The strip along the border as `IGNORE` where no cell is drawn: there may be one."""
    if not margin_px:
        return labels
    inside = np.zeros(labels.shape, bool)
    inside[margin_px:-margin_px, margin_px:-margin_px] = True
    return np.where((labels == 0) & ~inside, IGNORE, labels).astype(labels.dtype)
