"""The simulator: what it says of its cells is true of its pictures."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile

from cytolapse.annotations import read_pairs
from cytolapse.inspection import inspect_movie
from cytolapse.movies import frame_times_h, open_movie
from cytolapse.simulation import Simulation, number_labels, simulate_movie, write_annotations, write_movie

SMALL = Simulation(frames=3, height_px=96, width_px=96, founders=2)


def test_one_seed_gives_one_movie_and_another_seed_another():
    first, again, other = (simulate_movie(SMALL, seed) for seed in (1, 1, 2))

    assert np.array_equal(first.movie, again.movie)
    assert np.array_equal(first.labels, again.labels)
    pd.testing.assert_frame_equal(first.cells, again.cells)
    pd.testing.assert_frame_equal(first.lineage, again.lineage)
    assert not np.array_equal(first.movie, other.movie)


def test_another_camera_sees_the_same_cells():
    cells = simulate_movie(SMALL, 1).cells

    noisy = simulate_movie(replace(SMALL, electrons_per_au=0.1, bits=12, background_au=300.0), 1)

    pd.testing.assert_frame_equal(cells, noisy.cells)


def test_movie_labels_and_tables_have_the_shapes_they_promise():
    simulated = simulate_movie(replace(SMALL, height_px=64), 4)

    assert simulated.movie.shape == (3, 2, 64, 96)
    assert simulated.labels.shape == (3, 64, 96)
    assert simulated.movie.dtype == simulated.labels.dtype == np.uint16
    assert simulated.cells["frame"].unique().tolist() == [0, 1, 2]


def test_births_and_divisions_lie_in_the_interval_before_the_frame_that_shows_them(colony):
    lineage, interval_h = colony.lineage, 5 / 60
    for event in ("birth", "division"):
        seen = lineage.dropna(subset=[f"{event}_frame"])
        before_h = seen[f"{event}_frame"].astype(float) * interval_h - seen[f"{event}_time_h"]
        assert before_h.between(0, interval_h + 1e-9).all()
    daughters = lineage[lineage["start"] == "division"]
    assert (daughters["birth_frame"] == daughters["first_frame"]).all()
    divided = lineage[lineage["end"] == "division"]
    assert (divided["division_frame"] == divided["last_frame"] + 1).all()
    founders = lineage[lineage["first_frame"] == 0]
    assert founders["birth_time_h"].isna().all()
    assert founders["start"].eq("movie_start").all()


def test_a_label_has_the_area_and_the_place_that_the_tables_say(colony):
    whole = colony.cells[~colony.cells["flag_border"]]

    assert len(whole) > 300
    area_um2 = whole["area_px"] * 0.1**2
    assert (area_um2 / whole["area_um2"]).to_numpy() == pytest.approx(1.0, abs=0.04)
    assert (area_um2 / whole["area_um2"]).mean() == pytest.approx(1.0, abs=0.003)
    for row in whole.sample(40, random_state=0).itertuples():
        y_px, x_px = np.nonzero(colony.labels[row.frame] == row.cell)
        assert len(y_px) == row.area_px
        assert y_px.mean() == pytest.approx(row.y_px, abs=0.5)
        assert x_px.mean() == pytest.approx(row.x_px, abs=0.5)


def test_a_label_reaches_as_far_along_and_across_its_axis_as_the_cell_is_long_and_wide():
    simulated = simulate_movie(replace(SMALL, frames=1, founders=4), 8)

    whole = simulated.cells[~simulated.cells["flag_border"]]
    assert len(whole) >= 3
    for row in whole.itertuples():
        y_px, x_px = np.nonzero(simulated.labels[0] == row.cell)
        cos, sin = math.cos(row.orientation_rad), math.sin(row.orientation_rad)
        along_px, across_px = y_px * cos + x_px * sin, x_px * cos - y_px * sin
        # centres of the outermost pixels lie up to a pixel inside the outline
        assert 0 < row.length_um - np.ptp(along_px) * 0.1 < 0.2
        assert 0 < row.width_um - np.ptp(across_px) * 0.1 < 0.2


def test_every_label_is_a_row_of_the_table_and_every_row_a_label(colony, nuclei):
    for simulated in (colony, nuclei):
        for frame, labels in enumerate(simulated.labels):
            rows = simulated.cells[simulated.cells["frame"] == frame]
            assert sorted(rows["cell"]) == [number for number in np.unique(labels) if number]
        assert set(simulated.lineage["cell"]) == set(simulated.cells["cell"])
        daughters = simulated.lineage.dropna(subset=["parent"])
        assert (daughters["parent"] < daughters["cell"]).all()


def test_cells_that_are_out_of_the_field_are_not_in_the_tables(colony, nuclei):
    for simulated in (colony, nuclei):
        p = simulated.parameters
        reach_px = simulated.cells["length_um"] / 2 / p.pixel_size_um
        assert (simulated.cells["y_px"] > -reach_px - 1).all()
        assert (simulated.cells["y_px"] < p.height_px + reach_px).all()


def test_an_empty_field_gives_empty_tables_with_the_same_columns():
    empty, full = (simulate_movie(replace(SMALL, frames=1, founders=n), 0) for n in (0, 1))

    assert len(empty.cells) == len(empty.lineage) == 0
    assert not empty.labels.any()
    assert list(empty.cells.columns) == list(full.cells.columns)
    assert list(empty.lineage.columns) == list(full.lineage.columns)


def test_a_written_movie_says_its_axes_scale_times_and_channels(tmp_path):
    simulated = simulate_movie(replace(SMALL, pixel_size_um=0.08, frame_interval_min=4.0), 1)

    write_movie(tmp_path / "movie.tif", simulated)

    with tifffile.TiffFile(tmp_path / "movie.tif") as file:
        assert file.series[0].axes == "TCYX"
        assert np.array_equal(file.asarray(), simulated.movie)
        ome = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert ome["PhysicalSizeX"] == pytest.approx(0.08)
    assert ome["PhysicalSizeY"] == pytest.approx(0.08)
    assert [channel["Name"] for channel in ome["Channel"]] == ["phase", "reporter"]
    assert [plane["DeltaT"] for plane in ome["Plane"]] == [0, 0, 240, 240, 480, 480]


def test_the_pipeline_reads_a_written_movie_as_it_was_simulated(tmp_path):
    simulated = simulate_movie(SMALL, 1)
    write_movie(tmp_path / "movie.tif", simulated)

    info = inspect_movie(
        str(tmp_path / "movie.tif"),
        position=None,
        axes=None,
        channels=["phase", "reporter"],
        segment_channel="phase",
        stated=[],
        z_projection="none",
        on_bad_movie="stop",
    )
    assert (info["status"], info["warnings"]) == ("ok", [])
    assert info["pixel_size_um"] == pytest.approx(0.1)
    assert frame_times_h(info, None) == pytest.approx([0, 5 / 60, 10 / 60])
    with open_movie(info) as movie:
        assert np.array_equal(movie.read(2, "reporter"), simulated.movie[2, 1])


def test_the_same_movie_is_written_as_the_same_bytes(tmp_path):
    simulated = simulate_movie(SMALL, 1)

    for name in ("first.tif", "again.tif"):
        write_movie(tmp_path / name, simulated)

    assert (tmp_path / "first.tif").read_bytes() == (tmp_path / "again.tif").read_bytes()


def test_annotations_are_pairs_of_image_and_masks_that_training_reads(tmp_path):
    simulated = simulate_movie(SMALL, 7)

    written = write_annotations(tmp_path, simulated, [0, 2])

    assert [path.name for path in written] == ["seed0007_t000.tif", "seed0007_t002.tif"]
    pairs = read_pairs(tmp_path)
    assert [np.array_equal(pair.image, simulated.movie[frame, 0]) for pair, frame in zip(pairs, (0, 2), strict=True)]
    assert np.array_equal(pairs[1].labels, simulated.labels[2])


def test_a_frame_that_was_not_simulated_cannot_be_annotated(tmp_path):
    with pytest.raises(ValueError, match="there is no frame 3; the simulated movie has frames 0 to 2"):
        write_annotations(tmp_path, simulate_movie(SMALL, 7), [3])


def test_a_cell_number_that_16_bits_cannot_hold_is_refused():
    rows = np.array([[0, 1], [2, 2]])

    assert number_labels(rows, np.array([9, 65535])).tolist() == [[0, 9], [65535, 65535]]
    with pytest.raises(OverflowError, match="65536 cells are seen; labels of 16 bits can number 65535"):
        number_labels(rows, np.array([9, 65536]))
