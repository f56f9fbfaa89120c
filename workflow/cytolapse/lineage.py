"""Rows of single frames -> tracks cut at divisions, and their lineage."""

import json
import logging
import os

import numpy as np
import pandas as pd

from cytolapse.divisions import Divisions, find_divisions
from cytolapse.linkedcells import Cells, arrange_cells
from cytolapse.linking import link_cells
from cytolapse.merging import follow_through, without_pieces
from cytolapse.tables import empty_table, read_metadata, read_table, typed, write_table

logger = logging.getLogger(__name__)

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
    max_repair_frames: int,
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
        threads = follow_through(cells, max_repair_frames=max_repair_frames)
        cells, _ = without_pieces(cells, threads)
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
