"""Cells of one moment, drawn on pixels: what lies under the microscope."""

import math
from typing import NamedTuple

import numpy as np

from cytolapse.bodies import Shapes
from cytolapse.reporters import Nuclei, nuclear_ratios, nuclei_of_yeast
from cytolapse.scenarios import Simulation

_EDGE = 0.04  # of a vacuole, in parts of the cell's half width
_GRAIN = 0.1  # of the plasm of yeast under phase contrast, over the brightness of the empty field


class Scene(NamedTuple):
    """What lies under the microscope at one moment; images with a rim around the field."""

    marker_au: np.ndarray
    reporter_au: np.ndarray
    thickness: np.ndarray  # over the width of the mean cell
    organelles: np.ndarray  # what yeast shows inside under phase contrast, over the empty field
    nuclei_au: np.ndarray  # of the marker of the nuclei of yeast
    labels: np.ndarray  # of the field alone: row of the cell in the array of cells, from 1


def draw_scene(
    cells: np.ndarray, shapes: Shapes, time_h: float, drift_um: np.ndarray, pad_px: int, parameters: Simulation
) -> Scene:
    """Draw cells on pixels, before any blur.

    Parameters
    ----------
    cells : structured array of shape (n,)
        Cells of a colony.
    shapes : Shapes
        Of these cells.
    time_h : float
        Since the first frame.
    drift_um : array of shape (2,)
        Where the field begins, (y, x).
    pad_px : int
        Width of the rim around the field.
    parameters : Simulation
        What is simulated.
    """
    p = parameters
    size = (p.height_px + 2 * pad_px, p.width_px + 2 * pad_px)
    marker_au, reporter_au, thickness, organelles, nuclei_au, depth_um = (np.zeros(size, np.float32) for _ in range(6))
    labels = np.zeros(size, np.int32)
    height_um = p.height_of_cell_um if p.kind == "nucleus" else p.width_of_cell_um
    ratios = nuclear_ratios(cells, time_h, p) if p.nuclear_ratio else None
    nuclei = nuclei_of_yeast(cells, shapes, time_h, p) if p.kind == "yeast" else None
    for row, cell in enumerate(cells):
        centre_px = (np.array([cell["y_um"], cell["x_um"]]) - drift_um) / p.pixel_size_um + pad_px
        shape = Shapes(*(values[row] for values in shapes))
        grid = _grid(cell, shape, centre_px, p)
        window, inner = _overlap(grid.corner_px, grid.shape, size)
        if window is None:
            continue
        drawn = _drawn(cell, shape, grid, p)
        density = drawn.thickness_um * drawn.texture
        density /= density.sum()
        cell_marker_au = cell["marker_au_per_um3"] * shape.volume_um3
        own_au = p.autofluorescence_au_per_um3 * shape.volume_um3 + p.crosstalk * cell_marker_au
        marker_au[window] += cell_marker_au * density[inner]
        if ratios is None:
            reporter_au[window] += (cell["total_au"] + own_au) * density[inner]
        else:
            nucleus = None if nuclei is None else Nuclei(*(values[row] for values in nuclei))
            parted = _parted(grid, drawn, shape, nucleus, ratios[row], p)
            reporter_au[window] += cell["total_au"] * parted[inner] + own_au * density[inner]
            if nucleus is not None and nucleus.radius_um:
                glow = _in_nucleus(grid, nucleus)[0] * p.nuclear_marker_au_per_um3 * p.pixel_size_um**2
                nuclei_au[window] += glow[inner]
        if p.kind == "yeast" and p.modality == "phase":
            organelles[window] += _organelles(cell, shape, grid, drawn, p)[inner]
        thickness[window] += drawn.thickness_um[inner] / height_um
        deeper = drawn.depth_um[inner] < depth_um[window]
        depth_um[window][deeper] = drawn.depth_um[inner][deeper]
        labels[window][deeper] = row + 1
    field = labels[pad_px : pad_px + p.height_px, pad_px : pad_px + p.width_px]
    return Scene(marker_au, reporter_au, thickness, organelles, nuclei_au, field)


class _Grid(NamedTuple):
    """The pixels about one cell."""

    corner_px: tuple[int, int]
    y_um: np.ndarray  # from its middle, of shape (rows, 1)
    x_um: np.ndarray  # of shape (1, columns)
    along_um: np.ndarray  # of shape (rows, columns)
    across_um: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.along_um.shape


def _grid(cell: np.void, shape: Shapes, centre_px: np.ndarray, p: Simulation) -> _Grid:
    pixel_um = p.pixel_size_um
    cos, sin = math.cos(cell["angle_rad"]), math.sin(cell["angle_rad"])
    half_um, radius_um = shape.length_um / 2, shape.width_um / 2
    # room for the bow of a bent rod, the waves of an irregular outline, or the plasm around a nucleus
    extra_um = shape.length_um * (abs(cell["bend_rad"]) / 8 + 0.5 * float(np.abs(cell["outline"]).sum()))
    if p.kind == "nucleus" and p.nuclear_ratio:
        extra_um += p.cytoplasm_um
    reach_px = [
        (half_um - radius_um) * abs(part) / pixel_um + (radius_um + extra_um) / pixel_um + 1.5 for part in (cos, sin)
    ]
    corner = [math.floor(c - r) for c, r in zip(centre_px, reach_px, strict=True)]
    stop = [math.ceil(c + r) + 1 for c, r in zip(centre_px, reach_px, strict=True)]
    y_um = (np.arange(corner[0], stop[0])[:, None] - centre_px[0]) * pixel_um
    x_um = (np.arange(corner[1], stop[1])[None, :] - centre_px[1]) * pixel_um
    return _Grid((corner[0], corner[1]), y_um, x_um, y_um * cos + x_um * sin, x_um * cos - y_um * sin)


class _Drawn(NamedTuple):
    thickness_um: np.ndarray  # mean over each pixel
    depth_um: np.ndarray  # signed distance to the outline, below 0 inside
    texture: np.ndarray


def _drawn(cell: np.void, shape: Shapes, grid: _Grid, p: Simulation) -> _Drawn:
    """One cell on pixels: thickness by the distance to its axis, smooth below a pixel."""
    along_um, across_um = grid.along_um, grid.across_um
    if p.kind == "rod":
        along_um, across_um = _unbent(along_um, across_um, cell["bend_rad"] / shape.length_um)
        thickness_um, depth_um = _rod_profile(along_um, across_um, shape, p.pixel_size_um)
    else:
        waves = cell["outline"] * (1 - shape.constriction)
        reach = _outline(along_um / shape.length_um, across_um / shape.width_um, waves)
        height_um = shape.width_um if p.kind == "yeast" else p.height_of_cell_um
        thickness_um, depth_um = _ellipse_profile(
            along_um / reach, across_um / reach, shape, p.pixel_size_um, height_um
        )
    return _Drawn(thickness_um, depth_um, _texture(cell, grid.y_um, grid.x_um, shape, p))


def _parted(
    grid: _Grid, drawn: _Drawn, shape: Shapes, nucleus: Nuclei | None, ratio: float, p: Simulation
) -> np.ndarray:
    """The reporter of one cell in nucleus and cytoplasm, each even; its sum is 1.

    Without a `nucleus` of its own, the shape is the nucleus, and the cell lies around it.
    """
    pixel_um = p.pixel_size_um
    inside = _covered(drawn.depth_um, pixel_um)
    if nucleus is not None:
        cell, inner = inside, _covered(_in_nucleus(grid, nucleus)[1], pixel_um) if nucleus.radius_um else 0.0
    else:
        long_um, wide_um = (size + 2 * p.cytoplasm_um for size in (shape.length_um, shape.width_um))
        around = shape._replace(length_um=long_um, width_um=wide_um)
        depth_um = _ellipse_profile(grid.along_um, grid.across_um, around, pixel_um, 1.0)[1]
        cell, inner = _covered(depth_um, pixel_um), inside
    parted = cell * (1 + (ratio - 1) * inner)
    return parted / parted.sum()


def _covered(depth_um: np.ndarray, pixel_um: float) -> np.ndarray:
    """Share of each pixel that lies inside an outline."""
    return np.clip(0.5 - depth_um / pixel_um, 0, 1)


def _in_nucleus(grid: _Grid, nucleus: Nuclei) -> tuple[np.ndarray, np.ndarray]:
    """Thickness of a round nucleus within a cell, and the signed distance to its outline."""
    distance_um = np.hypot(grid.along_um - nucleus.along_um, grid.across_um - nucleus.across_um)
    thickness_um = 2 * np.sqrt(np.maximum(nucleus.radius_um**2 - distance_um**2, 0))
    return thickness_um, distance_um - nucleus.radius_um


def _organelles(cell: np.void, shape: Shapes, grid: _Grid, drawn: _Drawn, p: Simulation) -> np.ndarray:
    """A vacuole and the grain of the plasm under phase contrast; small buds show no vacuole."""
    u, v = grid.along_um / (shape.length_um / 2), grid.across_um / (shape.width_um / 2)
    at, other = cell["spots"][1], cell["spots"][0]
    radius = 0.35 + 0.3 * abs(float(other[0]))
    distance = np.hypot(u - 0.6 * at[0], v - 0.6 * at[1]) - radius
    vacuole = p.vacuole_contrast / (1 + np.exp(np.clip(distance / _EDGE, -30, 30)))
    vacuole *= min(shape.width_um / p.width_of_cell_um, 1.0) ** 3
    grain = _GRAIN * (drawn.texture - 1) / max(p.texture_cv, 1e-9)
    return _covered(drawn.depth_um, p.pixel_size_um) * (vacuole + grain)


def _unbent(along_um: np.ndarray, across_um: np.ndarray, curvature_per_um: float) -> tuple[np.ndarray, np.ndarray]:
    """Along and across an arc through the centre; what lies around it keeps its area."""
    if not curvature_per_um:
        return along_um, across_um
    radius_um = 1 / curvature_per_um
    turn_rad = np.arctan2(along_um * np.sign(radius_um), (radius_um - across_um) * np.sign(radius_um))
    offset_um = radius_um - np.sign(radius_um) * np.hypot(along_um, radius_um - across_um)
    return turn_rad * radius_um, offset_um


def _outline(u: np.ndarray, v: np.ndarray, waves: np.ndarray) -> np.ndarray | float:
    """How far an irregular outline reaches beyond its ellipse, towards each pixel; the area is that of the ellipse."""
    if not waves.any():
        return 1.0
    angle = np.arctan2(v, u)
    reach = np.ones_like(angle)
    for order, (cosine, sine) in enumerate(waves, start=2):
        reach += cosine * np.cos(order * angle) + sine * np.sin(order * angle)
    return np.maximum(reach, 0.3) / math.sqrt(1 + (waves**2).sum() / 2)


def _rod_profile(along_um: np.ndarray, across_um: np.ndarray, shape: Shapes, pixel_um: float):
    radius_um, half_um = shape.width_um / 2, shape.length_um / 2
    from_waist_um = np.minimum(np.abs(along_um - (shape.waist - 0.5) * shape.length_um), radius_um)
    pole_um = np.sqrt(np.maximum(radius_um**2 - (radius_um - from_waist_um) ** 2, 0))
    local_um = np.maximum((1 - shape.constriction) * radius_um + shape.constriction * pole_um, 1e-3)
    distance_um = np.hypot(np.maximum(np.abs(along_um) - (half_um - radius_um), 0), across_um)
    thickness = _mean_chord(distance_um / local_um, pixel_um / 2 / local_um)
    return 2 * local_um * thickness, distance_um - local_um


def _ellipse_profile(
    along_um: np.ndarray, across_um: np.ndarray, shape: Shapes, pixel_um: float, height_um: float
) -> tuple[np.ndarray, np.ndarray]:
    long_um, short_um = shape.length_um / 2, shape.width_um / 2
    rho = np.maximum(np.hypot(along_um / long_um, across_um / short_um), 1e-6)
    steepness = np.maximum(np.hypot(along_um / long_um**2, across_um / short_um**2) / rho, 1e-6)
    return height_um * _mean_chord(rho, pixel_um / 2 * steepness), (rho - 1) / steepness


def _mean_chord(rho: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Mean of sqrt(1 - x^2), 0 beyond 1, for x within `half` of `rho`."""
    high, low = np.clip(rho + half, -1, 1), np.clip(rho - half, -1, 1)
    return (_chord_integral(high) - _chord_integral(low)) / (2 * half)


def _chord_integral(x: np.ndarray) -> np.ndarray:
    return (x * np.sqrt(1 - x**2) + np.arcsin(x)) / 2


def _texture(cell: np.void, y_um: np.ndarray, x_um: np.ndarray, shape: Shapes, p: Simulation) -> np.ndarray | float:
    """Relative density inside a cell: standing waves that turn with it, and nucleoli."""
    if not p.texture_cv:
        return 1.0
    cos, sin = math.cos(cell["angle_rad"]), math.sin(cell["angle_rad"])
    along, across, phase = cell["waves"].T
    down = y_um * (along * cos - across * sin) + phase
    right = x_um.T * (along * sin + across * cos)
    waves = np.cos(down) @ np.cos(right).T - np.sin(down) @ np.sin(right).T
    texture = 1 + p.texture_cv * math.sqrt(2 / len(phase)) * waves
    if p.kind == "nucleus":
        u = (y_um * cos + x_um * sin) / (shape.length_um / 2)
        v = (x_um * cos - y_um * sin) / (shape.width_um / 2)
        # as the nucleus rounds up, chromatin condenses and nucleoli dissolve
        fade = 3 * p.texture_cv * (1 - shape.constriction)
        for at_u, at_v in cell["spots"]:
            texture *= 1 - fade * np.exp(-((u - at_u) ** 2 + (v - at_v) ** 2) / (2 * 0.17**2))
    return np.maximum(texture, 0.05)


def _overlap(corner: tuple[int, int], shape: tuple[int, ...], size: tuple[int, int]):
    """The part of a patch that lies on the canvas: slices of the canvas and of the patch."""
    window, inner = [], []
    for start, length, limit in zip(corner, shape, size, strict=True):
        low, high = max(start, 0), min(start + length, limit)
        if low >= high:
            return None, None
        window.append(slice(low, high))
        inner.append(slice(low - start, high - start))
    return tuple(window), tuple(inner)
