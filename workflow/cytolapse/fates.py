"""How a track begins and how it ends."""

import numpy as np

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
        Rows in which each begins and ends.
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
    dead = [_dies(cells, one, other) for one, other in zip(first.tolist(), last.tolist(), strict=True)]
    return np.select(
        [divided, cells.frame[last] == frames - 1, cells.border[last], swallowed, dead],
        ["division", "movie_end", "left", "merged", "death"],
        "lost",
    )


def _dies(cells: Cells, first: int, last: int) -> bool:
    if last - first < 2 * _DEATH_FRAMES:
        return False
    late = slice(last - _DEATH_FRAMES + 1, last + 1)
    early = slice(first, last - _DEATH_FRAMES + 1)
    light = cells.mass_au_um2[first : last + 1] / cells.area_um2[first : last + 1]
    usual = np.median(light[:-_DEATH_FRAMES])
    small = cells.area_um2[late] < _DEATH_AREA * np.median(cells.area_um2[early])
    return bool(usual > 0 and (small & (light[-_DEATH_FRAMES:] > _DEATH_LIGHT * usual)).any())
