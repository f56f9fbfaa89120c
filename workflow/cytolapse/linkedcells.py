"""The cells of a movie as arrays, track by track: what merging and dividing are judged by."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

OBJECT_COLUMNS = [
    "frame",
    "label",
    "y_aligned_um",
    "x_aligned_um",
    "area_um2",
    "major_axis_um",
    "minor_axis_um",
    "orientation_rad",
    "intensity_au",
    "background_au",
    "flag_border",
]

# Of the cells around a round one, these many nearest may have to do with it; of those around a rod as many times
# more as it is longer than wide, since that many lie side by side nearer than the one at its end.
_NEIGHBOURS = 6


class Cells(NamedTuple):
    """The cells of a movie as arrays of shape (n,), by track, and there by frame.

    Attributes
    ----------
    frame, label, track : int arrays
        `track` counts from 0 without gaps.
    position_um : array of shape (n, 2)
        y and x, drift removed.
    area_um2, half_length_um : arrays
    ellipse_um : array of shape (n, 3)
        Half axes of the ellipse of the mask, long and short, and the angle from
        the y axis to the long one.
    mass_au_um2 : array
        Light above the background times area; NaN where it is not known.
    border : bool array
        The mask touches the edge of the frame.
    first, last : int arrays of shape (tracks,)
        Rows in which a track begins and ends.
    """

    frame: np.ndarray
    label: np.ndarray
    track: np.ndarray
    position_um: np.ndarray
    area_um2: np.ndarray
    half_length_um: np.ndarray
    ellipse_um: np.ndarray
    mass_au_um2: np.ndarray
    border: np.ndarray
    first: np.ndarray
    last: np.ndarray


def arrange_cells(objects: pd.DataFrame, tracks: pd.DataFrame) -> Cells:
    """The cells of a movie by track, as arrays.

    Parameters
    ----------
    objects : DataFrame
        Table `objects`; of it OBJECT_COLUMNS are used.
    tracks : DataFrame
        Table `tracks` of the same cells.

    Raises
    ------
    ValueError
        If a row of `tracks` has no row in `objects`.
    """
    table = tracks[["frame", "label", "track"]].merge(
        objects[OBJECT_COLUMNS], on=["frame", "label"], how="left", indicator=True
    )
    strangers = table[table["_merge"] != "both"]
    if len(strangers):
        frame, label = strangers[["frame", "label"]].iloc[0]
        raise ValueError(
            f"tracks: cell {label} of frame {frame} is not among the objects; link again after measuring again"
        )
    number = {column: table[column].to_numpy(np.float64, na_value=np.nan) for column in OBJECT_COLUMNS[2:-1]}
    area_um2 = number["area_um2"]
    radius_um = np.sqrt(area_um2 / np.pi)
    half_axes_um = [np.fmax(number[f"{axis}_axis_um"] / 2, radius_um / 10) for axis in ("major", "minor")]
    half_axes_um = [np.where(np.isnan(number["minor_axis_um"]), radius_um, half) for half in half_axes_um]
    cells = Cells(
        frame=table["frame"].to_numpy(np.int64),
        label=table["label"].to_numpy(np.int64),
        track=table["track"].to_numpy(np.int64),
        position_um=np.stack([number["y_aligned_um"], number["x_aligned_um"]], axis=1),
        area_um2=area_um2,
        half_length_um=np.fmax(number["major_axis_um"] / 2, radius_um),
        ellipse_um=np.stack([*half_axes_um, np.nan_to_num(number["orientation_rad"])], axis=1),
        mass_au_um2=(number["intensity_au"] - number["background_au"]) * area_um2,
        border=table["flag_border"].fillna(False).to_numpy(bool),
        first=np.empty(0, np.int64),
        last=np.empty(0, np.int64),
    )
    return with_tracks(cells, cells.track)


def with_tracks(cells: Cells, track: np.ndarray) -> Cells:
    """The same cells under other tracks.

    Parameters
    ----------
    cells : Cells
    track : int array of shape (n,)
        Number of each row's track; rows below 0 are left out.
    """
    rows = np.flatnonzero(track >= 0)
    rows = rows[np.lexsort((cells.frame[rows], track[rows]))]
    begins = np.diff(track[rows], prepend=-1) != 0
    first = np.flatnonzero(begins)
    sorted_rows = [values[rows] for values in cells[:-2]]
    sorted_rows[2] = np.cumsum(begins) - 1
    return Cells(*sorted_rows, first, np.append(first[1:], len(rows))[: len(first)] - 1)


def begins_track(cells: Cells) -> np.ndarray:
    """Whether a track begins in each row, shape (n,)."""
    begins = np.zeros(len(cells.frame), bool)
    begins[cells.first] = True
    return begins


def rows_near(
    cells: Cells, among: np.ndarray, frame: np.ndarray, place_um: np.ndarray, reach_um: float
) -> tuple[np.ndarray, np.ndarray]:
    """Places with the rows nearest to them in one frame each.

    Parameters
    ----------
    cells : Cells
    among : int array
        Rows to look among.
    frame : int array of shape (m,)
        Frame to look in, of each place.
    place_um : array of shape (m, 2)
        y and x.
    reach_um : float
        Farther rows are left out; above 0.

    Returns
    -------
    place, row : int arrays
        Pairs: index of the place, and a row near it; of round cells at most
        seven a place, as a cell at that place is its own nearest.
    """
    if not len(among) or not len(frame):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    # Time as a third axis, on which frames are out of each other's reach: one tree serves the movie.
    apart_um = 2 * reach_um
    tree = cKDTree(np.column_stack([cells.frame[among] * apart_um, cells.position_um[among]]))
    elongation = float(np.median(cells.ellipse_um[:, 0] / cells.ellipse_um[:, 1]))
    count = min(round(_NEIGHBOURS * elongation) + 1, len(among))
    distance, nearest = tree.query(
        np.column_stack([frame * apart_um, place_um]), k=np.arange(1, count + 1), distance_upper_bound=reach_um
    )
    place, column = np.nonzero(np.isfinite(distance))
    return place, among[nearest[place, column]]


def reach_um(cells: Cells, row: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """How far the ellipse of a mask reaches from its middle.

    Parameters
    ----------
    cells : Cells
    row : int array of shape (n,)
    towards : array of shape (n, 2)
        Unit vectors, y and x.
    """
    long_um, short_um, angle = cells.ellipse_um[row].T
    along = towards[:, 0] * np.cos(angle) + towards[:, 1] * np.sin(angle)
    across = towards[:, 1] * np.cos(angle) - towards[:, 0] * np.sin(angle)
    return long_um * short_um / np.hypot(short_um * along, long_um * across)


def typical_step_um(cells: Cells) -> float:
    """Median movement from one frame to the next; 0 where none was seen."""
    neighbours = _neighbours_in_time(cells)
    if not neighbours.any():
        return 0.0
    return float(np.median(np.linalg.norm(np.diff(cells.position_um, axis=0)[neighbours], axis=1)))


def typical_growth_sd(cells: Cells) -> float:
    """Robust standard deviation of d ln(area) from one frame to the next; 0 where none was seen."""
    neighbours = _neighbours_in_time(cells)
    if not neighbours.any():
        return 0.0
    change = np.diff(np.log(cells.area_um2))[neighbours]
    return 1.4826 * float(np.median(np.abs(change - np.median(change))))


def _neighbours_in_time(cells: Cells) -> np.ndarray:
    return (np.diff(cells.track) == 0) & (np.diff(cells.frame) == 1)
