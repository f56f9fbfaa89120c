"""Labelled frames -> labels.tif and the table `confidence`, whoever labelled them."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from cytolapse import movies
from cytolapse.movies import write_stack
from cytolapse.tables import empty_table, write_table

MOST_LABELS = np.iinfo(np.uint16).max


class LabelledFrame(NamedTuple):
    """The cells of one frame.

    Attributes
    ----------
    labels : int array of shape (y, x)
        0 is background; numbers may be left out.
    confidence : float array of shape (greatest label,), or None
        How sure each mask is, 0 to 1, of label 1 and on; None where the
        segmenter does not say.
    """

    labels: np.ndarray
    confidence: np.ndarray | None


def write_labels(
    labels_path: str | os.PathLike,
    confidence_path: str | os.PathLike,
    frames: Iterable[LabelledFrame],
    *,
    info: Mapping,
    shape: tuple[int, int, int],
    pixel_size_um: float | None,
    frame_interval_min: float | None,
    records: Mapping,
    remedy: str,
) -> int:
    """Write what a segmenter found in a movie, frame by frame.

    Parameters
    ----------
    labels_path : path
        Stack (t, y, x), uint16, to write.
    confidence_path : path
        Table `confidence` to write, a row a cell and frame.
    frames : iterable of LabelledFrame
        In order; each is used before the next is asked for.
    info : mapping
        Content of movie.json.
    shape : tuple of int
        (t, y, x) of the movie.
    pixel_size_um, frame_interval_min : float or None
        As stated in experiments.tsv; None takes the file's.
    records : mapping
        Of the stages up to this one, to be kept in both files.
    remedy : str
        What to do about too many cells, for the message.

    Returns
    -------
    int
        Cells of all frames.

    Raises
    ------
    ValueError
        If a frame holds more cells than 16 bits can number.
    """
    rows: list[pd.DataFrame] = []
    write_stack(
        labels_path,
        _pages(frames, rows, info["path"], remedy),
        shape=shape,
        dtype=np.uint16,
        pixel_size_um=movies.pixel_size_um(info, pixel_size_um),
        frame_interval_min=info["frame_interval_min"] if frame_interval_min is None else frame_interval_min,
        axes="TYX",
        description=records,
    )
    confidence = pd.concat(rows, ignore_index=True)
    write_table("confidence", confidence, confidence_path, metadata={"provenance": json.dumps(records)})
    return len(confidence)


def _pages(frames: Iterable[LabelledFrame], rows: list[pd.DataFrame], movie: str, remedy: str) -> Iterator[np.ndarray]:
    """Pages of labels.tif; what is known of each mask goes to `rows`."""
    for frame, (labels, confidence) in enumerate(frames):
        highest = int(labels.max())
        if highest > MOST_LABELS:
            raise ValueError(
                f"movie {movie}, frame {frame}: cells are numbered up to {highest}, labels.tif holds {MOST_LABELS}; "
                f"{remedy}"
            )
        present = np.flatnonzero(np.bincount(labels.ravel())[1:])
        known = np.nan if confidence is None else confidence[present]
        rows.append(pd.DataFrame({"frame": frame, "label": present + 1, "mask_confidence": known}))
        yield labels.astype(np.uint16)


def write_no_labels(labels_path: str | os.PathLike, confidence_path: str | os.PathLike, records: Mapping) -> None:
    """Write what a refused movie gives: one page of one pixel, and a table without rows."""
    write_stack(
        labels_path,
        [np.zeros((1, 1), np.uint16)],
        shape=(1, 1, 1),
        dtype=np.uint16,
        pixel_size_um=None,
        frame_interval_min=None,
        axes="TYX",
        description=records,
    )
    write_table("confidence", empty_table("confidence"), confidence_path, metadata={"provenance": json.dumps(records)})
