"""Planes to what they are worth: whether they show anything, and how sharply."""

import numpy as np
import pandas as pd

from cytolapse.illumination import FrameBackground

# Contrast is seen where blocks of pixels differ from the next in so many places.
_CONTRAST_PLACES = 2
_BLOCK_PX = 8
# What is further off than this is cut down to it: a hot pixel then hardly moves its block, a cell still does.
_OUTLIER_SD = 6.0
# Of a camera that counts in whole numbers: rounding alone.
_ROUNDING_AU = 0.3


def is_blank(plane: np.ndarray, *, blank_contrast: float) -> bool:
    """Whether a plane shows no contrast above camera noise.

    Blocks of 8 x 8 pixels are compared with the next ones, so that uneven
    light does not count; noise is taken from the differences between
    neighbouring pixels. A plane with one cell in it is not blank.

    Parameters
    ----------
    plane : array of shape (y, x)
        As read from the camera.
    blank_contrast : float
        Standard deviations of the noise of a block by which blocks must differ from
        the next for contrast to be seen.
    """
    if min(plane.shape) < _BLOCK_PX:
        return bool(np.ptp(plane) == 0)
    sample = plane[::2].astype(np.float32)
    # Half of the neighbours may be equal, in a dark image of few steps: the outermost ones tell then.
    half, most = np.quantile(np.abs(sample[:, 1::4] - sample[:, :-1:4][:, : sample[:, 1::4].shape[1]]), (0.5, 0.95))
    noise = max(half / 0.954, most / 2.772, _ROUNDING_AU if plane.dtype.kind == "u" else 0.0)
    middle = np.median(sample[:, ::4])
    tame = np.clip(plane, *np.float32((middle - _OUTLIER_SD * noise, middle + _OUTLIER_SD * noise)))
    blocks = binned(tame, _BLOCK_PX)
    limit = blank_contrast * noise * np.sqrt(2) / _BLOCK_PX
    places = sum(int(np.count_nonzero(np.abs(np.diff(blocks, axis=axis)) > limit)) for axis in (0, 1))
    return places < _CONTRAST_PLACES


# Fewer pixels than this above the background, and there is nothing to be sharp.
_LEAST_SIGNAL_PX = 20
_SIGNAL_SD = 3.0
_MEDIAN_OF_SQUARE = 0.455


def focus_score(plane: np.ndarray, background: FrameBackground) -> float:
    """How sharp a plane is: variance of the Laplacian over squared mean above background.

    Both are taken where the plane differs clearly from its background, so
    that the score depends neither on how many cells there are nor on how
    bright they are; the Laplacian of the noise, taken from the other pixels,
    is subtracted. Works on pixels averaged 2 by 2. Compare it within one
    channel of one movie only [1]_.

    Parameters
    ----------
    plane : array of shape (y, x)
        As read from the camera.
    background : FrameBackground
        Of this plane.

    Returns
    -------
    float
        nan where nothing differs from the background.

    References
    ----------
    .. [1] S. Pertuz, D. Puig, M. A. Garcia, "Analysis of focus measure
       operators for shape-from-focus", Pattern Recognition 46 (2013)
       1415-1432 (operator LAP4).
    """
    image = binned(plane, 2)
    inner = image[1:-1, 1:-1]
    curve = image[:-2, 1:-1] + image[2:, 1:-1] + image[1:-1, :-2] + image[1:-1, 2:] - 4 * inner
    above = np.abs(inner - np.float32(background.value_au))
    signal = above > _SIGNAL_SD * background.sd_au
    if np.count_nonzero(signal) < _LEAST_SIGNAL_PX:
        return float("nan")
    rest = curve[~signal]
    noise = float(np.median(rest[:: max(1, rest.size // 100_000)] ** 2)) / _MEDIAN_OF_SQUARE if rest.size else 0.0
    square = float(np.mean(curve[signal] ** 2)) - noise
    return max(square, 0.0) / float(np.mean(above[signal])) ** 2


def binned(plane: np.ndarray, factor: int) -> np.ndarray:
    """Means of factor x factor pixels, as float32; an incomplete last row or column is left out."""
    height, width = (side // factor for side in plane.shape)
    whole = plane[: height * factor, : width * factor]
    rows = whole.reshape(height, factor, width * factor).sum(1, dtype=np.float32)
    return rows.reshape(height, width, factor).sum(2) / factor**2


def out_of_focus(score: np.ndarray, *, focus_window_frames: int, focus_drop: float) -> np.ndarray:
    """Which planes are far less sharp than those before and after.

    A movie that is out of focus from end to end has no sharp plane to compare
    with, and none of its planes is flagged.

    Parameters
    ----------
    score : float array of shape (frames,)
        Focus scores of one channel; nan where there is none.
    focus_window_frames : int
        Frames, around each, whose median is the measure.
    focus_drop : float
        A plane is out of focus below this part of the median.

    Returns
    -------
    bool array of shape (frames,)
    """
    usual = pd.Series(score).rolling(focus_window_frames, center=True, min_periods=3).median().to_numpy()
    return score < focus_drop * usual
