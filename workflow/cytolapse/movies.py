"""Movies: an inspected movie's planes, times and scales, and the stacks between the stages.

What the formats look like inside is known to `formats` and `folders`, where the
planes of a movie are to `layouts`.
"""

import json
import logging
import math
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
import tifffile

from cytolapse.axes import SHEET
from cytolapse.files import atomic_path
from cytolapse.layouts import lay_out_movie
from cytolapse.planes import STACK_DTYPES, MovieRefused
from cytolapse.tiff import TiffPlanes
from cytolapse.tiffnotes import describe_tiff

logger = logging.getLogger(__name__)

# An offset in a classic TIFF has 32 bits; the rest is left for the last page's tags.
CLASSIC_TIFF_BYTES = 2**32 - 2**25

# Frames that are looked at to learn how bright a movie is.
SAMPLED_FRAMES = 16


class Movie:
    """An open movie, read one plane at a time.

    Attributes
    ----------
    frames : int
    channels : list of str
    shape : tuple of int
        (y, x) of a plane.
    dtype : numpy.dtype
    """

    def __init__(self, info: Mapping) -> None:
        if info["status"] != "ok":
            raise ValueError(f"movie {info['path']}: was refused and cannot be opened: {info['reason']}")
        self.frames: int = info["frames"]
        self.channels: list[str] = list(info["channels"])
        self.shape: tuple[int, int] = (info["height_px"], info["width_px"])
        self.dtype = np.dtype(info["dtype"])
        self._acquired = info["acquired"]
        self._path = info["path"]
        self._layout = lay_out_movie(info)
        self._lock = threading.Lock()

    def read(self, frame: int, channel: str) -> np.ndarray | None:
        """One plane.

        Returns
        -------
        array of shape (y, x), or None
            None where the plane was not acquired.

        Raises
        ------
        ValueError
            If there is no such frame or channel, or the file is not the one
            that was inspected.
        """
        if channel not in self.channels or not 0 <= frame < self.frames:
            raise ValueError(
                f"movie {self._path}: has no frame {frame} of channel {channel!r}; "
                f"it has {self.frames} frames of {', '.join(self.channels)}"
            )
        if self._acquired is not None and not self._acquired[channel][frame]:
            return None
        with self._lock:
            plane = self._layout.read(frame, channel) if frame < self._layout.frames else None
        if plane is None or plane.shape != self.shape or plane.dtype != self.dtype:
            raise ValueError(
                f"movie {self._path}: frame {frame} of channel {channel!r} is not what was inspected; "
                "the file has changed: run again"
            )
        return plane

    def close(self) -> None:
        """Close the files."""
        self._layout.close()

    def __enter__(self) -> "Movie":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_movie(info: Mapping) -> Movie:
    """Open an inspected movie; use it in a `with` block.

    Parameters
    ----------
    info : mapping
        Content of movie.json, as `inspect_movie` gives it.

    Raises
    ------
    ValueError
        If the movie was refused, or can no longer be read.
    """
    return Movie(info)


def sampled_planes(movie: Movie, info: Mapping) -> Iterator[np.ndarray]:
    """Planes of the segmented channel, sampled evenly over the frames that were acquired.

    Parameters
    ----------
    movie : Movie
    info : mapping
        Content of movie.json.

    Yields
    ------
    array of shape (y, x)
        SAMPLED_FRAMES at most.

    Raises
    ------
    ValueError
        If no plane of the channel was acquired.
    """
    channel = info["segment_channel"]
    acquired = np.arange(movie.frames)
    if info["acquired"] is not None:
        acquired = np.flatnonzero(info["acquired"][channel])
    if not len(acquired):
        raise ValueError(f"movie {info['path']}: channel {channel!r} is to be segmented and has no acquired plane")
    sampled = acquired[np.unique(np.linspace(0, len(acquired) - 1, SAMPLED_FRAMES).round().astype(int))]
    yield from (movie.read(int(frame), channel) for frame in sampled)


def frame_times_h(info: Mapping, frame_interval_min: float | None) -> np.ndarray:
    """Time of every frame since the first, in hours.

    The interval of the sheet wins, then the file's time stamps, then the
    file's interval.

    Parameters
    ----------
    info : mapping
        Content of movie.json.
    frame_interval_min : float or None
        As experiments.tsv states it, in minutes.

    Returns
    -------
    array of shape (frames,)

    Raises
    ------
    ValueError
        If there is more than one frame, and neither sheet nor file says.
    """
    frames = info["frames"]
    if frame_interval_min is None and info["time_h"] is not None:
        return np.asarray(info["time_h"], dtype=float)
    interval_min = info["frame_interval_min"] if frame_interval_min is None else frame_interval_min
    if interval_min is None:
        if frames <= 1:
            return np.zeros(frames)
        raise ValueError(
            f"movie {info['path']}: does not say the time between frames; state it in {SHEET} "
            "(column frame_interval_min)"
        )
    return np.arange(frames) * (interval_min / 60)


def pixel_size_um(info: Mapping, stated: float | None) -> float:
    """Size of a pixel in micrometres: the sheet's, else the file's.

    Raises
    ------
    ValueError
        If neither says.
    """
    size_um = info["pixel_size_um"] if stated is None else stated
    if size_um is None:
        raise ValueError(
            f"movie {info['path']}: does not say the size of a pixel; state it in {SHEET} (column pixel_size_um)"
        )
    return float(size_um)


def write_stack(
    path: str | os.PathLike,
    pages: Iterable[np.ndarray],
    *,
    shape: Sequence[int],
    dtype: str | np.dtype,
    pixel_size_um: float | None,
    frame_interval_min: float | None,
    axes: str,
    description: Mapping | None,
) -> None:
    """Write pages as they come to a compressed stack that Fiji and napari open.

    An ImageJ hyperstack, each page deflated by itself: ImageJ follows the pages
    of compressed files one by one, and takes size, axes, pixel size and
    interval from the first. A stack that outgrows 4 GB is carried over into a
    BigTIFF, which Fiji opens by Bio-Formats.

    Parameters
    ----------
    path : path
        Of the stack; written under another name and renamed when complete.
    pages : iterable of array of shape (y, x)
        In the order of the axes, the channel changing fastest.
    shape : sequence of int
        (t, y, x) or (t, c, y, x).
    dtype : str or dtype
        Of every page.
    pixel_size_um, frame_interval_min : float or None
        Written where known.
    axes : {'TYX', 'TCYX'}
    description : mapping or None
        What is kept with the stack, as JSON (Fiji: Image > Show Info).

    Raises
    ------
    ValueError
        If axes and shape do not agree, or a page has another shape or type, or
        there are more or fewer of them.
    """
    shape, dtype = tuple(int(length) for length in shape), np.dtype(dtype)
    if axes not in ("TYX", "TCYX") or len(axes) != len(shape) or min(shape) < 1:
        raise ValueError(
            f"stack {path}: axes {axes!r} do not fit the shape {shape}; wanted TYX or TCYX, no size below 1"
        )
    tags = _stack_tags(shape, pixel_size_um, frame_interval_min, description)
    checked = _checked_pages(path, pages, math.prod(shape[:-2]), shape[-2:], dtype)
    with atomic_path(path) as temporary:
        if not _write_pages(temporary, checked, tags, bigtiff=False):
            logger.info("%s: is larger than a classic TIFF can be: goes on as BigTIFF", path)
            with atomic_path(temporary) as larger, TiffPlanes(temporary, "stack", STACK_DTYPES) as begun:
                _write_pages(larger, chain(map(begun.read, range(begun.count)), checked), tags, bigtiff=True)


def _checked_pages(
    path: str | os.PathLike, pages: Iterable[np.ndarray], count: int, shape: tuple[int, ...], dtype: np.dtype
) -> Iterator[np.ndarray]:
    number = 0
    for number, page in enumerate(pages, start=1):
        if page.shape != shape or page.dtype != dtype:
            raise ValueError(f"stack {path}: page {number - 1} is {page.shape} {page.dtype}, wanted {shape} {dtype}")
        if number > count:
            break
        yield page
    if number != count:
        raise ValueError(f"stack {path}: came with {'more' if number > count else number} pages, wanted {count}")


def _stack_tags(
    shape: tuple[int, ...],
    pixel_size_um: float | None,
    frame_interval_min: float | None,
    description: Mapping | None,
) -> tuple[dict, dict]:
    """TiffWriter's arguments for the first page and for the others."""
    channels = shape[1] if len(shape) == 4 else 1
    lines = ["ImageJ=1.54f", f"images={shape[0] * channels}", f"channels={channels}", "slices=1", f"frames={shape[0]}"]
    lines += ["hyperstack=true", "mode=grayscale", "loop=false"]
    every: dict = {"resolutionunit": "NONE"}
    if pixel_size_um is not None:
        every["resolution"] = (1 / pixel_size_um, 1 / pixel_size_um)
        lines.append("unit=um")
    if frame_interval_min is not None:
        lines.append(f"finterval={frame_interval_min * 60!r}")
    first = {**every, "description": "\n".join(lines) + "\n"}
    if description is not None:
        noted = {"Info": json.dumps(description, sort_keys=True)}
        first["extratags"] = tifffile.tifffile.imagej_metadata_tag(noted, "<")
    return first, every


def _write_pages(
    path: str | os.PathLike, pages: Iterable[np.ndarray], tags: tuple[dict, dict], *, bigtiff: bool
) -> bool:
    """Write pages until they end, or until a classic TIFF is full: then False."""
    arguments, others = tags
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder="<") as writer:
        for page in pages:
            writer.write(
                page,
                contiguous=False,
                compression="zlib",
                compressionargs={"level": 1},
                photometric="minisblack",
                metadata=None,
                software=False,
                maxworkers=1,
                **arguments,
            )
            arguments = others
            if not bigtiff and writer.filehandle.tell() > CLASSIC_TIFF_BYTES:
                return False
    return True


class StackReader:
    """A stack between the stages, read one page at a time; use it in a `with` block.

    Attributes
    ----------
    shape : tuple of int
        (t, y, x) or (t, c, y, x).
    dtype : numpy.dtype
    description : dict
        As it was given to `write_stack`; empty where there is none.

    Raises
    ------
    ValueError
        If the file cannot be read, or is cut off.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self._planes = TiffPlanes(path, "stack", STACK_DTYPES)
        try:
            described = describe_tiff(self._planes)[0]
            sizes = dict(zip(described.axes, described.sizes, strict=True))
        except MovieRefused:
            self._planes.close()
            raise
        self._channels = sizes.get("C", 1)
        frames = len(described.pages) // self._channels
        self.shape = (frames, *((self._channels,) if self._channels > 1 else ()), *self._planes.shape)
        self.dtype = self._planes.dtype
        self.description = _noted(self._planes)

    def read(self, frame: int, channel: int = 0) -> np.ndarray:
        """One page, shape (y, x).

        Raises
        ------
        ValueError
            If there is no such page, or it cannot be decoded.
        """
        if not 0 <= frame < self.shape[0] or not 0 <= channel < self._channels:
            raise ValueError(f"{self._planes.name}: has no frame {frame}, channel {channel}; its shape is {self.shape}")
        return self._planes.read(frame * self._channels + channel)

    def close(self) -> None:
        """Close the file."""
        self._planes.close()

    def __enter__(self) -> "StackReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _noted(planes: TiffPlanes) -> dict:
    info = (planes.tif.imagej_metadata or {}).get("Info", "{}")
    try:
        noted = json.loads(info)
    except ValueError:
        return {}
    return noted if isinstance(noted, dict) else {}
