"""Tracked masks in the formats of others."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from cytolapse.files import atomic_path
from cytolapse.movies import StackReader
from cytolapse.tables import read_table


def write_ctc(
    labels_path: str | os.PathLike,
    tracks_path: str | os.PathLike,
    lineage_path: str | os.PathLike,
    folder: str | os.PathLike,
) -> None:
    """Write one movie as a result of the Cell Tracking Challenge [1]_.

    maskTTT.tif holds the frame's cells under the numbers of their tracks, and
    res_track.txt a line `L B E P` a track: number, first frame, last frame,
    parent (0 for none). The format wants a mask in every frame from B to E: a
    track with a gap becomes a chain of several, each the parent of the next,
    the first under the track's own number and the others under numbers above
    all tracks. Masks without a track are left out. One frame is in memory at
    a time.

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
    tracks, lines = _contiguous_tracks(read_table("tracks", tracks_path), read_table("lineage", lineage_path))
    highest = int(tracks["number"].max()) if len(tracks) else 0
    if highest > np.iinfo(np.uint16).max:
        raise ValueError(
            f"{tracks_path}: {highest} tracks, gaps cut; the format of the Cell Tracking Challenge has 65535 at most"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("mask*.tif"):
        stale.unlink()
    by_frame = dict(tuple(tracks.groupby("frame")))
    with StackReader(labels_path) as stack:
        frames = stack.shape[0]
        beyond = sorted(frame for frame in by_frame if frame >= frames)
        if beyond:
            raise ValueError(f"{labels_path}: {frames} frames, but {tracks_path} has cells in frame {beyond[0]}")
        digits = max(3, len(str(frames - 1)))
        for frame in range(frames):
            labels = stack.read(frame)
            number = np.zeros(int(labels.max()) + 1, np.uint16)
            if frame in by_frame:
                here = by_frame[frame]
                lost = sorted(set(here["label"]) - set(np.unique(labels).tolist()))
                if lost:
                    raise ValueError(
                        f"{labels_path}: frame {frame} holds no label {lost[0]}, but {tracks_path} does; link again"
                    )
                number[here["label"].to_numpy()] = here["number"].to_numpy()
            with atomic_path(folder / f"mask{frame:0{digits}d}.tif") as temporary:
                tifffile.imwrite(temporary, number[labels], compression="deflate")
    with atomic_path(folder / "res_track.txt") as temporary:
        temporary.write_text("".join(f"{' '.join(map(str, line))}\n" for line in lines), encoding="ascii")


def _contiguous_tracks(
    tracks: pd.DataFrame, lineage: pd.DataFrame
) -> tuple[pd.DataFrame, list[tuple[int, int, int, int]]]:
    """Tracks without gaps: frame, label and `number` of each cell, and the lines of res_track.txt."""
    if tracks.empty:
        return pd.DataFrame({"frame": [], "label": [], "number": []}), []
    tracks = tracks.astype(np.int64).sort_values(["track", "frame"], ignore_index=True)
    same_track = tracks["track"].diff() == 0
    resumes = same_track & (tracks["frame"].diff() > 1)
    part = (~same_track | resumes).cumsum().to_numpy() - 1
    begins = np.flatnonzero(np.diff(part, prepend=-1))
    ends = np.append(begins[1:], len(tracks)) - 1
    number = tracks["track"].to_numpy()[begins]
    later = resumes.to_numpy()[begins]
    number[later] = number.max() + 1 + np.arange(later.sum())
    # Children hang on the last part of their mother's track.
    last_part = dict(zip(tracks["track"].to_numpy()[begins].tolist(), number.tolist(), strict=True))
    parent_of = dict(zip(lineage["track"].tolist(), lineage["parent"].tolist(), strict=True))
    frame, track = tracks["frame"].to_numpy(), tracks["track"].to_numpy()
    lines = []
    for index, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        if later[index]:
            parent = int(number[index - 1])
        else:
            mother = parent_of.get(int(track[begin]))
            parent = 0 if mother is None or pd.isna(mother) else last_part[int(mother)]
        lines.append((int(number[index]), int(frame[begin]), int(frame[end]), parent))
    return tracks[["frame", "label"]].assign(number=number[part]), sorted(lines)
