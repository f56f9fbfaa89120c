"""Labels and frames to tables: shape and light of every cell, worth of every plane."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from cytolapse import movies
from cytolapse.drift import StageDrift
from cytolapse.focus import focus_score, is_blank, out_of_focus
from cytolapse.illumination import (
    FrameBackground,
    Surroundings,
    background_of_frame,
    grouped_quantiles,
    local_background,
    surroundings,
)
from cytolapse.movies import Movie, StackReader, open_movie
from cytolapse.shapes import Cells, cells_of, shapes_of, volume_um3
from cytolapse.tables import empty_table, read_metadata, read_table, typed, write_table

logger = logging.getLogger(__name__)

BACKGROUNDS = ("local", "frame")

_LENGTHS = ("perimeter", "length", "width", "major_axis", "minor_axis")


def measure_intensities(
    plane: np.ndarray | None,
    labels: np.ndarray,
    around: Surroundings,
    *,
    background: str,
    ring_min_px: int,
    saturation_au: float | None,
) -> pd.DataFrame:
    """Light of every cell in one plane.

    Parameters
    ----------
    plane : array of shape (y, x), or None
        None where the plane was not acquired: all is null then.
    labels : int array of shape (y, x)
        0 is background.
    around : Surroundings
        Of these labels.
    background : {'local', 'frame'}
        From the ring around each cell, or from the whole frame.
    ring_min_px : int
        Fewest pixels of a ring; a cell with fewer takes the frame's background.
    saturation_au : float or None
        The camera's largest value, where it has one.

    Returns
    -------
    DataFrame
        One row a label that is present, in rising order: label, pixels,
        background_au, background_se_au, background_method, mean_raw_au,
        median_raw_au, sd_au, saturated_fraction.

    Raises
    ------
    ValueError
        If `background` is neither.
    """
    if background not in BACKGROUNDS:
        raise ValueError(f"no background is called {background!r}; there are {', '.join(BACKGROUNDS)}")
    frame = None if plane is None else background_of_frame(plane, around)
    return _intensities(plane, cells_of(labels), around, frame, background, ring_min_px, saturation_au)


def _intensities(
    plane: np.ndarray | None,
    cells: Cells,
    around: Surroundings,
    frame: FrameBackground | None,
    background: str,
    ring_min_px: int,
    saturation_au: float | None,
) -> pd.DataFrame:
    rows = pd.DataFrame({"label": cells.label})
    if plane is None or frame is None:
        return rows.assign(
            pixels=pd.array([pd.NA] * len(rows), "Int32"),
            background_method=pd.array([None] * len(rows), "str"),
            **dict.fromkeys(
                [
                    "background_au",
                    "background_se_au",
                    "mean_raw_au",
                    "median_raw_au",
                    "sd_au",
                    "saturated_fraction",
                ],
                np.nan,
            ),
        )
    value_au, se_au, method = _background_of_cells(plane, cells, around, frame, background, ring_min_px)
    value = plane.ravel()[cells.at]
    mean = cells.mean(value)
    (median,) = grouped_quantiles(value, cells.owner, len(cells.label), (0.5,))
    return rows.assign(
        pixels=pd.array(cells.area_px, "Int32"),
        background_au=value_au,
        background_se_au=se_au,
        background_method=pd.array(method, "str"),
        mean_raw_au=mean,
        median_raw_au=median,
        sd_au=np.sqrt(cells.mean((value - mean[cells.owner]) ** 2)),
        saturated_fraction=np.nan if saturation_au is None else cells.mean(value >= saturation_au),
    )


def _background_of_cells(
    plane: np.ndarray, cells: Cells, around: Surroundings, frame: FrameBackground, background: str, ring_min_px: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if background == "local":
        local = local_background(plane, around, frame, ring_min_px=ring_min_px)
        # Of every number up to the greatest label; some may be absent.
        value_au, se_au, method = (each[cells.label - 1] for each in local)
    else:
        count = len(cells.label)
        value_au, se_au = np.full(count, frame.value_au), np.full(count, frame.se_au)
        method = np.full(count, "frame", object)
    known = np.isfinite(value_au)
    return value_au, se_au, np.where(known, method, None)


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
    max_saturated_fraction: float,
    focus_window_frames: int,
    focus_drop: float,
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
    max_saturated_fraction : float
        A plane is flagged where a greater part of it is at the camera's
        largest value.
    focus_window_frames, focus_drop
        As in `out_of_focus`.
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
    rules = _flag_rules(max_saturated_fraction, focus_window_frames, focus_drop)
    tables = {name: empty_table(name) for name in ("objects", "intensities", "planes")}
    if info["status"] != "refused":
        with open_movie(info) as movie, StackReader(labels_path) as stack:
            if stack.shape != (movie.frames, *movie.shape):
                raise ValueError(
                    f"{labels_path}: its shape is {stack.shape}, movie {info['path']} has "
                    f"{(movie.frames, *movie.shape)}; run label again"
                )
            tables = _measured(
                movie,
                stack,
                info,
                background=background,
                rings={"ring_gap_px": ring_gap_px, "ring_px": ring_px},
                ring_min_px=ring_min_px,
                drift_gain=drift_gain,
            )
        scale_um = movies.pixel_size_um(info, pixel_size_um)
        tables["planes"] = _flagged(tables["planes"], max_saturated_fraction, focus_window_frames, focus_drop)
        confidence = read_table("confidence", confidence_path)
        tables["objects"] = _objects(tables["objects"], tables["planes"], confidence, scale_um, volume_model)
        logger.info("%s: %d cells in %d frames measured", info["path"], len(tables["objects"]), info["frames"])
    for name, path in (("objects", objects_path), ("intensities", intensities_path), ("planes", planes_path)):
        flags = json.dumps(rules.get(name, {}), sort_keys=True)
        write_table(name, typed(name, tables[name]), path, metadata={**metadata, "flags": flags})


def _flag_rules(max_saturated_fraction: float, focus_window_frames: int, focus_drop: float) -> dict[str, dict]:
    """Rules of the flags that are set here, by table and flag."""
    return {
        "objects": {"flag_border": "the mask touches the edge of the frame"},
        "planes": {
            "flag_blank": "nothing differs from the background by more than camera noise",
            "flag_out_of_focus": f"focus_score is below {focus_drop:g} of its median over {focus_window_frames} frames "
            "around; null where there is no score",
            "flag_saturated": f"more than the share {max_saturated_fraction:g} of the pixels is at the camera's "
            "largest value",
        },
    }


def _measured(
    movie: Movie,
    stack: StackReader,
    info: dict,
    *,
    background: str,
    rings: dict,
    ring_min_px: int,
    drift_gain: float,
) -> dict[str, pd.DataFrame]:
    """Rows of all frames, in pixels."""
    if background not in BACKGROUNDS:
        raise ValueError(f"no background is called {background!r}; there are {', '.join(BACKGROUNDS)}")
    drift = StageDrift(drift_gain)
    followed = (0.0, 0.0)
    objects, intensities, planes = [], [], []
    for frame in tqdm(range(movie.frames), desc="measure", unit="frame", mininterval=10):
        labels = stack.read(frame)
        cells = cells_of(labels)
        around = surroundings(labels, **rings)
        shapes = shapes_of(cells).assign(frame=frame, intensity_au=np.nan, background_au=np.nan)
        for channel in movie.channels:
            plane = movie.read(frame, channel)
            worth, outside = _worth(plane, around, info["saturation_au"])
            rows = _intensities(plane, cells, around, outside, background, ring_min_px, info["saturation_au"])
            intensities.append(rows.assign(frame=frame, channel=channel))
            if channel == info["segment_channel"]:
                shapes["intensity_au"] = rows["mean_raw_au"]
                shapes["background_au"] = rows["background_au"]
                if plane is not None and not worth["flag_blank"]:
                    followed = drift.follow(plane)
                worth["drift_y_px"], worth["drift_x_px"] = followed
            exposure_ms = info["exposure_ms"].get(channel) if worth["acquired"] else None
            planes.append({"frame": frame, "channel": channel, "exposure_ms": exposure_ms, **worth})
        objects.append(shapes)
    return {
        "objects": pd.concat(objects, ignore_index=True),
        "intensities": pd.concat(intensities, ignore_index=True).assign(compartment="whole"),
        "planes": pd.DataFrame(planes),
    }


def _worth(
    plane: np.ndarray | None, around: Surroundings, saturation_au: float | None
) -> tuple[dict, FrameBackground | None]:
    """A row of `planes`, and the background of the frame."""
    if plane is None:
        return {"acquired": False, "flag_blank": None}, None
    outside = background_of_frame(plane, around)
    blank = is_blank(plane)
    return {
        "acquired": True,
        "background_au": outside.value_au,
        "background_sd_au": outside.sd_au,
        "saturated_fraction": None if saturation_au is None else float(np.mean(plane >= saturation_au)),
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
