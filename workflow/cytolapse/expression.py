"""Cell -> background-corrected expression."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from cytolapse.production import production_rates

_MEASURED = ["background_au", "background_se_au", "mean_raw_au", "median_raw_au", "sd_au", "saturated_fraction"]
_BESIDE = ["spread_pixels", "spread_raw_au", "left_out_au"]
_KEYS = ["frame", "label", "channel", "compartment"]


class Corrections(NamedTuple):
    """What is taken off the light of cells, by channel; an empty mapping takes nothing off.

    Attributes
    ----------
    crosstalk : mapping of str to mapping of str to float
        Of a channel, by the channel that it comes from: the part of that
        channel's light above background that shows in it.
    autofluorescence_au : mapping of str to float
        Light per pixel, above background, of cells without a reporter.
    bleached_per_exposure : mapping of str to float
        Part of the light that one exposure takes for good.
    """

    crosstalk: Mapping[str, Mapping[str, float]]
    autofluorescence_au: Mapping[str, float]
    bleached_per_exposure: Mapping[str, float]


def measure_expression(
    intensities: pd.DataFrame,
    planes: pd.DataFrame,
    cells: pd.DataFrame,
    events: Sequence[Mapping],
    *,
    corrections: Corrections,
    max_saturated_fraction: float,
    negative_errors: float,
    residual_lag1: float,
) -> pd.DataFrame:
    """Expression of every cell, frame, channel and compartment.

    The total is that of the mask and of the pixels beside it that blur has
    spread its light to, the mean is the total over the pixels of the mask, the
    median that of the mask alone. All are light above background, less
    crosstalk, less autofluorescence, over what bleaching has left, in this
    order and each only where a value is given.
    Crosstalk is that of the other channel's light in the same frame and
    compartment, above its background; where that channel was not acquired,
    the light is unknown and null. Autofluorescence is taken off the pixels of
    the mask alone.

    The standard error of the total has a part that changes from frame to frame
    and one that stays. The former is the larger of two. One is what pixels
    say: the background is one estimate for all pixels of the cell, so its
    error grows with the number of pixels; the noise of the pixels (the
    standard deviation of the frame's background) with its square root. Both
    hold those of the channels that crosstalk came from. The other is what
    tracks say: how far totals scatter from frame to frame about what changes
    slowly (`production_rates`), which holds the shot noise of the signal, for
    which the camera's gain need not be known, and outlines that are drawn a
    little large or small.

    What stays is whose the light beside the mask is. Where it is counted, some
    of it may be a neighbour's, and as much may lie farther out: anything from
    none of it to twice of it is alike likely. Where it is not counted, as
    around nuclei, all that lies there above the frame's background may be
    blur, or all of it may be their cells: the share that it is of the light
    counted in the movie is the error. Rates are off by the same share as
    totals. *Not* in it are the errors of the corrections' own values.

    Parameters
    ----------
    intensities : DataFrame
        Table intensities.
    planes : DataFrame
        Table planes.
    cells : DataFrame
        Columns frame, label, track, cell_id, time_h, area_um2, volume_um3 and
        unusable (cut off, blurred or otherwise not this cell).
    events : sequence of mapping
        As in `production_rates`.
    corrections : Corrections
    max_saturated_fraction : float
        A larger share of a cell's pixels at the camera's largest value:
        flag_saturated, and no production rate.
    negative_errors : float
        A total below 0 by more than so many standard errors: flag_negative.
    residual_lag1 : float
        As in `production_rates`.

    Returns
    -------
    DataFrame
        The declared columns of `expression` that are known here, in the order
        of `intensities`. All numbers are null where the plane was not
        acquired. The concentration is that of the whole cell (or nucleus, where
        that is what the masks outline), null in other compartments.
    """
    rows = _joined(intensities, planes, cells)
    missing = ~rows["acquired"].fillna(True).to_numpy(bool)
    # a file may pad the planes that were not acquired with zeros
    measured = {
        column: np.where(missing, np.nan, rows[column].to_numpy(float, na_value=np.nan)) for column in _MEASURED
    }
    pixels = rows["pixels"].to_numpy(float, na_value=np.nan)
    # a row whose plane or part is missing has no number of pixels
    beside = rows["spread_pixels"].fillna(0).to_numpy(float)
    spread_au = np.nan_to_num(rows["spread_raw_au"].to_numpy(float) - measured["background_au"]) * beside / pixels
    light = _Light(
        measured["mean_raw_au"] - measured["background_au"],
        measured["median_raw_au"] - measured["background_au"],
        spread_au,
        measured["background_se_au"],
        rows["noise_au"].to_numpy(float),
    )
    light, corrected = _corrected(light, rows, planes, corrections)
    mean_au = light.mean_au + light.spread_au
    total_au = mean_au * pixels
    summed = pixels + beside
    of_pixels_au = np.hypot(light.background_se_au * summed, light.noise_au * np.sqrt(summed))
    whole = (rows["compartment"] == "whole").to_numpy(bool)
    saturated = measured["saturated_fraction"]
    expression = rows[["cell_id", "frame", "label", "channel", "compartment", "time_h"]].assign(
        exposure_ms=rows["exposure_ms"].mask(missing),
        background_au=measured["background_au"],
        background_se_au=measured["background_se_au"],
        background_method=rows["background_method"].mask(missing),
        mean_raw_au=measured["mean_raw_au"],
        mean_au=mean_au,
        median_au=light.median_au,
        sd_au=measured["sd_au"],
        total_au=total_au,
        concentration_au_per_um3=np.where(whole, total_au / rows["volume_um3"].to_numpy(float), np.nan),
        **corrected,
        saturated_fraction=saturated,
        flag_saturated=_flag(saturated > max_saturated_fraction, np.isnan(saturated)),
    )
    usable = ~rows["unusable"].fillna(True).to_numpy(bool) & ~(saturated > max_saturated_fraction)
    made = production_rates(
        expression.assign(track=rows["track"], area_um2=rows["area_um2"], usable=usable),
        events,
        residual_lag1=residual_lag1,
    )
    whose_au = _unsure_whose(rows, whole, light.spread_au * pixels, total_au)
    total_se_au = np.hypot(np.fmax(of_pixels_au, made["total_noise_au"].to_numpy(float)), whose_au)
    total_se_au[np.isnan(of_pixels_au)] = np.nan
    share = _share(rows["channel"], whole, whose_au, np.abs(total_au))
    for rate in ("production_rate{}_au_per_h", "promoter_activity{}_au_per_um2_per_h"):
        made[rate.format("_se")] = np.hypot(made[rate.format("_se")], share * made[rate.format("")])
    return expression.join(made.drop(columns="total_noise_au")).assign(
        total_se_au=total_se_au,
        flag_negative=_flag(total_au < -negative_errors * total_se_au, np.isnan(total_au + total_se_au)),
    )


def _joined(intensities: pd.DataFrame, planes: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """A row of `intensities`, what is known of its plane, and of its cell."""
    of_plane = ["exposure_ms", "background_sd_au", "acquired"]
    of_cell = ["track", "cell_id", "time_h", "area_um2", "volume_um3", "unusable"]
    rows = intensities[[*_KEYS, "pixels", "background_method", *_MEASURED, *_BESIDE]]
    rows = rows.merge(planes[["frame", "channel", *of_plane]], on=["frame", "channel"], how="left", validate="m:1")
    rows = rows.merge(cells[["frame", "label", *of_cell]], on=["frame", "label"], how="left", validate="m:1")
    return rows.rename(columns={"background_sd_au": "noise_au"})


class _Light(NamedTuple):
    """Per pixel of the mask, above background, and errors: of the background, and of one pixel; each (rows,)."""

    mean_au: np.ndarray
    median_au: np.ndarray
    spread_au: np.ndarray  # what blur has spread beside the mask
    background_se_au: np.ndarray
    noise_au: np.ndarray


def _corrected(
    light: _Light, rows: pd.DataFrame, planes: pd.DataFrame, corrections: Corrections
) -> tuple[_Light, dict[str, np.ndarray]]:
    """The light with everything taken off, and the columns that say what was."""
    channel = rows["channel"].to_numpy()
    known = np.isfinite(light.mean_au)
    (stray, stray_spread), variances, applied = _crosstalk(light, rows, corrections.crosstalk)
    autofluorescence_au = rows["channel"].map(dict(corrections.autofluorescence_au)).to_numpy(float)
    left = np.full(len(rows), np.nan)
    for name, part in corrections.bleached_per_exposure.items():
        of = channel == name
        left[of] = (1 - part) ** _exposures_before(planes, name).reindex(rows["frame"][of]).to_numpy(float)
    own_au, over = np.nan_to_num(autofluorescence_au), np.where(np.isnan(left), 1.0, left)
    # It is stated for the mask; blur spreads as large a share of it as of all the channel's light.
    counted = rows["spread_pixels"].fillna(0).to_numpy(int) > 0
    own_spread = own_au * counted * _share(rows["channel"], counted, light.spread_au, light.mean_au)
    taken_au = stray + own_au
    crosstalk_applied = pd.arrays.BooleanArray(applied & np.isfinite(stray), ~(applied & np.isfinite(stray) & known))
    return _Light(
        (light.mean_au - taken_au) / over,
        (light.median_au - taken_au) / over,
        (light.spread_au - stray_spread - own_spread) / over,
        np.sqrt(light.background_se_au**2 + variances[0]) / over,
        np.sqrt(light.noise_au**2 + variances[1]) / over,
    ), {
        "autofluorescence_au": np.where(known, autofluorescence_au, np.nan),
        "bleach_factor": np.where(known, left, np.nan),
        "crosstalk_applied": crosstalk_applied,
    }


def _crosstalk(
    light: _Light, rows: pd.DataFrame, crosstalk: Mapping[str, Mapping[str, float]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Light from other channels in the mask and beside it, variances that come with it, and which rows have any."""
    stray, variances, applied = np.zeros((2, len(rows))), np.zeros((2, len(rows))), np.zeros(len(rows), bool)
    if not crosstalk:
        return stray, variances, applied
    of_rows = pd.MultiIndex.from_frame(rows[["frame", "label", "compartment"]])
    for into, sources in crosstalk.items():
        here = (rows["channel"] == into).to_numpy()
        for source, part in sources.items():
            there = (rows["channel"] == source).to_numpy()
            if not there.any():
                continue
            values = pd.DataFrame(np.column_stack(light)[there], index=of_rows[there])
            mean_au, _, spread_au, background_se_au, noise_au = values.reindex(of_rows[here]).to_numpy().T
            stray[:, here] += part * np.stack([mean_au, spread_au])
            variances[:, here] += (part * np.stack([background_se_au, noise_au])) ** 2
            applied |= here
    return stray, variances, applied


def _exposures_before(planes: pd.DataFrame, channel: str) -> pd.Series:
    """Exposures of a channel before each frame, by frame."""
    of_channel = planes[planes["channel"] == channel].sort_values("frame")
    taken = of_channel["acquired"].fillna(True).to_numpy(bool)
    return pd.Series(np.cumsum(taken) - taken, of_channel["frame"].to_numpy(int))


def _unsure_whose(rows: pd.DataFrame, whole: np.ndarray, spread_au: np.ndarray, total_au: np.ndarray) -> np.ndarray:
    """Error of the totals of whole cells by light beside their masks, which may be theirs or not; 0 for parts."""
    counted = rows["spread_pixels"].fillna(0).to_numpy(int) > 0
    sure = whole & ~counted & ~rows["unusable"].fillna(True).to_numpy(bool)
    share = _share(rows["channel"], sure, rows["left_out_au"].to_numpy(float), total_au)
    error_au = np.where(counted, np.abs(spread_au) / np.sqrt(3), share * np.abs(total_au))
    return np.where(whole, error_au, 0.0)


def _share(channel: pd.Series, chosen: np.ndarray, part_au: np.ndarray, all_au: np.ndarray) -> np.ndarray:
    """Of each row, the share that a part is of all light in chosen rows of its channel; 0 where there is no light."""
    known = chosen & np.isfinite(part_au) & np.isfinite(all_au)
    sums = pd.DataFrame({"part": part_au, "all": all_au})[known].groupby(channel[known].to_numpy()).sum()
    share = (sums["part"] / sums["all"]).where(sums["all"] > 0, 0.0).clip(lower=0.0)
    return channel.map(share).fillna(0.0).to_numpy(float)


def _flag(flagged: np.ndarray, unknown: np.ndarray) -> pd.arrays.BooleanArray:
    return pd.arrays.BooleanArray(flagged, unknown)
