"""Planes: what every file format gives, and the words by which one is refused.

A plane is one image (y, x); it is read alone, so that memory does not grow with
the length of a movie, and only after its header was found to fit the file.
"""

import errno
import math
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

DTYPES = ("uint8", "uint16", "float32")
STACK_DTYPES = (*DTYPES, "uint32", "int32")

# A plane larger than this is no camera's; one above the lower bound is believed only if deflate could have made it.
_PLANE_LIMIT_BYTES = 2 * 2**30
_DOUBTED_PLANE_BYTES = 256 * 2**20
_DEFLATE_RATIO = 1100

# What a network file system may get over.
_PASSING = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN)


class MovieRefused(ValueError):
    """A movie that cannot be processed; the text names file, finding and remedy."""


class MovieIncomplete(MovieRefused):
    """A movie that lacks planes, or parts of them, and may have them yet."""


@dataclass
class Described:
    """What a file says of one movie in it.

    Attributes
    ----------
    source : str
        Whose words these are: OME, ImageJ, ND2, plain and the like.
    axes, sizes : str and tuple of int
        Axes of the planes from the outermost to the innermost, Y and X left
        out; 'I' is an axis without a name.
    pages : sequence
        In that order what `Planes.read` takes to read each plane; None where
        the metadata know the plane as not acquired.
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
    pages: Sequence[Hashable | None]
    pixel_size_um: float | None = None
    frame_interval_min: float | None = None
    channel_names: list[str] = field(default_factory=list)
    time_h: dict[tuple[int, int], float] = field(default_factory=dict)
    exposure_ms: dict[int, float] = field(default_factory=dict)
    significant_bits: int | None = None
    warnings: list[str] = field(default_factory=list)


class Planes(ABC):
    """An open file as a row of planes, each read alone; use it in a `with` block.

    Attributes
    ----------
    path, name : str
        The name is how messages begin.
    count : int
        Planes that can be addressed.
    shape, dtype
        Of the first plane.
    """

    path: str
    name: str
    count: int
    shape: tuple[int, int]
    dtype: np.dtype

    @abstractmethod
    def read(self, page: Hashable) -> np.ndarray:
        """One plane, shape (y, x), in the machine's byte order.

        Raises
        ------
        MovieRefused
            If it cannot be decoded.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> "Planes":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ContainerPlanes(Planes):
    """A file of a microscope's own format, read through a library for it.

    What the library stumbles over (struct, XML, its parser's own) is one
    finding, whatever it raises: the file is damaged.

    Attributes
    ----------
    format_name : str
        How messages call the format.
    positions : int
        Movies in the file.
    """

    format_name: str
    positions: int

    def __init__(self, path: str | os.PathLike) -> None:
        self.path, self.name = str(path), f"movie {path}"
        self._lock = threading.Lock()
        with self._readable():
            self._open()
        try:
            with self._readable():
                self._look()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except MovieRefused:
            raise
        except Exception as error:
            raise opening_failed(self.name, self.format_name, error) from error

    @abstractmethod
    def _open(self) -> None:
        """Open the file."""

    @abstractmethod
    def _look(self) -> None:
        """Find shape, dtype, count and positions, and refuse what cannot be processed."""

    @abstractmethod
    def _read(self, page: Hashable) -> np.ndarray:
        """One plane, shape (y, x); one thread at a time."""

    @abstractmethod
    def _describe(self) -> list[Described]:
        """What the file says of the movies in it, one entry a position."""

    def read(self, page: Hashable) -> np.ndarray:
        """One plane, shape (y, x)."""
        with self._lock:
            try:
                return self._read(page)
            except Exception as error:
                raise decoding_failed(self.name, self._place(page), error) from error

    def _place(self, page: Hashable) -> object:
        """A page as messages say it."""
        return page

    def describe(self) -> list[Described]:
        """What the file says of the movies in it, one entry a position."""
        with self._readable():
            return self._describe()


def pass_on(error: Exception) -> None:
    """Raise again what the file system may get over: the job dies and is tried again, the movie is not refused."""
    if isinstance(error, OSError) and error.errno in _PASSING:
        raise error


def size_text(shape: Sequence[int]) -> str:
    """A size as messages say it."""
    return " x ".join(str(length) for length in shape)


def check_size(name: str, shape: Sequence[int], dtype: np.dtype, file_bytes: int, *, compressed: bool) -> None:
    """Refuse a header that asks for more memory than its file can back.

    Raises
    ------
    MovieRefused
    """
    wanted = math.prod(shape) * dtype.itemsize
    believable = file_bytes * _DEFLATE_RATIO if compressed else file_bytes
    if wanted > _PLANE_LIMIT_BYTES or wanted > max(believable, _DOUBTED_PLANE_BYTES):
        raise MovieRefused(
            f"{name}: its header claims planes of {size_text(shape)} px ({wanted / 1e9:.1f} GB each), the file has "
            f"{file_bytes} bytes: the header is damaged; copy or export it again"
        )


def check_dtype(name: str, dtype: object, dtypes: Sequence[str] = DTYPES) -> np.dtype:
    """The type of pixels in the machine's byte order, refused where it is none that can be measured.

    Raises
    ------
    MovieRefused
    """
    if dtype is None or np.dtype(dtype).name not in dtypes:
        raise MovieRefused(
            f"{name}: pixels are {dtype}, wanted {', '.join(dtypes[:-1])} or {dtypes[-1]}; "
            "convert it (Fiji: Image > Type > 16-bit)"
        )
    return np.dtype(dtype).newbyteorder("=")


def too_few_planes(name: str, claimed: int, held: int) -> MovieIncomplete:
    """The refusal of a file that holds fewer planes than its metadata claim."""
    return MovieIncomplete(
        f"{name}: its metadata claim {claimed} planes, the file holds {held}: the acquisition was "
        "stopped early or the copy is not complete; copy it again, wait until it is written, or save the frames there "
        "are as a movie of their own"
    )


def access_failed(name: str, error: OSError) -> MovieRefused:
    """The refusal of a file or folder that the file system does not give out; what may pass is raised again."""
    pass_on(error)
    path = error.filename
    if isinstance(error, FileNotFoundError) and isinstance(path, str | os.PathLike) and os.path.islink(path):
        return MovieRefused(
            f"{name}: is a link to {os.readlink(path)}, where there is nothing; restore that, or correct the link"
        )
    if isinstance(error, FileNotFoundError):
        return MovieRefused(f"{name}: there is no such file or folder")
    return MovieRefused(f"{name}: cannot be opened ({error.strerror or error}); correct its rights, or its name")


def opening_failed(name: str, what: str, error: Exception) -> MovieRefused:
    """The refusal of a file that its library cannot open; what may pass is raised again."""
    pass_on(error)
    if isinstance(error, PermissionError):
        return access_failed(name, error)
    return MovieIncomplete(
        f"{name}: cannot be read as {what} ({type(error).__name__}: {error}); copy it again, wait until it is "
        "written, or export it as OME-TIFF"
    )


def decoding_failed(name: str, page: object, error: Exception) -> MovieIncomplete:
    """The refusal of a plane that does not decode; what may pass is raised again."""
    pass_on(error)
    return MovieIncomplete(f"{name}: page {page} cannot be decoded ({error}); copy or export it again")


def file_bytes(path: str | os.PathLike) -> int:
    """Size of a file, or of all files below a folder."""
    if not os.path.isdir(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)
