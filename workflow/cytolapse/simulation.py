"""Movies whose every truth is known: cells, scene, optics, camera.

Four steps, each of which knows nothing of the next. Cells grow, divide,
express and move, in micrometres and hours. The scene is what of them lies
under the microscope at one moment. The optics blur it and light it unevenly.
The camera counts photons.
"""

import math
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cytolapse.tables import atomic_path

KINDS = ("rod", "nucleus")
MODALITIES = ("fluorescence", "phase")
GROWING_QUANTITIES = ("length", "area", "volume")

_WAVES, _NUCLEOLI = 6, 2
_GROWTH_A_STEP = 0.02  # so little that neighbours are pushed, never run through
_OVERLAP_UM = 0.01  # overlap that is let stand; a tenth of a usual pixel
_ROUNDS = 8  # at most, of pushing apart, a step
_LEAP_UM, _LEAP_RAD = 0.5, 0.2  # at most, of one cell, a round
_SOFTNESS = 1e-6  # of contacts, against the friction of a cell on its ground

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
        ("total_au", "f8"),
        ("waves", "f8", (_WAVES, 3)),
        ("nucleoli", "f8", (_NUCLEOLI, 2)),
    ]
)


_CHOICES = {"kind": KINDS, "modality": MODALITIES, "grows": GROWING_QUANTITIES, "bits": (12, 16)}
_FROM_ZERO_BELOW_ONE = ("constriction_fraction", "haze_fraction", "vignetting", "tilt")
_MAY_BE_ZERO = (
    *("founders", "surround_um", "growth_rate_cv", "width_of_cell_cv", "added_size_cv", "share_sd"),
    *("division_angle_rad", "speed_um_per_h", "jitter_um_per_sqrt_h", "jitter_rad_per_sqrt_h", "drift_um_per_sqrt_h"),
    *("reporter_au_per_um3", "reporter_sd", "marker_au_per_um3", "marker_cv", "texture_cv", "halo_fraction"),
    *("phase_contrast", "phase_level_au", "phase_grain", "background_au", "offset_au", "read_noise_e"),
)


def _check_choices(p: "Simulation") -> None:
    for name, allowed in _CHOICES.items():
        if getattr(p, name) not in allowed:
            raise ValueError(f"{name} is {getattr(p, name)!r}; wanted one of {', '.join(map(str, allowed))}")
    if p.kind == "nucleus" and p.grows == "length":
        raise ValueError("grows is 'length', which a nucleus cannot share out at division; wanted area or volume")


def _check_ranges(p: "Simulation") -> None:
    for name in (field.name for field in fields(p) if field.name not in _CHOICES):
        value = getattr(p, name)
        if name in _FROM_ZERO_BELOW_ONE:
            if not 0 <= value < 1:
                raise ValueError(f"{name} is {value:g}; it must lie in 0 to 1, 1 not included")
        elif name in _MAY_BE_ZERO:
            if not value >= 0:
                raise ValueError(f"{name} is {value:g}; it must not be below 0")
        elif not value > 0:
            raise ValueError(f"{name} is {value:g}; it must be above 0")
    if p.birth_length_um < 1.5 * p.width_of_cell_um and p.kind == "rod":
        raise ValueError(
            f"birth_length_um is {p.birth_length_um:g} um; a rod {p.width_of_cell_um:g} um wide must be born at least "
            f"{1.5 * p.width_of_cell_um:g} um long"
        )


@dataclass(frozen=True)
class Simulation:
    """What to simulate; the defaults are *E. coli* on a pad under phase contrast.

    Attributes
    ----------
    kind : {'rod', 'nucleus'}
        Spherocylinders that push each other, or flat ellipses that wander and
        round up before they divide.
    modality : {'phase', 'fluorescence'}
        How the first channel, the one to segment, is made: dark cells with a
        halo, or a marker that fills the cell.
    frames, height_px, width_px : int
        Size of the movie.
    pixel_size_um, frame_interval_min : float
        Scale of the movie.
    founders : int
        Cells at the start, without overlap; 0 gives an empty field.
    surround_um : float
        Width of the strip around the field in which cells live too, so that
        some come in. Beyond it they are forgotten.
    grows : {'length', 'area', 'volume'}
        The quantity that grows exponentially, adds a fixed amount from birth to
        division, and is shared out at division. Called size below. The volume
        of a nucleus is proportional to its area.
    growth_rate_per_h, growth_rate_cv : float
        d ln(size)/dt: mean, and coefficient of variation between cells.
    birth_length_um, width_of_cell_um : float
        Of the mean cell at birth; for a nucleus its two axes.
    width_of_cell_cv : float
        Between founders; daughters inherit the width.
    height_of_cell_um : float
        Of a nucleus, all its life. A rod is as high as wide.
    added_size_cv : float
        Of the size added between birth and division, the mean of which is the
        mean size at birth.
    share_sd : float
        Standard deviation of the share of size that a daughter gets; mean 1/2.
    constriction_fraction : float
        Share of the growth, the last, in which a rod constricts and a nucleus
        rounds up.
    division_angle_rad : float
        Standard deviation of the angle by which a daughter turns at division.
    speed_um_per_h, persistence_h : float
        Of the persistent random walk of nuclei: root mean square speed and
        correlation time of the velocity.
    jitter_um_per_sqrt_h, jitter_rad_per_sqrt_h : float
        Brownian motion of rods.
    drift_um_per_sqrt_h : float
        Random walk of the stage, along each axis.
    reporter_au_per_um3 : float
        Mean concentration of the reporter, in camera counts.
    reporter_sd : float
        Standard deviation of the logarithm of the reporter's production.
    reporter_memory_h : float
        Correlation time of it, through divisions.
    marker_au_per_um3, marker_cv : float
        Concentration of the marker, and its variation between founders.
    texture_cv : float
        Relative variation of density inside a cell.
    psf_sigma_um : float
        Width of the Gaussian that stands for the point spread function.
    haze_fraction, haze_sigma_um : float
        Share of the fluorescence that comes from out of focus, and its width.
    halo_fraction, halo_sigma_um, phase_contrast : float
        Brightness and width of the halo of phase contrast; darkness of a cell.
    phase_level_au, phase_grain : float
        Brightness of the empty field, and relative amplitude of its fixed
        pattern.
    background_au : float
        Background of the fluorescence per pixel, above the camera's offset.
    vignetting, tilt : float
        Loss of light towards the corners, and change from edge to edge, as
        shares. The mean over the field stays 1.
    offset_au, electrons_per_au, read_noise_e, bits : float, float, float, int
        The camera: counts in the dark, electrons a count, read noise, and 12
        or 16 bits.

    Raises
    ------
    ValueError
        If a value makes no sense; the text names the parameter.
    """

    kind: str = "rod"
    modality: str = "phase"
    frames: int = 30
    height_px: int = 256
    width_px: int = 256
    pixel_size_um: float = 0.1
    frame_interval_min: float = 5.0
    founders: int = 5
    surround_um: float = 0.0
    grows: str = "length"
    growth_rate_per_h: float = 1.0
    growth_rate_cv: float = 0.1
    birth_length_um: float = 2.4
    width_of_cell_um: float = 0.9
    width_of_cell_cv: float = 0.03
    height_of_cell_um: float = 5.0
    added_size_cv: float = 0.12
    share_sd: float = 0.02
    constriction_fraction: float = 0.25
    division_angle_rad: float = 0.08
    speed_um_per_h: float = 10.0
    persistence_h: float = 0.3
    jitter_um_per_sqrt_h: float = 0.15
    jitter_rad_per_sqrt_h: float = 0.1
    drift_um_per_sqrt_h: float = 0.0
    reporter_au_per_um3: float = 25_000.0
    reporter_sd: float = 0.35
    reporter_memory_h: float = 1.0
    marker_au_per_um3: float = 60_000.0
    marker_cv: float = 0.15
    texture_cv: float = 0.06
    psf_sigma_um: float = 0.12
    haze_fraction: float = 0.12
    haze_sigma_um: float = 0.7
    halo_fraction: float = 0.65
    halo_sigma_um: float = 0.55
    phase_contrast: float = 1.15
    phase_level_au: float = 12_000.0
    phase_grain: float = 0.015
    background_au: float = 120.0
    vignetting: float = 0.12
    tilt: float = 0.06
    offset_au: float = 100.0
    electrons_per_au: float = 0.6
    read_noise_e: float = 1.6
    bits: int = 16

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_ranges(self)

    @property
    def channels(self) -> tuple[str, str]:
        """Names of the two channels: the one to segment, then the reporter."""
        return ("phase" if self.modality == "phase" else "marker", "reporter")

    @property
    def birth_size(self) -> float:
        """Mean size at birth, in the unit of the quantity that grows."""
        length_um, width_um = self.birth_length_um, self.width_of_cell_um
        if self.kind == "rod":
            sizes = {
                "length": length_um,
                "area": _rod_area(length_um, width_um / 2, 0.0),
                "volume": _rod_volume(length_um, width_um / 2, 0.0),
            }
            return float(sizes[self.grows])
        area_um2 = math.pi / 4 * length_um * width_um
        return area_um2 if self.grows == "area" else area_um2 * self.height_of_cell_um * 2 / 3


NUCLEI = Simulation(
    kind="nucleus",
    modality="fluorescence",
    frames=60,
    height_px=512,
    width_px=512,
    pixel_size_um=0.25,
    frame_interval_min=10.0,
    founders=40,
    surround_um=15.0,
    grows="area",
    growth_rate_per_h=math.log(2) / 14,
    birth_length_um=13.0,
    width_of_cell_um=10.5,
    width_of_cell_cv=0.08,
    constriction_fraction=0.06,
    division_angle_rad=0.3,
    share_sd=0.03,
    reporter_au_per_um3=350.0,
    marker_au_per_um3=900.0,
    marker_cv=0.35,
    texture_cv=0.16,
    psf_sigma_um=0.25,
    haze_fraction=0.15,
    haze_sigma_um=2.5,
    background_au=60.0,
)
"""Nuclei of cultured cells with a fluorescent marker, the other usual case."""


@dataclass(frozen=True)
class SimulatedMovie:
    """A movie and everything that is true of it.

    Attributes
    ----------
    movie : array of shape (frames, 2, y, x), uint16
        What the camera saw: the channel to segment, then the reporter.
    labels : array of shape (frames, y, x), uint16
        The number of the cell that covers half of a pixel or more; 0 is
        background. A cell keeps its number.
    cells : DataFrame
        One row a cell and frame in which it is seen: frame, time_h, cell,
        parent, age_h, y_px, x_px, y_um, x_um, y_aligned_um, x_aligned_um,
        area_px (of the label), area_um2, length_um, width_um, orientation_rad,
        volume_um3, growth_rate_per_h, total_au, concentration_au_per_um3 and
        production_rate_au_per_h (of the reporter), flag_border. Shapes are
        those of the whole cell, also where the frame cuts it.
    lineage : DataFrame
        One row a cell that is seen in some frame: cell, parent, generation,
        first_frame, last_frame, start, end (as in the table lineage),
        birth_frame, division_frame (the first frames after these events),
        birth_time_h, division_time_h, cycle_time_h, growth_rate_per_h,
        size_birth, size_division, added_size, division_ratio, and length_um,
        area_um2 and volume_um3 at birth (`_birth_`) and division. Null where
        the event lies outside of the movie.
    parameters : Simulation
    seed : int
    """

    movie: np.ndarray
    labels: np.ndarray
    cells: pd.DataFrame
    lineage: pd.DataFrame
    parameters: Simulation
    seed: int


def simulate_movie(parameters: Simulation, seed: int) -> SimulatedMovie:
    """Simulate one movie; the same parameters and seed give the same movie.

    Rods elongate exponentially and divide by the adder rule [1]_ with noise;
    their overlaps are removed by moving and turning them as rigid bodies.
    Nuclei follow a persistent random walk. A stable reporter that matures at
    once is made at a rate proportional to volume, which fluctuates along the
    lineage, and is diluted by growth alone. Not in it: bent or dying cells,
    cell cycle phases, bleaching, maturation, three dimensions.

    Parameters
    ----------
    parameters : Simulation
        What to simulate.
    seed : int
        Of the random numbers, not negative. Cells, optics and camera have
        streams of their own: another camera sees the same cells.

    Returns
    -------
    SimulatedMovie

    Raises
    ------
    ValueError
        If the founders do not fit into the field.
    OverflowError
        If more than 65,535 cells are seen, the most that labels can number.

    References
    ----------
    .. [1] Taheri-Araghi, S. et al. Cell-size control and homeostasis in
       bacteria. Current Biology 25, 385-391 (2015).
    """
    life, glass, sensor = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    p = parameters
    times_h = np.arange(p.frames) * p.frame_interval_min / 60
    optics = _optics(p, glass)
    drift_um = _stage_drift(p, glass)
    colony = _Colony(p, life)
    numbers: dict[int, int] = {}
    movie = np.empty((p.frames, 2, p.height_px, p.width_px), np.uint16)
    labels = np.zeros((p.frames, p.height_px, p.width_px), np.uint16)
    seen = []
    for frame, time_h in enumerate(times_h):
        colony.advance(time_h, drift_um[frame])
        shape = cell_shapes(colony.cells, time_h, p)
        scene = _scene(colony.cells, shape, drift_um[frame], optics.pad_px, p)
        for channel, light_au in enumerate(_images(scene, optics, p)):
            movie[frame, channel] = camera_counts(light_au, p, sensor)
        rows = _truth_of_frame(frame, time_h, colony.cells, shape, scene.labels, drift_um[frame], p)
        for cell in rows["cell"]:
            numbers.setdefault(cell, len(numbers) + 1)
        of_row = np.array([numbers.get(cell, 0) for cell in colony.cells["cell"].tolist()], int)
        labels[frame] = number_labels(scene.labels, of_row)
        seen.append(rows)
    cells = _with_numbers(pd.concat(seen, ignore_index=True), numbers)
    lineage = _lineage_of(cells, colony, numbers, times_h, p)
    return SimulatedMovie(movie, labels, cells, lineage, parameters, seed)


class Shapes(NamedTuple):
    """The shapes of n cells at one moment; each an array of shape (n,)."""

    size: np.ndarray
    length_um: np.ndarray
    width_um: np.ndarray
    area_um2: np.ndarray
    volume_um3: np.ndarray
    constriction: np.ndarray  # 0: none, 1: about to fall in two
    waist: np.ndarray  # where a rod constricts, as a share of its length


def cell_shapes(cells: np.ndarray, time_h: float | np.ndarray, parameters: Simulation) -> Shapes:
    """Size and shape of cells at a time, from their birth and growth rate.

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
    size = cells["birth_size"] * np.exp(cells["growth_rate_per_h"] * (time_h - cells["birth_time_h"]))
    grown = (size - cells["birth_size"]) / (cells["division_size"] - cells["birth_size"])
    late = parameters.constriction_fraction
    constriction = np.clip((grown - 1 + late) / late, 0, 1) if late else np.zeros(len(cells))
    if parameters.kind == "rod":
        return _rods(cells, size, constriction, parameters)
    return _nuclei(cells, size, constriction, parameters)


def _rods(cells: np.ndarray, size: np.ndarray, constriction: np.ndarray, p: Simulation) -> Shapes:
    radius_um = cells["width_um"] / 2
    length_um = _rod_length(size, radius_um, constriction, p.grows)
    whole = _rod_length(cells["division_size"], radius_um, 1.0, p.grows)
    first = _rod_length(cells["division_size"] * cells["share"], radius_um, 0.0, p.grows)
    return Shapes(
        size,
        length_um,
        cells["width_um"],
        _rod_area(length_um, radius_um, constriction),
        _rod_volume(length_um, radius_um, constriction),
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
    return Shapes(size, length_um, length_um / aspect, area_um2, area_um2 * height_um * 2 / 3, constriction, half)


def _rod_area(length_um, radius_um, constriction):
    # two more half circles, where there was a square, once the rod is two
    lost = constriction * (4 - math.pi) * radius_um**2
    return 2 * radius_um * (length_um - 2 * radius_um) + math.pi * radius_um**2 - lost


def _rod_volume(length_um, radius_um, constriction):
    return math.pi * radius_um**2 * (length_um - 2 / 3 * radius_um) - _volume_lost(radius_um, constriction)


def _volume_lost(radius_um, constriction):
    # pi (r^2 - w^2) over the two waists of width w = (1-c) r + c sqrt(r^2 - (r-d)^2), d from 0 to r
    kept = (1 - constriction) ** 2 + (1 - constriction) * constriction * math.pi / 2 + constriction**2 * 2 / 3
    return 2 * math.pi * radius_um**3 * (1 - kept)


def _rod_length(size, radius_um, constriction, grows: str):
    if grows == "length":
        return size
    if grows == "area":
        lost = constriction * (4 - math.pi) * radius_um**2
        return (size + lost - math.pi * radius_um**2) / (2 * radius_um) + 2 * radius_um
    return (size + _volume_lost(radius_um, constriction)) / (math.pi * radius_um**2) + 2 / 3 * radius_um


def _lognormal(mean: float, cv: float, count: int, rng: np.random.Generator) -> np.ndarray:
    variance = math.log1p(cv**2)
    return mean * np.exp(rng.normal(-variance / 2, math.sqrt(variance), count))


class _Colony:
    """The living cells, and a record of all that ever lived."""

    def __init__(self, parameters: Simulation, rng: np.random.Generator) -> None:
        self.parameters = parameters
        self.rng = rng
        self.time_h = 0.0
        self.cells = _founders(parameters, rng)
        self.born = [self.cells.copy()]
        self.division_time_h: dict[int, float] = {}
        self._next = len(self.cells) + 1

    def advance(self, time_h: float, drift_um: np.ndarray) -> None:
        """Let the cells live until a time; forget those that are far away."""
        p = self.parameters
        span_h = time_h - self.time_h
        steps = math.ceil(span_h * p.growth_rate_per_h / _GROWTH_A_STEP)
        for _ in range(steps):
            self.time_h += span_h / steps
            self._grow()
            _move(self.cells, span_h / steps, p, self.rng)
            _push_apart(self.cells, cell_shapes(self.cells, self.time_h, p))
        self.time_h = time_h
        self._forget(drift_um)

    def _grow(self) -> None:
        """Bring every cell, and its daughters, to the present."""
        p = self.parameters
        while len(self.cells):
            due_h = _division_time(self.cells)
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


def _division_time(cells: np.ndarray) -> np.ndarray:
    return cells["birth_time_h"] + np.log(cells["division_size"] / cells["birth_size"]) / cells["growth_rate_per_h"]


def _set_out(cells: np.ndarray, p: Simulation, rng: np.random.Generator) -> None:
    """Draw what a cell gets at birth: rate, added size, share and texture."""
    n = len(cells)
    cells["growth_rate_per_h"] = _lognormal(p.growth_rate_per_h, p.growth_rate_cv, n, rng)
    cells["division_size"] = cells["birth_size"] + _lognormal(p.birth_size, p.added_size_cv, n, rng)
    cells["share"] = np.clip(rng.normal(0.5, p.share_sd, n), 0.4, 0.6)
    direction = rng.uniform(0, 2 * math.pi, (n, _WAVES))
    number = rng.uniform(1.2, 3.0, (n, _WAVES)) * 2 * math.pi / p.width_of_cell_um
    cells["waves"][..., 0] = number * np.cos(direction)
    cells["waves"][..., 1] = number * np.sin(direction)
    cells["waves"][..., 2] = rng.uniform(0, 2 * math.pi, (n, _WAVES))
    cells["nucleoli"] = rng.uniform(-0.55, 0.55, (n, _NUCLEOLI, 2))


def _founders(p: Simulation, rng: np.random.Generator) -> np.ndarray:
    n = p.founders
    cells = np.zeros(n, _CELL)
    cells["cell"] = np.arange(1, n + 1)
    cells["width_um"] = _lognormal(p.width_of_cell_um, p.width_of_cell_cv, n, rng)
    aspect = p.birth_length_um / p.width_of_cell_um
    cells["aspect"] = np.maximum(_lognormal(aspect, 0.1, n, rng), 1)
    cells["birth_size"] = _lognormal(p.birth_size, p.added_size_cv / math.sqrt(3), n, rng)
    cells["marker_au_per_um3"] = _lognormal(p.marker_au_per_um3, p.marker_cv, n, rng)
    _set_out(cells, p, rng)
    # in a growing population the young are twice as many as those about to divide
    age = -np.log2(1 - rng.uniform(0, 1, n) / 2)
    cycle_h = np.log(cells["division_size"] / cells["birth_size"]) / cells["growth_rate_per_h"]
    cells["birth_time_h"] = -age * cycle_h
    cells["activity"] = rng.normal(0, p.reporter_sd, n)
    memory = p.growth_rate_per_h * p.reporter_memory_h
    concentration = p.reporter_au_per_um3 * np.exp(cells["activity"] * memory / (1 + memory))
    cells["total_au"] = concentration * cell_shapes(cells, 0.0, p).volume_um3
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
    distance_um = _to_segment(along, others[:, 0], others[:, 1])[0].min()
    return distance_um > (width_um[cell] + width_um[: len(placed)].max()) / 2 * 1.05


def _to_segment(point, start, end):
    """Distance from points to segments, and the nearest points on them."""
    along = end - start
    length2 = np.maximum((along**2).sum(-1), 1e-12)
    share = np.clip(((point - start) * along).sum(-1) / length2, 0, 1)
    nearest = start + share[..., None] * along
    return np.sqrt(((point - nearest) ** 2).sum(-1)), nearest


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
    cells["total_au"] += production_rate(cells, middle, p) * span_h
    kept = np.exp(-span_h / p.reporter_memory_h)
    noise = rng.normal(0, 1, len(cells)) * p.reporter_sd * np.sqrt(1 - kept**2)
    cells["activity"] = cells["activity"] * kept + noise
    cells["clock_h"] = until_h


def production_rate(cells: np.ndarray, shapes: Shapes, parameters: Simulation) -> np.ndarray:
    """Reporter that each cell makes, in au/h: what keeps the mean concentration at the mean growth rate."""
    p = parameters
    mean = p.growth_rate_per_h * p.reporter_au_per_um3 * math.exp(-(p.reporter_sd**2) / 2)
    return mean * np.exp(cells["activity"]) * shapes.volume_um3


def _move(cells: np.ndarray, span_h: float, p: Simulation, rng: np.random.Generator) -> None:
    n = len(cells)
    if p.kind == "rod":
        cells["y_um"] += rng.normal(0, p.jitter_um_per_sqrt_h * math.sqrt(span_h), n)
        cells["x_um"] += rng.normal(0, p.jitter_um_per_sqrt_h * math.sqrt(span_h), n)
        cells["angle_rad"] += rng.normal(0, p.jitter_rad_per_sqrt_h * math.sqrt(span_h), n)
        return
    kept = math.exp(-span_h / p.persistence_h)
    for axis in ("y", "x"):
        velocity = cells[f"v{axis}_um_per_h"]
        velocity *= kept
        velocity += rng.normal(0, p.speed_um_per_h / math.sqrt(2) * math.sqrt(1 - kept**2), n)
        cells[f"{axis}_um"] += velocity * span_h
    cells["angle_rad"] += rng.normal(0, p.jitter_rad_per_sqrt_h * math.sqrt(span_h), n)


class _Contacts(NamedTuple):
    """Ends of cells `a` that are on or near the spines of cells `b`."""

    a: np.ndarray
    b: np.ndarray
    gap_um: np.ndarray  # below 0 where they overlap
    normal: np.ndarray  # from b to a, (n, 2)
    arm_a_um: np.ndarray  # how much of a turn of the cell opens the gap
    arm_b_um: np.ndarray


def _push_apart(cells: np.ndarray, shape: Shapes) -> None:
    """Move and turn overlapping cells as rigid bodies until hardly any overlap is left.

    The smallest displacement that opens all overlaps at once, as if every
    micrometre of cell met the same friction. Solving for all cells together
    is what lets a large colony spread as fast as it grows: passed on from
    neighbour to neighbour, the pressure of its middle takes hundreds of rounds
    to arrive at its rim.
    """
    if len(cells) < 2:
        return
    for _ in range(_ROUNDS):
        contacts = _contacts(cells, shape)
        if not len(contacts.gap_um) or contacts.gap_um.min() > -_OVERLAP_UM:
            return
        move = _displacement(contacts, shape.length_um)
        cells["y_um"] += np.clip(move[:, 0], -_LEAP_UM, _LEAP_UM)
        cells["x_um"] += np.clip(move[:, 1], -_LEAP_UM, _LEAP_UM)
        cells["angle_rad"] += np.clip(move[:, 2], -_LEAP_RAD, _LEAP_RAD)


def _contacts(cells: np.ndarray, shape: Shapes) -> _Contacts:
    # where two segments do not cross, an end of one is nearest to the other
    centre = np.stack([cells["y_um"], cells["x_um"]], axis=1)
    axis = np.stack([np.cos(cells["angle_rad"]), np.sin(cells["angle_rad"])], axis=1)
    spine = axis * (shape.length_um - shape.width_um)[:, None] / 2
    first, second = _neighbours(centre, shape.length_um)
    a = np.concatenate([first, first, second, second])
    b = np.concatenate([second, second, first, first])
    side = np.repeat([-1.0, 1.0, -1.0, 1.0], len(first))
    end = centre[a] + side[:, None] * spine[a]
    distance_um, nearest = _to_segment(end, centre[b] - spine[b], centre[b] + spine[b])
    normal = (end - nearest) / np.maximum(distance_um, 1e-9)[:, None]
    # an end that came out on the far side has to go back the way it came
    crossed = _crossed(centre, spine, first, second)
    least = distance_um.reshape(4, -1).argmin(axis=0)
    through = (np.arange(4)[:, None] == least) & crossed
    distance_um = np.where(through.ravel(), -distance_um, distance_um)
    normal[through.ravel()] *= -1
    gap_um = distance_um - (shape.width_um[a] + shape.width_um[b]) / 2
    near = (gap_um < 0.1 * shape.width_um.max()) & (through | ~crossed).ravel()
    a, b, normal = a[near], b[near], normal[near]
    arm_a_um, arm_b_um = _cross(end[near] - centre[a], normal), _cross(nearest[near] - centre[b], normal)
    return _Contacts(a, b, gap_um[near], normal, arm_a_um, arm_b_um)


def _crossed(centre: np.ndarray, spine: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether the spines of two cells run through each other."""
    between = centre[second] - centre[first]
    turned = _cross(spine[first], spine[second])
    turned[turned == 0] = np.nan  # parallel, or a cell that is round
    on_first, on_second = _cross(between, spine[second]) / turned, _cross(between, spine[first]) / turned
    return (np.abs(on_first) < 1) & (np.abs(on_second) < 1)


def _displacement(contacts: _Contacts, length_um: np.ndarray) -> np.ndarray:
    """Displacement (y, x, angle) of each cell that closes no gap and opens each overlap."""
    from scipy.sparse import csr_array, diags_array
    from scipy.sparse.linalg import splu

    n, count = len(length_um), len(contacts.gap_um)
    effect = np.column_stack([contacts.normal, contacts.arm_a_um, -contacts.normal, -contacts.arm_b_um])
    column = np.column_stack([3 * contacts.a[:, None] + np.arange(3), 3 * contacts.b[:, None] + np.arange(3)])
    opening = csr_array((effect.ravel(), column.ravel(), np.arange(0, 6 * count + 1, 6)), shape=(count, 3 * n))
    drag = length_um / length_um.mean()
    friction = diags_array(_SOFTNESS * np.column_stack([drag, drag, drag * length_um**2 / 12]).ravel(), format="csc")
    wanted_um = _OVERLAP_UM / 4 - contacts.gap_um
    presses = wanted_um > 0
    move = np.zeros(3 * n)
    for _ in range(_ROUNDS):
        active = opening[presses]
        stiffness = (friction + active.T @ active).tocsc()
        factors = splu(stiffness, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        move = factors.solve(active.T @ wanted_um[presses])
        before, presses = presses, opening @ move < wanted_um
        if (before == presses).all():
            break
    return move.reshape(n, 3)


def _neighbours(centre: np.ndarray, length_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.spatial import cKDTree

    pairs = cKDTree(centre).query_pairs(1.1 * length_um.max(), output_type="ndarray")
    first, second = pairs[:, 0], pairs[:, 1]
    apart = np.hypot(*(centre[first] - centre[second]).T)
    near = apart < 0.55 * (length_um[first] + length_um[second])
    return first[near], second[near]


def _cross(arm: np.ndarray, direction: np.ndarray) -> np.ndarray:
    # of (y, x) vectors, in the sense in which the angle from y towards x grows
    return arm[:, 0] * direction[:, 1] - arm[:, 1] * direction[:, 0]


class _Scene(NamedTuple):
    """What lies under the microscope at one moment; images with a rim around the field."""

    marker_au: np.ndarray
    reporter_au: np.ndarray
    thickness: np.ndarray  # over the width of the mean cell
    labels: np.ndarray  # of the field alone: row of the cell in the array of cells, from 1


def _scene(cells: np.ndarray, shape: Shapes, drift_um: np.ndarray, pad_px: int, p: Simulation) -> _Scene:
    size = (p.height_px + 2 * pad_px, p.width_px + 2 * pad_px)
    marker_au, reporter_au, thickness = (np.zeros(size, np.float32) for _ in range(3))
    depth_um = np.zeros(size, np.float32)
    labels = np.zeros(size, np.int32)
    height_um = p.width_of_cell_um if p.kind == "rod" else p.height_of_cell_um
    for row, cell in enumerate(cells):
        centre_px = (np.array([cell["y_um"], cell["x_um"]]) - drift_um) / p.pixel_size_um + pad_px
        drawn = _drawn(cell, Shapes(*(values[row] for values in shape)), centre_px, p)
        window, inner = _overlap(drawn.corner_px, drawn.thickness_um.shape, size)
        if window is None:
            continue
        density = drawn.thickness_um * drawn.texture
        density /= density.sum()
        density = density[inner]
        marker_au[window] += cell["marker_au_per_um3"] * shape.volume_um3[row] * density
        reporter_au[window] += cell["total_au"] * density
        thickness[window] += drawn.thickness_um[inner] / height_um
        deeper = drawn.depth_um[inner] < depth_um[window]
        depth_um[window][deeper] = drawn.depth_um[inner][deeper]
        labels[window][deeper] = row + 1
    field = labels[pad_px : pad_px + p.height_px, pad_px : pad_px + p.width_px]
    return _Scene(marker_au, reporter_au, thickness, field)


class _Drawn(NamedTuple):
    corner_px: tuple[int, int]
    thickness_um: np.ndarray  # mean over each pixel
    depth_um: np.ndarray  # signed distance to the outline, below 0 inside
    texture: np.ndarray


def _drawn(cell: np.void, shape: Shapes, centre_px: np.ndarray, p: Simulation) -> _Drawn:
    """One cell on pixels: thickness by the distance to its axis, smooth below a pixel."""
    pixel_um = p.pixel_size_um
    cos, sin = math.cos(cell["angle_rad"]), math.sin(cell["angle_rad"])
    half_um, radius_um = shape.length_um / 2, shape.width_um / 2
    reach_px = [(half_um - radius_um) * abs(part) / pixel_um + radius_um / pixel_um + 1.5 for part in (cos, sin)]
    corner = [math.floor(c - r) for c, r in zip(centre_px, reach_px, strict=True)]
    stop = [math.ceil(c + r) + 1 for c, r in zip(centre_px, reach_px, strict=True)]
    y_um = (np.arange(corner[0], stop[0])[:, None] - centre_px[0]) * pixel_um
    x_um = (np.arange(corner[1], stop[1])[None, :] - centre_px[1]) * pixel_um
    along_um, across_um = y_um * cos + x_um * sin, x_um * cos - y_um * sin
    if p.kind == "rod":
        thickness_um, depth_um = _rod_profile(along_um, across_um, shape, pixel_um)
    else:
        thickness_um, depth_um = _ellipse_profile(along_um, across_um, shape, pixel_um, p.height_of_cell_um)
    return _Drawn((corner[0], corner[1]), thickness_um, depth_um, _texture(cell, y_um, x_um, shape, p))


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
    texture = 1 + p.texture_cv * math.sqrt(2 / _WAVES) * waves
    if p.kind == "nucleus":
        u = (y_um * cos + x_um * sin) / (shape.length_um / 2)
        v = (x_um * cos - y_um * sin) / (shape.width_um / 2)
        # as the nucleus rounds up, chromatin condenses and nucleoli dissolve
        fade = 3 * p.texture_cv * (1 - shape.constriction)
        for at_u, at_v in cell["nucleoli"]:
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


class _Optics(NamedTuple):
    light: np.ndarray  # relative brightness of the lamp over the field, mean 1
    grain: np.ndarray  # relative brightness of the pad under phase contrast
    fluorescence: np.ndarray  # optical transfer functions, of the padded scene
    phase: np.ndarray
    pad_px: int


_WIDE_HALO = 3.0  # the faint outer part of a halo is that much wider than the bright inner one


def _optics(p: Simulation, rng: np.random.Generator) -> _Optics:
    from scipy.ndimage import gaussian_filter

    y = np.linspace(-1, 1, p.height_px, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, p.width_px, dtype=np.float32)[None, :]
    towards, off_y, off_x = rng.uniform(-math.pi, math.pi), *rng.uniform(-0.2, 0.2, 2)
    bowl = 1 - p.vignetting * ((y - off_y) ** 2 + (x - off_x) ** 2) / 2
    light = bowl * (1 + p.tilt / 2 * (y * math.cos(towards) + x * math.sin(towards)))
    noise = rng.standard_normal((p.height_px, p.width_px)).astype(np.float32)
    grain = gaussian_filter(noise, 0.3 / p.pixel_size_um) + 2 * gaussian_filter(noise, 1.0 / p.pixel_size_um)
    grain = 1 + p.phase_grain * grain / max(float(grain.std()), 1e-9)
    wide_um = max(p.psf_sigma_um, p.haze_sigma_um, _WIDE_HALO * p.halo_sigma_um if p.modality == "phase" else 0)
    pad_px = math.ceil(2.5 * wide_um / p.pixel_size_um)
    return _Optics(light / light.mean(), grain, *_transfer_functions(p, pad_px), pad_px)


def _transfer_functions(p: Simulation, pad_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Of fluorescence, and of phase contrast.

    The second makes a picture that looks like phase contrast: dark by
    thickness, bright around, lighter inside of a crowd. The ring of the
    condenser is stood for by two Gaussians; it is no theory of it.
    """
    sharp = _gaussian_transfer(p, pad_px, p.psf_sigma_um)
    haze = _gaussian_transfer(p, pad_px, p.haze_sigma_um)
    near = _gaussian_transfer(p, pad_px, p.halo_sigma_um)
    wide = _gaussian_transfer(p, pad_px, _WIDE_HALO * p.halo_sigma_um)
    fluorescence = (1 - p.haze_fraction) * sharp + p.haze_fraction * haze
    return fluorescence, p.halo_fraction * (0.75 * near + 0.25 * wide) - p.phase_contrast * sharp


def _gaussian_transfer(p: Simulation, pad_px: int, sigma_um: float) -> np.ndarray:
    from scipy.fft import next_fast_len

    rows, columns = (next_fast_len(size + 2 * pad_px, real=True) for size in (p.height_px, p.width_px))
    sigma_px = sigma_um / p.pixel_size_um
    along_y, along_x = np.fft.fftfreq(rows), np.fft.rfftfreq(columns)
    return np.exp(-2 * (math.pi * sigma_px) ** 2 * (along_y[:, None] ** 2 + along_x**2)).astype(np.float32)


def _stage_drift(p: Simulation, rng: np.random.Generator) -> np.ndarray:
    steps = rng.normal(0, p.drift_um_per_sqrt_h * math.sqrt(p.frame_interval_min / 60), (p.frames, 2))
    steps[0] = 0
    return steps.cumsum(axis=0)


def _images(scene: _Scene, optics: _Optics, p: Simulation) -> tuple[np.ndarray, np.ndarray]:
    """Light on the camera, in au above its offset, of both channels."""
    reporter_au = _seen(scene.reporter_au, optics.fluorescence, optics.pad_px, p)
    reporter_au = optics.light * (p.background_au + np.maximum(reporter_au, 0))
    if p.modality == "phase":
        contrast = _seen(scene.thickness, optics.phase, optics.pad_px, p)
        return p.phase_level_au * optics.light * optics.grain * np.maximum(1 + contrast, 0.12), reporter_au
    marker_au = _seen(scene.marker_au, optics.fluorescence, optics.pad_px, p)
    return optics.light * (p.background_au + np.maximum(marker_au, 0)), reporter_au


def _seen(scene: np.ndarray, transfer: np.ndarray, pad_px: int, p: Simulation) -> np.ndarray:
    """The field, after the scene with its rim went through the optics."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    size = [next_fast_len(length, real=True) for length in scene.shape]
    image = irfft2(rfft2(scene, s=size) * transfer, s=size)
    return image[pad_px : pad_px + p.height_px, pad_px : pad_px + p.width_px]


def camera_counts(light_au: np.ndarray, parameters: Simulation, rng: np.random.Generator) -> np.ndarray:
    """What the camera counts: shot noise, read noise, offset, whole counts, a largest value.

    Parameters
    ----------
    light_au : array of shape (y, x)
        Mean signal above the offset, in counts, not below 0.
    parameters : Simulation
        Of which those of the camera are used.
    rng : numpy.random.Generator
        Random numbers.

    Returns
    -------
    array of shape (y, x), uint16
        Counts. The variance at a mean signal m is
        m / electrons_per_au + (read_noise_e / electrons_per_au)^2 + 1/12.
    """
    p = parameters
    electrons = rng.poisson(light_au * p.electrons_per_au).astype(np.float32)
    electrons += p.read_noise_e * rng.standard_normal(light_au.shape, dtype=np.float32)
    counts = np.rint(electrons / p.electrons_per_au + p.offset_au)
    return np.clip(counts, 0, 2**p.bits - 1).astype(np.uint16)


def _truth_of_frame(
    frame: int,
    time_h: float,
    cells: np.ndarray,
    shape: Shapes,
    labels: np.ndarray,
    drift_um: np.ndarray,
    p: Simulation,
) -> pd.DataFrame:
    """One row for every cell with a pixel in the field."""
    area_px = np.bincount(labels.ravel(), minlength=len(cells) + 1)[1:]
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    age_h = np.where(cells["parent"] > 0, time_h - cells["birth_time_h"], np.nan)
    y_um, x_um = cells["y_um"] - drift_um[0], cells["x_um"] - drift_um[1]
    rows = pd.DataFrame(
        {
            "frame": frame,
            "time_h": time_h,
            "cell": cells["cell"],
            "parent": cells["parent"],
            "age_h": age_h,
            "y_px": y_um / p.pixel_size_um,
            "x_px": x_um / p.pixel_size_um,
            "y_um": y_um,
            "x_um": x_um,
            "y_aligned_um": cells["y_um"],
            "x_aligned_um": cells["x_um"],
            "area_px": area_px,
            "area_um2": shape.area_um2,
            "length_um": shape.length_um,
            "width_um": shape.width_um,
            "orientation_rad": (cells["angle_rad"] + math.pi / 2) % math.pi - math.pi / 2,
            "volume_um3": shape.volume_um3,
            "growth_rate_per_h": cells["growth_rate_per_h"],
            "total_au": cells["total_au"],
            "concentration_au_per_um3": cells["total_au"] / shape.volume_um3,
            "production_rate_au_per_h": production_rate(cells, shape, p),
            "flag_border": np.isin(np.arange(1, len(cells) + 1), edge),
        }
    )
    return rows[area_px > 0]


def number_labels(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Labels with the number of the cell in place of its row.

    Parameters
    ----------
    labels : array of shape (y, x), int
        Row of the cell, from 1; 0 is background.
    numbers : array of shape (cells,), int
        Number of the cell of each row; 0 for one that is not seen.

    Returns
    -------
    array of shape (y, x), uint16

    Raises
    ------
    OverflowError
        If a number is above 65,535.
    """
    largest = numbers.max(initial=0)
    if largest > np.iinfo(np.uint16).max:
        raise OverflowError(f"{largest} cells are seen; labels of 16 bits can number 65535, simulate fewer frames")
    return np.concatenate([[0], numbers])[labels].astype(np.uint16)


def _with_numbers(cells: pd.DataFrame, numbers: dict[int, int]) -> pd.DataFrame:
    """Number cells from 1 as they come into sight; a mother that never did is unknown."""
    cells["cell"] = cells["cell"].map(numbers).astype("Int32")
    cells["parent"] = cells["parent"].map(numbers).astype("Int32")
    cells["flag_border"] = cells["flag_border"].astype("boolean")
    return cells.astype({"frame": "Int32", "area_px": "Int32"}).sort_values(["frame", "cell"], ignore_index=True)


def _lineage_of(
    cells: pd.DataFrame, colony: _Colony, numbers: dict[int, int], times_h: np.ndarray, p: Simulation
) -> pd.DataFrame:
    born = np.concatenate(colony.born)
    born = born[np.isin(born["cell"], list(numbers))]
    number = np.array([numbers[cell] for cell in born["cell"].tolist()], int)
    born, number = born[np.argsort(number)], np.sort(number)
    seen = cells.groupby("cell")["frame"].agg(["min", "max"]).reindex(number)
    division_time_h = np.array([colony.division_time_h.get(cell, np.nan) for cell in born["cell"].tolist()])
    birth_time_h = np.where(born["parent"] > 0, born["birth_time_h"], np.nan)
    divided = ~np.isnan(division_time_h)
    first, last = seen["min"].to_numpy(int), seen["max"].to_numpy(int)
    birth_frame, division_frame = _next_frame(times_h, birth_time_h), _next_frame(times_h, division_time_h)
    sizes = _sizes_at(born, born["birth_time_h"], ~np.isnan(birth_time_h), "birth", p)
    sizes |= _sizes_at(born, _division_time(born), divided, "division", p)
    size_birth = np.where(np.isnan(birth_time_h), np.nan, born["birth_size"])
    size_division = np.where(divided, born["division_size"], np.nan)
    # a division out of sight is not the end of what was seen
    in_sight = divided & (last + 1 == np.where(divided, division_frame, -1))
    born_in_sight = (birth_frame == first) & ~np.isnan(birth_time_h)
    return pd.DataFrame(
        {
            "cell": pd.array(number, "Int32"),
            "parent": pd.Series(born["parent"]).map(numbers).astype("Int32"),
            "generation": pd.array(born["generation"], "Int32"),
            "first_frame": pd.array(first, "Int32"),
            "last_frame": pd.array(last, "Int32"),
            "start": np.select([first == 0, born_in_sight], ["movie_start", "division"], "entered"),
            "end": np.select([in_sight, last == p.frames - 1], ["division", "movie_end"], "left"),
            "birth_frame": _frames_or_null(birth_frame),
            "division_frame": _frames_or_null(division_frame),
            "birth_time_h": birth_time_h,
            "division_time_h": division_time_h,
            "cycle_time_h": division_time_h - birth_time_h,
            "growth_rate_per_h": born["growth_rate_per_h"],
            "size_birth": size_birth,
            "size_division": size_division,
            "added_size": size_division - size_birth,
            "division_ratio": np.where(np.isnan(birth_time_h), np.nan, born["birth_share"]),
            **sizes,
        }
    )


def _next_frame(times_h: np.ndarray, event_h: np.ndarray) -> np.ndarray:
    frame = np.searchsorted(times_h, event_h).astype(float)
    return np.where(np.isnan(event_h), np.nan, frame)


def _frames_or_null(frame: np.ndarray) -> pd.arrays.IntegerArray:
    return pd.array(pd.Series(frame).astype("Int32"))


def _sizes_at(cells: np.ndarray, time_h: np.ndarray, known: np.ndarray, event: str, p: Simulation) -> dict:
    shape = cell_shapes(cells, time_h, p)
    values = {"length_{}_um": shape.length_um, "area_{}_um2": shape.area_um2, "volume_{}_um3": shape.volume_um3}
    return {name.format(event): np.where(known, value, np.nan) for name, value in values.items()}


def write_movie(path: str | os.PathLike, simulated: SimulatedMovie) -> None:
    """Write the movie as an OME-TIFF, axes TCYX, with scale, times and names of channels.

    Parameters
    ----------
    path : path
        File to write; it appears only when it is complete.
    simulated : SimulatedMovie
        What to write.
    """
    import tifffile

    p = simulated.parameters
    frames, channels = simulated.movie.shape[:2]
    times_s = np.repeat(np.arange(frames) * p.frame_interval_min * 60, channels)
    metadata = {
        "axes": "TCYX",
        # of the content, so that the same movie is the same file
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"cytolapse {simulated.seed} {p}")),
        "Channel": {"Name": list(p.channels)},
        "PhysicalSizeX": p.pixel_size_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": p.pixel_size_um,
        "PhysicalSizeYUnit": "µm",
        "TimeIncrement": p.frame_interval_min,
        "TimeIncrementUnit": "min",
        "Plane": {"DeltaT": times_s.tolist(), "DeltaTUnit": ["s"] * len(times_s)},
    }
    pixels_a_cm = 1e4 / p.pixel_size_um
    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            simulated.movie,
            ome=True,
            photometric="minisblack",
            compression="deflate",
            resolution=(pixels_a_cm, pixels_a_cm),
            resolutionunit="CENTIMETER",
            metadata=metadata,
            software="Cytolapse",
        )


def write_annotations(folder: str | os.PathLike, simulated: SimulatedMovie, frames: Iterable[int]) -> list[Path]:
    """Write frames of the channel to segment with their true outlines, to train from.

    Parameters
    ----------
    folder : path
        Gets images/NAME.tif and masks/NAME.tif, where NAME says the seed and
        the frame.
    simulated : SimulatedMovie
        Where the frames are taken from.
    frames : iterable of int
        Frames to write.

    Returns
    -------
    list of Path
        The images.

    Raises
    ------
    ValueError
        If there is no such frame.
    """
    import tifffile

    images, masks = Path(folder) / "images", Path(folder) / "masks"
    written = []
    for frame in frames:
        if not 0 <= frame < len(simulated.movie):
            raise ValueError(
                f"there is no frame {frame}; the simulated movie has frames 0 to {len(simulated.movie) - 1}"
            )
        name = f"seed{simulated.seed:04d}_t{frame:03d}.tif"
        for place, image in ((images, simulated.movie[frame, 0]), (masks, simulated.labels[frame])):
            place.mkdir(parents=True, exist_ok=True)
            with atomic_path(place / name) as temporary:
                tifffile.imwrite(temporary, image, compression="deflate")
        written.append(images / name)
    return written
