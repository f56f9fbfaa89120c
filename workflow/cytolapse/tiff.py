"""TIFF files <-> planes, each read alone and only after its header was found to fit the file."""

import math
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import tifffile

from cytolapse.planes import (
    DTYPES,
    MovieIncomplete,
    MovieRefused,
    Planes,
    access_failed,
    check_dtype,
    check_size,
    decoding_failed,
    pass_on,
    size_text,
    too_few_planes,
)

# Of a set of files those that stay open; it may have thousands.
_OPEN_FILES = 32


class TiffPlanes(Planes):
    """An open TIFF file as a row of planes, each read alone.

    A page is the number of a plane in this file, or (name, number) of one in
    another file of the same folder: an OME-TIFF may be spread over several.

    Attributes
    ----------
    tail_is_missing : bool
        The chain of pages breaks off: the file was cut.
    """

    def __init__(self, path: str | os.PathLike, what: str = "movie", dtypes: Sequence[str] = DTYPES) -> None:
        self.path = str(path)
        self.name = f"{what} {path}"
        self._what = what
        self._dtypes = dtypes
        self._others: OrderedDict[str, TiffPlanes] = OrderedDict()
        self._lock = threading.Lock()
        self._size = os.path.getsize(path)
        try:
            self.tif = tifffile.TiffFile(path)
        except PermissionError as error:
            raise access_failed(self.name, error) from error
        # tifffile raises a dozen kinds of errors on damaged files (struct, index, type, its own).
        except Exception as error:
            pass_on(error)
            raise MovieIncomplete(f"{self.name}: cannot be read as TIFF ({error}); copy or export it again") from error
        try:
            self._look()
        except MovieRefused:
            self.tif.close()
            raise
        except Exception as error:
            self.tif.close()
            pass_on(error)
            raise MovieIncomplete(
                f"{self.name}: its pages cannot be read ({error}); copy or export it again"
            ) from error

    def _look(self) -> None:
        if self.tif.is_stk:
            raise MovieRefused(f"{self.name}: MetaMorph STK is not read; export it as OME-TIFF")
        self.count = len(self.tif.pages)
        self.tail_is_missing = _chain_is_cut(self.tif)
        first = self.tif.pages.first
        self.shape = _plane_shape(self.name, 0, first, self._dtypes)
        self.dtype = np.dtype(first.dtype).newbyteorder("=")
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

    def read(self, page: int | tuple[str, int]) -> np.ndarray:
        """One plane, shape (y, x), in the machine's byte order."""
        with self._lock:
            if isinstance(page, tuple):
                name, page = page
                return self._other(name).read(page)
            try:
                return self._read(page)
            except MovieRefused:
                raise
            # Whatever decoder or parser stumbles, the finding is the same: this page is damaged.
            except Exception as error:
                raise decoding_failed(self.name, page, error) from error

    def _other(self, name: str) -> "TiffPlanes":
        """Another file of the set that this one belongs to, open."""
        if name not in self._others:
            path = os.path.join(os.path.dirname(self.path), name)
            if not os.path.exists(path):
                raise MovieRefused(
                    f"{self.name}: its metadata place planes in {name}, and there is no such file beside it; copy all "
                    "files of the set, under the names that they were written with"
                )
            other = self._others[name] = TiffPlanes(path, self._what, self._dtypes)
            if (other.shape, other.dtype) != (self.shape, self.dtype):
                raise MovieRefused(
                    f"{other.name}: is {size_text(other.shape)} {other.dtype}, {os.path.basename(self.path)} of the "
                    f"same movie is {size_text(self.shape)} {self.dtype}; export the movie again"
                )
            if len(self._others) > _OPEN_FILES:
                self._others.popitem(last=False)[1].close()
        self._others.move_to_end(name)
        return self._others[name]

    def _read(self, index: int) -> np.ndarray:
        if index >= self.count:
            raise too_few_planes(self.name, index + 1, self.count)
        page = self.page(index)
        shape = _plane_shape(self.name, index, page, self._dtypes)
        dtype = np.dtype(page.dtype).newbyteorder("=")
        if shape != self.shape or dtype != self.dtype:
            raise MovieRefused(
                f"{self.name}: page {index} is {size_text(shape)} {dtype}, the first is {size_text(self.shape)} "
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
            raise MovieIncomplete(
                f"{self.name}: is cut off: page {index} ends at byte {end}, the file at {self._size}; "
                "copy it again, or wait until it is written"
            )
        stored = sum(page.databytecounts)
        compressed = page.compression != 1
        # A page without any stored byte is a sparse one: it reads as zeros and is judged as such.
        if stored and not compressed and stored < page.nbytes * page.bitspersample // (8 * dtype.itemsize):
            raise MovieRefused(
                f"{self.name}: page {index} stores {stored} bytes, {size_text(shape)} {dtype} needs {page.nbytes}; "
                "copy or export it again"
            )
        check_size(self.name, shape, dtype, self._size, compressed=compressed)

    def close(self) -> None:
        """Close the file, and those of its set."""
        for other in self._others.values():
            other.close()
        self._others.clear()
        self.tif.close()


def _plane_shape(name: str, index: int, page: tifffile.TiffPage, dtypes: Sequence[str]) -> tuple[int, int]:
    if page.samplesperpixel > 1:
        raise MovieRefused(
            f"{name}: page {index} has {page.samplesperpixel} samples a pixel (RGB); "
            "split the colours into channels (Fiji: Image > Type > RGB Stack, or Split Channels)"
        )
    check_dtype(name, page.dtype, dtypes)
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
