"""Totals of a reporter along tracks -> how fast cells make it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cytolapse.fits import LEAST_FIT_FRAMES, Track
from cytolapse.localrates import local_slopes

COLUMNS = (
    "production_rate_au_per_h",
    "production_rate_se_au_per_h",
    "promoter_activity_au_per_um2_per_h",
    "promoter_activity_se_au_per_um2_per_h",
    "total_noise_au",
)
# Exposures that differ by less are one and the same.
_SAME_EXPOSURE = 0.01


def production_rates(rows: pd.DataFrame, events: Sequence[Mapping], *, residual_lag1: float) -> pd.DataFrame:
    """Production rate and promoter activity of every cell at every frame, with their errors.

    The promoter activity is the slope of the total light of a cell against the
    integral of its area over time, drawn from as many frames of its track as
    noise and change of all tracks of the movie suggest (`local_slopes`): what is
    steady is then what a promoter does in a cell that grows. The production
    rate is that times the area. Both are counted over the mean area of the
    part of a track, so that large cells do not count for more than small ones.
    Light that bleaching takes while it is made is added: where totals are
    divided by a bleach factor b, the rate is b d(total / b)/dt. Where the
    exposures of a channel differ within the movie, totals are scaled to its
    median exposure.

    What it does *not* know: a reporter that is taken apart, or that takes long
    to mature. The rate is then that of light, made less lost.

    Parameters
    ----------
    rows : DataFrame
        Of one movie: channel, compartment, track, frame, time_h, total_au,
        bleach_factor (null where not corrected), exposure_ms, area_um2 and
        usable, which is false where the total is not to be trusted.
    events : sequence of mapping
        With the key `time_h`; no rate is drawn from both sides of one.
    residual_lag1 : float
        As in `local_slopes`.

    Returns
    -------
    DataFrame
        COLUMNS, in the order of `rows`; the rates are null where a part of a track
        has fewer than three usable frames, and in frames that are not usable.
        `total_noise_au` is by how much totals scatter from frame to frame
        about what changes slowly: in a cell of the movie's median scatter per
        area, where it is in no such part.
    """
    passed = np.searchsorted(np.unique([float(event["time_h"]) for event in events]), rows["time_h"], side="right")
    total = rows["total_au"].to_numpy(float)
    usable = rows["usable"].to_numpy(bool) & np.isfinite(total) & rows["track"].notna().to_numpy()
    scale = _exposure_scale(rows)
    of = rows.groupby(["channel", "compartment"], sort=False).ngroup().to_numpy()
    data = pd.DataFrame(
        {
            "total": total * scale,
            "hours": rows["time_h"].to_numpy(float),
            "frame": rows["frame"].to_numpy(float),
            "area": rows["area_um2"].to_numpy(float),
            "row": np.arange(len(rows)),
            "track": rows["track"].to_numpy(float, na_value=np.nan),
            "passed": passed,
            "of": of,
        }
    )[usable & (rows["area_um2"].to_numpy(float) > 0)]
    activity, se, noise = np.full((3, len(rows)), np.nan)
    area_um2 = rows["area_um2"].to_numpy(float)
    for _, of_kind in data.sort_values(["track", "frame"]).groupby("of"):
        parts = [part for _, part in of_kind.groupby(["track", "passed"]) if len(part) >= LEAST_FIT_FRAMES]
        slopes = local_slopes([_against_size(part) for part in parts], residual_lag1=residual_lag1)
        for part, slope in zip(parts, slopes, strict=True):
            activity[part["row"]], se[part["row"]] = slope.rate_per_h, slope.se_per_h
            noise[part["row"]] = slope.noise
        if parts:
            alike = of == of_kind["of"].iloc[0]
            noise[alike] = np.where(np.isnan(noise[alike]), np.nanmedian(noise[alike]), noise[alike])
    kept = rows["bleach_factor"].fillna(1.0).to_numpy(float)
    total_noise_au = noise * area_um2 / scale
    values = (activity * kept * area_um2, se * kept * area_um2, activity * kept, se * kept, total_noise_au)
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)), rows.index)


def _against_size(part: pd.DataFrame) -> Track:
    """Totals over the mean area, against time that runs as fast as the cell is large."""
    hours, relative = part["hours"].to_numpy(), part["area"].to_numpy() / part["area"].mean()
    # between two frames the cell grows exponentially
    doubled = np.log(relative[1:] / relative[:-1])
    steady = np.abs(doubled) < 1e-6
    between = np.where(steady, relative[1:], np.diff(relative) / np.where(steady, 1.0, doubled))
    passed = np.cumsum(np.diff(hours) * between)
    values = part["total"].to_numpy() / part["area"].mean()
    return Track(values, np.concatenate([[0.0], passed]), part["frame"].to_numpy())


def _exposure_scale(rows: pd.DataFrame) -> np.ndarray:
    """What totals are multiplied by, so that those of one channel are of one exposure; 1 where they are."""
    exposure_ms = rows["exposure_ms"].astype(float)
    of_channel = exposure_ms.groupby(rows["channel"])
    usual = of_channel.transform("median")
    differ = (of_channel.transform("max") - of_channel.transform("min")) > _SAME_EXPOSURE * usual
    return (usual / exposure_ms).where(differ & exposure_ms.notna(), 1.0).to_numpy(float)
