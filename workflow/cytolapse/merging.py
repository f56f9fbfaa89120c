"""Masks that hold two cells for a while, and cells drawn as two: who is who behind them.

Where two cells touch, segmentation may draw them as one and part them again
later. To a linker one of the two has gone, and the other divides. Two masks
that become one are told by their sizes: the one is as large as both and lies
between them. What parts from it later is the cell that went into it, and no
daughter.
"""

from typing import NamedTuple

import numpy as np

from cytolapse.linkedcells import Cells, rows_near, typical_growth_sd, typical_step_um, with_tracks

# Masks that become one lie within this many typical cell lengths of each other.
_REACH_LENGTHS = 2.0
# d ln(area) that one frame may bring to any mask, whatever the movie.
_AREA_SD = 0.1
# Sum of squares by which the masks must agree better with one that holds both than with two cells,
# and the most by which either sum may be off.
_EVIDENCE = 6.0
_MISFIT = 9.0
# Masks that become one touch, or nearly: their centres are no farther apart than this part of their half lengths.
_TOUCHING = 1.2
# What is far from expected is as good as any other that is.
_LARGEST_SQUARE = 16.0


class Joints(NamedTuple):
    """Places where one mask holds what two masks hold in the frame before or after, arrays of shape (n,).

    Attributes
    ----------
    whole : int array
        Row of the one mask.
    stays : int array
        Row of that part that carries the same track, or is to carry it.
    part : int array
        Row of the other part, whose track ends or begins here, or has a gap.
    evidence : array
        How much better the three fit one mask that holds both than two cells.
    """

    whole: np.ndarray
    stays: np.ndarray
    part: np.ndarray
    evidence: np.ndarray


class Merged(NamedTuple):
    """A cell within another one's mask: rows of `Cells`, -1 where there is none.

    Attributes
    ----------
    hidden_before, other_before : int
        The last rows of the hidden cell and of the other before their masks
        became one.
    hidden_after, other_after : int
        Their first rows afterwards; -1 where they do not part again.
    """

    hidden_before: int
    other_before: int
    hidden_after: int
    other_after: int


class _Birth(NamedTuple):
    """The row in which a cell parted from another, and the other's number."""

    row: int
    mother: int


class Threads(NamedTuple):
    """Tracks followed through masks that hold two cells.

    Attributes
    ----------
    track : int array of shape (n,)
        New number of each row's track; -1 for a piece of a cell that was drawn
        as two.
    merged : list of Merged
    pieces : int array of shape (m, 2)
        Row of each such piece and row of the cell that it belongs to.
    """

    track: np.ndarray
    merged: list[Merged]
    pieces: np.ndarray


def find_joints(cells: Cells, *, later: bool) -> Joints:
    """Where two masks become one, or one mask becomes two.

    Every track that ends, or pauses, may have gone into a neighbour's mask;
    every one that begins may have come out of it. Two readings are compared:
    that the one mask holds both (its area is their sum, its middle theirs), and
    that it is the neighbour alone (area and middle unchanged). Each is a sum of
    squares in units of what is usual in this movie.

    Parameters
    ----------
    cells : Cells
    later : bool
        Whether the one mask comes later (two become one) or earlier (one
        becomes two).
    """
    step = 1 if later else -1
    nothing = np.empty(0, np.int64)
    if len(cells.frame) < 3:
        return Joints(nothing, nothing, nothing, np.empty(0))
    follower = _follower(cells, step)
    edge = np.flatnonzero(follower < 0)
    reach_um = _REACH_LENGTHS * 2 * float(np.median(cells.half_length_um))
    place, stays = rows_near(cells, np.arange(len(cells.frame)), cells.frame[edge], cells.position_um[edge], reach_um)
    part = edge[place]
    goes_on = follower[stays] >= 0
    known = (follower[stays[goes_on]], stays[goes_on], part[goes_on])
    # Where the linker lost both, one of the two carries on, the larger one.
    lost = (follower[stays] < 0) & (cells.area_um2[stays] >= cells.area_um2[part]) & (stays != part)
    unknown = _wholes_between(cells, stays[lost], part[lost], _follower(cells, -step) < 0, step, reach_um)
    whole, stays, part = (np.concatenate(pair) for pair in zip(known, unknown, strict=True))
    evidence, fits = _evidence(cells, whole, stays, part, np.arange(len(whole)) < len(known[0]))
    return _best(cells, Joints(whole[fits], stays[fits], part[fits], evidence[fits]))


def _follower(cells: Cells, step: int) -> np.ndarray:
    """Row of the same track in the next frame (step 1) or the one before (-1); -1 where there is none."""
    row = np.arange(len(cells.frame))
    other = np.clip(row + step, 0, len(row) - 1)
    there = (cells.track[other] == cells.track) & (cells.frame[other] == cells.frame + step)
    return np.where(there, other, -1)


def _wholes_between(
    cells: Cells, stays: np.ndarray, part: np.ndarray, lone: np.ndarray, step: int, reach_um: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks without a past (or future) of their own, about the middle of two that have no future (or past)."""
    middle_um = _middle_um(cells, stays, part)
    pair, whole = rows_near(cells, np.flatnonzero(lone), cells.frame[part] + step, middle_um, reach_um)
    return whole, stays[pair], part[pair]


def _middle_um(cells: Cells, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Centroid of two masks together."""
    weight = (cells.area_um2[one] / (cells.area_um2[one] + cells.area_um2[other]))[:, None]
    return weight * cells.position_um[one] + (1 - weight) * cells.position_um[other]


def _evidence(
    cells: Cells, whole: np.ndarray, stays: np.ndarray, part: np.ndarray, followed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How much better one mask for both fits, and whether that is good enough to be believed."""
    position, area, half = cells.position_um, cells.area_um2, cells.half_length_um
    area_sd = np.hypot(_AREA_SD, 2 * typical_growth_sd(cells))
    usual_um = np.hypot(0.1 * half[whole], 1.5 * typical_step_um(cells))
    squares = lambda ratio, way_um: (np.log(ratio) / area_sd) ** 2 + (way_um / usual_um) ** 2  # noqa: E731
    both = squares(
        (area[stays] + area[part]) / area[whole],
        np.linalg.norm(_middle_um(cells, stays, part) - position[whole], axis=1),
    )
    alone = squares(area[stays] / area[whole], np.linalg.norm(position[stays] - position[whole], axis=1))
    # A mask that comes out of nowhere is as unlikely as one far from expected.
    evidence = np.where(followed, np.minimum(alone, _LARGEST_SQUARE), _LARGEST_SQUARE) - both
    apart_um = np.linalg.norm(position[stays] - position[part], axis=1)
    near = apart_um < _TOUCHING * (half[stays] + half[part])
    return evidence, (evidence > _EVIDENCE) & (both < _MISFIT) & near


def _best(cells: Cells, joints: Joints) -> Joints:
    """Joints that do not contradict each other, best first: a part joins once, a whole carries one track on."""
    taken_part, carries, chosen = set(), {}, []
    for index in np.lexsort((joints.part, -joints.evidence)).tolist():
        whole, stays, part = (int(rows[index]) for rows in joints[:3])
        if part in taken_part or stays in taken_part or part in carries.values():
            continue
        if carries.setdefault(whole, stays) != stays:
            continue
        taken_part.add(part)
        chosen.append(index)
    return Joints(*(values[np.array(chosen, np.int64)] for values in joints))


def follow_through(cells: Cells, *, division: str, max_repair_frames: int) -> Threads:
    """Tracks that go on behind masks that hold two cells, and without the pieces of cells drawn as two.

    The cell that went into a mask last comes out of it first. Which of the two
    is which is settled by where they lay and how large they were. A piece that
    parts from a cell and goes back into it within `max_repair_frames` never
    was a cell. Where it comes out again, either two were drawn as one or one
    was drawn as two before it divided: what calls fewer masks wrong is
    believed, and of as many the later parting. A bud is there once it is seen.

    Parameters
    ----------
    cells : Cells
    division : {'fission', 'budding'}
    max_repair_frames : int
        Frames that a piece may be seen for, 0 or more.
    """
    merges, partings = find_joints(cells, later=True), find_joints(cells, later=False)
    track = cells.track.copy()
    inside: dict[int, list[tuple[int, int]]] = {}
    births: dict[int, _Birth] = {}
    merged, pieces = [], []

    def never_two(number: int, visible: int, part: int) -> bool:
        """Whether a cell that comes out of another in this row, and was born of it, was one with it until here."""
        birth = births.get(number)
        if birth is None or birth.mother != visible or division != "fission":
            return False
        since = cells.frame[part] - cells.frame[birth.row]
        apart = len(_beside(cells, track, number, birth, cells.frame[part]))
        return apart <= min(since - apart, max_repair_frames)

    def undo_birth(number: int, part: int) -> None:
        """Make what a cell had of masks before this row pieces of its mother, or hers; it is born of her here."""
        birth = births[number]
        pieces.extend(_beside(cells, track, number, birth, cells.frame[part]))
        until = (cells.frame >= cells.frame[birth.row]) & (cells.frame < cells.frame[part])
        alone = (track == number) & until
        alone[[piece for piece, _ in pieces]] = False
        track[alone] = birth.mother
        births[number] = _Birth(part, birth.mother)

    events = [(int(cells.frame[row]), 1, index) for index, row in enumerate(merges.whole)]
    events += [(int(cells.frame[row]), 0, index) for index, row in enumerate(partings.part)]
    for _, is_merge, index in sorted(events):
        joints = merges if is_merge else partings
        whole, stays, part = (int(rows[index]) for rows in joints[:3])
        if is_merge:
            _hand_on(cells, track, whole, int(track[stays]))
            number, visible = int(track[part]), int(track[whole])
            waiting = inside.setdefault(visible, [])
            waiting += inside.pop(number, [])
            if part < cells.last[cells.track[part]] and never_two(number, visible, part + 1):
                # The linker knows it again on the other side. It has been no cell until there.
                undo_birth(number, part + 1)
            else:
                waiting.append((part, stays))
        elif waiting := _still_inside(cells, inside.get(int(track[whole]), []), part):
            visible = int(track[whole])
            before, other = waiting.pop()
            inside[visible] = waiting
            hidden = int(track[before])
            # Where the mask that it went into has itself gone into another one, the two are not this pair.
            pair = track[other] == visible
            if pair and never_two(hidden, visible, part):
                undo_birth(hidden, part)
                _hand_on(cells, track, stays, visible)
                _hand_on(cells, track, part, hidden)
            elif pair and never_two(visible, hidden, part):
                # It is the mother that is hidden, in the mask of what parted from her.
                undo_birth(visible, part)
                inside.setdefault(hidden, []).extend(inside.pop(visible))
                _hand_on(cells, track, stays, hidden)
                _hand_on(cells, track, part, visible)
            else:
                if _swapped(cells, before, other, part, stays):
                    _hand_on(cells, track, stays, hidden)
                    _hand_on(cells, track, part, visible)
                    inside[hidden] = inside.pop(visible)
                    part, stays = stays, part
                else:
                    _hand_on(cells, track, stays, visible)
                    _hand_on(cells, track, part, hidden)
                merged.append(Merged(before, other, part, stays))
        else:
            births[int(track[part])] = _Birth(part, int(track[whole]))
    for visible, waiting in inside.items():
        for before, other in _still_inside(cells, waiting, int(cells.frame.argmax())):
            number = int(track[before])
            birth = births.get(number, _Birth(before, -1))
            if birth.mother == visible and cells.frame[before] - cells.frame[birth.row] < max_repair_frames:
                pieces += _beside(cells, track, number, birth, np.inf)
            else:
                merged.append(Merged(before, other, -1, -1))
    pieces = list(dict.fromkeys(pieces))
    track, undone = _without_contradictions(cells, track, np.array(pieces, np.int64).reshape(-1, 2))
    merged = [each for each in merged if not undone[[row for row in each if row >= 0]].any()]
    pieces = [pair for pair in pieces if not undone[list(pair)].any()]
    for piece, _ in pieces:
        track[piece] = -1
    return Threads(track, merged, np.array(pieces, np.int64).reshape(-1, 2))


def _without_contradictions(cells: Cells, track: np.ndarray, pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The threads without those that would be in two places at once, and which rows were taken back to their tracks.

    Where little can be followed, joints that fit one by one need not fit together.
    """
    undone = np.zeros(len(track), bool)
    while True:
        track = np.where(undone, cells.track, track)
        cells_own = np.ones(len(track), bool)
        cells_own[pieces[~undone[pieces].any(axis=1), 0]] = False
        rows = np.flatnonzero(cells_own)
        rows = rows[np.lexsort((cells.frame[rows], track[rows]))]
        twice = (np.diff(track[rows]) == 0) & (np.diff(cells.frame[rows]) == 0)
        if not twice.any():
            return track, undone
        numbers = track[rows[1:][twice]]
        undone |= np.isin(track, numbers) | np.isin(cells.track, numbers)


def _still_inside(cells: Cells, waiting: list[tuple[int, int]], part: int) -> list[tuple[int, int]]:
    """Those that the linker has not found again before this part came out."""
    still = []
    for before, other in waiting:
        back = before + 1
        found = before < cells.last[cells.track[before]] and cells.frame[back] <= cells.frame[part]
        if not found or back == part:
            still.append((before, other))
    return still


def _hand_on(cells: Cells, track: np.ndarray, row: int, number: int) -> None:
    """Give a number to a raw track from one of its rows on."""
    track[row : cells.last[cells.track[row]] + 1] = number


def _swapped(cells: Cells, hidden: int, other: int, part: int, stays: int) -> bool:
    """Whether it is rather the other one that came out than the hidden one."""
    usual_um = np.hypot(0.35 * cells.half_length_um[hidden], 1.5 * typical_step_um(cells))
    area_sd = np.hypot(_AREA_SD, 2 * typical_growth_sd(cells))

    def squares(one: int, another: int) -> float:
        way_um = np.linalg.norm(cells.position_um[one] - cells.position_um[another])
        # The longer ago, the less is known of where they went and how they grew.
        frames = max(abs(int(cells.frame[another] - cells.frame[one])), 1)
        return (way_um / usual_um) ** 2 / frames + (
            np.log(cells.area_um2[one] / cells.area_um2[another]) / area_sd
        ) ** 2 / frames

    return squares(hidden, part) + squares(other, stays) > squares(hidden, stays) + squares(other, part)


def _beside(cells: Cells, track: np.ndarray, number: int, birth: _Birth, until: float) -> list[tuple[int, int]]:
    """Rows of a cell from its birth until before a frame, where its mother is seen beside it, each with hers."""
    hers = {int(cells.frame[row]): int(row) for row in np.flatnonzero(track == birth.mother)}
    own = np.flatnonzero((track == number) & (cells.frame >= cells.frame[birth.row]) & (cells.frame < until))
    return [(int(row), hers[int(cells.frame[row])]) for row in own if int(cells.frame[row]) in hers]


def without_pieces(cells: Cells, threads: Threads) -> tuple[Cells, np.ndarray]:
    """The cells under their threads, and the new row of every old one (-1 for pieces)."""
    rows = np.flatnonzero(threads.track >= 0)
    order = rows[np.lexsort((cells.frame[rows], threads.track[rows]))]
    row_of = np.full(len(cells.frame), -1, np.int64)
    row_of[order] = np.arange(len(order))
    return with_tracks(cells, threads.track), row_of
