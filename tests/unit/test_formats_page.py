import re
from pathlib import Path

import numpy as np
import pytest
from recorded import accepted, frames_folder, ome_movie, ome_xml, picture, stack, write_tiff
from test_leica import DrawnImage
from test_nikon import DrawnNd2
from test_omezarr import write_image
from test_zeiss import write_czi

from cytolapse.discovery import find_movies
from cytolapse.movies import open_movie
from planning.naming import name_pattern, read_name
from planning.sheets import read_sheet

PAGE = (Path(__file__).parents[2] / "docs/formats.md").read_text()
EXAMPLES = dict(re.findall(r"^## (.*?)\n\n```tsv\n(.*?)```", PAGE, flags=re.DOTALL | re.MULTILINE))


def imagej(folder, _):
    metadata = {"axes": "TCYX", "unit": "um", "finterval": 300.0}
    write_tiff(folder / "a.tif", stack(3, 2), imagej=True, resolution=(10, 10), metadata=metadata)


def ome(folder, _):
    ome_movie(
        folder / "a.ome.tif", 3, 2, PhysicalSizeX=0.1, PhysicalSizeY=0.1, TimeIncrement=5, TimeIncrementUnit="min"
    )


def ome_set(folder, _):
    names = ("a_MMStack_Pos0.ome.tif", "a_MMStack_Pos0_1.ome.tif")
    blocks = "".join(
        f'<TiffData IFD="{t}" FirstT="{t}" FirstC="{c}"><UUID FileName="{name}">1</UUID></TiffData>'
        for c, name in enumerate(names)
        for t in range(3)
    )
    scales = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, "TimeIncrement": 300}
    for c, name in enumerate(names):
        write_tiff(folder / name, stack(3, 2)[:, c], metadata=None, description=ome_xml(blocks, **scales).encode())


def plain(folder, _):
    write_tiff(folder / "a.tif", stack(3, 2).reshape(6, 24, 40), metadata=None)


def frames(folder, _):
    frames_folder(folder / "01", {f"t{t:03d}.tif": picture(t) for t in range(3)})


def fields(folder, _):
    names = {f"img_{t:09d}_{name}_000.tif": picture(t, c) for t in range(3) for c, name in enumerate(("Phase", "GFP"))}
    frames_folder(folder / "field1", names)


def plates(folder, _):
    names = {
        f"exp7_w{c + 1}{name}_s{s}_t{t}.TIF": picture(t, c)
        for t in range(3)
        for s in (1, 2)
        for c, name in enumerate(("Phase", "GFP"))
    }
    frames_folder(folder / "plate1", names)


def screen(folder, _):
    (folder / "M9 glucose_rep2").mkdir()
    imagej(folder / "M9 glucose_rep2", _)
    (folder / "M9 glucose_rep2/a.tif").rename(folder / "M9 glucose_rep2/B03_s1.tif")


def pads(folder, _):
    frames_folder(folder / "pad1", {f"{name}.tif": stack(3) for name in ("phase", "fluor1")})


def nikon(folder, monkeypatch):
    monkeypatch.setattr("nd2.ND2File", DrawnNd2)
    (folder / "a.nd2").write_bytes(b"drawn")


def zeiss(folder, _):
    write_czi(folder / "a.czi", scenes=(0, 1))


def leica(folder, monkeypatch):
    file = type("Drawn", (), {"images": [DrawnImage(0), DrawnImage(1)], "close": lambda self: None})
    monkeypatch.setattr("liffile.LifFile", lambda path: file())
    (folder / "a.lif").write_bytes(b"drawn")


def zarr(folder, _):
    write_image(folder / "a.ome.zarr", stack(3, 2), "tcyx")


MADE = {
    "ImageJ or Fiji stack": (imagej, ["a"]),
    "OME-TIFF": (ome, ["a"]),
    "OME-TIFF over several files": (ome_set, ["a_MMStack_Pos0"]),
    "Plain TIFF stack": (plain, ["a"]),
    "A folder with a file a frame": (frames, ["01"]),
    "A folder with a file a frame and channel": (fields, ["field1"]),
    "A folder with several positions": (plates, ["plate1_s1", "plate1_s2"]),
    "A folder with a stack a channel": (pads, ["pad1"]),
    "Nikon ND2": (nikon, ["a_p000", "a_p001"]),
    "Zeiss CZI": (zeiss, ["a_p000", "a_p001"]),
    "Leica LIF": (leica, ["a_p000", "a_p001"]),
    "OME-Zarr": (zarr, ["a"]),
    "Well, position and condition out of names": (screen, ["M9_glucose_rep2_B03_s1"]),
}


def test_every_example_of_the_page_is_made_here():
    assert set(EXAMPLES) == set(MADE)


@pytest.mark.parametrize("title", MADE)
def test_what_the_page_says_to_write_is_enough(tmp_path, monkeypatch, title):
    make, names = MADE[title]
    (tmp_path / "experiments.tsv").write_text(EXAMPLES[title])
    (row,) = read_sheet(tmp_path / "experiments.tsv", "experiments")
    folder = tmp_path / Path(row["movies"]).parts[0]
    folder.mkdir()
    make(folder, monkeypatch)

    found = find_movies(row["movies"], tmp_path, row["channels"].split(","))

    assert list(found) == names
    for source in found.values():
        info = accepted(
            tmp_path / source.path,
            row["channels"].split(","),
            position=source.position,
            axes=row.get("axes"),
            segment=row["segment_channel"],
            stated=[column for column in ("pixel_size_um", "frame_interval_min") if column in row],
        )
        assert info["frames"] == 3
        assert (info["warnings"], np.shape(info["channels"])) == ([], (len(row["channels"].split(",")),))


def test_the_name_of_the_page_is_read_as_the_page_says(tmp_path):
    (tmp_path / "experiments.tsv").write_text(EXAMPLES["Well, position and condition out of names"])
    (row,) = read_sheet(tmp_path / "experiments.tsv", "experiments")
    (path,) = re.findall(r"`(screen/M9.*?)` is", PAGE)

    read = read_name(name_pattern(row["name_pattern"]), path)

    assert read == {"condition": "M9 glucose", "replicate": "2", "well": "B03", "position": "1"}


NAMES = re.findall(
    r"^\| `(\S.*?)` \| `(.*?)` \| `(.*?)` \| (?:`(.*?)` )?\| (?:`(.*?)` )?\| [^`|]*\|$", PAGE, flags=re.MULTILINE
)


def test_the_page_has_names_with_and_without_slices_and_positions():
    assert len(NAMES) == PAGE.count("\n| `") > 15
    assert {(bool(position), bool(z)) for *_, position, z in NAMES} == {(True, True), (True, False), (False, True)}


def raised(name: str, mark: str, by: int) -> str:
    """A name with the last number of a mark raised."""
    of_mark = re.search(r"(.*?)(\d+)(\D*)$", mark)
    before, _, after = name.rpartition(mark)
    return before + of_mark[1] + str(int(of_mark[2]) + by).zfill(len(of_mark[2])) + of_mark[3] + after


@pytest.mark.parametrize(("name", "frame", "channel", "position", "z"), NAMES)
def test_frame_channel_position_and_slice_are_read_in_the_names_of_the_page(
    tmp_path, name, frame, channel, position, z
):
    names = {}
    other = raised(channel, channel, 1) if channel[-1].isdigit() else "other"
    # Where a position is marked at several places of a name, one is made.
    positions = 2 if position and position in name else 1
    for t, c, p, s in np.ndindex(3, 2, positions, 2 if z else 1):
        of = raised(name, frame, t)
        of = other.join(of.rsplit(channel, 1)) if c else of
        of = raised(of, position, p) if p else of
        names[raised(of, z, s) if z else of] = 10 + 100 * p + picture(t + s, c)
    folder = frames_folder(tmp_path / "m", names)

    found = find_movies("m", tmp_path, [channel, other])

    assert len(found) == positions
    assert list(found)[0] == (f"m_{position.replace(' ', '_')}" if position else "m")
    for p, source in enumerate(found.values()):
        with open_movie(accepted(folder, [channel, other], position=source.position, z="max")) as movie:
            assert movie.frames == 3
            for t, c in np.ndindex(3, 2):
                expected = 10 + 100 * p + picture(t + (1 if z else 0), c)
                np.testing.assert_array_equal(movie.read(t, movie.channels[c]), expected)
