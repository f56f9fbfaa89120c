"""Nikon's ND2 files <-> planes, read by the library nd2.

nd2 is in pure Python, kept up, and reads a frame of any version of the format
by its offset, without Nikon's own library.
"""

import numpy as np

from cytolapse.planes import (
    ContainerPlanes,
    Described,
    MovieRefused,
    check_dtype,
    check_size,
    file_bytes,
    too_few_planes,
)
from cytolapse.scales import believed_size_um, positive


class NikonPlanes(ContainerPlanes):
    """An open ND2 file; a page is (number of the exposure, channel)."""

    format_name = "ND2"

    def _open(self) -> None:
        import nd2

        self._last: tuple[int, np.ndarray] | None = None
        self._file = nd2.ND2File(self.path)

    def _look(self) -> None:
        sizes = dict(self._file.sizes)
        if self._file.is_rgb or sizes.pop("S", 1) > 1:
            raise MovieRefused(f"{self.name}: holds colour images (RGB); export each colour as a channel of its own")
        self.shape = (sizes.pop("Y", 1), sizes.pop("X", 1))
        self._channels = sizes.pop("C", 1)
        self._loops = sizes
        self.dtype = check_dtype(self.name, self._file.dtype)
        check_size(self.name, (*self.shape, self._channels), self.dtype, file_bytes(self.path), compressed=True)
        claimed, held = int(np.prod([*sizes.values()], dtype=object)), self._file.attributes.sequenceCount
        if claimed > held:
            raise too_few_planes(self.name, claimed, held)
        self.count, self.positions = claimed * self._channels, sizes.get("P", 1)

    def _read(self, page: tuple[int, int]) -> np.ndarray:
        exposure, channel = page
        # The channels of an exposure lie together in the file, and are read together.
        if self._last is None or self._last[0] != exposure:
            planes = np.asarray(self._file.read_frame(exposure)).reshape(self._channels, *self.shape)
            self._last = (exposure, planes)
        return self._last[1][channel].astype(self.dtype)

    def _place(self, page: tuple[int, int]) -> int:
        return page[0]

    def _describe(self) -> list[Described]:
        exposures = np.arange(self.count // self._channels).reshape([*self._loops.values()])
        axes = "".join(self._loops)
        if "P" in axes:
            exposures, axes = np.moveaxis(exposures, axes.index("P"), 0), axes.replace("P", "")
        else:
            exposures = exposures[None]
        sizes = (*exposures.shape[1:], self._channels)
        return [self._of_position(of_position, f"{axes}C", sizes) for of_position in exposures]

    def _of_position(self, exposures: np.ndarray, axes: str, sizes: tuple[int, ...]) -> Described:
        pages = [(int(exposure), c) for exposure in exposures.flat for c in range(self._channels)]
        described = Described("ND2", axes, sizes, pages)
        size = self._file.voxel_size()
        described.pixel_size_um = believed_size_um(positive(size.x), positive(size.y), warnings=described.warnings)
        described.frame_interval_min = self._interval_min()
        names = [channel.channel.name for channel in self._file.metadata.channels or []]
        described.channel_names = names if all(names) and len(names) == self._channels else []
        described.significant_bits = self._file.attributes.bitsPerComponentSignificant
        firsts = exposures
        for axis in reversed(range(exposures.ndim)):
            if axes[axis] != "T":
                firsts = firsts.take(0, axis=axis)
        for frame, exposure in enumerate(np.atleast_1d(firsts).tolist()):
            for c, channel in enumerate(self._file.frame_metadata(exposure).channels[: self._channels]):
                described.time_h[frame, c] = channel.time.relativeTimeMs / 3.6e6
        return described

    def _interval_min(self) -> float | None:
        """As it was set; the time stamps say what came of it."""
        for loop in self._file.experiment:
            if loop.type == "TimeLoop":
                period_ms = positive(loop.parameters.periodMs)
                return period_ms / 60000 if period_ms else None
        return None

    def close(self) -> None:
        """Close the file."""
        self._last = None
        self._file.close()
