"""What a simulated cell is: its record, and its shape at a moment."""

import math
from typing import NamedTuple

import numpy as np

from cytolapse.lifecycle import sizes
from cytolapse.rods import rod_area, rod_length, rod_volume
from cytolapse.scenarios import Simulation

WAVES, SPOTS, OUTLINE_WAVES = 6, 2, 4

CELL = np.dtype(
    [
        ("cell", "i8"),
        ("parent", "i8"),
        ("generation", "i4"),
        ("birth_time_h", "f8"),
        ("birth_size", "f8"),
        ("division_size", "f8"),  # in yeast the size from the first bud on
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
        ("nuclear_bias", "f8"),  # own ratio of nucleus to cytoplasm over the mean one
        ("waves", "f8", (WAVES, 3)),
        ("spots", "f8", (SPOTS, 2)),  # nucleoli; in yeast the nucleus and the vacuole
        ("bend_rad", "f8"),  # from pole to pole
        ("outline", "f8", (OUTLINE_WAVES, 2)),  # cosine and sine of the waves in the outline
        ("host", "i8"),  # the mother that a bud hangs on, 0 once it has left her
        ("host_size", "f8"),
        ("parting_size", "f8"),  # at which a bud leaves
        ("neck_rad", "f8"),  # from the mother's long axis to where the bud hangs
        ("next_bud_h", "f8"),  # when her next bud emerges
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
    if parameters.kind == "yeast":
        return _yeast(cells, size, parameters)
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


def _yeast(cells: np.ndarray, size: np.ndarray, p: Simulation) -> Shapes:
    # ellipsoid of revolution about its long axis: volume = 2/3 area width
    aspect = cells["aspect"]
    width_um = np.sqrt(4 / math.pi * size / aspect) if p.grows == "area" else np.cbrt(6 / math.pi * size / aspect)
    area_um2 = math.pi / 4 * aspect * width_um**2
    none, half = np.zeros(len(cells)), np.full(len(cells), 0.5)
    return Shapes(aspect * width_um, width_um, area_um2, area_um2 * width_um * 2 / 3, none, half)
