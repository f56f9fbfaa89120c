import json

import numpy as np
import pandas as pd
import pytest
import tifffile

from cytolapse.exports import list_exports, write_ctc, write_tracked
from cytolapse.movies import StackReader, write_stack
from cytolapse.tables import typed, write_table
from cytolapse.trackedlabels import TrackedLabels


def movie(tmp_path, cells, parents):
    """Write labels, tracks and lineage from {(frame, label): track}; each cell is a pixel at (0, label)."""
    frames = max(frame for frame, _ in cells) + 1 if cells else 2
    labels = np.zeros((frames, 4, 8), np.uint16)
    for frame, label in cells:
        labels[frame, 0, label] = label
    pages = {"pixel_size_um": 0.5, "frame_interval_min": 5.0, "axes": "TYX", "description": None}
    write_stack(tmp_path / "labels.tif", labels, shape=labels.shape, dtype="uint16", **pages)
    rows = [(frame, label, track) for (frame, label), track in cells.items()]
    tracks = pd.DataFrame(rows, columns=["frame", "label", "track"])
    of_track = tracks.groupby("track")["frame"]
    lineage = pd.DataFrame({"first_frame": of_track.min(), "last_frame": of_track.max()}).reset_index()
    lineage["parent"] = pd.array([parents.get(track) for track in lineage["track"]], "Int64")
    records = {"provenance": json.dumps({"link": {"version": "0"}})}
    write_table("tracks", typed("tracks", tracks), tmp_path / "tracks.parquet", metadata=records)
    write_table("lineage", typed("lineage", lineage), tmp_path / "lineage.parquet")
    tables = (tmp_path / name for name in ("labels.tif", "tracks.parquet", "lineage.parquet"))
    return *tables, None, tmp_path / "RES"


def lines(folder):
    return [tuple(map(int, line.split())) for line in (folder / "res_track.txt").read_text().splitlines()]


def test_masks_hold_tracks_and_the_text_holds_the_family(tmp_path):
    paths = movie(tmp_path, {(0, 3): 1, (1, 3): 1, (2, 1): 2, (2, 5): 3}, parents={2: 1, 3: 1})

    write_ctc(*paths)

    assert lines(paths[-1]) == [(1, 0, 1, 0), (2, 2, 2, 1), (3, 2, 2, 1)]
    masks = [tifffile.imread(path) for path in sorted(paths[-1].glob("mask*.tif"))]
    assert [mask.dtype for mask in masks] == [np.dtype("uint16")] * 3
    assert masks[1][0, 3] == 1
    assert masks[2][0, [1, 5]].tolist() == [2, 3]
    assert masks[2].astype(int).sum() == 5


def test_a_track_with_a_gap_becomes_a_chain_and_its_daughters_hang_on_the_end_of_it(tmp_path):
    cells = {(0, 1): 1, (2, 1): 1, (3, 1): 1, (4, 2): 2, (4, 3): 3}
    paths = movie(tmp_path, cells, parents={2: 1, 3: 1})

    write_ctc(*paths)

    assert lines(paths[-1]) == [(1, 0, 0, 0), (2, 4, 4, 4), (3, 4, 4, 4), (4, 2, 3, 1)]
    assert tifffile.imread(paths[-1] / "mask003.tif")[0, 1] == 4
    assert not tifffile.imread(paths[-1] / "mask001.tif").any()


def test_a_budding_mother_is_cut_where_each_bud_is_seen_first(tmp_path):
    cells = {(0, 1): 1, (1, 1): 1, (2, 1): 1, (3, 1): 1, (1, 2): 2, (2, 2): 2, (3, 3): 3}
    paths = movie(tmp_path, cells, parents={2: 1, 3: 1})

    write_ctc(*paths)

    # 1 before the buds, 4 beside the first and 5 beside the second
    assert lines(paths[-1]) == [(1, 0, 0, 0), (2, 1, 2, 1), (3, 3, 3, 4), (4, 1, 2, 1), (5, 3, 3, 4)]
    assert tifffile.imread(paths[-1] / "mask002.tif")[0, :3].tolist() == [0, 4, 2]


def test_a_mother_that_no_mask_shows_is_passed_over_for_her_own(tmp_path):
    paths = movie(tmp_path, {(0, 1): 1, (1, 2): 3, (1, 4): 4}, parents={3: 2, 4: 2})
    lineage = pd.DataFrame({"track": [1, 2, 3, 4], "parent": [None, 1, 2, 2], "first_frame": [0, 1, 1, 1]})
    write_table("lineage", typed("lineage", lineage), paths[2])

    write_ctc(*paths)

    assert lines(paths[-1]) == [(1, 0, 0, 0), (3, 1, 1, 1), (4, 1, 1, 1)]


def test_masks_of_a_longer_export_before_do_not_stay(tmp_path):
    paths = movie(tmp_path, {(0, 1): 1, (1, 1): 1}, parents={})
    paths[-1].mkdir()
    (paths[-1] / "mask002.tif").write_bytes(b"old")

    write_ctc(*paths)

    assert sorted(path.name for path in paths[-1].iterdir()) == ["mask000.tif", "mask001.tif", "res_track.txt"]


def test_a_movie_without_cells_gives_empty_masks_and_no_line(tmp_path):
    paths = movie(tmp_path, {}, parents={})

    write_ctc(*paths)

    assert lines(paths[-1]) == []
    assert not any(tifffile.imread(path).any() for path in paths[-1].glob("mask*.tif"))


def test_a_cell_that_the_labels_do_not_hold_is_refused(tmp_path):
    paths = movie(tmp_path, {(0, 1): 1, (1, 1): 1}, parents={})
    tracks = pd.DataFrame({"frame": [0, 1], "label": [1, 6], "track": [1, 1]})
    write_table("tracks", typed("tracks", tracks), paths[1])

    with pytest.raises(ValueError, match=r"frame 1 holds no label 6"):
        write_ctc(*paths)


def test_cells_after_the_last_frame_are_refused(tmp_path):
    paths = movie(tmp_path, {(0, 1): 1, (1, 1): 1}, parents={})
    tracks = pd.DataFrame({"frame": [0, 9], "label": [1, 1], "track": [1, 1]})
    write_table("tracks", typed("tracks", tracks), paths[1])

    with pytest.raises(ValueError, match=r"2 frames, but .* has cells in frame 9"):
        write_ctc(*paths)


def test_more_tracks_than_16_bits_number_are_refused(tmp_path):
    paths = movie(tmp_path, {(0, 1): 1, (1, 1): 70000}, parents={})

    with pytest.raises(ValueError, match=r"tracks are numbered up to 70000; .* has 65535 at most; split the movie"):
        write_ctc(*paths)


def test_a_gap_that_needs_one_number_too_many_is_refused(tmp_path):
    paths = movie(tmp_path, {(0, 1): 65535, (2, 1): 65535}, parents={})

    with pytest.raises(ValueError, match=r"frame 2: tracks, cut at gaps and buds, need more .* has 65535 at most"):
        write_ctc(*paths)


def told(tmp_path, **facts):
    info = {"status": "ok", "reason": None, "path": "a.tif", "pixel_size_um": 0.5, "frame_interval_min": 5.0} | facts
    (tmp_path / "movie.json").write_text(json.dumps(info))
    return tmp_path / "movie.json"


def test_tracked_labels_hold_the_numbers_of_tracks_and_leave_out_masks_without_one(tmp_path):
    labels, tracks, *_ = movie(tmp_path, {(0, 3): 1, (1, 5): 1, (1, 2): 2}, parents={})
    with_speck = tifffile.imread(labels)
    with_speck[1, 3, 7] = 7
    tifffile.imwrite(labels, with_speck)

    with TrackedLabels(labels, tracks) as tracked:
        assert tracked.shape == (2, 4, 8)
        assert np.argwhere(tracked.read(0)).tolist() == [[0, 3]]
        assert tracked.read(1)[0].tolist() == [0, 0, 2, 0, 0, 1, 0, 0]
        assert not tracked.read(1)[1:].any()


def test_repairs_are_drawn_into_the_tracked_labels_and_so_into_what_is_exported(tmp_path):
    labels, tracks, lineage, _, results = movie(
        tmp_path, {(0, 1): 1, (0, 4): 2, (1, 1): 1, (2, 1): 1, (2, 4): 2}, parents={}
    )
    missed = {"frame": 1, "track": 2, "label": 0, "kind": "missed", "repaired": True}
    ellipse = {"y_px": 0.0, "x_px": 4.0, "major_axis_px": 1.0, "minor_axis_px": 1.0, "orientation_rad": 0.0}
    write_table("repairs", typed("repairs", pd.DataFrame([missed | ellipse])), tmp_path / "repairs.parquet")

    with TrackedLabels(labels, tracks, tmp_path / "repairs.parquet") as tracked:
        assert np.argwhere(tracked.read(1) == 2).tolist() == [[0, 4]]
    write_ctc(labels, tracks, lineage, tmp_path / "repairs.parquet", results)

    assert lines(results) == [(1, 0, 2, 0), (2, 0, 2, 0)]
    assert tifffile.imread(results / "mask001.tif")[0, 4] == 2


def test_the_tracked_stack_has_pixel_size_interval_and_records_and_counts_tracks(tmp_path):
    labels, tracks, *_ = movie(tmp_path, {(0, 3): 1, (1, 5): 1, (1, 2): 2}, parents={})

    write_tracked(told(tmp_path), labels, tracks, None, tmp_path / "t.tif", pixel_size_um=0.25, frame_interval_min=None)

    with tifffile.TiffFile(tmp_path / "t.tif") as file:
        assert file.asarray()[1, 0].tolist() == [0, 0, 2, 0, 0, 1, 0, 0]
        assert file.series[0].dtype == np.uint16
        assert file.imagej_metadata["finterval"] == 300
        x_resolution = file.pages[0].tags["XResolution"].value
        assert x_resolution[0] / x_resolution[1] == 4
    with StackReader(tmp_path / "t.tif") as stack:
        assert stack.description == {"link": {"version": "0"}}


def test_more_tracks_than_16_bits_hold_make_a_stack_of_32_bits(tmp_path):
    labels, tracks, *_ = movie(tmp_path, {(0, 3): 1, (1, 5): 70000}, parents={})

    write_tracked(told(tmp_path), labels, tracks, None, tmp_path / "t.tif", pixel_size_um=None, frame_interval_min=None)

    assert tifffile.imread(tmp_path / "t.tif").max() == 70000


def test_a_refused_movie_gives_a_stack_of_one_pixel(tmp_path):
    labels, tracks, *_ = movie(tmp_path, {}, parents={})
    write_stack(
        labels,
        [np.zeros((1, 1), np.uint16)],
        shape=(1, 1, 1),
        dtype="uint16",
        pixel_size_um=None,
        frame_interval_min=None,
        axes="TYX",
        description=None,
    )
    refused = told(tmp_path, status="refused", reason="no movie")

    write_tracked(refused, labels, tracks, None, tmp_path / "t.tif", pixel_size_um=None, frame_interval_min=None)

    assert tifffile.imread(tmp_path / "t.tif").shape == (1, 1)


def test_the_list_of_exports_names_every_movie_the_refused_with_the_reason(tmp_path):
    infos = []
    for name, facts in (("a", {}), ("b", {"status": "refused", "reason": "no axes"})):
        (tmp_path / name).mkdir()
        infos.append(told(tmp_path / name, **facts))

    list_exports(infos, [info.parent / "ctc" for info in infos], tmp_path / "ctc.tsv")

    listed = (tmp_path / "ctc.tsv").read_text().splitlines()
    assert listed == ["movie\tstatus\treason\tpath", "a\tdone\t\ta/ctc", "b\trefused\tno axes\tb/ctc"]
