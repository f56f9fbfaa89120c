"""What a TIFF file says of itself: ImageJ's, Micro-Manager's and tifffile's notes, or OME-XML."""

import json
import logging
import math

import tifffile

from cytolapse.micromanager import add_micromanager_summary
from cytolapse.omexml import describe_ome
from cytolapse.planes import Described, MovieIncomplete, MovieRefused, pass_on, too_few_planes
from cytolapse.scales import PIXEL_SIZE_UM, believed_size_um, positive, unit_s, unit_um, whole
from cytolapse.tiff import TiffPlanes

logger = logging.getLogger(__name__)

# Outside of ImageJ and OME most programs write a print resolution here: 72 dpi would be 353 um.
_PLAIN_PIXEL_SIZE_UM = (0.01, 10.0)


def describe_tiff(planes: TiffPlanes) -> list[Described]:
    """What a TIFF file says of the movies in it, one entry a position.

    OME metadata are taken before ImageJ's, and these before the shape that
    tifffile notes; a file with none of them has one axis without a name.

    Raises
    ------
    MovieRefused
        If there are fewer planes than the metadata claim, or the metadata
        cannot be read or point to other files.
    """
    try:
        described = _describe(planes)
    except MovieRefused:
        raise
    # Metadata can be wrong in any way (a word for a number, a missing key); the finding is the same.
    except Exception as error:
        pass_on(error)
        raise MovieRefused(
            f"{planes.name}: its metadata cannot be read ({type(error).__name__}: {error}); export it again"
        ) from error
    if planes.tail_is_missing:
        raise MovieIncomplete(
            f"{planes.name}: is cut off or damaged after {planes.count} pages; copy it again, or wait until it "
            "is written"
        )
    return described


def _describe(planes: TiffPlanes) -> list[Described]:
    if planes.tif.is_ome:
        described = describe_ome(planes)
    elif planes.tif.pages.first.imagej_description is not None:
        described = [_describe_imagej(planes)]
    else:
        described = [_describe_shaped(planes)]
    for one in described:
        _add_micromanager(planes, one)
    return described


def _describe_shaped(planes: TiffPlanes) -> Described:
    """Of a file without ImageJ or OME metadata: the shape that tifffile notes, or none."""
    pixel_size_um = _resolution_um(planes.tif.pages.first, None, _PLAIN_PIXEL_SIZE_UM)
    noted = _noted_shape(planes.tif.pages.first.description)
    if noted is not None:
        axes, sizes = noted
        claimed = math.prod(sizes)
        planes.believe_contiguous(claimed)
        if claimed > planes.count:
            raise too_few_planes(planes.name, claimed, planes.count)
        # More pages than noted: written in several goes, so that the note speaks of the first alone.
        if claimed == planes.count:
            return Described("tifffile", axes, sizes, range(claimed), pixel_size_um)
    return Described("plain", "I", (planes.count,), range(planes.count), pixel_size_um)


def _noted_shape(description: str) -> tuple[str, tuple[int, ...]] | None:
    if not description.startswith("{"):
        return None
    try:
        noted = json.loads(description)
        shape, axes = [int(length) for length in noted["shape"]], str(noted.get("axes", ""))
    except (ValueError, KeyError, TypeError):
        return None
    if len(shape) < 2 or min(shape) < 1:
        return None
    outer = tuple(shape[:-2])
    if len(axes) == len(shape) and axes.endswith("YX"):
        return axes[:-2].replace("Q", "I"), outer
    return "I", (math.prod(outer),)


def _describe_imagej(planes: TiffPlanes) -> Described:
    first = planes.tif.pages.first
    fields = dict(line.split("=", 1) for line in first.imagej_description.splitlines() if "=" in line)
    sizes = {letter: whole(fields.get(key)) for letter, key in (("T", "frames"), ("Z", "slices"), ("C", "channels"))}
    claimed = max(whole(fields.get("images")), math.prod(sizes.values()))
    planes.believe_contiguous(claimed)
    if claimed > planes.count:
        raise too_few_planes(planes.name, claimed, planes.count)
    described = Described("ImageJ", "I", (planes.count,), range(planes.count))
    if math.prod(sizes.values()) == planes.count:
        axes = {"czt": "TZC", "ctz": "ZTC", "zct": "TCZ", "ztc": "CTZ", "tcz": "ZCT", "tzc": "CZT"}.get(
            fields.get("order", "czt").lower(), "TZC"
        )
        described.axes, described.sizes = axes, tuple(sizes[letter] for letter in axes)
    unit = unit_um(fields.get("unit") or fields.get("yunit"))
    described.pixel_size_um = _resolution_um(first, unit, PIXEL_SIZE_UM, described.warnings)
    seconds = positive(fields.get("finterval"))
    if seconds:
        scale = unit_s(fields.get("tunit", "s"))
        described.frame_interval_min = seconds * scale / 60 if scale else None
    return described


def _resolution_um(
    page: tifffile.TiffPage, um_per_unit: float | None, believed: tuple[float, float], warnings: list[str] | None = None
) -> float | None:
    """Pixel size by the TIFF's resolution tags; without a unit of ImageJ's by the tag of the unit."""
    resolution = [_ratio(page.tags.valueof(tag)) for tag in ("XResolution", "YResolution")]
    if um_per_unit is None:
        um_per_unit = {2: 25400.0, 3: 1e4}.get(int(page.tags.valueof("ResolutionUnit") or 0))
        believed = _PLAIN_PIXEL_SIZE_UM
    if um_per_unit is None or None in resolution:
        return None
    return believed_size_um(um_per_unit / resolution[0], um_per_unit / resolution[1], believed, warnings)


def _ratio(value: tuple[int, int] | None) -> float | None:
    if not value or len(value) != 2 or not value[0] or not value[1]:
        return None
    return value[0] / value[1]


def _add_micromanager(planes: TiffPlanes, described: Described) -> None:
    """Fill in what Micro-Manager notes in a file: pixel size, interval, exposure."""
    if not planes.tif.is_micromanager:
        return
    try:
        metadata = planes.tif.micromanager_metadata or {}
        page = planes.page(0).tags.valueof(51123) or {}
    # A damaged note is no reason to refuse pixels that can be read.
    except Exception as error:
        logger.warning("%s: Micro-Manager's notes cannot be read: %s", planes.path, error)
        return
    add_micromanager_summary(metadata.get("Summary") or {}, described)
    described.pixel_size_um = described.pixel_size_um or positive(page.get("PixelSizeUm"))
    exposure = positive(page.get("Exposure-ms"))
    if exposure is not None and not described.exposure_ms:
        described.exposure_ms = {0: exposure}
