"""A colony: cells that grow, divide, express, move and push each other apart.

In micrometres and hours. Of the picture it knows nothing but the size of the
field, beyond which cells are forgotten.
"""

import math
from dataclasses import replace

import numpy as np

from cytolapse.bodies import CELL, OUTLINE_WAVES, SPOTS, WAVES, Shapes, cell_shapes
from cytolapse.budding import hang_buds, new_buds, part_from_mothers
from cytolapse.contacts import distance_to_segments, push_apart
from cytolapse.lifecycle import division_sizes, division_times, lognormal, next_bud_times
from cytolapse.reporters import draw_nuclear_bias, express, set_founders_light
from cytolapse.scenarios import Simulation

_GROWTH_A_STEP = 0.02  # so little that neighbours are pushed, never run through


class Colony:
    """The living cells, and a record of all that ever lived.

    Attributes
    ----------
    cells : structured array of shape (n,)
        The living, at the time up to which the colony was advanced.
    born : list of structured arrays
        Founders, then the daughters of each division, as they were at birth.
    division_times_h : dict of int to list of float
        Of each cell that divided, by its number; a mother of yeast has one for
        each of her buds.

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
        self.division_times_h: dict[int, list[float]] = {}
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
            if p.kind == "yeast":
                part_from_mothers(self.cells, self.time_h, p)
                push_apart(self.cells, shape.length_um, shape.width_um, hang_buds(self.cells, shape))
            else:
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
            due_h = self.cells["next_bud_h"] if p.kind == "yeast" else division_times(self.cells, p)
            divides = due_h <= self.time_h
            express(self.cells, np.minimum(due_h, self.time_h), p, self.rng)
            if not divides.any():
                return
            for cell, time_h in zip(self.cells["cell"][divides].tolist(), due_h[divides].tolist(), strict=True):
                self.division_times_h.setdefault(cell, []).append(time_h)
            if p.kind == "yeast":
                self.cells = np.concatenate([self.cells, self._bud(np.flatnonzero(divides), due_h[divides])])
            else:
                daughters = self._divide(self.cells[divides], due_h[divides])
                self.cells = np.concatenate([self.cells[~divides], daughters])

    def _divide(self, mothers: np.ndarray, time_h: np.ndarray) -> np.ndarray:
        p, rng = self.parameters, self.rng
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
            if p.nuclear_ratio:
                daughters["nuclear_bias"] = draw_nuclear_bias(len(daughters), p, rng)
            _place_daughters(daughters, mothers, shape, sign, p, rng)
            pair.append(daughters)
        return self._registered(np.concatenate(pair))

    def _bud(self, rows: np.ndarray, time_h: np.ndarray) -> np.ndarray:
        """Buds of the mothers in some rows, who know from then on when their next ones come."""
        p, rng = self.parameters, self.rng
        mothers = self.cells[rows]
        buds = new_buds(mothers, time_h, self.cells, cell_shapes(self.cells, self.time_h, p), p, rng)
        _set_out(buds, p, rng)
        _set_axes(buds, p, rng)
        if p.nuclear_ratio:
            buds["nuclear_bias"] = draw_nuclear_bias(len(buds), p, rng)
        buds["next_bud_h"] = division_times(buds, p)
        mothers["next_bud_h"] = next_bud_times(buds, lognormal(p.rest_h, p.division_cv, len(rows), rng), p)
        self.cells[rows] = mothers
        return self._registered(buds)

    def _registered(self, daughters: np.ndarray) -> np.ndarray:
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
    outset = cells["parting_size"] if p.kind == "yeast" else cells["birth_size"]
    cells["division_size"] = division_sizes(outset, cells["growth_rate_per_h"], p, rng)
    cells["share"] = np.clip(rng.normal(0.5, p.share_sd, n), 0.4, 0.6)
    direction = rng.uniform(0, 2 * math.pi, (n, WAVES))
    number = rng.uniform(1.2, 3.0, (n, WAVES)) * 2 * math.pi / p.width_of_cell_um
    cells["waves"][..., 0] = number * np.cos(direction)
    cells["waves"][..., 1] = number * np.sin(direction)
    cells["waves"][..., 2] = rng.uniform(0, 2 * math.pi, (n, WAVES))
    cells["spots"] = rng.uniform(-0.55, 0.55, (n, SPOTS, 2))
    if p.bend_rad:
        cells["bend_rad"] = rng.normal(0, p.bend_rad, n)
    if p.irregularity:
        cells["outline"] = rng.normal(0, p.irregularity / math.sqrt(2 * OUTLINE_WAVES), (n, OUTLINE_WAVES, 2))


def _founders(p: Simulation, rng: np.random.Generator) -> np.ndarray:
    n = p.founders
    cells = np.zeros(n, CELL)
    cells["cell"] = np.arange(1, n + 1)
    cells["width_um"] = lognormal(p.width_of_cell_um, p.width_of_cell_cv, n, rng)
    _set_axes(cells, p, rng)
    cells["birth_size"] = lognormal(p.birth_size, p.division_cv / math.sqrt(3), n, rng)
    cells["parting_size"], cells["host_size"] = cells["birth_size"], 1.0  # no founder of yeast is a bud
    cells["marker_au_per_um3"] = lognormal(p.marker_au_per_um3, p.marker_cv, n, rng)
    _set_out(cells, p, rng)
    # in a growing population the young are twice as many as those about to divide
    age = -np.log2(1 - rng.uniform(0, 1, n) / 2)
    # all lies before any shift: born at 0, a cell would divide at the end of its cycle
    cells["birth_time_h"] = -age * division_times(cells, replace(p, shift_time_h=0.0))
    if p.kind == "yeast":
        _set_mothers(cells, p, rng)
    set_founders_light(cells, p, rng)
    if p.nuclear_ratio:
        cells["nuclear_bias"] = draw_nuclear_bias(n, p, rng)
    if p.kind == "nucleus":
        cells["vy_um_per_h"], cells["vx_um_per_h"] = rng.normal(0, p.speed_um_per_h / math.sqrt(2), (2, n))
    _place_founders(cells, p, rng)
    return cells


def _set_axes(cells: np.ndarray, p: Simulation, rng: np.random.Generator) -> None:
    cells["aspect"] = np.maximum(lognormal(p.birth_length_um / p.width_of_cell_um, 0.1, len(cells), rng), 1)


def _set_mothers(cells: np.ndarray, p: Simulation, rng: np.random.Generator) -> None:
    """Make every other founder of yeast one that has budded before, at some moment of her cycle."""
    of_cycle = rng.uniform(0, 1, len(cells))
    cycle_h = math.log1p(p.bud_share) / cells["growth_rate_per_h"] + p.rest_h
    mother = rng.uniform(size=len(cells)) < 0.5
    cells["birth_time_h"][mother] -= division_times(cells, replace(p, shift_time_h=0.0))[mother]
    cells["next_bud_h"] = np.where(mother, of_cycle * cycle_h, division_times(cells, p))


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


def _move(cells: np.ndarray, span_h: float, p: Simulation, rng: np.random.Generator) -> None:
    n = len(cells)
    if p.kind != "nucleus":
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
