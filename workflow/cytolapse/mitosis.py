"""Sizes of nuclei along tracks -> frames in which they condense, or have not unfolded yet."""

import numpy as np
import pandas as pd

# Fewer divisions do not tell how far condensation reaches.
_LEAST_DIVISIONS = 8
_OF_MEDIAN = np.sqrt(np.pi / 2)  # standard error of a median over that of a mean
# It is over long before.
_MOST_FRAMES = 200


def mitotic_frames(
    size: np.ndarray, frame: np.ndarray, track: np.ndarray, lineage: pd.DataFrame, *, mitotic_errors: float
) -> np.ndarray:
    """Frames next to a division in which nuclei shrink or unfold faster than they grow.

    A nucleus condenses before it divides, and unfolds for hours afterwards:
    sizes that are far from any exponential. How long that takes, in frames, is
    a matter of the cells and of the interval, and is learned from all
    divisions of the movie together, before and after them apart: counted from
    the division on, as many frames as have a median change of ln(size) to the
    next one that differs from the usual change of the movie by more than
    chance would have it. Where there are fewer than eight divisions nothing
    is said.

    Parameters
    ----------
    size : array of shape (n,)
        Sizes of nuclei, NaN or 0 where they are not known; sorted by track and frame.
    frame, track : arrays of int of shape (n,)
    lineage : DataFrame
        Columns track, start and end of the table lineage.
    mitotic_errors : float
        Standard errors of a median change that it is unusual beyond.

    Returns
    -------
    array of bool of shape (n,)
    """
    n = len(size)
    flagged = np.zeros(n, bool)
    follows = (np.diff(track) == 0) & (np.diff(frame) == 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.where(follows, np.diff(np.log(size)), np.nan)
    known = change[np.isfinite(change)]
    if not len(known):
        return flagged
    usual = np.median(known)
    spread = 1.4826 * np.median(np.abs(known - usual))
    of_track = lineage.set_index("track")
    ends = pd.Series(frame).groupby(track)
    for event, since in (
        ("start", frame - ends.transform("min").to_numpy()),
        ("end", ends.transform("max").to_numpy() - frame),
    ):
        divides = (of_track[event].reindex(track) == "division").to_numpy()
        # the change from a frame to the next one away from the division
        away = np.append(change, np.nan) if event == "start" else np.append(np.nan, change)
        seen = divides & np.isfinite(away) & (since < _MOST_FRAMES)
        by_frame = pd.Series(away[seen]).groupby(since[seen]).agg(["median", "size"]).reindex(range(_MOST_FRAMES))
        se = _OF_MEDIAN * spread / np.sqrt(by_frame["size"])
        far = (by_frame["median"] - usual).abs() > mitotic_errors * se
        unusual = far & (by_frame["size"] >= _LEAST_DIVISIONS)
        flagged |= divides & (since < int(np.argmin(np.append(unusual.to_numpy(), False))))
    return flagged
