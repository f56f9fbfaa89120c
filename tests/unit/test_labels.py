import json

import numpy as np
import pytest

from cytolapse.labels import label_movie
from cytolapse.movies import StackReader, write_stack
from cytolapse.tables import read_metadata, read_table

SETTINGS = {
    "method": "watershed",
    "threshold": None,
    "seed_threshold": 0.2,
    "split_depth": None,
    "split_neck": None,
    "min_confidence": None,
    "min_area_px": 20,
    "fill_holes": True,
    "pixel_size_um": None,
    "frame_interval_min": None,
    "provenance": {"code": "abc"},
}

MODEL = {"threshold": 0.5, "split_depth": 0.2, "split_neck": 0.7, "min_confidence": 0.0}
MODEL |= {"cell_area_px": 2000.0, "small_part": 0.3}


def write_probability(folder, *, scale=1.0, network_scale=1.0, sure=1.0):
    """Two cells that touch, then a frame without any."""
    cell, edge = maps = np.zeros((2, 48, 64))
    cell[10:40, 10:50] = 0.95
    cell[12:38, 12:48] = sure
    edge[10:40, 28:32] = 0.6
    write_stack(
        folder / "probability.tif",
        [*np.round(maps * 255).astype(np.uint8), *np.zeros((2, 48, 64), np.uint8)],
        shape=(2, 2, 48, 64),
        dtype=np.uint8,
        pixel_size_um=0.2,
        frame_interval_min=5,
        axes="TCYX",
        description={"segment": {"scale": scale, "network_scale": network_scale}},
    )


@pytest.fixture
def stage(tmp_path):
    """Paths of a movie of two frames: two cells that touch, then none."""
    write_probability(tmp_path)
    info = {"status": "ok", "path": "a.tif", "pixel_size_um": 0.2, "frame_interval_min": 5.0}
    (tmp_path / "movie.json").write_text(json.dumps(info))
    (tmp_path / "model.json").write_text(json.dumps(MODEL))
    return tmp_path


def run(stage, **changes):
    names = ["probability.tif", "movie.json", "model.json", "labels.tif", "confidence.parquet"]
    label_movie(*(stage / name for name in names), **{**SETTINGS, **changes})


def test_a_movie_is_labelled_frame_by_frame_with_the_models_threshold(stage):
    run(stage)

    with StackReader(stage / "labels.tif") as stack:
        assert stack.shape == (2, 48, 64)
        assert stack.dtype == np.uint16
        assert stack.read(0).max() == 2
        assert not stack.read(1).any()
    confidence = read_table("confidence", stage / "confidence.parquet")
    assert confidence["frame"].tolist() == [0, 0]
    assert confidence["label"].tolist() == [1, 2]
    assert confidence["mask_confidence"].between(0.9, 1).all()


def test_a_threshold_of_the_config_wins_over_the_models(stage):
    run(stage, threshold=0.99)
    with StackReader(stage / "labels.tif") as stack:
        strict = np.count_nonzero(stack.read(0))
    run(stage)
    with StackReader(stage / "labels.tif") as stack:
        assert strict < np.count_nonzero(stack.read(0))


@pytest.mark.parametrize(("scale", "cells"), [(1.0, 2), (0.5, 0)])
def test_a_cell_is_at_least_a_tenth_of_those_that_the_model_knows_at_the_scale_that_it_saw(stage, scale, cells):
    # Two cells of 600 pixels: 5,000 of the model's are 20,000 of a movie that was shown at half its size.
    write_probability(stage, scale=scale)
    (stage / "model.json").write_text(json.dumps(MODEL | {"cell_area_px": 5000.0}))

    run(stage, min_area_px=None)

    assert len(read_table("confidence", stage / "confidence.parquet")) == cells


@pytest.mark.parametrize(
    ("scale", "part", "min_area_px", "cells"),
    [(1, 0.25, None, 2), (1, 0.35, None, 0), (0.8, 0.25, None, 0), (1, 0.35, 20, 2)],
)
def test_of_cells_that_are_small_for_its_model_the_network_must_be_surer(
    stage, scale, part, min_area_px, cells, caplog
):
    # Two cells of 600 pixels with a mean of 0.95; half way from 0.92 to 1 is more. The config's own number wins.
    caplog.set_level("INFO")
    write_probability(stage, scale=scale, sure=0.95)
    (stage / "model.json").write_text(json.dumps(MODEL | {"small_part": part}))

    run(stage, min_area_px=min_area_px)
    assert len(read_table("confidence", stage / "confidence.parquet")) == 2

    run(stage, threshold=0.92, min_area_px=min_area_px)
    assert len(read_table("confidence", stage / "confidence.parquet")) == cells
    assert ("only cells of which the network is surer" in caplog.text) == (min_area_px is None)


def test_labelling_is_told_at_what_size_the_network_saw_the_movie(stage, monkeypatch):
    from cytolapse import labels

    told = []
    monkeypatch.setattr(
        labels, "label_cells", lambda probability, **settings: told.append(settings) or np.zeros((48, 64), int)
    )
    write_probability(stage, scale=0.5, network_scale=0.25)

    run(stage, min_area_px=None)

    assert {settings["network_scale"] for settings in told} == {0.25}
    # A tenth of 2,000 px of the model's annotations, four times as many in a movie of half their pixel size.
    assert {settings["min_area_px"] for settings in told} == {800}
    assert {settings["small_area_px"] for settings in told} == {2400}


def test_pixel_size_and_interval_are_in_the_labels_and_the_sheet_wins(stage):
    import tifffile

    run(stage, pixel_size_um=0.5, frame_interval_min=3)

    with tifffile.TiffFile(stage / "labels.tif") as tif:
        numerator, denominator = tif.pages[0].tags["XResolution"].value
        assert denominator / numerator == pytest.approx(0.5, rel=1e-3)
        assert tif.imagej_metadata["finterval"] == pytest.approx(180)


def test_the_cuts_are_the_models_unless_the_configuration_says_others(stage):
    cells = {}
    for name, of_model, given in (("model", 0.2, {}), ("shy model", 1.9, {}), ("given", 1.9, {"split_depth": 0.2})):
        (stage / "model.json").write_text(json.dumps(MODEL | {"split_depth": of_model}))
        run(stage, **given)
        with StackReader(stage / "labels.tif") as stack:
            cells[name] = stack.read(0).max()
    assert cells == {"model": 2, "shy model": 1, "given": 2}


def test_the_records_of_the_stages_before_travel_on_with_what_was_used(stage):
    run(stage, split_neck=0.6)

    records = json.loads(read_metadata(stage / "confidence.parquet")["provenance"])
    assert records["segment"] == {"scale": 1.0, "network_scale": 1.0}
    assert records["label"]["code"] == "abc"
    used = {name: records["label"]["settings"][name] for name in ("threshold", "split_depth", "split_neck")}
    assert used == {"threshold": 0.5, "split_depth": 0.2, "split_neck": 0.6}
    with StackReader(stage / "labels.tif") as stack:
        assert stack.description == records


def test_a_refused_movie_gives_one_empty_page_and_no_rows(stage):
    (stage / "movie.json").write_text(json.dumps({"status": "refused", "reason": "cut off"}))

    run(stage)

    with StackReader(stage / "labels.tif") as stack:
        assert stack.shape == (1, 1, 1)
        assert not stack.read(0).any()
    assert read_table("confidence", stage / "confidence.parquet").empty


def test_more_cells_than_16_bits_can_number_are_refused_with_the_frame(tmp_path):
    page = np.zeros((600, 600), np.uint8)
    page[::2, ::2] = 255
    write_stack(
        tmp_path / "probability.tif",
        [page],
        shape=(1, 600, 600),
        dtype=np.uint8,
        pixel_size_um=None,
        frame_interval_min=None,
        axes="TYX",
        description={"segment": {"scale": 1.0, "network_scale": 1.0}},
    )
    (tmp_path / "movie.json").write_text(
        json.dumps({"status": "ok", "path": "a.tif", "pixel_size_um": 1, "frame_interval_min": 1})
    )
    (tmp_path / "model.json").write_text(json.dumps(MODEL))

    with pytest.raises(
        ValueError, match="movie a.tif, frame 0: cells are numbered up to 90000, labels.tif holds 65535; .*min_area_px"
    ):
        run(tmp_path, method="threshold", min_area_px=1)
