"""How a track begins and how it ends."""

import numpy as np
import pandas as pd

from cytolapse.linkedcells import Cells

# A dying nucleus is smaller and brighter than it was: parts of its own medians. Its last frames say so.
_DEATH_AREA = 0.6
_DEATH_LIGHT = 1.3
_DEATH_FRAMES = 3


def starts(cells: Cells, first: np.ndarray, born: np.ndarray) -> np.ndarray:
    """Starts of tracks, as in the table `lineage`.

    Parameters
    ----------
    cells : Cells
    first : int array of shape (tracks,)
        Row in which each begins.
    born : bool array of shape (tracks,)
        Whether it has a mother.

    Returns
    -------
    str array of shape (tracks,)
        division: it has a mother. movie_start: it is there in the first frame.
        entered: it touches the edge of the frame. appeared: none of these.
    """
    return np.select(
        [born, cells.frame[first] == 0, cells.border[first]], ["division", "movie_start", "entered"], "appeared"
    )


def ends(
    cells: Cells, first: np.ndarray, last: np.ndarray, divided: np.ndarray, swallowed: np.ndarray, *, frames: int
) -> np.ndarray:
    """Ends of tracks, as in the table `lineage`.

    Parameters
    ----------
    cells : Cells
    first, last : int arrays of shape (tracks,)
        Rows in which each begins and ends, one track behind the other: all rows.
    divided, swallowed : bool arrays of shape (tracks,)
        Whether it divides, and whether it goes into another cell's mask and
        does not come out again.
    frames : int
        Frames of the movie.

    Returns
    -------
    str array of shape (tracks,)
        division: it divides. movie_end: it is there in the last frame. left:
        it touches the edge of the frame. merged: another cell's mask holds it
        too from there on. death: in one of its last three frames it is smaller
        than 0.6 of its median area before them and brighter than 1.3 of its
        median light per area above background; cells without light are not
        judged. lost: none of these.
    """
    return np.select(
        [divided, cells.frame[last] == frames - 1, cells.border[last], swallowed, _dies(cells, first, last)],
        ["division", "movie_end", "left", "merged", "death"],
        "lost",
    )


def _dies(cells: Cells, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Whether each track ends small and bright beside its own past, which must be longer than its end."""
    track = np.repeat(np.arange(len(first)), last - first + 1)
    late = np.arange(len(track)) > last[track] - _DEATH_FRAMES
    area, light = cells.area_um2, cells.mass_au_um2 / cells.area_um2
    of_past = pd.DataFrame({"area": area, "light": light})[~late].groupby(track[~late]).median()
    usual_area, usual_light = of_past.reindex(range(len(first))).to_numpy()[track].T
    dying = late & (area < _DEATH_AREA * usual_area) & (usual_light > 0) & (light > _DEATH_LIGHT * usual_light)
    return (np.bincount(track[dying], minlength=len(first)) > 0) & (last - first >= 2 * _DEATH_FRAMES)
