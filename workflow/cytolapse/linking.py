"""Rows of single frames -> tracks.

Cells are linked by trackpy in micrometres, stage drift removed. A cell is more
than a point: beside its centroid the square root of its ellipse's covariance
counts, so that a cell that lies across its neighbour is not taken for it. The
tracks made here know nothing of divisions: at one, the mother's number passes
to one of the daughters. `lineage` cuts them.
"""

import contextlib
import gc
import logging
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from cytolapse.foresight import NOTHING, Foresight, Onward, expected_steps, measure_company, measure_steadiness
from cytolapse.tables import empty_table, typed

logger = logging.getLogger(__name__)

POSITION_COLUMNS = ["y_aligned_um", "x_aligned_um"]
LINK_COLUMNS = [
    "frame",
    "label",
    *POSITION_COLUMNS,
    "area_um2",
    "major_axis_um",
    "minor_axis_um",
    "orientation_rad",
]

# Pairs of frames that the search range is measured on: more change nothing.
_SAMPLED_FRAMES = 60
# Places are foreseen where that moves them by this part of the search range: less changes no link.
_WORTH_FORESEEING = 0.1
# Better tracks show steadier cells: linked anew this often at most, and only where they show so much more.
_ROUNDS = 2
_STEADIER = 0.05


class Links(NamedTuple):
    """What linking found.

    Attributes
    ----------
    tracks : DataFrame
        The table `tracks`, not yet cut at divisions.
    search_range_um : float
        How far a cell was searched for from one frame to the next; 0 where
        there was nothing to link.
    solver : {'trackpy', 'assignment', 'none'}
        'assignment' where trackpy gave up on a crowded field, 'none' where
        there was nothing to link.
    foresight : Foresight
        What steps were expected to say of the next ones; `NOTHING` where
        nothing was foreseen.
    """

    tracks: pd.DataFrame
    search_range_um: float
    solver: str
    foresight: Foresight


def link_cells(
    objects: pd.DataFrame, *, search_range_um: float | None, memory_frames: int, shape_weight: float
) -> Links:
    """Give the cells of all frames the numbers of their tracks.

    The sum of squared distances between linked cells is made least, where
    leaving a cell alone costs the square of the search range [1]_. Where a
    crowded field defeats trackpy, the same sum is made least by an assignment
    solver. Where the tracks show that cells move steadily, and far enough to
    matter, they are linked anew from where each is expected: on by part of its
    last step (`measure_steadiness`), or of the last steps of those around it
    where it has made none (`measure_company`). Divisions are not known here.

    Parameters
    ----------
    objects : DataFrame
        Table `objects`; of it the columns LINK_COLUMNS are used. May be empty.
    search_range_um : float, optional
        How far a cell gets from one frame to the next, above 0, in
        micrometres; None measures it (`measure_search_range`).
    memory_frames : int
        Frames that a cell may be missing for without losing its track, 0 or
        more.
    shape_weight : float
        Weight of a change of size, elongation and direction against a
        movement, 0 or more; 1 is the distance between the ellipses, 0 uses
        centroids alone.

    Returns
    -------
    Links

    Raises
    ------
    ValueError
        If a column is missing, a position is null, or `search_range_um` is
        not above 0.

    References
    ----------
    .. [1] Crocker and Grier (1996), J. Colloid Interface Sci. 179, 298-310,
       as in trackpy, doi:10.5281/zenodo.4682814.
    """
    if search_range_um is not None and not search_range_um > 0:
        raise ValueError(f"search_range_um is {search_range_um} um; it must be above 0, or null to have it measured")
    points = _link_points(objects, shape_weight)
    if points.empty:
        return Links(empty_table("tracks"), 0.0, "none", NOTHING)
    coordinates = [column for column in points.columns if column not in ("frame", "label")]
    if search_range_um is None:
        search_range_um = measure_search_range(points["frame"].to_numpy(), points[coordinates].to_numpy())
        logger.info("search range measured as %.3g um", search_range_um)
    track, solver, foresight = np.arange(len(points)), "none", NOTHING
    if points["frame"].nunique() > 1:
        how = {"search_range_um": search_range_um, "memory_frames": memory_frames}
        track, solver = _link_points_by_trackpy(points, coordinates, **how, foresight=NOTHING)
        for _ in range(_ROUNDS):
            seen = points["frame"].to_numpy(), points[["y", "x"]].to_numpy(), track
            steadiness, step_um = measure_steadiness(*seen)
            worth = steadiness * step_um >= _WORTH_FORESEEING * search_range_um
            if not worth or steadiness < foresight.steadiness + _STEADIER:
                break
            foresight = Foresight(steadiness, measure_company(*seen))
            logger.info(
                "cells go on by %.2f of their last step, and by %.2f of their neighbours'; linked anew from where they "
                "are expected",
                *foresight,
            )
            track, solver = _link_points_by_trackpy(points, coordinates, **how, foresight=foresight)
    tracks = points[["frame", "label"]].assign(track=_numbered_by_start(points, track))
    return Links(typed("tracks", tracks), float(search_range_um), solver, foresight)


def _link_points(objects: pd.DataFrame, shape_weight: float) -> pd.DataFrame:
    """The columns to link on, in a frame of their own, sorted by frame and label.

    A view of the table links 50 times slower.
    """
    missing = [column for column in LINK_COLUMNS if column not in objects.columns]
    if missing:
        raise ValueError(
            f"objects has no column {', '.join(missing)}; its columns are {', '.join(map(str, objects.columns))}"
        )
    columns = {column: objects[column].to_numpy(np.float64, na_value=np.nan) for column in LINK_COLUMNS}
    for column in POSITION_COLUMNS:
        lost = int(np.isnan(columns[column]).sum())
        if lost:
            raise ValueError(
                f"objects, column {column}: {lost} of {len(objects)} rows are null; a cell without a position cannot "
                "be linked, run measure again"
            )
    points = {
        "frame": columns["frame"].astype(np.int64),
        "label": columns["label"].astype(np.int64),
        "y": columns["y_aligned_um"],
        "x": columns["x_aligned_um"],
    }
    if shape_weight > 0:
        points |= dict(zip(("yy", "xx", "yx"), shape_weight * _ellipse_roots(columns), strict=True))
    return pd.DataFrame(points).sort_values(["frame", "label"], ignore_index=True)


def _ellipse_roots(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Square roots of the covariances of the cells' ellipses, shape (3, n): yy, xx, yx, um.

    The Euclidean distance between two of them, together with that of the
    centroids, is the Wasserstein distance between the two ellipses where
    these have the same axes, and little above it elsewhere. Unlike the angle
    it has no jump at +-90 degrees and no noise for a round cell.
    """
    radius = np.sqrt(np.nan_to_num(columns["area_um2"]) / np.pi)
    long, short = (
        np.where(np.isnan(axis), 2 * radius, axis) / 4 for axis in (columns["major_axis_um"], columns["minor_axis_um"])
    )
    angle = np.nan_to_num(columns["orientation_rad"])
    cos, sin = np.cos(angle), np.sin(angle)
    # yx stands for two equal entries of the matrix
    return np.stack(
        [long * cos**2 + short * sin**2, long * sin**2 + short * cos**2, 2**0.5 * (long - short) * sin * cos]
    )


def measure_search_range(frame: np.ndarray, coordinates: np.ndarray) -> float:
    """How far to search for a cell in the next frame, from the cells themselves.

    Four times the distance that 19 of 20 cells stay within between frames,
    over pairs of cells that are each other's nearest, so that a cell that
    divides or jumps is found too; but no more than the median distance between
    neighbours, beyond which the next cell is as likely a guess, and no less
    than a third of it.

    Parameters
    ----------
    frame : int array of shape (n,)
        Frames, in ascending order.
    coordinates : array of shape (n, 2 or more)
        Positions, the first two of them y and x, in micrometres.

    Returns
    -------
    float
        In micrometres; 1 where there is nothing to measure on.
    """
    frames, first = np.unique(frame, return_index=True)
    by_frame = dict(zip(frames.tolist(), np.split(coordinates, first[1:]), strict=True))
    step = max(1, len(frames) // _SAMPLED_FRAMES)
    apart, moved = [], []
    for number in frames[::step].tolist():
        here = by_frame[number]
        if len(here) > 1:
            apart.append(cKDTree(here[:, :2]).query(here[:, :2], k=2)[0][:, 1])
        if number + 1 in by_frame:
            moved.append(_mutual_distances(here, by_frame[number + 1]))
    moved = np.concatenate(moved) if moved else np.empty(0)
    typical = 4 * np.quantile(moved, 0.95) if moved.size else 0.0
    if not apart:
        # one cell: whatever is found next is it
        return float(max(typical, np.ptp(coordinates[:, :2], axis=0).max(), 1.0))
    neighbour = float(np.median(np.concatenate(apart)))
    return float(np.clip(typical, neighbour / 3, neighbour)) or 1.0


def _mutual_distances(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Distances between the points of two frames that are each other's nearest."""
    distance, nearest = cKDTree(there).query(here)
    back = cKDTree(here).query(there)[1]
    return distance[back[nearest] == np.arange(len(here))]


def _link_points_by_trackpy(
    points: pd.DataFrame, coordinates: list[str], *, search_range_um: float, memory_frames: int, foresight: Foresight
) -> tuple[np.ndarray, str]:
    import trackpy

    trackpy.quiet()
    try:
        with _no_garbage_collected():
            linked = trackpy.link(
                points[["frame", *coordinates]].copy(),
                search_range=search_range_um,
                pos_columns=coordinates,
                memory=memory_frames,
                predictor=Onward(foresight) if foresight.steadiness > 0 else None,
                adaptive_stop=0.1 * search_range_um,
                adaptive_step=0.9,
            )
        # trackpy may hand the rows back in another order
        return linked["particle"].sort_index().to_numpy(), "trackpy"
    except trackpy.SubnetOversizeException as error:
        logger.warning(
            "trackpy gave up on a crowded field (%s); linked frame by frame with an assignment solver instead", error
        )
        track = _link_points_by_assignment(points, coordinates, search_range_um, memory_frames, foresight)
        return track, "assignment"


@contextlib.contextmanager
def _no_garbage_collected() -> Iterator[None]:
    """No search for cyclic garbage meanwhile.

    trackpy makes an object of every cell and no cycles: the search finds
    nothing, and takes half as long again as the linking.
    """
    searches = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searches:
            gc.enable()


def _link_points_by_assignment(
    points: pd.DataFrame, coordinates: list[str], search_range_um: float, memory_frames: int, foresight: Foresight
) -> np.ndarray:
    """Tracks by one assignment a frame, the same sum made least as by trackpy."""
    frame, position = points["frame"].to_numpy(), points[coordinates].to_numpy()
    frames, first = np.unique(frame, return_index=True)
    track = np.empty(len(points), np.int64)
    step = np.full((len(points), 2), np.nan)
    tracks = 0
    open_rows = np.empty(0, np.int64)
    for number, rows in zip(frames, np.split(np.arange(len(points)), first[1:]), strict=True):
        open_rows = open_rows[number - frame[open_rows] <= memory_frames + 1]
        expected = position[open_rows]
        onward = expected_steps(expected[:, :2], step[open_rows], foresight)
        expected[:, :2] += onward * (number - frame[open_rows])[:, None]
        before, after = _assign(expected, position[rows], search_range_um)
        one, other = open_rows[before], rows[after]
        step[other] = (position[other, :2] - position[one, :2]) / (number - frame[one])[:, None]
        track[rows] = -1
        track[other] = track[one]
        new = rows[track[rows] < 0]
        track[new] = tracks + np.arange(len(new))
        tracks += len(new)
        open_rows = np.concatenate([np.delete(open_rows, before), rows])
    return track


def _assign(here: np.ndarray, there: np.ndarray, search_range_um: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the points linked, within the range, each group of rivals by itself.

    A group is small even where the field is large, so that no matrix of all
    cells against all cells is made.
    """
    if not len(here) or not len(there):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    pairs = cKDTree(here).sparse_distance_matrix(cKDTree(there), search_range_um, output_type="ndarray")
    if not len(pairs):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    # Most cells have no rival: these need no solver.
    alone = (np.bincount(pairs["i"])[pairs["i"]] == 1) & (np.bincount(pairs["j"])[pairs["j"]] == 1)
    before, after = [pairs["i"][alone]], [pairs["j"][alone]]
    pairs = pairs[~alone]
    n = len(here)
    graph = coo_matrix((np.ones(len(pairs)), (pairs["i"], n + pairs["j"])), shape=(n + len(there),) * 2)
    group = connected_components(graph, directed=False)[1][pairs["i"]]
    order = np.argsort(group, kind="stable")
    for each in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        i, j, d = pairs["i"][each], pairs["j"][each], pairs["v"][each]
        rows, columns = np.unique(i), np.unique(j)
        # A pair costs its square less what leaving both alone costs, so that no worse pair is ever forced.
        cost = np.zeros((len(rows), len(columns)))
        cost[np.searchsorted(rows, i), np.searchsorted(columns, j)] = d**2 - search_range_um**2
        chosen_rows, chosen_columns = linear_sum_assignment(cost)
        linked = cost[chosen_rows, chosen_columns] < 0
        before.append(rows[chosen_rows[linked]])
        after.append(columns[chosen_columns[linked]])
    return np.concatenate(before), np.concatenate(after)


def _numbered_by_start(points: pd.DataFrame, track: np.ndarray) -> np.ndarray:
    """Track numbers from 1, by first frame and there by label; `points` is sorted so."""
    return pd.factorize(track)[0] + 1
