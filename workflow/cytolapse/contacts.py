"""Cells that touch: found, and moved and turned until they hardly overlap.

A cell is a stick of some width: a spine between two ends, and half the width
around it. It is pushed as a rigid body; a bud and its mother are pushed as one.
"""

from typing import NamedTuple

import numpy as np

_OVERLAP_UM = 0.01  # overlap that is let stand; a tenth of a usual pixel
_ROUNDS = 8  # at most, of pushing apart, a step
_LEAP_UM, _LEAP_RAD = 0.5, 0.2  # at most, of one cell, a round
_SOFTNESS = 1e-6  # of contacts, against the friction of a cell on its ground


class Bonds(NamedTuple):
    """Cells that hang on others, arrays of shape (n,)."""

    a: np.ndarray  # row of the one that carries
    b: np.ndarray  # row of the one that hangs on it, along the way out
    site_rad: np.ndarray  # from the axis of a to the way out
    arm_um: np.ndarray  # from the middle of a to that of b

    def place(self, cells: np.ndarray) -> None:
        """Put those that hang where they belong."""
        off_um, towards = self._off_um(cells), cells["angle_rad"][self.a] + self.site_rad
        cells["y_um"][self.b] += off_um[:, 0]
        cells["x_um"][self.b] += off_um[:, 1]
        cells["angle_rad"][self.b] = towards

    def _off_um(self, cells: np.ndarray) -> np.ndarray:
        arm_um = self.arms_um(cells)
        place_um = np.stack([cells[f"{axis}_um"][self.a] + arm_um[:, i] for i, axis in enumerate("yx")], axis=1)
        return place_um - np.stack([cells["y_um"][self.b], cells["x_um"][self.b]], axis=1)

    def arms_um(self, cells: np.ndarray) -> np.ndarray:
        """From a to b, (n, 2)."""
        towards = cells["angle_rad"][self.a] + self.site_rad
        return self.arm_um[:, None] * np.stack([np.cos(towards), np.sin(towards)], axis=1)


_NO_BONDS = Bonds(*(np.empty(0, np.int64),) * 2, *(np.empty(0),) * 2)


def push_apart(cells: np.ndarray, length_um: np.ndarray, width_um: np.ndarray, bonds: Bonds = _NO_BONDS) -> None:
    """Move and turn overlapping cells as rigid bodies until hardly any overlap is left.

    The smallest displacement that opens all overlaps at once, as if every
    micrometre of cell met the same friction. Solving for all cells together
    is what lets a large colony spread as fast as it grows: passed on from
    neighbour to neighbour, the pressure of its middle takes hundreds of rounds
    to arrive at its rim.

    Parameters
    ----------
    cells : structured array of shape (n,)
        Fields y_um, x_um and angle_rad (from the y axis towards x), which are
        changed in place.
    length_um, width_um : array of shape (n,)
        Of each cell.
    bonds : Bonds
        Cells that hang on others; they are put where they belong, and stay there.
    """
    bonds.place(cells)
    if len(cells) < 2:
        return
    for _ in range(_ROUNDS):
        contacts = _contacts(cells, length_um, width_um, bonds)
        if not len(contacts.gap_um) or contacts.gap_um.min() > -_OVERLAP_UM:
            return
        move = _displacement(contacts, length_um, bonds, bonds.arms_um(cells))
        cells["y_um"] += np.clip(move[:, 0], -_LEAP_UM, _LEAP_UM)
        cells["x_um"] += np.clip(move[:, 1], -_LEAP_UM, _LEAP_UM)
        cells["angle_rad"] += np.clip(move[:, 2], -_LEAP_RAD, _LEAP_RAD)
        bonds.place(cells)


class _Contacts(NamedTuple):
    """Ends of cells `a` that are on or near the spines of cells `b`."""

    a: np.ndarray
    b: np.ndarray
    gap_um: np.ndarray  # below 0 where they overlap
    normal: np.ndarray  # from b to a, (n, 2)
    arm_a_um: np.ndarray  # how much of a turn of the cell opens the gap
    arm_b_um: np.ndarray


def _contacts(cells: np.ndarray, length_um: np.ndarray, width_um: np.ndarray, bonds: Bonds) -> _Contacts:
    # where two segments do not cross, an end of one is nearest to the other
    centre = np.stack([cells["y_um"], cells["x_um"]], axis=1)
    axis = np.stack([np.cos(cells["angle_rad"]), np.sin(cells["angle_rad"])], axis=1)
    spine = axis * (length_um - width_um)[:, None] / 2
    first, second = _neighbours(centre, length_um)
    if len(bonds.a):
        hang = np.minimum(bonds.a, bonds.b) * len(cells) + np.maximum(bonds.a, bonds.b)
        free = ~np.isin(np.minimum(first, second) * len(cells) + np.maximum(first, second), hang)
        first, second = first[free], second[free]
    a = np.concatenate([first, first, second, second])
    b = np.concatenate([second, second, first, first])
    side = np.repeat([-1.0, 1.0, -1.0, 1.0], len(first))
    end = centre[a] + side[:, None] * spine[a]
    distance_um, nearest = distance_to_segments(end, centre[b] - spine[b], centre[b] + spine[b])
    normal = (end - nearest) / np.maximum(distance_um, 1e-9)[:, None]
    # an end that came out on the far side has to go back the way it came
    crossed = _crossed(centre, spine, first, second)
    least = distance_um.reshape(4, -1).argmin(axis=0)
    through = (np.arange(4)[:, None] == least) & crossed
    distance_um = np.where(through.ravel(), -distance_um, distance_um)
    normal[through.ravel()] *= -1
    gap_um = distance_um - (width_um[a] + width_um[b]) / 2
    near = (gap_um < 0.1 * width_um.max()) & (through | ~crossed).ravel()
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


def _displacement(contacts: _Contacts, length_um: np.ndarray, bonds: Bonds, arm_um: np.ndarray) -> np.ndarray:
    """Displacement (y, x, angle) of each cell that closes no gap, opens each overlap and keeps each bond."""
    from scipy.sparse import csr_array, diags_array
    from scipy.sparse.linalg import splu

    n, count = len(length_um), len(contacts.gap_um)
    effect = np.column_stack([contacts.normal, contacts.arm_a_um, -contacts.normal, -contacts.arm_b_um])
    column = np.column_stack([3 * contacts.a[:, None] + np.arange(3), 3 * contacts.b[:, None] + np.arange(3)])
    opening = csr_array((effect.ravel(), column.ravel(), np.arange(0, 6 * count + 1, 6)), shape=(count, 3 * n))
    drag = length_um / length_um.mean()
    friction = diags_array(_SOFTNESS * np.column_stack([drag, drag, drag * length_um**2 / 12]).ravel(), format="csc")
    kept = _rigid(bonds, arm_um, n)
    wanted_um = _OVERLAP_UM / 4 - contacts.gap_um
    presses = wanted_um > 0
    move = np.zeros(3 * n)
    for _ in range(_ROUNDS):
        active = opening[presses]
        stiffness = (friction + active.T @ active + kept.T @ kept).tocsc()
        factors = splu(stiffness, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        move = factors.solve(active.T @ wanted_um[presses])
        before, presses = presses, opening @ move < wanted_um
        if (before == presses).all():
            break
    return move.reshape(n, 3)


def _rigid(bonds: Bonds, arm_um: np.ndarray, n: int):
    """What a displacement must leave at 0: a bond moves and turns as one body."""
    from scipy.sparse import csr_array

    count = len(bonds.a)
    row = np.arange(3 * count).reshape(3, count)
    turn = [-arm_um[:, 1], arm_um[:, 0]]
    entries = []
    for axis in range(3):
        # of an angle: the way that the middle of b goes by it
        weight = np.ones(count) if axis < 2 else bonds.arm_um
        entries += [(row[axis], 3 * bonds.a + axis, -weight), (row[axis], 3 * bonds.b + axis, weight)]
        if axis < 2:
            entries.append((row[axis], 3 * bonds.a + 2, -turn[axis]))
    rows, columns, values = (np.concatenate(each) for each in zip(*entries, strict=True))
    return csr_array((values, (rows, columns)), shape=(3 * count, 3 * n))


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


def distance_to_segments(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance from points to segments, and the nearest points on them.

    Parameters
    ----------
    point, start, end : arrays of shape (..., 2) that broadcast
        Points, and the ends of the segments; (y, x).

    Returns
    -------
    distance : array of shape (...)
    nearest : array of shape (..., 2)
    """
    along = end - start
    length2 = np.maximum((along**2).sum(-1), 1e-12)
    share = np.clip(((point - start) * along).sum(-1) / length2, 0, 1)
    nearest = start + share[..., None] * along
    return np.sqrt(((point - nearest) ** 2).sum(-1)), nearest
