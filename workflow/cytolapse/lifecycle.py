"""How a simulated cell grows from birth to division, and when it divides.

Growth is exponential at a rate that may rise or fall with age, and that may
change for all cells at one time. In yeast a mother and her bud grow together
exponentially, and all of it goes into the bud; once it has left her, it grows
by itself until it buds, and keeps its size from then on. All of it is solved
in closed form, so that truth knows no steps.
"""

import math

import numpy as np

from cytolapse.scenarios import Simulation


def lognormal(mean: float | np.ndarray, cv: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random numbers above 0 of a mean and a coefficient of variation, shape (count,)."""
    variance = math.log1p(cv**2)
    return mean * np.exp(rng.normal(-variance / 2, math.sqrt(variance), count))


def division_sizes(
    birth_size: np.ndarray, rate_per_h: np.ndarray, parameters: Simulation, rng: np.random.Generator
) -> np.ndarray:
    """The sizes at which cells will divide, by the rule of the scenario [1]_.

    Parameters
    ----------
    birth_size, rate_per_h : array of shape (n,)
        Of each cell.
    parameters : Simulation
        Its `division_rule` and `division_cv` are used. An adder adds the mean
        size at birth, a sizer divides at twice that; a timer divides after
        its own doubling time, so that its sizes wander off with the
        generations. In yeast birth is when a cell leaves her mother, division
        her first bud, and twice is `fold` times.
    rng : numpy.random.Generator

    References
    ----------
    .. [1] Jun, S. & Taheri-Araghi, S. Cell-size maintenance: universal
       strategy revealed. Trends Microbiol. 23, 4-6 (2015).
    """
    p, n = parameters, len(birth_size)
    if p.division_rule == "adder":
        return birth_size + lognormal((p.fold - 1) * p.birth_size, p.division_cv, n, rng)
    if p.division_rule == "sizer":
        # one born above that size divides as soon as it can
        return np.maximum(lognormal(p.fold * p.birth_size, p.division_cv, n, rng), 1.1 * birth_size)
    age_h = lognormal(math.log(p.fold) / rate_per_h, p.division_cv, n, rng)
    return birth_size * np.exp(_grown(age_h, rate_per_h, p))


def sizes(cells: np.ndarray, time_h: float | np.ndarray, parameters: Simulation) -> np.ndarray:
    """Size of cells at a time, in the unit of what grows, from birth on.

    Parameters
    ----------
    cells : structured array of shape (n,)
        Cells of a colony.
    time_h : float or array of shape (n,)
        Time since the first frame.
    parameters : Simulation
    """
    age_h = _own_time(time_h, parameters) - _own_time(cells["birth_time_h"], parameters)
    if parameters.kind == "yeast":
        return _sizes_of_yeast(cells, age_h)
    return cells["birth_size"] * np.exp(_grown(age_h, cells["growth_rate_per_h"], parameters))


def growth_rates(cells: np.ndarray, time_h: float | np.ndarray, parameters: Simulation) -> np.ndarray:
    """d ln(size)/dt of cells at a time, per hour; parameters as of `sizes`."""
    p = parameters
    age_h = _own_time(time_h, p) - _own_time(cells["birth_time_h"], p)
    rate_per_h = cells["growth_rate_per_h"]
    pace = np.where(_shifted(time_h, p), p.shift_factor, 1.0)
    if p.kind == "yeast":
        parting_h, budding_h = _ages_of_yeast(cells)
        of_pair_per_h = rate_per_h * cells["host_size"] * np.exp(rate_per_h * np.minimum(age_h, parting_h))
        of_bud_per_h = of_pair_per_h / _sizes_of_yeast(cells, age_h)
        return pace * np.select([age_h < parting_h, age_h < budding_h], [of_bud_per_h, rate_per_h], 0.0)
    return pace * rate_per_h * (1 + p.growth_trend * (age_h * rate_per_h / math.log(2) - 0.5))


def division_times(cells: np.ndarray, parameters: Simulation) -> np.ndarray:
    """When each cell divides, in yeast buds first, in hours since the first frame, from its sizes and growth."""
    p = parameters
    if p.kind == "yeast":
        return _clock_time(_own_time(cells["birth_time_h"], p) + _ages_of_yeast(cells)[1], p)
    rate_per_h = cells["growth_rate_per_h"]
    wanted = np.log(cells["division_size"] / cells["birth_size"])
    slope = p.growth_trend * rate_per_h**2 / (2 * math.log(2))
    start = rate_per_h * (1 - p.growth_trend / 2)
    age_h = 2 * wanted / (start + np.sqrt(np.maximum(start**2 + 4 * slope * wanted, 0)))
    return _clock_time(_own_time(cells["birth_time_h"], p) + age_h, p)


def parting_times(cells: np.ndarray, parameters: Simulation) -> np.ndarray:
    """When each cell of yeast leaves her mother, in hours since the first frame."""
    return _clock_time(_own_time(cells["birth_time_h"], parameters) + _ages_of_yeast(cells)[0], parameters)


def next_bud_times(buds: np.ndarray, rest_h: np.ndarray, parameters: Simulation) -> np.ndarray:
    """When the next bud of each bud's mother emerges.

    Parameters
    ----------
    buds : structured array of shape (n,)
        The buds before.
    rest_h : array of shape (n,)
        Of the mothers, from when a bud leaves until the next emerges, by the
        clock of the cells.
    parameters : Simulation
    """
    p = parameters
    return _clock_time(_own_time(buds["birth_time_h"], p) + _ages_of_yeast(buds)[0] + rest_h, p)


def _ages_of_yeast(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ages, in own time, at which cells leave their mothers and bud first."""
    rate_per_h = cells["growth_rate_per_h"]
    parting_h = np.log1p((cells["parting_size"] - cells["birth_size"]) / cells["host_size"]) / rate_per_h
    return parting_h, parting_h + np.log(cells["division_size"] / cells["parting_size"]) / rate_per_h


def _sizes_of_yeast(cells: np.ndarray, age_h: np.ndarray) -> np.ndarray:
    rate_per_h = cells["growth_rate_per_h"]
    parting_h, budding_h = _ages_of_yeast(cells)
    as_bud = cells["birth_size"] + cells["host_size"] * np.expm1(rate_per_h * np.clip(age_h, 0, parting_h))
    alone_h = np.clip(age_h, parting_h, budding_h) - parting_h
    return as_bud * np.exp(rate_per_h * alone_h)


def _grown(age_h: np.ndarray, rate_per_h: np.ndarray, p: Simulation) -> np.ndarray:
    """ln(size over size at birth) at an age in own time."""
    doublings = age_h * rate_per_h / math.log(2)
    return age_h * rate_per_h * (1 + p.growth_trend * (doublings - 1) / 2)


def _shifted(time_h: float | np.ndarray, p: Simulation) -> np.ndarray:
    return (p.shift_time_h > 0) & (np.asarray(time_h) >= p.shift_time_h)


def _own_time(time_h: float | np.ndarray, p: Simulation) -> np.ndarray:
    """Time by the cells' clock, which changes its pace at the shift."""
    after_h = p.shift_time_h + p.shift_factor * (np.asarray(time_h) - p.shift_time_h)
    return np.where(_shifted(time_h, p), after_h, time_h)


def _clock_time(own_h: np.ndarray, p: Simulation) -> np.ndarray:
    return np.where(_shifted(own_h, p), p.shift_time_h + (own_h - p.shift_time_h) / p.shift_factor, own_h)
