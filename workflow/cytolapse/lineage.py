"""Rows of single frames -> tracks cut at divisions, and their lineage."""

import json
import logging
import os

import numpy as np
import pandas as pd

from cytolapse.divisions import Divisions, find_divisions
from cytolapse.fates import ends, starts
from cytolapse.foresight import NOTHING
from cytolapse.linkedcells import Cells, arrange_cells
from cytolapse.linking import link_cells
from cytolapse.merging import follow_through, without_pieces
from cytolapse.repairs import find_repairs
from cytolapse.tables import empty_table, read_metadata, read_table, typed, write_table

logger = logging.getLogger(__name__)


def link_movie(
    movie_json: str | os.PathLike,
    objects_path: str | os.PathLike,
    tracks_path: str | os.PathLike,
    lineage_path: str | os.PathLike,
    repairs_path: str | os.PathLike,
    *,
    frame_interval_min: float | None,
    division: str,
    search_range_um: float | None,
    memory_frames: int,
    shape_weight: float,
    division_window_frames: int,
    min_daughter_frames: int,
    min_division_score: float,
    max_repair_frames: int,
    provenance: dict | None,
) -> None:
    """Write the tracks of one movie, cut at divisions, their lineage, and what is wrong with masks.

    Parameters
    ----------
    movie_json : path
        What inspect says of the movie; a refused one gets empty tables.
    objects_path : path
        Table `objects`.
    tracks_path, lineage_path, repairs_path : path
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
    max_repair_frames : int
        Longest error of a mask that is mended, as in `find_repairs` and
        `follow_through`; 0 mends none.
    provenance : dict, optional
        Record of this stage; written, behind those of the stages before it,
        into the metadata of the tables.

    Raises
    ------
    ValueError
        If `division` is neither, or the objects cannot be linked.
    """
    with open(movie_json, encoding="utf-8") as file:
        movie = json.load(file)
    before = read_metadata(objects_path)
    facts = {"search_range_um": None, "solver": "none", **NOTHING._asdict(), "frame_interval_min": frame_interval_min}
    tables = {name: empty_table(name) for name in ("tracks", "lineage", "repairs")}
    if movie["status"] != "refused":
        objects = read_table("objects", objects_path)
        links = link_cells(
            objects, search_range_um=search_range_um, memory_frames=memory_frames, shape_weight=shape_weight
        )
        facts |= {"search_range_um": links.search_range_um, "solver": links.solver, **links.foresight._asdict()}
        tables = trace_lineage(
            objects,
            links.tracks,
            frames=movie["frames"],
            division=division,
            division_window_frames=division_window_frames,
            min_daughter_frames=min_daughter_frames,
            min_division_score=min_division_score,
            max_repair_frames=max_repair_frames,
        )
    metadata = {"provenance": json.dumps(_provenance(before, provenance, facts))}
    if "object" in before:
        metadata["object"] = before["object"]
    for name, path in (("tracks", tracks_path), ("lineage", lineage_path), ("repairs", repairs_path)):
        write_table(name, tables[name], path, metadata=metadata)


def _provenance(before: dict[str, str], record: dict | None, facts: dict) -> dict:
    chain = json.loads(before.get("provenance", "null")) or {}
    return {**chain, "link": {**(record or {}), **facts}}


def trace_lineage(
    objects: pd.DataFrame,
    linked: pd.DataFrame,
    *,
    frames: int,
    division: str,
    division_window_frames: int,
    min_daughter_frames: int,
    min_division_score: float,
    max_repair_frames: int,
) -> dict[str, pd.DataFrame]:
    """Tracks from division to division, of cells that were linked from frame to frame.

    Parameters
    ----------
    objects : DataFrame
        Table `objects`.
    linked : DataFrame
        Table `tracks` as `link_cells` makes it.
    frames : int
        Frames of the movie.
    division, division_window_frames, min_daughter_frames, min_division_score, max_repair_frames
        As for `link_movie`.

    Returns
    -------
    dict of DataFrame
        Tables `tracks`, `lineage` and `repairs`.
    """
    threaded = arrange_cells(objects, linked)
    threads = follow_through(threaded, division=division, max_repair_frames=max_repair_frames)
    cells, row_of = without_pieces(threaded, threads)
    divisions = find_divisions(
        cells,
        frames=frames,
        division=division,
        division_window_frames=division_window_frames,
        min_daughter_frames=min_daughter_frames,
        min_division_score=min_division_score,
    )
    swallowed = row_of[[each.hidden_before for each in threads.merged if each.hidden_after < 0]]
    tracks, lineage = cut_tracks(cells, divisions, frames=frames, division=division, swallowed=swallowed)
    numbers = pd.DataFrame({"frame": cells.frame, "label": cells.label}).merge(
        tracks.astype(np.int64), on=["frame", "label"], how="left"
    )
    numbered = cells._replace(track=numbers["track"].to_numpy())
    repairs = find_repairs(objects, threaded, threads, row_of, numbered, max_repair_frames=max_repair_frames)
    logger.info("%d cells in %d tracks, %d divisions", len(tracks), len(lineage), len(divisions.mother))
    logger.info("%s masks that hold several cells, are pieces of one, or are missing", len(repairs))
    return {"tracks": tracks, "lineage": lineage, "repairs": repairs}


def cut_tracks(
    cells: Cells, divisions: Divisions, *, frames: int, division: str, swallowed: np.ndarray
) -> tuple[pd.DataFrame, pd.DataFrame]:
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
    swallowed : int array
        Rows after which a cell lies within another's mask until the end.

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

    lineage = pd.DataFrame(
        {
            "track": number,
            "parent": pd.array(parent, "Int64"),
            "first_frame": cells.frame[first],
            "last_frame": cells.frame[last],
            "start": starts(cells, first, parent > 0),
            "end": ends(cells, first, last, ~np.isnan(score), np.isin(last, swallowed), frames=frames),
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
