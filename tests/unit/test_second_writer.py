"""TIFF and PNG by Pillow, which shares no code with what reads them here: pixels and metadata are equal."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from recorded import accepted, frames_folder, ome_xml, picture, read_all, refusal, stack

from cytolapse.formats import look_inside

DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 270, 282, 283, 296
IMAGEJ = """ImageJ=1.54f
images={images}
channels={channels}
frames={frames}
hyperstack=true
mode=grayscale
unit=\\u00B5m
finterval=300.0
"""


def write_pages(path: Path, data: np.ndarray, tags: dict | None = None, **options) -> None:
    """Planes (..., y, x) as pages of a TIFF, the tags on the first."""
    pages = [Image.fromarray(plane) for plane in data.reshape(-1, *data.shape[-2:])]
    directory = ImageFileDirectory_v2()
    for tag, value in (tags or {}).items():
        directory[tag] = value
    pages[0].save(path, format="TIFF", save_all=True, append_images=pages[1:], tiffinfo=directory, **options)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "zstd"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_plain_stacks_of_every_packing_come_back(tmp_path, compression, dtype):
    truth = stack(4, 2, dtype=dtype)
    write_pages(tmp_path / "m.tif", truth, compression=compression)

    info = accepted(tmp_path / "m.tif", ["phase", "gfp"], axes="TCYX")

    assert (info["frames"], info["dtype"]) == (4, dtype)
    np.testing.assert_array_equal(read_all(info, squeeze=False), truth)


def test_big_tiffs_come_back(tmp_path):
    write_pages(tmp_path / "m.tif", stack(4), big_tiff=True)

    assert (tmp_path / "m.tif").read_bytes()[2] == 43
    np.testing.assert_array_equal(read_all(accepted(tmp_path / "m.tif", axes="TYX")), stack(4))


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_an_imagej_hyperstack_comes_back_with_its_scales(tmp_path, compression):
    truth = stack(3, 2)
    tags = {
        DESCRIPTION: IMAGEJ.format(images=6, channels=2, frames=3),
        **{X_RESOLUTION: 4.0, Y_RESOLUTION: 4.0, RESOLUTION_UNIT: 1},
    }
    write_pages(tmp_path / "m.tif", truth, tags, compression=compression)

    info = accepted(tmp_path / "m.tif", ["phase", "gfp"], stated=())

    assert (info["pixel_size_um"], info["frame_interval_min"], info["frames"]) == (0.25, 5.0, 3)
    np.testing.assert_array_equal(read_all(info, squeeze=False), truth)


def test_a_pixel_size_in_centimetres_comes_back(tmp_path):
    tags = {X_RESOLUTION: 100_000.0, Y_RESOLUTION: 100_000.0, RESOLUTION_UNIT: 3}
    write_pages(tmp_path / "m.tif", stack(3), tags)

    info = accepted(tmp_path / "m.tif", axes="TYX", stated=["frame_interval_min"])

    assert info["pixel_size_um"] == pytest.approx(0.1)


def test_an_ome_tiff_comes_back_with_channels_scales_times_and_exposures(tmp_path):
    planes = "".join(
        f'<Plane TheT="{t}" TheC="{c}" TheZ="0" DeltaT="{600 * t + 5 * c}" ExposureTime="{20 + 10 * c}" '
        'ExposureTimeUnit="ms"/>'
        for t in range(3)
        for c in range(2)
    )
    content = f'<Channel ID="C:0" Name="phase"/><Channel ID="C:1" Name="gfp"/><TiffData/>{planes}'
    xml = ome_xml(content, PhysicalSizeX="0.25", PhysicalSizeY="0.25", TimeIncrement="600")
    write_pages(tmp_path / "m.ome.tif", stack(3, 2), {DESCRIPTION: xml}, compression="tiff_deflate")

    info = accepted(tmp_path / "m.ome.tif", ["phase", "gfp"], stated=())

    assert look_inside(tmp_path / "m.ome.tif") == (1, [])
    assert info["pixel_size_um"] == 0.25
    assert info["time_h"] == pytest.approx([0, 1 / 6, 1 / 3])
    assert info["exposure_ms"] == {"phase": 20, "gfp": 30}
    assert info["warnings"] == []
    np.testing.assert_array_equal(read_all(info, squeeze=False), stack(3, 2))


@pytest.mark.parametrize("ending", ["tif", "png"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_folders_of_a_file_a_frame_and_channel_come_back(tmp_path, ending, dtype):
    folder = frames_folder(tmp_path / "m", {})
    for frame in range(3):
        for number, channel in enumerate(("phase", "gfp")):
            image = Image.fromarray(picture(frame, number, dtype=dtype))
            image.save(folder / f"pos3_{channel}_t{frame:03d}.{ending}")

    info = accepted(folder, ["phase", "gfp"])

    assert (info["layout"], info["dtype"]) == ("channel_files", dtype)
    np.testing.assert_array_equal(read_all(info, squeeze=False), stack(3, 2, dtype=dtype))


def test_colours_by_pillow_are_refused(tmp_path):
    pages = [Image.fromarray(np.zeros((8, 8, 3), np.uint8))] * 2
    pages[0].save(tmp_path / "m.tif", save_all=True, append_images=pages[1:])

    assert "3 samples a pixel (RGB); split the colours into channels" in refusal(tmp_path / "m.tif", axes="TYX")
