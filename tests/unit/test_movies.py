import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from recorded import accepted, inspect, ome_movie, picture, stack, write_tiff

from cytolapse import movies
from cytolapse.movies import StackReader, frame_times_h, open_movie, pixel_size_um, write_stack


def test_a_refused_movie_cannot_be_opened(tmp_path):
    with pytest.raises(ValueError, match="was refused and cannot be opened: .*no such file"):
        open_movie(inspect(tmp_path / "m.tif"))


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
                     z_projection="none", on_bad_movie="stop")
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
