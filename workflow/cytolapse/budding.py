"""Buds of simulated yeast: where they emerge, and how they hang on their mothers."""

import math

import numpy as np

from cytolapse.bodies import Shapes
from cytolapse.contacts import Bonds, distance_to_segments
from cytolapse.lifecycle import parting_times, sizes
from cytolapse.scenarios import Simulation

_SITES = 12  # that a mother chooses among, for the one with most room
_SINKS_IN = 0.08  # of a bud's half length, into its mother: the neck


def new_buds(
    mothers: np.ndarray,
    time_h: np.ndarray,
    among: np.ndarray,
    shapes: Shapes,
    parameters: Simulation,
    rng: np.random.Generator,
) -> np.ndarray:
    """Buds at the moment when they emerge; what they are made of comes from their mothers.

    Rates, sizes to come and textures are not set yet.

    Parameters
    ----------
    mothers : structured array of shape (n,)
        Their light is changed in place.
    time_h : array of shape (n,)
        When each bud emerges.
    among : structured array of shape (m,)
        All cells there are; a bud emerges where they leave most room.
    shapes : Shapes
        Of all of them.
    parameters : Simulation
    rng : numpy.random.Generator

    Returns
    -------
    structured array of shape (n,)
    """
    p, n = parameters, len(mothers)
    buds = mothers.copy()
    buds["parent"] = buds["host"] = mothers["cell"]
    buds["generation"] += 1
    buds["birth_time_h"] = buds["clock_h"] = time_h
    buds["host_size"] = sizes(mothers, time_h, p)
    part = p.bud_width ** (2 if p.grows == "area" else 3)
    buds["birth_size"] = part * buds["host_size"]
    share = np.clip(rng.normal(p.bud_share, p.share_sd, n), p.bud_share / 2, 1.5 * p.bud_share)
    buds["parting_size"] = share * buds["host_size"]
    buds["birth_share"] = np.nan
    for pool in ("total_au", "dark_au"):
        buds[pool] = p.bud_width**3 * mothers[pool]
        mothers[pool] -= buds[pool]
    rows = np.searchsorted(among["cell"], mothers["cell"])
    buds["neck_rad"] = _roomiest_sites(rows, among, shapes, rng)
    return buds


def _roomiest_sites(rows: np.ndarray, cells: np.ndarray, shapes: Shapes, rng: np.random.Generator) -> np.ndarray:
    """Of some places on the rim of each of some cells the one that others are farthest from, as an angle."""
    centre_um = np.stack([cells["y_um"], cells["x_um"]], axis=1)
    axis = np.stack([np.cos(cells["angle_rad"]), np.sin(cells["angle_rad"])], axis=1)
    spine_um = axis * ((shapes.length_um - shapes.width_um) / 2)[:, None]
    chosen = np.empty(len(rows))
    for place, row in enumerate(rows.tolist()):
        sites = rng.uniform(-math.pi, math.pi, _SITES)
        radius_um = _reach(shapes, row, sites)
        towards = cells["angle_rad"][row] + sites
        # where a grown bud would lie
        out_um = radius_um + shapes.width_um[row] / 3
        at_um = centre_um[row] + out_um[:, None] * np.stack([np.cos(towards), np.sin(towards)], axis=1)
        near = np.flatnonzero(np.hypot(*(centre_um - centre_um[row]).T) < 3 * shapes.length_um.max())
        near = near[near != row]
        clear_um = np.full(_SITES, np.inf)
        if len(near):
            start, end = centre_um[near] - spine_um[near], centre_um[near] + spine_um[near]
            apart_um = distance_to_segments(at_um[:, None], start, end)[0]
            clear_um = (apart_um - shapes.width_um[near] / 2).min(axis=1)
        # beyond its own width more room is no better
        chosen[place] = sites[np.argmax(np.minimum(clear_um, shapes.width_um[row] / 2))]
    return chosen


def _reach(shapes: Shapes, rows: int | np.ndarray, site_rad: np.ndarray) -> np.ndarray:
    """From the middle of an ellipse to its rim, at angles from its long axis."""
    long_um, short_um = shapes.length_um[rows] / 2, shapes.width_um[rows] / 2
    return long_um * short_um / np.hypot(short_um * np.cos(site_rad), long_um * np.sin(site_rad))


def part_from_mothers(cells: np.ndarray, time_h: float, parameters: Simulation) -> None:
    """Let buds go that are grown enough, or whose mothers are out of sight for good."""
    hanging = np.flatnonzero(cells["host"])
    leaves = parting_times(cells[hanging], parameters) <= time_h
    leaves |= ~np.isin(cells["host"][hanging], cells["cell"])
    cells["host"][hanging[leaves]] = 0


def hang_buds(cells: np.ndarray, shapes: Shapes) -> Bonds:
    """Where each bud has to be beside its mother.

    Parameters
    ----------
    cells : structured array of shape (n,)
        In the order of their numbers.
    shapes : Shapes
        Of these cells.
    """
    bud = np.flatnonzero(cells["host"])
    mother = np.searchsorted(cells["cell"], cells["host"][bud])
    site = cells["neck_rad"][bud]
    arm_um = _reach(shapes, mother, site) + (1 - _SINKS_IN) * shapes.length_um[bud] / 2
    return Bonds(mother, bud, site, arm_um)
