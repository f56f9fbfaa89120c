"""Cells and the links between them as a graph in the format GEFF."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cytolapse import movies
from cytolapse.tables import read_table, schema


def write_geff(
    movie_json: str | os.PathLike,
    cells_path: str | os.PathLike,
    lineage_path: str | os.PathLike,
    tracked_path: str | os.PathLike,
    geff_path: str | os.PathLike,
    *,
    pixel_size_um: float | None,
    frame_interval_min: float | None,
) -> None:
    """Write the tracks of one movie as a graph that readers of GEFF open.

    The graph exchange file format [1]_ is a Zarr group. A node is a cell in a
    frame: axes in frames and pixels, with the factors to minutes and
    micrometres, and the numbers and flags of table `cells` that are not null
    throughout, with unit and meaning. An edge leads from a cell to the same
    cell in the next frame that it is seen in, and from a mother to each
    daughter. `tracklet` numbers the stretches between branchings, which is the
    format's own notion: a budding mother keeps her `track` and has a tracklet
    from bud to bud. `lineage` is the track of the founder. The tracked labels
    are named as the related masks, under the numbers of `track`. Cells without
    a track are left out.

    Parameters
    ----------
    movie_json : path
        What inspect found. A refused movie gives a graph without nodes.
    cells_path, lineage_path : path
        Tables of this movie.
    tracked_path : path
        Stack of tracked labels, to be named.
    geff_path : path
        Folder to write; one that is there is replaced.
    pixel_size_um, frame_interval_min : float or None
        As stated in experiments.tsv; None takes the file's.

    Raises
    ------
    ValueError
        If a track of `lineage` has no cell before its daughter's first.

    References
    ----------
    .. [1] https://liveimagetrackingtools.org/geff
    """
    import geff
    from geff.core_io import write_arrays
    from geff_spec import Axis, DisplayHint, PropMetadata, RelatedObject

    cells = read_table("cells", cells_path).dropna(subset=["track"])
    cells = cells.sort_values(["track", "frame"], ignore_index=True)
    edges = _edges(cells, read_table("lineage", lineage_path))
    cells = cells.assign(tracklet=_tracklets(len(cells), edges), lineage=_founders(cells, edges))
    meanings = {field.name: field.metadata for field in schema("cells")} | {
        "tracklet": {b"unit": b"", b"description": b"number of the stretch between two branchings"},
        "lineage": {b"unit": b"", b"description": b"track of the founder seen"},
    }
    properties, described = {}, {}
    for name in cells.columns:
        if not pd.api.types.is_numeric_dtype(cells[name]) or (len(cells) and cells[name].isna().all()):
            continue
        properties[name] = _property(cells[name])
        described[name] = PropMetadata(
            identifier=name,
            dtype=properties[name]["values"].dtype,
            unit=meanings[name][b"unit"].decode() or None,
            description=meanings[name][b"description"].decode(),
        )
    metadata = geff.GeffMetadata(
        directed=True,
        axes=[
            Axis(**axis) for axis in _axes(json.loads(Path(movie_json).read_text()), pixel_size_um, frame_interval_min)
        ],
        node_props_metadata=described,
        edge_props_metadata={},
        track_node_props={"tracklet": "tracklet", "lineage": "lineage"},
        related_objects=[
            RelatedObject(type="labels", path=os.path.relpath(tracked_path, geff_path), node_prop="track")
        ],
        display_hints=DisplayHint(display_horizontal="x_px", display_vertical="y_px", display_time="frame"),
    )
    if Path(geff_path).exists():
        shutil.rmtree(geff_path)
    write_arrays(str(geff_path), np.arange(len(cells), dtype=np.uint64), properties, edges, {}, metadata)


def _axes(info: Mapping, pixel_size_um: float | None, frame_interval_min: float | None) -> list[dict]:
    axes = [{"name": "frame", "type": "time", "unit": "frame"}]
    axes += [{"name": name, "type": "space", "unit": "pixel"} for name in ("y_px", "x_px")]
    if info["status"] != "refused":
        interval_min = info["frame_interval_min"] if frame_interval_min is None else frame_interval_min
        if interval_min is not None:
            axes[0] |= {"scale": interval_min, "scaled_unit": "minute"}
        for axis in axes[1:]:
            axis |= {"scale": movies.pixel_size_um(info, pixel_size_um), "scaled_unit": "micrometer"}
    return axes


def _property(column: pd.Series) -> dict:
    missing = column.isna().to_numpy(bool)
    if pd.api.types.is_bool_dtype(column):
        values = column.fillna(False).to_numpy(bool)
    elif pd.api.types.is_integer_dtype(column):
        values = column.fillna(0).to_numpy(np.int64)
    else:
        values = column.fillna(0.0).to_numpy(np.float64)
    return {"values": values, "missing": missing if missing.any() else None}


def _edges(cells: pd.DataFrame, lineage: pd.DataFrame) -> np.ndarray:
    """Rows of cells linked, shape (n, 2): within tracks, then from mothers to daughters."""
    track, frame = cells["track"].to_numpy(np.int64), cells["frame"].to_numpy(np.int64)
    goes_on = np.flatnonzero(np.diff(track) == 0)
    births = lineage.dropna(subset=["parent"])
    mother, daughter = (births[name].to_numpy(np.int64) for name in ("parent", "track"))
    first = np.searchsorted(track, daughter)
    # Rows are sorted by track and frame, so that one number orders both.
    stride = int(frame.max(initial=0)) + 1
    before = np.searchsorted(track * stride + frame, mother * stride + frame[first]) - 1
    orphans = (before < 0) | (track[before] != mother)
    if orphans.any():
        raise ValueError(
            f"lineage: the mother {mother[orphans][0]} of track {daughter[orphans][0]} has no cell before it; "
            "link again"
        )
    links = [np.column_stack([goes_on, goes_on + 1]), np.column_stack([before, first])]
    return np.concatenate(links).astype(np.uint64)


def _tracklets(nodes: int, edges: np.ndarray) -> np.ndarray:
    """A number from 1 for each stretch of nodes of which none but the last branches."""
    source, target = edges.astype(np.int64).T
    alone = np.bincount(source, minlength=nodes)[source] == 1
    before = np.full(nodes, -1)
    before[target[alone]] = source[alone]
    number = np.zeros(nodes, np.int64)
    # A daughter may have a lower row than her mother where tracks are not numbered in time.
    begins = before < 0
    number[begins] = np.arange(1, begins.sum() + 1)
    return number[_roots(before)]


def _founders(cells: pd.DataFrame, edges: np.ndarray) -> np.ndarray:
    """Track of the first cell of each node's component."""
    before = np.full(len(cells), -1)
    before[edges[:, 1].astype(np.int64)] = edges[:, 0].astype(np.int64)
    return cells["track"].to_numpy(np.int64)[_roots(before)]


def _roots(before: np.ndarray) -> np.ndarray:
    """Of each node the first of its chain; `before` is -1 where it begins."""
    root = np.where(before < 0, np.arange(len(before)), before)
    # Each round doubles the reach.
    while (root != root[root]).any():
        root = root[root]
    return root
