"""Numbers behind the page of an experiment, from its tables."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.special import stdtrit

from cytolapse.tables import read_metadata, read_table
from cytolapse.wording import UNSTATED

Z95 = 1.959964  # of a normal distribution, 95 % lie within that many standard deviations of the mean


def fitted_rates(growth: pd.DataFrame, unit_kind: str) -> pd.DataFrame:
    """The growth rates that are worth comparing, with their unit of replication.

    Parameters
    ----------
    growth : DataFrame
        Columns condition, replicate, movie, growth_rate_per_h, flag_short and
        flag_poor_fit of the table `growth`.
    unit_kind : {'replicate', 'movie'}
        Column that holds the unit.

    Returns
    -------
    DataFrame
        condition, unit and rate of every cycle that has a rate and is neither
        flagged as short nor as a poor fit.
    """
    flagged = growth["flag_short"].fillna(False).astype(bool) | growth["flag_poor_fit"].fillna(False).astype(bool)
    kept = growth[growth["growth_rate_per_h"].notna() & ~flagged]
    return pd.DataFrame(
        {
            "condition": kept["condition"],
            "unit": kept[unit_kind].astype(object).fillna(UNSTATED),
            "rate": kept["growth_rate_per_h"].to_numpy(float),
        }
    )


def rate_summary(rates: pd.DataFrame) -> pd.DataFrame:
    """Growth rate of each condition, with the unit of replication as the sample.

    With two units or more: the mean of the units' medians with its 95 %
    t-interval, since cells of one culture are not independent samples (Lord et
    al. 2020, J Cell Biol 219, e202001064). With one unit: the median over
    cells with its 95 % interval from order statistics (normal approximation
    of the ranks), which says nothing about other cultures.

    Parameters
    ----------
    rates : DataFrame
        condition, unit and rate, as `fitted_rates` gives.

    Returns
    -------
    DataFrame
        condition, cells, units, rate_per_h, lo95_per_h, hi95_per_h (NaN where
        there are fewer than six cells in a single unit).
    """
    rows = []
    for condition, of_condition in rates.groupby("condition", observed=True):
        medians = of_condition.groupby("unit")["rate"].median().to_numpy()
        estimate = mean_interval(medians) if len(medians) > 1 else _median_interval(of_condition["rate"].to_numpy())
        rows.append((str(condition), len(of_condition), len(medians), *estimate))
    return pd.DataFrame(rows, columns=["condition", "cells", "units", "rate_per_h", "lo95_per_h", "hi95_per_h"])


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of n >= 2 values and its 95 % interval by Student's t."""
    mean = float(np.mean(values))
    half = float(stdtrit(len(values) - 1, 0.975)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def _median_interval(values: np.ndarray) -> tuple[float, float, float]:
    n = len(values)
    if n < 6:
        return float(np.median(values)), math.nan, math.nan
    half = Z95 * math.sqrt(n) / 2
    ranked = np.sort(values)
    low, high = math.floor((n + 1) / 2 - half), math.ceil((n + 1) / 2 + half)
    return float(np.median(values)), float(ranked[max(low, 1) - 1]), float(ranked[min(high, n) - 1])


def number_rates(population: pd.DataFrame) -> pd.DataFrame:
    """Rate of the number of cells of each condition, over all windows of time.

    A replicate's rate is the mean over its windows, weighted by their length.
    With two replicates or more: the mean over replicates with its 95 %
    t-interval; with one: its rate and the interval that the table states,
    which knows nothing of other cultures; NaN where it states none.

    Parameters
    ----------
    population : DataFrame
        The table `population`.

    Returns
    -------
    DataFrame
        condition, replicates, rate_per_h, lo95_per_h, hi95_per_h, divisions.
    """
    rows = []
    for condition, of_condition in population.groupby("condition", observed=True):
        whole = of_condition.assign(replicate=of_condition["replicate"].astype(object).fillna(UNSTATED))
        means = [mean for _, each in whole.groupby("replicate") if (mean := _over_windows(each)) is not None]
        values = np.array([rate for rate, _ in means])
        if len(values) > 1:
            estimate = mean_interval(values)
        elif len(values):
            rate, half = means[0]
            estimate = rate, rate - half, rate + half
        else:
            estimate = (math.nan,) * 3
        rows.append((str(condition), len(values), *estimate, int(of_condition["divisions"].sum())))
    columns = ["condition", "replicates", "rate_per_h", "lo95_per_h", "hi95_per_h", "divisions"]
    return pd.DataFrame(rows, columns=columns)


def _over_windows(windows: pd.DataFrame) -> tuple[float, float] | None:
    """Rate and half of its interval, the windows taken as independent."""
    known = windows[windows["number_rate_per_h"].notna()]
    if not len(known):
        return None
    weights = (known["window_end_h"] - known["window_start_h"]).to_numpy(float)
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(known), 1 / len(known))
    rate = float(np.sum(weights * known["number_rate_per_h"].to_numpy(float)))
    half = (known["number_rate_hi95_per_h"] - known["number_rate_lo95_per_h"]).to_numpy(float) / 2
    return rate, float(np.sqrt(np.sum((weights * half) ** 2)))


def flag_counts(tables: Mapping[str, str | os.PathLike]) -> tuple[list[dict], list[str]]:
    """How often each flag is set, and in which movie most.

    Read a row group at a time.

    Parameters
    ----------
    tables : mapping of str to path
        Table name to file.

    Returns
    -------
    flags : list of dict
        table, flag, rule (in words), rows (flagged), of (all rows), share,
        worst (movie) and worst_rows; the most frequent first in each table.
    unjudged : list of str
        'table.flag' of the flags that are null in every row.
    """
    flags, unjudged = [], []
    for name, path in tables.items():
        of_table, null_throughout = _flags_of(name, path)
        flags += sorted(of_table, key=lambda each: -each["rows"])
        unjudged += null_throughout
    return flags, unjudged


def _flags_of(name: str, path: str | os.PathLike) -> tuple[list[dict], list[str]]:
    fields = {field.name: field for field in pq.read_schema(path) if field.name.startswith("flag_")}
    rules = json.loads(read_metadata(path).get("flags", "{}"))
    rows, judged, by_movie = 0, dict.fromkeys(fields, 0), {flag: {} for flag in fields}
    for batch in _batches(name, path, ["movie", *fields]):
        rows += batch.num_rows
        for flag in fields:
            judged[flag] += batch.num_rows - batch[flag].null_count
            found = pc.value_counts(batch["movie"].filter(batch[flag].fill_null(False)))
            for each in found.to_pylist():
                by_movie[flag][each["values"]] = by_movie[flag].get(each["values"], 0) + each["counts"]
    counts = []
    for flag, field in fields.items():
        total = sum(by_movie[flag].values())
        worst = max(by_movie[flag], key=by_movie[flag].get, default=None)
        counts.append(
            {
                "table": name,
                "flag": flag,
                "rule": rules.get(flag) or field.metadata[b"description"].decode(),
                "rows": total,
                "of": rows,
                "share": total / rows if rows else 0.0,
                "worst": worst,
                "worst_rows": by_movie[flag].get(worst, 0),
            }
        )
    seen = [each for each in counts if judged[each["flag"]]]
    return seen, [f"{name}.{flag}" for flag in fields if rows and not judged[flag]]


def sample_expression(path: str | os.PathLike, columns: Sequence[str], most: int) -> tuple[pd.DataFrame, int]:
    """At most about `most` random rows of the table `expression`, and how many could be drawn from.

    Read a row group at a time; rows without `mean_au` do not count.

    Parameters
    ----------
    path : path
        Table `expression`.
    columns : sequence of str
        Columns to read, `mean_au` among them.
    most : int
        Rows wanted; as many as there are, if that is fewer.

    Returns
    -------
    rows : DataFrame
        Text as categories.
    total : int
        Measured rows in all.
    """
    with pq.ParquetFile(path) as file:
        share = min(1.0, most / max(1, file.metadata.num_rows))
    random = np.random.default_rng(0)
    kept, total = [], 0
    for batch in _batches("expression", path, columns):
        measured = batch.filter(batch["mean_au"].is_valid())
        total += measured.num_rows
        kept.append(measured if share == 1 else measured.filter(pa.array(random.random(measured.num_rows) < share)))
    if not kept:
        return pd.DataFrame(columns=list(columns)), 0
    return pa.concat_tables(kept).to_pandas(strings_to_categorical=True), total


def _batches(name: str, path: str | os.PathLike, columns: Sequence[str]) -> Iterator[pa.Table]:
    read_table(name, path, columns=[])  # refuses a file that holds another table
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1 << 18, columns=list(columns)):
            yield pa.Table.from_batches([batch])
