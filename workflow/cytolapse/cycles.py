"""Tracks and lineage -> who a cell is, and its cell cycles with their times."""

from typing import NamedTuple

import numpy as np
import pandas as pd


def cell_ids(movie: str, track: np.ndarray) -> pd.Series:
    """`movie:track`, None where the track is 0 or null."""
    numbers = np.asarray(pd.array(track, "Int64").fillna(0), int)
    unique, inverse = np.unique(numbers, return_inverse=True)
    return pd.Series(np.array([f"{movie}:{one}" if one else None for one in unique], object)[inverse], dtype=object)


def find_ancestry(lineage: pd.DataFrame, *, division: str) -> pd.DataFrame:
    """Mother, sister, founder and generation of every track.

    Parameters
    ----------
    lineage : DataFrame
        Table lineage.
    division : {'fission', 'budding'}
        A budding mother lives on: there a bud has no sister.

    Returns
    -------
    DataFrame
        Index track; columns parent, sister (0 where there is none or it was
        not seen), root, generation, born (the birth was seen).

    Raises
    ------
    ValueError
        If a mother is not in the table, or does not begin before her daughter.
    """
    track = lineage["track"].to_numpy(int)
    parent = lineage["parent"].fillna(0).to_numpy(int)
    first = dict(zip(track.tolist(), lineage["first_frame"].to_numpy(int).tolist(), strict=True))
    root, generation = {}, {}
    for one, mother in sorted(zip(track.tolist(), parent.tolist(), strict=True), key=lambda pair: first[pair[0]]):
        if not mother:
            root[one], generation[one] = one, 0
            continue
        if mother not in first:
            raise ValueError(f"lineage has no track {mother}, the mother of track {one}; run link again")
        if first[mother] >= first[one]:
            raise ValueError(
                f"track {one} begins in frame {first[one]}, its mother, track {mother}, in frame {first[mother]}; "
                "a mother begins before her daughters"
            )
        root[one], generation[one] = root[mother], generation[mother] + 1
    ancestry = pd.DataFrame({"track": track, "parent": parent})
    born = (parent > 0) & (lineage["start"] == "division").to_numpy(bool)
    sister = np.zeros(len(track), int)
    if division == "fission":
        daughters = ancestry["track"].where(parent > 0).groupby(ancestry["parent"])
        of_two = (parent > 0) & (daughters.transform("count") == 2).to_numpy()
        sister[of_two] = daughters.transform("sum").to_numpy()[of_two] - track[of_two]
    return ancestry.assign(
        sister=sister, root=[root[one] for one in track], generation=[generation[one] for one in track], born=born
    ).set_index("track")


class _Divisions(NamedTuple):
    """Divisions, sorted by mother and frame, each of shape (n,)."""

    mother: np.ndarray
    frame: np.ndarray  # the first in which the daughters are apart
    time_h: np.ndarray
    halfwidth_h: np.ndarray


def find_cycles(cells: pd.DataFrame, lineage: pd.DataFrame, frame_time_h: np.ndarray, *, division: str) -> pd.DataFrame:
    """The cell cycles of a movie, from birth to division.

    The time of a division is the middle between the last frame with the mother
    before it and the first with a daughter. In fission a track is one cycle.
    A budding mother keeps her track: her cycle 0 ends, and cycle k begins, with
    the birth of her first, of her kth bud.

    Parameters
    ----------
    cells : DataFrame
        Columns track and frame, sorted by both.
    lineage : DataFrame
        Table lineage, with a row for each track of `cells`.
    frame_time_h : array of shape (frames,)
        Time of every frame, in hours.
    division : {'fission', 'budding'}

    Returns
    -------
    DataFrame
        One row a cycle with a frame, in the order of track and cycle: track,
        cycle, first_row and end_row (of `cells`, end excluded), and the
        columns first_frame to time_at_risk_h, division_score of `growth`, and
        cell_birth_time_h, of the cell and not of the cycle.

    Raises
    ------
    ValueError
        If a track is not in `lineage`, or goes on behind a fission.
    """
    track, frame = cells["track"].to_numpy(int), cells["frame"].to_numpy(int)
    of_track = lineage.set_index("track")
    unknown = np.setdiff1d(track, of_track.index.to_numpy(int))
    if len(unknown):
        raise ValueError(f"lineage has no row for track {unknown[0]}; run link again")
    stride = len(frame_time_h) + 1
    divisions = _find_divisions(track * stride + frame, lineage, frame_time_h, division)
    key = divisions.mother * stride + divisions.frame
    first_of_mother = np.searchsorted(key, track * stride)
    passed = np.searchsorted(key, track * stride + frame, side="right")
    cycle = passed - first_of_mother
    if division == "fission" and cycle.any():
        late = int(np.argmax(cycle > 0))
        raise ValueError(
            f"track {track[late]} is seen in frame {frame[late]}, but divides in frame "
            f"{divisions.frame[passed[late] - 1]}; run link again"
        )
    first_row = np.flatnonzero((np.diff(track, prepend=-1) != 0) | (np.diff(cycle, prepend=-1) != 0))
    end_row = np.append(first_row[1:], len(track))[: len(first_row)]

    table = pd.DataFrame({"track": track[first_row], "cycle": cycle[first_row]})
    of_cycle = of_track.loc[table["track"]].reset_index(drop=True)
    is_first, follows = table["cycle"].to_numpy() == 0, passed[first_row]
    ends = (follows < len(key)) & (np.append(divisions.mother, -1)[follows] == table["track"].to_numpy())
    birth = _birth_of_cells(table["track"], of_cycle, divisions, division)
    born = np.where(is_first, birth, follows - 1)
    dies = np.where(ends, follows, -1)
    birth_h, birth_half_h = _at(divisions.time_h, born), _at(divisions.halfwidth_h, born)
    division_h, division_half_h = _at(divisions.time_h, dies), _at(divisions.halfwidth_h, dies)
    first_frame, last_frame = frame[first_row], frame[end_row - 1]
    begin_h = np.where(np.isnan(birth_h), frame_time_h[first_frame], birth_h)
    stop_h = np.where(np.isnan(division_h), frame_time_h[last_frame], division_h)
    last_of_track = table["track"].to_numpy() != np.append(table["track"].to_numpy()[1:], -1)
    score = of_cycle["division_score"].to_numpy(float, na_value=np.nan)
    return table.assign(
        first_row=first_row,
        end_row=end_row,
        first_frame=first_frame,
        last_frame=last_frame,
        frames_observed=end_row - first_row,
        start=of_cycle["start"].where(is_first, "division"),
        end=of_cycle["end"].where(~ends, "division"),
        birth_time_h=birth_h,
        birth_halfwidth_h=birth_half_h,
        division_time_h=division_h,
        division_halfwidth_h=division_half_h,
        cycle_time_h=division_h - birth_h,
        cycle_observed=~np.isnan(division_h - birth_h),
        time_at_risk_h=stop_h - begin_h,
        division_score=np.where(last_of_track, score, np.nan),
        cell_birth_time_h=_at(divisions.time_h, birth),
    )


def _at(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """values[index], NaN where the index is below 0."""
    return np.append(values, np.nan)[np.where(index < 0, len(values), index)]


def _find_divisions(seen: np.ndarray, lineage: pd.DataFrame, frame_time_h: np.ndarray, division: str) -> _Divisions:
    """Divisions with their times; `seen` is track * (frames + 1) + frame of every cell, sorted."""
    parent = lineage["parent"].fillna(0).to_numpy(int)
    of_daughters = pd.DataFrame({"mother": parent, "frame": lineage["first_frame"].to_numpy(int)})
    of_daughters = of_daughters[(parent > 0) & (lineage["start"] == "division").to_numpy(bool)]
    if division == "budding":
        found = of_daughters.drop_duplicates()
    else:
        stated = lineage.loc[lineage["division_frame"].notna(), ["track", "division_frame"]].astype(int)
        stated.columns = of_daughters.columns
        found = pd.concat([of_daughters, stated]).groupby("mother", as_index=False)["frame"].min()
    found = found.sort_values(["mother", "frame"])
    mother, frame = found["mother"].to_numpy(int), found["frame"].to_numpy(int)
    stride = len(frame_time_h) + 1
    last_seen = np.searchsorted(seen, mother * stride + frame) - 1
    before = np.append(seen, -1)[last_seen] - mother * stride
    known = before >= 0
    mother, frame, before = mother[known], frame[known], before[known]
    after_h, before_h = frame_time_h[frame], frame_time_h[before]
    return _Divisions(mother, frame, (before_h + after_h) / 2, (after_h - before_h) / 2)


def _birth_of_cells(track: pd.Series, of_cycle: pd.DataFrame, divisions: _Divisions, division: str) -> np.ndarray:
    """Index of the division that each cell was born in, -1 where it was not seen."""
    parent = of_cycle["parent"].fillna(0).to_numpy(int)
    first = of_cycle["first_frame"].to_numpy(int)
    where = {pair: index for index, pair in enumerate(zip(divisions.mother, divisions.frame, strict=True))}
    of_mother = dict(zip(divisions.mother, range(len(divisions.mother)), strict=True))
    born = (of_cycle["start"] == "division").to_numpy(bool)
    if division == "budding":
        found = [where.get(pair, -1) for pair in zip(parent, first, strict=True)]
    else:
        found = [of_mother.get(mother, -1) for mother in parent]
    return np.where(born, np.array(found, int).reshape(len(track)), -1)
