"""Label images in which a cell keeps its number: that of its track.

The one place where labels and tracks come together as pixels: whatever shows
or exports tracked cells reads them here.
"""

import os

import numpy as np

from cytolapse.movies import StackReader
from cytolapse.repairs import repaired_labels
from cytolapse.tables import empty_table, read_table


class TrackedLabels:
    """The tracked labels of one movie, read one frame at a time; use it in a `with` block.

    Parameters
    ----------
    labels_path : path
        Stack of labels.
    tracks_path : path
        Table `tracks` of this movie.
    repairs_path : path or None
        Table `repairs` of this movie; None leaves all masks as segmented.

    Attributes
    ----------
    shape : tuple of int
        (t, y, x).
    tracks : DataFrame
        Table `tracks`, as int64, by track and there by frame.

    Raises
    ------
    ValueError
        If a track has a cell behind the last frame of the labels.
    """

    def __init__(
        self,
        labels_path: str | os.PathLike,
        tracks_path: str | os.PathLike,
        repairs_path: str | os.PathLike | None = None,
    ) -> None:
        self._labels_path, self._tracks_path = labels_path, tracks_path
        tracks = read_table("tracks", tracks_path).astype(np.int64)
        self.tracks = tracks.sort_values(["track", "frame"], ignore_index=True)
        self._by_frame = dict(tuple(tracks.groupby("frame")))
        repairs = empty_table("repairs") if repairs_path is None else read_table("repairs", repairs_path)
        self._repairs = dict(tuple(repairs.groupby("frame")))
        self._stack = StackReader(labels_path)
        self.shape = self._stack.shape
        beyond = [frame for frame in self._by_frame if frame >= self.shape[0]]
        if beyond:
            self.close()
            raise ValueError(
                f"{labels_path}: {self.shape[0]} frames, but {tracks_path} has cells in frame {min(beyond)}; link again"
            )

    def read(self, frame: int) -> np.ndarray:
        """The tracked labels of one frame.

        Returns
        -------
        int32 array of shape (y, x)
            Number of the track; 0 for background and for masks without a
            track. What was repaired is drawn so.

        Raises
        ------
        ValueError
            If a track has a cell that the labels do not hold, or there is no
            such frame.
        """
        labels = self._stack.read(frame)
        number = np.zeros(int(labels.max()) + 1, np.int32)
        if frame in self._by_frame:
            here = self._by_frame[frame]
            lost = sorted(set(here["label"]) - set(np.unique(labels).tolist()))
            if lost:
                raise ValueError(
                    f"{self._labels_path}: frame {frame} holds no label {lost[0]}, but {self._tracks_path} does; "
                    "link again"
                )
            number[here["label"].to_numpy()] = here["track"].to_numpy()
        tracked = number[labels]
        return repaired_labels(labels, tracked, self._repairs[frame]) if frame in self._repairs else tracked

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def __enter__(self) -> "TrackedLabels":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
