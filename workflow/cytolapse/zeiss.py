"""Zeiss's CZI files <-> planes, read by Zeiss's own library pylibCZIrw.

It is the one that its maker keeps up; it puts the tiles of a mosaic together and
decodes every compression that ZEN writes.
"""

from collections.abc import Mapping

import numpy as np

from cytolapse.planes import (
    ContainerPlanes,
    Described,
    MovieRefused,
    check_dtype,
    check_size,
    file_bytes,
)
from cytolapse.scales import believed_size_um, positive

_DTYPES = {"Gray8": "uint8", "Gray16": "uint16", "Gray32Float": "float32", "Gray32": "uint32"}
_MAGIC = b"ZISRAWFILE"


class ZeissPlanes(ContainerPlanes):
    """An open CZI file; a page is (scene, T, Z, C), the scene None in a file without scenes."""

    format_name = "CZI"

    def _open(self) -> None:
        from pylibCZIrw import czi

        with open(self.path, "rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise MovieRefused(f"{self.name}: is no CZI file, by its first bytes; copy it again")
        self._file = czi.CziReader(self.path)

    def _look(self) -> None:
        box = dict(self._file.total_bounding_box_no_pyramid)
        self._begins = {letter: box.get(letter, (0, 1))[0] for letter in "TZC"}
        self._sizes = {letter: box.get(letter, (0, 1))[1] - self._begins[letter] for letter in "TZC"}
        others = [letter for letter, (first, end) in box.items() if letter not in "TZCBXY" and end - first > 1]
        if others:
            raise MovieRefused(
                f"{self.name}: has the axes {', '.join(others)} beside time, Z and channel (views, phases, rotations "
                "or illuminations); process it in ZEN, and export it as OME-TIFF"
            )
        types = {self._file.get_channel_pixel_type(self._begins["C"] + c) for c in range(self._sizes["C"])}
        if any(kind.startswith("Bgr") for kind in types):
            raise MovieRefused(f"{self.name}: holds colour images ({', '.join(sorted(types))}); split the colours")
        if len(types) != 1:
            raise MovieRefused(
                f"{self.name}: its channels are of different types ({', '.join(sorted(types))}); export them as one"
            )
        (kind,) = types
        self.dtype = check_dtype(self.name, _DTYPES.get(kind, "object"))
        scenes = dict(self._file.scenes_bounding_rectangle_no_pyramid) or {
            None: self._file.total_bounding_rectangle_no_pyramid
        }
        first = scenes[min(scenes, key=lambda scene: scene or 0)]
        self.shape = (first.h, first.w)
        self._scenes = {scene: tuple(rect) for scene, rect in scenes.items() if (rect.h, rect.w) == self.shape}
        check_size(self.name, self.shape, self.dtype, file_bytes(self.path), compressed=True)
        self._held = self._stored()
        self.count, self.positions = len(self._held), len(self._scenes)

    def _stored(self) -> set[tuple[int | None, int, int, int]]:
        """The planes that were acquired: one that was not reads as black."""
        held = set()

        def note(_: int, block: object) -> bool:
            place = {str(letter): at for letter, at in block.coordinate.to_dict().items()}
            scene = place.get("S", 0) if None not in self._scenes else None
            held.add((scene, *(place.get(letter, 0) for letter in "TZC")))
            return True

        self._file.enumerate_subblocks(note)
        return held

    def _read(self, page: tuple[int | None, int, int, int]) -> np.ndarray:
        scene, *place = page
        plane = self._file.read(plane=dict(zip("TZC", place, strict=True)), scene=scene, roi=self._scenes[scene])
        return plane.reshape(self.shape).astype(self.dtype, copy=False)

    def _describe(self) -> list[Described]:
        return [self._of_scene(scene) for scene in sorted(self._scenes, key=lambda scene: scene or 0)]

    def _of_scene(self, scene: int | None) -> Described:
        sizes = tuple(self._sizes[letter] for letter in "TZC")
        begins = [self._begins[letter] for letter in "TZC"]
        pages = [(scene, *np.add(begins, place).tolist()) for place in np.ndindex(*sizes)]
        described = Described("CZI", "TZC", sizes, [page if page in self._held else None for page in pages])
        metadata = _mapping(self._file.metadata, "ImageDocument", "Metadata")
        steps_m = {
            item.get("@Id"): positive(item.get("Value"))
            for item in _listed(_mapping(metadata, "Scaling", "Items").get("Distance"))
        }
        sides_um = [step * 1e6 if (step := steps_m.get(letter)) else None for letter in "XY"]
        described.pixel_size_um = believed_size_um(*sides_um, warnings=described.warnings)
        image = _mapping(metadata, "Information", "Image")
        channels = _listed(_mapping(image, "Dimensions", "Channels").get("Channel"))
        names = [channel.get("@Name") for channel in channels]
        described.channel_names = names if all(names) and len(names) == self._sizes["C"] else []
        for number, channel in enumerate(channels):
            exposure_ns = positive(channel.get("ExposureTime"))
            if exposure_ns:
                described.exposure_ms[number] = exposure_ns / 1e6
        # The camera's own where the channels say it: a 14-bit camera in 16-bit planes.
        counts = [positive(each.get("ComponentBitCount")) for each in (*channels, image)]
        bits = next((count for count in counts if count), None)
        described.significant_bits = int(bits) if bits else None
        self._add_times(described, _mapping(image, "Dimensions", "T", "Positions"))
        return described

    def _add_times(self, described: Described, positions: Mapping) -> None:
        """Seconds since the start: a list, or a start and a step."""
        step_s = positive(_mapping(positions, "Interval").get("Increment"))
        described.frame_interval_min = step_s / 60 if step_s else None
        offsets_s = str(_mapping(positions, "List").get("Offsets") or "").split()
        if len(offsets_s) == self._sizes["T"]:
            described.time_h = {
                (frame, c): float(offset_s) / 3600
                for frame, offset_s in enumerate(offsets_s)
                for c in range(self._sizes["C"])
            }

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _mapping(value: object, *keys: str) -> Mapping:
    """What stands below some keys; nothing where one is missing or is no block."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _listed(value: object) -> list[Mapping]:
    """An XML element that stands there once is no list."""
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, Mapping)]
