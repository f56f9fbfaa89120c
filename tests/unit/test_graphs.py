import json

import geff
import networkx
import numpy as np
import pandas as pd
import pytest
from geff.core_io import read_to_memory
from geff.validate.data import ValidationConfig, validate_data

from cytolapse.graphs import write_geff
from cytolapse.tables import empty_table, typed, write_table


def written(tmp_path, cells, lineage, **facts):
    info = {"status": "ok", "path": "a.tif", "pixel_size_um": 0.5, "frame_interval_min": 5.0} | facts
    (tmp_path / "movie.json").write_text(json.dumps(info))
    write_table("cells", typed("cells", cells), tmp_path / "cells.parquet")
    write_table("lineage", typed("lineage", lineage), tmp_path / "lineage.parquet")
    names = ("movie.json", "cells.parquet", "lineage.parquet", "tracked.tif", "tracks.geff")
    write_geff(*(tmp_path / name for name in names), pixel_size_um=None, frame_interval_min=10)
    return tmp_path / "tracks.geff"


def cells_of(*rows):
    """Cells from (frame, track); y_px is 10 times the track, x_px the frame."""
    frame, track = np.array(rows).T
    return pd.DataFrame({"frame": frame, "label": track, "track": track, "y_px": 10.0 * track, "x_px": 1.0 * frame})


def lineage_of(cells, parents):
    first = cells.groupby("track")["frame"].min()
    parent = pd.array([parents.get(track) for track in first.index], "Int32")
    return pd.DataFrame({"track": first.index, "parent": parent, "first_frame": first.to_numpy()})


def links(path):
    """Edges as pairs of (frame, track), read by the format's own library, which also checks the graph."""
    config = ValidationConfig(graph=True, lineage=True, tracklet=True)
    validate_data(read_to_memory(path), config)
    graph, metadata = geff.read(path, backend="networkx")
    name = {node: (facts["frame"], facts["track"]) for node, facts in graph.nodes(data=True)}
    return {(name[one], name[other]) for one, other in graph.edges}, graph, metadata


FAMILY = ((0, 1), (1, 1), (3, 1), (4, 2), (4, 3), (5, 3), (0, 4))


def test_a_division_and_a_gap_are_edges_and_units_are_said(tmp_path):
    cells = cells_of(*FAMILY).assign(area_um2=2.0, flag_border=[True, *[None] * 6], condition="drug")

    found, graph, metadata = links(written(tmp_path, cells, lineage_of(cells, {2: 1, 3: 1})))

    within = {((0, 1), (1, 1)), ((1, 1), (3, 1)), ((4, 3), (5, 3))}
    assert found == within | {((3, 1), (4, 2)), ((3, 1), (4, 3))}
    assert networkx.number_weakly_connected_components(graph) == 2
    facts = next(facts for _, facts in graph.nodes(data=True) if (facts["frame"], facts["track"]) == (3, 1))
    assert (facts["y_px"], facts["x_px"], facts["area_um2"], facts["lineage"]) == (10, 3, 2, 1)
    assert "condition" not in facts
    assert "flag_border" not in facts
    time, y, x = metadata.axes
    assert (time.name, time.unit, time.scale, time.scaled_unit) == ("frame", "frame", 10, "minute")
    assert [(axis.name, axis.scale, axis.scaled_unit) for axis in (y, x)] == [
        ("y_px", 0.5, "micrometer"),
        ("x_px", 0.5, "micrometer"),
    ]
    assert metadata.node_props_metadata["area_um2"].unit == "um2"
    assert (metadata.related_objects[0].path, metadata.related_objects[0].node_prop) == ("../tracked.tif", "track")


def test_a_budding_mother_keeps_her_track_and_has_a_tracklet_from_bud_to_bud(tmp_path):
    cells = cells_of((0, 1), (1, 1), (2, 1), (3, 1), (2, 2), (3, 2))

    found, graph, _ = links(written(tmp_path, cells, lineage_of(cells, {2: 1})))

    assert ((1, 1), (2, 2)) in found
    assert ((1, 1), (2, 1)) in found
    tracklets = {}
    for _, facts in graph.nodes(data=True):
        tracklets.setdefault(facts["tracklet"], set()).add((facts["frame"], facts["track"]))
    assert sorted(map(sorted, tracklets.values())) == [[(0, 1), (1, 1)], [(2, 1), (3, 1)], [(2, 2), (3, 2)]]
    assert {facts["lineage"] for _, facts in graph.nodes(data=True)} == {1}


def test_cells_without_a_track_are_left_out_and_a_graph_that_is_there_is_replaced(tmp_path):
    cells = cells_of(*FAMILY)
    cells["track"] = cells["track"].astype("Int32").mask(cells["track"] == 4)

    for _ in range(2):
        _, graph, _ = links(written(tmp_path, cells, lineage_of(cells, {2: 1, 3: 1})))

    assert len(graph) == len(FAMILY) - 1


def test_a_refused_movie_gives_a_graph_without_nodes(tmp_path):
    path = written(tmp_path, empty_table("cells"), empty_table("lineage"), status="refused", pixel_size_um=None)

    found, graph, _ = links(path)

    assert not found
    assert not graph


def test_a_mother_that_is_not_seen_before_her_daughter_is_refused(tmp_path):
    cells = cells_of((3, 1), (3, 2))

    with pytest.raises(ValueError, match="the mother 1 of track 2 has no cell before it; link again"):
        written(tmp_path, cells, lineage_of(cells, {2: 1}))
