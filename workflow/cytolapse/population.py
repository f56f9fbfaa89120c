"""Cells and cycles of many movies -> how a population grows.

Cells are not independent samples: rates are taken per movie and their errors
between movies; conditions and replicates are kept apart.
"""

import os
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import CensoredData, ecdf

from cytolapse.tables import SIZE_UNITS, read_metadata, read_table, typed, write_table

_BATCH_ROWS = 1 << 18
_GROUP = ["condition", "replicate"]
_ROW = ["group", "window"]
_FRAME_COLUMNS = ["movie", *_GROUP, "frame", "time_h", "cells", "flag_blank", "flag_out_of_focus"]
_GROWTH_COLUMNS = [*_GROUP, "end", "birth_time_h", "division_time_h", "cycle_time_h", "time_at_risk_h"]


def write_population(
    cells_path: str | os.PathLike,
    growth_path: str | os.PathLike,
    frames_path: str | os.PathLike,
    output_path: str | os.PathLike,
    *,
    experiment: str,
    size_quantity: str,
    window_h: float | None,
) -> None:
    """Write `population` of an experiment from its other tables.

    The cells, by far the most rows, are read in batches and only summed up.

    Parameters
    ----------
    cells_path, growth_path, frames_path : path
        Tables of the experiment.
    output_path : path
        Table to write.
    experiment : str
    size_quantity : {'area', 'length', 'volume'}
        What is meant by size.
    window_h : float or None
        Width of the windows of time, in hours; None for one window.
    """
    population = population_table(
        sum_sizes(cells_path, size_quantity=size_quantity),
        read_table("growth", growth_path, _GROWTH_COLUMNS),
        read_table("frames", frames_path, _FRAME_COLUMNS),
        window_h=window_h,
    )
    of_cells = read_metadata(cells_path)
    metadata = {"experiment": experiment, **{key: of_cells[key] for key in ("object",) if key in of_cells}}
    population = typed("population", population.assign(experiment=experiment), size_quantity=size_quantity)
    write_table("population", population, output_path, metadata=metadata, size_quantity=size_quantity)


def sum_sizes(cells_path: str | os.PathLike, *, size_quantity: str) -> pd.DataFrame:
    """Total size of the cells of every movie and frame that has any.

    Parameters
    ----------
    cells_path : path
        Table cells, of any length: one batch of rows is in memory at a time.
    size_quantity : {'area', 'length', 'volume'}

    Returns
    -------
    DataFrame
        Columns movie, frame and total_size, which is NaN where the size of a
        cell is null.
    """
    column = f"{size_quantity}_{SIZE_UNITS[size_quantity]}"
    read_table("cells", cells_path, columns=[])  # refuses a file that holds another table
    keys, sums = ["movie", "frame"], [(column, "sum"), (column, "count"), ("frame", "count")]
    parts = [pa.table({name: pa.array([], kind) for name, kind in _PART_TYPES.items()})]
    with pq.ParquetFile(cells_path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=[*keys, column]):
            part = pa.Table.from_batches([batch]).group_by(keys).aggregate(sums)
            part = part.rename_columns({f"{column}_sum": "total", f"{column}_count": "sized", "frame_count": "cells"})
            parts.append(part.select(list(_PART_TYPES)).cast(pa.schema(_PART_TYPES)))
    table = pa.concat_tables(parts).group_by(keys).aggregate([(name, "sum") for name in ("total", "sized", "cells")])
    totals = table.sort_by([(name, "ascending") for name in keys]).to_pandas()
    whole = totals["sized_sum"] == totals["cells_sum"]
    return totals[keys].assign(total_size=totals["total_sum"].where(whole))


_PART_TYPES = {
    "movie": pa.string(),
    "frame": pa.int32(),
    "total": pa.float64(),
    "sized": pa.int64(),
    "cells": pa.int64(),
}


def population_table(
    totals: pd.DataFrame, growth: pd.DataFrame, frames: pd.DataFrame, *, window_h: float | None
) -> pd.DataFrame:
    """How cell number and total size grow, and how long a cycle takes.

    The rates are least-squares slopes of the logarithm of what is in the field
    of view against time, per movie; cells that enter and leave are in them.
    Frames that are blank or out of focus, or without a cell, are left out.

    Parameters
    ----------
    totals : DataFrame
        As `sum_sizes` returns it.
    growth : DataFrame
        Columns condition, replicate, end, birth_time_h, division_time_h,
        cycle_time_h and time_at_risk_h of `growth`.
    frames : DataFrame
        Columns movie, condition, replicate, frame, time_h, cells, flag_blank
        and flag_out_of_focus of `frames`.
    window_h : float or None
        Width of the windows of time, in hours, from 0; None for one window. A
        window holds its start and not its end; the last holds both.

    Returns
    -------
    DataFrame
        One row a condition, replicate and window with a frame, without the
        column experiment.
    """
    end_h = float(frames["time_h"].max()) if len(frames) else 0.0
    edges_h = _window_edges(end_h, window_h)
    frames, growth = _numbered_groups(frames, growth)
    frames = frames.merge(totals, on=["movie", "frame"], how="left")
    frames = frames.assign(window=_window_of(frames["time_h"], edges_h))
    rates = _rates_of_movies(frames, edges_h)
    born = growth.assign(window=_window_of(growth["birth_time_h"], edges_h))
    divided = growth[growth["end"] == "division"]
    divided = divided.assign(window=_window_of(divided["division_time_h"], edges_h))

    of_rates, of_births = dict(list(rates.groupby(_ROW))), dict(list(born.groupby(_ROW)))
    divisions = divided.groupby(_ROW).size().to_dict()
    rows = [
        {
            **of_row[_GROUP].iloc[0],
            "window_start_h": edges_h[key[1]],
            "window_end_h": edges_h[key[1] + 1],
            "movies": of_row["movie"].nunique(),
            **_mean_rates(of_rates.get(key, rates.iloc[:0])),
            "divisions": divisions.get(key, 0),
            **_cycle_times(of_births.get(key, born.iloc[:0])),
        }
        for key, of_row in frames.groupby(_ROW)
    ]
    return pd.DataFrame(rows)


def _numbered_groups(*tables: pd.DataFrame) -> list[pd.DataFrame]:
    """The tables with a column group: one number a condition and replicate, null ones too."""
    keys = pd.concat([table[_GROUP] for table in tables], ignore_index=True)
    number = keys.groupby(_GROUP, dropna=False).ngroup().to_numpy()
    ends = np.cumsum([len(table) for table in tables])
    return [table.assign(group=part) for table, part in zip(tables, np.split(number, ends[:-1]), strict=True)]


def _window_edges(end_h: float, window_h: float | None) -> np.ndarray:
    if window_h is None:
        return np.array([0.0, end_h])
    # a movie that ends where a window does, but for rounding, opens no other
    windows = max(1, int(np.ceil(end_h / window_h - 1e-9)))
    return np.arange(windows + 1) * window_h


def _window_of(time_h: pd.Series, edges_h: np.ndarray) -> np.ndarray:
    """Window of each time, -1 where the time is null."""
    time_h = time_h.to_numpy(float)
    window = np.searchsorted(edges_h, time_h, side="right") - 1
    return np.where(np.isnan(time_h), -1, np.clip(window, 0, len(edges_h) - 2))


def _rates_of_movies(frames: pd.DataFrame, edges_h: np.ndarray) -> pd.DataFrame:
    """One row a movie and window: its rates, and the cells behind them."""
    bad = frames["flag_blank"].fillna(False).astype(bool) | frames["flag_out_of_focus"].fillna(False).astype(bool)
    good = frames[~bad & (frames["cells"] > 0)].sort_values(["movie", "frame"])
    keys = ["movie", *_ROW]
    good = good.assign(cells=good["cells"].astype(float), hours=good["time_h"] - edges_h[good["window"]])
    good["total_size"] = good["total_size"].where(good["total_size"] > 0)
    of_movie = good.groupby(keys)["cells"]
    return pd.DataFrame(
        {
            "cells_start": of_movie.first(),
            "cells_end": of_movie.last(),
            "weight": of_movie.mean(),
            "number": _log_slopes(good, "cells", keys),
            "size": _log_slopes(good, "total_size", keys),
        }
    ).reset_index()


def _log_slopes(frames: pd.DataFrame, column: str, keys: list[str]) -> pd.Series:
    """Least-squares slope of ln(column) against time, per group."""
    known = frames[column].notna()
    hours, log = frames["hours"].where(known), np.log(frames[column])
    sums = frames[keys].assign(n=known.astype(float), t=hours, y=log, tt=hours**2, ty=hours * log)
    sums = sums.groupby(keys).sum()
    spread = sums["n"] * sums["tt"] - sums["t"] ** 2
    slope = (sums["n"] * sums["ty"] - sums["t"] * sums["y"]) / spread.where(spread > 0)
    return slope.where(sums["n"] >= 2)


def _mean_rates(rates: pd.DataFrame) -> dict[str, float]:
    facts = {"cells_start": rates["cells_start"].sum(), "cells_end": rates["cells_end"].sum()}
    for quantity in ("number", "size"):
        known = rates[rates[quantity].notna()]
        rate, se = _weighted_mean(known[quantity].to_numpy(), known["weight"].to_numpy())
        facts |= {f"{quantity}_rate_per_h": rate, f"{quantity}_rate_se_per_h": se}
    return facts


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error between the values; NaN where there are too few."""
    n = len(values)
    if not n:
        return np.nan, np.nan
    share = weights / weights.sum()
    mean = float(share @ values)
    if n == 1:
        return mean, np.nan
    return mean, float(np.sqrt((share**2 @ (values - mean) ** 2) * n / (n - 1)))


class Median(NamedTuple):
    """A median with its 95 % interval; NaN where the curve does not fall that far."""

    median: float
    lo95: float
    hi95: float


def median_cycle_time(cycle_time_h: np.ndarray, censored_h: np.ndarray) -> Median:
    """Median cycle time of cells born in view, by Kaplan and Meier [1]_.

    The median of the cycles seen whole is too short, since the longer a cycle,
    the more likely the movie or the cell's stay in view ends before it. Here
    cells that did not divide count for as long as they were seen. Where
    censoring has to do with the cycle itself (cells lost because they round up
    to divide) this, too, is biased; a death counts as a loss. Cells that were
    there from the start are to be left out: their age is not known. The
    interval inverts the pointwise log-log interval of the curve [2]_, with
    cells taken as independent.

    Parameters
    ----------
    cycle_time_h : array of shape (n,)
        Cycle times of cells seen until they divided.
    censored_h : array of shape (m,)
        Times from birth until last seen of the others.

    References
    ----------
    .. [1] Kaplan, E. L. & Meier, P. (1958). Nonparametric estimation from
       incomplete observations. J. Am. Stat. Assoc. 53, 457-481.
    .. [2] Brookmeyer, R. & Crowley, J. (1982). A confidence interval for the
       median survival time. Biometrics 38, 29-41.
    """
    if not len(cycle_time_h):
        return Median(np.nan, np.nan, np.nan)
    survival = ecdf(CensoredData(uncensored=cycle_time_h, right=censored_h)).sf
    with warnings.catch_warnings():
        # the interval is undefined where the curve is 1 or 0
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = survival.confidence_interval(0.95, method="log-log")
    low = np.where(survival.probabilities <= 0, 0, interval.low.probabilities)
    curves = (survival.probabilities, low, interval.high.probabilities)
    return Median(*(_first_below_half(survival.quantiles, curve) for curve in curves))


def _first_below_half(time_h: np.ndarray, curve: np.ndarray) -> float:
    below = np.flatnonzero(curve <= 0.5)
    return float(time_h[below[0]]) if len(below) else np.nan


def _cycle_times(born: pd.DataFrame) -> dict[str, float]:
    cycle_h, at_risk_h = born["cycle_time_h"].to_numpy(float), born["time_at_risk_h"].to_numpy(float)
    whole = ~np.isnan(cycle_h)
    by_curve = median_cycle_time(cycle_h[whole], at_risk_h[~whole])
    return {
        "cycle_time_median_h": by_curve.median,
        "cycle_time_lo95_h": by_curve.lo95,
        "cycle_time_hi95_h": by_curve.hi95,
        "complete_cycle_time_median_h": float(np.median(cycle_h[whole])) if whole.any() else np.nan,
        "cycles_born": len(born),
        "cycles_complete": int(whole.sum()),
    }
