"""Formats: which file is read how.

Each format's library is imported where its first file is opened.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from cytolapse.omexml import ome_files, ome_positions
from cytolapse.omezarr import is_zarr
from cytolapse.planes import ContainerPlanes, Described, Planes, access_failed, pass_on
from cytolapse.png import PngPlanes
from cytolapse.tiff import TiffPlanes
from cytolapse.tiffnotes import describe_tiff


class Format(NamedTuple):
    """A kind of file that can be a movie.

    Attributes
    ----------
    name : str
    endings : tuple of str
        In lower case; the first is the usual one.
    open : callable
        Path -> Planes.
    """

    name: str
    endings: tuple[str, ...]
    open: Callable[[str | os.PathLike], Planes]


def _open_nikon(path: str | os.PathLike) -> ContainerPlanes:
    from cytolapse.nikon import NikonPlanes

    return NikonPlanes(path)


def _open_zeiss(path: str | os.PathLike) -> ContainerPlanes:
    from cytolapse.zeiss import ZeissPlanes

    return ZeissPlanes(path)


def _open_leica(path: str | os.PathLike) -> ContainerPlanes:
    from cytolapse.leica import LeicaPlanes

    return LeicaPlanes(path)


def _open_zarr(path: str | os.PathLike) -> ContainerPlanes:
    from cytolapse.omezarr import ZarrPlanes

    return ZarrPlanes(path)


FORMATS = (
    Format("TIFF", (".tif", ".tiff", ".btf", ".tf8"), TiffPlanes),
    Format("Nikon ND2", (".nd2",), _open_nikon),
    Format("Zeiss CZI", (".czi",), _open_zeiss),
    Format("Leica LIF", (".lif",), _open_leica),
    Format("OME-Zarr", (".zarr",), _open_zarr),
)
TIFF, ZARR = FORMATS[0], FORMATS[-1]

# Known by their endings, so that their owners are told a way.
UNREAD = {
    ".lsm": "Zeiss LSM",
    ".stk": "MetaMorph STK",
    ".vsi": "Olympus VSI",
    ".oib": "Olympus OIB",
    ".oif": "Olympus OIF",
    ".ims": "Imaris IMS",
    ".dv": "DeltaVision DV",
}


def format_of(path: str | os.PathLike) -> Format | None:
    """The format of a movie, by its ending; a folder with Zarr's notes is a Zarr whatever its name."""
    name = str(path).rstrip("/").lower()
    found = next((each for each in FORMATS if name.endswith(each.endings)), None)
    if os.path.isdir(path):
        return ZARR if found is ZARR or is_zarr(path) else None
    return found if found is not ZARR else None


def open_planes(path: str | os.PathLike) -> Planes:
    """Open a file of any format that is read, PNG images of folders among them.

    Raises
    ------
    MovieRefused
        If it cannot be read, with file, finding and remedy.
    """
    found = format_of(path)
    try:
        return PngPlanes(path) if str(path).lower().endswith(".png") else (found or TIFF).open(path)
    except OSError as error:
        raise access_failed(f"movie {path}", error) from error


def describe(planes: Planes) -> list[Described]:
    """What an open file says of the movies in it, one entry a position.

    Raises
    ------
    MovieRefused
        If the metadata cannot be read, or claim more planes than there are.
    """
    if isinstance(planes, TiffPlanes):
        return describe_tiff(planes)
    if isinstance(planes, ContainerPlanes):
        return planes.describe()
    return [Described("plain", "I", (1,), (0,))]


@contextmanager
def _without_complaints() -> Iterator[None]:
    """Keep tifffile's words on damaged files, which name none, from whoever plans a thousand movies."""
    complaints = logging.getLogger("tifffile")
    level = complaints.level
    complaints.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        complaints.setLevel(level)


def look_inside(path: str | os.PathLike) -> tuple[int, list[str]] | None:
    """How many movies begin in a file, and which other files of its folder belong to them.

    Returns
    -------
    tuple of int and list of str, or None
        None for a file that cannot be understood: an inspection says what is
        wrong with it. 0 movies in a file that goes on with another's.

    Raises
    ------
    OSError
        If the file cannot be read now.
    """
    if format_of(path) is None:
        return 1, []
    try:
        with _without_complaints(), open_planes(path) as planes:
            if isinstance(planes, ContainerPlanes):
                return planes.positions, []
            return (ome_positions(planes), ome_files(planes)) if planes.tif.is_ome else (1, [])
    # Metadata can be wrong in any way (a word for a number, a missing key).
    except Exception as error:
        pass_on(error)
        return None
