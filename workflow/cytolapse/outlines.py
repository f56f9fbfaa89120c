"""How far outlines may lie from where cells end, and what that does to growth."""

import numpy as np
import pandas as pd

# What lies anywhere within a pixel is known to so much of it.
OF_A_PIXEL = 1 / np.sqrt(12)


def outline_offset_px(intensities: pd.DataFrame, cells: pd.DataFrame, *, channel: str) -> float:
    """By how much the outlines of a movie may lie too far in or out, all alike.

    Residuals of a fit know nothing of outlines that are off by the same width
    in every frame. Nor does any image say where a blurred cell ends; but light
    beside masks says how much wider they would be if they held it: that is its
    sum over the light of a rim of one pixel, of all cells together. Where what
    lies beside masks is no part of the cells, as the halo of dark cells in phase
    contrast, it says nothing.

    Parameters
    ----------
    intensities : DataFrame
        Table intensities.
    cells : DataFrame
        Columns frame, label, perimeter_px and unusable.
    channel : str
        The one that cells were found in.

    Returns
    -------
    float
        Standard deviation, in pixels; 0 where nothing is said.
    """
    rows = intensities[(intensities["channel"] == channel) & (intensities["compartment"] == "whole")]
    rows = rows.merge(cells[~cells["unusable"].fillna(True).astype(bool)], on=["frame", "label"])
    background_au = rows["background_au"].to_numpy(float)
    spread_au = rows["spread_raw_au"].to_numpy(float) - background_au
    beside_au = rows["left_out_au"].to_numpy(float)
    beside_au = beside_au + np.nan_to_num(spread_au) * rows["spread_pixels"].fillna(0).to_numpy(float)
    rim_au = (rows["mean_raw_au"].to_numpy(float) - background_au) * rows["perimeter_px"].to_numpy(float)
    known = np.isfinite(beside_au) & np.isfinite(rim_au)
    rim = rim_au[known].sum()
    return float(max(beside_au[known].sum() / rim, 0.0)) if rim else 0.0


def log_size_slopes(cells: pd.DataFrame, *, size_quantity: str) -> np.ndarray:
    """By how much ln(size) of each cell grows with the width by which its outline lies too far out, per um.

    An area grows by the perimeter times the width, a length by twice the
    width, a volume by half as much again as the area.

    Parameters
    ----------
    cells : DataFrame
        Columns perimeter_um, area_um2 and length_um.
    size_quantity : {'area', 'length', 'volume'}

    Returns
    -------
    array of shape (cells,)
    """
    if size_quantity == "length":
        return 2 / cells["length_um"].to_numpy(float)
    of_area = cells["perimeter_um"].to_numpy(float) / cells["area_um2"].to_numpy(float)
    return of_area if size_quantity == "area" else 1.5 * of_area
