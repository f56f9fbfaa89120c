"""Movies that somebody is still writing."""

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from recorded import accepted, frames_folder, inspect, ome_xml, picture, refusal, stack, write_tiff
from test_omezarr import write_image

from cytolapse.tiff import TiffPlanes
from cytolapse.writing import unchanged


def while_looked_at(monkeypatch, change) -> None:
    """Let something happen to the movie as its first plane is read."""
    read, happened = TiffPlanes.read, []

    def read_after_change(planes, page):
        if not happened:
            happened.append(change())
        return read(planes, page)

    monkeypatch.setattr(TiffPlanes, "read", read_after_change)


def append(path: Path, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def age(path: Path, minutes: float) -> None:
    """Set the time of the last change of a file, or of all files of a folder."""
    then = time.time() - 60 * minutes
    for each in [path, *path.glob("**/*")]:
        os.utime(each, (then, then))


def test_a_file_that_grows_while_it_is_looked_at_is_refused_with_its_sizes(tmp_path, monkeypatch):
    path = tmp_path / "m.tif"
    write_tiff(path, stack(), metadata={"axes": "TYX"})
    size = path.stat().st_size
    while_looked_at(monkeypatch, lambda: append(path, b"more"))

    assert refusal(path) == (
        f"movie {path}: is still being written: {size} bytes became {size + 4} while it was looked at; run again when "
        "it is acquired and copied whole"
    )
    accepted(path)  # it grows no more


def test_a_folder_that_grows_while_it_is_looked_at_is_refused_with_the_number_of_its_files(tmp_path, monkeypatch):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in range(3)})
    while_looked_at(monkeypatch, lambda: write_tiff(folder / "t3.tif", picture(3), metadata=None))

    assert "is still being written: 3 files became 4 while it was looked at; run again when" in refusal(folder)
    assert accepted(folder)["frames"] == 4


def test_a_file_that_is_written_over_while_it_is_looked_at_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.tif"
    write_tiff(path, stack(), metadata={"axes": "TYX"})
    while_looked_at(monkeypatch, lambda: os.utime(path, ns=(10**18, 10**18)))

    assert "is still being written: it was written to while it was looked at" in refusal(path)


def test_what_else_is_wrong_with_a_file_that_grows_is_said_too(tmp_path, monkeypatch):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in range(3)})
    whole = (folder / "t2.tif").read_bytes()
    (folder / "t2.tif").write_bytes(whole[:-900])
    while_looked_at(monkeypatch, lambda: append(folder / "t2.tif", whole[-900:-800]))

    reason = refusal(folder)

    assert "is still being written: " in reason
    assert re.search(r"when it is acquired and copied whole \(movie .*t2\.tif: .*\)$", reason)


def file_set(folder: Path) -> list[Path]:
    """An OME-TIFF over two files, a channel each."""
    names = ("a_MMStack_Pos0.ome.tif", "a_MMStack_Pos0_1.ome.tif")
    blocks = "".join(
        f'<TiffData IFD="{t}" FirstT="{t}" FirstC="{c}"><UUID FileName="{name}">1</UUID></TiffData>'
        for c, name in enumerate(names)
        for t in range(3)
    )
    for c, name in enumerate(names):
        write_tiff(folder / name, stack(3, 2)[:, c], metadata=None, description=ome_xml(blocks).encode())
    return [folder / name for name in names]


def test_another_file_of_a_set_that_grows_while_it_is_looked_at_is_seen(tmp_path, monkeypatch):
    first, second = file_set(tmp_path)
    sizes = first.stat().st_size + second.stat().st_size
    while_looked_at(monkeypatch, lambda: append(second, b"more"))

    assert f"is still being written: {sizes} bytes became {sizes + 4} while" in refusal(first, ("a", "b"))
    accepted(first, ("a", "b"))


def test_a_set_is_as_new_as_its_newest_file(tmp_path):
    first, second = file_set(tmp_path)
    second.write_bytes(second.read_bytes()[:-3000])
    age(first, minutes=11)

    assert "it was last written to at" in inspect(first, ("a", "b"))["reason"]
    age(second, minutes=11)
    assert "it was last written to at" not in inspect(first, ("a", "b"))["reason"]


def test_other_files_of_a_folder_may_change_while_it_is_looked_at(tmp_path, monkeypatch):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in range(3)})
    (folder / "notes").mkdir()
    while_looked_at(monkeypatch, lambda: (folder / "notes/today.txt").write_text("still here"))

    accepted(folder)


def test_chunks_that_come_while_a_zarr_is_looked_at_are_seen(tmp_path):
    folder = write_image(tmp_path / "m.ome.zarr", stack(2), "tyx", "0.4")

    with pytest.raises(ValueError, match=r"is still being written: \d+ files became \d+"), unchanged(folder):
        (folder / "0/9.9.9").write_bytes(b"chunk")


def cut(path: Path) -> None:
    write_tiff(path, stack(), metadata={"axes": "TYX"})
    path.write_bytes(path.read_bytes()[:-3000])


def zeros_at_the_end(path: Path) -> None:
    data = stack(5)
    data[3:] = 0
    write_tiff(path, data, metadata={"axes": "TYX"})


def fewer_pages_than_claimed(path: Path) -> None:
    whole = b"ImageJ=1.5\nimages=9\nframes=9\n"
    with tifffile.TiffWriter(path) as tif:
        for t in range(4):
            description = whole if t == 0 else None
            tif.write(picture(t), description=description, metadata=None, contiguous=False)


@pytest.mark.parametrize("write", [cut, zeros_at_the_end, fewer_pages_than_claimed])
def test_a_file_that_is_not_whole_and_new_is_said_to_be_new(tmp_path, write):
    path = tmp_path / "m.tif"
    write(path)

    assert re.search(
        r"; it was last written to at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, less than 10 minutes before: where it is "
        r"still being acquired or copied, run again when that is over$",
        refusal(path),
    )

    age(path, minutes=11)
    assert "it was last written to" not in refusal(path)


def test_a_folder_with_a_hole_that_is_new_is_said_to_be_new(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in (0, 1, 3)})

    assert "the frames 2 are missing" in refusal(folder)
    assert "it was last written to at" in refusal(folder)

    age(folder, minutes=11)
    assert "it was last written to at" not in refusal(folder)


def test_a_file_that_is_new_and_whole_is_taken(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(), metadata={"axes": "TYX"})

    accepted(tmp_path / "m.tif")


def test_what_is_wrong_with_a_new_file_that_is_whole_has_nothing_to_do_with_its_age(tmp_path):
    data = stack(dtype="float32")
    data[1, 2, 3] = np.nan
    write_tiff(tmp_path / "m.tif", data, metadata={"axes": "TYX"})

    assert "it was last written to" not in inspect(tmp_path / "m.tif")["reason"]
