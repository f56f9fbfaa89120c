"""Figures of an experiment, drawn to be read on one page.

Each is a dictionary with `src`, a data URI of an SVG, `alt` and `caption`, or
None where there is nothing to draw.
"""

import base64
import io
import math
import os
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cytolapse.columns import SIZE_UNITS
from cytolapse.summaries import rate_summary, sample_expression
from cytolapse.wording import ALL_MOVIES, UNSTATED, counted, exact, number, shortened

LARGEST_SAMPLE_ROWS = 2_000_000
LARGEST_STRIP_DOTS = 1500
LARGEST_LEGEND = 14
# More conditions than this are drawn without what would lie on top of each other.
FEW_CONDITIONS = 6
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
ENDS = {
    "division": "divided",
    "left": "left the view",
    "movie_end": "movie ended",
    "lost": "lost",
    "death": "died",
    "merged": "merged",
}


@rc_context(INK)
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


@rc_context(INK)
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


@rc_context(INK)
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
    axes.set_xticks(range(len(summary)), [shortened(each, 24) for each in summary["condition"]])
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


@rc_context(INK)
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
    for column, colour, name in (("size_birth", COLOURS[5], "at birth"), ("size_division", "#0b3d66", "at division")):
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


@rc_context(INK)
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
    rows, total = sample_expression(path, columns, LARGEST_SAMPLE_ROWS)
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
        f"over cells, by condition ({sampled}{counted(total, 'measurement')}, in steps of {exact(step_h)} h). Not "
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
    labels = [shortened(label, 32) for label in labels]
    axes.legend(handles, labels, **({"loc": "upper left", "bbox_to_anchor": (1.0, 1.03)} | where))
