"""Tracked masks as a stack of their own and in the format of the Cell Tracking Challenge."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from cytolapse import movies
from cytolapse.files import atomic_path
from cytolapse.movies import write_stack
from cytolapse.tables import read_metadata, read_table
from cytolapse.trackedlabels import TrackedLabels

MOST_NUMBERS = np.iinfo(np.uint16).max


def write_tracked(
    movie_json: str | os.PathLike,
    labels_path: str | os.PathLike,
    tracks_path: str | os.PathLike,
    tracked_path: str | os.PathLike,
    *,
    pixel_size_um: float | None,
    frame_interval_min: float | None,
) -> None:
    """Write one movie's masks under the numbers of their tracks, as a stack that Fiji and napari open.

    Masks without a track are left out. One frame is in memory at a time.

    Parameters
    ----------
    movie_json : path
        What inspect found. A refused movie gives one page of one pixel.
    labels_path : path
        Stack of labels.
    tracks_path : path
        Table of this movie; the records of the stages before travel from it
        into the description of the stack.
    tracked_path : path
        Stack (t, y, x) to write, uint16, or uint32 where there are more than
        65535 tracks.
    pixel_size_um, frame_interval_min : float or None
        As stated in experiments.tsv; None takes the file's.

    Raises
    ------
    ValueError
        If a track has a cell that the labels do not hold.
    """
    info = json.loads(Path(movie_json).read_text())
    refused = info["status"] == "refused"
    records = json.loads(read_metadata(tracks_path).get("provenance", "null")) or {}
    interval_min = frame_interval_min if refused or frame_interval_min is not None else info["frame_interval_min"]
    with TrackedLabels(labels_path, tracks_path) as tracked:
        dtype = np.uint16 if _highest(tracked.tracks["track"]) <= MOST_NUMBERS else np.uint32
        write_stack(
            tracked_path,
            (tracked.read(frame).astype(dtype) for frame in range(tracked.shape[0])),
            shape=tracked.shape,
            dtype=dtype,
            pixel_size_um=None if refused else movies.pixel_size_um(info, pixel_size_um),
            frame_interval_min=interval_min,
            axes="TYX",
            description=records,
        )


def write_ctc(
    labels_path: str | os.PathLike,
    tracks_path: str | os.PathLike,
    lineage_path: str | os.PathLike,
    folder: str | os.PathLike,
) -> None:
    """Write one movie as a result of the Cell Tracking Challenge [1]_.

    maskTTT.tif holds the frame's cells under the numbers of their tracks, and
    res_track.txt a line `L B E P` a track: number, first frame, last frame,
    parent (0 for none). The format wants a mask in every frame from B to E, and
    nothing of a mother once she has daughters: a track with a gap becomes a
    chain of several, each the parent of the next, the first under the track's
    own number and the others under numbers above all tracks; and so does that
    of a budding mother, cut where a bud is seen first. Masks without a track
    are left out. One frame is in memory at a time.

    Parameters
    ----------
    labels_path : path
        Stack of labels.
    tracks_path, lineage_path : path
        Tables of this movie.
    folder : path
        To write to, made where it is missing. Masks and res_track.txt of an
        earlier export are replaced.

    Raises
    ------
    ValueError
        If there are more tracks than the format's 16 bits can number, or a
        track has a cell that the labels do not hold.

    References
    ----------
    .. [1] Ulman et al. (2017), Nature Methods 14, 1141-1152,
       doi:10.1038/nmeth.4473.
    """
    folder = Path(folder)
    with TrackedLabels(labels_path, tracks_path) as tracked:
        tracks, lines = _contiguous_tracks(tracked.tracks, read_table("lineage", lineage_path))
        highest = _highest(tracks["number"])
        if highest > MOST_NUMBERS:
            raise ValueError(
                f"{tracks_path}: {highest} tracks, cut at gaps and buds; the format of the Cell Tracking Challenge has "
                f"{MOST_NUMBERS} at most; split the movie by time or crop it"
            )
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("mask*.tif"):
            stale.unlink()
        by_frame = dict(tuple(tracks.groupby("frame")))
        digits = max(3, len(str(tracked.shape[0] - 1)))
        for frame in range(tracked.shape[0]):
            mask = tracked.read(frame)
            number = np.zeros(int(mask.max()) + 1, np.uint16)
            if frame in by_frame:
                number[by_frame[frame]["track"].to_numpy()] = by_frame[frame]["number"].to_numpy()
            with atomic_path(folder / f"mask{frame:0{digits}d}.tif") as temporary:
                tifffile.imwrite(temporary, number[mask], compression="deflate")
    with atomic_path(folder / "res_track.txt") as temporary:
        temporary.write_text("".join(f"{' '.join(map(str, line))}\n" for line in lines), encoding="ascii")


def _highest(numbers: pd.Series) -> int:
    return int(numbers.max()) if len(numbers) else 0


def _contiguous_tracks(
    tracks: pd.DataFrame, lineage: pd.DataFrame
) -> tuple[pd.DataFrame, list[tuple[int, int, int, int]]]:
    """Tracks without gaps and without daughters on the way, and the lines of res_track.txt.

    Returns frame, track and `number` of each cell.
    """
    if tracks.empty:
        return pd.DataFrame({"frame": [], "track": [], "number": []}), []
    frame, track = tracks["frame"].to_numpy(), tracks["track"].to_numpy()
    born = lineage.dropna(subset=["parent"])[["parent", "first_frame"]].astype(np.int64)
    births = set(born.itertuples(index=False, name=None))
    same_track = np.diff(track, prepend=0) == 0
    passes_birth = np.array([pair in births for pair in zip(track.tolist(), frame.tolist(), strict=True)])
    resumes = same_track & ((np.diff(frame, prepend=0) > 1) | passes_birth)
    part = np.cumsum(~same_track | resumes) - 1
    begins = np.flatnonzero(np.diff(part, prepend=-1))
    ends = np.append(begins[1:], len(tracks)) - 1
    number = track[begins].copy()
    later = resumes[begins]
    number[later] = number.max() + 1 + np.arange(later.sum())
    parts = pd.DataFrame({"track": track[begins], "number": number, "last_frame": frame[ends]})
    parts_of = dict(tuple(parts.groupby("track")))
    parent_of = dict(zip(lineage["track"].tolist(), lineage["parent"].tolist(), strict=True))
    lines = []
    for index, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        mother = parent_of.get(int(track[begin]))
        if later[index]:
            parent = int(number[index - 1])
        elif mother is None or pd.isna(mother):
            parent = 0
        else:
            before = parts_of[mother].query("last_frame < @frame[@begin]")
            if before.empty:
                raise ValueError(
                    f"lineage: track {track[begin]} begins in frame {frame[begin]}, its mother {mother} later; "
                    "link again"
                )
            parent = int(before["number"].iloc[-1])
        lines.append((int(number[index]), int(frame[begin]), int(frame[end]), parent))
    return tracks[["frame", "track"]].assign(number=number[part]), sorted(lines)


def list_exports(
    infos: Sequence[str | os.PathLike], exports: Sequence[str | os.PathLike], path: str | os.PathLike
) -> None:
    """Write a table of text on what was exported of the movies of an experiment.

    One row a movie: movie, status (done or refused), reason, and path, seen from the table's folder.

    Parameters
    ----------
    infos : sequence of path
        movie.json of each movie; its folder has the movie's name.
    exports : sequence of path
        What was exported of each.
    path : path
        To write, columns separated by tabs.
    """
    rows = []
    for movie_json, export in zip(infos, exports, strict=True):
        info = json.loads(Path(movie_json).read_text())
        refused = info["status"] == "refused"
        rows.append(
            {
                "movie": Path(movie_json).parent.name,
                "status": "refused" if refused else "done",
                "reason": info["reason"] if refused else "",
                "path": Path(os.path.relpath(export, Path(path).parent)).as_posix(),
            }
        )
    table = pd.DataFrame(rows, columns=["movie", "status", "reason", "path"])
    with atomic_path(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False)
