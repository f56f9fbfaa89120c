import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from recorded import accepted, frames_folder, picture, refusal, stack, write_tiff


@pytest.mark.parametrize(("unit", "um"), [("um", 1), ("micron", 1), ("\\u00B5m", 1), ("nm", 1e-3), ("mm", 1e3)])
def test_pixel_size_and_interval_are_read_from_imagej(tmp_path, unit, um):
    per_unit = um / 0.25
    write_tiff(
        tmp_path / "m.tif",
        stack(),
        imagej=True,
        resolution=(per_unit, per_unit),
        metadata={"axes": "TYX", "unit": unit, "finterval": 90.0},
    )

    info = accepted(tmp_path / "m.tif", stated=())

    assert info["pixel_size_um"] == pytest.approx(0.25, rel=1e-6)
    assert info["frame_interval_min"] == pytest.approx(1.5)


def test_the_resolution_of_a_print_is_not_taken_for_a_pixel_size(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(), resolution=(72, 72), resolutionunit="INCH", metadata={"axes": "TYX"})

    assert accepted(tmp_path / "m.tif")["pixel_size_um"] is None


def test_a_resolution_in_centimetres_is_taken_for_a_pixel_size(tmp_path):
    per_cm = 1e4 / 0.645
    write_tiff(
        tmp_path / "m.tif", stack(), resolution=(per_cm, per_cm), resolutionunit="CENTIMETER", metadata={"axes": "TYX"}
    )

    assert accepted(tmp_path / "m.tif")["pixel_size_um"] == pytest.approx(0.645, rel=1e-5)


def micromanager_page(path: Path, image: np.ndarray) -> None:
    notes = json.dumps({"PixelSizeUm": 0.16, "Exposure-ms": 30}).encode() + b"\0"
    write_tiff(path, image, metadata=None, extratags=[(51123, 2, len(notes), notes, True)])


def test_pixel_size_and_interval_are_read_from_a_micromanager_folder(tmp_path):
    for frame in range(3):
        micromanager_page(tmp_path / f"img_{frame:09d}_GFP_000.tif", picture(frame))
    (tmp_path / "metadata.txt").write_text(json.dumps({"Summary": {"Interval_ms": 120000, "PixelSize_um": 0.108}}))

    info = accepted(tmp_path, ("GFP",), stated=())

    assert info["pixel_size_um"] == pytest.approx(0.16)
    assert info["frame_interval_min"] == pytest.approx(2)


def test_a_stack_of_micromanager_is_read_with_its_notes(tmp_path):
    notes = json.dumps({"PixelSizeUm": 0.16, "Exposure-ms": 30}).encode() + b"\0"
    write_tiff(tmp_path / "m.tif", stack(4), metadata=None, extratags=[(51123, 2, len(notes), notes, True)])

    info = accepted(tmp_path / "m.tif", axes="TYX", stated=("frame_interval_min",))

    assert info["pixel_size_um"] == pytest.approx(0.16)
    assert info["exposure_ms"] == {"a": 30}


@pytest.mark.parametrize("description", ['{"shape": [4', '{"shape": [24]}', '{"shape": "TYX"}', "{}"])
def test_a_description_that_is_no_shape_is_left_alone(tmp_path, description):
    write_tiff(tmp_path / "m.tif", stack(4), metadata=None, description=description)

    assert "shape (4, 24, 40) with axes IYX (plain)" in refusal(tmp_path / "m.tif")


def test_damaged_notes_of_micromanager_are_said_and_left(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in range(3)})
    (folder / "metadata.txt").write_text('{"Summary": {"Interval_ms"')

    (warning,) = accepted(folder)["warnings"]

    assert warning.startswith("metadata.txt of Micro-Manager cannot be read: JSONDecodeError")


@pytest.mark.parametrize("order", [{"imagej": True}, {}])
def test_fewer_pages_than_the_description_claims_are_refused(tmp_path, order):
    write_tiff(tmp_path / "full.tif", stack(6), metadata={"axes": "TYX"}, **order)
    with tifffile.TiffFile(tmp_path / "full.tif") as tif:
        description = tif.pages.first.description
    write_tiff(tmp_path / "m.tif", stack(4), metadata=None, description=description, compression="zlib")

    assert "its metadata claim 6 planes, the file holds 4" in refusal(tmp_path / "m.tif")
