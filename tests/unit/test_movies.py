import errno
import json
import os
import random
import re
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cytolapse import discovery, movies, planes
from cytolapse.discovery import MovieSource, count_positions, find_movies, fingerprint
from cytolapse.folders import is_regular
from cytolapse.inspection import inspect_movie, write_info
from cytolapse.movies import StackReader, frame_times_h, open_movie, pixel_size_um, write_stack

BOTH = ("pixel_size_um", "frame_interval_min")
DATA = Path(os.environ.get("CYTOLAPSE_DATA", "../shared/data"))


def picture(frame: int, channel: int = 0, shape=(24, 40), dtype="uint16") -> np.ndarray:
    """A plane that tells frame and channel by every pixel, and y from x."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (1 + frame + 20 * channel + y % 5 + 7 * (x % 3)).astype(dtype)


def stack(frames: int = 4, channels: int = 1, **of_picture) -> np.ndarray:
    """Frames and channels (t, c, y, x), or (t, y, x) for one channel."""
    rows = [[picture(t, c, **of_picture) for c in range(channels)] for t in range(frames)]
    return np.array(rows) if channels > 1 else np.array(rows)[:, 0]


def write_tiff(path: Path, data: np.ndarray, **of_file) -> None:
    """A TIFF of grey planes: left alone, tifffile takes three or four of them for colours."""
    tifffile.imwrite(path, data, **{"photometric": "minisblack", **of_file})


def inspect(path, channels=("a",), *, axes=None, position=None, segment=None, stated=BOTH, on_bad_movie="continue"):
    return inspect_movie(
        path,
        position=position,
        axes=axes,
        channels=list(channels),
        segment_channel=segment or channels[0],
        stated=stated,
        on_bad_movie=on_bad_movie,
    )


def accepted(path, channels=("a",), **options) -> dict:
    info = inspect(path, channels, **options)
    assert info["reason"] is None
    assert info["status"] == "ok"
    return json.loads(json.dumps(info))


def refusal(path, channels=("a",), **options) -> str:
    info = inspect(path, channels, **options)
    assert info["status"] == "refused"
    assert str(path) in info["reason"]
    return info["reason"]


def read_all(info: dict) -> np.ndarray:
    with open_movie(info) as movie:
        assert movie.frames == info["frames"]
        return np.array([[movie.read(t, c) for c in movie.channels] for t in range(movie.frames)]).squeeze(1)


def frames_folder(folder: Path, names: dict[str, np.ndarray]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, image in names.items():
        if name.endswith(".png"):
            write_png(folder / name, image)
        else:
            write_tiff(folder / name, image, metadata=None)
    return folder


def write_png(path: Path, image: np.ndarray, colour: int = 0) -> None:
    """A PNG by the book: header, one deflated block, end."""
    bits = image.dtype.itemsize * 8
    rows = image.astype(image.dtype.newbyteorder(">")).reshape(image.shape[0], -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", image.shape[1], image.shape[0], bits, colour, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))
            for tag, data in ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
        )
    )


# Stacks: pixels come back, whoever wrote them.


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_an_ome_tiff_gives_its_pixels_back(tmp_path, dtype, compression):
    truth = stack(3, 2, dtype=dtype)
    write_tiff(tmp_path / "m.ome.tif", truth, metadata={"axes": "TCYX"}, compression=compression)

    info = accepted(tmp_path / "m.ome.tif", ("a", "b"))

    assert (info["frames"], info["height_px"], info["width_px"], info["dtype"]) == (3, 24, 40, dtype)
    with open_movie(info) as movie:
        assert movie.shape == (24, 40)
        np.testing.assert_array_equal(movie.read(2, "b"), truth[2, 1])
        np.testing.assert_array_equal(movie.read(0, "a"), truth[0, 0])
        assert movie.read(1, "a").dtype == np.dtype(dtype)


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


def test_a_plain_stack_is_read_by_the_axes_of_the_sheet(tmp_path):
    truth = stack(3, 2)
    write_tiff(tmp_path / "m.tif", truth.reshape(6, 24, 40), metadata=None)

    by_frame = accepted(tmp_path / "m.tif", ("a", "b"), axes="TCYX")
    by_channel = accepted(tmp_path / "m.tif", ("a", "b"), axes="CTYX")

    with open_movie(by_frame) as movie:
        np.testing.assert_array_equal(movie.read(1, "b"), truth.reshape(6, 24, 40)[3])
    with open_movie(by_channel) as movie:
        np.testing.assert_array_equal(movie.read(1, "b"), truth.reshape(6, 24, 40)[4])


def test_the_axes_of_the_sheet_win_over_z_in_the_file(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(6), imagej=True, metadata={"axes": "ZYX"})

    np.testing.assert_array_equal(read_all(accepted(tmp_path / "m.tif", axes="TYX")), stack(6))
    np.testing.assert_array_equal(read_all(accepted(tmp_path / "m.tif", axes="TZCYX")), stack(6))


def test_a_movie_of_one_frame_needs_only_its_axes_stated(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(1)[0])

    info = accepted(tmp_path / "m.tif", axes="TYX", stated=("pixel_size_um",))

    assert info["frames"] == 1
    assert frame_times_h(info, None).tolist() == [0]


def test_the_dimension_order_of_ome_is_followed(tmp_path):
    truth = stack(3, 2)
    write_tiff(tmp_path / "m.ome.tif", truth.swapaxes(0, 1), metadata={"axes": "CTYX"})

    with open_movie(accepted(tmp_path / "m.ome.tif", ("a", "b"))) as movie:
        np.testing.assert_array_equal(movie.read(2, "a"), truth[2, 0])
        np.testing.assert_array_equal(movie.read(0, "b"), truth[0, 1])


def test_positions_are_counted_named_and_read_apart(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.ome.tif", ome=True) as tif:
        for position in range(3):
            tif.write(stack() + 100 * position, metadata={"axes": "TYX"})

    found = find_movies("*.tif", tmp_path)
    info = accepted(tmp_path / "m.ome.tif", position=2)

    assert count_positions(tmp_path / "m.ome.tif") == 3
    assert found == {f"m_p00{position}": MovieSource("m.ome.tif", position) for position in range(3)}
    np.testing.assert_array_equal(read_all(info), stack() + 200)


def test_a_position_that_is_not_there_is_refused(tmp_path):
    write_tiff(tmp_path / "m.ome.tif", stack(), metadata={"axes": "TYX"})

    assert "position 3 was asked for, the file holds 1" in refusal(tmp_path / "m.ome.tif", position=3)


def test_frames_written_one_by_one_are_no_positions(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.tif") as tif:
        for page in stack():
            tif.write(page)

    assert count_positions(tmp_path / "m.tif") == 1
    np.testing.assert_array_equal(read_all(accepted(tmp_path / "m.tif", axes="TYX")), stack())


@pytest.mark.parametrize("content", [b"", b"II*\0", b"no image at all, but long enough to be read as a header"])
def test_an_unreadable_container_counts_as_one_movie(tmp_path, content):
    (tmp_path / "m.tif").write_bytes(content)

    assert find_movies("*.tif", tmp_path) == {"m": MovieSource("m.tif", None)}


# What a file says of scales and times.


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


def ome_movie(path: Path, frames: int = 3, channels: int = 1, **metadata) -> Path:
    data = stack(frames, channels)
    write_tiff(path, data, metadata={"axes": "TCYX" if channels > 1 else "TYX", **metadata})
    return path


@pytest.mark.parametrize(("size", "unit"), [(0.25, "µm"), (250, "nm"), (0.00025, "mm"), (2500, "Å")])
def test_pixel_size_is_read_from_ome_in_any_unit(tmp_path, size, unit):
    scales = {"PhysicalSizeX": size, "PhysicalSizeXUnit": unit, "PhysicalSizeY": size, "PhysicalSizeYUnit": unit}

    info = accepted(ome_movie(tmp_path / "m.ome.tif", **scales, TimeIncrement=2, TimeIncrementUnit="min"), stated=())

    assert info["pixel_size_um"] == pytest.approx(0.25)
    assert info["frame_interval_min"] == pytest.approx(2)
    assert frame_times_h(info, None) == pytest.approx([0, 2 / 60, 4 / 60])


def test_times_and_exposures_of_the_planes_are_read_from_ome(tmp_path):
    plane = {
        "DeltaT": [10.0, 11.0, 310.0, 311.0, 616.0, 617.0],
        "ExposureTime": [0.05, 0.2] * 3,
        "ExposureTimeUnit": ["s"] * 6,
    }

    info = accepted(ome_movie(tmp_path / "m.ome.tif", 3, 2, Plane=plane), ("a", "b"), stated=("pixel_size_um",))

    assert info["time_h"] == pytest.approx([0, 300 / 3600, 606 / 3600])
    assert info["frame_interval_min"] == pytest.approx(303 / 60)
    assert info["exposure_ms"] == pytest.approx({"a": 50, "b": 200})
    assert frame_times_h(info, None) == pytest.approx(info["time_h"])
    assert frame_times_h(info, 6.0) == pytest.approx([0, 0.1, 0.2])


def test_time_stamps_that_do_not_rise_are_not_used(tmp_path):
    path = ome_movie(tmp_path / "m.ome.tif", Plane={"DeltaT": [0.0, 0.0, 0.0]}, TimeIncrement=60)

    info = accepted(path, stated=("pixel_size_um",))

    assert info["time_h"] is None
    assert info["frame_interval_min"] == pytest.approx(1)
    assert info["warnings"] == ["time stamps are missing or do not rise: not used"]


def test_the_resolution_of_a_print_is_not_taken_for_a_pixel_size(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(), resolution=(72, 72), resolutionunit="INCH", metadata={"axes": "TYX"})

    assert accepted(tmp_path / "m.tif")["pixel_size_um"] is None


def test_a_resolution_in_centimetres_is_taken_for_a_pixel_size(tmp_path):
    per_cm = 1e4 / 0.645
    write_tiff(
        tmp_path / "m.tif", stack(), resolution=(per_cm, per_cm), resolutionunit="CENTIMETER", metadata={"axes": "TYX"}
    )

    assert accepted(tmp_path / "m.tif")["pixel_size_um"] == pytest.approx(0.645, rel=1e-5)


def test_pixels_that_are_not_square_are_said_and_not_used(tmp_path):
    path = ome_movie(tmp_path / "m.ome.tif", PhysicalSizeX=0.2, PhysicalSizeY=0.3)

    assert accepted(path)["warnings"] == ["its metadata say pixels of 0.3 x 0.2 um, which are not square: not used"]
    assert "does not say the size of a pixel (its metadata say pixels of 0.3 x 0.2 um" in refusal(path, stated=())


def test_a_pixel_size_of_no_microscope_is_said_and_not_used(tmp_path):
    path = ome_movie(tmp_path / "m.ome.tif", PhysicalSizeX=352.8, PhysicalSizeY=352.8)

    (warning,) = accepted(path)["warnings"]

    assert warning == "its metadata say a pixel size of 352.8 um, outside of 0.005 to 50: not used"


def test_a_pixel_size_that_nobody_states_is_refused_with_the_column(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(), metadata={"axes": "TYX"})

    reason = refusal(tmp_path / "m.tif", stated=("frame_interval_min",))

    assert reason.endswith(
        "does not say the size of a pixel; state it in config/experiments.tsv (column pixel_size_um)"
    )


def test_an_interval_that_nobody_states_is_refused_with_the_column(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(), metadata={"axes": "TYX"})

    reason = refusal(tmp_path / "m.tif", stated=("pixel_size_um",))

    assert "does not say the time between frames; state it in config/experiments.tsv" in reason
    assert "(column frame_interval_min)" in reason


def test_channels_named_in_another_order_than_the_sheets_are_said(tmp_path):
    path = ome_movie(tmp_path / "m.ome.tif", 3, 2, Channel={"Name": ["gfp", "phase"]})

    (warning,) = accepted(path, ("phase", "gfp"))["warnings"]

    assert warning == (
        "the file names its channels gfp, phase, config/experiments.tsv says phase, gfp: the sheet was followed"
    )


@pytest.mark.parametrize(("largest", "saturation"), [(4095, 4095), (16383, 16383), (4094, 65535), (5000, 65535)])
def test_a_camera_of_fewer_bits_shows_by_its_largest_value(tmp_path, largest, saturation):
    data = stack()
    data[1, 3, 3] = largest
    write_tiff(tmp_path / "m.tif", data, metadata={"axes": "TYX"})

    assert accepted(tmp_path / "m.tif")["saturation_au"] == saturation


def test_significant_bits_of_ome_give_the_largest_value(tmp_path):
    assert accepted(ome_movie(tmp_path / "m.ome.tif", SignificantBits=12))["saturation_au"] == 4095


def test_a_float_movie_has_no_largest_value(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(dtype="float32"), metadata={"axes": "TYX"})

    assert accepted(tmp_path / "m.tif")["saturation_au"] is None


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


# Folders.


def test_a_folder_of_a_file_a_frame_is_read_in_the_order_of_its_numbers(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in range(12)})

    np.testing.assert_array_equal(read_all(accepted(folder)), stack(12))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_folder_of_png_frames_gives_its_pixels_back(tmp_path, dtype):
    folder = frames_folder(tmp_path / "m", {f"img_{t:03d}.png": picture(t, dtype=dtype) for t in range(3)})

    info = accepted(folder)

    assert info["dtype"] == dtype
    np.testing.assert_array_equal(read_all(info), stack(3, dtype=dtype))


NAMES = [
    "img_{t:09d}_{c}_000.tif",
    "exp1_w{w}{c}_s1_t{t}.TIF",
    "{c}_{t:03d}.tif",
    "{c}{t:03d}.tif",
    "pos3-t{t:02d}-{c}.tif",
]


@pytest.mark.parametrize("pattern", NAMES)
def test_frame_and_channel_are_found_in_the_names_of_files(tmp_path, pattern):
    names = {
        pattern.format(t=t + 1, c=c, w=w + 1): picture(t, w) for t in range(11) for w, c in enumerate(("GFP", "Phase"))
    }

    info = accepted(frames_folder(tmp_path / "m", names), ("gfp", "phase"))

    with open_movie(info) as movie:
        np.testing.assert_array_equal(movie.read(10, "phase"), picture(10, 1))
        np.testing.assert_array_equal(movie.read(1, "gfp"), picture(1, 0))


def test_a_channel_whose_name_begins_anothers_is_told_apart(tmp_path):
    names = {f"{c}_t{t}.tif": picture(t, w) for t in range(3) for w, c in enumerate(("GFP", "GFP2"))}

    with open_movie(accepted(frames_folder(tmp_path / "m", names), ("GFP", "GFP2"))) as movie:
        np.testing.assert_array_equal(movie.read(1, "GFP"), picture(1, 0))
        np.testing.assert_array_equal(movie.read(1, "GFP2"), picture(1, 1))


def test_a_counter_is_told_from_the_clock_beside_it(tmp_path):
    names = {f"img_{t:03d}_{90000 + 317 * t}.tif": picture(t) for t in range(4)}

    np.testing.assert_array_equal(read_all(accepted(frames_folder(tmp_path / "m", names))), stack(4))


def test_a_folder_of_one_stack_a_channel_is_read(tmp_path):
    for channel, name in enumerate(("phase", "gfp")):
        write_tiff(tmp_path / f"{name}.tif", stack(4, 2)[:, channel], metadata={"axes": "TYX"})
    write_tiff(tmp_path / "labels_tracked.tif", stack(4), metadata={"axes": "TYX"})

    info = accepted(tmp_path, ("gfp", "phase"))

    assert info["warnings"] == ["images that belong to no channel were left out: labels_tracked.tif"]
    with open_movie(info) as movie:
        np.testing.assert_array_equal(movie.read(3, "gfp"), picture(3, 1))
        np.testing.assert_array_equal(movie.read(3, "phase"), picture(3, 0))


def test_a_file_a_frame_may_hold_a_page_for_each_channel(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": stack(3, 2)[t] for t in range(3)})

    with open_movie(accepted(folder, ("a1", "b1"))) as movie:
        np.testing.assert_array_equal(movie.read(2, "b1"), picture(2, 1))


def test_a_channel_taken_at_every_third_frame_is_null_in_between(tmp_path):
    names = {f"phase_{t:02d}.tif": picture(t) for t in range(7)}
    names |= {f"gfp_{t:02d}.tif": picture(t, 1) for t in (0, 3, 6)}

    info = accepted(frames_folder(tmp_path / "m", names), ("phase", "gfp"))

    assert info["acquired"]["gfp"] == [True, False, False, True, False, False, True]
    assert info["acquired"]["phase"] == [True] * 7
    assert info["warnings"] == []
    with open_movie(info) as movie:
        assert movie.read(1, "gfp") is None
        np.testing.assert_array_equal(movie.read(3, "gfp"), picture(3, 1))


@pytest.mark.parametrize("name", ["dna.tif", "exp12_dna_t0.tif"])
def test_a_channel_taken_once_at_the_beginning_is_null_afterwards(tmp_path, name):
    names = {f"exp12_phase_t{t}.tif": picture(t) for t in range(4)} | {name: picture(0, 1)}

    info = accepted(frames_folder(tmp_path / "m", names), ("phase", "dna"))

    assert info["acquired"]["dna"] == [True, False, False, False]


def test_a_folder_with_a_single_stack_is_read_whatever_its_name(tmp_path):
    write_tiff(tmp_path / "stack7.tif", stack(4), metadata={"axes": "TYX"})

    np.testing.assert_array_equal(read_all(accepted(tmp_path, ("phase",))), stack(4))


def test_frames_numbered_in_equal_steps_are_taken_as_consecutive_and_said(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t:03d}.tif": picture(t // 5) for t in range(0, 20, 5)})

    info = accepted(folder)

    assert info["warnings"] == ["frames are numbered in steps of 5 and were taken as consecutive"]
    np.testing.assert_array_equal(read_all(info), stack(4))


def test_an_image_without_a_number_is_left_out_and_said(tmp_path):
    names = {f"t{t}.tif": picture(t) for t in range(3)} | {"mean.tif": picture(9)}

    info = accepted(frames_folder(tmp_path / "m", names))

    assert info["frames"] == 3
    assert info["warnings"] == ["images that belong to no channel were left out: mean.tif"]


def test_hidden_and_other_files_of_a_folder_are_none_of_the_movie(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in range(3)})
    (folder / "._t0.tif").write_bytes(b"resource fork")
    (folder / "notes.txt").write_text("day 3")

    assert accepted(folder)["frames"] == 3


def test_frames_that_land_after_the_inspection_do_not_move_the_others(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in range(1, 4)})
    info = accepted(folder)
    frames_folder(folder, {"t0.tif": picture(50), "t4.tif": picture(4)})

    np.testing.assert_array_equal(read_all(info), stack(4)[1:])


def test_a_frame_that_is_missing_in_a_folder_is_named(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t:03d}.tif": picture(t) for t in range(20) if t not in (7, 11, 12)})

    assert "the frames 7, 11, 12 are missing; copy them again" in refusal(folder)


def test_many_missing_frames_are_counted(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t:03d}.tif": picture(t) for t in (0, 1, 30)})

    assert "the frames 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 18 more are missing" in refusal(folder)


def test_a_reporter_without_rhythm_has_a_hole(tmp_path):
    names = {f"phase_{t}.tif": picture(t) for t in range(6)} | {f"gfp_{t}.tif": picture(t) for t in range(6) if t != 4}

    reason = refusal(frames_folder(tmp_path / "m", names), ("phase", "gfp"))

    assert "the frames 4 of channel 'gfp' are missing" in reason


def test_a_reporter_that_goes_on_longer_is_refused(tmp_path):
    names = {f"phase_{t}.tif": picture(t) for t in range(3)} | {f"gfp_{t}.tif": picture(t) for t in range(5)}

    reason = refusal(frames_folder(tmp_path / "m", names), ("phase", "gfp"))

    assert "channel 'gfp' has files for the frames 3, 4, the segmented channel 'phase' has none there" in reason


def test_a_frame_that_is_there_twice_is_refused(tmp_path):
    folder = frames_folder(tmp_path / "m", {"t1.tif": picture(1), "t01.tif": picture(1), "t2.tif": picture(2)})

    assert re.search(r"frame 1 is there twice, t0?1.tif and t0?1.tif; move one of them out", refusal(folder))


def test_an_empty_folder_is_refused(tmp_path):
    assert "is a folder without images; wanted files that end in .tif, .tiff, .png" in refusal(tmp_path)


def test_a_channel_without_files_is_refused_by_name(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"phase_{t}.tif": picture(t) for t in range(3)})

    assert "no file name holds the channel 'gfp' (there are phase_0.tif, phase_1.tif" in refusal(
        folder, ("phase", "gfp")
    )


def test_a_name_with_two_channels_is_refused(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"gfp_rfp_{t}.tif": picture(t) for t in range(3)})

    assert "gfp_rfp_0.tif holds two channels, 'gfp' and 'rfp'" in refusal(folder, ("gfp", "rfp"))


def test_names_of_two_patterns_are_refused(tmp_path):
    folder = frames_folder(tmp_path / "m", {"a_1.tif": picture(1), "a_2.tif": picture(2), "b_1.tif": picture(3)})

    assert "the file names follow more than one pattern (a_1.tif, b_1.tif)" in refusal(folder, ("phase",))


def test_names_without_numbers_are_refused(tmp_path):
    folder = frames_folder(tmp_path / "m", {"first.tif": picture(1), "second.tif": picture(2)})

    assert "the file names hold no number of a frame (first.tif, second.tif)" in refusal(folder)


@pytest.mark.parametrize(
    ("pattern", "finding"),
    [
        ("t{a}_z{b}.tif", "are of several Z slices; project them first"),
        ("t{a}_xy{b}.tif", "are of several positions; put each position into a folder of its own"),
        ("t{a}_c{b}.tif", "are of several channels; name the channels in config/experiments.tsv as the files do"),
        ("{a}_{b}.tif", "2 numbers change in the file names (as in 0_0); put t before the frame's number"),
    ],
)
def test_a_second_number_that_changes_is_refused(tmp_path, pattern, finding):
    names = {pattern.format(a=a, b=b): picture(a, b) for a in range(3) for b in range(2)}

    assert finding in refusal(frames_folder(tmp_path / "m", names), ("phase",))


def test_frame_files_that_are_stacks_are_refused(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": stack(3) for t in range(3)})

    assert "a file of one frame holds 3 planes, wanted 1 (channels: a1)" in refusal(folder, ("a1",))


def test_stacks_of_different_lengths_are_refused(tmp_path):
    write_tiff(tmp_path / "phase.tif", stack(4), metadata={"axes": "TYX"})
    write_tiff(tmp_path / "gfp.tif", stack(3), metadata={"axes": "TYX"})

    assert "gfp.tif has 3 frames, phase.tif has 4" in refusal(tmp_path, ("phase", "gfp"))


def test_a_single_png_beside_a_stack_is_refused(tmp_path):
    frames_folder(tmp_path, {"phase.tif": stack(3), "gfp.png": picture(0)})

    reason = inspect(tmp_path, ("phase", "gfp"), axes="TYX")["reason"]

    assert "gfp.png: is one PNG image; a channel needs a file a frame, or a TIFF stack" in reason


def test_a_frame_of_another_size_is_refused_by_number(tmp_path):
    names = {f"t{t}.tif": picture(t, shape=(24, 40) if t != 2 else (24, 41)) for t in range(4)}

    reason = refusal(frames_folder(tmp_path / "m", names))

    assert "frame 2 of channel 'a' is 24 x 41 px uint16, the first is 24 x 40 px uint16" in reason


def test_channels_of_different_types_are_refused(tmp_path):
    names = {f"phase_{t}.tif": picture(t, dtype="uint8") for t in range(2)}
    names |= {f"gfp_{t}.tif": picture(t) for t in range(2)}

    reason = refusal(frames_folder(tmp_path / "m", names), ("phase", "gfp"))

    assert "channel 'gfp' is 24 x 40 px uint16, channel 'phase' is 24 x 40 px uint8" in reason


# Axes: an ambiguous file is refused with its shape and the readings that fit.


def test_a_stack_that_says_z_is_refused_with_the_reading_as_time(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(6), imagej=True, metadata={"axes": "ZYX"})

    reason = refusal(tmp_path / "m.tif")

    assert "its planes are ambiguous, shape (6, 24, 40) with axes ZYX (ImageJ): no time axis, but Z" in reason
    assert "It could be read as TYX (6 frames): name the axes in config/experiments.tsv (column axes)" in reason
    assert "where they are Z slices, project them first" in reason


def test_a_plain_stack_of_two_channels_is_refused_with_both_readings(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(6), metadata=None)

    reason = refusal(tmp_path / "m.tif", ("a", "b"))

    assert "shape (6, 24, 40) with axes IYX (plain): they do not say what they are" in reason
    assert "It could be read as TCYX (3 frames) or CTYX (3 frames)" in reason


def test_channels_that_are_frames_are_refused_with_the_reading_as_time(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(6), imagej=True, metadata={"axes": "CYX"})

    reason = refusal(tmp_path / "m.tif")

    assert "has 6 channels, config/experiments.tsv names 1 (a), shape (6, 24, 40) with axes CYX (ImageJ)" in reason
    assert "It could be read as TYX (6 frames)" in reason


def test_a_wrong_number_of_channels_is_refused(tmp_path):
    reason = refusal(ome_movie(tmp_path / "m.ome.tif", 4, 2), ("a", "b", "c"))

    assert (
        "has 2 channels, config/experiments.tsv names 3 (a, b, c), shape (4, 2, 24, 40) with axes TCYX (OME)" in reason
    )
    assert "No reading fits 3 channels: correct config/experiments.tsv (column channels)" in reason


def test_time_and_channel_exchanged_are_refused_with_the_other_reading(tmp_path):
    write_tiff(tmp_path / "m.ome.tif", stack(2, 5), metadata={"axes": "TCYX"})

    assert "It could be read as CTYX (5 frames)" in refusal(tmp_path / "m.ome.tif", ("a", "b"))
    assert accepted(tmp_path / "m.ome.tif", ("a", "b"), axes="CTYX")["frames"] == 5


def test_a_z_stack_over_time_is_refused_with_the_remedy(tmp_path):
    write_tiff(tmp_path / "m.ome.tif", stack(3, 5), metadata={"axes": "TZYX"})

    reason = refusal(tmp_path / "m.ome.tif")

    assert "has 5 Z slices a frame, shape (3, 5, 24, 40) with axes TZYX (OME); project them first" in reason
    assert "has Z slices by the axes 'TZYX'" in refusal(tmp_path / "m.ome.tif", axes="TZYX")


def test_a_single_image_is_refused_with_the_axes_that_mend_it(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(1)[0])
    write_tiff(tmp_path / "c.ome.tif", stack(1, 2)[0], metadata={"axes": "CYX"})

    assert "is one image without a time axis" in refusal(tmp_path / "m.tif")
    assert "a movie of one frame needs the axes TCYX" in refusal(tmp_path / "c.ome.tif", ("a", "b"))


@pytest.mark.parametrize(
    ("axes", "channels", "finding"),
    [
        ("TXY", ("a",), "wanted letters of T, C, Y, X, each once, ending in YX"),
        ("TTYX", ("a",), "wanted letters of T, C, Y, X, each once, ending in YX"),
        ("ZYX", ("a",), "axes are 'ZYX' in config/experiments.tsv, a movie needs a time axis T"),
        ("TYX", ("a", "b"), "without a channel axis C, but 2 channels are named (a, b)"),
        ("TCYX", ("a", "b", "c", "d", "e"), "does not fit the axes 'TCYX' of config/experiments.tsv with 5 channels"),
    ],
)
def test_axes_of_the_sheet_that_cannot_be_are_refused(tmp_path, axes, channels, finding):
    write_tiff(tmp_path / "m.tif", stack(6), metadata=None)

    assert finding in refusal(tmp_path / "m.tif", channels, axes=axes)


def test_axes_of_the_sheet_that_contradict_two_known_sizes_are_refused(tmp_path):
    reason = refusal(ome_movie(tmp_path / "m.ome.tif", 6, 2), ("a", "b"), axes="CTYX")

    assert "does not fit the axes 'CTYX'" in reason
    assert "shape (6, 2, 24, 40) with axes TCYX (OME)" in reason


# Zeros.


def test_zeros_at_every_third_frame_of_a_reporter_are_planes_not_acquired(tmp_path):
    data = stack(7, 2)
    data[[1, 2, 4, 5], 1] = 0
    write_tiff(tmp_path / "m.ome.tif", data, metadata={"axes": "TCYX"})

    info = accepted(tmp_path / "m.ome.tif", ("phase", "gfp"))

    assert info["acquired"] == {"phase": [True] * 7, "gfp": [True, False, False, True, False, False, True]}
    assert info["warnings"] == []
    with open_movie(info) as movie:
        assert movie.read(2, "gfp") is None
        np.testing.assert_array_equal(movie.read(3, "gfp"), data[3, 1])


def test_zeros_without_rhythm_in_a_reporter_are_not_acquired_and_said(tmp_path):
    data = stack(7, 2)
    data[[1, 4, 5, 6], 1] = 0
    write_tiff(tmp_path / "m.ome.tif", data, metadata={"axes": "TCYX"})

    info = accepted(tmp_path / "m.ome.tif", ("phase", "gfp"))

    assert info["acquired"]["gfp"] == [True, False, True, True, False, False, False]
    assert info["warnings"] == [
        "channel 'gfp' is all zeros at the frames 1, 4 to 6, which follow no rhythm: taken as not acquired"
    ]


def test_zeros_in_the_segmented_channel_are_refused_by_frame(tmp_path):
    data = stack(9)
    data[[2, 6, 7, 8]] = 0
    write_tiff(tmp_path / "m.tif", data, metadata={"axes": "TYX"})

    reason = refusal(tmp_path / "m.tif")

    assert "the segmented channel 'a' is all zeros at the frames 2, 6 to 8 of 9" in reason
    assert "the acquisition was stopped early" in reason


@pytest.mark.parametrize(
    ("acquired", "regular"),
    [
        ([0, 1, 2, 3, 4, 5], True),
        ([0, 3], True),
        ([2, 4], True),
        ([0], True),
        ([5], True),
        ([2], False),
        ([], False),
        ([0, 1, 2, 3], False),
        ([0, 1, 3, 5], False),
    ],
)
def test_planes_at_every_nth_frame_to_the_end_are_regular(acquired, regular):
    assert is_regular(acquired, 6) is regular


def ome_xml(planes_xml: str, **sizes) -> str:
    size = {"SizeT": 3, "SizeC": 2, "SizeZ": 1, "SizeX": 40, "SizeY": 24, "DimensionOrder": "XYCZT", **sizes}
    attributes = " ".join(f'{key}="{value}"' for key, value in size.items())
    return (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" Type="uint16" {attributes}>{planes_xml}</Pixels></Image></OME>'
    )


def write_ome(path: Path, xml: str, pages: int) -> Path:
    write_tiff(path, stack(pages), metadata=None, description=xml.encode())
    return path


def test_planes_that_the_metadata_leave_out_were_not_acquired(tmp_path):
    blocks = [(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 2, 0), (4, 2, 1)]
    tiff_data = "".join(f'<TiffData IFD="{i}" FirstT="{t}" FirstC="{c}" PlaneCount="1"/>' for i, t, c in blocks)
    path = write_ome(tmp_path / "m.ome.tif", ome_xml(tiff_data), 5)

    info = accepted(path, ("phase", "gfp"))

    assert info["acquired"] == {"phase": [True] * 3, "gfp": [True, False, True]}
    assert info["warnings"] == []
    with open_movie(info) as movie:
        np.testing.assert_array_equal(movie.read(2, "gfp"), picture(4))
        assert movie.read(1, "gfp") is None
    reason = refusal(path, ("phase", "gfp"), segment="gfp")
    assert "the segmented channel 'gfp' was not acquired at the frames 1; segment a channel of every frame" in reason


# Damage.


def test_fewer_pages_than_ome_claims_are_refused(tmp_path):
    path = write_ome(tmp_path / "m.ome.tif", ome_xml("<TiffData/>"), 5)

    assert "its metadata claim 6 planes, the file holds 5: the acquisition was stopped early" in refusal(
        path, ("a", "b")
    )


@pytest.mark.parametrize("order", [{"imagej": True}, {}])
def test_fewer_pages_than_the_description_claims_are_refused(tmp_path, order):
    write_tiff(tmp_path / "full.tif", stack(6), metadata={"axes": "TYX"}, **order)
    with tifffile.TiffFile(tmp_path / "full.tif") as tif:
        description = tif.pages.first.description
    write_tiff(tmp_path / "m.tif", stack(4), metadata=None, description=description, compression="zlib")

    assert "its metadata claim 6 planes, the file holds 4" in refusal(tmp_path / "m.tif")


def test_a_header_that_claims_absurdly_many_planes_costs_no_memory(tmp_path):
    blocks = '<TiffData IFD="0"/>'
    path = write_ome(tmp_path / "m.ome.tif", ome_xml(blocks, SizeT=10**12), 5)

    assert "its metadata claim 2000000000000 planes, the file holds 5" in refusal(path, ("a", "b"))


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


def change_tag(path: Path, page: int, tag: str, value: int, *, count: bool = False) -> None:
    """Overwrite a number that is stored in the tag itself, or how many numbers it holds."""
    with tifffile.TiffFile(path) as tif:
        found = tif.pages[page].tags[tag]
        form = tif.byteorder + ("H" if found.dtype == 3 and not count else "I")
        offset = found.offset + (4 if count else 8)
    data = bytearray(path.read_bytes())
    data[offset : offset + struct.calcsize(form)] = struct.pack(form, value)
    path.write_bytes(data)


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


def test_a_file_that_may_not_be_opened_is_refused(tmp_path, monkeypatch):
    write_tiff(tmp_path / "m.tif", stack())

    def denied(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(planes.os.path, "getsize", denied)

    assert "cannot be opened (Permission denied)" in refusal(tmp_path / "m.tif")


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


def test_values_that_are_no_numbers_are_refused(tmp_path):
    data = stack(dtype="float32")
    data[2, 5, 5] = np.nan
    write_tiff(tmp_path / "m.tif", data, metadata={"axes": "TYX"})

    assert "frame 2 of channel 'a' holds values that are no numbers" in refusal(tmp_path / "m.tif")


def test_a_metamorph_stack_is_refused_by_name(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(1)[0], metadata=None, extratags=[(33628, 4, 4, (1, 2, 3, 4), True)])

    assert "MetaMorph STK is not read; export it as OME-TIFF" in refusal(tmp_path / "m.tif")


@pytest.mark.parametrize(
    ("xml", "finding"),
    [
        (ome_xml("<TiffData/>", SizeT="three"), "its OME-XML has a size that is no number"),
        (ome_xml("<TiffData/>", SizeT=0), "its OME-XML has the sizes {'Z': 1, 'C': 2, 'T': 0}"),
        (ome_xml('<TiffData IFD="first"/>'), "its metadata cannot be read (ValueError: invalid literal"),
        (ome_xml("<TiffData>").replace("</Pixels>", "</Pix>"), "its OME-XML cannot be read (mismatched tag"),
        ('<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"></OME>', "its OME-XML names no image"),
        (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><BinaryOnly MetadataFile="x.ome" /></OME>',
            "its OME metadata are in another file (x.ome); export the movie as one OME-TIFF",
        ),
        (
            ome_xml(
                '<TiffData IFD="0"><UUID FileName="a.tif">1</UUID></TiffData>'
                '<TiffData IFD="0"><UUID FileName="b.tif">2</UUID></TiffData>'
            ),
            "its OME metadata spread it over 2 files (a.tif, b.tif, ...); export it as one OME-TIFF",
        ),
    ],
)
def test_metadata_of_ome_that_cannot_be_used_are_refused(tmp_path, xml, finding):
    path = write_ome(tmp_path / "m.ome.tif", xml, 6)

    assert finding in refusal(path, ("a", "b"))


def test_a_file_of_an_ome_set_is_read_for_its_own_position_alone(tmp_path):
    xml = ome_xml('<TiffData IFD="0" PlaneCount="6"><UUID FileName="other.ome.tif">1</UUID></TiffData>')
    own = ome_xml('<TiffData IFD="0" PlaneCount="6"><UUID FileName="m.ome.tif">2</UUID></TiffData>')
    both = xml.replace("</OME>", "") + own[own.index("<Image") :]
    path = write_ome(tmp_path / "m.ome.tif", both, 6)

    assert count_positions(path) == 1
    assert accepted(path, ("a", "b"))["frames"] == 3


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"no png", "is not a PNG file, or breaks off in its header"),
        ("colour", "is a colour or palette PNG (RGB)"),
        ("bits", "has 1 bits a pixel; wanted 8 or 16"),
        ("cut", "cannot be decoded"),
        ("absurd", "its header claims planes of 4000000000 x 40 px"),
    ],
)
def test_a_png_that_cannot_be_used_is_refused(tmp_path, content, finding):
    folder = frames_folder(tmp_path / "m", {f"t{t}.png": picture(t) for t in range(3)})
    target = folder / "t0.png"
    data = bytearray(target.read_bytes())
    if content == "colour":
        write_png(target, np.ones((24, 120), "uint8"), colour=2)
    elif content == "bits":
        data[24] = 1
        target.write_bytes(data)
    elif content == "cut":
        target.write_bytes(data[:60])
    elif content == "absurd":
        data[20:24] = struct.pack(">I", 4_000_000_000)
        target.write_bytes(data)
    else:
        target.write_bytes(content)

    reason = inspect(folder)["reason"]

    assert finding in reason
    assert str(target) in reason


def test_files_damaged_at_random_end_in_a_verdict(tmp_path):
    chance = random.Random(1)
    write_tiff(tmp_path / "o.ome.tif", stack(3, 2), metadata={"axes": "TCYX"}, compression="zlib")
    write_tiff(tmp_path / "i.tif", stack(3, 2), imagej=True, metadata={"axes": "TCYX"})
    for name in ("o.ome.tif", "i.tif"):
        whole = (tmp_path / name).read_bytes()
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(3):
                place = chance.randrange(len(data) - 4)
                data[place : place + 4] = chance.choice([b"\0" * 4, b"\xff" * 4, chance.randbytes(4)])
            (tmp_path / f"x_{name}").write_bytes(data)
            assert inspect(tmp_path / f"x_{name}", ("a", "b"))["status"] in ("ok", "refused")
            assert count_positions(tmp_path / f"x_{name}") >= 0


# Verdicts.


@pytest.mark.parametrize("name", ["m.nd2", "m.czi", "m.lif", "m.ome.zarr"])
def test_formats_of_a_later_version_are_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"anything")

    assert "is not read in this version; export it as OME-TIFF" in refusal(tmp_path / name)


def test_a_movie_that_is_not_there_is_refused(tmp_path):
    assert "there is no such file or folder" in refusal(tmp_path / "m.tif")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "m.avi").write_bytes(b"RIFF")

    assert "is no movie that can be read; wanted a TIFF stack, or a folder of TIFF or PNG" in refusal(
        tmp_path / "m.avi"
    )


def test_a_segmented_channel_that_is_none_is_refused(tmp_path):
    write_tiff(tmp_path / "m.tif", stack())

    assert "the segmented channel 'fase' is none of its channels phase" in refusal(
        tmp_path / "m.tif", ("phase",), segment="fase"
    )


def test_a_refused_movie_stops_the_run_where_that_is_asked_for(tmp_path):
    with pytest.raises(ValueError, match="there is no such file or folder"):
        inspect(tmp_path / "m.tif", on_bad_movie="stop")


def test_a_refused_movie_cannot_be_opened(tmp_path):
    with pytest.raises(ValueError, match="was refused and cannot be opened: .*no such file"):
        open_movie(inspect(tmp_path / "m.tif"))


def test_a_verdict_survives_as_movie_json(tmp_path):
    info = accepted(ome_movie(tmp_path / "m.ome.tif"))

    write_info(info, tmp_path / "movie.json")

    assert json.loads((tmp_path / "movie.json").read_text()) == info


def test_a_frame_or_channel_that_is_not_there_is_refused(tmp_path):
    with open_movie(accepted(ome_movie(tmp_path / "m.ome.tif"))) as movie:
        with pytest.raises(ValueError, match="has no frame 3 of channel 'a'; it has 3 frames of a"):
            movie.read(3, "a")
        with pytest.raises(ValueError, match="has no frame 0 of channel 'b'"):
            movie.read(0, "b")
        with pytest.raises(ValueError, match="has no frame -1 of channel 'a'"):
            movie.read(-1, "a")


def test_a_movie_replaced_after_its_inspection_is_not_read_as_if_it_were_the_same(tmp_path):
    info = accepted(ome_movie(tmp_path / "m.ome.tif"))
    write_tiff(tmp_path / "m.ome.tif", stack(3, shape=(20, 40)), metadata={"axes": "TYX"})

    with open_movie(info) as movie, pytest.raises(ValueError, match="frame 0 of channel 'a' is not what was inspected"):
        movie.read(0, "a")


def test_times_that_nobody_states_are_an_error():
    info = {"path": "m.tif", "frames": 3, "time_h": None, "frame_interval_min": None, "pixel_size_um": None}

    with pytest.raises(ValueError, match="movie m.tif: does not say the time between frames; state it in config"):
        frame_times_h(info, None)


def test_the_pixel_size_of_the_sheet_wins_and_must_be_somewhere():
    info = {"path": "m.tif", "pixel_size_um": 0.3}

    assert pixel_size_um(info, 0.2) == 0.2
    assert pixel_size_um(info, None) == 0.3
    with pytest.raises(ValueError, match=r"movie m.tif: does not say the size of a pixel; state it .*pixel_size_um"):
        pixel_size_um({**info, "pixel_size_um": None}, None)


# Stacks between the stages.


def write_stack_of(path, pages, *, axes="TYX", **changes):
    settings = {
        "shape": pages.shape,
        "dtype": pages.dtype,
        "pixel_size_um": 0.2405,
        "frame_interval_min": 5.0,
        "axes": axes,
        "description": {"stage": "label", "of": {"µ": [1, 2]}},
        **changes,
    }
    write_stack(path, iter(pages.reshape(-1, *pages.shape[-2:])), **settings)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "uint32"])
def test_a_stack_comes_back_as_it_was_written(tmp_path, dtype):
    pages = stack(5, dtype=dtype)

    write_stack_of(tmp_path / "s.tif", pages)

    with StackReader(tmp_path / "s.tif") as reader:
        assert (reader.shape, reader.dtype) == ((5, 24, 40), np.dtype(dtype))
        assert reader.description == {"stage": "label", "of": {"µ": [1, 2]}}
        np.testing.assert_array_equal([reader.read(frame) for frame in range(5)], pages)


def test_a_stack_of_classes_comes_back_by_frame_and_channel(tmp_path):
    pages = stack(4, 2, dtype="uint8")

    write_stack_of(tmp_path / "s.tif", pages, axes="TCYX")

    with StackReader(tmp_path / "s.tif") as reader:
        assert reader.shape == (4, 2, 24, 40)
        np.testing.assert_array_equal(reader.read(3, 1), pages[3, 1])
        np.testing.assert_array_equal(reader.read(3), pages[3, 0])


def test_other_programs_see_axes_pixel_size_and_interval(tmp_path):
    write_stack_of(tmp_path / "s.tif", stack(5))

    with tifffile.TiffFile(tmp_path / "s.tif") as tif:
        (series,) = tif.series
        assert (series.axes, series.shape) == ("TYX", (5, 24, 40))
        assert tif.is_imagej
        assert tif.imagej_metadata["unit"] == "um"
        assert tif.imagej_metadata["finterval"] == 300
        per_um, scale = tif.pages.first.tags["XResolution"].value
        assert scale / per_um == pytest.approx(0.2405, rel=1e-6)
        assert {page.compression.name for page in tif.pages} == {"ADOBE_DEFLATE"}
        # What ImageJ's own reader cannot do.
        assert not any(page.is_tiled or page.predictor != 1 for page in tif.pages)
        np.testing.assert_array_equal(series.asarray(), stack(5))


def test_a_stack_is_itself_a_movie(tmp_path):
    write_stack_of(tmp_path / "s.tif", stack(4, 2), axes="TCYX")

    info = accepted(tmp_path / "s.tif", ("a", "b"), stated=())

    assert (info["frames"], info["pixel_size_um"], info["frame_interval_min"]) == (4, pytest.approx(0.2405), 5.0)


def test_a_stack_without_scales_or_description_says_none(tmp_path):
    write_stack_of(tmp_path / "s.tif", stack(2), pixel_size_um=None, frame_interval_min=None, description=None)

    info = accepted(tmp_path / "s.tif")

    assert (info["pixel_size_um"], info["frame_interval_min"]) == (None, None)
    with StackReader(tmp_path / "s.tif") as reader:
        assert reader.description == {}


def test_the_one_zero_page_of_a_refused_movie_comes_back(tmp_path):
    write_stack_of(tmp_path / "s.tif", np.zeros((1, 1, 1), "uint16"))

    with StackReader(tmp_path / "s.tif") as reader:
        assert reader.shape == (1, 1, 1)
        assert reader.read(0) == 0


def test_the_same_pages_give_the_same_bytes(tmp_path):
    for name in ("a.tif", "b.tif"):
        write_stack_of(tmp_path / name, stack(3))

    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_a_stack_that_outgrows_a_classic_tiff_goes_on_as_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr(movies, "CLASSIC_TIFF_BYTES", 1500)
    pages = stack(9, 2)

    write_stack_of(tmp_path / "s.tif", pages, axes="TCYX")

    assert [path.name for path in tmp_path.iterdir()] == ["s.tif"]
    with tifffile.TiffFile(tmp_path / "s.tif") as tif:
        assert tif.is_bigtiff
    with StackReader(tmp_path / "s.tif") as reader:
        assert reader.shape == (9, 2, 24, 40)
        assert reader.description["stage"] == "label"
        for frame in range(9):
            np.testing.assert_array_equal(reader.read(frame, 1), pages[frame, 1])


@pytest.mark.parametrize(("axes", "shape"), [("TYX", (2, 2, 24, 40)), ("ZYX", (4, 24, 40)), ("TYX", (0, 24, 40))])
def test_axes_that_do_not_fit_the_shape_are_an_error(tmp_path, axes, shape):
    with pytest.raises(ValueError, match=re.escape(f"axes {axes!r} do not fit the shape {shape}; wanted TYX or TCYX")):
        write_stack_of(tmp_path / "s.tif", stack(4), axes=axes, shape=shape)


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"shape": (4, 24, 41)}, "page 0 is (24, 40) uint16, wanted (24, 41) uint16"),
        ({"dtype": "uint8"}, "page 0 is (24, 40) uint16, wanted (24, 40) uint8"),
        ({"shape": (5, 24, 40)}, "came with 4 pages, wanted 5"),
        ({"shape": (3, 24, 40)}, "came with more pages, wanted 3"),
    ],
)
def test_pages_that_are_not_as_announced_leave_no_file(tmp_path, changes, finding):
    with pytest.raises(ValueError, match=re.escape(finding)):
        write_stack_of(tmp_path / "s.tif", stack(4), **changes)

    assert list(tmp_path.iterdir()) == []


def test_a_stack_of_another_program_is_read_as_frames(tmp_path):
    write_tiff(tmp_path / "s.tif", stack(4), metadata=None)

    with StackReader(tmp_path / "s.tif") as reader:
        assert reader.shape == (4, 24, 40)
        assert reader.description == {}
        np.testing.assert_array_equal(reader.read(3), picture(3))


def test_a_stack_saved_by_imagej_with_a_text_of_its_own_has_no_description(tmp_path):
    write_tiff(tmp_path / "s.tif", stack(4), imagej=True, metadata={"axes": "TYX", "Info": "cut by hand"})

    with StackReader(tmp_path / "s.tif") as reader:
        assert (reader.shape, reader.description) == ((4, 24, 40), {})


def test_a_page_that_is_not_in_the_stack_is_an_error(tmp_path):
    write_stack_of(tmp_path / "s.tif", stack(4))

    with StackReader(tmp_path / "s.tif") as reader:
        with pytest.raises(ValueError, match=r"stack .*s.tif: has no frame 4, channel 0; its shape is \(4, 24, 40\)"):
            reader.read(4)
        with pytest.raises(ValueError, match="has no frame 0, channel 1"):
            reader.read(0, 1)


def test_a_stack_that_was_cut_is_an_error(tmp_path):
    write_stack_of(tmp_path / "s.tif", stack(40))
    whole = (tmp_path / "s.tif").read_bytes()
    (tmp_path / "s.tif").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(ValueError, match="stack .*s.tif: its metadata claim 40 planes, the file holds"):
        StackReader(tmp_path / "s.tif")


MEMORY = """
import resource, sys
import numpy as np
from cytolapse.inspection import inspect_movie
from cytolapse.movies import StackReader, write_stack
path, frames = sys.argv[1], int(sys.argv[2])
page = np.zeros((1024, 1024), "uint16")
page[::64, ::64] = 1
write_stack(path, (page for _ in range(frames)), shape=(frames, 1024, 1024), dtype="uint16", pixel_size_um=0.1,
            frame_interval_min=1.0, axes="TYX", description=None)
info = inspect_movie(path, position=None, axes=None, channels=["a"], segment_channel="a", stated=[],
                     on_bad_movie="stop")
assert info["frames"] == frames
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak_mb(path: Path, frames: int) -> int:
    environment = {**os.environ, "PYTHONPATH": str(Path(movies.__file__).parents[1])}
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, path, str(frames)], env=environment, capture_output=True, text=True, check=True
    )
    return int(run.stdout)


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path):
    assert peak_mb(tmp_path / "s.tif", 200) < peak_mb(tmp_path / "s.tif", 10) + 20


# Discovery.


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_movies_are_named_by_their_path_below_the_wildcard(tmp_path):
    for name in ("night3/exp.tif", "night10/exp.ome.tif", "night3/pos 1+2.tif", "night3/.hidden.tif", "night3/log.txt"):
        touch(tmp_path / "data" / name)

    assert find_movies("data/*/*.tif", tmp_path) == {
        "night3_exp": MovieSource("data/night3/exp.tif", None),
        "night3_pos_1_2": MovieSource("data/night3/pos 1+2.tif", None),
        "night10_exp": MovieSource("data/night10/exp.ome.tif", None),
    }
    assert list(find_movies("data/*/*.tif", tmp_path)) == ["night3_exp", "night3_pos_1_2", "night10_exp"]


def test_folders_are_movies_too(tmp_path):
    for name in ("pos1.5/t0.tif", "pos10/t0.tif", "pos2/t0.tif"):
        touch(tmp_path / "data" / name)
    for name in ("notes.txt", "table.csv", "thumb.png"):
        touch(tmp_path / "data" / name)

    found = find_movies("data/*", tmp_path)

    assert list(found) == ["pos1.5", "pos2", "pos10"]
    assert find_movies("data/*/", tmp_path) == found
    assert found["pos2"] == MovieSource("data/pos2", None)


def test_without_a_wildcard_a_movie_is_named_by_its_file(tmp_path):
    touch(tmp_path / "data/night3/exp.tif")

    assert find_movies("data/night3/exp.tif", tmp_path) == {"exp": MovieSource("data/night3/exp.tif", None)}
    absolute = str(tmp_path / "data/night3/exp.tif")
    assert find_movies(absolute, "/elsewhere") == {"exp": MovieSource(absolute, None)}


def test_any_depth_is_searched(tmp_path):
    touch(tmp_path / "data/a/b/c.tif")
    touch(tmp_path / "data/d.tif")

    assert set(find_movies("data/**/*.tif", tmp_path)) == {"a_b_c", "d"}


def test_formats_of_a_later_version_are_found_so_that_they_can_be_refused(tmp_path):
    touch(tmp_path / "data/a.nd2")

    assert find_movies("data/*", tmp_path) == {"a": MovieSource("data/a.nd2", None)}


def test_nothing_found_is_no_error(tmp_path):
    assert find_movies("data/*.tif", tmp_path) == {}
    assert find_movies("data/x.tif", tmp_path) == {}


def test_a_list_of_paths_and_globs_is_followed(tmp_path):
    for name in ("a/one.tif", "b/two#3.tif", "c/x/exp.tif", "c/y/exp.tif"):
        touch(tmp_path / name)
    (tmp_path / "movies.txt").write_text("# night 3\na/one.tif  # best\n\nb/two#3.tif\nc/*/exp.tif\n")

    assert find_movies("movies.txt", tmp_path) == {
        "one": MovieSource("a/one.tif", None),
        "two_3": MovieSource("b/two#3.tif", None),
        "x_exp": MovieSource("c/x/exp.tif", None),
        "y_exp": MovieSource("c/y/exp.tif", None),
    }


def test_two_movies_of_one_name_are_an_error_that_names_both(tmp_path):
    touch(tmp_path / "data/exp.tif")
    touch(tmp_path / "data/exp.tiff")

    with pytest.raises(ValueError, match="data/exp.tif and data/exp.tiff both get the name 'exp'; rename one of them"):
        find_movies("data/*", tmp_path)


def test_a_listed_path_that_is_not_there_is_an_error(tmp_path):
    (tmp_path / "movies.txt").write_text("a/one.tif\n")

    with pytest.raises(
        ValueError, match=r"movie a/one.tif: there is no such file or folder; correct the list movies.txt"
    ):
        find_movies("movies.txt", tmp_path)


def test_a_list_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"list of movies movies.txt: cannot be read \(.*No such file"):
        find_movies("movies.txt", tmp_path)


def test_a_url_in_a_list_is_an_error(tmp_path):
    (tmp_path / "movies.txt").write_text("https://example.org/a.tif\n")

    with pytest.raises(ValueError, match="https://example.org/a.tif is a URL, which is not read in this version"):
        find_movies("movies.txt", tmp_path)


def test_positions_are_counted_once_while_a_file_stays_the_same(tmp_path, monkeypatch):
    path = ome_movie(tmp_path / "m.ome.tif")
    cache = {}
    before = find_movies("*.tif", tmp_path, cache)
    monkeypatch.setattr(discovery, "count_positions", lambda path: pytest.fail("opened again"))

    assert find_movies("*.tif", tmp_path, json.loads(json.dumps(cache))) == before
    assert cache[str(path)]["positions"] == 1


def test_ten_thousand_movies_are_found_within_seconds(tmp_path):
    for number in range(10_000):
        (tmp_path / f"pos{number}.nd2").touch()

    start = time.perf_counter()
    found = find_movies("*.nd2", tmp_path)

    assert len(found) == 10_000
    assert time.perf_counter() - start < 20


# Fingerprints.


def test_a_touch_keeps_the_fingerprint_and_another_content_changes_it(tmp_path):
    path, cache = tmp_path / "m.tif", {}
    path.write_bytes(os.urandom(3_000_000))
    before = fingerprint(path, cache)

    os.utime(path)
    assert fingerprint(path, cache) == before
    assert fingerprint(path, {}) == before

    path.write_bytes(os.urandom(3_000_000))
    os.utime(path, (1, 1))
    assert fingerprint(path, cache) != before


def test_another_content_under_the_same_time_and_size_changes_the_fingerprint(tmp_path):
    path, cache = touch(tmp_path / "m.tif", b"a" * 1000), {}
    stat = path.stat()
    before = fingerprint(path, cache)

    path.write_bytes(b"b" * 1000)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert fingerprint(path, cache) != before


def test_a_fingerprint_is_cached_by_stat(tmp_path, monkeypatch):
    path, cache = touch(tmp_path / "m.tif"), {}
    before = fingerprint(path, cache)
    monkeypatch.setattr(discovery, "open", lambda *_: pytest.fail("read again"), raising=False)

    assert fingerprint(path, json.loads(json.dumps(cache))) == before
    assert cache[str(path)]["fingerprint"] == before
    assert cache[str(path)]["stat"][:2] == [path.stat().st_mtime_ns, 1]


def test_a_frame_overwritten_added_or_removed_changes_a_folders_fingerprint(tmp_path):
    folder, cache = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in range(4)}), {}
    seen = {fingerprint(folder, cache)}

    stat = (folder / "t2.tif").stat()
    write_tiff(folder / "t2.tif", picture(9), metadata=None)
    os.utime(folder / "t2.tif", ns=(stat.st_atime_ns, 1))
    seen.add(fingerprint(folder, cache))
    write_tiff(folder / "t4.tif", picture(4), metadata=None)
    seen.add(fingerprint(folder, cache))
    (folder / "t0.tif").unlink()
    seen.add(fingerprint(folder, cache))
    (folder / "t4.tif").rename(folder / "t5.tif")
    seen.add(fingerprint(folder, cache))

    assert len(seen) == 5


def test_a_note_beside_the_frames_or_a_touch_keeps_a_folders_fingerprint(tmp_path):
    folder, cache = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in range(4)}), {}
    before = fingerprint(folder, cache)

    (folder / "notes.txt").write_text("nice cells")
    os.utime(folder / "t1.tif")

    assert fingerprint(folder, cache) == before


def test_a_movie_that_cannot_be_read_has_a_fingerprint_too(tmp_path):
    cache = {}

    assert fingerprint(tmp_path / "gone.tif", cache) == "unreadable: No such file or directory"
    assert cache == {}


def test_a_change_in_the_middle_of_a_large_file_is_seen_in_the_sampled_blocks(tmp_path):
    path = touch(tmp_path / "m.tif", bytes(20_000_000))
    before = fingerprint(path, {})
    content = bytearray(path.read_bytes())
    content[9_000_000:12_000_000] = os.urandom(3_000_000)
    path.write_bytes(content)

    assert fingerprint(path, {}) != before


# Real data.


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no {path}: set CYTOLAPSE_DATA")
    return path


@pytest.mark.parametrize(
    ("name", "size_um", "shape"),
    [("Fluo-N2DH-GOWT1/01", 0.2405, (1024, 1024)), ("Fluo-N2DL-HeLa/01", 0.645, (700, 1100))],
)
def test_movies_of_the_cell_tracking_challenge_are_read(name, size_um, shape):
    info = accepted(real(name), ("nuclei",), stated=("frame_interval_min",))

    assert info["frames"] == 92
    assert info["pixel_size_um"] == pytest.approx(size_um, rel=1e-4)
    with open_movie(info) as movie:
        assert movie.shape == shape
        np.testing.assert_array_equal(movie.read(91, "nuclei"), tifffile.imread(real(name) / "t091.tif"))


def test_supersegger_stacks_are_read_as_a_stack_a_channel(tmp_path):
    for channel in ("phase", "fluor1"):
        (tmp_path / f"{channel}.tif").symlink_to((real("SuperSegger-Ecoli") / f"{channel}.tif").resolve())

    info = accepted(tmp_path, ("phase", "fluor1"))

    assert (info["layout"], info["frames"], info["height_px"], info["width_px"]) == ("channel_stacks", 60, 334, 366)
    with open_movie(info) as movie:
        np.testing.assert_array_equal(
            movie.read(17, "fluor1"), tifffile.imread(real("SuperSegger-Ecoli") / "fluor1.tif", key=17)
        )


def test_celltk_frames_are_read_as_a_file_a_frame_and_channel():
    folder = real("CellTK-il1b-3channel/testimages1")

    info = accepted(folder, ("DAPI", "TRITC", "YFP"))

    assert (info["layout"], info["frames"], info["dtype"]) == ("channel_files", 4, "uint16")
    assert info["files"]["YFP"][2] == "img_000000002_YFP_000.png"


def test_yeast_stacks_are_read():
    info = accepted(real("yeastvision-yeast"), ("phase", "fluor"))

    assert (info["frames"], info["height_px"], info["width_px"]) == (10, 520, 692)
    assert info["warnings"] == ["images that belong to no channel were left out: masks_tracked.tif"]


def test_real_files_of_other_kinds_are_refused_with_a_remedy():
    folder = real("reader-files")

    assert "pixels are int8" in refusal(folder / "multi-channel.ome.tif", ("a", "b", "c"))
    for name in ("cluster.nd2", "CD_s_1_t_3_c_2_z_5.czi", "testdata_2channel_xz.lif", "blobs_image_v04.ome.zarr"):
        assert "export it as OME-TIFF" in refusal(folder / name)


class Hiccup:
    """A TIFF reader on a file system that does not answer."""

    def __init__(self, *_, **__):
        raise OSError(errno.EIO, "Input/output error")


def test_an_error_that_may_pass_kills_the_job_and_refuses_no_movie(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "m.tif", np.ones((2, 8, 8), np.uint16))
    monkeypatch.setattr(tifffile, "TiffFile", Hiccup)

    with pytest.raises(OSError, match="Input/output error"):
        inspect_movie(
            str(tmp_path / "m.tif"),
            position=None,
            axes="TYX",
            channels=["gfp"],
            segment_channel="gfp",
            stated=["pixel_size_um", "frame_interval_min"],
            on_bad_movie="continue",
        )


def test_positions_that_could_not_be_counted_are_counted_again(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "m.tif", np.ones((2, 8, 8), np.uint16))
    cache = {}
    with monkeypatch.context() as broken:
        broken.setattr(tifffile, "TiffFile", Hiccup)
        find_movies("*.tif", tmp_path, cache)
    assert all("positions" not in entry for entry in cache.values())

    find_movies("*.tif", tmp_path, cache)

    assert [entry["positions"] for entry in cache.values()] == [1]


def test_a_position_that_stopped_early_is_a_position_and_a_thumbnail_none(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.ome.tif", ome=True) as tif:
        tif.write(stack(3), metadata={"axes": "TYX"})
        tif.write(stack(2), metadata={"axes": "TYX"})
        tif.write(stack(1)[0, :8, :8], metadata={"axes": "YX"})

    assert count_positions(tmp_path / "m.ome.tif") == 2
    assert accepted(tmp_path / "m.ome.tif", position=1)["frames"] == 2


def test_a_file_that_is_damaged_later_keeps_its_positions(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.ome.tif", ome=True) as tif:
        for _ in range(3):
            tif.write(stack(), metadata={"axes": "TYX"})
    cache = {}
    before = find_movies("*.tif", tmp_path, cache)
    (tmp_path / "m.ome.tif").write_bytes(b"")

    assert find_movies("*.tif", tmp_path, cache) == before
    assert find_movies("*.tif", tmp_path, json.loads(json.dumps(cache))) == before
    assert list(find_movies("*.tif", tmp_path, {})) == ["m"]


def test_a_folder_with_one_png_is_a_movie_of_one_frame(tmp_path):
    folder = frames_folder(tmp_path / "m", {"t000.png": picture(0)})

    assert inspect(folder)["frames"] == 1
