"""Tracked masks as a stack of their own and in the format of the Cell Tracking Challenge."""

import json
import os
from collections.abc import Mapping, Sequence, Set
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
_TOO_MANY = f"the format of the Cell Tracking Challenge has {MOST_NUMBERS} at most; split the movie by time or crop it"


def write_tracked(
    movie_json: str | os.PathLike,
    labels_path: str | os.PathLike,
    tracks_path: str | os.PathLike,
    repairs_path: str | os.PathLike | None,
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
    repairs_path : path or None
        Table of this movie; None leaves all masks as segmented.
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
    with TrackedLabels(labels_path, tracks_path, repairs_path) as tracked:
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
    repairs_path: str | os.PathLike | None,
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
    repairs_path : path or None
        Table of this movie; None leaves all masks as segmented.
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
    lineage = read_table("lineage", lineage_path)
    with TrackedLabels(labels_path, tracks_path, repairs_path) as tracked:
        highest = _highest(tracked.tracks["track"])
        if highest > MOST_NUMBERS:
            raise ValueError(f"{tracks_path}: tracks are numbered up to {highest}; {_TOO_MANY}")
        chains = Chains(_parents(lineage), _births(lineage), highest + 1)
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("mask*.tif"):
            stale.unlink()
        digits = max(3, len(str(tracked.shape[0] - 1)))
        for frame in range(tracked.shape[0]):
            with atomic_path(folder / f"mask{frame:0{digits}d}.tif") as temporary:
                tifffile.imwrite(temporary, chains.renumber(tracked.read(frame), frame), compression="deflate")
    with atomic_path(folder / "res_track.txt") as temporary:
        temporary.write_text(chains.text(), encoding="ascii")


def _highest(numbers: pd.Series) -> int:
    return int(numbers.max()) if len(numbers) else 0


def _parents(lineage: pd.DataFrame) -> dict[int, int]:
    born = lineage.dropna(subset=["parent"])
    return dict(zip(born["track"].tolist(), born["parent"].tolist(), strict=True))


def _births(lineage: pd.DataFrame) -> set[tuple[int, int]]:
    born = lineage.dropna(subset=["parent"])
    return set(zip(born["parent"].tolist(), born["first_frame"].tolist(), strict=True))


class Chains:
    """Numbers for tracks, frame by frame, each without gaps and without daughters on the way.

    Parameters
    ----------
    parents : mapping of int to int
        Track -> mother, of those that have one. A mother that was not seen is
        passed over for her own.
    births : set of (int, int)
        Mother and frame in which a daughter begins: a mother that is seen
        there herself goes on under another number.
    spare : int
        Lowest number that no track has.
    """

    def __init__(self, parents: Mapping[int, int], births: Set[tuple[int, int]], spare: int) -> None:
        self._parents, self._births, self._spare = parents, births, spare
        self._number: dict[int, int] = {}  # of each track now
        self._lines: dict[int, list[int]] = {}  # number -> first frame, last frame, parent

    def renumber(self, mask: np.ndarray, frame: int) -> np.ndarray:
        """The next frame under the numbers.

        Parameters
        ----------
        mask : int array of shape (y, x)
            Tracks.
        frame : int
            One more than in the call before.

        Returns
        -------
        uint16 array of shape (y, x)

        Raises
        ------
        ValueError
            If 16 bits do not hold the numbers.
        """
        present = np.flatnonzero(np.bincount(mask.ravel())[1:]) + 1
        number = np.zeros(int(mask.max()) + 1, np.uint16)
        # The new ones first: their mothers must not have gone on to this frame.
        for track in sorted(present.tolist(), key=lambda track: track in self._number):
            number[track] = self._number_in(track, frame)
        return number[mask]

    def _number_in(self, track: int, frame: int) -> int:
        before = self._number.get(track)
        if before is None:
            self._number[track] = track
            self._lines[track] = [frame, frame, self._seen_mother(track)]
        elif self._lines[before][1] < frame - 1 or (track, frame) in self._births:
            if self._spare > MOST_NUMBERS:
                raise ValueError(f"frame {frame}: tracks, cut at gaps and buds, need more numbers; {_TOO_MANY}")
            self._number[track] = self._spare
            self._lines[self._spare] = [frame, frame, before]
            self._spare += 1
        self._lines[self._number[track]][1] = frame
        return self._number[track]

    def _seen_mother(self, track: int) -> int:
        mother = self._parents.get(track, 0)
        while mother and mother not in self._number:
            mother = self._parents.get(mother, 0)
        return self._number[mother] if mother else 0

    def text(self) -> str:
        """The lines of res_track.txt."""
        return "".join(f"{number} {' '.join(map(str, line))}\n" for number, line in sorted(self._lines.items()))


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
