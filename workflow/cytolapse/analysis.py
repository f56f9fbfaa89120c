"""Tables of one movie's frames and tracks -> its cells, growth and expression."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cytolapse.columns import SIZE_UNITS
from cytolapse.cycles import cell_ids
from cytolapse.expression import Corrections, measure_expression
from cytolapse.fits import LEAST_FIT_FRAMES
from cytolapse.growth import growth_tables
from cytolapse.jumps import area_jumps
from cytolapse.mitosis import mitotic_frames
from cytolapse.movies import frame_times_h
from cytolapse.movies import pixel_size_um as size_of_pixel_um
from cytolapse.outlines import OF_A_PIXEL, log_size_slopes, outline_offset_px
from cytolapse.tables import empty_table, read_metadata, read_table, schema, typed, write_table

logger = logging.getLogger(__name__)

_TABLES = ("frames", "cells", "growth", "fits", "expression")


def analyse_movie(
    movie_json: str | os.PathLike,
    objects_path: str | os.PathLike,
    intensities_path: str | os.PathLike,
    planes_path: str | os.PathLike,
    tracks_path: str | os.PathLike,
    lineage_path: str | os.PathLike,
    repairs_path: str | os.PathLike,
    outputs: Mapping[str, str | os.PathLike],
    *,
    experiment: str,
    movie: str,
    pixel_size_um: float | None,
    frame_interval_min: float | None,
    division: str,
    size_quantity: str,
    object: str,
    events: Sequence[Mapping],
    min_fit_frames: int,
    max_residual_sd: float,
    residual_lag1: float,
    area_jump: float,
    mitotic_errors: float,
    max_saturated_fraction: float,
    negative_errors: float,
    crosstalk: Mapping[str, Mapping[str, float]],
    autofluorescence_au: Mapping[str, float],
    bleached_per_exposure: Mapping[str, float],
    provenance: Mapping | None,
) -> None:
    """Write frames, cells, growth, fits and expression of one movie.

    Frames that are blank or out of focus, masks that touch the edge of the
    frame (their size is cut off), masks that hold two cells or a part of one,
    frames that jumps of the area part from most of the track and nuclei that condense or unfold are
    left out of the fits; they stay in the tables, flagged. A refused movie has
    typed tables without rows. The columns condition and replicate are null:
    they are filled in where movies are put together.

    Parameters
    ----------
    movie_json, objects_path, intensities_path, planes_path, tracks_path, lineage_path, repairs_path : path
        Products of the earlier stages.
    outputs : mapping of str to path
        Files to write: frames, cells, growth, fits and expression.
    experiment, movie : str
    pixel_size_um, frame_interval_min : float or None
        As experiments.tsv states them; the file's where it does not.
    division : {'fission', 'budding'}
    size_quantity : {'area', 'length', 'volume'}
        What is meant by size.
    object : {'cell', 'nucleus'}
        What the masks outline.
    events : sequence of mapping
        `event`, `time_h` and `dose` of each event of this movie.
    min_fit_frames, max_residual_sd, residual_lag1
        As in `growth_tables`.
    area_jump : float
        As in `area_jumps`.
    mitotic_errors : float
        As in `mitotic_frames`; nothing for cells.
    max_saturated_fraction, negative_errors : float
        As in `measure_expression`.
    crosstalk, autofluorescence_au, bleached_per_exposure : mapping
        As in `Corrections`; channels that the movie does not have count for nothing.
    provenance : mapping or None
        Record of this stage, put beside those that the tracks carry.

    Raises
    ------
    ValueError
        If tracks name a cell that objects do not have, or the lineage does not
        fit the tracks.
    """
    info = json.loads(Path(movie_json).read_text())
    chain = json.loads(read_metadata(tracks_path).get("provenance", "{}"))
    carried = _carried_rules(objects_path, planes_path)
    own = _own_rules(
        min_fit_frames, max_residual_sd, area_jump, mitotic_errors, max_saturated_fraction, negative_errors
    )
    if info["status"] == "refused":
        tables = {name: empty_table(name, **_of_schema(name, info, size_quantity)) for name in _TABLES}
    else:
        tables = _analyse(
            info,
            read_table("objects", objects_path),
            read_table("intensities", intensities_path),
            read_table("planes", planes_path),
            read_table("tracks", tracks_path),
            read_table("lineage", lineage_path),
            read_table("repairs", repairs_path),
            movie=movie,
            pixel_um=size_of_pixel_um(info, pixel_size_um),
            frame_time_h=frame_times_h(info, frame_interval_min),
            size_quantity=size_quantity,
            mask_source=chain.get("label", {}).get("mask_source", "predicted"),
            area_jump=area_jump,
            mitotic_errors=mitotic_errors if object == "nucleus" else None,
            expression={
                "corrections": Corrections(crosstalk, autofluorescence_au, bleached_per_exposure),
                "max_saturated_fraction": max_saturated_fraction,
                "negative_errors": negative_errors,
                "residual_lag1": residual_lag1,
            },
            growth={
                "division": division,
                "events": events,
                "min_fit_frames": min_fit_frames,
                "max_residual_sd": max_residual_sd,
                "residual_lag1": residual_lag1,
            },
        )
    metadata = {"object": object, "provenance": json.dumps({**chain, "analyse": provenance}, sort_keys=True)}
    for name, table in tables.items():
        of_schema = _of_schema(name, info, size_quantity)
        columns = schema(name, **of_schema).names
        rules = {flag: rule for flag, rule in carried.items() if flag in columns} | own.get(name, {})
        write_table(
            name,
            typed(name, table.assign(experiment=experiment, movie=movie), **of_schema),
            outputs[name],
            metadata={**metadata, "flags": json.dumps(rules, sort_keys=True)},
            **of_schema,
        )


def _of_schema(name: str, info: Mapping, size_quantity: str) -> dict:
    channels = info.get("channels") or () if name == "frames" else ()
    return {"channels": channels, "size_quantity": size_quantity}


def _carried_rules(*paths: str | os.PathLike) -> dict[str, str]:
    """Rules of the flags that earlier stages set, as far as their tables state them."""
    rules = {}
    for path in paths:
        rules |= json.loads(read_metadata(path).get("flags", "{}"))
    return rules


def _own_rules(
    min_fit_frames: int,
    max_residual_sd: float,
    area_jump: float,
    mitotic_errors: float,
    max_saturated_fraction: float,
    negative_errors: float,
) -> dict[str, dict[str, str]]:
    """Rules of the flags that are set here, by table and flag."""
    jump = (
        f"ln(area) differs by more than {area_jump:g} from that of the track's frame before or after, beyond the "
        "growth usual in the movie; frames that jumps part from the level of most of the track are left out of fits"
    )
    mitotic = (
        "next to a division, where the median nucleus of the movie shrinks or unfolds faster than usual by more than "
        f"{mitotic_errors:g} standard errors; left out of fits. False for cells"
    )
    short = (
        f"fewer than {min_fit_frames} frames in a fit; below {LEAST_FIT_FRAMES} there is none. Frames that are blank "
        "or out of focus, and masks at the edge of the frame, are left out"
    )
    merged = (
        "the mask is as large as two that came together in it, and that part again later; left out of fits. Two that "
        "stay together until the end of the movie are not flagged"
    )
    split = "the mask is, or lacks, a piece that parted from it and joined it again; left out of fits"
    saturated = f"more than the share {max_saturated_fraction:g} of the pixels is at the camera's largest value"
    return {
        "cells": {"flag_area_jump": jump, "flag_mitotic": mitotic, "flag_merged": merged, "flag_split": split},
        "growth": {
            "flag_short": short,
            "flag_poor_fit": f"the standard deviation of ln(size) about the fit is above {max_residual_sd:g}",
        },
        "expression": {
            "flag_negative": f"total_au is below 0 by more than {negative_errors:g} times total_se_au",
            "flag_saturated": saturated,
        },
    }


def _analyse(
    info: Mapping,
    objects: pd.DataFrame,
    intensities: pd.DataFrame,
    planes: pd.DataFrame,
    tracks: pd.DataFrame,
    lineage: pd.DataFrame,
    repairs: pd.DataFrame,
    *,
    movie: str,
    pixel_um: float,
    frame_time_h: np.ndarray,
    size_quantity: str,
    mask_source: str,
    area_jump: float,
    mitotic_errors: float | None,
    expression: Mapping,
    growth: Mapping,
) -> dict[str, pd.DataFrame]:
    size_column = f"{size_quantity}_{SIZE_UNITS[size_quantity]}"
    frames = _frames_table(info, planes, objects, pixel_um, frame_time_h)
    cells = _cells_table(objects, tracks, repairs, frames, growth["events"], movie, mask_source, area_jump)
    cells["flag_mitotic"] = False
    if mitotic_errors is not None:
        cells["flag_mitotic"] = _mitotic(cells, lineage, size_column, mitotic_errors)
        cells["unusable"] |= cells["flag_mitotic"]
    if len(cells) and cells[size_column].isna().all():
        logger.warning("%s is null for every cell: no growth rate can be fitted", size_column)
    tracked = cells.loc[cells["track"].notna(), ["track", "frame", "time_h", "unusable"]]
    size = cells.loc[tracked.index, size_column].to_numpy(float)
    rims = cells[["frame", "label", "unusable"]].assign(perimeter_px=cells["perimeter_um"] / pixel_um)
    offset_px = outline_offset_px(intensities, rims, channel=info["segment_channel"])
    per_px = pixel_um * log_size_slopes(cells.loc[tracked.index], size_quantity=size_quantity)
    sizes = tracked.drop(columns="unusable").assign(
        size=size,
        usable=~tracked["unusable"] & (size > 0),
        outline=offset_px * per_px,
        outline_on_grid=max(offset_px, OF_A_PIXEL) * per_px,
    )
    sizes = sizes.reset_index(drop=True)
    growth_table, fits, local = growth_tables(sizes, lineage, frame_time_h, movie=movie, **growth)
    cells = cells.join(local.set_index(tracked.index))
    birth_h = growth_table.drop_duplicates("cell_id").set_index("cell_id")["cell_birth_time_h"]
    cells["age_h"] = cells["time_h"] - cells["cell_id"].map(birth_h).astype(float)
    cells = cells.sort_values(["frame", "label"], ignore_index=True)
    expressed = measure_expression(intensities, planes, cells, growth["events"], **expression)
    return {
        "frames": frames,
        "cells": cells.drop(columns="unusable"),
        "growth": growth_table.drop(columns="cell_birth_time_h"),
        "fits": fits,
        "expression": expressed,
    }


def _frames_table(
    info: Mapping, planes: pd.DataFrame, objects: pd.DataFrame, pixel_um: float, frame_time_h: np.ndarray
) -> pd.DataFrame:
    number = np.arange(len(frame_time_h))
    segmented = planes[planes["channel"] == info["segment_channel"]].set_index("frame").reindex(number)
    columns = {
        "frame": number,
        "time_h": frame_time_h,
        "drift_y_um": segmented["drift_y_px"].to_numpy(float) * pixel_um,
        "drift_x_um": segmented["drift_x_px"].to_numpy(float) * pixel_um,
        "focus_score": segmented["focus_score"].to_numpy(float),
        "cells": np.bincount(objects["frame"].to_numpy(int), minlength=len(number)),
        "flag_blank": segmented["flag_blank"].array,
        "flag_out_of_focus": segmented["flag_out_of_focus"].array,
        "flag_saturated": planes.groupby("frame")["flag_saturated"].max().reindex(number).array,
    }
    acquired = planes["acquired"].fillna(False).astype(bool)
    for channel in info["channels"]:
        of_channel = planes[(planes["channel"] == channel) & acquired].set_index("frame").reindex(number)
        columns[f"background_{channel}_au"] = of_channel["background_au"].to_numpy(float)
        columns[f"exposure_{channel}_ms"] = of_channel["exposure_ms"].to_numpy(float)
    return pd.DataFrame(columns)


def _cells_table(
    objects: pd.DataFrame,
    tracks: pd.DataFrame,
    repairs: pd.DataFrame,
    frames: pd.DataFrame,
    events: Sequence[Mapping],
    movie: str,
    mask_source: str,
    area_jump: float,
) -> pd.DataFrame:
    """Rows of `cells` sorted by track and frame, with `unusable` (for fits) beside them."""
    cells = objects.merge(tracks, on=["frame", "label"], how="outer", validate="one_to_one", indicator=True)
    strangers = cells[cells["_merge"] == "right_only"]
    if len(strangers):
        frame, label = strangers.iloc[0][["frame", "label"]]
        raise ValueError(
            f"movie {movie}: tracks have label {label} of frame {frame}, objects have not "
            f"({len(strangers)} such); run link again"
        )
    cells = cells.drop(columns=["_merge", "area_px", "intensity_au", "background_au"])
    cells = cells.sort_values(["track", "frame", "label"], ignore_index=True)
    frame, track = cells["frame"].to_numpy(int), cells["track"]
    # an object without a track has no neighbours in time: a number of its own
    apart = track.fillna(0).to_numpy(int)
    apart = np.where(apart > 0, apart, -1 - np.arange(len(apart)))
    area_um2 = cells["area_um2"].to_numpy(float)
    jumps, _ = area_jumps(area_um2, frame, apart, area_jump=area_jump)
    time_h = frames["time_h"].to_numpy()[frame]
    out_of_focus = frames["flag_out_of_focus"].array[frame]
    bad_frame = (frames["flag_out_of_focus"].fillna(False) | frames["flag_blank"].fillna(False)).to_numpy(bool)[frame]
    merged, split = (_has_repair(cells, repairs, kind) for kind in ("merged", "split"))
    unusable = bad_frame | merged | split | cells["flag_border"].fillna(False).to_numpy(bool)
    # the level of a cell is that of its whole masks: a cut one is on none
    whole = np.flatnonzero(~unusable)
    unusable[whole] = area_jumps(area_um2[whole], frame[whole], apart[whole], area_jump=area_jump)[1]
    return cells.assign(
        time_h=time_h,
        time_since_event_h=_time_since_event_h(time_h, events),
        cell_id=cell_ids(movie, track),
        mask_source=mask_source,
        flag_area_jump=jumps,
        flag_merged=merged,
        flag_split=split,
        flag_out_of_focus=out_of_focus,
        unusable=unusable,
    )


def _mitotic(cells: pd.DataFrame, lineage: pd.DataFrame, size_column: str, mitotic_errors: float) -> np.ndarray:
    """`mitotic_frames` of rows that are sorted by track and frame, those without a track last."""
    tracked = cells["track"].notna().to_numpy()
    size, unusable = cells[size_column].to_numpy(float), cells["unusable"].to_numpy(bool)
    # the first and last frames of nuclei that condense are jumps of the area, too
    wrong = unusable & ~cells["flag_area_jump"].to_numpy(bool)
    flagged = np.zeros(len(cells), bool)
    flagged[tracked] = mitotic_frames(
        np.where(wrong, np.nan, size)[tracked],
        cells.loc[tracked, "frame"].to_numpy(int),
        cells.loc[tracked, "track"].to_numpy(int),
        lineage,
        mitotic_errors=mitotic_errors,
    )
    return flagged


def _has_repair(cells: pd.DataFrame, repairs: pd.DataFrame, kind: str) -> np.ndarray:
    """Whether the mask of each row is named in `repairs` as one of a kind."""
    found = repairs[repairs["kind"] == kind]
    named = pd.MultiIndex.from_frame(found[["frame", "label"]].astype(int))
    has = pd.MultiIndex.from_frame(cells[["frame", "label"]].astype(int)).isin(named)
    if kind == "split":
        # the rest of the cell is no whole one either
        of_cell = pd.MultiIndex.from_frame(found[["frame", "track"]].astype(int))
        has |= pd.MultiIndex.from_frame(cells[["frame", "track"]].fillna(0).astype(int)).isin(of_cell)
    return has


def _time_since_event_h(time_h: np.ndarray, events: Sequence[Mapping]) -> np.ndarray:
    """Since the last event; until the first, negative; NaN without one."""
    if not events:
        return np.full(len(time_h), np.nan)
    times_h = np.unique([float(event["time_h"]) for event in events])
    last = np.maximum(np.searchsorted(times_h, time_h, side="right") - 1, 0)
    return time_h - times_h[last]
