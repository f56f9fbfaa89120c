"""Cell -> background-corrected expression."""

import numpy as np
import pandas as pd

_MEASURED = ["background_au", "background_se_au", "mean_raw_au", "median_raw_au", "sd_au", "saturated_fraction"]
_KEYS = ["frame", "label", "channel", "compartment"]


def measure_expression(
    intensities: pd.DataFrame, planes: pd.DataFrame, cells: pd.DataFrame, *, max_saturated_fraction: float
) -> pd.DataFrame:
    """Expression of every cell, frame, channel and compartment.

    The standard error of the total has two parts: the background is one
    estimate for all pixels of the cell, so its error grows with the number of
    pixels; the noise of the pixels (the standard deviation of the frame's
    background) with its square root. The shot noise of the signal itself is
    *not* in it: it needs the gain of the camera.

    Parameters
    ----------
    intensities : DataFrame
        Table intensities.
    planes : DataFrame
        Table planes.
    cells : DataFrame
        Columns frame, label, cell_id, time_h and volume_um3.
    max_saturated_fraction : float
        A larger share of a cell's pixels at the camera's largest value:
        flag_saturated.

    Returns
    -------
    DataFrame
        The declared columns of `expression` that are known here, in the order
        of `intensities`. All numbers are null where the plane was not
        acquired. The concentration is that of the whole cell (or nucleus, where
        that is what the masks outline), null in other compartments.
    """
    per_plane = planes[["frame", "channel", "exposure_ms", "background_sd_au", "acquired"]].rename(
        columns={"background_sd_au": "noise_au"}
    )
    rows = intensities[[*_KEYS, "pixels", "background_method", *_MEASURED]]
    rows = rows.merge(per_plane, on=["frame", "channel"], how="left", validate="many_to_one")
    rows = rows.merge(
        cells[["frame", "label", "cell_id", "time_h", "volume_um3"]],
        on=["frame", "label"],
        how="left",
        validate="many_to_one",
    )

    missing = ~rows["acquired"].fillna(True).to_numpy(bool)
    # a file may pad the planes that were not acquired with zeros
    measured = {
        column: np.where(missing, np.nan, rows[column].to_numpy(float, na_value=np.nan)) for column in _MEASURED
    }
    pixels = rows["pixels"].to_numpy(float, na_value=np.nan)
    mean_au = measured["mean_raw_au"] - measured["background_au"]
    total_au = mean_au * pixels
    total_se_au = np.hypot(measured["background_se_au"] * pixels, rows["noise_au"].to_numpy(float) * np.sqrt(pixels))
    whole = (rows["compartment"] == "whole").to_numpy(bool)
    saturated = measured["saturated_fraction"]
    return rows[["cell_id", "frame", "label", "channel", "compartment", "time_h"]].assign(
        exposure_ms=rows["exposure_ms"].mask(missing),
        background_au=measured["background_au"],
        background_se_au=measured["background_se_au"],
        background_method=rows["background_method"].mask(missing),
        mean_raw_au=measured["mean_raw_au"],
        mean_au=mean_au,
        median_au=measured["median_raw_au"] - measured["background_au"],
        sd_au=measured["sd_au"],
        total_au=total_au,
        total_se_au=total_se_au,
        concentration_au_per_um3=np.where(whole, total_au / rows["volume_um3"].to_numpy(float), np.nan),
        saturated_fraction=saturated,
        flag_negative=_flag(total_au < -2 * total_se_au, np.isnan(total_au + total_se_au)),
        flag_saturated=_flag(saturated > max_saturated_fraction, np.isnan(saturated)),
    )


def _flag(flagged: np.ndarray, unknown: np.ndarray) -> pd.arrays.BooleanArray:
    return pd.arrays.BooleanArray(flagged, unknown)
