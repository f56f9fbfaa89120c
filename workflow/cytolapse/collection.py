"""The tables of many movies -> the tables of an experiment."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cytolapse.movies import frame_times_h, pixel_size_um
from cytolapse.population import write_population
from cytolapse.tables import concatenate_tables, read_metadata, typed, write_table

logger = logging.getLogger(__name__)

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
        What sheets and names say of each movie: movie, path, position, well,
        condition, replicate, excluded, reason, warnings and the columns x_...
    channels, object, segmenter, model, size_quantity, pixel_size_um, frame_interval_min
        As in experiments.tsv and config. Where pixel size or interval differ
        from a file's, log and table say so.
    carried : sequence of str
        The columns x_...
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
    rows, said = [], {}
    for row in movies:
        known = json.loads(Path(infos[row["movie"]]).read_text()) if row["movie"] in infos else None
        differing = _disagreements(known, pixel_size_um, frame_interval_min)
        for difference in differing:
            said.setdefault(difference, []).append(row["movie"])
        of_row = {**row, "warnings": [*row["warnings"], *differing]}
        rows.append(_movie_row(of_row, known, records.get(row["movie"]), pixel_size_um, frame_interval_min))
    for difference, names in said.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        logger.warning("%s (movies: %s%s)", difference, ", ".join(names[:3]), more)
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
    info: Mapping | None,
    table_path: str | os.PathLike | None,
    stated_pixel_um: float | None,
    stated_interval_min: float | None,
) -> dict:
    """The row of `movies` of one movie."""
    known = {key: value for key, value in row.items() if key not in ("excluded", "reason", "warnings")}
    known["position"] = None if row["position"] is None else str(row["position"])
    if row["excluded"]:
        return {**known, "status": "excluded", "reason": row["reason"]}
    warnings = [*info["warnings"], *row["warnings"]]
    if info["status"] == "refused":
        return {**known, "status": "refused", "reason": info["reason"], "warnings": "; ".join(warnings) or None}
    intervals_h = np.diff(frame_times_h(info, stated_interval_min))
    stages = json.loads(read_metadata(table_path)["provenance"])
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
        "frame_interval_min": float(np.median(intervals_h)) * 60 if len(intervals_h) else None,
        "interval_even": _is_even(intervals_h) if len(intervals_h) else None,
        "warnings": "; ".join(warnings) or None,
        **_provenance(stages),
    }


def _is_even(intervals_h: np.ndarray) -> bool:
    middle_h = np.median(intervals_h)
    return bool(np.all(np.abs(intervals_h - middle_h) <= 0.05 * middle_h))


def _disagreements(info: Mapping | None, stated_pixel_um: float | None, stated_interval_min: float | None) -> list[str]:
    """Where experiments.tsv, which wins, and the file differ by more than 1 %, or the file's times are uneven."""
    if info is None or info["status"] == "refused":
        return []
    pairs = (
        ("pixel size", "um", stated_pixel_um, info["pixel_size_um"]),
        ("frame interval", "min", stated_interval_min, info["frame_interval_min"]),
    )
    differing = [
        f"{name}: experiments.tsv says {stated:g} {unit}, the file {found:g} {unit}; experiments.tsv wins"
        for name, unit, stated, found in pairs
        if stated and found and abs(stated - found) > 0.01 * stated
    ]
    steps_h = np.diff(info["time_h"] or [])
    if stated_interval_min and len(steps_h) and not _is_even(steps_h):
        differing.append(
            f"time stamps: experiments.tsv says {stated_interval_min:g} min from every frame to the next, the file "
            f"{steps_h.min() * 60:g} to {steps_h.max() * 60:g} min; experiments.tsv wins, empty its cell "
            "frame_interval_min to take the file's times"
        )
    return differing


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
