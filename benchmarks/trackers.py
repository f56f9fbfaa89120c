"""Who links the cells: Cytolapse as a user runs it, and beside it trackpy alone and LapTrack on the same labels."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import data as movies
import numpy as np
import pandas as pd
import tifffile
import yaml
from scipy.spatial import cKDTree
from sequences import Sequence

from cytolapse.exports import write_ctc
from cytolapse.tables import read_table, typed, write_table

# Frames that a cell may be missing for, of trackpy and LapTrack.
MEMORY_FRAMES = 2


class Tracked(NamedTuple):
    """Where one program's tracks of one movie lie; of a program that repairs nothing, repairs is None."""

    labels: Path
    tracks: Path
    lineage: Path
    repairs: Path | None
    ctc: Path


def lay_out(folder: Path, sequences: list[Sequence]) -> None:
    """Write config, sheet, links to the movies, and labels, as a user would have them."""
    columns = ["experiment", "movies", "segmenter", "labels", "segment_channel", "channels", "object", "division"]
    lines = ["\t".join([*columns, "pixel_size_um", "frame_interval_min"])]
    for sequence in sequences:
        movie = folder / "movies" / sequence.name / "movie"
        movie.mkdir(parents=True, exist_ok=True)
        for name, path in sequence.images.items():
            (movie / name).unlink(missing_ok=True)
            (movie / name).symlink_to(path)
        labels = folder / "labels" / sequence.name / "movie"
        labels.mkdir(parents=True, exist_ok=True)
        for frame, page in enumerate(sequence.labels()):
            _write_if_new(labels / f"t{frame:03d}.tif", page)
        row = sequence.row
        cells = [sequence.name, f"movies/{sequence.name}/*", "labels", f"labels/{sequence.name}/{{movie}}"]
        cells += [row[column] for column in (*columns[4:], "pixel_size_um", "interval")]
        lines.append("\t".join(map(str, cells)))
    (folder / "experiments.tsv").write_text("\n".join(lines) + "\n")
    (folder / "config.yaml").write_text(yaml.safe_dump({"experiments": "experiments.tsv"}))


def _write_if_new(path: Path, page: np.ndarray) -> None:
    if not path.exists() or not np.array_equal(tifffile.imread(path), page):
        tifffile.imwrite(path, page, compression="zlib")


def run_cytolapse(folder: Path, sequences: list[Sequence], cores: str) -> dict[str, Tracked]:
    """Import, measure and link every movie by Snakemake, as a user would; what is done stays."""
    found = {}
    for sequence in sequences:
        place = folder / "results" / sequence.name / "movie"
        tables = (place / f"{name}.parquet" for name in ("tracks", "lineage", "repairs"))
        found[sequence.name] = Tracked(place / "labels.tif", *tables, place / "ctc")
    targets = [str(tracked.ctc.relative_to(folder)) for tracked in found.values()]
    command = ["snakemake", *targets, "-s", str(movies.REPOSITORY / "Snakefile"), "--directory", str(folder)]
    command += ["--configfile", str(folder / "config.yaml"), "--cores", cores, "--quiet", "all"]
    subprocess.run(command, check=True)
    return found


def run_other(tracker: str, by: Tracked, folder: Path) -> Tracked:
    """Link the cells that Cytolapse measured by another program, and write the same files."""
    objects = read_table("objects", by.labels.with_name("objects.parquet"))
    place = folder / tracker / by.labels.parent.parent.name
    place.mkdir(parents=True, exist_ok=True)
    tracked = Tracked(by.labels, place / "tracks.parquet", place / "lineage.parquet", None, place / "ctc")
    track, parents = OTHERS[tracker](objects)
    tracks = objects[["frame", "label"]].assign(track=track)
    of_track = tracks.groupby("track")["frame"].agg(first_frame="min", last_frame="max").reset_index()
    parent = of_track["track"].map(parents)
    lineage = of_track.assign(
        parent=parent.astype("Int32"), start=np.where(parent.notna(), "division", "appeared"), end="lost"
    )
    write_table("tracks", typed("tracks", tracks), tracked.tracks)
    write_table("lineage", typed("lineage", lineage), tracked.lineage)
    write_ctc(*tracked)
    return tracked


def search_range_um(objects: pd.DataFrame) -> float:
    """The median distance to the nearest neighbour: beyond it another cell is the likelier guess."""
    apart = []
    for _, cells in objects.groupby("frame"):
        position = cells[["y_um", "x_um"]].to_numpy(float)
        if len(position) > 1:
            apart.append(cKDTree(position).query(position, k=2)[0][:, 1])
    return float(np.median(np.concatenate(apart)))


def link_by_trackpy(objects: pd.DataFrame) -> tuple[np.ndarray, dict[int, int]]:
    """Track of each row by trackpy with adaptive search, and no mothers: it knows none."""
    import trackpy

    trackpy.quiet()
    points = objects[["frame", "y_um", "x_um"]].astype(float).reset_index(drop=True)
    points["frame"] = points["frame"].astype(int)
    reach_um = search_range_um(objects)
    linked = trackpy.link(
        points,
        search_range=reach_um,
        pos_columns=["y_um", "x_um"],
        memory=MEMORY_FRAMES,
        adaptive_stop=0.1 * reach_um,
        adaptive_step=0.9,
    )
    return linked["particle"].sort_index().to_numpy() + 1, {}


def link_by_laptrack(objects: pd.DataFrame) -> tuple[np.ndarray, dict[int, int]]:
    """Track of each row and mother of each track by LapTrack with splitting."""
    from laptrack import LapTrack

    cutoff = search_range_um(objects) ** 2
    points = objects[["frame", "y_um", "x_um"]].astype(float).reset_index(drop=True)
    points["frame"] = points["frame"].astype(int)
    tracker = LapTrack(
        cutoff=cutoff,
        splitting_cutoff=cutoff,
        gap_closing_cutoff=cutoff,
        gap_closing_max_frame_count=MEMORY_FRAMES,
    )
    linked, splits, _ = tracker.predict_dataframe(points.assign(row=points.index), ["y_um", "x_um"], "frame")
    track = linked.set_index("row")["track_id"].sort_index().to_numpy() + 1
    mothers = (
        {} if splits.empty else dict(zip(splits["child_track_id"] + 1, splits["parent_track_id"] + 1, strict=True))
    )
    return track, mothers


OTHERS: dict[str, Callable[[pd.DataFrame], tuple[np.ndarray, dict[int, int]]]] = {
    "trackpy": link_by_trackpy,
    "laptrack": link_by_laptrack,
}


def crowd(cells: int, frames: int, seed: int) -> pd.DataFrame:
    """Table `objects` of a dish in which cells wander, grow and divide, and as many leave.

    Cells of 10 um lie 25 um apart on average, move by 1.5 um a frame, and
    divide every 40 frames.
    """
    rng = np.random.default_rng(seed)
    side_um, interval = 25.0 * cells**0.5, 40
    position = rng.uniform(0, side_um, (cells, 2))
    age = rng.integers(0, interval, cells)
    turn = rng.uniform(-np.pi / 2, np.pi / 2, cells)
    parts = []
    for frame in range(frames):
        area = 80.0 * 2 ** (age / interval)
        long = 1.3 * np.sqrt(4 * area / np.pi)
        parts.append(
            pd.DataFrame(
                {
                    "frame": frame,
                    "label": rng.permutation(len(position)) + 1,
                    "y_um": position[:, 0],
                    "x_um": position[:, 1],
                    "area_um2": area * rng.normal(1, 0.03, len(area)),
                    "major_axis_um": long,
                    "minor_axis_um": long / 1.69,
                    "orientation_rad": turn,
                    "intensity_au": 1000.0 * rng.normal(1, 0.05, len(area)),
                    "background_au": 200.0,
                }
            )
        )
        divides = age >= interval
        apart = 0.5 * 10.0 * np.column_stack([np.cos(turn[divides]), np.sin(turn[divides])])
        daughters = position[divides] + apart
        position[divides] -= apart
        age = np.where(divides, 0, age + 1)
        stays = np.ones(len(position), bool)
        stays[rng.choice(len(position), len(daughters), replace=False)] = False
        position = np.concatenate([position[stays], daughters])
        age = np.concatenate([age[stays], np.zeros(len(daughters), int)])
        turn = np.concatenate([turn[stays], turn[divides]]) + rng.normal(0, 0.05, len(age))
        position += rng.normal(0, 1.5 / 2**0.5, position.shape)
    objects = pd.concat(parts, ignore_index=True)
    for axis in "yx":
        objects[f"{axis}_aligned_um"] = objects[f"{axis}_um"]
        objects[f"{axis}_px"] = 2 * objects[f"{axis}_um"]
    shape = {
        "area_px": (4 * objects["area_um2"]).astype(int),
        "perimeter_um": 3.3 * objects["area_um2"] ** 0.5 * 1.1,
        "length_um": objects["major_axis_um"],
        "width_um": objects["minor_axis_um"],
        "eccentricity": (1 - 1 / 1.69**2) ** 0.5,
        "solidity": 0.97,
        "flag_border": (objects[["y_um", "x_um"]].min(axis=1) < 0) | (objects[["y_um", "x_um"]].max(axis=1) > side_um),
    }
    return typed("objects", objects.assign(**shape).sort_values(["frame", "label"], ignore_index=True))


def speeds(folder: Path, cells: int, frames: int, rounds: int) -> dict[str, float]:
    """Cells linked a second of processor time on a synthetic crowd, the best of some rounds; LapTrack once.

    Cytolapse's is the whole stage, divisions, reading and writing included;
    of the others the linking alone is timed. Run with one thread.
    """
    from cytolapse.lineage import link_movie
    from planning.settings import read_settings

    folder.mkdir(parents=True, exist_ok=True)
    settings = read_settings({})["link"]

    def by_cytolapse(objects: pd.DataFrame, number: int) -> float:
        info = {"status": "ok", "frames": number, "path": "crowd"}
        (folder / "movie.json").write_text(json.dumps(info))
        write_table("objects", objects, folder / "objects.parquet")
        start = time.process_time()
        link_movie(
            folder / "movie.json",
            *(folder / f"{table}.parquet" for table in ("objects", "tracks", "lineage", "repairs")),
            **settings,
            frame_interval_min=5,
            division="fission",
            provenance=None,
        )
        return time.process_time() - start

    def by_other(tracker: str) -> Callable[[pd.DataFrame, int], float]:
        def timed(objects: pd.DataFrame, number: int) -> float:
            start = time.process_time()
            OTHERS[tracker](objects)
            return time.process_time() - start

        return timed

    small, large = crowd(30, 10, 0), crowd(cells, frames, 0)
    trackers = {"cytolapse": by_cytolapse, **{tracker: by_other(tracker) for tracker in OTHERS}}
    best = {}
    for tracker, timed in trackers.items():
        timed(small, 10)  # imports, and what numba compiles
        best[tracker] = min(timed(large, frames) for _ in range(1 if tracker == "laptrack" else rounds))
    return {tracker: len(large) / seconds for tracker, seconds in best.items()}
