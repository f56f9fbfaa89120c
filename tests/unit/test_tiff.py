import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from recorded import accepted, change_tag, picture, read_all, refusal, stack, write_tiff

from cytolapse.formats import look_inside
from cytolapse.movies import open_movie


def test_an_imagej_hyperstack_gives_its_pixels_back(tmp_path):
    truth = stack(3, 2)
    write_tiff(tmp_path / "m.tif", truth, imagej=True, metadata={"axes": "TCYX"})

    with open_movie(accepted(tmp_path / "m.tif", ("a", "b"))) as movie:
        np.testing.assert_array_equal(movie.read(2, "b"), truth[2, 1])
        np.testing.assert_array_equal(movie.read(2, "a"), truth[2, 0])


def test_a_big_endian_file_is_read_in_the_machines_order(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(), byteorder=">", metadata={"axes": "TYX"})

    info = accepted(tmp_path / "m.tif")

    np.testing.assert_array_equal(read_all(info), stack())
    with open_movie(info) as movie:
        assert movie.read(0, "a").dtype.isnative


def test_a_bigtiff_gives_its_pixels_back(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(), bigtiff=True, metadata={"axes": "TYX"})

    np.testing.assert_array_equal(read_all(accepted(tmp_path / "m.tif")), stack())


def test_a_tiled_file_gives_its_pixels_back(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(), tile=(16, 16), compression="zlib", metadata={"axes": "TYX"})

    np.testing.assert_array_equal(read_all(accepted(tmp_path / "m.tif")), stack())


def imagej_virtual(path: Path, truth: np.ndarray, frames: int) -> None:
    """As ImageJ stores a stack above 4 GB: one page, the other planes raw behind it."""
    description = f"ImageJ=1.53t\nimages={frames}\nframes={frames}\nhyperstack=true\n"
    write_tiff(path, truth[0], metadata=None, description=description, byteorder=">")
    with tifffile.TiffFile(path) as tif:
        assert tif.pages.first.dataoffsets[0] + truth[0].nbytes == path.stat().st_size
    with path.open("ab") as file:
        file.write(truth[1:].astype(">u2").tobytes())


def test_planes_that_imagej_stores_behind_a_single_page_are_read(tmp_path):
    imagej_virtual(tmp_path / "m.tif", stack(5), 5)

    np.testing.assert_array_equal(read_all(accepted(tmp_path / "m.tif")), stack(5))


def test_planes_missing_behind_a_single_page_are_counted(tmp_path):
    imagej_virtual(tmp_path / "m.tif", stack(5), 7)

    assert "its metadata claim 7 planes, the file holds 5" in refusal(tmp_path / "m.tif")


def test_frames_written_one_by_one_are_no_positions(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.tif") as tif:
        for page in stack():
            tif.write(page)

    assert look_inside(tmp_path / "m.tif")[0] == 1
    np.testing.assert_array_equal(read_all(accepted(tmp_path / "m.tif", axes="TYX")), stack())


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_every_cut_of_a_file_is_refused(tmp_path, compression):
    write_tiff(tmp_path / "m.tif", stack(6), metadata=None, compression=compression, rowsperstrip=8)
    whole = (tmp_path / "m.tif").read_bytes()
    accepted(tmp_path / "m.tif", axes="TYX")

    for share in (0.05, 0.3, 0.5, 0.7, 0.9, 0.98):
        (tmp_path / "cut.tif").write_bytes(whole[: int(share * len(whole))])
        assert re.search("cut off|cannot be|does not fit", refusal(tmp_path / "cut.tif", axes="TYX")), share


def test_a_file_whose_pages_break_off_is_refused(tmp_path):
    write_tiff(tmp_path / "plain.tif", stack(6), metadata=None, compression="zlib")
    with tifffile.TiffFile(tmp_path / "plain.tif") as tif:
        start = tif.pages[4].offset
    (tmp_path / "plain.tif").write_bytes((tmp_path / "plain.tif").read_bytes()[:start])

    assert "is cut off or damaged after 4 pages; copy it again" in refusal(tmp_path / "plain.tif", axes="TYX")


def test_a_page_that_ends_behind_the_file_is_refused(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(3), metadata=None)
    change_tag(tmp_path / "m.tif", 2, "StripByteCounts", 1_000_000)

    assert re.search(
        r"is cut off: page 2 ends at byte 100\d+, the file at \d+; ", refusal(tmp_path / "m.tif", axes="TYX")
    )


def test_a_page_with_too_few_bytes_is_refused(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(3), metadata=None)
    change_tag(tmp_path / "m.tif", 1, "StripByteCounts", 100)

    assert "page 1 stores 100 bytes, 24 x 40 uint16 needs 1920" in refusal(tmp_path / "m.tif", axes="TYX")


def test_a_header_that_claims_an_absurd_size_is_refused_without_reading(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(3), metadata=None, compression="zlib")
    for page in range(3):
        change_tag(tmp_path / "m.tif", page, "ImageWidth", 200_000)
        change_tag(tmp_path / "m.tif", page, "ImageLength", 100_000)

    reason = refusal(tmp_path / "m.tif", axes="TYX")

    assert "its header claims planes of 100000 x 200000 px (40.0 GB each), the file has" in reason


def test_a_page_without_size_is_refused(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(3), metadata=None)
    change_tag(tmp_path / "m.tif", 0, "ImageLength", 0)

    assert "page 0 has size 1 x 0 x 40; copy or export it again" in refusal(tmp_path / "m.tif", axes="TYX")


def test_a_page_that_does_not_decode_is_refused(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(3), metadata=None, compression="zlib")
    with tifffile.TiffFile(tmp_path / "m.tif") as tif:
        start, length = tif.pages[1].dataoffsets[0], tif.pages[1].databytecounts[0]
    data = bytearray((tmp_path / "m.tif").read_bytes())
    data[start : start + length] = b"\xff" * length
    (tmp_path / "m.tif").write_bytes(data)

    assert "page 1 cannot be decoded" in refusal(tmp_path / "m.tif", axes="TYX")


def test_a_file_that_is_no_tiff_is_refused(tmp_path):
    (tmp_path / "m.tif").write_bytes(b"PK\x03\x04 a zip under a wrong name")

    assert "cannot be read as TIFF (not a TIFF file" in refusal(tmp_path / "m.tif")


def test_a_pickle_under_a_movies_name_is_not_opened(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "opened"),))

    (tmp_path / "m.tif").write_bytes(pickle.dumps(Bomb()))

    refusal(tmp_path / "m.tif")

    assert not (tmp_path / "opened").exists()


def test_a_first_page_that_makes_no_sense_is_refused(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(3), metadata=None)
    change_tag(tmp_path / "m.tif", 0, "ImageWidth", 2, count=True)

    assert "its pages cannot be read (" in refusal(tmp_path / "m.tif", axes="TYX")


def test_a_chain_of_pages_that_breaks_inside_the_file_is_refused(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(3), metadata=None)
    with tifffile.TiffFile(tmp_path / "m.tif") as tif:
        offset = tif.pages[1].offset
    data = bytearray((tmp_path / "m.tif").read_bytes())
    data[offset : offset + 2] = struct.pack("<H", 65535)
    (tmp_path / "m.tif").write_bytes(data)

    assert "is cut off or damaged after 1 pages" in refusal(tmp_path / "m.tif", axes="TYX")


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint32", "float64"])
def test_pixels_of_another_type_are_refused(tmp_path, dtype):
    write_tiff(tmp_path / "m.tif", stack().astype(dtype), metadata={"axes": "TYX"})

    assert f"pixels are {dtype}, wanted uint8, uint16 or float32; convert it" in refusal(tmp_path / "m.tif")


def test_colour_images_are_refused(tmp_path):
    write_tiff(tmp_path / "m.tif", np.ones((4, 24, 40, 3), "uint8"), photometric="rgb")

    assert "page 0 has 3 samples a pixel (RGB); split the colours into channels" in refusal(tmp_path / "m.tif")


def test_pages_of_different_sizes_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.tif") as tif:
        for width in (40, 40, 41):
            tif.write(picture(1, shape=(24, width)), metadata=None)

    reason = refusal(tmp_path / "m.tif", axes="TYX")

    assert "page 2 is 24 x 41 uint16, the first is 24 x 40 uint16; a movie has one size and type" in reason


def test_a_metamorph_stack_is_refused_by_name(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(1)[0], metadata=None, extratags=[(33628, 4, 4, (1, 2, 3, 4), True)])

    assert "MetaMorph STK is not read; export it as OME-TIFF" in refusal(tmp_path / "m.tif")
