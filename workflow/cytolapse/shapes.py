"""Labels of a frame to the shape of every cell, in pixels; volumes in um3."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

VOLUME_MODELS = ("none", "rod", "ellipsoid")

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


class Cells(NamedTuple):
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


def cells_of(labels: np.ndarray) -> Cells:
    """The pixels of an int array of shape (y, x) by cell; 0 is background."""
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
    return Cells(label, at, index[found], y, x, area_px[label], labels.shape)


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
    return shapes_of(cells_of(labels))


def shapes_of(cells: Cells) -> pd.DataFrame:
    """As `measure_shapes`, of pixels that are sorted by cell already."""
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


def _on_border(cells: Cells) -> np.ndarray:
    rim = (cells.y == 0) | (cells.x == 0) | (cells.y == cells.shape[0] - 1) | (cells.x == cells.shape[1] - 1)
    return cells.total(rim) > 0


def _perimeter(cells: Cells) -> np.ndarray:
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


def _hull_px(cells: Cells) -> np.ndarray:
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
    cells: Cells, dy: np.ndarray, dx: np.ndarray, orientation_rad: np.ndarray, aspect: np.ndarray
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


def _straightened(cells: Cells, along: np.ndarray, across: np.ndarray, aspect: np.ndarray) -> np.ndarray:
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
