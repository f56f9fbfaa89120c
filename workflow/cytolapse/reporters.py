"""Reporters of simulated cells: made, matured, bleached, and where in the cell they are."""

import math
from typing import NamedTuple

import numpy as np

from cytolapse.bodies import Shapes, cell_shapes
from cytolapse.lifecycle import growth_rates, lognormal, sizes
from cytolapse.scenarios import Simulation

# Of yeast: the nucleus over the cell, in width, and from when on a bud has one, in parts of its size when it leaves.
_NUCLEUS_WIDTH = 0.42
_NUCLEUS_REACH = 0.3
_NUCLEUS_COMES = 0.8


def set_founders_light(cells: np.ndarray, parameters: Simulation, rng: np.random.Generator) -> None:
    """Give founders their reporter: what cells of steady production would have."""
    p, n = parameters, len(cells)
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


def express(cells: np.ndarray, until_h: np.ndarray, parameters: Simulation, rng: np.random.Generator) -> None:
    """Make reporter until a time, and let it mature.

    Parameters
    ----------
    cells : structured array of shape (n,)
        Changed in place.
    until_h : array of shape (n,)
        Since the first frame, not before each cell's clock.
    parameters : Simulation
    rng : numpy.random.Generator
        Of the fluctuations of production.
    """
    p = parameters
    span_h = until_h - cells["clock_h"]
    middle_h = cells["clock_h"] + span_h / 2
    made_au = production_rate(cells, cell_shapes(cells, middle_h, p), middle_h, p) * span_h
    if p.maturation_h:
        cells["dark_au"] += made_au
        made_au = cells["dark_au"] * -np.expm1(-span_h / p.maturation_h)
        cells["dark_au"] -= made_au
    cells["total_au"] += made_au
    kept = np.exp(-span_h / p.reporter_memory_h)
    noise = rng.normal(0, 1, len(cells)) * p.reporter_sd * np.sqrt(1 - kept**2)
    cells["activity"] = cells["activity"] * kept + noise
    cells["clock_h"] = until_h


def production_rate(
    cells: np.ndarray, shapes: Shapes, time_h: float | np.ndarray, parameters: Simulation
) -> np.ndarray:
    """Reporter that each cell makes, in au/h: what keeps the mean concentration.

    Rods and nuclei make it in proportion to their volume. Yeast makes it as it
    grows: what a mother makes goes into her bud, as all that the two grow by.

    Parameters
    ----------
    cells : structured array of shape (n,)
    shapes : Shapes
        Of these cells at the time.
    time_h : float or array of shape (n,)
        Since the first frame.
    parameters : Simulation
    """
    p = parameters
    of_mean = p.reporter_au_per_um3 * math.exp(-(p.reporter_sd**2) / 2) * np.exp(cells["activity"])
    rate_per_h = p.growth_rate_per_h
    if p.kind == "yeast":
        rate_per_h = growth_rates(cells, time_h, p) * (1.0 if p.grows == "volume" else 1.5)
    return of_mean * rate_per_h * shapes.volume_um3 * cells["makes_reporter"]


def nuclear_ratios(cells: np.ndarray, time_h: float, parameters: Simulation) -> np.ndarray:
    """Concentration of the reporter in each nucleus over that around it, at a time."""
    p = parameters
    ratio = p.nuclear_ratio
    if p.translocation_time_h and time_h >= p.translocation_time_h:
        since_h = time_h - p.translocation_time_h
        left = math.exp(-since_h / p.translocation_h) if p.translocation_h else 0.0
        ratio = p.translocated_ratio + (p.nuclear_ratio - p.translocated_ratio) * left
    return ratio * cells["nuclear_bias"]


def draw_nuclear_bias(count: int, parameters: Simulation, rng: np.random.Generator) -> np.ndarray:
    """Own ratio of nucleus to cytoplasm over the mean one, of new cells."""
    return lognormal(1.0, parameters.nuclear_ratio_cv, count, rng)


class Nuclei(NamedTuple):
    """Nuclei within cells of yeast; each an array of shape (n,)."""

    radius_um: np.ndarray  # 0 where there is none
    along_um: np.ndarray  # from the middle of the cell, along its long axis
    across_um: np.ndarray


def nuclei_of_yeast(cells: np.ndarray, shapes: Shapes, time_h: float, parameters: Simulation) -> Nuclei:
    """The nucleus in each cell; a bud gets its own shortly before it leaves."""
    grown = sizes(cells, time_h, parameters) >= _NUCLEUS_COMES * cells["parting_size"]
    radius_um = np.where(grown, _NUCLEUS_WIDTH * shapes.width_um / 2, 0.0)
    off = _NUCLEUS_REACH * cells["spots"][:, 0] / np.abs(cells["spots"]).max(initial=1e-9)
    return Nuclei(radius_um, off[:, 0] * shapes.length_um / 2, off[:, 1] * shapes.width_um / 2)


class Compartments(NamedTuple):
    """Reporter in the parts of cells; each an array of shape (n,), NaN where there is no nucleus."""

    ratio: np.ndarray
    nucleus_au_per_px: np.ndarray
    cytoplasm_au_per_px: np.ndarray
    nucleus_total_au: np.ndarray


def compartments_of(cells: np.ndarray, shapes: Shapes, time_h: float, parameters: Simulation) -> Compartments:
    """Light of nucleus and cytoplasm, each even, as an optical section shows them."""
    p, pixel_um2 = parameters, parameters.pixel_size_um**2
    if p.kind == "yeast":
        nucleus_px = math.pi * nuclei_of_yeast(cells, shapes, time_h, p).radius_um ** 2 / pixel_um2
        cytoplasm_px = shapes.area_um2 / pixel_um2 - nucleus_px
    else:
        nucleus_px = shapes.area_um2 / pixel_um2
        rim_um = 2 * p.cytoplasm_um
        cell_um2 = math.pi / 4 * (shapes.length_um + rim_um) * (shapes.width_um + rim_um)
        cytoplasm_px = cell_um2 / pixel_um2 - nucleus_px
    ratio = np.where(nucleus_px > 0, nuclear_ratios(cells, time_h, p), np.nan)
    around_au = cells["total_au"] / (cytoplasm_px + np.nan_to_num(ratio) * nucleus_px)
    return Compartments(ratio, ratio * around_au, around_au, ratio * around_au * nucleus_px)
