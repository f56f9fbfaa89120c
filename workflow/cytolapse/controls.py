"""Cells that are known to lack something -> what is to be taken off the light of others."""

import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cytolapse.files import atomic_path
from cytolapse.tables import read_table

COLUMNS = ("setting", "channel", "source", "value", "se", "movies", "cells")
_READ = ["movie", "condition", "cell_id", "frame", "channel", "compartment", "background_au", "mean_raw_au"]
# Frames of a cell that a rate of bleaching is drawn from, and cells that crosstalk is, at least.
_LEAST_FRAMES = 4
_LEAST_CELLS = 5


def write_controls(
    expression_path: str | os.PathLike,
    output_path: str | os.PathLike,
    *,
    experiment: str,
    autofluorescence: Sequence[str],
    bleaching: Sequence[str],
    crosstalk: Mapping[str, Sequence[str]],
) -> None:
    """Write what control cells say of autofluorescence, bleaching and crosstalk, as tab-separated text.

    A row holds a value for `analyse` of config.yaml, with its standard error:
    that between movies, or between cells where there is one movie. Light is
    that of whole cells above background, as the camera read it: what config
    takes off already changes nothing here.

    Parameters
    ----------
    expression_path : path
        Table expression of the experiment.
    output_path : path
        Text to write.
    experiment : str
        For messages.
    autofluorescence : sequence of str
        Conditions whose cells have no reporter: the median over their cells.
    bleaching : sequence of str
        Conditions whose light neither grows nor is diluted, as in fixed cells:
        the part of it that each exposure takes, from a line through the
        logarithm of each cell's light against the exposures before. Light
        that does not bleach, of medium or cell, makes it look smaller.
    crosstalk : mapping of str to sequence of str
        By channel, conditions whose cells have that reporter alone: the slope
        of the light of other channels against it, over cells.

    Raises
    ------
    ValueError
        If no condition is named, or one holds too few cells for its value.
    """
    wanted = {*autofluorescence, *bleaching, *(each for named in crosstalk.values() for each in named)}
    if not wanted:
        raise ValueError(
            f"experiment {experiment}: no control is named; name conditions of movies.tsv in config.yaml (controls)"
        )
    rows = _light(expression_path, sorted(wanted))
    missing = sorted(wanted - set(rows["condition"]))
    if missing:
        raise ValueError(
            f"experiment {experiment}: no cell has the condition {', '.join(missing)} (controls of config.yaml); name "
            "conditions as in movies.tsv"
        )
    found = []
    for channel, of_channel in rows[rows["condition"].isin(autofluorescence)].groupby("channel", observed=True):
        found.append(_row("autofluorescence_au", channel, None, of_channel, _median_light))
    for channel, of_channel in rows[rows["condition"].isin(bleaching)].groupby("channel", observed=True):
        found.append(_row("bleached_per_exposure", channel, None, of_channel, _bleached))
    for source, conditions in crosstalk.items():
        chosen = rows[rows["condition"].isin(conditions)]
        wide = chosen.pivot_table(index=["movie", "cell_id"], columns="channel", values="light_au", observed=True)
        if source not in wide:
            raise ValueError(
                f"experiment {experiment}: cells of the condition {', '.join(conditions)} have no light in {source!r} "
                "(controls.crosstalk of config.yaml); name the channel of their reporter"
            )
        for channel in [each for each in wide.columns if each != source]:
            pairs = wide[[source, channel]].dropna().set_axis(["source_au", "light_au"], axis=1).reset_index()
            found.append(_row("crosstalk", channel, source, pairs, _slope))
    table = pd.DataFrame(found, columns=list(COLUMNS))
    with atomic_path(output_path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, float_format="%.6g", lineterminator="\n")


def _light(path: str | os.PathLike, conditions: Sequence[str]) -> pd.DataFrame:
    """Rows of whole cells of some conditions, with their light above background."""
    read_table("expression", path, columns=[])  # refuses a file that holds another table
    kept = []
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1 << 17, columns=_READ):
            named = pc.is_in(batch["condition"], value_set=pc.cast(conditions, batch["condition"].type))
            whole = pc.equal(batch["compartment"], "whole")
            kept.append(batch.filter(pc.and_(named, whole)).to_pandas())
    rows = pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(columns=_READ)
    rows["light_au"] = rows["mean_raw_au"].astype(float) - rows["background_au"].astype(float)
    return rows.dropna(subset=["light_au", "cell_id"])


def _row(
    setting: str, channel: str, source: str | None, rows: pd.DataFrame, value_of: Callable[[pd.DataFrame], np.ndarray]
) -> dict:
    """One value: the mean of those of movies, each the median of its own."""
    values = {movie: value_of(of_movie) for movie, of_movie in rows.groupby("movie")}
    values = {movie: each[np.isfinite(each)] for movie, each in values.items() if np.isfinite(each).any()}
    medians = np.array([np.median(each) for each in values.values()])
    spread = medians if len(medians) > 1 else np.concatenate([*values.values(), np.zeros(0)])
    return {
        "setting": setting,
        "channel": channel,
        "source": source,
        "value": medians.mean() if len(medians) else np.nan,
        "se": spread.std(ddof=1) / np.sqrt(len(spread)) if len(spread) > 1 else np.nan,
        "movies": len(medians),
        "cells": rows["cell_id"].nunique(),
    }


def _median_light(rows: pd.DataFrame) -> np.ndarray:
    return rows.groupby("cell_id")["light_au"].median().to_numpy()


def _bleached(rows: pd.DataFrame) -> np.ndarray:
    """Part of the light that an exposure takes, by cell."""
    order = {frame: before for before, frame in enumerate(np.unique(rows["frame"]))}
    positive = rows[rows["light_au"] > 0]
    if positive.empty:
        return np.zeros(0)
    exposures, log_light = positive["frame"].map(order).to_numpy(float), np.log(positive["light_au"].to_numpy())
    cells = positive["cell_id"]
    off = pd.DataFrame({"x": exposures, "y": log_light}).groupby(cells.to_numpy()).transform(lambda v: v - v.mean())
    sums = (off.assign(xx=off["x"] ** 2, xy=off["x"] * off["y"]).groupby(cells.to_numpy())).agg(
        xx=("xx", "sum"), xy=("xy", "sum"), frames=("x", "count")
    )
    enough = sums[(sums["frames"] >= _LEAST_FRAMES) & (sums["xx"] > 0)]
    return -np.expm1((enough["xy"] / enough["xx"]).to_numpy())


def _slope(pairs: pd.DataFrame) -> np.ndarray:
    """Slope of one channel's light against another's, over the cells of a movie."""
    source, light = pairs["source_au"].to_numpy(), pairs["light_au"].to_numpy()
    if len(pairs) < _LEAST_CELLS or not np.ptp(source) > 0:
        return np.array([np.nan])
    return np.array([np.polyfit(source, light, 1)[0]])
