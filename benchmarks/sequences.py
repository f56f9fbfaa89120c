"""Movies with the labels to track and the truth of who is who, for benchmarks/tracking.py.

Labels come from the truth itself, with the numbers of each frame shuffled, or
from a finished run of benchmarks/accuracy.py. Either way the pipeline takes
them as label images of the user's own, so that its present code measures and
links them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import data as movies
import numpy as np
import tifffile
from accuracy import supersegger_as_challenge
from scores import read_tracks

from cytolapse.exports import Chains

# As `read_tracks` gives them.
Tracks = dict[int, tuple[int, int, int]]


@dataclass(frozen=True)
class Sequence:
    """One movie to track.

    Attributes
    ----------
    name : str
        Experiment; own_... with labels of the pipeline, given_... with those of the truth.
    images : dict from str to Path
        Name of a file in the movie's folder -> where it is.
    labels : callable
        Labels to track, frame by frame.
    truth : Path
        Folder with TRA/man_trackTTT.tif and TRA/man_track.txt.
    row : dict
        Columns of experiments.tsv.
    families : bool
        Whether the truth knows mothers.
    complete : bool
        Whether every frame has markers.
    """

    name: str
    images: dict[str, Path]
    labels: Callable[[], Iterable[np.ndarray]]
    truth: Path
    row: dict = field(default_factory=dict)
    families: bool = True
    complete: bool = True


def given_gowt1(data: Path, folder: Path) -> Sequence:
    return _challenge("gowt1", data / "Fluo-N2DH-GOWT1")


def given_sim(data: Path, folder: Path) -> Sequence:
    return _challenge("sim", data / "Fluo-N2DH-SIM+")


def given_hela(data: Path, folder: Path) -> Sequence:
    """The outlines of the consensus, which carry the numbers of the tracks, on the frames that have them."""
    source = data / "Fluo-N2DL-HeLa"
    outlines = movies.frames(source / "01_ST/SEG", "man_seg")
    truth = folder / "truth/given_hela"
    tracks = read_tracks(source / "01_GT/TRA/man_track.txt")
    write_dense(truth / "TRA", map(tifffile.imread, outlines.values()), tracks, truth=True)
    images = movies.frames(source / "01", "t")
    named = {f"t{index:03d}.tif": images[frame] for index, frame in enumerate(outlines)}
    return Sequence("given_hela", named, lambda: shuffled(outlines.values()), truth, ROWS["hela"])


def given_ecoli(data: Path, folder: Path) -> Sequence:
    truth = supersegger_as_challenge(data, folder / "truth/ecoli")
    masks = movies.frames(truth / "TRA", "man_track")
    images = {f"{channel}.tif": data / f"SuperSegger-Ecoli/{channel}.tif" for channel in ("phase", "fluor1")}
    return Sequence("given_ecoli", images, lambda: shuffled(masks.values()), truth, ROWS["ecoli"])


def given_yeast(data: Path, folder: Path) -> Sequence:
    source = data / "yeastvision-yeast"
    masks = tifffile.imread(source / "masks_tracked.tif")
    truth = folder / "truth/given_yeast"
    seen = {int(cell): np.flatnonzero((masks == cell).any(axis=(1, 2))) for cell in np.unique(masks[masks > 0])}
    tracks = {cell: (int(frames[0]), int(frames[-1]), 0) for cell, frames in seen.items()}
    write_dense(truth / "TRA", masks, tracks, truth=True)
    files = movies.frames(truth / "TRA", "man_track")
    images = {"phase.tif": source / "phase.tif"}
    return Sequence("given_yeast", images, lambda: shuffled(files.values()), truth, ROWS["yeast"], families=False)


def own(task: str, data: Path, folder: Path, accuracy: Path) -> Sequence:
    """A movie with the labels that a run of benchmarks/accuracy.py found."""
    (labels,) = (accuracy / "results" / task).glob("*/labels.tif")
    known = {"gowt1": given_gowt1, "ecoli": given_ecoli, "sim": given_sim}
    if task in known:
        sequence = known[task](data, folder)
        images, truth = sequence.images, sequence.truth
    else:
        source = data / "Fluo-N2DL-HeLa"
        images, truth = {path.name: path for path in movies.frames(source / "01", "t").values()}, source / "01_GT"
    return Sequence(f"own_{task}", images, lambda: tifffile.imread(labels), truth, ROWS[task], complete=task != "hela")


GIVEN = {each.__name__: each for each in (given_sim, given_gowt1, given_hela, given_ecoli, given_yeast)}

ROWS = {task.name: {**task.row, "division": "fission"} for task in movies.TASKS}
# Neither pixel size nor interval is stated with the data: cells of 20 px are taken for 5 um.
ROWS["yeast"] = {
    **{"segment_channel": "phase", "channels": "phase", "object": "cell", "division": "budding"},
    **{"pixel_size_um": 0.25, "interval": 5},
}


def _challenge(task: str, source: Path) -> Sequence:
    masks = movies.frames(source / "01_GT/TRA", "man_track")
    images = {path.name: path for path in movies.frames(source / "01", "t").values()}
    return Sequence(f"given_{task}", images, lambda: shuffled(masks.values()), source / "01_GT", ROWS[task])


def shuffled(masks: Iterable[Path]) -> Iterable[np.ndarray]:
    """Label images in which a number says nothing of the other frames."""
    for frame, path in enumerate(masks):
        labels = tifffile.imread(path).squeeze()
        present, index = np.unique(labels, return_inverse=True)
        numbers = np.random.default_rng(frame).permutation(np.count_nonzero(present)) + 1
        yield np.concatenate([[0], numbers])[index.reshape(labels.shape)].astype(np.uint16)


def write_dense(folder: Path, masks: Iterable[np.ndarray], tracks: Tracks, *, truth: bool) -> None:
    """Write the masks of some frames as a sequence of their own, in which every track is without gaps.

    A track that none of the frames shows is left out, and its daughters are
    its mother's. One that misses in a frame between becomes a chain.

    Parameters
    ----------
    folder : Path
        To write man_trackTTT.tif and man_track.txt to, or maskTTT.tif and res_track.txt.
    masks : iterable of array
        Of each frame, with the numbers of `tracks`.
    tracks : Tracks
        Of all frames.
    truth : bool
        Which of the names to use.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, text = ("man_track", "man_track.txt") if truth else ("mask", "res_track.txt")
    chains = Chains({track: parent for track, (_, _, parent) in tracks.items()}, set(), max(tracks, default=0) + 1)
    for index, mask in enumerate(masks):
        page = chains.renumber(mask.squeeze(), index)
        tifffile.imwrite(folder / f"{name}{index:03d}.tif", page, compression="zlib")
    (folder / text).write_text(chains.text())
