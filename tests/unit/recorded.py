"""Movies as files, written for tests, and what an inspection says of them."""

import errno
import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cytolapse.inspection import inspect_movie
from cytolapse.movies import open_movie

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


def inspect(
    path, channels=("a",), *, axes=None, position=None, segment=None, stated=BOTH, z="none", on_bad_movie="continue"
):
    return inspect_movie(
        path,
        position=position,
        axes=axes,
        channels=list(channels),
        segment_channel=segment or channels[0],
        stated=stated,
        z_projection=z,
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


def read_all(info: dict, squeeze: bool = True) -> np.ndarray:
    """All planes (t, c, y, x), or (t, y, x) of one channel."""
    with open_movie(info) as movie:
        assert movie.frames == info["frames"]
        planes = np.array([[movie.read(t, c) for c in movie.channels] for t in range(movie.frames)])
    return planes.squeeze(1) if squeeze else planes


def frames_folder(folder: Path, names: dict[str, np.ndarray]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, image in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
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


def ome_movie(path: Path, frames: int = 3, channels: int = 1, **metadata) -> Path:
    data = stack(frames, channels)
    write_tiff(path, data, metadata={"axes": "TCYX" if channels > 1 else "TYX", **metadata})
    return path


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


def change_tag(path: Path, page: int, tag: str, value: int, *, count: bool = False) -> None:
    """Overwrite a number that is stored in the tag itself, or how many numbers it holds."""
    with tifffile.TiffFile(path) as tif:
        found = tif.pages[page].tags[tag]
        form = tif.byteorder + ("H" if found.dtype == 3 and not count else "I")
        offset = found.offset + (4 if count else 8)
    data = bytearray(path.read_bytes())
    data[offset : offset + struct.calcsize(form)] = struct.pack(form, value)
    path.write_bytes(data)


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no {path}: set CYTOLAPSE_DATA")
    return path


class Hiccup:
    """A TIFF reader on a file system that does not answer."""

    def __init__(self, *_, **__):
        raise OSError(errno.EIO, "Input/output error")
