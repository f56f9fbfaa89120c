"""Leica's LIF files <-> planes, read by the library liffile.

liffile is in pure Python, by the author of tifffile, kept up, and reads every
image of a file, a frame at a time, with its real axes.
"""

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


class LeicaPlanes(ContainerPlanes):
    """An open LIF file; a page is (number of the image, T, Z, C, tile).

    The images of the first one's height and width with more than one plane are
    its positions, and so are the tiles of a mosaic.
    """

    format_name = "LIF"

    def _open(self) -> None:
        import liffile

        self._file = liffile.LifFile(self.path)

    def _look(self) -> None:
        images = dict(enumerate(self._file.images))
        # A frame of the library is what lies together in the file: of an xzy scan its xz planes.
        flat = {n: image for n, image in images.items() if _inner(image) == ("Y", "X") and not image.is_flim}
        # Images of one plane (overviews) count only where there is nothing else.
        moving = {n: image for n, image in flat.items() if image.size > image.sizes["Y"] * image.sizes["X"]} or flat
        if not moving:
            held = ", ".join(f"{image.name} ({''.join(image.dims)})" for image in images.values())
            raise MovieRefused(
                f"{self.name}: none of its images is a series of xy planes; it holds {held or 'none'} (axes from the "
                "outermost to the innermost); export the movie as OME-TIFF"
            )
        first = next(iter(moving.values()))
        if first.sizes.get("S", 1) > 1:
            raise MovieRefused(f"{self.name}: holds colour images (RGB); export each colour as a channel of its own")
        self.shape = (first.sizes["Y"], first.sizes["X"])
        self.dtype = check_dtype(self.name, first.dtype)
        check_size(self.name, self.shape, self.dtype, file_bytes(self.path), compressed=False)
        self._images = {
            n: image
            for n, image in moving.items()
            if (image.sizes["Y"], image.sizes["X"]) == self.shape and image.dtype == first.dtype
        }
        for image in self._images.values():
            others = [letter for letter, size in image.sizes.items() if letter not in "TZCMYX" and size > 1]
            if others:
                raise MovieRefused(
                    f"{self.name}: image {image.name} has the axes {''.join(image.dims)}; wanted none but T, Z, C, Y "
                    f"and X, so that {', '.join(others)} is one too many: export it as OME-TIFF"
                )
        self.positions = sum(image.sizes.get("M", 1) for image in self._images.values())
        self.count = sum(image.size // (self.shape[0] * self.shape[1]) for image in self._images.values())

    def _read(self, page: tuple[int, int, int, int, int]) -> np.ndarray:
        image, at = self._image_and_place(page)
        return np.asarray(image.frame(**at)).reshape(self.shape).astype(self.dtype, copy=False)

    def _place(self, page: tuple[int, int, int, int, int]) -> str:
        image, at = self._image_and_place(page)
        return f"{image.name} {at}"

    def _image_and_place(self, page: tuple[int, int, int, int, int]) -> tuple[object, dict[str, int]]:
        number, *place = page
        image = self._images[number]
        return image, {letter: index for letter, index in zip("TZCM", place, strict=True) if letter in image.sizes}

    def _describe(self) -> list[Described]:
        return [
            self._of_image(number, tile)
            for number, image in self._images.items()
            for tile in range(image.sizes.get("M", 1))
        ]

    def _of_image(self, number: int, tile: int) -> Described:
        image = self._images[number]
        sizes = tuple(image.sizes.get(letter, 1) for letter in "TZC")
        described = Described("LIF", "TZC", sizes, [(number, *place, tile) for place in np.ndindex(*sizes)])
        sides_um = []
        for letter in "XY":
            places_m = image.coords.get(letter, ())
            step_m = positive(abs(places_m[1] - places_m[0])) if len(places_m) > 1 else None
            sides_um.append(step_m * 1e6 if step_m else None)
        described.pixel_size_um = believed_size_um(*sides_um, warnings=described.warnings)
        times_s = image.coords.get("T", ())
        if len(times_s) > 1:
            interval_s = positive(times_s[1] - times_s[0])
            described.frame_interval_min = interval_s / 60 if interval_s else None
        self._add_stamps(described, image)
        return described

    def _add_stamps(self, described: Described, image: object) -> None:
        """Time stamps: one a plane, in the order in which the planes are stored."""
        outer = [(letter, size) for letter, size in image.sizes.items() if letter not in "YX"]
        stamps = image.timestamps
        if stamps is None or "M" in image.sizes or len(stamps) != np.prod([size for _, size in outer], dtype=int):
            return
        seconds = (stamps - stamps[0]) / np.timedelta64(1, "s")
        for place, second in zip(np.ndindex(*(size for _, size in outer)), seconds.tolist(), strict=True):
            at = dict(zip((letter for letter, _ in outer), place, strict=True))
            if at.get("Z", 0) == 0:
                described.time_h[at.get("T", 0), at.get("C", 0)] = second / 3600

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _inner(image: object) -> tuple[str, ...]:
    """The two axes of a plane as it is stored, samples of a colour left out."""
    return tuple(letter for letter in image.dims if letter != "S")[-2:]
