"""Cells and cycles of many movies -> how a population grows.

Cells are not independent samples, and neither are the frames of a movie. What
is independent are families (a founder and all that came from it), and movies:
rates are taken per movie, their errors from families and between movies;
conditions and replicates are kept apart.
"""

import os
import warnings
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit
from scipy.stats import CensoredData, ecdf

from cytolapse.families import count_families
from cytolapse.tables import read_metadata, read_table, typed, write_table

_GROUP = ["condition", "replicate"]
_ROW = ["group", "window"]
_FRAME_COLUMNS = ["movie", *_GROUP, "frame", "time_h", "cells", "flag_blank", "flag_out_of_focus"]
_GROWTH_COLUMNS = [
    *("cell_id", "root_id", *_GROUP, "end", "birth_time_h", "division_time_h", "cycle_time_h", "time_at_risk_h"),
]


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

    The cells, by far the most rows, are read movie by movie and only summed up.

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
    growth = read_table("growth", growth_path, _GROWTH_COLUMNS)
    population = population_table(
        count_families(cells_path, growth, size_quantity=size_quantity),
        growth,
        read_table("frames", frames_path, _FRAME_COLUMNS),
        window_h=window_h,
    )
    of_cells = read_metadata(cells_path)
    metadata = {"experiment": experiment, **{key: of_cells[key] for key in ("object",) if key in of_cells}}
    population = typed("population", population.assign(experiment=experiment), size_quantity=size_quantity)
    write_table("population", population, output_path, metadata=metadata, size_quantity=size_quantity)


def population_table(
    families: Iterable[tuple[str, pd.DataFrame]],
    growth: pd.DataFrame,
    frames: pd.DataFrame,
    *,
    window_h: float | None,
) -> pd.DataFrame:
    """How cell number and total size grow, and how long a cycle takes.

    The rates are least-squares slopes of the logarithm of what is in the field
    of view against time, per movie; cells that enter and leave are in them.
    Frames that are blank or out of focus, or without a cell, are left out.

    The variance of a movie's rate is that between its families, by the
    infinitesimal jackknife [1]_: what a little more of one family would change
    the slope by, squared and summed. It holds what chance in the times of
    division does to few founders, all their lives. Over movies, rates are
    averaged with the cells as weights, and what they differ by beyond the
    errors of their own is added (the method of moments [2]_). Intervals are by
    Student's t, with the degrees of freedom of these parts together [3]_; a
    family counts by its share of the cells. They hold the truth of cultures
    like this one: differences between cultures are those between replicates.

    Parameters
    ----------
    families : iterable of str and DataFrame
        As `count_families` yields them.
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

    References
    ----------
    .. [1] Jaeckel, L. A. (1972). The infinitesimal jackknife. Bell
       Laboratories Memorandum MM 72-1215-11.
    .. [2] DerSimonian, R. & Laird, N. (1986). Meta-analysis in clinical trials.
       Controlled Clinical Trials 7, 177-188; here with the weights as given.
    .. [3] Satterthwaite, F. E. (1946). An approximate distribution of estimates
       of variance components. Biometrics Bulletin 2, 110-114.
    """
    end_h = float(frames["time_h"].max()) if len(frames) else 0.0
    edges_h = _window_edges(end_h, window_h)
    frames, growth = _numbered_groups(frames, growth)
    frames = frames.assign(window=_window_of(frames["time_h"], edges_h))
    of_movie = dict(list(_good(frames).groupby("movie")))
    parts = [_rates_of_movie(each, of_movie[movie]) for movie, each in families if movie in of_movie]
    rates = pd.DataFrame([row for part in parts for row in part], columns=[*_ROW, *_RATE_COLUMNS])
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


def _good(frames: pd.DataFrame) -> pd.DataFrame:
    bad = frames["flag_blank"].fillna(False).astype(bool) | frames["flag_out_of_focus"].fillna(False).astype(bool)
    return frames[~bad & (frames["cells"] > 0)].sort_values(["movie", "frame"])


_RATE_COLUMNS = ["cells_start", "cells_end", "weight", "number", "size"]


class _Rate(NamedTuple):
    """A rate, its variance between families, and the degrees of freedom of that; NaN and 0 where there are none."""

    per_h: float
    variance: float
    freedom: float


def _rates_of_movie(families: pd.DataFrame, frames: pd.DataFrame) -> list[tuple]:
    """One row a window: group, window, and the columns of `_RATE_COLUMNS`."""
    rows = []
    for key, of_window in frames.groupby(_ROW):
        cells = of_window["cells"].to_numpy(float)
        there = families[families["frame"].isin(of_window["frame"])]
        column = np.searchsorted(of_window["frame"].to_numpy(), there["frame"].to_numpy())
        family = pd.factorize(there["family"])[0]
        hours = of_window["time_h"].to_numpy(float)
        number, size = (
            _log_slope(hours, there[name].to_numpy(float), column, family) for name in ("cells", "total_size")
        )
        rows.append((*key, cells[0], cells[-1], cells.mean(), number, size))
    return rows


def _log_slope(hours: np.ndarray, amount: np.ndarray, column: np.ndarray, family: np.ndarray) -> _Rate:
    """Least-squares slope of ln(sum of the amounts of all families) against time, in the frames that have one."""
    total = np.bincount(column, amount, len(hours))
    known = total > 0  # not where an amount is unknown
    if known.sum() < 2 or np.ptp(hours[known]) == 0:
        return _Rate(np.nan, 0.0, 0.0)
    centred = np.where(known, hours - hours[known].mean(), 0.0)
    weight = centred / (centred @ centred)
    slope = float(weight[known] @ np.log(total[known]))
    counted = known[column]
    share = amount[counted] / total[column[counted]]
    influence = np.bincount(family[counted], weight[column[counted]] * share)
    part = np.bincount(family[counted], share) / known.sum()
    number = 1 / float(part @ part)
    if number < _LEAST_FAMILIES:
        return _Rate(slope, 0.0, 0.0)
    return _Rate(slope, float(influence @ influence) * number / (number - 1), number - 1)


# One and a half families of equal share: one alone tells nothing of chance.
_LEAST_FAMILIES = 1.5


def _mean_rates(rates: pd.DataFrame) -> dict[str, float]:
    facts = {"cells_start": rates["cells_start"].sum(), "cells_end": rates["cells_end"].sum()}
    for quantity in ("number", "size"):
        known = [
            (rate, weight)
            for rate, weight in zip(rates[quantity], rates["weight"], strict=True)
            if rate.per_h == rate.per_h
        ]
        mean, se, half = _weighted_mean([rate for rate, _ in known], np.array([weight for _, weight in known]))
        facts |= {
            f"{quantity}_rate_per_h": mean,
            f"{quantity}_rate_se_per_h": se,
            f"{quantity}_rate_lo95_per_h": mean - half,
            f"{quantity}_rate_hi95_per_h": mean + half,
        }
    return facts


def _weighted_mean(rates: list[_Rate], weights: np.ndarray) -> tuple[float, float, float]:
    """Mean, its standard error and half of its 95 % interval; NaN where nothing tells of them."""
    if not rates:
        return np.nan, np.nan, np.nan
    share = weights / weights.sum()
    values, variances, freedoms = np.array(rates).T
    mean = float(share @ values)
    between = 0.0
    if len(rates) > 1:
        scatter = share @ (values - mean) ** 2 - share * (1 - share) @ variances
        between = max(0.0, float(scatter / (share @ (1 - share))))
    within, beyond = share**2 * variances, share @ share * between
    variance = float(within.sum() + beyond)
    # degrees of freedom: of each movie's variance, and of that between movies
    inverse = float((within[freedoms > 0] ** 2 / freedoms[freedoms > 0]).sum()) + beyond**2 / max(len(rates) - 1, 1)
    if not inverse > 0:
        return mean, np.nan, np.nan
    return mean, float(np.sqrt(variance)), float(stdtrit(variance**2 / inverse, 0.975) * np.sqrt(variance))


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
