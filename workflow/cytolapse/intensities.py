"""Light of cells, and of parts of them, in one plane."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from cytolapse.illumination import (
    FrameBackground,
    LocalBackground,
    Surroundings,
    background_of_frame,
    grouped_quantiles,
    local_background,
)
from cytolapse.shading import Shading
from cytolapse.shapes import Cells, cells_of
from cytolapse.tables import empty_table

BACKGROUNDS = ("local", "frame")


class Light(NamedTuple):
    """How light is measured.

    Attributes
    ----------
    shading : mapping of str to Shading or None
        By channel, what camera and light do to it.
    blank : mapping of str to FrameBackground or None
        By channel, the background of a position without cells.
    background, ring_min_px, saturation_au
        As in `measure_intensities`.
    blank_contrast : float
        As in `is_blank`.
    """

    shading: Mapping[str, Shading | None]
    blank: Mapping[str, FrameBackground | None]
    background: str
    ring_min_px: int
    saturation_au: float | None
    blank_contrast: float


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
        median_raw_au, sd_au, saturated_fraction, spread_pixels, spread_raw_au,
        left_out_au.

    Raises
    ------
    ValueError
        If `background` is neither.
    """
    check_background(background)
    cells = cells_of(labels)
    if plane is None:
        return _unknown(cells.label)
    outside = background_of_frame(plane, around)
    under = _background_of_cells(plane, around, outside, background, ring_min_px)
    return _with_light_beside(_intensities(plane, plane, cells, under, saturation_au), plane, around, outside)


def check_background(background: str) -> None:
    """Raise a ValueError if there is no such way to measure background."""
    if background not in BACKGROUNDS:
        raise ValueError(f"no background is called {background!r}; there are {', '.join(BACKGROUNDS)}")


def _unknown(label: np.ndarray) -> pd.DataFrame:
    """Rows of cells of which nothing is known."""
    rows = empty_table("intensities").drop(columns=["frame", "channel", "compartment"])
    return rows.reindex(range(len(label))).assign(label=label)


def _intensities(
    plane: np.ndarray, raw: np.ndarray, cells: Cells, under: LocalBackground, saturation_au: float | None
) -> pd.DataFrame:
    """Rows of cells, or of parts of them, without what lies beside; `raw` is as the camera read it."""
    value = plane.ravel()[cells.at]
    mean = cells.mean(value)
    (median,) = grouped_quantiles(value, cells.owner, len(cells.label), (0.5,))
    # of every number up to the greatest label; some may be absent
    value_au, se_au, method = (each[cells.label - 1] for each in under)
    return pd.DataFrame(
        {
            "label": cells.label,
            "pixels": pd.array(cells.area_px, "Int32"),
            "background_au": value_au,
            "background_se_au": se_au,
            "background_method": pd.array(np.where(np.isfinite(value_au), method, None), "str"),
            "mean_raw_au": mean,
            "median_raw_au": median,
            "sd_au": np.sqrt(cells.mean((value - mean[cells.owner]) ** 2)),
            "saturated_fraction": np.nan
            if saturation_au is None
            else cells.mean(raw.ravel()[cells.at] >= saturation_au),
            "spread_pixels": pd.array(np.zeros(len(cells.label), int), "Int32"),
            "spread_raw_au": np.nan,
            "left_out_au": np.nan,
        }
    )


def _with_light_beside(
    rows: pd.DataFrame, plane: np.ndarray, around: Surroundings, outside: FrameBackground
) -> pd.DataFrame:
    """The rows of whole cells with what lies beside them.

    Counted is the light of the mask and of the pixels that blur reaches, above
    the cell's background. Left out is what the mask, the gap and the ring hold
    above the background of the frame beyond that.
    """
    value = plane.ravel()[around.near].astype(np.float64)
    at = rows["label"].to_numpy(int) - 1
    owner, spread = around.near_owner, around.spread
    pixels, light = np.bincount(owner, minlength=around.cells)[at], np.bincount(owner, value, around.cells)[at]
    counted = np.bincount(owner[spread], minlength=around.cells)[at]
    counted_au = np.bincount(owner[spread], value[spread], around.cells)[at]
    of_mask = rows["pixels"].to_numpy(float)
    mask_au, background_au = rows["mean_raw_au"].to_numpy(float) * of_mask, rows["background_au"].to_numpy(float)
    wide_au = mask_au + light - outside.value_au * (of_mask + pixels)
    return rows.assign(
        spread_pixels=pd.array(counted, "Int32"),
        spread_raw_au=np.where(counted > 0, counted_au / np.maximum(counted, 1), np.nan),
        left_out_au=wide_au - (mask_au + counted_au - background_au * (of_mask + counted)),
    )


def _background_of_cells(
    plane: np.ndarray, around: Surroundings, frame: FrameBackground, background: str, ring_min_px: int
) -> LocalBackground:
    """Background under label 1 and on."""
    if background == "local":
        return local_background(plane, around, frame, ring_min_px=ring_min_px)
    values = (frame.value_au, frame.se_au, frame.method)
    return LocalBackground(*(np.full(around.cells, each) for each in values))


def measure_parts(
    plane: np.ndarray | None,
    raw: np.ndarray | None,
    cells: Cells,
    inner: Mapping[str, Cells | None],
    around: Surroundings,
    outside: FrameBackground | None,
    light: Light,
) -> pd.DataFrame:
    """Light of every cell in one plane, whole and part by part.

    Parameters
    ----------
    plane, raw : array of shape (y, x), or None
        As measured, and as read from the camera; None where the plane was not
        acquired.
    cells : Cells
    inner : mapping of str to Cells or None
        By compartment, the parts of these cells under their numbers; None where
        they cannot be told in this frame.
    around : Surroundings
        Of the cells.
    outside : FrameBackground or None
        Of the plane.
    light : Light

    Returns
    -------
    DataFrame
        As that of `measure_intensities`, and `compartment`: the whole of all
        cells first, then part by part, all cells in each; null where a cell has
        no such part. Parts have the background of their cell.
    """
    parts = {"whole": cells, **inner}
    if plane is None or outside is None:
        return pd.concat([_unknown(cells.label).assign(compartment=name) for name in parts], ignore_index=True)
    under = _background_of_cells(plane, around, outside, light.background, light.ring_min_px)
    tables = []
    for name, part in parts.items():
        if part is None:
            rows = _unknown(cells.label)
        else:
            rows = _intensities(plane, raw, part, under, light.saturation_au)
            if name == "whole":
                rows = _with_light_beside(rows, plane, around, outside)
        if len(rows) < len(cells.label):
            rows = rows.set_index("label").reindex(cells.label).rename_axis("label").reset_index()
        tables.append(rows.assign(compartment=name))
    return pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
