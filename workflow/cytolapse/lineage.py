"""Divisions: who is whose daughter.

A division is looked for wherever a track begins: beside it must be the sister,
which either carries the mother's number on or begins a track too, and between
them, just before, the mother. The better the three agree in place and size, the
higher the score. Tracks are then cut, so that one track is one cell between two
divisions.
"""

import json
import logging
import os
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from cytolapse.linking import link_cells
from cytolapse.tables import empty_table, read_metadata, read_table, typed, write_table

logger = logging.getLogger(__name__)

OBJECT_COLUMNS = ["frame", "label", "y_aligned_um", "x_aligned_um", "area_um2", "major_axis_um", "flag_border"]

# Of the cells around a newborn, these many nearest may be its sister, or its mother.
_NEIGHBOURS = 6
# Sisters lie within this many typical cell lengths of each other.
_REACH_LENGTHS = 3.0
# Scores are exp(-sum(z**2) / (2 * _TERMS)): one term at one standard deviation costs 12 %.
_TERMS = 4


class Cells(NamedTuple):
    """The cells of a movie as arrays of shape (n,), by track, and there by frame.

    Attributes
    ----------
    frame, label, track : int arrays
        `track` counts from 0 without gaps.
    position_um : array of shape (n, 2)
        y and x, drift removed.
    area_um2, half_length_um : arrays
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
    border: np.ndarray
    first: np.ndarray
    last: np.ndarray


class Divisions(NamedTuple):
    """Divisions as rows of `Cells`, arrays of shape (n,).

    Attributes
    ----------
    mother : int array
        The mother's last row before the division.
    sister : int array
        In fission the first row of the daughter that carries the mother's
        number on, or of one that begins a track; in budding the mother's first
        row beside the bud.
    newborn : int array
        The first row of the daughter that begins a track; in budding the bud.
    score : array
        0 to 1.
    """

    mother: np.ndarray
    sister: np.ndarray
    newborn: np.ndarray
    score: np.ndarray


def link_movie(
    movie_json: str | os.PathLike,
    objects_path: str | os.PathLike,
    tracks_path: str | os.PathLike,
    lineage_path: str | os.PathLike,
    *,
    frame_interval_min: float | None,
    division: str,
    search_range_um: float | None,
    memory_frames: int,
    shape_weight: float,
    division_window_frames: int,
    min_daughter_frames: int,
    min_division_score: float,
    provenance: dict | None,
) -> None:
    """Write the tracks of one movie, cut at divisions, and their lineage.

    Parameters
    ----------
    movie_json : path
        What inspect says of the movie; a refused one gets empty tables.
    objects_path : path
        Table `objects`.
    tracks_path, lineage_path : path
        Tables to write.
    frame_interval_min : float, optional
        Time between frames, above 0; noted with the tables. All else here
        counts in frames.
    division : {'fission', 'budding'}
        How the cells divide (`find_divisions`).
    search_range_um, memory_frames, shape_weight
        As in `cytolapse.linking.link_cells`.
    division_window_frames, min_daughter_frames, min_division_score
        As in `find_divisions`.
    provenance : dict, optional
        Record of this stage; written, behind those of the stages before it,
        into the metadata of both tables.

    Raises
    ------
    ValueError
        If `division` is neither, or the objects cannot be linked.
    """
    with open(movie_json, encoding="utf-8") as file:
        movie = json.load(file)
    before = read_metadata(objects_path)
    facts = {"search_range_um": None, "solver": "none", "frame_interval_min": frame_interval_min}
    if movie["status"] == "refused":
        tracks, lineage = empty_table("tracks"), empty_table("lineage")
    else:
        objects = read_table("objects", objects_path)
        links = link_cells(
            objects, search_range_um=search_range_um, memory_frames=memory_frames, shape_weight=shape_weight
        )
        facts |= {"search_range_um": links.search_range_um, "solver": links.solver}
        cells = arrange_cells(objects, links.tracks)
        divisions = find_divisions(
            cells,
            frames=movie["frames"],
            division=division,
            division_window_frames=division_window_frames,
            min_daughter_frames=min_daughter_frames,
            min_division_score=min_division_score,
        )
        tracks, lineage = cut_tracks(cells, divisions, frames=movie["frames"], division=division)
        logger.info("%d cells in %d tracks, %d divisions", len(tracks), len(lineage), len(divisions.mother))
    metadata = {"provenance": json.dumps(_provenance(before, provenance, facts))}
    if "object" in before:
        metadata["object"] = before["object"]
    write_table("tracks", tracks, tracks_path, metadata=metadata)
    write_table("lineage", lineage, lineage_path, metadata=metadata)


def _provenance(before: dict[str, str], record: dict | None, facts: dict) -> dict:
    chain = json.loads(before.get("provenance", "null")) or {}
    return {**chain, "link": {**(record or {}), **facts}}


def arrange_cells(objects: pd.DataFrame, tracks: pd.DataFrame) -> Cells:
    """What divisions are judged by, as arrays.

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
    table = tracks.merge(objects[OBJECT_COLUMNS], on=["frame", "label"], how="left", indicator=True)
    strangers = table[table["_merge"] != "both"]
    if len(strangers):
        frame, label = strangers[["frame", "label"]].iloc[0]
        raise ValueError(
            f"tracks: cell {label} of frame {frame} is not among the objects; link again after measuring again"
        )
    table = table.sort_values(["track", "frame"], ignore_index=True)
    track = pd.factorize(table["track"])[0]
    first = np.flatnonzero(np.diff(track, prepend=-1))
    area_um2 = table["area_um2"].to_numpy(np.float64)
    radius_um = np.sqrt(area_um2 / np.pi)
    return Cells(
        frame=table["frame"].to_numpy(np.int64),
        label=table["label"].to_numpy(np.int64),
        track=track,
        position_um=table[["y_aligned_um", "x_aligned_um"]].to_numpy(np.float64),
        area_um2=area_um2,
        half_length_um=np.fmax(table["major_axis_um"].to_numpy(np.float64, na_value=np.nan) / 2, radius_um),
        border=table["flag_border"].fillna(False).to_numpy(bool),
        first=first,
        last=np.append(first[1:], len(track))[: len(first)] - 1,
    )


def find_divisions(
    cells: Cells,
    *,
    frames: int,
    division: str,
    division_window_frames: int,
    min_daughter_frames: int,
    min_division_score: float,
) -> Divisions:
    """The divisions that raw tracks hold.

    Every track that begins after the first frame may be a daughter. Of all
    mothers and sisters around it, the best scores win, one at a time; a cell
    is born once and divides once.

    Fission: both daughters lie about the mother's last place; together they
    are as large as she was within her last three frames; they are like in
    size, no larger than most cells, near each other, but not so near as the
    halves of one round mask would be. Budding: a small cell appears at the
    rim of one that stays.

    Every term is a deviation in units of what is usual (`_fission_deviations`,
    `_budding_deviations`), and the score is exp(-sum of squares / 8). It is a
    ranking and not a probability. Neither brightness nor texture nor
    the mother's shape in mitosis is used.

    Parameters
    ----------
    cells : Cells
    frames : int
        Frames of the movie.
    division : {'fission', 'budding'}
    division_window_frames : int
        Frames within which mother and both daughters must be seen, 1 or more;
        1 wants both daughters in the frame after the mother's last. Each
        frame beyond that halves the score. Budding ignores it.
    min_daughter_frames : int
        Frames that a daughter must be followed for, 1 or more, unless the
        movie ends; also the least number of frames between two divisions.
    min_division_score : float
        Score from which a division is believed, 0 to 1.

    Returns
    -------
    Divisions

    Raises
    ------
    ValueError
        If `division` is neither.
    """
    if division not in ("fission", "budding"):
        raise ValueError(f"division is {division!r}; it must be 'fission' or 'budding' (column division of the sheet)")
    window_frames = division_window_frames if division == "fission" else 1
    mother, sister, newborn = _candidates(
        cells,
        frames=frames,
        window_frames=window_frames,
        min_daughter_frames=min_daughter_frames,
        mother_may_end=division == "fission",
    )
    deviations = _fission_deviations if division == "fission" else _budding_deviations
    score = np.exp(-deviations(cells, mother, sister, newborn) / (2 * _TERMS))
    all_divisions = Divisions(mother, sister, newborn, score)
    return choose_divisions(
        cells, all_divisions, min_daughter_frames=min_daughter_frames, min_division_score=min_division_score
    )


def _candidates(
    cells: Cells, *, frames: int, window_frames: int, min_daughter_frames: int, mother_may_end: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of all mothers, sisters and newborns close enough to be worth a score."""
    nothing = np.empty(0, np.int64)
    if not len(cells.frame):
        return nothing, nothing, nothing
    # Frames left to the track from each row on, and whether these are enough for a daughter.
    track_end = cells.frame[cells.last][cells.track]
    lives = (track_end - cells.frame + 1 >= min_daughter_frames) | (track_end >= frames - 1)
    begins = np.zeros(len(cells.frame), bool)
    begins[cells.first] = True
    reach_um = _REACH_LENGTHS * 2 * float(np.median(cells.half_length_um))
    by_frame = _rows_by_frame(cells.frame, np.arange(len(cells.frame)), frames)
    births_by_frame = _rows_by_frame(cells.frame, cells.first[lives[cells.first]], frames)
    ends_by_frame = _rows_by_frame(cells.frame, cells.last, frames)
    found = [(nothing, nothing, nothing)]
    for frame in range(1, frames):
        births = births_by_frame[frame]
        if not len(births):
            continue
        for earlier in range(frame, max(frame - window_frames, 0), -1):
            newborn, sister = _pairs_within(cells.position_um, births, by_frame[earlier], reach_um)
            good = lives[sister] & (cells.track[newborn] != cells.track[sister])
            newborn, sister = newborn[good], sister[good]
            goes_on = ~begins[sister]
            found.append((sister[goes_on] - 1, sister[goes_on], newborn[goes_on]))
            # Of two newborns of one frame either may be called the sister: once is enough.
            both_new = begins[sister] & ((earlier < frame) | (sister < newborn))
            if mother_may_end and both_new.any():
                ended = np.concatenate(ends_by_frame[max(earlier - window_frames, 0) : earlier])
                found.append(_mothers_between(cells, sister[both_new], newborn[both_new], ended, reach_um))
    mother, sister, newborn = (np.concatenate(rows) for rows in zip(*found, strict=True))
    # Whoever was out of sight for longer than the window is no witness.
    seen = cells.frame[newborn] - cells.frame[mother] <= window_frames
    return mother[seen], sister[seen], newborn[seen]


def _rows_by_frame(frame: np.ndarray, rows: np.ndarray, frames: int) -> list[np.ndarray]:
    rows = rows[np.argsort(frame[rows], kind="stable")]
    return np.split(rows, np.searchsorted(frame[rows], np.arange(1, frames)))


def _pairs_within(
    position_um: np.ndarray, of_rows: np.ndarray, among_rows: np.ndarray, reach_um: float
) -> tuple[np.ndarray, np.ndarray]:
    """Each row with its nearest among the others."""
    if not len(among_rows):
        return of_rows[:0], among_rows[:0]
    # one more than asked for, as a row may be among the others itself
    count = min(_NEIGHBOURS + 1, len(among_rows))
    distance, nearest = cKDTree(position_um[among_rows]).query(
        position_um[of_rows], k=np.arange(1, count + 1), distance_upper_bound=reach_um
    )
    i, column = np.nonzero(np.isfinite(distance))
    return of_rows[i], among_rows[nearest[i, column]]


def _mothers_between(
    cells: Cells, sister: np.ndarray, newborn: np.ndarray, ended: np.ndarray, reach_um: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tracks that ended near the middle of two newborns."""
    if not len(ended):
        return sister[:0], sister[:0], sister[:0]
    middle_um = (cells.position_um[sister] + cells.position_um[newborn]) / 2
    count = min(_NEIGHBOURS, len(ended))
    distance, nearest = cKDTree(cells.position_um[ended]).query(
        middle_um, k=np.arange(1, count + 1), distance_upper_bound=reach_um
    )
    i, column = np.nonzero(np.isfinite(distance))
    return ended[nearest[i, column]], sister[i], newborn[i]


def _fission_deviations(cells: Cells, mother: np.ndarray, sister: np.ndarray, newborn: np.ndarray) -> np.ndarray:
    """Sum of squared deviations from a division in two, shape (n,)."""
    if not len(mother):
        return np.empty(0)
    position, area, half = cells.position_um, cells.area_um2, cells.half_length_um
    missed = np.maximum(cells.frame[sister], cells.frame[newborn]) - cells.frame[mother] - 1
    middle = np.linalg.norm((position[sister] + position[newborn]) / 2 - position[mother], axis=1)
    # What is usual depends on the mother's own size and on how much the cells of this movie move.
    usual = np.hypot(0.35 * half[mother], 1.5 * _typical_step_um(cells) * (1 + missed) ** 0.5)
    apart = np.linalg.norm(position[sister] - position[newborn], axis=1)
    radius = np.sqrt(area / np.pi)
    both = area[sister] + area[newborn]
    least, most = _recent_area(cells, mother)
    deviations = [
        middle / usual,
        np.maximum(np.log(both / most), np.log(least / both)).clip(0) / 0.25,
        np.log(area[sister] / area[newborn]) / 0.35,
        (apart - half[sister] - half[newborn]).clip(0) / half[mother],
        # Two disks that touch lie at 1; the halves of one at 0.6, of an ellipse split by mistake at 0.8.
        (1.15 - apart / (radius[sister] + radius[newborn])).clip(0) / 0.2,
        (np.log(both / 2 / np.median(area)) + 0.1).clip(0) / 0.25,
        # A track that begins at the border may have come from outside.
        1.0 * cells.border[newborn],
    ]
    halved = 2 * _TERMS * np.log(2) * missed
    return sum(deviation**2 for deviation in deviations) + halved


def _budding_deviations(cells: Cells, mother: np.ndarray, sister: np.ndarray, newborn: np.ndarray) -> np.ndarray:
    """Sum of squared deviations from a bud at the rim of a mother that stays, shape (n,)."""
    position, area = cells.position_um, cells.area_um2
    radius = np.sqrt(area / np.pi)
    apart = np.linalg.norm(position[sister] - position[newborn], axis=1)
    moved = np.linalg.norm(position[sister] - position[mother], axis=1)
    deviations = [
        (apart - radius[sister] - radius[newborn]) / (0.4 * radius[sister]),
        moved / np.hypot(0.35 * radius[mother], 1.5 * _typical_step_um(cells)),
        np.log(area[sister] / area[mother]) / 0.25,
        # A bud that is seen first at more than half of its mother was there before.
        (np.log(area[newborn] / area[sister]) - np.log(0.5)).clip(0) / 0.3,
        1.0 * cells.border[newborn],
    ]
    return sum(deviation**2 for deviation in deviations)


def _typical_step_um(cells: Cells) -> float:
    """Median movement from one frame to the next; 0 where none was seen."""
    neighbours = (np.diff(cells.track) == 0) & (np.diff(cells.frame) == 1)
    if not neighbours.any():
        return 0.0
    return float(np.median(np.linalg.norm(np.diff(cells.position_um, axis=0)[neighbours], axis=1)))


def _recent_area(cells: Cells, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest area of a track in its last three frames up to a row.

    A nucleus shrinks as it condenses: any of these is a fair size before
    division.
    """
    first = cells.first[cells.track[rows]]
    recent = np.stack([cells.area_um2[np.maximum(rows - back, first)] for back in range(3)])
    return recent.min(axis=0), recent.max(axis=0)


def choose_divisions(
    cells: Cells, divisions: Divisions, *, min_daughter_frames: int, min_division_score: float
) -> Divisions:
    """The best divisions that do not contradict each other, best first.

    A cell is born once, and a track ends once; two divisions of one track, or
    a birth and a division, are apart by `min_daughter_frames`.

    Parameters
    ----------
    cells : Cells
    divisions : Divisions
        All that are possible.
    min_daughter_frames, min_division_score
        As for `find_divisions`.
    """
    believed = np.flatnonzero(divisions.score >= min_division_score)
    # Ties are settled by where the cells stand, so that a run repeats.
    order = believed[np.lexsort((divisions.newborn[believed], -divisions.score[believed]))]
    born, ended, events, chosen = set(), set(), {}, []
    for index in order.tolist():
        mother, sister, newborn = (int(rows[index]) for rows in divisions[:3])
        mothers_track, sisters_track, newborns_track = (int(cells.track[row]) for row in (mother, sister, newborn))
        births = [newborns_track] if sisters_track == mothers_track else [newborns_track, sisters_track]
        # A track that ends in one division may have carried on through an earlier one, but ends once.
        ends = sisters_track != mothers_track
        if born.intersection(births) or (ends and mothers_track in ended):
            continue
        new_events = [(newborns_track, int(cells.frame[newborn])), (mothers_track, int(cells.frame[sister]))]
        if any(abs(frame - one) < min_daughter_frames for track, frame in new_events for one in events.get(track, ())):
            continue
        born.update(births)
        if ends:
            ended.add(mothers_track)
            new_events.append((sisters_track, int(cells.frame[sister])))
        for track, frame in new_events:
            events.setdefault(track, []).append(frame)
        chosen.append(index)
    chosen = np.array(chosen, np.int64)
    return Divisions(*(values[chosen] for values in divisions))


def cut_tracks(cells: Cells, divisions: Divisions, *, frames: int, division: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tracks that end at divisions, and where each comes from.

    In fission the mother ends in her last frame before the division and each
    daughter has a track of her own; in budding the mother keeps hers. Tracks
    are numbered from 1 by first frame, and there by label.

    Parameters
    ----------
    cells : Cells
    divisions : Divisions
        As found for these cells.
    frames : int
        Frames of the movie.
    division : {'fission', 'budding'}

    Returns
    -------
    tracks, lineage : DataFrame
        Tables `tracks` and `lineage`.
    """
    if not len(cells.frame):
        return empty_table("tracks"), empty_table("lineage")
    fission = division == "fission"
    begins = np.zeros(len(cells.frame), bool)
    begins[cells.first] = True
    if fission:
        begins[divisions.sister] = True
    segment = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(begins)) - 1
    number = np.empty(len(first), np.int64)
    number[np.lexsort((cells.label[first], cells.frame[first]))] = np.arange(1, len(first) + 1)

    parent = np.zeros(len(first), np.int64)
    score, division_frame = np.full(len(first), np.nan), np.full(len(first), np.nan)
    mother = segment[divisions.mother]
    parent[segment[divisions.newborn]] = number[mother]
    if fission:
        parent[segment[divisions.sister]] = number[mother]
        score[mother] = divisions.score
        division_frame[mother] = np.minimum(cells.frame[divisions.sister], cells.frame[divisions.newborn])

    starts_at, ends_at = cells.frame[first], cells.frame[last]
    start = np.select(
        [parent > 0, starts_at == 0, cells.border[first]], ["division", "movie_start", "entered"], "appeared"
    )
    end = np.select(
        [~np.isnan(score), ends_at == frames - 1, cells.border[last]], ["division", "movie_end", "left"], "lost"
    )
    lineage = pd.DataFrame(
        {
            "track": number,
            "parent": pd.array(parent, "Int64"),
            "first_frame": starts_at,
            "last_frame": ends_at,
            "start": start,
            "end": end,
            "division_score": score,
            "division_frame": pd.array(np.where(np.isnan(division_frame), 0, division_frame).astype(int), "Int64"),
        }
    )
    lineage.loc[parent == 0, "parent"] = pd.NA
    lineage.loc[np.isnan(division_frame), "division_frame"] = pd.NA
    tracks = pd.DataFrame({"frame": cells.frame, "label": cells.label, "track": number[segment]})
    return (
        typed("tracks", tracks.sort_values(["frame", "label"], ignore_index=True)),
        typed("lineage", lineage.sort_values("track", ignore_index=True)),
    )
