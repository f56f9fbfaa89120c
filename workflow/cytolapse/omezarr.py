"""OME-Zarr (0.4, 0.5) <-> planes, read by the library zarr, the format's reference implementation.

Metadata are read as plain JSON first, and only compressions that cannot
execute anything are let through to the library: Zarr knows one that unpickles.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cytolapse.planes import (
    ContainerPlanes,
    Described,
    MovieRefused,
    check_dtype,
)
from cytolapse.scales import believed_size_um, positive, unit_s, unit_um

_NOTES = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
# A note of more than this is none.
_NOTE_BYTES = 64 * 2**20
_CHUNK_BYTES = 2 * 2**30
_SAFE_CODECS = {
    "blosc", "zlib", "gzip", "zstd", "lz4", "lzma", "bz2", "bytes", "endian", "transpose", "sharding_indexed",
    "crc32c", "delta", "shuffle",
}  # fmt: skip


def is_zarr(path: str | os.PathLike) -> bool:
    """Whether a folder is a Zarr group, by the notes in it."""
    return any(os.path.isfile(os.path.join(path, note)) for note in _NOTES)


class ZarrPlanes(ContainerPlanes):
    """An OME-Zarr image, a set of them (bioformats2raw) or a plate; a page is (number of the image, place in it).

    The images of the first one's height and width are the positions: those of a
    set in their order, of a plate the fields of all wells. Of a pyramid the
    level of full size is read.
    """

    format_name = "OME-Zarr"

    def _open(self) -> None:
        """Nothing is kept open."""

    def _look(self) -> None:
        images = [_Image(self.name, folder, notes) for folder, notes in self._image_notes()]
        if not images:
            raise MovieRefused(
                f"{self.name}: is no OME-Zarr image: neither it nor a folder in it has multiscales in its attributes; "
                "name the folder that has, or export the movie again"
            )
        first = images[0]
        self._images = [image for image in images if (image.shape, image.dtype) == (first.shape, first.dtype)]
        self.shape, self.dtype = first.shape, first.dtype
        self.positions = len(self._images)
        self.count = sum(math.prod(image.sizes) for image in self._images)

    def _image_notes(self) -> list[tuple[Path, Mapping]]:
        root = Path(self.path)
        notes = _attributes(self.name, root)
        if "multiscales" in notes:
            return [(root, notes)]
        folders = sorted((path for path in root.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
        if "plate" in notes:
            wells = [root / _inside(self.name, well["path"]) for well in notes["plate"]["wells"]]
            folders = [
                well / _inside(self.name, image["path"])
                for well in wells
                for image in _attributes(self.name, well)["well"]["images"]
            ]
        found = ((folder, _attributes(self.name, folder)) for folder in folders)
        return [(folder, of_folder) for folder, of_folder in found if "multiscales" in of_folder]

    def _read(self, page: tuple[int, tuple[int, ...]]) -> np.ndarray:
        number, place = page
        return self._images[number].read(place)

    def _describe(self) -> list[Described]:
        return [image.describe(number) for number, image in enumerate(self._images)]

    def close(self) -> None:
        """Nothing is kept open."""


class _Image:
    """One multiscales image: its level of full size."""

    def __init__(self, name: str, folder: Path, notes: Mapping) -> None:
        import zarr

        self._notes = notes
        self._multiscale = notes["multiscales"][0]
        self._level = self._multiscale["datasets"][0]
        path = folder / _inside(name, self._level["path"])
        _check_array(name, path)
        self._array = zarr.open_array(str(path), mode="r")
        axes = [axis if isinstance(axis, str) else axis["name"] for axis in self._multiscale.get("axes", "tczyx")]
        self._axes = [str(axis).lower() for axis in axes]
        shape = self._array.shape
        if len(self._axes) != len(shape) or self._axes[-2:] != ["y", "x"] or not set(self._axes) <= set("tczyx"):
            raise MovieRefused(
                f"{name}: its axes are {', '.join(self._axes)} for the shape {shape}; wanted those of OME-Zarr, t, c, "
                "z, y, x, the last two y and x; export it again"
            )
        self.dtype = check_dtype(name, self._array.dtype)
        self.shape, self.sizes = tuple(shape[-2:]), tuple(shape[:-2])
        chunk = math.prod(self._array.chunks) * self.dtype.itemsize
        if max(chunk, math.prod(self.shape) * self.dtype.itemsize) > _CHUNK_BYTES:
            raise MovieRefused(
                f"{name}: its planes of {self.shape[0]} x {self.shape[1]} px lie in chunks of {chunk / 1e9:.1f} GB; "
                "write it again in chunks of one plane"
            )

    def read(self, place: tuple[int, ...]) -> np.ndarray:
        return np.asarray(self._array[place]).astype(self.dtype, copy=False)

    def describe(self, number: int) -> Described:
        axes = "".join(self._axes[:-2]).upper()
        pages = [(number, place) for place in np.ndindex(*self.sizes)]
        described = Described("OME-Zarr", axes, self.sizes, pages)
        steps = dict.fromkeys(self._axes, 1.0)
        for said in [*self._multiscale.get("coordinateTransformations", []), *self._level["coordinateTransformations"]]:
            if said.get("type") == "scale":
                steps = {axis: steps[axis] * step for axis, step in zip(self._axes, said["scale"], strict=True)}
        units = {axis["name"]: axis.get("unit") for axis in self._multiscale["axes"] if isinstance(axis, Mapping)}
        sides_um = [
            step * unit_um(units.get(axis)) if (step := positive(steps[axis])) and unit_um(units.get(axis)) else None
            for axis in "xy"
        ]
        described.pixel_size_um = believed_size_um(*sides_um, warnings=described.warnings)
        seconds = unit_s(units.get("t") or "")
        step = positive(steps.get("t"))
        described.frame_interval_min = step * seconds / 60 if step and seconds else None
        channels = self._notes.get("omero", {}).get("channels", [])
        names = [str(channel.get("label") or "") for channel in channels]
        described.channel_names = names if all(names) else []
        return described


def _read_json(name: str, path: Path) -> Mapping:
    if not path.is_file():
        return {}
    if path.stat().st_size > _NOTE_BYTES:
        raise MovieRefused(f"{name}: {path.name} has {path.stat().st_size} bytes, which is no note; export it again")
    notes = json.loads(path.read_text(encoding="utf-8"))
    return notes if isinstance(notes, Mapping) else {}


def _attributes(name: str, folder: Path) -> Mapping:
    """What OME says of a group: in zarr.json (0.5) or .zattrs (0.4 and before)."""
    newer = _read_json(name, folder / "zarr.json").get("attributes", {})
    return newer.get("ome", newer) or _read_json(name, folder / ".zattrs")


def _inside(name: str, path: str) -> str:
    """A path of the notes, which may not lead out of the movie."""
    if os.path.isabs(path) or ".." in Path(path).parts:
        raise MovieRefused(f"{name}: its notes point out of its folder, to {path}; export it again")
    return path


def _check_array(name: str, path: Path) -> None:
    older, newer = _read_json(name, path / ".zarray"), _read_json(name, path / "zarr.json")
    if not older and not newer:
        raise MovieRefused(f"{name}: its notes name the array {path.name}, which is not there; copy it again")
    used = {str(codec.get("id")) for codec in [older.get("compressor"), *(older.get("filters") or [])] if codec}
    waiting = list(newer.get("codecs", []))
    while waiting:
        codec = waiting.pop()
        used.add(str(codec.get("name")))
        inner = codec.get("configuration", {})
        waiting += [*inner.get("codecs", []), *inner.get("index_codecs", [])]
    unknown = sorted(used - _SAFE_CODECS)
    if unknown:
        raise MovieRefused(
            f"{name}: its pixels are packed by {', '.join(unknown)}, which is not unpacked here; write it again with "
            "blosc, zstd or gzip"
        )
    check_dtype(name, _dtype(older, newer))


def _dtype(older: Mapping, newer: Mapping) -> np.dtype | str:
    """The type by the notes alone, so that no array of objects gets to the library."""
    said = newer.get("data_type") or older.get("dtype")
    try:
        return np.dtype(said)
    except TypeError:
        return "object"
