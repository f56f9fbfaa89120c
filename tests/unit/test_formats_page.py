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
    "A folder with a stack a channel": (pads, ["pad1"]),
    "Nikon ND2": (nikon, ["a_p000", "a_p001"]),
    "Zeiss CZI": (zeiss, ["a_p000", "a_p001"]),
    "Leica LIF": (leica, ["a_p000", "a_p001"]),
    "OME-Zarr": (zarr, ["a"]),
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
