"""Cell cycles and sizes -> the tables of growth.

A fit never spans an event (a treatment) or a division.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from cytolapse.cycles import cell_ids, find_ancestry, find_cycles
from cytolapse.fits import LEAST_FIT_FRAMES, Fit, Track, believed_lag1, growth_rate
from cytolapse.localrates import local_rates


def fit_cycles(
    cells: pd.DataFrame, cycles: pd.DataFrame, events: Sequence[Mapping], *, residual_lag1: float
) -> tuple[pd.DataFrame, list[Fit | None], pd.DataFrame]:
    """A growth rate for every cycle, or for each part of it between events; and at each of its frames.

    Parameters
    ----------
    cells : DataFrame
        Columns frame, time_h, size, usable (in a fit), and outline and
        outline_on_grid (errors of ln(size) by outlines that lie off by one width in
        all frames; the latter holds what a grid of pixels leaves open, which
        evens out in a size but not in its change), sorted by track and frame.
        Where outline_on_grid changes along a track, growth seems faster or slower:
        so much is in the errors of rates.
    cycles : DataFrame
        As `find_cycles` returns it.
    events : sequence of mapping
        `event` (name) and `time_h` of each event of this movie; a frame at the
        time of an event lies behind it.
    residual_lag1 : float
        As in `believed_lag1`.

    Returns
    -------
    parts : DataFrame
        One row a cycle and part with a frame: row (of `cycles`), passed
        (events before it), outline_first and outline_last (of the frames of the
        fit), and the columns segment to growth_model of `fits`.
        `fit_frames` counts the frames that could be used; below three of them
        there is no fit.
    fits : list of Fit or None
        The fit of each row.
    local : DataFrame
        One row a row of `cells`: growth_rate_per_h, growth_rate_se_per_h and
        growth_window_h of `cells`, NaN where the frame is in no fit.
    """
    names, times_h = _sorted_events(events)
    time_h, frame = cells["time_h"].to_numpy(float), cells["frame"].to_numpy(int)
    size, usable = cells["size"].to_numpy(float), cells["usable"].to_numpy(bool)
    passed = np.searchsorted(times_h, time_h, side="right")
    of_cell = np.repeat(np.arange(len(cycles)), cycles["end_row"] - cycles["first_row"])
    first = np.flatnonzero((np.diff(of_cell, prepend=-1) != 0) | (np.diff(passed, prepend=-1) != 0))
    end = np.append(first[1:], len(of_cell))[: len(first)]
    chosen = [begin + np.flatnonzero(usable[begin:stop]) for begin, stop in zip(first, end, strict=True)]
    tracks = [Track(size[rows], time_h[rows], frame[rows]) for rows in chosen if len(rows) >= LEAST_FIT_FRAMES]
    believed = believed_lag1(tracks, residual_lag1=residual_lag1)
    enough = [rows for rows in chosen if len(rows) >= LEAST_FIT_FRAMES]
    on_grid = cells["outline_on_grid"].to_numpy(float)
    drift_per_h = [_slope(on_grid[rows], time_h[rows]) for rows in enough]
    fitted = iter(
        growth_rate(track, belief).with_error(drift)
        for track, belief, drift in zip(tracks, believed, drift_per_h, strict=True)
    )
    fits = [next(fitted) if len(rows) >= LEAST_FIT_FRAMES else None for rows in chosen]
    local = pd.DataFrame(np.nan, index=range(len(cells)), columns=_LOCAL_COLUMNS, dtype=float)
    found = local_rates(tracks, residual_lag1=residual_lag1)
    for rows, rates, drift in zip(enough, found, drift_per_h, strict=True):
        local.iloc[rows] = np.column_stack([rates.rate_per_h, np.hypot(rates.se_per_h, drift), rates.window_h])
    row = of_cell[first]
    starts_cycle = np.flatnonzero(np.diff(row, prepend=-1) != 0)
    parts = pd.DataFrame(
        {
            "row": row,
            "passed": passed[first],
            "segment": np.arange(len(row)) - np.repeat(starts_cycle, np.diff(np.append(starts_cycle, len(row)))),
            "event": pd.Series([names[count] for count in passed[first]], dtype=object),
            "fit_frames": np.add.reduceat(usable, first).astype(int) if len(first) else np.zeros(0, int),
        }
    )
    for column, field in _FIT_COLUMNS.items():
        values = [np.nan if fit is None else getattr(fit, field) for fit in fits]
        parts[column] = pd.Series(values, dtype=float)
    outline = np.nan_to_num(cells["outline"].to_numpy(float))
    parts["outline_first"] = [outline[rows[0]] if len(rows) else 0.0 for rows in chosen]
    parts["outline_last"] = [outline[rows[-1]] if len(rows) else 0.0 for rows in chosen]
    parts["growth_model"] = pd.Series([fit and fit.model for fit in fits], dtype=object)
    return parts, fits, local


def _slope(values: np.ndarray, time_h: np.ndarray) -> float:
    """Size of the least-squares slope, per hour; 0 where values are not known."""
    x = time_h - time_h.mean()
    return abs(float(np.nan_to_num(x @ values / (x @ x))))


_LOCAL_COLUMNS = ["growth_rate_per_h", "growth_rate_se_per_h", "growth_window_h"]
_FIT_COLUMNS = {
    "growth_rate_per_h": "rate_per_h",
    "growth_rate_se_per_h": "se_per_h",
    "growth_rate_lo95_per_h": "lo95_per_h",
    "growth_rate_hi95_per_h": "hi95_per_h",
    "fit_span_h": "span_h",
    "r2": "r2",
    "residual_sd": "residual_sd",
    "residual_lag1": "residual_lag1",
}


def _sorted_events(events: Sequence[Mapping]) -> tuple[list[str | None], np.ndarray]:
    """Name of the event before each part, None before the first; times, each once."""
    times_h = np.unique([float(event["time_h"]) for event in events])
    names = [" + ".join(str(event["event"]) for event in events if event["time_h"] == time_h) for time_h in times_h]
    return [None, *names], times_h


def growth_tables(
    cells: pd.DataFrame,
    lineage: pd.DataFrame,
    frame_time_h: np.ndarray,
    *,
    movie: str,
    division: str,
    events: Sequence[Mapping],
    min_fit_frames: int,
    max_residual_sd: float,
    residual_lag1: float,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The rows of `growth` and `fits` of one movie, and the rates at each frame for those of `cells`.

    Parameters
    ----------
    cells : DataFrame
        Columns track, frame, time_h, size, usable, outline and outline_on_grid, as in
        `fit_cycles`, sorted by track and frame.
    lineage : DataFrame
        Table lineage.
    frame_time_h : array of shape (frames,)
        Time of every frame, in hours.
    movie : str
        Becomes part of `cell_id`.
    division : {'fission', 'budding'}
    events : sequence of mapping
        As in `fit_cycles`.
    min_fit_frames : int
        Fewer frames in every part of a cycle: flag_short.
    max_residual_sd : float
        A larger standard deviation of ln(size) about a fit: flag_poor_fit.
    residual_lag1 : float
        As in `believed_lag1`.

    Returns
    -------
    growth, fits : DataFrame
        The declared columns that are known here; `growth` has
        cell_birth_time_h beside them. Where an event falls inside a cycle, the
        rate is null in `growth`; the sizes come from the first and the last
        part, and are null where an event lies between the part and the birth
        or division.
    local : DataFrame
        As in `fit_cycles`.

    Raises
    ------
    ValueError
        If `lineage` lacks a track, has a daughter that begins before her
        mother, or a fission that a track goes on behind.
    """
    ancestry = find_ancestry(lineage, division=division)
    cycles = find_cycles(cells, lineage, frame_time_h, division=division)
    parts, fits, local = fit_cycles(cells, cycles, events, residual_lag1=residual_lag1)
    growth = _with_ancestry(cycles.drop(columns=["first_row", "end_row"]), ancestry, movie, division)
    growth = _with_sizes(growth, parts, fits, events)
    growth["division_ratio"] = _division_ratio(growth)
    growth = _with_rates(growth, parts)
    of_parts = parts.groupby("row")
    growth["flag_short"] = of_parts["fit_frames"].max() < min_fit_frames
    worst = of_parts["residual_sd"].max()
    growth["flag_poor_fit"] = (worst > max_residual_sd).astype("boolean").mask(worst.isna())
    keys = growth.loc[parts["row"], ["cell_id", "cycle"]].reset_index(drop=True)
    return (
        growth,
        pd.concat([keys, parts.drop(columns=["row", "passed", "outline_first", "outline_last"])], axis=1),
        local,
    )


def _with_ancestry(growth: pd.DataFrame, ancestry: pd.DataFrame, movie: str, division: str) -> pd.DataFrame:
    of_cycle = ancestry.loc[growth["track"]].reset_index(drop=True)
    return growth.assign(
        cell_id=cell_ids(movie, growth["track"]),
        parent_id=cell_ids(movie, of_cycle["parent"]),
        sister_id=cell_ids(movie, of_cycle["sister"]),
        root_id=cell_ids(movie, of_cycle["root"]),
        generation=of_cycle["generation"],
        history_known=of_cycle["born"],
        division_kind=division,
    )


def _with_sizes(
    growth: pd.DataFrame, parts: pd.DataFrame, fits: Sequence[Fit | None], events: Sequence[Mapping]
) -> pd.DataFrame:
    """Sizes at birth and division with their standard errors.

    These hold that of the fit, and what the size changes by while the time of
    the event is uncertain: anywhere between the frames around it. And at
    whatever rate frames are taken, outlines may part anywhere while cells
    constrict, which they do for about a quarter of a cycle: an eighth of a
    doubling to either side. And outlines may lie too far in or out. What finds
    the cells does so alike at birth and at division, but for half of the spread
    in when they part, so that less of it is left in the added size.
    """
    _, times_h = _sorted_events(events)
    of_cycle = parts.reset_index().groupby("row")["index"]
    ends, row = {}, {"birth": of_cycle.first().to_numpy(), "division": of_cycle.last().to_numpy()}
    outline = {"birth": parts["outline_first"].to_numpy()[row["birth"]]}
    outline["division"] = parts["outline_last"].to_numpy()[row["division"]]
    for event in row:
        time_h = growth[f"{event}_time_h"].to_numpy(float)
        halfwidth_h = growth[f"{event}_halfwidth_h"].to_numpy(float)
        fitted = _fitted(time_h, halfwidth_h, row[event], parts, fits, times_h)
        ends[event] = fitted._replace(log_se=np.hypot(fitted.log_se, outline[event]))
    born, divided = ends["birth"], ends["division"]
    times = (growth["birth_time_h"], growth["division_time_h"])
    shared = [
        SHARED_PARTING_VARIANCE + (fits[part].log_covariance(*when) if part == other and fits[part] else 0.0)
        for part, other, *when in zip(row["birth"], row["division"], *times, strict=True)
    ]
    twice = 2 * born.size * divided.size * (np.array(shared, float) + outline["birth"] * outline["division"])
    added_variance = (born.size * born.log_se) ** 2 + (divided.size * divided.log_se) ** 2 - twice
    return growth.assign(
        size_birth=born.size,
        size_birth_se=born.size * born.log_se,
        size_division=divided.size,
        size_division_se=divided.size * divided.log_se,
        added_size=divided.size - born.size,
        added_size_se=np.sqrt(np.maximum(added_variance, 0)),
    )


# Of ln(size): anywhere within an eighth of a doubling before or after.
PARTING_VARIANCE = (np.log(2) / 8) ** 2 / 3
# Half of that spread is taken for each division's own; the rest is alike at birth and at division.
SHARED_PARTING_VARIANCE = (1 - 0.5**2) * PARTING_VARIANCE


class _Sizes(NamedTuple):
    """Fitted sizes of cycles, and the standard errors of their logarithms; each of shape (cycles,)."""

    size: np.ndarray
    log_se: np.ndarray


def _fitted(
    time_h: np.ndarray,
    halfwidth_h: np.ndarray,
    row: np.ndarray,
    parts: pd.DataFrame,
    fits: Sequence[Fit | None],
    times_h: np.ndarray,
) -> _Sizes:
    """Fitted size at a time by one part of each cycle; NaN across an event."""
    passed = parts["passed"].to_numpy()
    # at the very time of an event the size is still, and already, what the part says
    lowest, highest = np.searchsorted(times_h, time_h, side="left"), np.searchsorted(times_h, time_h, side="right")
    sizes, variances = np.full((2, len(time_h)), np.nan)
    for cycle, part in enumerate(row):
        fit = fits[part]
        if fit and lowest[cycle] <= passed[part] <= highest[cycle]:
            sizes[cycle] = fit.size_at(time_h[cycle])
            of_time = (fit.rate_per_h * halfwidth_h[cycle]) ** 2 / 3
            variances[cycle] = fit.log_covariance(time_h[cycle], time_h[cycle]) + of_time + PARTING_VARIANCE
    return _Sizes(sizes, np.sqrt(variances))


def _division_ratio(growth: pd.DataFrame) -> np.ndarray:
    """Own size at birth over that of both sisters."""
    of_cell = growth.drop_duplicates("cell_id").set_index("cell_id")["size_birth"]
    own, other = growth["size_birth"].to_numpy(float), growth["sister_id"].map(of_cell).to_numpy(float)
    return own / (own + other)


def _with_rates(growth: pd.DataFrame, parts: pd.DataFrame) -> pd.DataFrame:
    columns = ["growth_rate_per_h", "growth_rate_se_per_h", "growth_rate_lo95_per_h", "growth_rate_hi95_per_h"]
    columns += ["fit_frames", "fit_span_h", "r2"]
    whole = parts[~parts["row"].duplicated(keep=False)].set_index("row")[columns].reindex(range(len(growth)))
    sure = (whole["growth_rate_lo95_per_h"] > 0) | (whole["growth_rate_hi95_per_h"] < 0)
    ends = {"": "growth_rate_per_h", "_lo95": "growth_rate_hi95_per_h", "_hi95": "growth_rate_lo95_per_h"}
    doubling = {f"doubling_time{end}_h": (np.log(2) / whole[column]).where(sure) for end, column in ends.items()}
    return growth.assign(**whole, **doubling)
