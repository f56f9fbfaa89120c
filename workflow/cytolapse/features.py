"""Labels and frames to tables: shape and light of every cell, worth of every plane."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import fft, ndimage
from tqdm import tqdm

from cytolapse import movies
from cytolapse.illumination import (
    FrameBackground,
    Surroundings,
    background_of_frame,
    grouped_quantiles,
    local_background,
    surroundings,
)
from cytolapse.movies import Movie, StackReader, open_movie
from cytolapse.tables import empty_table, read_metadata, read_table, typed, write_table

logger = logging.getLogger(__name__)

VOLUME_MODELS = ("none", "rod", "ellipsoid")
BACKGROUNDS = ("local", "frame")

_LENGTHS = ("perimeter", "length", "width", "major_axis", "minor_axis")

# Second moment of a pixel about its own centre, and fourth: a pixel is a square, not a point.
_PIXEL_M2 = 1 / 12
_PIXEL_M4 = 1 / 80
# Rounder cells than this have no bend to speak of; longer ones may bend like an S.
_BENT_ASPECT = 1.5
_LONG_ASPECT = 3.0
# A midline that is nowhere steeper than this is as good as straight.
_STRAIGHT_SLOPE = 0.1
# The midline is followed this far beyond the outermost pixel's centre, in half-lengths.
_MIDLINE_REACH = 1.3
_MIDLINE_NODES = 65


class _Cells(NamedTuple):
    """The pixels of all cells of a frame, cell by cell, each row by row."""

    label: np.ndarray  # (cells,) labels present
    at: np.ndarray  # (pixels,) flat index
    owner: np.ndarray  # (pixels,) index of the cell
    y: np.ndarray  # (pixels,)
    x: np.ndarray  # (pixels,)
    area_px: np.ndarray  # (cells,)
    shape: tuple[int, int]

    def total(self, weight: np.ndarray) -> np.ndarray:
        """Sum over the pixels of each cell, shape (cells,)."""
        return np.bincount(self.owner, weight, len(self.label))

    def mean(self, weight: np.ndarray) -> np.ndarray:
        """Mean over the pixels of each cell, shape (cells,)."""
        return self.total(weight) / self.area_px


def _cells_of(labels: np.ndarray) -> _Cells:
    at = np.flatnonzero(labels)
    found = labels.ravel()[at]
    # 16 bits are sorted by radix, several times as fast
    order = np.argsort(found.astype(np.uint16) if found.max(initial=0) < 2**16 else found, kind="stable")
    at, found = at[order], found[order]
    area_px = np.bincount(found)
    label = np.flatnonzero(area_px)
    index = np.zeros(len(area_px), np.int64)
    index[label] = np.arange(len(label))
    y, x = np.divmod(at.astype(np.int32), np.int32(labels.shape[1]))
    return _Cells(label, at, index[found], y, x, area_px[label], labels.shape)


def measure_shapes(labels: np.ndarray) -> pd.DataFrame:
    """Position and shape of every cell of one frame, in pixels.

    Parameters
    ----------
    labels : int array of shape (y, x)
        0 is background.

    Returns
    -------
    DataFrame
        One row a label that is present, in rising order: label; area_px,
        a count; y_px, x_px, the centroid; perimeter_px by Crofton's formula in
        four directions [1]_, the frame's edge counted as outline; major_axis_px,
        minor_axis_px, eccentricity and orientation_rad of the ellipse of equal
        second moments (pixels as squares, so that a single one has the axes of
        a square); solidity, the number of pixels over that of the pixels
        whose centres the convex hull of the centres holds; length_px and
        width_px, as in `length_px` and `width_px`; flag_border.

    Notes
    -----
    orientation_rad is measured from the y axis (downwards) to the long axis,
    counter-clockwise on screen: a rod from the top left to the bottom right
    has pi/4. It lies between -pi/2 and pi/2.

    References
    ----------
    .. [1] J. Ohser and F. Muecklich, "Statistical Analysis of Microstructures
       in Materials Science" (Wiley, 2000).
    """
    return _shapes(_cells_of(labels))


def _shapes(cells: _Cells) -> pd.DataFrame:
    y_px, x_px = cells.mean(cells.y), cells.mean(cells.x)
    dy, dx = cells.y - y_px[cells.owner], cells.x - x_px[cells.owner]
    yy, xx, xy = cells.mean(dy * dy) + _PIXEL_M2, cells.mean(dx * dx) + _PIXEL_M2, cells.mean(dy * dx)
    middle, half = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    along, across = middle + half, middle - half
    orientation_rad = np.arctan2(2 * xy, yy - xx) / 2
    length = _length(cells, dy, dx, orientation_rad, np.sqrt(along / across))
    return pd.DataFrame(
        {
            "label": cells.label,
            "area_px": cells.area_px,
            "y_px": y_px,
            "x_px": x_px,
            "perimeter_px": _perimeter(cells),
            "length_px": length,
            "width_px": width_px(cells.area_px, length),
            "major_axis_px": 4 * np.sqrt(along),
            "minor_axis_px": 4 * np.sqrt(across),
            "eccentricity": np.sqrt(1 - across / along),
            "solidity": cells.area_px / _hull_px(cells),
            "orientation_rad": orientation_rad,
            "flag_border": _on_border(cells),
        }
    )


def _on_border(cells: _Cells) -> np.ndarray:
    rim = (cells.y == 0) | (cells.x == 0) | (cells.y == cells.shape[0] - 1) | (cells.x == cells.shape[1] - 1)
    return cells.total(rim) > 0


def _perimeter(cells: _Cells) -> np.ndarray:
    """Crofton's formula: how often lines of four directions leave the cell."""
    owner = np.full((cells.shape[0] + 2, cells.shape[1] + 2), -1, np.int32)
    width = owner.shape[1]
    at = (cells.y + 1) * width + cells.x + 1
    owner.ravel()[at] = cells.owner
    crossings = np.zeros(len(cells.label))
    # Diagonal lines lie closer to each other. A line leaves as often as it enters.
    for step, distance in ((1, 1.0), (width, 1.0), (width + 1, np.sqrt(0.5)), (width - 1, np.sqrt(0.5))):
        leaves = owner.ravel()[at + step] != cells.owner
        crossings += 2 * distance * np.bincount(cells.owner[leaves], minlength=len(cells.label))
    return np.pi / 8 * crossings


def _hull_px(cells: _Cells) -> np.ndarray:
    """Pixels whose centres lie in the convex hull of each cell's pixel centres."""
    new_row = np.diff(cells.owner, prepend=-1) | np.diff(cells.y, prepend=-1)
    first = np.flatnonzero(new_row)
    last = np.append(first, len(cells.y))[1:] - 1
    area2 = np.zeros(len(cells.label))
    on_hull = np.zeros(len(cells.label))
    top, bottom = first[np.diff(cells.owner[first], prepend=-1) > 0], last[np.diff(cells.owner[last], append=-1) != 0]
    for side, sign in ((first, 1), (last, -1)):
        owner, y, x = _convex_side(cells.owner[side], cells.y[side], cells.x[side], sign)
        same = owner[1:] == owner[:-1]
        dy, dx, edge = np.diff(y)[same], np.diff(x)[same], owner[1:][same]
        # Twice the area to the right of the left side, less that to the right of the right side.
        area2 -= sign * np.bincount(edge, (x[1:] + x[:-1])[same] * dy, len(area2))
        on_hull += np.bincount(edge, np.gcd(dy, dx), len(area2))
    for end in (top, bottom):
        row = np.searchsorted(first, end, side="right") - 1
        on_hull += cells.x[last[row]] - cells.x[first[row]]
    # Pick's theorem: points inside and on a polygon of grid points.
    return area2 / 2 + on_hull / 2 + 1


def _convex_side(owner: np.ndarray, y: np.ndarray, x: np.ndarray, sign: int) -> tuple[np.ndarray, ...]:
    """The hull of one side: of all cells at once, drop what lies within the line between its neighbours.

    A corner of the hull lies outside every such line, so that none is lost.
    """
    while True:
        inner = np.flatnonzero((owner[:-2] == owner[1:-1]) & (owner[1:-1] == owner[2:])) + 1
        before, after = inner - 1, inner + 1
        bulge = (x[inner] - x[before]) * (y[after] - y[before]) - (x[after] - x[before]) * (y[inner] - y[before])
        dropped = inner[sign * bulge >= 0]
        if not len(dropped):
            return owner, y, x
        kept = np.ones(len(y), bool)
        kept[dropped] = False
        owner, y, x = owner[kept], y[kept], x[kept]


def _spherocylinders() -> tuple[np.ndarray, ...]:
    """Of rods of width 1 from round to long: variance/area, length/sqrt(area) and kurtosis along the midline."""
    straight = np.concatenate([[0], np.geomspace(1e-3, 1e3, 600)])
    place, weight = np.polynomial.legendre.leggauss(60)
    tip, weight = (place + 1) / 4, weight / 4
    chord = 2 * np.sqrt(0.25 - tip**2)
    area = straight + np.pi / 4
    out = straight[:, None] / 2 + tip
    m2 = straight**3 / 12 + 2 * (weight * chord * out**2).sum(1)
    m4 = straight**5 / 80 + 2 * (weight * chord * out**4).sum(1)
    return m2 / area**2, (straight + 1) / np.sqrt(area), m4 * area / m2**2


_ROD_VARIANCE, _ROD_LENGTH, _ROD_KURTOSIS = _spherocylinders()
_ELLIPSE_KURTOSIS = 2.0


def _length(
    cells: _Cells, dy: np.ndarray, dx: np.ndarray, orientation_rad: np.ndarray, aspect: np.ndarray
) -> np.ndarray:
    """Length along the midline, tips included.

    The moments of the pixels along the midline, which every pixel has a part
    in, are finer than the place of the two outermost ones. Area and variance
    give the length of a rod with round tips; where the tips are more pointed
    than those, up to an ellipse, the kurtosis tells.
    """
    cosine, sine = np.cos(orientation_rad), np.sin(orientation_rad)
    along = dy * cosine[cells.owner] + dx * sine[cells.owner]
    across = dx * cosine[cells.owner] - dy * sine[cells.owner]
    along = _straightened(cells, along, across, aspect)
    along = along - cells.mean(along)[cells.owner]
    square = along * along
    m2 = cells.mean(square)
    variance = m2 + _PIXEL_M2
    kurtosis = (cells.mean(square * square) + 6 * _PIXEL_M2 * m2 + _PIXEL_M4) / variance**2
    scaled = variance / cells.area_px
    rod = np.interp(scaled, _ROD_VARIANCE, _ROD_LENGTH) * np.sqrt(cells.area_px)
    ellipse = 4 * np.sqrt(variance)
    rod_kurtosis = np.interp(scaled, _ROD_VARIANCE, _ROD_KURTOSIS)
    pointed = (kurtosis - rod_kurtosis) / np.maximum(_ELLIPSE_KURTOSIS - rod_kurtosis, 0.01)
    return rod + np.clip(pointed, 0, 1) * (ellipse - rod)


def _straightened(cells: _Cells, along: np.ndarray, across: np.ndarray, aspect: np.ndarray) -> np.ndarray:
    """Place of each pixel along the midline of its cell, in pixels.

    The midline is a polynomial through the pixels, of second degree, third in
    long cells; a pixel belongs to the midline's nearest point.
    """
    reach = np.zeros(len(cells.label))
    np.maximum.at(reach, cells.owner, np.abs(along))
    bent = np.flatnonzero((aspect >= _BENT_ASPECT) & (reach > 1))
    if not len(bent):
        return along
    coefficient = np.zeros((len(cells.label), 4))
    at = np.flatnonzero(np.isin(cells.owner, bent))
    part = cells.owner[at]
    place = along[at] / reach[part]
    coefficient[bent] = _midlines(place, across[at], part, len(cells.label), aspect)[bent]
    nodes = np.linspace(-_MIDLINE_REACH, _MIDLINE_REACH, _MIDLINE_NODES)
    slope = (coefficient[:, 1:] * (1, 2, 3)) @ np.stack([np.ones_like(nodes), nodes, nodes**2])
    slope /= np.maximum(reach, 1)[:, None]
    crooked = np.abs(slope[:, np.abs(nodes) <= 1]).max(1) > _STRAIGHT_SLOPE
    at, place, part = at[crooked[part]], place[crooked[part]], part[crooked[part]]
    if not len(at):
        return along
    foot = _feet(place, across[at] / reach[part], part, coefficient / np.maximum(reach, 1)[:, None])
    out = along.copy()
    out[at] = _arc(foot, part, slope, nodes) * reach[part]
    return out


def _midlines(place: np.ndarray, across: np.ndarray, owner: np.ndarray, cells: int, aspect: np.ndarray) -> np.ndarray:
    """Least-squares cubics across(place) of all cells at once, shape (cells, 4); place runs from -1 to 1."""
    power = [np.ones_like(place)]
    for _ in range(6):
        power.append(power[-1] * place)
    moment = np.stack([np.bincount(owner, each, cells) for each in power], axis=1)
    right = np.stack([np.bincount(owner, each * across, cells) for each in power[:4]], axis=1)
    left = moment[:, np.arange(4)[:, None] + np.arange(4)]
    # A penalty on the third degree takes it away from cells too short to show one.
    left[:, 3, 3] += np.where(aspect >= _LONG_ASPECT, 0, 1e9)
    left += 1e-9 * np.eye(4)
    return np.linalg.solve(left, right[:, :, None])[:, :, 0]


def _feet(place: np.ndarray, across: np.ndarray, owner: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Where on its midline the nearest point to each pixel is, by two steps towards it."""
    c0, c1, c2, c3 = (line[owner, degree] for degree in range(4))
    foot = place
    for _ in range(2):
        height = c0 + foot * (c1 + foot * (c2 + foot * c3))
        slope = c1 + foot * (2 * c2 + foot * 3 * c3)
        foot = foot - ((foot - place) + (height - across) * slope) / (1 + slope * slope)
        foot = np.clip(foot, -_MIDLINE_REACH, _MIDLINE_REACH)
    return foot


def _arc(foot: np.ndarray, owner: np.ndarray, slope: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Arc length of the midline at each foot, from tables of all cells."""
    speed = np.sqrt(1 + slope * slope)
    step = nodes[1] - nodes[0]
    arc = np.zeros_like(speed)
    arc[:, 1:] = np.cumsum((speed[:, 1:] + speed[:, :-1]) / 2 * step, axis=1)
    where = (foot - nodes[0]) / step
    node = np.minimum(where.astype(np.int64), len(nodes) - 2)
    low, high = arc[owner, node], arc[owner, node + 1]
    return low + (where - node) * (high - low)


def width_px(area_px: np.ndarray, length_px: np.ndarray) -> np.ndarray:
    """Width of the spherocylinder of an area and a length.

    Solves area = width (length - width) + pi width^2 / 4. Of a circle it is
    the diameter. An area too large for the length, which only rounding makes,
    gives the diameter of the circle of that area.

    Parameters
    ----------
    area_px, length_px : float arrays of shape (n,)
        In pixels; any other unit of length does as well.
    """
    corner = 1 - np.pi / 4
    root = np.sqrt(np.maximum(length_px**2 - 4 * corner * area_px, 0))
    return np.minimum((length_px - root) / (2 * corner), np.sqrt(4 * area_px / np.pi))


def volume_um3(shapes: Mapping[str, np.ndarray], volume_model: str) -> np.ndarray:
    """Volume of every cell from its outline.

    `rod` is the spherocylinder of length_um and width_um; `ellipsoid` the
    ellipsoid that the ellipse of equal second moments makes when it turns
    about its long axis. Both assume that a cell is as high as it is wide: not
    so for a cell that lies flat.

    Parameters
    ----------
    shapes : mapping of str to float array of shape (n,)
        length_um and width_um, or major_axis_um and minor_axis_um.
    volume_model : {'none', 'rod', 'ellipsoid'}
        none gives nan.

    Raises
    ------
    ValueError
        If there is no such model.
    """
    if volume_model not in VOLUME_MODELS:
        raise ValueError(f"no volume model is called {volume_model!r}; the models are {', '.join(VOLUME_MODELS)}")
    if volume_model == "rod":
        width, length = shapes["width_um"], shapes["length_um"]
        return np.pi / 4 * width**2 * (length - width) + np.pi / 6 * width**3
    if volume_model == "ellipsoid":
        return np.pi / 6 * shapes["major_axis_um"] * shapes["minor_axis_um"] ** 2
    return np.full(len(shapes["length_um"]), np.nan)


def measure_intensities(
    plane: np.ndarray | None,
    labels: np.ndarray,
    around: Surroundings,
    *,
    background: str,
    ring_min_px: int,
    saturation_au: float | None,
) -> pd.DataFrame:
    """Light of every cell in one plane.

    Parameters
    ----------
    plane : array of shape (y, x), or None
        None where the plane was not acquired: all is null then.
    labels : int array of shape (y, x)
        0 is background.
    around : Surroundings
        Of these labels.
    background : {'local', 'frame'}
        From the ring around each cell, or from the whole frame.
    ring_min_px : int
        Fewest pixels of a ring; a cell with fewer takes the frame's background.
    saturation_au : float or None
        The camera's largest value, where it has one.

    Returns
    -------
    DataFrame
        One row a label that is present, in rising order: label, pixels,
        background_au, background_se_au, background_method, mean_raw_au,
        median_raw_au, sd_au, saturated_fraction.

    Raises
    ------
    ValueError
        If `background` is neither.
    """
    if background not in BACKGROUNDS:
        raise ValueError(f"no background is called {background!r}; there are {', '.join(BACKGROUNDS)}")
    frame = None if plane is None else background_of_frame(plane, around)
    return _intensities(plane, _cells_of(labels), around, frame, background, ring_min_px, saturation_au)


def _intensities(
    plane: np.ndarray | None,
    cells: _Cells,
    around: Surroundings,
    frame: FrameBackground | None,
    background: str,
    ring_min_px: int,
    saturation_au: float | None,
) -> pd.DataFrame:
    rows = pd.DataFrame({"label": cells.label})
    if plane is None or frame is None:
        return rows.assign(
            pixels=pd.array([pd.NA] * len(rows), "Int32"),
            background_method=pd.array([None] * len(rows), "str"),
            **dict.fromkeys(
                [
                    "background_au",
                    "background_se_au",
                    "mean_raw_au",
                    "median_raw_au",
                    "sd_au",
                    "saturated_fraction",
                ],
                np.nan,
            ),
        )
    value_au, se_au, method = _background_of_cells(plane, cells, around, frame, background, ring_min_px)
    value = plane.ravel()[cells.at]
    mean = cells.mean(value)
    (median,) = grouped_quantiles(value, cells.owner, len(cells.label), (0.5,))
    return rows.assign(
        pixels=pd.array(cells.area_px, "Int32"),
        background_au=value_au,
        background_se_au=se_au,
        background_method=pd.array(method, "str"),
        mean_raw_au=mean,
        median_raw_au=median,
        sd_au=np.sqrt(cells.mean((value - mean[cells.owner]) ** 2)),
        saturated_fraction=np.nan if saturation_au is None else cells.mean(value >= saturation_au),
    )


def _background_of_cells(
    plane: np.ndarray, cells: _Cells, around: Surroundings, frame: FrameBackground, background: str, ring_min_px: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if background == "local":
        local = local_background(plane, around, frame, ring_min_px=ring_min_px)
        # Of every number up to the greatest label; some may be absent.
        value_au, se_au, method = (each[cells.label - 1] for each in local)
    else:
        count = len(cells.label)
        value_au, se_au = np.full(count, frame.value_au), np.full(count, frame.se_au)
        method = np.full(count, "frame", object)
    known = np.isfinite(value_au)
    return value_au, se_au, np.where(known, method, None)


# Contrast is seen where blocks of pixels differ from the next by this many standard deviations of camera noise.
_CONTRAST_SD = 8.0
_CONTRAST_PLACES = 2
_BLOCK_PX = 8
# What is further off than this is cut down to it: a hot pixel then hardly moves its block, a cell still does.
_OUTLIER_SD = 6.0
# Of a camera that counts in whole numbers: rounding alone.
_ROUNDING_AU = 0.3


def is_blank(plane: np.ndarray) -> bool:
    """Whether a plane shows no contrast above camera noise.

    Blocks of 8 x 8 pixels are compared with the next ones, so that uneven
    light does not count; noise is taken from the differences between
    neighbouring pixels. A plane with one cell in it is not blank.

    Parameters
    ----------
    plane : array of shape (y, x)
        As read from the camera.
    """
    if min(plane.shape) < _BLOCK_PX:
        return bool(np.ptp(plane) == 0)
    sample = plane[::2].astype(np.float32)
    # Half of the neighbours may be equal, in a dark image of few steps: the outermost ones tell then.
    half, most = np.quantile(np.abs(sample[:, 1::4] - sample[:, :-1:4][:, : sample[:, 1::4].shape[1]]), (0.5, 0.95))
    noise = max(half / 0.954, most / 2.772, _ROUNDING_AU if plane.dtype.kind == "u" else 0.0)
    middle = np.median(sample[:, ::4])
    tame = np.clip(plane, *np.float32((middle - _OUTLIER_SD * noise, middle + _OUTLIER_SD * noise)))
    blocks = _binned(tame, _BLOCK_PX)
    limit = _CONTRAST_SD * noise * np.sqrt(2) / _BLOCK_PX
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
    image = _binned(plane, 2)
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


def _binned(plane: np.ndarray, factor: int) -> np.ndarray:
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
        image = ndimage.gaussian_filter(_binned(plane, factor), 1.0)
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


def measure_movie(
    movie_json: str | os.PathLike,
    labels_path: str | os.PathLike,
    confidence_path: str | os.PathLike,
    objects_path: str | os.PathLike,
    intensities_path: str | os.PathLike,
    planes_path: str | os.PathLike,
    *,
    pixel_size_um: float | None,
    object: str,
    volume_model: str,
    background: str,
    ring_gap_px: int,
    ring_px: int,
    ring_min_px: int,
    max_saturated_fraction: float,
    focus_window_frames: int,
    focus_drop: float,
    drift_gain: float,
    provenance: dict | None,
) -> None:
    """Measure every cell and every plane of a movie.

    Frames are read one by one, each once. A refused movie gives tables without
    rows.

    Parameters
    ----------
    movie_json : path
        What inspect found.
    labels_path, confidence_path : path
        labels.tif and the table `confidence`.
    objects_path, intensities_path, planes_path : path
        Tables to write.
    pixel_size_um : float or None
        As stated in experiments.tsv; None takes the file's.
    object : {'cell', 'nucleus'}
        What the masks outline; noted in the tables.
    volume_model : {'none', 'rod', 'ellipsoid'}
        As in `volume_um3`.
    background, ring_min_px
        As in `measure_intensities`.
    ring_gap_px, ring_px
        As in `surroundings`.
    max_saturated_fraction : float
        A plane is flagged where a greater part of it is at the camera's
        largest value.
    focus_window_frames, focus_drop
        As in `out_of_focus`.
    drift_gain : float
        As in `StageDrift`.
    provenance : dict or None
        Record of this stage; it joins those of the stages before, which travel
        in the metadata of the table `confidence`.

    Raises
    ------
    ValueError
        If the labels are not of this movie, or a model or method is unknown.
    """
    info = json.loads(Path(movie_json).read_text())
    records = json.loads(read_metadata(confidence_path).get("provenance", "{}"))
    if provenance:
        records = {**records, "measure": provenance}
    metadata = {"object": object, "provenance": json.dumps(records)}
    tables = {name: empty_table(name) for name in ("objects", "intensities", "planes")}
    if info["status"] != "refused":
        with open_movie(info) as movie, StackReader(labels_path) as stack:
            if stack.shape != (movie.frames, *movie.shape):
                raise ValueError(
                    f"{labels_path}: its shape is {stack.shape}, movie {info['path']} has "
                    f"{(movie.frames, *movie.shape)}; run label again"
                )
            tables = _measured(
                movie,
                stack,
                info,
                background=background,
                rings={"ring_gap_px": ring_gap_px, "ring_px": ring_px},
                ring_min_px=ring_min_px,
                drift_gain=drift_gain,
            )
        scale_um = movies.pixel_size_um(info, pixel_size_um)
        tables["planes"] = _flagged(tables["planes"], max_saturated_fraction, focus_window_frames, focus_drop)
        confidence = read_table("confidence", confidence_path)
        tables["objects"] = _objects(tables["objects"], tables["planes"], confidence, scale_um, volume_model)
        logger.info("%s: %d cells in %d frames measured", info["path"], len(tables["objects"]), info["frames"])
    for name, path in (("objects", objects_path), ("intensities", intensities_path), ("planes", planes_path)):
        write_table(name, typed(name, tables[name]), path, metadata=metadata)


def _measured(
    movie: Movie,
    stack: StackReader,
    info: dict,
    *,
    background: str,
    rings: dict,
    ring_min_px: int,
    drift_gain: float,
) -> dict[str, pd.DataFrame]:
    """Rows of all frames, in pixels."""
    if background not in BACKGROUNDS:
        raise ValueError(f"no background is called {background!r}; there are {', '.join(BACKGROUNDS)}")
    drift = StageDrift(drift_gain)
    followed = (0.0, 0.0)
    objects, intensities, planes = [], [], []
    for frame in tqdm(range(movie.frames), desc="measure", unit="frame", mininterval=10):
        labels = stack.read(frame)
        cells = _cells_of(labels)
        around = surroundings(labels, **rings)
        shapes = _shapes(cells).assign(frame=frame, intensity_au=np.nan)
        for channel in movie.channels:
            plane = movie.read(frame, channel)
            worth, outside = _worth(plane, around, info["saturation_au"])
            rows = _intensities(plane, cells, around, outside, background, ring_min_px, info["saturation_au"])
            intensities.append(rows.assign(frame=frame, channel=channel))
            if channel == info["segment_channel"]:
                shapes["intensity_au"] = rows["mean_raw_au"]
                if plane is not None and not worth["flag_blank"]:
                    followed = drift.follow(plane)
                worth["drift_y_px"], worth["drift_x_px"] = followed
            exposure_ms = info["exposure_ms"].get(channel)
            planes.append({"frame": frame, "channel": channel, "exposure_ms": exposure_ms, **worth})
        objects.append(shapes)
    return {
        "objects": pd.concat(objects, ignore_index=True),
        "intensities": pd.concat(intensities, ignore_index=True).assign(compartment="whole"),
        "planes": pd.DataFrame(planes),
    }


def _worth(
    plane: np.ndarray | None, around: Surroundings, saturation_au: float | None
) -> tuple[dict, FrameBackground | None]:
    """A row of `planes`, and the background of the frame."""
    if plane is None:
        return {"acquired": False, "flag_blank": None}, None
    outside = background_of_frame(plane, around)
    blank = is_blank(plane)
    return {
        "acquired": True,
        "background_au": outside.value_au,
        "background_sd_au": outside.sd_au,
        "saturated_fraction": None if saturation_au is None else float(np.mean(plane >= saturation_au)),
        "focus_score": None if blank else focus_score(plane, outside),
        "flag_blank": blank,
    }, outside


def _flagged(
    planes: pd.DataFrame, max_saturated_fraction: float, focus_window_frames: int, focus_drop: float
) -> pd.DataFrame:
    """The planes with their flags, which are null where they were not acquired."""
    planes = typed("planes", planes)
    blurred = pd.Series(False, planes.index)
    for _, rows in planes.groupby("channel"):
        score = rows["focus_score"].dropna()
        blurred[score.index] = out_of_focus(
            score.to_numpy(), focus_window_frames=focus_window_frames, focus_drop=focus_drop
        )
    saturated = (planes["saturated_fraction"] > max_saturated_fraction).astype("boolean")
    return planes.assign(
        flag_out_of_focus=blurred.astype("boolean").where(planes["acquired"]),
        flag_saturated=saturated.where(planes["saturated_fraction"].notna()),
    )


def _objects(
    shapes: pd.DataFrame, planes: pd.DataFrame, confidence: pd.DataFrame, scale_um: float, volume_model: str
) -> pd.DataFrame:
    """The rows of `objects`: pixels become micrometres."""
    drift = planes.dropna(subset="drift_y_px").set_index("frame")[["drift_y_px", "drift_x_px"]]
    drift = drift.reindex(shapes["frame"]).fillna(0).to_numpy()
    sizes = {f"{name}_um": shapes[f"{name}_px"] * scale_um for name in _LENGTHS}
    rows = shapes.drop(columns=[f"{name}_px" for name in _LENGTHS]).assign(
        y_um=shapes["y_px"] * scale_um,
        x_um=shapes["x_px"] * scale_um,
        y_aligned_um=(shapes["y_px"] - drift[:, 0]) * scale_um,
        x_aligned_um=(shapes["x_px"] - drift[:, 1]) * scale_um,
        area_um2=shapes["area_px"] * scale_um**2,
        **sizes,
        volume_um3=volume_um3(sizes, volume_model),
        volume_model=volume_model,
    )
    return rows.merge(confidence, on=["frame", "label"], how="left")
