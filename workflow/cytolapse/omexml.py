"""OME-XML of TIFF files: which page of which file is which plane, scales, times and channels.

A movie may be spread over the files of one folder, with its metadata in each of
them, in one of them or in a companion file; it belongs to the file that holds
its first plane, and the others of the set are no movies of their own.
"""

import math
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import tifffile

from cytolapse.planes import Described, MovieRefused, too_few_planes
from cytolapse.scales import believed_size_um, positive, unit_s, unit_um
from cytolapse.tiff import TiffPlanes

# A companion file larger than this is none.
_COMPANION_BYTES = 256 * 2**20


def describe_ome(planes: TiffPlanes) -> list[Described]:
    """What the OME-XML of a TIFF file says of the movies that begin in it, one entry a position.

    Raises
    ------
    MovieRefused
        If it cannot be read, claims more planes than there are, or its movie
        begins in another file.
    """
    images = _own_images(planes)
    if not images:
        raise MovieRefused(
            f"{planes.name}: is a part of a movie that begins in another file, by its OME metadata; name that file, or "
            "a glob that matches all files of the set"
        )
    return [_describe_image(planes, pixels) for pixels in images]


def ome_positions(planes: TiffPlanes) -> int:
    """Movies that begin in this file, by the OME metadata alone; 0 in a file that goes on with another's."""
    return len(_own_images(planes))


def ome_files(planes: TiffPlanes) -> list[str]:
    """Names of the other files that the movies of this one are spread over, the companion's among them."""
    own = os.path.basename(planes.path)
    names = {name for pixels in _own_images(planes) for name in _files(pixels)}
    metadata = _metadata_file(planes, _root(planes))
    return sorted(({*names, metadata} if metadata else names) - {own})


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(element: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    return [child for child in element if _tag(child) == tag]


def _root(planes: TiffPlanes) -> ElementTree.Element:
    return _parse(planes, planes.tif.ome_metadata)


def _parse(planes: TiffPlanes, xml: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise MovieRefused(f"{planes.name}: its OME-XML cannot be read ({error}); export it again") from error


def _metadata_file(planes: TiffPlanes, root: ElementTree.Element) -> str | None:
    """Name of the file that holds the metadata instead of this one; only one beside it is looked at."""
    elsewhere = _children(root, "BinaryOnly")
    return os.path.basename(elsewhere[0].get("MetadataFile") or "") if elsewhere else None


def _whole_root(planes: TiffPlanes) -> ElementTree.Element:
    """The metadata themselves, wherever they are."""
    root = _root(planes)
    name = _metadata_file(planes, root)
    if name is None:
        return root
    path = Path(planes.path).with_name(name) if name else Path(planes.path)
    if not name or not path.is_file() or path.stat().st_size > _COMPANION_BYTES:
        raise MovieRefused(
            f"{planes.name}: its OME metadata are in another file ({name}), which is not beside it; copy that too, "
            "under its name, or export the movie as one OME-TIFF"
        )
    if path.suffix.lower() not in (".tif", ".tiff", ".btf", ".tf8"):
        return _parse(planes, path.read_text(encoding="utf-8", errors="replace"))
    try:
        with tifffile.TiffFile(path) as tif:
            xml = tif.ome_metadata
    # tifffile raises a dozen kinds of errors on damaged files.
    except (tifffile.TiffFileError, ValueError, LookupError, TypeError) as error:
        raise MovieRefused(f"{planes.name}: its OME metadata in {name} cannot be read ({error})") from error
    if xml is None:
        raise MovieRefused(f"{planes.name}: its OME metadata should be in {name}, which has none; copy it again")
    return _parse(planes, xml)


def _own_images(planes: TiffPlanes) -> list[ElementTree.Element]:
    """The Pixels elements of the images that begin in this file, those of one height and width with the first.

    Another height or width is that of a thumbnail or a map; another number of
    frames is a position that stopped early.
    """
    images = [pixels for image in _children(_whole_root(planes), "Image") for pixels in _children(image, "Pixels")]
    if not images:
        raise MovieRefused(f"{planes.name}: its OME-XML names no image; export it again")
    name = os.path.basename(planes.path)
    named = set().union(*map(_files, images))
    if name in named:
        images = [pixels for pixels in images if _first_file(pixels) == name]
    # One file that was renamed is read as what it was.
    elif len(named) > 1:
        raise MovieRefused(
            f"{planes.name}: its OME metadata spread it over files of other names "
            f"({', '.join(sorted(named)[:3])}, ...); give the files the names that they were written with"
        )
    elif _metadata_file(planes, _root(planes)) is not None:
        images = []
    if not images:
        return []
    sizes = [[pixels.get(f"Size{letter}") for letter in "XY"] for pixels in images]
    same = [pixels for pixels, size in zip(images, sizes, strict=True) if size == sizes[0]]
    # Many images of one plane each are a movie written in the wrong way, not so many positions.
    return same if len(named) > 1 or any(_sizes(planes, pixels)[1] > 1 for pixels in same) else same[:1]


def _file_of(block: ElementTree.Element) -> str | None:
    """Name of the file of a TiffData element; only files of the same folder are looked at."""
    names = [uuid.get("FileName") for uuid in _children(block, "UUID")]
    return os.path.basename(names[0]) if names and names[0] else None


def _files(pixels: ElementTree.Element) -> set[str]:
    return {name for block in _children(pixels, "TiffData") if (name := _file_of(block))}


def _first_file(pixels: ElementTree.Element) -> str | None:
    blocks = _children(pixels, "TiffData")
    place = {id(block): [int(block.get(f"First{letter}", 0)) for letter in "TZC"] for block in blocks}
    return _file_of(min(blocks, key=lambda block: place[id(block)])) if blocks else None


def _sizes(planes: TiffPlanes, pixels: ElementTree.Element) -> tuple[dict[str, int], int]:
    try:
        sizes = {letter: int(pixels.get(f"Size{letter}", 1)) for letter in "ZCT"}
    except ValueError as error:
        raise MovieRefused(
            f"{planes.name}: its OME-XML has a size that is no number ({error}); export it again"
        ) from error
    total = math.prod(sizes.values())
    if total < 1:
        raise MovieRefused(f"{planes.name}: its OME-XML has the sizes {sizes}; export it again")
    return sizes, total


def _describe_image(planes: TiffPlanes, pixels: ElementTree.Element) -> Described:
    sizes, total = _sizes(planes, pixels)
    order = pixels.get("DimensionOrder", "XYCZT")
    axes = order[:1:-1] if sorted(order) == sorted("XYCZT") and order.startswith("XY") else "TZC"
    pages = _pages(planes, pixels, axes, sizes, total)
    described = Described("OME", axes, tuple(sizes[letter] for letter in axes), pages)
    _add_scales(pixels, described)
    for channel in _children(pixels, "Channel"):
        described.channel_names.append(channel.get("Name") or "")
    if not all(described.channel_names):
        described.channel_names = []
    _add_planes(pixels, described)
    bits = positive(pixels.get("SignificantBits"))
    described.significant_bits = int(bits) if bits else None
    return described


def _pages(
    planes: TiffPlanes, pixels: ElementTree.Element, axes: str, sizes: dict[str, int], total: int
) -> list[int | tuple[str, int] | None]:
    """Page of every plane, from the TiffData elements; with the file's name where it is another's."""
    blocks = _children(pixels, "TiffData") or [ElementTree.Element("TiffData")]
    own = os.path.basename(planes.path)
    several = len(_files(pixels)) > 1
    placed: dict[int, int | tuple[str, int]] = {}
    claimed = held = 0
    for block in blocks:
        page, name = int(block.get("IFD", 0)), _file_of(block)
        alone = "IFD" in block.attrib or "FirstT" in block.attrib or "FirstC" in block.attrib
        count = int(block.get("PlaneCount", 1 if alone else total))
        first = 0
        for letter in axes:
            first = first * sizes[letter] + int(block.get(f"First{letter}", 0))
        elsewhere = several and name is not None and name != own
        claimed += count
        # Another file of the set is opened when its first plane is read, and found too short then.
        for step in range(min(count, total if elsewhere else planes.count - page)):
            placed[first + step] = (name, page + step) if elsewhere else page + step
            held += 1
    # Planes that no TiffData names were not acquired; a header that claims absurdly many of them is damaged.
    if held < claimed or total > 64 * (held + 1):
        raise too_few_planes(planes.name, max(claimed, total), planes.count)
    return [placed.get(plane) for plane in range(total)]


def _add_scales(pixels: ElementTree.Element, described: Described) -> None:
    sides_um = []
    for letter in "XY":
        size, unit = positive(pixels.get(f"PhysicalSize{letter}")), pixels.get(f"PhysicalSize{letter}Unit", "um")
        sides_um.append(size * unit_um(unit) if size is not None and unit_um(unit) is not None else None)
    described.pixel_size_um = believed_size_um(*sides_um, warnings=described.warnings)
    increment = positive(pixels.get("TimeIncrement"))
    scale = unit_s(pixels.get("TimeIncrementUnit", "s"))
    if increment is not None and scale is not None:
        described.frame_interval_min = increment * scale / 60


def _add_planes(pixels: ElementTree.Element, described: Described) -> None:
    for plane in _children(pixels, "Plane"):
        frame, channel = int(plane.get("TheT", 0)), int(plane.get("TheC", 0))
        seconds = unit_s(plane.get("DeltaTUnit", "s"))
        if plane.get("DeltaT") is not None and seconds is not None:
            described.time_h.setdefault((frame, channel), float(plane.get("DeltaT")) * seconds / 3600)
        exposure, unit = positive(plane.get("ExposureTime")), unit_s(plane.get("ExposureTimeUnit", "s"))
        if exposure is not None and unit is not None:
            described.exposure_ms.setdefault(channel, exposure * unit * 1000)
