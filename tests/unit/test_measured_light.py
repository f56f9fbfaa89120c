"""What measure makes of uneven light, full frames, blur, and parts of cells."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from drawn import disks
from scipy import ndimage

from cytolapse.features import measure_movie
from cytolapse.inspection import inspect_movie
from cytolapse.movies import write_stack
from cytolapse.tables import empty_table, read_table, write_table
from planning.settings import read_settings

SHAPE = (96, 128)
CELLS = disks(SHAPE, (45, 40, 20), (45, 90, 18)).astype(np.uint16)
NUCLEI = disks(SHAPE, (44, 38, 8), (47, 92, 7))


def measured(folder, *planes, labels=CELLS, object="cell", **changes):
    """The tables intensities and planes of two frames alike, of the channels phase and gfp."""
    pages = [plane.round().astype(np.uint16) for plane in planes] * 2
    shared = {"pixel_size_um": 0.5, "frame_interval_min": 5, "description": None, "dtype": np.uint16}
    write_stack(folder / "movie.tif", pages, shape=(2, 2, *SHAPE), axes="TCYX", **shared)
    write_stack(folder / "labels.tif", np.stack([labels] * 2), shape=(2, *SHAPE), axes="TYX", **shared)
    info = inspect_movie(
        str(folder / "movie.tif"),
        **{"position": None, "axes": None, "channels": ["phase", "gfp"], "segment_channel": "phase"},
        **{"z_projection": "none", "stated": [], "on_bad_movie": "stop"},
    )
    (folder / "movie.json").write_text(json.dumps(info))
    write_table("confidence", empty_table("confidence"), folder / "confidence.parquet")
    outputs = [folder / f"{name}.parquet" for name in ("objects", "intensities", "planes")]
    measure_movie(
        *(folder / name for name in ("movie.json", "labels.tif", "confidence.parquet")),
        *outputs,
        **{**read_settings({})["measure"], **changes},
        **{"pixel_size_um": None, "object": object, "provenance": None},
    )
    return read_table("intensities", outputs[1]), read_table("planes", outputs[2])


def of_gfp(intensities, compartment="whole"):
    chosen = intensities.query("frame == 0 and channel == 'gfp' and compartment == @compartment")
    return chosen.set_index("label").astype({"pixels": float})


def phase_of(labels=CELLS):
    return 200.0 + 300 * (labels > 0) + np.random.default_rng(5).normal(0, 3, SHAPE)


def test_two_cells_alike_are_alike_under_uneven_light_once_it_is_taken_off(tmp_path):
    light = np.linspace(0.6, 1.4, SHAPE[1])[None, :] * np.ones(SHAPE)
    tifffile.imwrite(tmp_path / "flat.tif", (100 + 10000 * light).astype(np.uint16))
    seen = 100 + light * (50 + 400.0 * (CELLS > 0))
    given = {"dark": {"gfp": 100.0}, "flat_field": {"gfp": str(tmp_path / "flat.tif")}}

    raw, _ = measured(tmp_path, phase_of(), seen)
    even, planes = measured(tmp_path, phase_of(), seen, **given)

    above = of_gfp(raw)["mean_raw_au"] - of_gfp(raw)["background_au"]
    assert above[2] / above[1] > 1.3
    assert (of_gfp(even)["mean_raw_au"] - of_gfp(even)["background_au"]).to_numpy() == pytest.approx(400, rel=0.01)
    assert planes.query("channel == 'gfp'")["background_au"].to_numpy() == pytest.approx(50, abs=0.5)
    assert planes.query("channel == 'phase'")["background_au"].to_numpy() == pytest.approx(200, abs=1)


def test_saturation_is_that_of_the_camera_whatever_is_taken_off(tmp_path):
    seen = np.where(CELLS == 2, 65535.0, 300.0)

    rows, planes = measured(tmp_path, phase_of(), seen, dark={"gfp": 100.0})

    assert of_gfp(rows)["saturated_fraction"].tolist() == [0, 1]
    assert planes.query("channel == 'gfp'")["flag_saturated"].all()


def test_a_frame_full_of_cells_takes_its_background_from_a_blank_position(tmp_path):
    full = np.ones(SHAPE, np.uint16)
    full[:, 64:] = 2
    tifffile.imwrite(tmp_path / "empty.tif", np.random.default_rng(0).normal(130, 2, SHAPE).astype(np.float32))
    seen = np.full(SHAPE, 500.0)

    without, _ = measured(tmp_path, phase_of(), seen, labels=full)
    rows, planes = measured(tmp_path, phase_of(), seen, labels=full, blank={"gfp": str(tmp_path / "empty.tif")})

    assert of_gfp(without)["background_method"].isna().all()
    assert of_gfp(rows)["background_method"].tolist() == ["blank", "blank"]
    assert of_gfp(rows)["background_au"].to_numpy() == pytest.approx(130, abs=0.3)
    assert planes.query("channel == 'gfp'")["background_sd_au"].to_numpy() == pytest.approx(2, rel=0.05)


def test_where_there_is_background_a_blank_position_is_not_asked(tmp_path):
    tifffile.imwrite(tmp_path / "empty.tif", np.full(SHAPE, 130, np.uint16))

    rows, _ = measured(tmp_path, phase_of(), 150 + 200.0 * (CELLS > 0), blank={"gfp": str(tmp_path / "empty.tif")})

    assert of_gfp(rows)["background_method"].tolist() == ["local", "local"]
    assert of_gfp(rows)["background_au"].tolist() == [150, 150]


def test_light_that_blur_throws_beyond_the_mask_is_found_beside_it(tmp_path):
    scene = 2000.0 * (CELLS > 0)
    seen = 100 + ndimage.gaussian_filter(scene, 1.5)

    rows = of_gfp(measured(tmp_path, phase_of(), seen, ring_gap_px=5)[0])
    none = of_gfp(measured(tmp_path, phase_of(), seen, spread_px=0)[0])

    inside = (rows["mean_raw_au"] - rows["background_au"]) * rows["pixels"]
    beside = (rows["spread_raw_au"] - rows["background_au"]) * rows["spread_pixels"].astype(float)
    truth = [scene[label == CELLS].sum() for label in (1, 2)]
    assert (inside / truth).max() < 0.96
    assert (inside + beside).to_numpy() == pytest.approx(truth, rel=0.005)
    assert none["spread_pixels"].tolist() == [0, 0]


def test_around_nuclei_light_is_that_of_their_cells_and_none_of_theirs(tmp_path):
    rows, _ = measured(tmp_path, phase_of(), 100 + 200.0 * (CELLS > 0), object="nucleus")

    assert of_gfp(rows)["spread_pixels"].tolist() == [0, 0]
    assert set(rows["compartment"]) == {"whole"}


def test_nucleus_and_ring_are_measured_in_cells_with_a_nuclear_marker(tmp_path):
    marker = phase_of() + 800 * (NUCLEI > 0)
    seen = 100.0 + 50 * (CELLS > 0) + 300 * (NUCLEI == 1)

    rows, _ = measured(tmp_path, marker, seen, nucleus_channel="phase", nuclear_ring_gap_px=2, nuclear_ring_px=4)

    whole, nucleus, ring = (of_gfp(rows, name) for name in ("whole", "nucleus", "ring"))
    assert nucleus["mean_raw_au"].to_numpy() == pytest.approx([450, 150], rel=0.03)
    assert ring["mean_raw_au"].to_numpy() == pytest.approx([150, 150], rel=0.03)
    assert nucleus["pixels"].to_numpy() == pytest.approx([(NUCLEI == 1).sum(), (NUCLEI == 2).sum()], rel=0.1)
    pd.testing.assert_series_equal(nucleus["background_au"], whole["background_au"])
    assert len(rows) == 2 * 2 * 3 * 2


def test_a_cell_without_a_nucleus_has_rows_without_numbers(tmp_path):
    marker = phase_of() + 800 * (NUCLEI == 1)

    nucleus = of_gfp(measured(tmp_path, marker, phase_of(), nucleus_channel="phase")[0], "nucleus")

    assert nucleus["mean_raw_au"].isna().tolist() == [False, True]
    assert nucleus["pixels"].isna().tolist() == [False, True]


def test_a_ring_around_nuclei_holds_their_cytoplasm(tmp_path):
    nuclei = np.where(NUCLEI > 0, NUCLEI, 0).astype(np.uint16)
    seen = 100.0 + 50 * (CELLS > 0) + 300 * (NUCLEI > 0)

    rows, _ = measured(
        tmp_path, phase_of(nuclei), seen, labels=nuclei, object="nucleus", nuclear_ring_px=5, background="frame"
    )

    assert of_gfp(rows)["mean_raw_au"].tolist() == [450, 450]
    assert of_gfp(rows, "ring")["mean_raw_au"].tolist() == [150, 150]
