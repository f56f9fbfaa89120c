"""The tables of many movies -> the tables of an experiment."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cytolapse.movies import frame_times_h, pixel_size_um
from cytolapse.population import write_population
from cytolapse.tables import concatenate_tables, read_metadata, typed, write_table

_STAGES = ("segment", "label", "measure", "link", "analyse")


def collect_experiment(
    parts: Mapping[str, Sequence[str | os.PathLike]],
    outputs: Mapping[str, str | os.PathLike],
    *,
    experiment: str,
    movies: Sequence[Mapping],
    channels: Sequence[str],
    object: str,
    segmenter: str,
    model: str | None,
    size_quantity: str,
    pixel_size_um: float | None,
    frame_interval_min: float | None,
    carried: Sequence[str],
    window_h: float | None,
) -> None:
    """Write the seven tables of an experiment, one movie in memory at a time.

    Parameters
    ----------
    parts : mapping of str to sequence of path
        `infos` (movie.json), `frames`, `cells`, `growth`, `fits` and
        `expression`: one file a movie that is not excluded, in the order of
        `movies`.
    outputs : mapping of str to path
        The seven tables to write.
    movies : sequence of mapping
        What the sheets say of each movie: movie, path, position, condition,
        replicate, excluded, reason and the columns x_...
    channels, object, segmenter, model, size_quantity, pixel_size_um, frame_interval_min
        As in experiments.tsv and config.
    carried : sequence of str
        The columns x_... of movies.tsv.
    window_h : float or None
        Width of the windows of `population`, in hours; None for one window.
    """
    metadata = {"experiment": experiment, "object": object}
    included = [row for row in movies if not row["excluded"]]
    for name in ("frames", "cells", "growth", "fits", "expression"):
        constants = [{"condition": row["condition"], "replicate": row["replicate"]} for row in included]
        concatenate_tables(
            name,
            zip(parts[name], constants, strict=True),
            outputs[name],
            metadata={**metadata, **_flag_rules(parts[name])},
            channels=channels if name == "frames" else (),
            size_quantity=size_quantity,
        )
    infos = dict(zip((row["movie"] for row in included), parts["infos"], strict=True))
    records = dict(zip((row["movie"] for row in included), parts["frames"], strict=True))
    rows = [
        _movie_row(row, infos.get(row["movie"]), records.get(row["movie"]), pixel_size_um, frame_interval_min)
        for row in movies
    ]
    of_all = {
        "experiment": experiment,
        "object": object,
        "size_quantity": size_quantity,
        "segmenter": segmenter,
        "model": model,
    }
    table = typed("movies", pd.DataFrame(rows).assign(**of_all), extra=carried)
    write_table("movies", table, outputs["movies"], metadata=metadata, extra=carried)
    write_population(
        outputs["cells"],
        outputs["growth"],
        outputs["frames"],
        outputs["population"],
        experiment=experiment,
        size_quantity=size_quantity,
        window_h=window_h,
    )


def _flag_rules(parts: Sequence[str | os.PathLike]) -> dict[str, str]:
    metadata = read_metadata(parts[0]) if parts else {}
    return {"flags": metadata["flags"]} if "flags" in metadata else {}


def _movie_row(
    row: Mapping,
    info_path: str | os.PathLike | None,
    table_path: str | os.PathLike | None,
    stated_pixel_um: float | None,
    stated_interval_min: float | None,
) -> dict:
    """The row of `movies` of one movie."""
    known = {key: value for key, value in row.items() if key not in ("excluded", "reason")}
    known["position"] = None if row["position"] is None else str(row["position"])
    if row["excluded"]:
        return {**known, "status": "excluded", "reason": row["reason"]}
    info = json.loads(Path(info_path).read_text())
    if info["status"] == "refused":
        return {**known, "status": "refused", "reason": info["reason"], "warnings": "; ".join(info["warnings"]) or None}
    intervals_h = np.diff(frame_times_h(info, stated_interval_min))
    interval_h = float(np.median(intervals_h)) if len(intervals_h) else np.nan
    stages = json.loads(read_metadata(table_path)["provenance"])
    warnings = [*info["warnings"], *_disagreements(info, stated_pixel_um, stated_interval_min)]
    if stages["link"].get("solver") == "assignment":
        warnings.append("the field was too crowded for trackpy; an assignment solver linked it frame by frame")
    return {
        **known,
        "status": "done",
        "frames": info["frames"],
        "height_px": info["height_px"],
        "width_px": info["width_px"],
        "channels": ",".join(info["channels"]),
        "pixel_size_um": pixel_size_um(info, stated_pixel_um),
        "frame_interval_min": interval_h * 60,
        "interval_even": bool(np.all(np.abs(intervals_h - interval_h) <= 0.05 * interval_h))
        if len(intervals_h)
        else None,
        "warnings": "; ".join(warnings) or None,
        **_provenance(stages),
    }


def _disagreements(info: Mapping, stated_pixel_um: float | None, stated_interval_min: float | None) -> list[str]:
    """Where experiments.tsv, which wins, and the file differ by more than 1 %."""
    pairs = (
        ("pixel size", "um", stated_pixel_um, info["pixel_size_um"]),
        ("frame interval", "min", stated_interval_min, info["frame_interval_min"]),
    )
    return [
        f"{name}: experiments.tsv says {stated:g} {unit}, the file {found:g} {unit}; experiments.tsv wins"
        for name, unit, stated, found in pairs
        if stated and found and abs(stated - found) > 0.01 * stated
    ]


def _provenance(stages: Mapping[str, Mapping]) -> dict:
    """What the stages wrote down about themselves, flattened for `movies`."""
    done = [stage for stage in _STAGES if stage in stages]
    # The stage that found the cells: of segmenters other than the pipeline's own there is no stage before label.
    found = stages[done[0]]
    return {
        "version": found["version"],
        "commit": found["commit"],
        "packages_digest": found["packages_digest"],
        "settings": json.dumps({stage: stages[stage]["settings"] for stage in done}, sort_keys=True),
        "code_digests": json.dumps({stage: stages[stage]["code"] for stage in done}, sort_keys=True),
        **{key: found.get(key) for key in ("segmenter_version", "model_digest", "device", "precision", "seed")},
    }
