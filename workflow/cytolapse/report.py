"""Tables and pictures of one experiment -> one page to read.

The page is one file: no script, nothing loaded from elsewhere. Every number
on it can be computed again from the experiment's tables.
"""

import base64
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.special import stdtrit

from cytolapse.files import atomic_path
from cytolapse.tables import EXPERIMENT_TABLES, SIZE_UNITS, read_metadata, read_table

UNSTATED = "not stated"
ALL_MOVIES = "all movies"
FLAGGED_TABLES = ("frames", "cells", "growth", "expression")
LARGEST_PICTURES_BYTES = 5_000_000
LARGEST_SAMPLE_ROWS = 2_000_000
LARGEST_STRIP_DOTS = 1500
LARGEST_LEGEND = 14
# More conditions than this are drawn without what would lie on top of each other.
FEW_CONDITIONS = 6
LONGEST_LIST = 20
LONGEST_IN_MINUTES_H = 2.0
# Above this many points a drawing is embedded as pixels: the page must open quickly.
LARGEST_VECTOR_POINTS = 4000
EXPRESSION_TIMES = 150

# Okabe and Ito (2008): distinct for colour-blind readers; black last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666",
    "axes.labelcolor": "#222",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "xtick.color": "#444",
    "ytick.color": "#444",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "cytolapse",
}

STATUS_TITLES = {"refused": "refused", "failed": "failed", "excluded": "excluded by movies.tsv"}
ENDS = {
    "division": "divided",
    "left": "left the view",
    "movie_end": "movie ended",
    "lost": "lost",
    "death": "died",
    "merged": "merged",
}
VERSIONS = {
    "version": "Cytolapse",
    "commit": "commit",
    "packages_digest": "digest of the packages",
    "model": "model",
    "model_digest": "digest of the model",
    "device": "device",
    "precision": "precision",
    "seed": "seed of the training",
    "settings": "settings",
    "code_digests": "code",
}
LIKE_DIGESTS = ("settings", "code_digests")


def write_report(
    tables: Mapping[str, str | os.PathLike],
    overlays: Mapping[str, str | os.PathLike],
    template_path: str | os.PathLike,
    report_path: str | os.PathLike,
    *,
    experiment: str,
    model: Mapping | None,
    roc_figure: str | os.PathLike | None,
    training_status: Mapping | None,
    settings: Mapping,
    events: Sequence[Mapping],
    max_movies_shown: int,
) -> None:
    """Write the page of one experiment.

    `cells` and `expression` are read a row group at a time; expression beyond
    two million rows is sampled at random, and the page says so.

    Parameters
    ----------
    tables : mapping of str to path
        The tables of the experiment, by name.
    overlays : mapping of str to path
        Movie to picture of its outlines (PNG); movies may be missing.
    template_path : path
        Template of the page.
    report_path : path
        HTML to write.
    experiment : str
        Name of the experiment.
    model : mapping or None
        Content of model.json; None where no model was used.
    roc_figure : path or None
        Figure of the model's evaluation, SVG or PNG.
    training_status : mapping or None
        How the model's last training ended: `status`, 'kept' where it was not
        accepted and the model before it is used on, and `reason`.
    settings : mapping
        Stage to settings of the experiment.
    events : sequence of mapping
        Treatments, each with `event` and `time_h`, to mark in time.
    max_movies_shown : int
        Overlays on the page at most.

    Raises
    ------
    ValueError
        If a table of the experiment is not given.
    """
    missing = [name for name in EXPERIMENT_TABLES if name not in tables]
    if missing:
        raise ValueError(
            f"report of {experiment}: no table {', '.join(missing)} was given; it needs {', '.join(EXPERIMENT_TABLES)}"
        )
    movies = read_table("movies", tables["movies"])
    growth = _named(read_table("growth", tables["growth"], _GROWTH_COLUMNS), movies)
    frames = _named(read_table("frames", tables["frames"], _FRAME_COLUMNS), movies)
    population = _named(read_table("population", tables["population"]), movies)
    unit_kind = _unit_kind(movies)
    rates = fitted_rates(growth, unit_kind)
    of_object = _single(movies["object"], "cell")
    size = _single(movies["size_quantity"], "area")
    flags, unjudged = flag_counts({name: tables[name] for name in FLAGGED_TABLES})
    marks = sorted({(str(each["event"]), float(each["time_h"])) for each in events}, key=lambda mark: mark[1])
    shown, hidden = _overlays(movies, overlays, max_movies_shown)
    with rc_context(INK):
        page = {
            "experiment": experiment,
            "nuclei": of_object == "nucleus",
            "size": size,
            "headline": _headline(movies, frames, growth, tables["cells"]),
            "rates": _rate_rows(rates),
            "unit_kind": unit_kind,
            "interval": _interval_words(unit_kind),
            "proliferation": _proliferation_rows(population),
            "windows": _window_rows(population),
            "not_done": _not_done(movies),
            "notices": _notices(movies, model, training_status),
            "overlays": shown,
            "overlays_hidden": hidden,
            "figures": {
                "cells": cells_figure(frames, marks),
                "tracks": tracks_figure(growth, frames),
                "growth": growth_figure(rates, unit_kind, of_object),
                "size": size_figure(growth, size, of_object),
                "expression": expression_figure(tables["expression"], frames, marks),
            },
            "flags": flags,
            "unjudged": unjudged,
            "movies": _movie_rows(movies, frames),
            "model": _model_rows(model),
            "roc": _picture(roc_figure) if roc_figure else None,
            "settings": {stage: flattened(values) for stage, values in settings.items()},
            "versions": _version_rows(movies),
        }
    html = _template(template_path).render(page)
    with atomic_path(report_path) as temporary:
        temporary.write_text(html, encoding="utf-8")


_FRAME_COLUMNS = ["movie", "condition", "replicate", "frame", "time_h", "cells"]
_GROWTH_COLUMNS = [
    "movie",
    "condition",
    "replicate",
    "track",
    "frames_observed",
    "end",
    "time_at_risk_h",
    "cycle_observed",
    "size_birth",
    "size_division",
    "added_size",
    "growth_rate_per_h",
    "flag_short",
    "flag_poor_fit",
]


def read_card(path: str | os.PathLike | None) -> dict | None:
    """Content of model.json; None where there is no path."""
    return _json_of(path)


def read_status(path: str | os.PathLike | None) -> dict | None:
    """How the last training of the model ended; None where there is no path: it was not trained here."""
    return _json_of(path)


def _json_of(path: str | os.PathLike | None) -> dict | None:
    return json.loads(Path(path).read_text(encoding="utf-8")) if path else None


def _template(path: str | os.PathLike) -> jinja2.Template:
    path = Path(path)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(path.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, "percent": _percent, "bar": _bar}
    return environment.get_template(path.name)


def _percent(share: float) -> str:
    return "below 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


def _bar(share: float) -> str:
    """Width in percent; what is above 0 is to be seen."""
    return f"{max(2.0, 100 * share):.0f}" if share else "0"


def _named(table: pd.DataFrame, movies: pd.DataFrame) -> pd.DataFrame:
    """Text as categories; conditions in the order of the movies table, also where none is stated."""
    stated = [str(each) for each in movies["condition"].dropna().unique()]
    unstated = UNSTATED if stated else ALL_MOVIES
    order = stated + [unstated] * int(movies["condition"].isna().any())
    table = table.assign(condition=pd.Categorical(table["condition"].fillna(unstated), categories=order))
    for column in ("movie", "replicate", "end"):
        if column in table:
            table[column] = table[column].astype("category")
    return table


def _single(column: pd.Series, otherwise: str) -> str:
    values = column.dropna()
    return str(values.iloc[0]) if len(values) else otherwise


def _unit_kind(movies: pd.DataFrame) -> str:
    return "replicate" if movies["replicate"].notna().any() else "movie"


def number(value: float | None) -> str:
    """A number for reading: a count in full, an estimate with three significant digits.

    Parameters
    ----------
    value : int, float or None
        None, NaN and infinity give a dash.
    """
    if value is None or pd.isna(value) or math.isinf(value):
        return "–"
    if isinstance(value, int | np.integer) or value == 0:
        return f"{int(value):,}".replace("-", "−")
    decimals = 2 - math.floor(math.log10(abs(value)))
    return f"{value:,.{min(max(0, decimals), 12)}f}".replace("-", "−")


def _exact(value: float | None) -> str:
    """A number that was set, not estimated: no zeros behind."""
    return "–" if pd.isna(value) else f"{value:.4g}"


def counted(count: int, noun: str) -> str:
    """'1 movie', '2 movies'."""
    plural = {"nucleus": "nuclei"}.get(noun, f"{noun}s")
    return f"{number(count)} {noun if count == 1 else plural}"


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
    half = 1.959964 * math.sqrt(n) / 2
    ranked = np.sort(values)
    low, high = math.floor((n + 1) / 2 - half), math.ceil((n + 1) / 2 + half)
    return float(np.median(values)), float(ranked[max(low, 1) - 1]), float(ranked[min(high, n) - 1])


def number_rates(population: pd.DataFrame) -> pd.DataFrame:
    """Rate of the number of cells of each condition, over all windows of time.

    A replicate's rate is the mean over its windows, weighted by their length.
    With two replicates or more: the mean over replicates with its 95 %
    t-interval; with one: its rate and 1.96 times its standard error between
    movies, NaN where it has none.

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
            rate, se = means[0]
            estimate = rate, rate - 1.959964 * se, rate + 1.959964 * se
        else:
            estimate = (math.nan,) * 3
        rows.append((str(condition), len(values), *estimate, int(of_condition["divisions"].sum())))
    columns = ["condition", "replicates", "rate_per_h", "lo95_per_h", "hi95_per_h", "divisions"]
    return pd.DataFrame(rows, columns=columns)


def _over_windows(windows: pd.DataFrame) -> tuple[float, float] | None:
    known = windows[windows["number_rate_per_h"].notna()]
    if not len(known):
        return None
    weights = (known["window_end_h"] - known["window_start_h"]).to_numpy(float)
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(known), 1 / len(known))
    rate = float(np.sum(weights * known["number_rate_per_h"].to_numpy(float)))
    return rate, float(np.sqrt(np.sum((weights * known["number_rate_se_per_h"].to_numpy(float)) ** 2)))


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


def _batches(name: str, path: str | os.PathLike, columns: Sequence[str]) -> Iterator[pa.Table]:
    read_table(name, path, columns=[])  # refuses a file that holds another table
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1 << 18, columns=list(columns)):
            yield pa.Table.from_batches([batch])


def flattened(values: Mapping, before: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, text) pairs, in order.

    Parameters
    ----------
    values : mapping
        Of JSON values.
    before : str
        Name that all of them stand under.
    """
    if not isinstance(values, Mapping):
        return [(before, _value_text(values))]
    pairs = []
    for key, value in values.items():
        name = f"{before}.{key}" if before else str(key)
        if isinstance(value, Mapping) and value:
            pairs += flattened(value, name)
        else:
            pairs.append((name, _value_text(value)))
    return pairs


def _value_text(value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) > LONGEST_LIST:
            return f"{len(value)} values"
        return ", ".join(_value_text(each) for each in value) or "none"
    if isinstance(value, Mapping):
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _headline(movies: pd.DataFrame, frames: pd.DataFrame, growth: pd.DataFrame, cells_path) -> list[dict]:
    status = movies["status"].value_counts()
    others = [f"{number(n)} {word}" for word, n in status.items() if word != "done"]
    with pq.ParquetFile(cells_path) as file:
        cells = file.metadata.num_rows
    tracks = len(growth[["movie", "track"]].drop_duplicates())
    return [
        {
            "id": "movies",
            "value": number(int(status.get("done", 0))),
            "name": "movies done",
            "note": ", ".join(others) or "none refused",
        },
        {"id": "frames", "value": number(len(frames)), "name": "frames", "note": _hours_words(frames)},
        {"id": "cells", "value": number(cells), "name": "outlines", "note": "one a cell and frame"},
        {"id": "tracks", "value": number(tracks), "name": "tracks", "note": "cells followed over time"},
        {
            "id": "divisions",
            "value": number(int((growth["end"] == "division").sum())),
            "name": "divisions",
            "note": f"{counted(int(growth['cycle_observed'].sum()), 'whole cycle')} seen",
        },
    ]


def _hours_words(frames: pd.DataFrame) -> str:
    if not len(frames):
        return "no movie was processed"
    longest = frames.groupby("movie", observed=True)["time_h"].max()
    low, high = _exact(longest.min()), _exact(longest.max())
    return f"{low} h long" if low == high else f"{low} to {high} h long"


def _rate_rows(rates: pd.DataFrame) -> list[dict]:
    return [
        {
            "condition": row.condition,
            "cells": number(row.cells),
            "units": number(row.units),
            **_rate_words(row.rate_per_h, row.lo95_per_h, row.hi95_per_h),
        }
        for row in rate_summary(rates).itertuples()
    ]


def _rate_words(rate: float, low: float, high: float) -> dict[str, str]:
    minutes = rate > math.log(2) / LONGEST_IN_MINUTES_H
    return {
        "rate": number(rate),
        "interval": "–" if math.isnan(low) else f"{number(low)} to {number(high)}",
        "doubling": _doubling_words(rate, minutes),
        "doubling_interval": _doubling_interval(low, high, minutes),
    }


def _doubling_words(rate: float, minutes: bool) -> str:
    if math.isnan(rate):
        return "–"
    if rate <= 0:
        return "does not grow"
    return f"{_doubling_time(rate, minutes)} {'min' if minutes else 'h'}"


def _doubling_time(rate: float, minutes: bool) -> str:
    return number(math.log(2) / rate * (60 if minutes else 1))


def _doubling_interval(low: float, high: float, minutes: bool) -> str:
    if math.isnan(low) or high <= 0:
        return "–"
    unit = "min" if minutes else "h"
    if low <= 0:
        return f"above {_doubling_time(high, minutes)} {unit}"
    return f"{_doubling_time(high, minutes)} to {_doubling_time(low, minutes)} {unit}"


def _interval_words(unit_kind: str) -> str:
    unstated = (
        "No replicates are stated in movies.tsv, so movies stand in for them, and differences between cultures "
        "are not in these intervals. "
    )
    return (
        f"{unstated if unit_kind == 'movie' else ''}With two {unit_kind}s or more: the mean of the {unit_kind}s' "
        f"medians with its 95 % interval (Student's t over {unit_kind}s). With one: the median over cells with its "
        "95 % interval, which says nothing about other cultures."
    )


def _proliferation_rows(population: pd.DataFrame) -> list[dict]:
    return [
        {
            "condition": row.condition,
            "replicates": number(row.replicates),
            "divisions": number(row.divisions),
            **_rate_words(row.rate_per_h, row.lo95_per_h, row.hi95_per_h),
        }
        for row in number_rates(population).itertuples()
    ]


def _window_rows(population: pd.DataFrame) -> list[dict]:
    return [
        {
            "condition": str(row.condition),
            "replicate": UNSTATED if pd.isna(row.replicate) else str(row.replicate),
            "window": f"{_exact(row.window_start_h)} to {_exact(row.window_end_h)} h",
            "movies": number(row.movies),
            "cells": f"{number(row.cells_start)} → {number(row.cells_end)}",
            "rate": number(row.number_rate_per_h),
            "size_rate": number(row.size_rate_per_h),
            "cycle": _with_interval(row.cycle_time_median_h, row.cycle_time_lo95_h, row.cycle_time_hi95_h),
            "complete": number(row.complete_cycle_time_median_h),
            "cycles": f"{number(row.cycles_complete)} of {number(row.cycles_born)}",
        }
        for row in population.itertuples()
    ]


def _with_interval(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return "–"
    return f"{number(value)} ({number(low)} to {number(high)})"


def _not_done(movies: pd.DataFrame) -> list[dict]:
    groups = []
    for status, title in STATUS_TITLES.items():
        rows = movies[movies["status"] == status]
        if len(rows):
            listed = [
                {"movie": str(row.movie), "reason": "no reason given" if pd.isna(row.reason) else str(row.reason)}
                for row in rows.itertuples()
            ]
            groups.append({"status": status, "title": f"{counted(len(rows), 'movie')} {title}", "movies": listed})
    return groups


def _notices(movies: pd.DataFrame, model: Mapping | None, training_status: Mapping | None) -> list[dict]:
    notices = []
    if training_status and training_status.get("status") == "kept":
        digest = f" ({model['digest'][:12]})" if model and model.get("digest") else ""
        title = f"The new training was not accepted: the model accepted before it{digest} was kept and used"
        reason = training_status.get("reason") or "no reason given"
        notices.append({"title": title, "findings": [{"text": str(reason), "movies": []}]})
    notices += _differences(movies)
    warned = movies.dropna(subset=["warnings"])
    if len(warned):
        findings = [
            {"text": str(text), "movies": [str(each) for each in names]}
            for text, names in warned.groupby("warnings", sort=False)["movie"]
        ]
        notices.append({"title": f"Warnings in {counted(len(warned), 'movie')}", "findings": findings})
    return notices


def _differences(movies: pd.DataFrame) -> list[dict]:
    done = movies[movies["status"] == "done"]
    kinds = {title: done[column].nunique(dropna=True) for column, title in VERSIONS.items() if column != "seed"}
    several = [f"{title} ({n})" for title, n in kinds.items() if n > 1]
    if not several:
        return []
    text = f"What differs, and in how many kinds: {', '.join(several)}. The table movies says which movie has which."
    return [{"title": "Not all movies were processed in the same way", "findings": [{"text": text, "movies": []}]}]


def _overlays(movies: pd.DataFrame, overlays: Mapping, most: int) -> tuple[list[dict], int]:
    """Pictures of movies that are done, the conditions in turn, within the page's size."""
    done = movies[movies["status"] == "done"]
    there = done[done["movie"].isin(list(overlays))]
    turn = there.groupby(there["condition"].fillna(UNSTATED)).cumcount()
    shown, left_bytes = [], LARGEST_PICTURES_BYTES
    for row in there.loc[turn.sort_values(kind="stable").index].itertuples():
        path = Path(overlays[row.movie])
        left_bytes -= path.stat().st_size
        if len(shown) == most or left_bytes < 0:
            break
        of = [str(each) for each in (row.condition, row.replicate) if not pd.isna(each)]
        shown.append({"movie": str(row.movie), "of": ", ".join(of), "src": _picture(path)})
    return shown, len(there) - len(shown)


def _movie_rows(movies: pd.DataFrame, frames: pd.DataFrame) -> list[dict]:
    outlines = frames.groupby("movie", observed=True)["cells"].sum()
    return [
        {
            "movie": str(row.movie),
            "condition": "–" if pd.isna(row.condition) else str(row.condition),
            "replicate": "–" if pd.isna(row.replicate) else str(row.replicate),
            "status": str(row.status),
            "frames": number(row.frames),
            "pixels": "–" if pd.isna(row.height_px) else f"{row.height_px} × {row.width_px}",
            "channels": "–" if pd.isna(row.channels) else str(row.channels).replace(",", ", "),
            "pixel_size": _exact(row.pixel_size_um),
            "interval": _exact(row.frame_interval_min),
            "outlines": number(outlines.get(row.movie, 0)),
            "remarks": "; ".join(str(each) for each in (row.reason, row.warnings) if not pd.isna(each)),
        }
        for row in movies.itertuples()
    ]


def _model_rows(model: Mapping | None) -> list[tuple[str, str]]:
    if not model:
        return []
    rest = {key: value for key, value in model.items() if key != "metrics"}
    return flattened(rest) + flattened(model.get("metrics") or {}, "metrics")


def _version_rows(movies: pd.DataFrame) -> list[tuple[str, str]]:
    done = movies[movies["status"] == "done"]
    rows = []
    for column, title in VERSIONS.items():
        counts = done[column].dropna().value_counts()
        if not len(counts):
            continue
        if column in LIKE_DIGESTS:
            same = len(counts) == 1
            text = "the same for all movies" if same else f"{len(counts)} kinds; see the table movies"
        elif len(counts) == 1:
            text = str(counts.index[0])
        else:
            text = ", ".join(f"{value} ({counted(n, 'movie')})" for value, n in counts.items())
        rows.append((title, text))
    return rows


def _picture(path: str | os.PathLike) -> str:
    kind = "svg+xml" if Path(path).suffix == ".svg" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(Path(path).read_bytes()).decode()}"


def _embedded(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", dpi=160, metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _colour_of(conditions: Sequence[str]) -> dict[str, str]:
    conditions = list(conditions)
    if len(conditions) <= len(COLOURS):
        return dict(zip(conditions, COLOURS, strict=False))
    shades = colormaps["viridis"](np.linspace(0, 0.93, len(conditions)))
    return {condition: to_hex(shade) for condition, shade in zip(conditions, shades, strict=True)}


def _mark_events(axes: Axes, marks: Sequence[tuple[str, float]]) -> None:
    for name, time_h in marks:
        axes.axvline(time_h, color="#777", lw=1, ls=(0, (4, 3)))
        axes.annotate(
            name,
            (time_h, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -2),
            textcoords="offset points",
            va="top",
            fontsize=8.5,
            color="#555",
        )


def _legend(axes: Axes, handles: Sequence, labels: Sequence[str], **where) -> None:
    handles, labels = list(handles), list(labels)
    if labels in ([], [ALL_MOVIES]):
        return
    more = len(labels) - LARGEST_LEGEND
    if more > 0:
        handles = handles[:LARGEST_LEGEND]
        labels = [*labels[: LARGEST_LEGEND - 1], f"{labels[LARGEST_LEGEND - 1]} (and {more} more)"]
    labels = [_short(label, 32) for label in labels]
    axes.legend(handles, labels, **({"loc": "upper left", "bbox_to_anchor": (1.0, 1.03)} | where))


def cells_figure(frames: pd.DataFrame, marks: Sequence[tuple[str, float]]) -> dict | None:
    """Number of cells over time, a line a movie. None where there is no frame.

    Parameters
    ----------
    frames : DataFrame
        movie, condition (categorical), frame, time_h and cells.
    marks : sequence of (str, float)
        Events and their times in hours.
    """
    counts = frames.dropna(subset=["time_h", "cells"])
    if not len(counts) or not counts["cells"].sum():
        return None
    figure = Figure(figsize=(11.5, 3.7), layout="constrained")
    axes = figure.subplots()
    colours = _colour_of(counts["condition"].cat.categories)
    lines = {}
    n = counts["movie"].nunique()
    for (condition, _), of_movie in counts.groupby(["condition", "movie"], observed=True):
        (lines[condition],) = axes.plot(
            of_movie["time_h"].to_numpy(float),
            of_movie["cells"].to_numpy(float),
            color=colours[condition],
            lw=1.8 if n <= 12 else 0.9,
            alpha=0.9 if n <= 12 else 0.45,
            rasterized=len(counts) > LARGEST_VECTOR_POINTS,
        )
    seen = counts.loc[counts["cells"] > 0, "cells"]
    logarithmic = seen.max() > 8 * seen.min()
    if logarithmic:
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="time (h)", ylabel="cells in the frame")
    axes.margins(x=0.01)
    _mark_events(axes, marks)
    _legend(axes, lines.values(), map(str, lines))
    scale = " The axis is logarithmic: steady exponential growth is a straight line." if logarithmic else ""
    return {
        "src": _embedded(figure),
        "alt": "Lines: number of cells against time in hours, one line a movie.",
        "caption": f"Number of cells in each frame, one line a movie ({counted(n, 'movie')}, "
        f"{counted(len(counts), 'frame')}), coloured by condition.{scale}",
    }


def tracks_figure(growth: pd.DataFrame, frames: pd.DataFrame) -> dict | None:
    """How long cells were followed, and how their tracks end. None where there is no track.

    Parameters
    ----------
    growth : DataFrame
        frames_observed, time_at_risk_h, cycle_observed and end.
    frames : DataFrame
        movie and time_h, for the width of the steps in time.
    """
    if not len(growth):
        return None
    complete = growth["cycle_observed"].fillna(False).to_numpy(bool)
    figure = Figure(figsize=(11.5, 3.5), layout="constrained")
    by_frames, by_hours, by_end = figure.subplots(1, 3, width_ratios=(1, 1, 0.9))
    observed = growth["frames_observed"].to_numpy(float, na_value=np.nan)
    hours = growth["time_at_risk_h"].to_numpy(float)
    step = max(1, math.ceil(np.nanmax(observed, initial=1) / 40))
    handles = _stacked(by_frames, observed, complete, step, 1)
    _stacked(by_hours, hours, complete, step, _frame_interval_h(frames) or 1.0)
    by_frames.set(xlabel="frames observed", ylabel="cell cycles", title="Length in frames")
    by_hours.set(xlabel="time under observation (h)", title="Length in hours")
    by_frames.legend(*handles, loc="upper right", fontsize=9)
    _bars_of_ends(by_end, growth["end"])
    return {
        "src": _embedded(figure),
        "alt": "Histograms of the length of tracks in frames and in hours, and bars of how tracks end.",
        "caption": f"How long each of {counted(len(growth), 'cell cycle')} was observed: {number(int(complete.sum()))} "
        f"from birth to division, {number(int((~complete).sum()))} cut short at either end (censored). Long cycles are "
        "cut short more often, so the complete ones alone are biased short.",
    }


def _bars_of_ends(axes: Axes, ends: pd.Series) -> None:
    counts = ends.value_counts()
    counts = counts[counts > 0].sort_values()
    names = [ENDS.get(each, each) for each in counts.index]
    bars = axes.barh(names, counts.to_numpy(float), color="#7a8793", height=0.65)
    axes.bar_label(bars, [number(each) for each in counts], padding=3, fontsize=9, color="#444")
    axes.set(xlabel="cell cycles", title="How they end")
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.18)


def _stacked(axes: Axes, values: np.ndarray, complete: np.ndarray, step: int, of: float) -> tuple[list, list]:
    """Histogram in bins of `step` frames, a frame being `of` on this axis."""
    names = ["birth to division seen", "cut short (censored)"]
    known = ~np.isnan(values)
    last = math.floor(np.max(values[known], initial=0) / of + 0.5)
    bins = (np.arange(0, last + 2 * step, step) - 0.5) * of
    _, _, drawn = axes.hist(
        [values[complete & known], values[~complete & known]],
        bins,
        stacked=True,
        color=[COLOURS[0], "#c3cdd6"],
    )
    axes.set_xlim(left=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return [each[0] for each in drawn], names


def growth_figure(rates: pd.DataFrame, unit_kind: str, of_object: str) -> dict | None:
    """Growth rates by condition: cells, medians of replicates and their mean. None without rates.

    Parameters
    ----------
    rates : DataFrame
        condition, unit and rate, as `fitted_rates` gives.
    unit_kind : {'replicate', 'movie'}
        What a unit is.
    of_object : {'cell', 'nucleus'}
        What was outlined.
    """
    if not len(rates):
        return None
    summary = rate_summary(rates)
    few = len(summary) <= FEW_CONDITIONS
    figure = Figure(figsize=(11.5, 4.2 if few else 4.8), layout="constrained")
    strips, *rest = figure.subplots(1, 2, width_ratios=(1.35, 1)) if few else [figure.subplots()]
    limits = _robust_limits(rates["rate"].to_numpy())
    of_what = f"growth rate of {'nuclear size' if of_object == 'nucleus' else 'size'} (1/h)"
    _strips(strips, rates, summary, limits)
    _doubling_axis(strips, *limits)
    strips.set(ylabel=of_what, title=f"Small: cells. Large: medians of {unit_kind}s. Bar: estimate and 95 % interval")
    for shares in rest:
        _rate_histograms(shares, rates, summary, limits)
        shares.set(xlabel=of_what, ylabel="share of cell cycles (%)", title="Distribution")
    beyond = int(((rates["rate"] < limits[0]) | (rates["rate"] > limits[1])).sum())
    outside = f" {counted(beyond, 'cycle')} beyond the axes." if beyond else ""
    counts = [
        f"{row.condition}: {number(row.cells)} of {counted(row.units, unit_kind)}" for row in summary.itertuples()
    ]
    n = ", ".join(counts) if few else f"{number(len(rates))} of {counted(len(summary), 'condition')}"
    return {
        "src": _embedded(figure),
        "alt": "Strips of growth rates by condition, with medians of replicates.",
        "caption": f"Growth rate of each cell cycle with enough frames and a good fit ({n}).{outside}",
    }


def _strips(axes: Axes, rates: pd.DataFrame, summary: pd.DataFrame, limits: tuple[float, float]) -> None:
    colours = _colour_of(rates["condition"].cat.categories)
    random = np.random.default_rng(0)
    for place, row in enumerate(summary.itertuples()):
        _strip(axes, place, rates[rates["condition"] == row.condition], colours[row.condition], random)
        axes.hlines(row.rate_per_h, place - 0.3, place + 0.3, color="black", lw=2, zorder=4)
        axes.vlines(place, row.lo95_per_h, row.hi95_per_h, color="black", lw=1.3, zorder=4)
    axes.set_xticks(range(len(summary)), [_short(each, 24) for each in summary["condition"]])
    if len(summary) > FEW_CONDITIONS:
        for label in axes.get_xticklabels():
            label.set(rotation=35, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(summary) - 0.4)
    axes.set_ylim(*limits)
    axes.grid(axis="x", visible=False)


def _rate_histograms(axes: Axes, rates: pd.DataFrame, summary: pd.DataFrame, limits: tuple[float, float]) -> None:
    colours = _colour_of(rates["condition"].cat.categories)
    for condition in summary["condition"]:
        values = rates.loc[rates["condition"] == condition, "rate"]
        axes.hist(
            values.clip(*limits),
            np.linspace(*limits, 41),
            weights=np.full(len(values), 100 / len(values)),
            histtype="step",
            lw=1.8,
            color=colours[condition],
            label=condition,
        )
    handles, labels = axes.get_legend_handles_labels()
    _legend(axes, handles, labels, loc="upper right", bbox_to_anchor=None)


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _strip(axes: Axes, place: int, rates: pd.DataFrame, colour: str, random: np.random.Generator) -> None:
    dots = rates["rate"].to_numpy()
    if len(dots) > LARGEST_STRIP_DOTS:
        dots = random.choice(dots, LARGEST_STRIP_DOTS, replace=False)
    across = place + random.uniform(-0.26, 0.26, len(dots))
    axes.scatter(across, dots, s=7, color=colour, alpha=0.3, lw=0, rasterized=True)
    medians = rates.groupby("unit")["rate"].median().sort_index()
    spread = np.linspace(-0.18, 0.18, len(medians)) if len(medians) > 1 else [0]
    size = 85 if len(medians) <= 12 else 25
    axes.scatter(place + np.asarray(spread), medians, s=size, color=colour, edgecolor="white", lw=1.2, zorder=5)


def _robust_limits(values: np.ndarray) -> tuple[float, float]:
    """Limits that hold all values, unless a few lie so far out that nothing else could be seen."""
    low, high = np.percentile(values, (1, 99))
    span = max(high - low, 1e-3 + 0.1 * abs(high))
    return max(float(values.min()), low - span) - 0.04 * span, min(float(values.max()), high + span) + 0.04 * span


def _doubling_axis(axes: Axes, low: float, high: float) -> None:
    """Doubling times on the right, where rates are above 0."""
    minutes = [(math.log(2) / (time / 60), f"{time} min") for time in (2, 3, 5, 7, 10, 15, 20, 30, 45, 60, 90)]
    hours = [(math.log(2) / time, f"{time:g} h") for time in (2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200, 500)]
    apart = (high - low) / 14
    kept: list[tuple[float, str]] = []
    for place, text in sorted(minutes + hours):
        if low < place < high and place - (kept[-1][0] if kept else 0) > apart:
            kept.append((place, text))
    right = axes.twinx()
    right.set_ylim(low, high)
    right.set_yticks([place for place, _ in kept], [text for _, text in kept])
    right.grid(visible=False)
    right.tick_params(axis="y", length=0, colors="#777")
    right.set_ylabel("doubling time", color="#777")


def size_figure(growth: pd.DataFrame, size: str, of_object: str) -> dict | None:
    """Size at birth and division, and what was added between. None without whole cycles.

    Parameters
    ----------
    growth : DataFrame
        condition, cycle_observed, size_birth, size_division, added_size.
    size : {'area', 'length', 'volume'}
        What is meant by size.
    of_object : {'cell', 'nucleus'}
        What was outlined.
    """
    whole = growth[growth["cycle_observed"].fillna(False)].dropna(subset=["size_birth", "size_division", "added_size"])
    if not len(whole):
        return None
    unit = SIZE_UNITS[size].replace("um", "µm").replace("2", "²").replace("3", "³")
    figure = Figure(figsize=(11.5, 3.7), layout="constrained")
    sizes, added = figure.subplots(1, 2)
    both = whole[["size_birth", "size_division"]].to_numpy(float)
    bins = np.linspace(*_robust_limits(both.ravel()), 36)
    for column, colour, name in (("size_birth", "#56B4E9", "at birth"), ("size_division", "#0b3d66", "at division")):
        sizes.hist(whole[column].clip(bins[0], bins[-1]), bins, color=colour, alpha=0.65, label=name)
    sizes.set(xlabel=f"{of_object} {size} ({unit})", ylabel="cell cycles", title="Size at birth and at division")
    sizes.yaxis.set_major_locator(MaxNLocator(integer=True))
    sizes.legend()
    colours = _colour_of(whole["condition"].cat.categories)
    for condition, rows in whole.groupby("condition", observed=True):
        dots = rows.sample(min(len(rows), LARGEST_STRIP_DOTS), random_state=0)
        added.scatter(
            dots["size_birth"], dots["added_size"], s=10, lw=0, alpha=0.4, color=colours[condition], rasterized=True
        )
        at, medians = _binned_medians(rows["size_birth"].to_numpy(float), rows["added_size"].to_numpy(float))
        added.plot(at, medians, "o-", color=colours[condition], mec="white", ms=7, label=str(condition))
    added.set_xlim(*_robust_limits(both[:, 0]))
    added.set_ylim(*_robust_limits(whole["added_size"].to_numpy(float)))
    added.set(xlabel=f"size at birth ({unit})", ylabel=f"added until division ({unit})", title="Added size")
    handles, labels = added.get_legend_handles_labels()
    _legend(added, handles, labels)
    return {
        "src": _embedded(figure),
        "alt": "Histograms of the size at birth and at division; size added against size at birth.",
        "caption": f"Fitted {of_object} {size} at birth and at division of {counted(len(whole), 'cell cycle')} seen "
        "from birth to division, and the size added against the size at birth, with medians of groups of equal number: "
        "level where cells add a constant size.",
    }


def _binned_medians(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    groups = np.array_split(np.argsort(x), max(1, min(6, len(x) // 8)))
    return [float(np.median(x[group])) for group in groups], [float(np.median(y[group])) for group in groups]


def expression_figure(path: str | os.PathLike, frames: pd.DataFrame, marks: Sequence[tuple[str, float]]) -> dict | None:
    """Median expression over time by condition, a panel a channel and compartment. None without any.

    Parameters
    ----------
    path : path
        Table `expression`.
    frames : DataFrame
        movie, condition (categorical) and time_h, for the width of the steps in time.
    marks : sequence of (str, float)
        Events and their times in hours.
    """
    columns = ["condition", "channel", "compartment", "time_h", "mean_au"]
    rows, total = _sample(path, columns, LARGEST_SAMPLE_ROWS)
    if not len(rows):
        return None
    step_h = _time_step_h(frames)
    rows = rows.assign(
        condition=_filled(rows["condition"], _unstated(frames)), step=np.floor(rows["time_h"] / step_h + 0.5)
    )
    groups = rows.groupby(["channel", "compartment"], observed=True)
    columns_shown = min(3, len(groups))
    lines = math.ceil(len(groups) / columns_shown)
    figure = Figure(figsize=(11.5, 0.5 + 3.2 * lines), layout="constrained")
    panels = figure.subplots(lines, columns_shown, squeeze=False).ravel()
    order = [str(each) for each in frames["condition"].cat.categories]
    colours, handles = _colour_of(order), {}
    several, few = rows["compartment"].nunique() > 1, rows["condition"].nunique() <= FEW_CONDITIONS
    for axes, ((channel, compartment), of_panel) in zip(panels, groups, strict=False):
        for condition in order:
            of_condition = of_panel[of_panel["condition"] == condition]
            if len(of_condition):
                handles[condition] = _band(axes, of_condition, step_h, colours[condition], few)
        axes.axhline(0, color="#999", lw=0.8)
        axes.set_title(f"{channel}, {compartment}" if several else channel)
        axes.set(xlabel="time (h)", ylabel="mean above background (au)")
        axes.margins(x=0.01)
        _mark_events(axes, marks)
    for axes in panels[len(groups) :]:
        axes.set_visible(False)
    if handles:
        _legend(panels[columns_shown - 1], handles.values(), handles)
    middle = "median (line) and middle half (band)" if few else "median (line)"
    sampled = f"a random sample of {number(len(rows))} of " if len(rows) < total else ""
    return {
        "src": _embedded(figure),
        "alt": "Lines and bands: median and quartiles of expression against time, a panel a channel.",
        "caption": f"Mean intensity above background of the cells over time: {middle} "
        f"over cells, by condition ({sampled}{counted(total, 'measurement')}, in steps of {_exact(step_h)} h). Not "
        "corrected beyond what the settings say; camera units compare within one experiment only.",
    }


def _unstated(frames: pd.DataFrame) -> str:
    """What the condition is called where none is stated."""
    return ALL_MOVIES if ALL_MOVIES in frames["condition"].cat.categories else UNSTATED


def _filled(categories: pd.Series, with_what: str) -> pd.Series:
    if not categories.isna().any():
        return categories
    return categories.cat.add_categories([with_what]).fillna(with_what)


def _band(axes: Axes, rows: pd.DataFrame, step_h: float, colour: str, quartiles_too: bool) -> Line2D:
    quartiles = rows.groupby("step")["mean_au"].quantile([0.25, 0.5, 0.75]).unstack()
    hours = quartiles.index.to_numpy() * step_h
    if quartiles_too:
        axes.fill_between(hours, quartiles[0.25], quartiles[0.75], color=colour, alpha=0.18, lw=0)
    return axes.plot(hours, quartiles[0.5], color=colour, lw=1.8)[0]


def _frame_interval_h(frames: pd.DataFrame) -> float:
    """The median interval between frames; 0 where no movie has two."""
    interval = float(frames.groupby("movie", observed=True)["time_h"].diff().median())
    return interval if interval > 0 else 0.0


def _time_step_h(frames: pd.DataFrame) -> float:
    """The interval between frames, or longer where that makes too many steps."""
    longest = float(frames["time_h"].max())
    return max(_frame_interval_h(frames), longest / EXPRESSION_TIMES if longest > 0 else 0.0) or 1.0


def _sample(path: str | os.PathLike, columns: Sequence[str], most: int) -> tuple[pd.DataFrame, int]:
    """At most about `most` random rows of the measured ones, and how many there are in all."""
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
