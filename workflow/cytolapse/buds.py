"""Buds: whose a small cell is that appears beside others."""

import numpy as np

from cytolapse.linkedcells import Cells, reach_um, typical_step_um

# A bud is watched beside its mother for so many frames, as long as it is small.
_BESIDE_FRAMES = 12
# From so many intervals from bud to bud on it is known what is usual.
_FEWEST_INTERVALS = 5


def bud_deviations(cells: Cells, mother: np.ndarray, sister: np.ndarray, newborn: np.ndarray) -> np.ndarray:
    """Sum of squared deviations from a bud at the rim of a mother that stays.

    A bud is small when it is first seen, and keeps to the rim of its mother
    while it is; she is grown, and stays.

    Parameters
    ----------
    cells : Cells
    mother, sister, newborn : int arrays of shape (n,)
        Rows of the mother before the bud and beside it, and of the bud.

    Returns
    -------
    array of shape (n,)
    """
    position, area = cells.position_um, cells.area_um2
    radius = np.sqrt(area / np.pi)
    gap_um, grown = _beside(cells, sister, newborn)
    moved = np.linalg.norm(position[sister] - position[mother], axis=1)
    deviations = [
        gap_um / (0.1 * radius[sister]),
        moved / np.hypot(radius[mother], 1.5 * typical_step_um(cells)),
        np.log(area[sister] / area[mother]) / 0.25,
        # A mother hardly grows beside her bud, which takes all that the two grow by.
        grown.clip(0) / 0.2,
        # A bud that is seen first at more than half of its mother was there before.
        (np.log(area[newborn] / area[sister]) - np.log(0.5)).clip(0) / 0.15,
        # What is less than half of most cells is a bud itself.
        (np.log(np.median(area) / area[sister]) - np.log(2)).clip(0) / 0.3,
        # The edge of the frame lets cells in, and cuts off what they are judged by.
        3.0 * cells.border[newborn],
    ]
    return sum(deviation**2 for deviation in deviations)


def _beside(cells: Cells, mother: np.ndarray, bud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far a bud stays from the rim of a cell, or how deep within it, and by how much ln(area) of the cell grows.

    Over the frames from the bud's first on in which it is small: many a cell
    lies beside it when it is first seen, but from all but its mother it grows
    away, or into them. The first is a root mean square in um, the second the
    change from the first frame to the last. Each of shape (n,).
    """
    gaps, grown = [], np.zeros(len(mother))
    for later in range(_BESIDE_FRAMES):
        one, other = mother + later, bud + later
        seen = (one <= cells.last[cells.track[mother]]) & (other <= cells.last[cells.track[bud]])
        one, other = np.where(seen, one, mother), np.where(seen, other, bud)
        seen &= cells.frame[one] == cells.frame[other]
        seen &= (later == 0) | (cells.area_um2[other] < cells.area_um2[one] / 2)
        way_um = cells.position_um[other] - cells.position_um[one]
        apart_um = np.linalg.norm(way_um, axis=1)
        towards = way_um / np.maximum(apart_um, 1e-9)[:, None]
        gap_um = apart_um - reach_um(cells, one, towards) - reach_um(cells, other, -towards)
        gaps.append(np.where(seen, gap_um**2, np.nan))
        grown = np.where(seen, np.log(cells.area_um2[one] / cells.area_um2[mother]), grown)
    return np.sqrt(np.nanmean(np.reshape(gaps, (_BESIDE_FRAMES, -1)), axis=0)), grown


def choose_buds(
    cells: Cells,
    mother: np.ndarray,
    newborn: np.ndarray,
    score: np.ndarray,
    *,
    min_daughter_frames: int,
    min_division_score: float,
) -> np.ndarray:
    """The pairs of mother and bud that do not contradict each other.

    A cell is born once. No mother has two buds within half of the usual time
    from one bud to the next, and none buds that early after her own birth; the
    usual time is the median of what is found without that rule, which is not
    used before five intervals are known. The best pairs win, one at a time;
    then a bud whose mothers are all taken gets one of them, if the bud that
    took her can have another.

    Parameters
    ----------
    cells : Cells
    mother, newborn : int arrays of shape (n,)
        Rows of all pairs that are possible.
    score : array of shape (n,)
    min_daughter_frames, min_division_score
        As for `find_divisions`.

    Returns
    -------
    int array
        Indices of the pairs.
    """
    believed = np.flatnonzero(score >= min_division_score)
    # Ties are settled by where the cells stand, so that a run repeats.
    order = believed[np.lexsort((newborn[believed], -score[believed]))].tolist()
    pairs = {each: (int(cells.track[mother[each]]), int(cells.track[newborn[each]])) for each in order}
    frame = {each: int(cells.frame[newborn[each]]) for each in order}
    chosen = _consistent(order, pairs, frame, min_daughter_frames)
    interval = np.diff(sorted((pairs[each][0], frame[each]) for each in chosen), axis=0).reshape(-1, 2)
    interval = interval[interval[:, 0] == 0, 1]
    if len(interval) >= _FEWEST_INTERVALS:
        usual = int(np.ceil(np.median(interval) / 2))
        chosen = _consistent(order, pairs, frame, max(usual, min_daughter_frames))
    return np.array(chosen, np.int64)


def _consistent(
    order: list[int], pairs: dict[int, tuple[int, int]], frame: dict[int, int], apart_frames: int
) -> list[int]:
    """Pairs without contradictions, of those in `order`, best first; each is tracks of mother and bud."""
    of_track: dict[int, set[int]] = {}
    of_bud: dict[int, list[int]] = {}

    def against(one: int) -> set[int]:
        rivals = set().union(*(of_track.get(track, ()) for track in pairs[one]))
        return {
            other
            for other in rivals
            if pairs[other][1] == pairs[one][1] or abs(frame[other] - frame[one]) < apart_frames
        }

    def take(one: int) -> None:
        for track in pairs[one]:
            of_track.setdefault(track, set()).add(one)

    def leave(one: int) -> None:
        for track in pairs[one]:
            of_track[track].discard(one)

    for one in order:
        of_bud.setdefault(pairs[one][1], []).append(one)
        if not against(one):
            take(one)
    for one in order:
        rivals = against(one)
        if len(rivals) != 1 or pairs[next(iter(rivals))][1] == pairs[one][1]:
            continue
        (rival,) = rivals
        leave(rival)
        take(one)
        another = [each for each in of_bud[pairs[rival][1]] if each != rival and not against(each)]
        if another:
            take(another[0])
        else:
            leave(one)
            take(rival)
    taken = set().union(*of_track.values()) if of_track else set()
    return [one for one in order if one in taken]
