"""Labels and frames to tables: shape and light of every cell, worth of every plane, movie by movie."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from cytolapse import movies
from cytolapse.compartments import find_nuclei, ring_around
from cytolapse.drift import StageDrift
from cytolapse.focus import focus_score, is_blank, out_of_focus
from cytolapse.illumination import FrameBackground, Surroundings, background_of_frame, surroundings
from cytolapse.intensities import Light, check_background, measure_parts
from cytolapse.movies import Movie, StackReader, open_movie
from cytolapse.shading import read_mean_image, read_shading
from cytolapse.shapes import Cells, cells_of, shapes_of, volume_um3
from cytolapse.tables import empty_table, read_metadata, read_table, typed, write_table

logger = logging.getLogger(__name__)

_LENGTHS = ("perimeter", "length", "width", "major_axis", "minor_axis")


def measure_movie(
    movie_json: str | os.PathLike,
    labels_path: str | os.PathLike,
    confidence_path: str | os.PathLike,
    objects_path: str | os.PathLike,
    intensities_path: str | os.PathLike,
    planes_path: str | os.PathLike,
    *,
    pixel_size_um: float | None,
    object: str,
    volume_model: str,
    background: str,
    ring_gap_px: int,
    ring_px: int,
    ring_min_px: int,
    spread_px: int | None,
    dark: Mapping[str, str | float],
    flat_field: Mapping[str, str],
    blank: Mapping[str, str],
    nucleus_channel: str | None,
    nucleus_smoothing_px: float,
    nuclear_ring_gap_px: int,
    nuclear_ring_px: int,
    max_saturated_fraction: float,
    focus_window_frames: int,
    focus_drop: float,
    blank_contrast: float,
    drift_gain: float,
    provenance: dict | None,
) -> None:
    """Measure every cell and every plane of a movie.

    Frames are read one by one, each once. A refused movie gives tables without
    rows.

    Parameters
    ----------
    movie_json : path
        What inspect found.
    labels_path, confidence_path : path
        labels.tif and the table `confidence`.
    objects_path, intensities_path, planes_path : path
        Tables to write.
    pixel_size_um : float or None
        As stated in experiments.tsv; None takes the file's.
    object : {'cell', 'nucleus'}
        What the masks outline; noted in the tables.
    volume_model : {'none', 'rod', 'ellipsoid'}
        As in `volume_um3`.
    background, ring_min_px
        As in `measure_intensities`.
    ring_gap_px, ring_px
        As in `surroundings`.
    spread_px : int or None
        Pixels this near to a cell count for its total light. None takes the gap
        where masks are of cells, and none where they are of nuclei: around a
        nucleus lies its cell.
    dark, flat_field : mapping
        As in `read_shading`; taken off and divided by before anything is
        measured. Saturation is judged as the camera read it.
    blank : mapping of str to str
        By channel, the file of an image of a position without cells: the
        background of frames that are full of cells.
    nucleus_channel : str or None
        Channel of a nuclear marker, by which nuclei are found in cells; the
        compartments nucleus and ring are measured then.
    nucleus_smoothing_px : float
        As `smoothing_px` in `find_nuclei`.
    nuclear_ring_gap_px, nuclear_ring_px : int
        As in `ring_around`; a width of 0 measures no ring. Where masks are of
        nuclei, the ring is that around the masks.
    max_saturated_fraction : float
        A plane is flagged where a greater part of it is at the camera's
        largest value.
    focus_window_frames, focus_drop
        As in `out_of_focus`.
    blank_contrast : float
        As in `is_blank`.
    drift_gain : float
        As in `StageDrift`.
    provenance : dict or None
        Record of this stage; it joins those of the stages before, which travel
        in the metadata of the table `confidence`.

    Raises
    ------
    ValueError
        If the labels are not of this movie, or a model or method is unknown.
    """
    info = json.loads(Path(movie_json).read_text())
    records = json.loads(read_metadata(confidence_path).get("provenance", "{}"))
    if provenance:
        records = {**records, "measure": provenance}
    metadata = {"object": object, "provenance": json.dumps(records)}
    rules = _flag_rules(max_saturated_fraction, focus_window_frames, focus_drop, blank_contrast)
    tables = {name: empty_table(name) for name in ("objects", "intensities", "planes")}
    if info["status"] != "refused":
        with open_movie(info) as movie, StackReader(labels_path) as stack:
            if stack.shape != (movie.frames, *movie.shape):
                raise ValueError(
                    f"{labels_path}: its shape is {stack.shape}, movie {info['path']} has "
                    f"{(movie.frames, *movie.shape)}; run label again"
                )
            light = Light(
                {name: read_shading(name, movie.shape, dark=dark, flat_field=flat_field) for name in movie.channels},
                {name: _blank(name, blank, dark, flat_field, movie.shape) for name in movie.channels},
                background,
                ring_min_px,
                info["saturation_au"],
                blank_contrast,
            )
            parts = _Parts(object, nucleus_channel, nucleus_smoothing_px, nuclear_ring_gap_px, nuclear_ring_px)
            if spread_px is None:
                spread_px = ring_gap_px if object == "cell" else 0
            rings = {"ring_gap_px": ring_gap_px, "ring_px": ring_px, "spread_px": spread_px}
            tables = _measured(movie, stack, info, light=light, parts=parts, rings=rings, drift_gain=drift_gain)
        scale_um = movies.pixel_size_um(info, pixel_size_um)
        tables["planes"] = _flagged(tables["planes"], max_saturated_fraction, focus_window_frames, focus_drop)
        confidence = read_table("confidence", confidence_path)
        tables["objects"] = _objects(tables["objects"], tables["planes"], confidence, scale_um, volume_model)
        logger.info("%s: %d cells in %d frames measured", info["path"], len(tables["objects"]), info["frames"])
    for name, path in (("objects", objects_path), ("intensities", intensities_path), ("planes", planes_path)):
        flags = json.dumps(rules.get(name, {}), sort_keys=True)
        write_table(name, typed(name, tables[name]), path, metadata={**metadata, "flags": flags})


def _flag_rules(
    max_saturated_fraction: float, focus_window_frames: int, focus_drop: float, blank_contrast: float
) -> dict[str, dict]:
    """Rules of the flags that are set here, by table and flag."""
    return {
        "objects": {"flag_border": "the mask touches the edge of the frame"},
        "planes": {
            "flag_blank": f"blocks of 8 x 8 pixels differ from the next by {blank_contrast:g} standard deviations of "
            "camera noise in one place at most",
            "flag_out_of_focus": f"focus_score is below {focus_drop:g} of its median over {focus_window_frames} frames "
            "around; null where there is no score",
            "flag_saturated": f"more than the share {max_saturated_fraction:g} of the pixels is at the camera's "
            "largest value",
        },
    }


class _Parts(NamedTuple):
    """Which parts of cells are measured."""

    object: str
    nucleus_channel: str | None
    smoothing_px: float
    gap_px: int
    ring_px: int


def _blank(
    channel: str,
    blank: Mapping[str, str],
    dark: Mapping[str, str | float],
    flat_field: Mapping[str, str],
    shape: tuple[int, int],
) -> FrameBackground | None:
    """Background of a position without cells, where one is given."""
    if channel not in blank:
        return None
    plane = read_mean_image(blank[channel], "blank position", shape)
    shading = read_shading(channel, shape, dark=dark, flat_field=flat_field)
    nothing = surroundings(np.zeros(shape, np.uint8), ring_gap_px=0, ring_px=0, spread_px=0)
    return background_of_frame(shading.correct(plane) if shading else plane, nothing)._replace(method="blank")


def _measured(
    movie: Movie, stack: StackReader, info: dict, *, light: Light, parts: _Parts, rings: dict, drift_gain: float
) -> dict[str, pd.DataFrame]:
    """Rows of all frames, in pixels."""
    check_background(light.background)
    drift = StageDrift(drift_gain)
    followed = (0.0, 0.0)
    objects, intensities, planes = [], [], []
    for frame in tqdm(range(movie.frames), desc="measure", unit="frame", mininterval=10):
        labels = stack.read(frame)
        cells = cells_of(labels)
        around = surroundings(labels, **rings)
        inner = _compartments(movie, frame, labels, cells, parts)
        shapes = shapes_of(cells).assign(frame=frame, intensity_au=np.nan, background_au=np.nan)
        for channel in movie.channels:
            raw = movie.read(frame, channel)
            shading = light.shading[channel]
            plane = raw if raw is None or shading is None else shading.correct(raw)
            worth, outside = _worth(plane, raw, around, channel, light)
            rows = measure_parts(plane, raw, cells, inner, around, outside, light)
            intensities.append(rows.assign(frame=frame, channel=channel))
            if channel == info["segment_channel"]:
                whole = rows.iloc[: len(cells.label)]
                shapes["intensity_au"], shapes["background_au"] = whole["mean_raw_au"], whole["background_au"]
                if raw is not None and not worth["flag_blank"]:
                    followed = drift.follow(raw)
                worth["drift_y_px"], worth["drift_x_px"] = followed
            exposure_ms = info["exposure_ms"].get(channel) if worth["acquired"] else None
            planes.append({"frame": frame, "channel": channel, "exposure_ms": exposure_ms, **worth})
        objects.append(shapes)
    return {
        "objects": pd.concat(objects, ignore_index=True),
        "intensities": pd.concat(intensities, ignore_index=True),
        "planes": pd.DataFrame(planes),
    }


def _compartments(movie: Movie, frame: int, labels: np.ndarray, cells: Cells, parts: _Parts) -> dict[str, Cells | None]:
    """The parts of cells that are measured beside the whole; None where they cannot be told in this frame."""
    rings = {"gap_px": parts.gap_px, "ring_px": parts.ring_px}
    if parts.object == "nucleus":
        return {"ring": cells_of(ring_around(labels, None, **rings))} if parts.ring_px else {}
    if parts.nucleus_channel is None or parts.nucleus_channel not in movie.channels:
        return {}
    names = ("nucleus", "ring") if parts.ring_px else ("nucleus",)
    marker = movie.read(frame, parts.nucleus_channel)
    if marker is None:
        return dict.fromkeys(names)
    nuclei = find_nuclei(marker, cells, smoothing_px=parts.smoothing_px)
    found = (nuclei, ring_around(nuclei, labels, **rings)) if parts.ring_px else (nuclei,)
    return {name: cells_of(each) for name, each in zip(names, found, strict=True)}


def _worth(
    plane: np.ndarray | None,
    raw: np.ndarray | None,
    around: Surroundings,
    channel: str,
    light: Light,
) -> tuple[dict, FrameBackground | None]:
    """A row of `planes`, and the background of the frame, or of a blank position where it is full of cells."""
    if plane is None or raw is None:
        return {"acquired": False, "flag_blank": None}, None
    outside = background_of_frame(plane, around)
    of_blank = light.blank[channel]
    if of_blank is not None and np.isnan(outside.value_au):
        outside = of_blank
    blank = is_blank(raw, blank_contrast=light.blank_contrast)
    return {
        "acquired": True,
        "background_au": outside.value_au,
        "background_sd_au": outside.sd_au,
        "saturated_fraction": None if light.saturation_au is None else float(np.mean(raw >= light.saturation_au)),
        "focus_score": None if blank else focus_score(plane, outside),
        "flag_blank": blank,
    }, outside


def _flagged(
    planes: pd.DataFrame, max_saturated_fraction: float, focus_window_frames: int, focus_drop: float
) -> pd.DataFrame:
    """The planes with their flags, which are null where there is nothing to judge them by."""
    planes = typed("planes", planes)
    blurred = pd.Series(False, planes.index)
    for _, rows in planes.groupby("channel"):
        score = rows["focus_score"].dropna()
        blurred[score.index] = out_of_focus(
            score.to_numpy(), focus_window_frames=focus_window_frames, focus_drop=focus_drop
        )
    saturated = (planes["saturated_fraction"] > max_saturated_fraction).astype("boolean")
    return planes.assign(
        flag_out_of_focus=blurred.astype("boolean").where(planes["focus_score"].notna()),
        flag_saturated=saturated.where(planes["saturated_fraction"].notna()),
    )


def _objects(
    shapes: pd.DataFrame, planes: pd.DataFrame, confidence: pd.DataFrame, scale_um: float, volume_model: str
) -> pd.DataFrame:
    """The rows of `objects`: pixels become micrometres."""
    drift = planes.dropna(subset="drift_y_px").set_index("frame")[["drift_y_px", "drift_x_px"]]
    drift = drift.reindex(shapes["frame"]).fillna(0).to_numpy()
    sizes = {f"{name}_um": shapes[f"{name}_px"] * scale_um for name in _LENGTHS}
    rows = shapes.drop(columns=[f"{name}_px" for name in _LENGTHS]).assign(
        y_um=shapes["y_px"] * scale_um,
        x_um=shapes["x_px"] * scale_um,
        y_aligned_um=(shapes["y_px"] - drift[:, 0]) * scale_um,
        x_aligned_um=(shapes["x_px"] - drift[:, 1]) * scale_um,
        area_um2=shapes["area_px"] * scale_um**2,
        **sizes,
        volume_um3=volume_um3(sizes, volume_model),
        volume_model=volume_model,
    )
    return rows.merge(confidence, on=["frame", "label"], how="left")
