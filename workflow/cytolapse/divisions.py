"""Divisions: who is whose daughter.

A division is looked for wherever a track begins: beside it must be the sister,
which either carries the mother's number on or begins a track too, and between
them, just before, the mother. The better the three agree in place, size and
light, the higher the score.
"""

from typing import NamedTuple

import numpy as np

from cytolapse.buds import bud_deviations, choose_buds
from cytolapse.linkedcells import Cells, begins_track, rows_near, typical_step_um

# Sisters lie within this many typical cell lengths of each other.
_REACH_LENGTHS = 3.0
# A mother's size is that of her last frames: she condenses in the very last.
_LATE_FRAMES = 6
# Scores are exp(-sum(z**2) / (2 * _TERMS)): one term at one standard deviation costs 12 %.
_TERMS = 4
# What divisions of a movie have in common is learned from so many that are beyond doubt, at least.
_LEAST_DIVISIONS, _BEYOND_DOUBT = 8, 0.5
# ln of the size that daughters come to varies by this much at least.
_REGAINED_SD = 0.15


class Divisions(NamedTuple):
    """Divisions as rows of `Cells`, arrays of shape (n,).

    Attributes
    ----------
    mother : int array
        The mother's last row before the division.
    sister : int array
        In fission the first row of the daughter that carries the mother's
        number on, or of one that begins a track; in budding the mother's first
        row beside the bud.
    newborn : int array
        The first row of the daughter that begins a track; in budding the bud.
    score : array
        0 to 1.
    """

    mother: np.ndarray
    sister: np.ndarray
    newborn: np.ndarray
    score: np.ndarray


def find_divisions(
    cells: Cells,
    *,
    frames: int,
    division: str,
    division_window_frames: int,
    min_daughter_frames: int,
    min_division_score: float,
) -> Divisions:
    """The divisions that raw tracks hold.

    Every track that begins after the first frame may be a daughter. Of all
    mothers and sisters around it, the best scores win, one at a time; a cell
    is born once and divides once.

    Fission: both daughters lie about the mother's last place; together they
    are as large as she was within her last three frames; they are like in
    size, no larger than most cells, near each other, but not so near as the
    halves of one round mask would be. Masks are at their worst in the frame of
    the division itself: where the next one fits better, the daughters count as
    seen there, a frame late. Budding: see `bud_deviations` and `choose_buds`.

    Every term is a deviation in units of what is usual (`_fission_deviations`,
    `bud_deviations`), and the score is exp(-sum of squares / 8). It is a
    ranking and not a probability. Neither brightness nor texture nor
    the mother's shape in mitosis is used.

    Parameters
    ----------
    cells : Cells
    frames : int
        Frames of the movie.
    division : {'fission', 'budding'}
    division_window_frames : int
        Frames within which mother and both daughters must be seen, 1 or more;
        1 wants both daughters in the frame after the mother's last. Each
        frame beyond that halves the score. Budding ignores it.
    min_daughter_frames : int
        Frames that a daughter must be followed for, 1 or more, unless the
        movie ends; also the least number of frames between two divisions.
    min_division_score : float
        Score from which a division is believed, 0 to 1.

    Returns
    -------
    Divisions

    Raises
    ------
    ValueError
        If `division` is neither.
    """
    if division not in ("fission", "budding"):
        raise ValueError(f"division is {division!r}; it must be 'fission' or 'budding' (column division of the sheet)")
    window_frames = division_window_frames if division == "fission" else 1
    mother, sister, newborn = _candidates(
        cells,
        frames=frames,
        window_frames=window_frames,
        min_daughter_frames=min_daughter_frames,
        mother_may_end=division == "fission",
    )
    deviations = _fission_deviations if division == "fission" else bud_deviations
    score = np.exp(-deviations(cells, mother, sister, newborn) / (2 * _TERMS))
    all_divisions = Divisions(mother, sister, newborn, score)
    if division == "budding":
        chosen = choose_buds(
            cells,
            mother,
            newborn,
            score,
            min_daughter_frames=min_daughter_frames,
            min_division_score=min_division_score,
        )
        return Divisions(*(values[chosen] for values in all_divisions))
    least = {"min_daughter_frames": min_daughter_frames, "min_division_score": min_division_score}
    clear = choose_divisions(cells, all_divisions, **{**least, "min_division_score": _BEYOND_DOUBT})
    unusual = _unlike_others(cells, all_divisions, clear)
    all_divisions = all_divisions._replace(score=score * np.exp(-(unusual**2) / (2 * _TERMS)))
    return choose_divisions(cells, all_divisions, **least)


def _unlike_others(cells: Cells, divisions: Divisions, clear: Divisions) -> np.ndarray:
    """Deviation of what daughters grow to from what is usual at the same age in this movie; 0 where nothing is known.

    How soon a nucleus unfolds, and how far cells grow in six frames, depends
    on the cells and on the interval; that the pieces of a dead one hardly grow
    does not, nor that what was cut in vain becomes as large as a whole.
    """
    usual, own = _regained(cells, clear), _regained(cells, divisions)
    unusual = np.zeros(len(own))
    age = np.isfinite(own).sum(axis=1)
    for frames in range(1, _LATE_FRAMES + 1):
        known = usual[np.isfinite(usual[:, frames - 1]), frames - 1]
        if len(known) >= _LEAST_DIVISIONS:
            median = np.median(known)
            sd = max(1.4826 * np.median(np.abs(known - median)), _REGAINED_SD)
            these = age == frames
            unusual[these] = (own[these, frames - 1] - median) / sd
    return unusual


def _regained(cells: Cells, divisions: Divisions) -> np.ndarray:
    """ln of both daughters' largest areas within 1 to 6 frames over the mother's of late; NaN from where one ends."""
    area, last = cells.area_um2, cells.last[cells.track]
    mother, sister, newborn = divisions[:3]
    largest, regained = np.zeros((2, len(mother))), np.full((len(mother), _LATE_FRAMES), np.nan)
    hers = _largest_of_late(cells, area, mother)
    for later in range(_LATE_FRAMES):
        rows = np.stack([sister, newborn]) + later
        seen = (rows <= last[np.stack([sister, newborn])]).all(axis=0)
        largest = np.maximum(largest, area[np.minimum(rows, len(area) - 1)])
        regained[seen, later] = np.log(largest.sum(axis=0) / hers)[seen]
    return regained


def _candidates(
    cells: Cells, *, frames: int, window_frames: int, min_daughter_frames: int, mother_may_end: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of all mothers, sisters and newborns close enough to be worth a score."""
    nothing = np.empty(0, np.int64)
    if not len(cells.frame):
        return nothing, nothing, nothing
    # Frames left to the track from each row on, and whether these are enough for a daughter.
    track_end = cells.frame[cells.last][cells.track]
    lives = (track_end - cells.frame + 1 >= min_daughter_frames) | (track_end >= frames - 1)
    begins = begins_track(cells)
    reach_um = _REACH_LENGTHS * 2 * float(np.median(cells.half_length_um))
    births = cells.first[lives[cells.first] & (cells.frame[cells.first] > 0)]
    found = [(nothing, nothing, nothing)]
    for late in range(window_frames):
        place, sister = rows_near(
            cells, np.flatnonzero(lives), cells.frame[births] - late, cells.position_um[births], reach_um
        )
        newborn = births[place]
        other = cells.track[newborn] != cells.track[sister]
        newborn, sister = newborn[other], sister[other]
        goes_on = ~begins[sister]
        found.append((sister[goes_on] - 1, sister[goes_on], newborn[goes_on]))
        # Of two newborns of one frame either may be called the sister: once is enough.
        both_new = begins[sister] & ((late > 0) | (sister < newborn))
        if mother_may_end and both_new.any():
            sister, newborn = sister[both_new], newborn[both_new]
            middle_um = (cells.position_um[sister] + cells.position_um[newborn]) / 2
            for earlier in range(1, window_frames + 1):
                pair, mother = rows_near(cells, cells.last, cells.frame[sister] - earlier, middle_um, reach_um)
                found.append((mother, sister[pair], newborn[pair]))
    mother, sister, newborn = (np.concatenate(rows) for rows in zip(*found, strict=True))
    # Whoever was out of sight for longer than the window is no witness.
    seen = cells.frame[newborn] - cells.frame[mother] <= window_frames
    return mother[seen], sister[seen], newborn[seen]


def _fission_deviations(cells: Cells, mother: np.ndarray, sister: np.ndarray, newborn: np.ndarray) -> np.ndarray:
    """Sum of squared deviations from a division in two, by the first or second frame of the daughters, shape (n,)."""
    deviations = _deviations_in_frame(cells, mother, sister, newborn)
    last = cells.last[cells.track]
    again = np.flatnonzero((sister < last[sister]) & (newborn < last[newborn]))
    later = _deviations_in_frame(cells, mother[again], sister[again] + 1, newborn[again] + 1)
    deviations[again] = np.minimum(deviations[again], later)
    return deviations


def _deviations_in_frame(cells: Cells, mother: np.ndarray, sister: np.ndarray, newborn: np.ndarray) -> np.ndarray:
    """Sum of squared deviations from a division in two, by these frames of the daughters, shape (n,)."""
    if not len(mother):
        return np.empty(0)
    position, area, half = cells.position_um, cells.area_um2, cells.half_length_um
    missed = np.maximum(cells.frame[sister], cells.frame[newborn]) - cells.frame[mother] - 1
    middle = np.linalg.norm((position[sister] + position[newborn]) / 2 - position[mother], axis=1)
    # What is usual depends on the mother's own size and on how much the cells of this movie move.
    usual = np.hypot(0.35 * half[mother], 1.5 * typical_step_um(cells) * (1 + missed) ** 0.5)
    apart = np.linalg.norm(position[sister] - position[newborn], axis=1)
    radius = np.sqrt(area / np.pi)
    both = area[sister] + area[newborn]
    light = cells.mass_au_um2[sister] + cells.mass_au_um2[newborn]
    deviations = [
        middle / usual,
        # A nucleus that condenses loses area and keeps its light, one that is out of focus the other way round.
        np.fmin(_unlike(cells, cells.area_um2, mother, both), _unlike(cells, cells.mass_au_um2, mother, light)),
        np.log(area[sister] / area[newborn]) / 0.35,
        (apart - half[sister] - half[newborn]).clip(0) / half[mother],
        # Two disks that touch lie at 1; the halves of one at 0.6, of an ellipse split by mistake at 0.8.
        (1.15 - apart / (radius[sister] + radius[newborn])).clip(0) / 0.2,
        (np.log(both / 2 / np.median(area)) + 0.1).clip(0) / 0.25,
        # What is much smaller than most cells is a fragment of a dead one, even where it falls apart.
        (np.log(np.median(area) / _largest_of_late(cells, area, mother)) - 0.2).clip(0) / 0.3,
        # The edge of the frame cuts off what sizes and places are judged by, and lets cells in.
        1.5 * (cells.border[newborn] | cells.border[sister] | cells.border[mother]),
        # Daughters grow; the pieces of a dead cell shrink.
        _shrinking(cells, sister) / 0.3,
        _shrinking(cells, newborn) / 0.3,
    ]
    halved = 2 * _TERMS * np.log(2) * missed
    return sum(deviation**2 for deviation in deviations) + halved


def _unlike(cells: Cells, size: np.ndarray, mother: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Deviation of the daughters' size together from the mother's in her last three frames; NaN where not known.

    Any of the three frames is a fair size before division.
    """
    first = cells.first[cells.track[mother]]
    recent = np.stack([size[np.maximum(mother - back, first)] for back in range(3)])
    least, most = recent.min(axis=0), recent.max(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.maximum(np.log(both / most), np.log(least / both)).clip(0) / 0.25
    return np.where((least > 0) & (both > 0), deviation, np.nan)


def _largest_of_late(cells: Cells, size: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Largest size of a track in its last frames up to a row."""
    first = cells.first[cells.track[row]]
    return np.max([size[np.maximum(row - back, first)] for back in range(_LATE_FRAMES)], axis=0)


def _shrinking(cells: Cells, row: np.ndarray) -> np.ndarray:
    """By how much ln(area) has fallen three frames later, 0 where it has not."""
    later = np.minimum(row + 3, cells.last[cells.track[row]])
    return np.log(cells.area_um2[row] / cells.area_um2[later]).clip(0)


def choose_divisions(
    cells: Cells, divisions: Divisions, *, min_daughter_frames: int, min_division_score: float
) -> Divisions:
    """The best divisions that do not contradict each other, best first.

    A cell is born once, and a track ends once; two divisions of one track, or
    a birth and a division, are apart by `min_daughter_frames`.

    Parameters
    ----------
    cells : Cells
    divisions : Divisions
        All that are possible.
    min_daughter_frames, min_division_score
        As for `find_divisions`.
    """
    believed = np.flatnonzero(divisions.score >= min_division_score)
    # Ties are settled by where the cells stand, so that a run repeats.
    order = believed[np.lexsort((divisions.newborn[believed], -divisions.score[believed]))]
    born, ended, events, chosen = set(), set(), {}, []
    for index in order.tolist():
        mother, sister, newborn = (int(rows[index]) for rows in divisions[:3])
        mothers_track, sisters_track, newborns_track = (int(cells.track[row]) for row in (mother, sister, newborn))
        births = [newborns_track] if sisters_track == mothers_track else [newborns_track, sisters_track]
        # A track that ends in one division may have carried on through an earlier one, but ends once.
        ends = sisters_track != mothers_track
        if born.intersection(births) or (ends and mothers_track in ended):
            continue
        new_events = [(newborns_track, int(cells.frame[newborn])), (mothers_track, int(cells.frame[sister]))]
        if any(abs(frame - one) < min_daughter_frames for track, frame in new_events for one in events.get(track, ())):
            continue
        born.update(births)
        if ends:
            ended.add(mothers_track)
            new_events.append((sisters_track, int(cells.frame[sister])))
        for track, frame in new_events:
            events.setdefault(track, []).append(frame)
        chosen.append(index)
    chosen = np.array(chosen, np.int64)
    return Divisions(*(values[chosen] for values in divisions))
