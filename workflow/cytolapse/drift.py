"""Frames to the drift of the stage."""

from typing import NamedTuple

import numpy as np
from scipy import fft, ndimage

from cytolapse.focus import binned

# The stage is followed on an image of about this many pixels a side, and to this part of its pixels.
_DRIFT_PX = 384
_DRIFT_PRECISION = 10
# A picture is also compared with one further back, so that a slow drift adds up to something:
# every so many frames, with one up to so many frames back.
_SLOW_EVERY_FRAMES = 5
_SLOW_FRAMES = 20


class StageDrift:
    """Where the stage is, frame after frame.

    A picture is matched with the one before, and every few frames with one
    further back, by cross-correlation [1]_. A shift counts only where it makes
    the two clearly more alike than the stage left where it was: cells that
    move and grow do not move the stage. So a jump is found at once, a slow
    drift in steps, and one below about a tenth of a cell's width not at all.

    Parameters
    ----------
    drift_gain : float
        Part of the difference between the two pictures, 0 to 1, that a shift
        must explain.

    References
    ----------
    .. [1] M. Guizar-Sicairos, S. T. Thurman, J. R. Fienup, "Efficient subpixel
       image registration algorithms", Optics Letters 33 (2008) 156-158.
    """

    def __init__(self, drift_gain: float) -> None:
        self._gain = drift_gain
        self._last: _Picture | None = None
        self._far: _Picture | None = None
        self._frames = 0

    def follow(self, plane: np.ndarray) -> tuple[float, float]:
        """Drift (y, x) of this plane since the first, in pixels.

        Parameters
        ----------
        plane : array of shape (y, x)
            The next picture of the channel; blank ones are better left out.
        """
        factor = max(1, -(-max(plane.shape) // _DRIFT_PX))
        image = ndimage.gaussian_filter(binned(plane, factor), 1.0)
        image -= np.median(image[::4, ::4])
        wave = fft.fft2(image)
        if self._last is None:
            drift = np.zeros(2)
            self._far = _Picture(image, wave, drift)
        else:
            drift = self._matched(self._last, image, wave, self._last.drift, 1 - self._gain)
            self._frames += 1
            if self._frames % _SLOW_EVERY_FRAMES == 0:
                # Cells that wander together do so for some frames: more is asked for.
                drift = self._matched(self._far, image, wave, drift, (1 - self._gain) ** 2)
            if self._frames >= _SLOW_FRAMES or not np.array_equal(drift, self._far.drift):
                self._far = _Picture(image, wave, drift)
                self._frames = 0
        self._last = _Picture(image, wave, drift)
        return float(drift[0] * factor), float(drift[1] * factor)

    def _matched(
        self, earlier: "_Picture", image: np.ndarray, wave: np.ndarray, believed: np.ndarray, left: float
    ) -> np.ndarray:
        """The drift as matched with an earlier picture, or as believed so far."""
        from skimage.registration import phase_cross_correlation

        shift, *_ = phase_cross_correlation(
            earlier.wave, wave, upsample_factor=_DRIFT_PRECISION, space="fourier", normalization=None
        )
        found = earlier.drift - shift
        if np.abs(found - believed).max() < 1 / _DRIFT_PRECISION or np.abs(shift).max() > min(image.shape) / 2:
            return believed
        before = _difference(earlier.image, image, believed - earlier.drift)
        return found if _difference(earlier.image, image, found - earlier.drift) < left * before else believed


class _Picture(NamedTuple):
    image: np.ndarray
    wave: np.ndarray
    drift: np.ndarray  # (y, x) since the first picture, in its own pixels


def _difference(key: np.ndarray, image: np.ndarray, shift: np.ndarray) -> float:
    """One minus the correlation of two pictures, the second moved back by a shift."""
    moved = ndimage.shift(image, -shift, order=1, mode="constant", cval=np.nan)
    there = np.isfinite(moved)
    first, second = key[there], moved[there]
    first, second = first - first.mean(), second - second.mean()
    return 1 - float(first @ second) / max(float(np.sqrt((first @ first) * (second @ second))), 1e-12)
