"""Image files <-> planes, and what a file says of itself.

Knows TIFF (plain, ImageJ, OME, Micro-Manager, as tifffile writes it) and PNG.
A plane is one image (y, x); it is read alone, so that memory does not grow with
the length of a movie, and only after its header was found to fit the file.
"""

import errno
import json
import logging
import math
import os
import struct
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile

logger = logging.getLogger(__name__)

DTYPES = ("uint8", "uint16", "float32")
STACK_DTYPES = (*DTYPES, "uint32", "int32")
IMAGE_ENDINGS = (".tif", ".tiff", ".png")

# A plane larger than this is no camera's; one above the lower bound is believed only if deflate could have made it.
_PLANE_LIMIT_BYTES = 2 * 2**30
_DOUBTED_PLANE_BYTES = 256 * 2**20
_DEFLATE_RATIO = 1100

# What a network file system may get over.
_PASSING = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN)

_PIXEL_SIZE_UM = (0.005, 50.0)
# Outside of ImageJ and OME most programs write a print resolution here: 72 dpi would be 353 um.
_PLAIN_PIXEL_SIZE_UM = (0.01, 10.0)

_UM_PER_UNIT = {
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "pm": 1e-6,
    "å": 1e-4,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "inch": 25400.0,
    "in": 25400.0,
}
_S_PER_UNIT = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "msec": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
    "d": 86400.0,
}


class MovieRefused(ValueError):
    """A movie that cannot be processed; the text names file, finding and remedy."""


@dataclass
class Described:
    """What a file says of one movie in it.

    Attributes
    ----------
    source : str
        Whose words these are: OME, ImageJ, tifffile or plain.
    axes, sizes : str and tuple of int
        Axes of the planes from the outermost to the innermost, Y and X left
        out; 'I' is an axis without a name.
    pages : sequence of int or None
        Page of each plane in that order; None where the metadata know the
        plane as not acquired.
    channel_names : list of str
        As the file names them; empty where it does not.
    time_h : dict
        Hours of a plane (frame, channel number).
    exposure_ms : dict
        Exposure of a channel number.
    """

    source: str
    axes: str
    sizes: tuple[int, ...]
    pages: Sequence[int | None]
    pixel_size_um: float | None = None
    frame_interval_min: float | None = None
    channel_names: list[str] = field(default_factory=list)
    time_h: dict[tuple[int, int], float] = field(default_factory=dict)
    exposure_ms: dict[int, float] = field(default_factory=dict)
    significant_bits: int | None = None
    warnings: list[str] = field(default_factory=list)


class PngPlanes:
    """A PNG file as one plane."""

    count = 1
    tail_is_missing = False

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = str(path)
        with open(path, "rb") as file:
            header = file.read(33)
        if len(header) < 33 or header[:8] != b"\x89PNG\r\n\x1a\n" or header[12:16] != b"IHDR":
            raise MovieRefused(f"movie {path}: is not a PNG file, or breaks off in its header; copy it again")
        width, height, bits, colour = struct.unpack(">IIBB", header[16:26])
        if colour != 0:
            raise MovieRefused(
                f"movie {path}: is a colour or palette PNG (RGB); save the channel as one grey image a frame"
            )
        if bits not in (8, 16):
            raise MovieRefused(f"movie {path}: has {bits} bits a pixel; wanted 8 or 16")
        self.bits = bits
        self.shape = (height, width)
        self.dtype = np.dtype(f"uint{bits}")
        _check_size(f"movie {path}", self.shape, self.dtype, os.path.getsize(path), compressed=True)

    def read(self, index: int) -> np.ndarray:
        """The plane, shape (y, x)."""
        import imagecodecs

        try:
            plane = imagecodecs.png_decode(Path(self.path).read_bytes())
        # Whatever the decoder stumbles over, the finding is the same: this file is damaged.
        except Exception as error:
            _pass_on(error)
            raise MovieRefused(f"movie {self.path}: cannot be decoded ({error}); copy the file again") from error
        return plane

    def close(self) -> None:
        """Nothing is kept open."""

    def __enter__(self) -> "PngPlanes":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TiffPlanes:
    """An open TIFF file as a row of planes, each read alone.

    Attributes
    ----------
    count : int
        Planes that can be addressed.
    tail_is_missing : bool
        The chain of pages breaks off: the file was cut.
    shape, dtype
        Of the first plane.
    """

    def __init__(self, path: str | os.PathLike, what: str = "movie", dtypes: Sequence[str] = DTYPES) -> None:
        self.path = str(path)
        self.name = f"{what} {path}"
        self._dtypes = dtypes
        self._lock = threading.Lock()
        self._size = os.path.getsize(path)
        try:
            self.tif = tifffile.TiffFile(path)
        # tifffile raises a dozen kinds of errors on damaged files (struct, index, type, its own).
        except Exception as error:
            _pass_on(error)
            raise MovieRefused(f"{self.name}: cannot be read as TIFF ({error}); copy or export it again") from error
        try:
            self._look()
        except MovieRefused:
            self.tif.close()
            raise
        except Exception as error:
            self.tif.close()
            _pass_on(error)
            raise MovieRefused(f"{self.name}: its pages cannot be read ({error}); copy or export it again") from error

    def _look(self) -> None:
        if self.tif.is_stk:
            raise MovieRefused(f"{self.name}: MetaMorph STK is not read; export it as OME-TIFF")
        self.count = len(self.tif.pages)
        self.tail_is_missing = _chain_is_cut(self.tif)
        first = self.tif.pages.first
        self.shape = _plane_shape(self.name, 0, first, self._dtypes)
        self.dtype = np.dtype(first.dtype).newbyteorder("=")
        self.bits = first.bitspersample
        self._contiguous = False

    def believe_contiguous(self, planes: int) -> None:
        """Take `planes` raw planes behind the first page's offset, as ImageJ stores large stacks.

        Nothing changes where the file has that many pages, or is compressed.
        """
        first = self.tif.pages.first
        if planes <= self.count or self.count > 1 or not first.is_final or not first.dataoffsets:
            return
        held = max(0, self._size - first.dataoffsets[0]) // first.nbytes
        self.count = int(min(planes, held))
        self._contiguous = True
        self.tail_is_missing = held < planes

    def page(self, index: int) -> tifffile.TiffPage:
        """The page that holds plane `index`, with its tags."""
        return self.tif.pages.first if self._contiguous else self.tif.pages[index]

    def read(self, index: int) -> np.ndarray:
        """Plane `index`, shape (y, x), in the machine's byte order."""
        with self._lock:
            try:
                return self._read(index)
            except MovieRefused:
                raise
            # Whatever decoder or parser stumbles, the finding is the same: this page is damaged.
            except Exception as error:
                _pass_on(error)
                raise MovieRefused(
                    f"{self.name}: page {index} cannot be decoded ({error}); copy or export it again"
                ) from error

    def _read(self, index: int) -> np.ndarray:
        page = self.page(index)
        shape = _plane_shape(self.name, index, page, self._dtypes)
        dtype = np.dtype(page.dtype).newbyteorder("=")
        if shape != self.shape or dtype != self.dtype:
            raise MovieRefused(
                f"{self.name}: page {index} is {_size(shape)} {dtype}, the first is {_size(self.shape)} "
                f"{self.dtype}; a movie has one size and type: put the other images into files of their own"
            )
        if self._contiguous:
            handle = self.tif.filehandle
            offset = page.dataoffsets[0] + index * page.nbytes
            raw_type = np.dtype(page.dtype).newbyteorder(self.tif.byteorder)
            plane = handle.read_array(raw_type, math.prod(shape), offset).reshape(shape)
        else:
            self._check_stored(index, page, shape, dtype)
            plane = page.asarray(maxworkers=1).reshape(shape)
        return plane.astype(dtype, copy=False)

    def _check_stored(self, index: int, page: tifffile.TiffPage, shape: tuple[int, int], dtype: np.dtype) -> None:
        end = max((at + size for at, size in zip(page.dataoffsets, page.databytecounts, strict=False)), default=0)
        if end > self._size:
            raise MovieRefused(
                f"{self.name}: is cut off: page {index} ends at byte {end}, the file at {self._size}; "
                "copy it again, or wait until it is written"
            )
        stored = sum(page.databytecounts)
        compressed = page.compression != 1
        # A page without any stored byte is a sparse one: it reads as zeros and is judged as such.
        if stored and not compressed and stored < page.nbytes * page.bitspersample // (8 * dtype.itemsize):
            raise MovieRefused(
                f"{self.name}: page {index} stores {stored} bytes, {_size(shape)} {dtype} needs {page.nbytes}; "
                "copy or export it again"
            )
        _check_size(self.name, shape, dtype, self._size, compressed=compressed)

    def close(self) -> None:
        """Close the file."""
        self.tif.close()

    def __enter__(self) -> "TiffPlanes":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_planes(path: str | os.PathLike) -> TiffPlanes | PngPlanes:
    """Open an image file by its ending.

    Raises
    ------
    MovieRefused
        If it cannot be read, with file, finding and remedy.
    """
    try:
        return PngPlanes(path) if str(path).lower().endswith(".png") else TiffPlanes(path)
    except OSError as error:
        _pass_on(error)
        raise MovieRefused(f"movie {path}: cannot be opened ({error.strerror or error})") from error


def _pass_on(error: Exception) -> None:
    """Raise again what the file system may get over: the job dies and is tried again, the movie is not refused."""
    if isinstance(error, OSError) and error.errno in _PASSING:
        raise error


def _size(shape: Sequence[int]) -> str:
    return " x ".join(str(length) for length in shape)


def _check_size(name: str, shape: tuple[int, int], dtype: np.dtype, file_bytes: int, *, compressed: bool) -> None:
    """Refuse a header that asks for more memory than its file can back."""
    wanted = math.prod(shape) * dtype.itemsize
    believable = file_bytes * _DEFLATE_RATIO if compressed else file_bytes
    if wanted > _PLANE_LIMIT_BYTES or wanted > max(believable, _DOUBTED_PLANE_BYTES):
        raise MovieRefused(
            f"{name}: its header claims planes of {_size(shape)} px ({wanted / 1e9:.1f} GB each), the file has "
            f"{file_bytes} bytes: the header is damaged; copy or export it again"
        )


def _plane_shape(name: str, index: int, page: tifffile.TiffPage, dtypes: Sequence[str]) -> tuple[int, int]:
    if page.samplesperpixel > 1:
        raise MovieRefused(
            f"{name}: page {index} has {page.samplesperpixel} samples a pixel (RGB); "
            "split the colours into channels (Fiji: Image > Type > RGB Stack, or Split Channels)"
        )
    if page.dtype is None or np.dtype(page.dtype).name not in dtypes:
        raise MovieRefused(
            f"{name}: pixels are {page.dtype}, wanted {', '.join(dtypes[:-1])} or {dtypes[-1]}; "
            "convert it (Fiji: Image > Type > 16-bit)"
        )
    if page.imagedepth != 1 or page.imagelength < 1 or page.imagewidth < 1:
        raise MovieRefused(
            f"{name}: page {index} has size {page.imagedepth} x {page.imagelength} x {page.imagewidth}; "
            "copy or export it again"
        )
    return page.imagelength, page.imagewidth


def _chain_is_cut(tif: tifffile.TiffFile) -> bool:
    """Whether the chain of pages breaks off before the page that says it is the last."""
    handle, form = tif.filehandle, tif.tiff
    try:
        offset = tif.pages[len(tif.pages) - 1].offset
        handle.seek(offset)
        tags = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))[0]
        handle.seek(offset + form.tagnosize + tags * form.tagsize)
        return struct.unpack(form.offsetformat, handle.read(form.offsetsize))[0] != 0
    except (tifffile.TiffFileError, struct.error):
        return True


def describe(planes: TiffPlanes) -> list[Described]:
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
        _pass_on(error)
        raise MovieRefused(
            f"{planes.name}: its metadata cannot be read ({type(error).__name__}: {error}); export it again"
        ) from error
    if planes.tail_is_missing:
        raise MovieRefused(
            f"{planes.name}: is cut off or damaged after {planes.count} pages; copy it again, or wait until it "
            "is written"
        )
    return described


def _describe(planes: TiffPlanes) -> list[Described]:
    if planes.tif.is_ome:
        described = [_describe_ome_image(planes, pixels) for pixels in _ome_images(planes)]
    elif planes.tif.pages.first.imagej_description is not None:
        described = [_describe_imagej(planes)]
    else:
        described = [_describe_shaped(planes)]
    for one in described:
        _add_micromanager(planes, one)
    return described


def count_ome_positions(planes: TiffPlanes) -> int:
    """Positions by the OME metadata alone; 1 where there are none."""
    if not planes.tif.is_ome:
        return 1
    return max(1, len(_ome_images(planes)))


def _describe_shaped(planes: TiffPlanes) -> Described:
    """Of a file without ImageJ or OME metadata: the shape that tifffile notes, or none."""
    pixel_size_um = _resolution_um(planes.tif.pages.first, None, _PLAIN_PIXEL_SIZE_UM)
    noted = _noted_shape(planes.tif.pages.first.description)
    if noted is not None:
        axes, sizes = noted
        claimed = math.prod(sizes)
        planes.believe_contiguous(claimed)
        if claimed > planes.count:
            raise _too_few(planes, claimed)
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


def _too_few(planes: TiffPlanes, claimed: int) -> MovieRefused:
    return MovieRefused(
        f"{planes.name}: its metadata claim {claimed} planes, the file holds {planes.count}: the acquisition was "
        "stopped early or the copy is not complete; copy it again, wait until it is written, or save the frames there "
        "are as a movie of their own"
    )


def _describe_imagej(planes: TiffPlanes) -> Described:
    first = planes.tif.pages.first
    fields = dict(line.split("=", 1) for line in first.imagej_description.splitlines() if "=" in line)
    sizes = {letter: _whole(fields.get(key)) for letter, key in (("T", "frames"), ("Z", "slices"), ("C", "channels"))}
    claimed = max(_whole(fields.get("images")), math.prod(sizes.values()))
    planes.believe_contiguous(claimed)
    if claimed > planes.count:
        raise _too_few(planes, claimed)
    described = Described("ImageJ", "I", (planes.count,), range(planes.count))
    if math.prod(sizes.values()) == planes.count:
        axes = {"czt": "TZC", "ctz": "ZTC", "zct": "TCZ", "ztc": "CTZ", "tcz": "ZCT", "tzc": "CZT"}.get(
            fields.get("order", "czt").lower(), "TZC"
        )
        described.axes, described.sizes = axes, tuple(sizes[letter] for letter in axes)
    unit = _length_unit(fields.get("unit") or fields.get("yunit"))
    described.pixel_size_um = _resolution_um(first, unit, _PIXEL_SIZE_UM, described.warnings)
    seconds = _number(fields.get("finterval"))
    if seconds:
        scale = _S_PER_UNIT.get(fields.get("tunit", "s").strip().lower())
        described.frame_interval_min = seconds * scale / 60 if scale else None
    return described


def _whole(text: str | None) -> int:
    number = _number(text)
    return max(1, int(number)) if number else 1


def _number(text: str | None) -> float | None:
    """A finite number above 0, or None."""
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _length_unit(unit: str | None) -> float | None:
    """Micrometres in one `unit`; None where it is none of length."""
    if unit is None:
        return None
    plain = unit.strip().replace("\\u00B5", "u").replace("\u00b5", "u").replace("\u03bc", "u")
    return _UM_PER_UNIT.get(plain) or _UM_PER_UNIT.get(plain.lower())


def _resolution_um(
    page: tifffile.TiffPage, unit_um: float | None, believed: tuple[float, float], warnings: list[str] | None = None
) -> float | None:
    """Pixel size by the TIFF's resolution tags; without a unit of ImageJ's by the tag of the unit."""
    resolution = [_ratio(page.tags.valueof(tag)) for tag in ("XResolution", "YResolution")]
    if unit_um is None:
        unit_um = {2: 25400.0, 3: 1e4}.get(int(page.tags.valueof("ResolutionUnit") or 0))
        believed = _PLAIN_PIXEL_SIZE_UM
    if unit_um is None or None in resolution:
        return None
    return _believed(unit_um / resolution[0], unit_um / resolution[1], believed, warnings)


def _ratio(value: tuple[int, int] | None) -> float | None:
    if not value or len(value) != 2 or not value[0] or not value[1]:
        return None
    return value[0] / value[1]


def _believed(
    x_um: float, y_um: float, believed: tuple[float, float], warnings: list[str] | None = None
) -> float | None:
    said = None
    if abs(x_um - y_um) > 0.01 * max(x_um, y_um):
        said = f"its metadata say pixels of {y_um:g} x {x_um:g} um, which are not square: not used"
    elif not believed[0] <= x_um <= believed[1]:
        said = f"its metadata say a pixel size of {x_um:g} um, outside of {believed[0]:g} to {believed[1]:g}: not used"
    if said is None:
        return x_um
    if warnings is not None:
        warnings.append(said)
    return None


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
    described.pixel_size_um = described.pixel_size_um or _number(page.get("PixelSizeUm"))
    exposure = _number(page.get("Exposure-ms"))
    if exposure is not None and not described.exposure_ms:
        described.exposure_ms = {0: exposure}


def add_micromanager_summary(summary: dict, described: Described) -> None:
    """Fill what is not known yet from the summary that Micro-Manager writes."""
    interval_ms = _number(summary.get("Interval_ms") or summary.get("WaitInterval"))
    described.pixel_size_um = described.pixel_size_um or _number(
        summary.get("PixelSize_um") or summary.get("PixelSizeUm")
    )
    if described.frame_interval_min is None and interval_ms is not None:
        described.frame_interval_min = interval_ms / 60000
    names = summary.get("ChNames")
    if not described.channel_names and isinstance(names, list):
        described.channel_names = [str(name) for name in names]


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(element: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    return [child for child in element if _tag(child) == tag]


def _ome_images(planes: TiffPlanes) -> list[ElementTree.Element]:
    """The Pixels elements of this file's images, those of one height and width with the first.

    Another height or width is that of a thumbnail or a map; another number of
    frames is a position that stopped early.
    """
    try:
        root = ElementTree.fromstring(planes.tif.ome_metadata)
    except ElementTree.ParseError as error:
        raise MovieRefused(f"{planes.name}: its OME-XML cannot be read ({error}); export it again") from error
    elsewhere = _children(root, "BinaryOnly")
    if elsewhere:
        raise MovieRefused(
            f"{planes.name}: its OME metadata are in another file ({elsewhere[0].get('MetadataFile')}); "
            "export the movie as one OME-TIFF"
        )
    images = [pixels for image in _children(root, "Image") for pixels in _children(image, "Pixels")]
    own = [pixels for pixels in images if os.path.basename(planes.path) in _ome_files(pixels)]
    images = own or images
    if not images:
        raise MovieRefused(f"{planes.name}: its OME-XML names no image; export it again")
    sizes = [[pixels.get(f"Size{letter}") for letter in "XY"] for pixels in images]
    same = [pixels for pixels, size in zip(images, sizes, strict=True) if size == sizes[0]]
    # Many images of one plane each are a movie written in the wrong way, not so many positions.
    return same if any(_ome_sizes(planes, pixels)[1] > 1 for pixels in same) else same[:1]


def _ome_files(pixels: ElementTree.Element) -> set[str]:
    named = [uuid.get("FileName") for data in _children(pixels, "TiffData") for uuid in _children(data, "UUID")]
    return {name for name in named if name}


def _ome_sizes(planes: TiffPlanes, pixels: ElementTree.Element) -> tuple[dict[str, int], int]:
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


def _describe_ome_image(planes: TiffPlanes, pixels: ElementTree.Element) -> Described:
    files = _ome_files(pixels)
    if len(files) > 1:
        raise MovieRefused(
            f"{planes.name}: its OME metadata spread it over {len(files)} files "
            f"({', '.join(sorted(files)[:3])}, ...); export it as one OME-TIFF"
        )
    sizes, total = _ome_sizes(planes, pixels)
    order = pixels.get("DimensionOrder", "XYCZT")
    axes = order[:1:-1] if sorted(order) == sorted("XYCZT") and order.startswith("XY") else "TZC"
    pages = _ome_pages(planes, pixels, axes, sizes, total)
    described = Described("OME", axes, tuple(sizes[letter] for letter in axes), pages)
    _add_ome_scales(pixels, described)
    for channel in _children(pixels, "Channel"):
        described.channel_names.append(channel.get("Name") or "")
    if not all(described.channel_names):
        described.channel_names = []
    _add_ome_planes(pixels, described)
    bits = _number(pixels.get("SignificantBits"))
    described.significant_bits = int(bits) if bits else None
    return described


def _ome_pages(
    planes: TiffPlanes, pixels: ElementTree.Element, axes: str, sizes: dict[str, int], total: int
) -> list[int | None]:
    """Page of every plane, from the TiffData elements."""
    blocks = _children(pixels, "TiffData")
    placed: dict[int, int] = {}
    claimed = held = 0
    for block in blocks or [ElementTree.Element("TiffData")]:
        page = int(block.get("IFD", 0))
        alone = "IFD" in block.attrib or "FirstT" in block.attrib or "FirstC" in block.attrib
        count = int(block.get("PlaneCount", 1 if alone else total))
        first = 0
        for letter in axes:
            first = first * sizes[letter] + int(block.get(f"First{letter}", 0))
        claimed += count
        for step in range(min(count, planes.count - page)):
            placed[first + step] = page + step
            held += 1
    # Planes that no TiffData names were not acquired; a header that claims absurdly many of them is damaged.
    if held < claimed or total > 64 * (planes.count + 1):
        raise _too_few(planes, max(claimed, total))
    return [placed.get(plane) for plane in range(total)]


def _add_ome_scales(pixels: ElementTree.Element, described: Described) -> None:
    sizes = [_number(pixels.get(f"PhysicalSize{letter}")) for letter in "XY"]
    units = [_length_unit(pixels.get(f"PhysicalSize{letter}Unit", "um")) for letter in "XY"]
    if sizes[0] is not None and units[0] is not None:
        x_um = sizes[0] * units[0]
        y_um = sizes[1] * units[1] if sizes[1] is not None and units[1] is not None else x_um
        described.pixel_size_um = _believed(x_um, y_um, _PIXEL_SIZE_UM, described.warnings)
    increment = _number(pixels.get("TimeIncrement"))
    scale = _seconds(pixels.get("TimeIncrementUnit", "s"))
    if increment is not None and scale is not None:
        described.frame_interval_min = increment * scale / 60


def _seconds(unit: str) -> float | None:
    return _S_PER_UNIT.get(unit.strip().replace("\u00b5", "u").replace("\u03bc", "u").lower())


def _add_ome_planes(pixels: ElementTree.Element, described: Described) -> None:
    for plane in _children(pixels, "Plane"):
        frame, channel = int(plane.get("TheT", 0)), int(plane.get("TheC", 0))
        seconds = _seconds(plane.get("DeltaTUnit", "s"))
        if plane.get("DeltaT") is not None and seconds is not None:
            described.time_h.setdefault((frame, channel), float(plane.get("DeltaT")) * seconds / 3600)
        exposure, unit = _number(plane.get("ExposureTime")), _seconds(plane.get("ExposureTimeUnit", "s"))
        if exposure is not None and unit is not None:
            described.exposure_ms.setdefault(channel, exposure * unit * 1000)
