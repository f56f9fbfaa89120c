"""Tables and pictures of one experiment -> one page to read.

The page is one file: no script, nothing loaded from elsewhere. Every number
on it can be computed again from the experiment's tables.
"""

import base64
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import pandas as pd
import pyarrow.parquet as pq

from cytolapse.cards import read_card
from cytolapse.columns import EXPERIMENT_TABLES
from cytolapse.figures import cells_figure, expression_figure, growth_figure, size_figure, tracks_figure
from cytolapse.files import atomic_path
from cytolapse.summaries import fitted_rates, flag_counts, number_rates, rate_summary
from cytolapse.tables import read_table
from cytolapse.wording import ALL_MOVIES, UNSTATED, counted, exact, flattened, number, rate_words

FLAGGED_TABLES = ("frames", "cells", "growth", "expression")
LARGEST_PICTURES_BYTES = 5_000_000

STATUS_TITLES = {"refused": "refused", "failed": "failed", "excluded": "excluded by movies.tsv"}
VERSIONS = {
    "version": "Cytolapse",
    "commit": "commit",
    "packages_digest": "digest of the packages",
    "segmenter": "segmenter",
    "segmenter_version": "version of the segmenter",
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
    training_figure: str | os.PathLike | None,
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
        Content of model.json; None where none of the pipeline's own was used.
    roc_figure, training_figure : path or None
        Figures of the model's evaluation and of the course of its training,
        SVG or PNG.
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
        "annotation_warnings": _metrics(model).get("annotation_warnings", []),
        "roc": _picture(roc_figure) if roc_figure else None,
        "training": _picture(training_figure) if training_figure else None,
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


def read_model(path: str | os.PathLike | None) -> dict | None:
    """Content of model.json; None where there is no path, as where another segmenter was used."""
    return read_card(path) if path else None


def read_json(path: str | os.PathLike | None) -> dict | None:
    """Content of a JSON file; None where there is no path, as where no model was trained."""
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
    low, high = exact(longest.min()), exact(longest.max())
    return f"{low} h long" if low == high else f"{low} to {high} h long"


def _rate_rows(rates: pd.DataFrame) -> list[dict]:
    return [
        {
            "condition": row.condition,
            "cells": number(row.cells),
            "units": number(row.units),
            **rate_words(row.rate_per_h, row.lo95_per_h, row.hi95_per_h),
        }
        for row in rate_summary(rates).itertuples()
    ]


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
            **rate_words(row.rate_per_h, row.lo95_per_h, row.hi95_per_h),
        }
        for row in number_rates(population).itertuples()
    ]


def _window_rows(population: pd.DataFrame) -> list[dict]:
    return [
        {
            "condition": str(row.condition),
            "replicate": UNSTATED if pd.isna(row.replicate) else str(row.replicate),
            "window": f"{exact(row.window_start_h)} to {exact(row.window_end_h)} h",
            "movies": number(row.movies),
            "cells": f"{number(row.cells_start)} → {number(row.cells_end)}",
            "rate": _with_interval(row.number_rate_per_h, row.number_rate_lo95_per_h, row.number_rate_hi95_per_h),
            "size_rate": _with_interval(row.size_rate_per_h, row.size_rate_lo95_per_h, row.size_rate_hi95_per_h),
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
            "pixel_size": exact(row.pixel_size_um),
            "interval": exact(row.frame_interval_min),
            "outlines": number(outlines.get(row.movie, 0)),
            "remarks": "; ".join(str(each) for each in (row.reason, row.warnings) if not pd.isna(each)),
        }
        for row in movies.itertuples()
    ]


def _model_rows(model: Mapping | None) -> list[tuple[str, str]]:
    if not model:
        return []
    rest = {key: value for key, value in model.items() if key != "metrics"}
    metrics = {key: value for key, value in _metrics(model).items() if key != "annotation_warnings"}
    for images in ("held_out", "training"):
        if isinstance(metrics.get(images), Mapping):
            metrics[images] = {key: value for key, value in metrics[images].items() if key != "by_image"}
    return flattened(rest) + flattened(metrics, "metrics")


def _metrics(model: Mapping | None) -> Mapping:
    return (model or {}).get("metrics") or {}


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
