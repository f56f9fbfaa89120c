"""A colony: cells that grow, divide, express, move and push each other apart.

In micrometres and hours. Of the picture it knows nothing but the size of the
field, beyond which cells are forgotten.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cytolapse.contacts import distance_to_segments, push_apart
from cytolapse.lifecycle import division_sizes, division_times, lognormal, sizes
from cytolapse.rods import rod_area, rod_length, rod_volume
from cytolapse.scenarios import Simulation

_WAVES, _NUCLEOLI, _OUTLINE_WAVES = 6, 2, 4
_GROWTH_A_STEP = 0.02  # so little that neighbours are pushed, never run through

_CELL = np.dtype(
    [
        ("cell", "i8"),
        ("parent", "i8"),
        ("generation", "i4"),
        ("birth_time_h", "f8"),
        ("birth_size", "f8"),
        ("division_size", "f8"),
        ("birth_share", "f8"),  # own size at birth over both sisters'
        ("share", "f8"),  # of the first daughter, the one towards the start of the axis
        ("growth_rate_per_h", "f8"),
        ("width_um", "f8"),
        ("aspect", "f8"),
        ("y_um", "f8"),
        ("x_um", "f8"),
        ("angle_rad", "f8"),  # from the y axis to the long axis, towards x
        ("vy_um_per_h", "f8"),
        ("vx_um_per_h", "f8"),
        ("clock_h", "f8"),  # up to when this cell has been advanced
        ("activity", "f8"),  # logarithm of the reporter's production over its mean
        ("marker_au_per_um3", "f8"),
        ("total_au", "f8"),  # of the reporter that is seen
        ("dark_au", "f8"),  # of that which has yet to mature
        ("makes_reporter", "?"),
        ("waves", "f8", (_WAVES, 3)),
        ("nucleoli", "f8", (_NUCLEOLI, 2)),
        ("bend_rad", "f8"),  # from pole to pole
        ("outline", "f8", (_OUTLINE_WAVES, 2)),  # cosine and sine of the waves in the outline
    ]
)


class Shapes(NamedTuple):
    """The shapes of n cells at one moment; each an array of shape (n,)."""

    length_um: np.ndarray
    width_um: np.ndarray
    area_um2: np.ndarray
    volume_um3: np.ndarray
    constriction: np.ndarray  # 0: none, 1: about to fall in two
    waist: np.ndarray  # where a rod constricts, as a share of its length


def cell_shapes(cells: np.ndarray, time_h: float | np.ndarray, parameters: Simulation) -> Shapes:
    """Shapes of cells at a time, from their birth and growth rate.

    A rod that constricts is two spherocylinders that come out of one: its
    length, area and volume pass into those of the daughters without a step.

    Parameters
    ----------
    cells : structured array of shape (n,)
        Cells of the simulator.
    time_h : float or array of shape (n,)
        Time since the first frame.
    parameters : Simulation
        What is simulated.
    """
    size = sizes(cells, time_h, parameters)
    grown = (size - cells["birth_size"]) / (cells["division_size"] - cells["birth_size"])
    late = parameters.constriction_fraction
    constriction = np.clip((grown - 1 + late) / late, 0, 1) if late else np.zeros(len(cells))
    if parameters.kind == "rod":
        return _rods(cells, size, constriction, parameters)
    return _nuclei(cells, size, constriction, parameters)


def _rods(cells: np.ndarray, size: np.ndarray, constriction: np.ndarray, p: Simulation) -> Shapes:
    radius_um = cells["width_um"] / 2
    length_um = rod_length(size, radius_um, constriction, p.grows)
    whole = rod_length(cells["division_size"], radius_um, 1.0, p.grows)
    first = rod_length(cells["division_size"] * cells["share"], radius_um, 0.0, p.grows)
    return Shapes(
        length_um,
        cells["width_um"],
        rod_area(length_um, radius_um, constriction),
        rod_volume(length_um, radius_um, constriction),
        constriction,
        first / whole,
    )


def _nuclei(cells: np.ndarray, size: np.ndarray, constriction: np.ndarray, p: Simulation) -> Shapes:
    # ellipsoid with the axes length, width and height: volume = 2/3 area height
    height_um = p.height_of_cell_um
    area_um2 = size if p.grows == "area" else size / height_um * 3 / 2
    aspect = 1 + (cells["aspect"] - 1) * (1 - constriction)
    length_um = np.sqrt(4 / math.pi * area_um2 * aspect)
    half = np.full(len(cells), 0.5)
    return Shapes(length_um, length_um / aspect, area_um2, area_um2 * height_um * 2 / 3, constriction, half)


class Colony:
    """The living cells, and a record of all that ever lived.

    Attributes
    ----------
    cells : structured array of shape (n,)
        The living, at the time up to which the colony was advanced.
    born : list of structured arrays
        Founders, then the daughters of each division, as they were at birth.
    division_time_h : dict of int to float
        Of each cell that divided, by its number.

    Raises
    ------
    ValueError
        If the founders do not fit into the field.
    """

    def __init__(self, parameters: Simulation, rng: np.random.Generator) -> None:
        self.parameters = parameters
        self.rng = rng
        self.time_h = 0.0
        self.cells = _founders(parameters, rng)
        self.born = [self.cells.copy()]
        self.division_time_h: dict[int, float] = {}
        self._next = len(self.cells) + 1

    def advance(self, time_h: float, drift_um: np.ndarray) -> None:
        """Let the cells live until a time; forget those that are far away.

        Parameters
        ----------
        time_h : float
            Time since the first frame, not before the last one given.
        drift_um : array of shape (2,)
            Where the field begins at that time, (y, x).
        """
        p = self.parameters
        span_h = time_h - self.time_h
        steps = math.ceil(span_h * p.growth_rate_per_h / _GROWTH_A_STEP)
        for _ in range(steps):
            self.time_h += span_h / steps
            self._grow()
            _move(self.cells, span_h / steps, p, self.rng)
            shape = cell_shapes(self.cells, self.time_h, p)
            push_apart(self.cells, shape.length_um, shape.width_um)
        self.time_h = time_h
        self._forget(drift_um)

    def bleach(self) -> None:
        """Take from every cell what one exposure destroys."""
        for light in ("total_au", "marker_au_per_um3"):
            self.cells[light] *= 1 - self.parameters.bleaching_per_frame

    def _grow(self) -> None:
        """Bring every cell, and its daughters, to the present."""
        p = self.parameters
        while len(self.cells):
            due_h = division_times(self.cells, p)
            divides = due_h <= self.time_h
            _express(self.cells, np.minimum(due_h, self.time_h), p, self.rng)
            if not divides.any():
                return
            daughters = self._divide(self.cells[divides], due_h[divides])
            self.cells = np.concatenate([self.cells[~divides], daughters])

    def _divide(self, mothers: np.ndarray, time_h: np.ndarray) -> np.ndarray:
        p, rng = self.parameters, self.rng
        self.division_time_h.update(zip(mothers["cell"].tolist(), time_h.tolist(), strict=True))
        shape = cell_shapes(mothers, time_h, p)
        pair = []
        for sign in (-1, 1):
            daughters = mothers.copy()
            share = mothers["share"] if sign < 0 else 1 - mothers["share"]
            daughters["parent"] = mothers["cell"]
            daughters["generation"] += 1
            daughters["birth_time_h"] = daughters["clock_h"] = time_h
            daughters["birth_size"] = share * mothers["division_size"]
            daughters["birth_share"] = share
            daughters["total_au"] = share * mothers["total_au"]
            daughters["dark_au"] = share * mothers["dark_au"]
            _set_out(daughters, p, rng)
            _place_daughters(daughters, mothers, shape, sign, p, rng)
            pair.append(daughters)
        daughters = np.concatenate(pair)
        daughters["cell"] = self._next + np.arange(len(daughters))
        self._next += len(daughters)
        self.born.append(daughters.copy())
        return daughters

    def _forget(self, drift_um: np.ndarray) -> None:
        """Drop what can hardly come back, so that the work is bounded by the field."""
        p = self.parameters
        far_um = p.surround_um + cell_shapes(self.cells, self.time_h, p).length_um
        y_um, x_um = self.cells["y_um"] - drift_um[0], self.cells["x_um"] - drift_um[1]
        outside_um = np.maximum(
            np.maximum(-y_um, y_um - p.height_px * p.pixel_size_um),
            np.maximum(-x_um, x_um - p.width_px * p.pixel_size_um),
        )
        self.cells = self.cells[outside_um <= far_um]


def _set_out(cells: np.ndarray, p: Simulation, rng: np.random.Generator) -> None:
    """Draw what a cell gets at birth: rate, added size, share and texture."""
    n = len(cells)
    cells["growth_rate_per_h"] = lognormal(p.growth_rate_per_h, p.growth_rate_cv, n, rng)
    cells["division_size"] = division_sizes(cells["birth_size"], cells["growth_rate_per_h"], p, rng)
    cells["share"] = np.clip(rng.normal(0.5, p.share_sd, n), 0.4, 0.6)
    direction = rng.uniform(0, 2 * math.pi, (n, _WAVES))
    number = rng.uniform(1.2, 3.0, (n, _WAVES)) * 2 * math.pi / p.width_of_cell_um
    cells["waves"][..., 0] = number * np.cos(direction)
    cells["waves"][..., 1] = number * np.sin(direction)
    cells["waves"][..., 2] = rng.uniform(0, 2 * math.pi, (n, _WAVES))
    cells["nucleoli"] = rng.uniform(-0.55, 0.55, (n, _NUCLEOLI, 2))
    if p.bend_rad:
        cells["bend_rad"] = rng.normal(0, p.bend_rad, n)
    if p.irregularity:
        cells["outline"] = rng.normal(0, p.irregularity / math.sqrt(2 * _OUTLINE_WAVES), (n, _OUTLINE_WAVES, 2))


def _founders(p: Simulation, rng: np.random.Generator) -> np.ndarray:
    n = p.founders
    cells = np.zeros(n, _CELL)
    cells["cell"] = np.arange(1, n + 1)
    cells["width_um"] = lognormal(p.width_of_cell_um, p.width_of_cell_cv, n, rng)
    aspect = p.birth_length_um / p.width_of_cell_um
    cells["aspect"] = np.maximum(lognormal(aspect, 0.1, n, rng), 1)
    cells["birth_size"] = lognormal(p.birth_size, p.division_cv / math.sqrt(3), n, rng)
    cells["marker_au_per_um3"] = lognormal(p.marker_au_per_um3, p.marker_cv, n, rng)
    _set_out(cells, p, rng)
    # in a growing population the young are twice as many as those about to divide
    age = -np.log2(1 - rng.uniform(0, 1, n) / 2)
    # all lies before any shift: born at 0, a cell would divide at the end of its cycle
    cells["birth_time_h"] = -age * division_times(cells, replace(p, shift_time_h=0.0))
    cells["activity"] = rng.normal(0, p.reporter_sd, n)
    memory = p.growth_rate_per_h * p.reporter_memory_h
    concentration = p.reporter_au_per_um3 * np.exp(cells["activity"] * memory / (1 + memory))
    # what has yet to mature over what is seen, where both grow with the cells
    unripe = p.growth_rate_per_h * p.maturation_h
    cells["total_au"] = concentration * cell_shapes(cells, 0.0, p).volume_um3 / (1 + unripe)
    cells["makes_reporter"] = True
    if p.silent_fraction:
        cells["makes_reporter"] = rng.uniform(size=n) >= p.silent_fraction
    cells["dark_au"] = cells["total_au"] * unripe
    for pool in ("total_au", "dark_au"):
        cells[pool] *= cells["makes_reporter"]
    if p.kind == "nucleus":
        cells["vy_um_per_h"], cells["vx_um_per_h"] = rng.normal(0, p.speed_um_per_h / math.sqrt(2), (2, n))
    _place_founders(cells, p, rng)
    return cells


def _place_founders(cells: np.ndarray, p: Simulation, rng: np.random.Generator) -> None:
    """Put founders at random where they do not touch, whole in the field if nothing surrounds it."""
    shape = cell_shapes(cells, 0.0, p)
    placed: list[np.ndarray] = []
    field_um = np.array([p.height_px, p.width_px]) * p.pixel_size_um
    for cell in range(len(cells)):
        inset_um = -p.surround_um if p.surround_um else min(shape.length_um[cell] / 2, *(field_um / 3))
        for _ in range(2000):
            centre_um = rng.uniform(inset_um, field_um - inset_um)
            angle_rad = rng.uniform(-math.pi / 2, math.pi / 2)
            ends = _spine(centre_um, angle_rad, shape.length_um[cell] - shape.width_um[cell])
            if _clear(ends, placed, shape.width_um, cell):
                break
        else:
            raise ValueError(
                f"founders is {p.founders}, but after {cell} no room was left in a field of "
                f"{field_um[0]:g} x {field_um[1]:g} um with {p.surround_um:g} um around it; "
                "fewer founders or a larger field are needed"
            )
        placed.append(ends)
        cells["y_um"][cell], cells["x_um"][cell] = centre_um
        cells["angle_rad"][cell] = angle_rad


def _spine(centre_um: np.ndarray, angle_rad: float, length_um: float) -> np.ndarray:
    half = length_um / 2 * np.array([math.cos(angle_rad), math.sin(angle_rad)])
    return np.stack([centre_um - half, centre_um + half])


def _clear(ends: np.ndarray, placed: list[np.ndarray], width_um: np.ndarray, cell: int) -> bool:
    if not placed:
        return True
    others = np.stack(placed)
    along = ends[0] + np.linspace(0, 1, 9)[:, None, None] * (ends[1] - ends[0])
    distance_um = distance_to_segments(along, others[:, 0], others[:, 1])[0].min()
    return distance_um > (width_um[cell] + width_um[: len(placed)].max()) / 2 * 1.05


def _place_daughters(
    daughters: np.ndarray, mothers: np.ndarray, shape: Shapes, sign: int, p: Simulation, rng: np.random.Generator
) -> None:
    if p.kind == "rod":
        own = shape.waist if sign < 0 else 1 - shape.waist
        offset_um = sign * (1 - own) / 2 * shape.length_um
    else:
        offset_um = sign * np.sqrt(daughters["birth_size"] / mothers["division_size"]) * shape.length_um / 2
        daughters["vy_um_per_h"], daughters["vx_um_per_h"] = rng.normal(
            0, p.speed_um_per_h / math.sqrt(2), (2, len(daughters))
        )
    daughters["y_um"] = mothers["y_um"] + offset_um * np.cos(mothers["angle_rad"])
    daughters["x_um"] = mothers["x_um"] + offset_um * np.sin(mothers["angle_rad"])
    turn_rad = rng.normal(0, p.division_angle_rad, len(daughters))
    # the plate of a divided nucleus lies across the axis along which the daughters part
    daughters["angle_rad"] = mothers["angle_rad"] + turn_rad + (math.pi / 2 if p.kind == "nucleus" else 0)


def _express(cells: np.ndarray, until_h: np.ndarray, p: Simulation, rng: np.random.Generator) -> None:
    """Make reporter until a time: d total / dt = activity times volume."""
    span_h = until_h - cells["clock_h"]
    middle = cell_shapes(cells, cells["clock_h"] + span_h / 2, p)
    made_au = production_rate(cells, middle, p) * span_h
    if p.maturation_h:
        cells["dark_au"] += made_au
        made_au = cells["dark_au"] * -np.expm1(-span_h / p.maturation_h)
        cells["dark_au"] -= made_au
    cells["total_au"] += made_au
    kept = np.exp(-span_h / p.reporter_memory_h)
    noise = rng.normal(0, 1, len(cells)) * p.reporter_sd * np.sqrt(1 - kept**2)
    cells["activity"] = cells["activity"] * kept + noise
    cells["clock_h"] = until_h


def production_rate(cells: np.ndarray, shapes: Shapes, parameters: Simulation) -> np.ndarray:
    """Reporter that each cell makes, in au/h: what keeps the mean concentration at the mean growth rate."""
    p = parameters
    mean = p.growth_rate_per_h * p.reporter_au_per_um3 * math.exp(-(p.reporter_sd**2) / 2)
    return mean * np.exp(cells["activity"]) * shapes.volume_um3 * cells["makes_reporter"]


def _move(cells: np.ndarray, span_h: float, p: Simulation, rng: np.random.Generator) -> None:
    n = len(cells)
    if p.kind == "rod":
        cells["y_um"] += rng.normal(0, p.jitter_um_per_sqrt_h * math.sqrt(span_h), n)
        cells["x_um"] += rng.normal(0, p.jitter_um_per_sqrt_h * math.sqrt(span_h), n)
    else:
        kept = math.exp(-span_h / p.persistence_h)
        for axis in ("y", "x"):
            velocity = cells[f"v{axis}_um_per_h"]
            velocity *= kept
            velocity += rng.normal(0, p.speed_um_per_h / math.sqrt(2) * math.sqrt(1 - kept**2), n)
            cells[f"{axis}_um"] += velocity * span_h
    cells["angle_rad"] += rng.normal(0, p.jitter_rad_per_sqrt_h * math.sqrt(span_h), n)
