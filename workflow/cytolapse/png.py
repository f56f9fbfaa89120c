"""PNG files <-> planes."""

import os
import struct
from pathlib import Path

import numpy as np

from cytolapse.planes import MovieRefused, Planes, check_size, pass_on


class PngPlanes(Planes):
    """A PNG file as one plane."""

    count = 1

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = str(path)
        self.name = f"movie {path}"
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
        self.shape = (height, width)
        self.dtype = np.dtype(f"uint{bits}")
        check_size(self.name, self.shape, self.dtype, os.path.getsize(path), compressed=True)

    def read(self, page: int = 0) -> np.ndarray:
        """The plane, shape (y, x)."""
        import imagecodecs

        try:
            plane = imagecodecs.png_decode(Path(self.path).read_bytes())
        # Whatever the decoder stumbles over, the finding is the same: this file is damaged.
        except Exception as error:
            pass_on(error)
            raise MovieRefused(f"movie {self.path}: cannot be decoded ({error}); copy the file again") from error
        return plane

    def close(self) -> None:
        """Nothing is kept open."""
