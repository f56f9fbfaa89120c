"""Geometry of a rod that constricts: one spherocylinder on its way to two.

Constriction runs from 0, a whole rod, to 1, two rods that touch at their
poles. Length, area and volume of the one pass into the sums of the two
without a step.
"""

import math

import numpy as np


def rod_area(
    length_um: float | np.ndarray, radius_um: float | np.ndarray, constriction: float | np.ndarray
) -> float | np.ndarray:
    """Area of a rod seen from above, in square micrometres.

    Parameters
    ----------
    length_um, radius_um : float or array of shape (n,)
        From pole to pole, and of the unconstricted rod.
    constriction : float or array of shape (n,)
        0 to 1.
    """
    return 2 * radius_um * (length_um - 2 * radius_um) + math.pi * radius_um**2 - _area_lost(radius_um, constriction)


def rod_volume(
    length_um: float | np.ndarray, radius_um: float | np.ndarray, constriction: float | np.ndarray
) -> float | np.ndarray:
    """Volume of a rod, in cubic micrometres; parameters as of `rod_area`."""
    return math.pi * radius_um**2 * (length_um - 2 / 3 * radius_um) - _volume_lost(radius_um, constriction)


def rod_length(
    size: float | np.ndarray, radius_um: float | np.ndarray, constriction: float | np.ndarray, quantity: str
) -> float | np.ndarray:
    """Length of the rod of a given size, in micrometres.

    Parameters
    ----------
    size : float or array of shape (n,)
        In um, um2 or um3.
    radius_um, constriction : float or array of shape (n,)
        As of `rod_area`.
    quantity : {'length', 'area', 'volume'}
        What the size is.
    """
    if quantity == "length":
        return size
    if quantity == "area":
        lost_um2 = _area_lost(radius_um, constriction)
        return (size + lost_um2 - math.pi * radius_um**2) / (2 * radius_um) + 2 * radius_um
    return (size + _volume_lost(radius_um, constriction)) / (math.pi * radius_um**2) + 2 / 3 * radius_um


def _area_lost(radius_um, constriction):
    # two more half circles, where there was a square, once the rod is two
    return constriction * (4 - math.pi) * radius_um**2


def _volume_lost(radius_um, constriction):
    # pi (r^2 - w^2) over the two waists of width w = (1-c) r + c sqrt(r^2 - (r-d)^2), d from 0 to r
    kept = (1 - constriction) ** 2 + (1 - constriction) * constriction * math.pi / 2 + constriction**2 * 2 / 3
    return 2 * math.pi * radius_um**3 * (1 - kept)
