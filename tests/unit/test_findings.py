"""What can be wrong with a movie, a case each: the refusal names file or frame, finding and remedy."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from recorded import accepted, frames_folder, picture, refusal, stack, write_tiff

from cytolapse.discovery import find_movies, fingerprint


def _cut(path: Path, by: int = 300) -> None:
    path.write_bytes(path.read_bytes()[:-by])


def _linked_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("/gone/t.tif")


def _with_a_nan(path: Path) -> None:
    for each in path.parent.iterdir():
        write_tiff(each, picture(0, dtype="float32"))
    image = picture(3, dtype="float32")
    image[5, 7] = np.nan
    write_tiff(path, image)


# What happens to frame 3 of five, the file that the reason names, finding, remedy.
OF_A_FRAME = {
    "cut off": (_cut, "t3.tif", "is cut off: page 0 ends at byte 2128, the file at 1828", "copy it again, or wait"),
    "of no bytes": (lambda path: path.write_bytes(b""), "t3.tif", "cannot be read as TIFF", "copy or export it again"),
    "no image": (lambda path: path.write_text("Hello"), "t3.tif", "not a TIFF file: header=b'Hell'", "copy or export"),
    "of another size": (
        *(lambda path: write_tiff(path, picture(3, shape=(24, 41))), ""),
        *("frame 3 of channel 'a' is 24 x 41 px uint16, the first is 24 x 40 px uint16", "take the other frames out"),
    ),
    "of another type": (
        *(lambda path: write_tiff(path, picture(3, dtype="uint8")), ""),
        *("frame 3 of channel 'a' is 24 x 40 px uint8, the first is 24 x 40 px uint16", "take the other frames out"),
    ),
    "of a type that is not read": (
        *(lambda path: write_tiff(path, picture(3, dtype="int32")), "t3.tif"),
        *("pixels are int32, wanted uint8, uint16 or float32", "convert it (Fiji: Image > Type > 16-bit)"),
    ),
    "in colour": (
        *(lambda path: tifffile.imwrite(path, np.zeros((24, 40, 3), np.uint8), photometric="rgb"), "t3.tif"),
        *("has 3 samples a pixel (RGB)", "split the colours into channels"),
    ),
    "of two pages": (
        *(lambda path: write_tiff(path, stack(2)), "t3.tif"),
        *("a file of one frame holds 2 planes, wanted 1 as in the others", "or take it out"),
    ),
    "all zeros": (
        *(lambda path: write_tiff(path, picture(3) * 0), ""),
        *("the segmented channel 'a' is all zeros at the frames 3 of 5", "copy it again, or save the frames there are"),
    ),
    "with a NaN": (
        *(_with_a_nan, "", "frame 3 of channel 'a' holds values that are no numbers (NaN or infinite)"),
        "export it again as the camera gave it",
    ),
    "missing": (Path.unlink, "", "the frames 3 are missing", "copy them again, or wait until they are written"),
    "a link to nothing": (
        *(_linked_to_nothing, "t3.tif", "is a link to /gone/t.tif, where there is nothing"),
        "restore that, or correct the link",
    ),
}


@pytest.mark.parametrize("case", OF_A_FRAME)
def test_a_frame_that_is_not_as_the_others_is_named_with_finding_and_remedy(tmp_path, case):
    change, name, finding, remedy = OF_A_FRAME[case]
    folder = frames_folder(tmp_path / "Nacht 3 [übernacht] (1)", {f"t{t}.tif": picture(t) for t in range(5)})
    change(folder / "t3.tif")

    reason = refusal(folder)

    assert reason.startswith(f"movie {folder / name}: ")
    assert finding in reason
    assert remedy in reason.split(finding)[1]


@pytest.mark.parametrize("frame", [0, 4])
def test_a_link_to_nothing_at_either_end_of_a_movie_costs_it_no_frame_in_silence(tmp_path, frame):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in range(5)})
    _linked_to_nothing(folder / f"t{frame}.tif")

    assert f"t{frame}.tif: is a link to /gone/t.tif, where there is nothing" in refusal(folder)
    assert list(find_movies("*", tmp_path, {})) == ["m"]
    broken = fingerprint(folder, {})
    (folder / f"t{frame}.tif").unlink()
    write_tiff(folder / f"t{frame}.tif", picture(frame))
    assert fingerprint(folder, {}) != broken
    assert accepted(folder)["frames"] == 5


def test_a_folder_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    folder = frames_folder(tmp_path / "m", {"t0.tif": picture(0)})

    def denied(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", denied)

    assert refusal(folder) == f"movie {folder}: cannot be opened (Permission denied); correct its rights, or its name"


def test_a_number_that_is_a_date_costs_no_memory(tmp_path):
    folder = frames_folder(tmp_path / "m", {name: picture(0) for name in ("t0.tif", "t1.tif", "t20240101120000.tif")})

    assert (
        "the frames 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 20240101119988 more are missing; copy them again, or wait until "
        "they are written; where they do not exist, renumber the files" in refusal(folder)
    )
