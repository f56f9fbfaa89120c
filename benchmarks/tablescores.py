"""Tables of the pipeline against the true tables of the simulator: pairs of cells, noise, errors, intervals."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from cytolapse.growth import SHARED_PARTING_VARIANCE
from cytolapse.scenarios import Simulation
from cytolapse.tables import read_table

# Of one doubling: a rate from a shorter span is another matter than one from a whole cycle.
SPANS = (0.0, 0.25, 0.5, 0.75, 2.0)


def matches(found: np.ndarray, true: np.ndarray) -> pd.DataFrame:
    """Cells of all frames that cover more than half of each other.

    Parameters
    ----------
    found, true : int arrays of shape (frames, y, x)

    Returns
    -------
    DataFrame
        Columns frame, label (found) and cell (true).
    """
    parts = []
    for frame, (labels, cells) in enumerate(zip(found, true, strict=True)):
        pairs = pd.DataFrame({"label": labels.ravel(), "cell": cells.ravel()})
        shared = pairs[(pairs > 0).all(axis=1)].value_counts().reset_index(name="px")
        for side in ("label", "cell"):
            shared = shared[2 * shared["px"] > shared[side].map(pairs[side].value_counts())]
        parts.append(shared[["label", "cell"]].assign(frame=frame))
    return pd.concat(parts, ignore_index=True)


def of_part(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Tracks, cells and their expression in one part with the truth beside them, of which the columns end in `_true`.

    A track is that of the true cell that most of its frames are of, masks that the edge of the frame cuts (which are
    in no fit) left aside where there are others; which were found at all, and which are of several cells, is another
    question.
    """
    tracks, rows, light = [], [], []
    results = folder / "results/simulated"
    expression = read_table("expression", results / "expression.parquet", _LIGHT)
    cells, growth = read_table("cells", results / "cells.parquet"), read_table("growth", results / "growth.parquet")
    for movie in sorted(growth["movie"].unique()):
        labels = tifffile.imread(results / movie / "labels.tif")
        truth = folder / "truth" / movie
        pairs = matches(labels, tifffile.imread(truth / "labels.tif"))
        true_cells, true_growth = (
            read_table(name, truth / f"{name}.parquet").rename(columns={"track": "cell"})
            for name in ("cells", "growth")
        )
        both = cells[cells["movie"] == movie].merge(pairs, on=["frame", "label"])
        both = both.merge(true_cells, on=["frame", "cell"], suffixes=("", "_true"))
        cut = both["flag_border"].fillna(True).astype(bool)
        counted = both[~cut | ~both["cell_id"].isin(both.loc[~cut, "cell_id"])]
        most = counted.groupby("cell_id")["cell"].agg(lambda cell: cell.mode().iloc[0])
        rows.append(both[both["cell"] == both["cell_id"].map(most)])
        true_light = read_table("expression", truth / "expression.parquet", _LIGHT).rename(columns={"label": "cell"})
        whole = rows[-1][~rows[-1]["flag_border"].fillna(True).astype(bool)][_OF_LIGHT]
        found = whole.merge(expression, on=["movie", "frame", "label"])
        light.append(found.merge(true_light, on=["frame", "cell", "channel"], suffixes=("", "_true")))
        mine = growth[growth["movie"] == movie].assign(cell=lambda table, most=most: table["cell_id"].map(most))
        tracks.append(mine.merge(true_growth, on="cell", suffixes=("", "_true")))
    return tuple(pd.concat(each, ignore_index=True) for each in (tracks, rows, light))


_STEPS = 8  # between two frames, for integrals
_PRODUCTION = "production_rate_au_per_h"
_OF_LIGHT = ["movie", "frame", "label", "cell", "area_um2", "area_um2_true"]
_LIGHT = [
    *("movie", "frame", "label", "channel", "mean_au", "total_au", "total_se_au"),
    *(_PRODUCTION, "production_rate_se_au_per_h"),
]


@dataclass(frozen=True)
class Noise:
    """Error of ln(size) about a line of its own through each track.

    Of the variance, a share is white (pixels), and the rest autoregressive of
    first order (what an outline leans on stays for a while).
    """

    sd: float
    lag1: float  # of the part that is not white
    white: float

    @property
    def neighbours(self) -> float:
        """Correlation of the errors of neighbouring frames."""
        return (1 - self.white) * self.lag1


# An outline that is off by more is of another thing than this cell: no noise, and its frames count in no bound.
_WRONG = 0.2


def size_noise(cells: pd.DataFrame, size: str) -> Noise:
    """What of the error of size is noise: its offset and its trend along a track are left out.

    By restricted likelihood over all tracks, of which the offset and the trend
    are free: so the trend that slow noise makes by chance still counts.
    """
    error = np.log(cells[size].astype(float) / cells[f"{size}_true"])
    right = cells.assign(error=error)[~cells["flag_border"].fillna(True).astype(bool) & (error.abs() < _WRONG)]
    alike: dict[tuple, list[np.ndarray]] = {}
    for _, track in right.sort_values("frame").groupby("cell_id"):
        if len(track) >= 5:
            frame = track["frame"].to_numpy(int)
            alike.setdefault(tuple(frame - frame[0]), []).append(track["error"].to_numpy(float))
    tracks = [(np.array(frame, float), np.array(errors)) for frame, errors in alike.items()]
    candidates = [(lag1, white) for lag1 in np.linspace(-0.3, 0.95, 26) for white in np.linspace(0, 0.8, 9)]
    candidates = [(lag1, white) for lag1, white in candidates if lag1 >= _LEAST_SLOW or white == 0]
    return max((_likelihood(tracks, *each) for each in candidates), key=lambda found: found[0])[1]


# Below it, autoregressive and white noise are too alike for a track to tell them apart.
_LEAST_SLOW = 0.3


def _likelihood(tracks: list, lag1: float, white: float) -> tuple[float, Noise]:
    """Restricted log-likelihood of a kind of noise, and that noise."""
    squares = degrees = constant = 0.0
    for frame, errors in tracks:
        inverse = np.linalg.inv(_correlation(frame, lag1, white))
        line = np.stack([np.ones(len(frame)), frame - frame.mean()], axis=1)
        information = line.T @ inverse @ line
        left = inverse - inverse @ line @ np.linalg.solve(information, line.T @ inverse)
        squares += float(np.einsum("ki,ij,kj->", errors, left, errors))
        degrees += len(errors) * (len(frame) - 2)
        constant += len(errors) * (np.linalg.slogdet(inverse)[1] - np.linalg.slogdet(information)[1]) / 2
    noise = Noise(math.sqrt(squares / degrees), float(lag1), float(white))
    return constant - degrees / 2 * math.log(squares / degrees), noise


def _correlation(frame: np.ndarray, lag1: float, white: float) -> np.ndarray:
    lag = np.abs(np.subtract.outer(frame, frame))
    return (1 - white) * np.sign(lag1) ** lag * np.abs(lag1) ** lag + white * (lag == 0)


def rate_bound(frames: int, span_h: float, noise: Noise) -> float:
    """Cramer-Rao bound of the error of a growth rate, per hour.

    The least error that an unbiased estimate from these frames can have, where
    the noise of ln(size) is Gaussian, and known.
    """
    hours = np.linspace(0, span_h, frames)
    line = np.stack([np.ones(frames), hours], axis=1)
    covariance = noise.sd**2 * _correlation(np.arange(frames), noise.lag1, noise.white)
    information = line.T @ np.linalg.solve(covariance, line)
    return float(np.sqrt(np.linalg.inv(information)[1, 1]))


def production_bound(light: pd.DataFrame, parameters: Simulation) -> float:
    """Least root mean square error of production rates, over the mean rate: that of the best linear estimate.

    That estimate knows how promoters of the part change (lognormal, with the
    simulator's spread and memory), how fast each cell makes reporter on
    average for its area, and how much totals scatter from frame to frame; not
    how much a cell holds at its first frame, nor what its relatives did. All
    other errors of totals are taken for nothing. Table `light` as `of_part`
    returns it, with production rates found and true; nan where no cell has
    three rows.
    """
    step_h = parameters.frame_interval_min / 60 / _STEPS
    mean_rate = light[f"{_PRODUCTION}_true"].mean() / light["area_um2_true"].mean()
    cells = [cell.sort_values("frame") for _, cell in light.groupby(["movie", "cell"]) if len(cell) >= 3]
    if not cells:
        return math.nan
    wander = [np.diff((cell["total_au"] - cell["total_au_true"]) / cell["area_um2_true"], 2) for cell in cells]
    # Second differences of white noise have six times its variance; of what changes slowly they see little.
    noise = 1.4826 * np.median(np.abs(np.concatenate(wander))) / math.sqrt(6)
    left = []
    for cell in cells:
        area = cell["area_um2_true"].to_numpy(float)
        at = _STEPS * (cell["frame"] - cell["frame"].iloc[0]).to_numpy(int)
        steps = np.arange(at[-1] + 1)
        usual = mean_rate * np.interp(steps, at, area)
        apart_h = step_h * np.abs(np.subtract.outer(steps, steps))
        spread = parameters.reporter_sd**2 * np.exp(-apart_h / parameters.reporter_memory_h)
        changes = np.expm1(spread) * np.outer(usual, usual)
        # Trapezia from the first frame to each frame.
        summed = step_h * (steps <= at[:, None])
        summed[:, 0] /= 2
        summed[np.arange(len(at)), at] /= 2
        summed[0] = 0
        with_rates = summed @ changes[:, at]
        any_level = (1e3 * usual.mean() * step_h * len(steps)) ** 2
        of_totals = summed @ changes @ summed.T + np.diag((noise * area) ** 2) + any_level
        left.append(np.diag(changes)[at] - (with_rates * np.linalg.solve(of_totals, with_rates)).sum(axis=0))
    return float(np.sqrt(np.mean(np.concatenate(left))) / light[f"{_PRODUCTION}_true"].mean())


def judge(tracks: pd.DataFrame, cells: pd.DataFrame, light: pd.DataFrame, *, size: str, parameters: Simulation) -> dict:
    """How far one part's tables are from the truth.

    Parameters
    ----------
    tracks, cells, light : DataFrame
        As `of_part` returns them.
    size : str
        Column of `cells` that is meant by size.
    parameters : Simulation
        Of the movies.

    Returns
    -------
    dict
        noise: sd, and correlation of neighbouring frames. rate: by span over doubling time and for all, as
        `judge_rates`. cycle_time: cycles, median error and share within one
        frame. size_birth, size_division, added_size: cells, median and
        root mean square relative error, share of intervals that hold the
        truth. rule: slope of size at division against size at birth, and mean
        and coefficient of variation of cycle times, of the same cells, found
        and true. local: the rates at every frame, as the sizes. light: mean,
        total and production rate of whole cells at every frame, likewise, the
        production rate's errors relative to the mean rate of the part, beside `production_bound`.
    """
    noise = size_noise(cells, size)
    fitted = tracks[tracks["growth_rate_per_h"].notna() & ~tracks["flag_short"] & ~tracks["flag_poor_fit"]]
    doublings = fitted["fit_span_h"] * fitted["growth_rate_per_h_true"] / math.log(2)
    spans = {
        f"{low:g} to {high:g}": fitted[(doublings >= low) & (doublings < high)]
        for low, high in zip(SPANS[:-1], SPANS[1:], strict=True)
    }
    return {
        "noise": {"sd": noise.sd, "lag1": noise.neighbours},
        "rate": {name: judge_rates(some, noise) for name, some in {**spans, "all": fitted}.items() if len(some)},
        "cycle_time": _cycle_times(tracks, cells),
        **{name: _relative(tracks, name, f"{name}_se") for name in ("size_birth", "size_division", "added_size")},
        "rule": judge_rule(tracks),
        "local": _relative(cells, "growth_rate_per_h", "growth_rate_se_per_h"),
        "light": judge_light(light, parameters),
    }


def judge_rates(tracks: pd.DataFrame, noise: Noise) -> dict:
    """Bias, error beside its least, and how often the stated interval holds the truth.

    `over_bound` is the root mean square error over that of the Cramer-Rao
    bounds; `usual_over_bound` has 1.48 times the median absolute error in
    place of the former, which a few tracks that are not of one cell cannot
    carry away.
    """
    rate, true = (tracks[name].to_numpy(float) for name in ("growth_rate_per_h", "growth_rate_per_h_true"))
    lo, hi = (tracks[f"growth_rate_{end}95_per_h"].to_numpy(float) for end in ("lo", "hi"))
    bounds = [
        rate_bound(int(frames), span_h, noise)
        for frames, span_h in zip(tracks["fit_frames"], tracks["fit_span_h"], strict=True)
    ]
    bound = math.sqrt(np.mean(np.square(bounds)))
    return {
        "tracks": len(tracks),
        "bias": float(np.median(rate / true - 1)),
        "rms": float(np.sqrt(np.mean((rate / true - 1) ** 2))),
        "over_bound": float(np.sqrt(np.mean((rate - true) ** 2)) / bound),
        "usual_over_bound": float(1.4826 * np.median(np.abs(rate - true)) / bound),
        "held": float(np.mean((lo < true) & (true < hi))),
    }


def _cycle_times(tracks: pd.DataFrame, cells: pd.DataFrame) -> dict:
    both = tracks.dropna(subset=["cycle_time_h", "cycle_time_h_true"])
    interval_h = float(np.median(np.diff(np.unique(cells["time_h"]))))
    frames = (both["cycle_time_h"] - both["cycle_time_h_true"]).to_numpy(float) / interval_h
    if not len(frames):
        return {"cycles": 0}
    return {
        "cycles": len(frames),
        "median_frames": float(np.median(frames)),
        "within_a_frame": float(np.mean(np.abs(frames) <= 1)),
    }


def judge_rule(tracks: pd.DataFrame) -> dict:
    """What says by which rule cells divide, of whole cycles: found, and true of the same cells."""
    whole = tracks.dropna(subset=["added_size", "added_size_true", "cycle_time_h", "cycle_time_h_true"])
    if len(whole) < 10:
        return {"cells": len(whole)}
    told = {"cells": len(whole)}
    for source, end in (("found", ""), ("true", "_true")):
        birth, division = (whole[f"{name}{end}"].to_numpy(float) for name in ("size_birth", "size_division"))
        cycle_h = whole[f"cycle_time_h{end}"].to_numpy(float)
        told[source] = {
            "slope": float(np.polyfit(birth, division - birth, 1)[0]),
            "slope_se": float(np.sqrt(np.polyfit(birth, division - birth, 1, cov=True)[1][0, 0])),
            "mean_h": float(cycle_h.mean()),
            "cv": float(cycle_h.std(ddof=1) / cycle_h.mean()),
        }
    slope = _slope_without_errors(whole)
    if slope is not None:
        told["found"]["slope_without_errors"] = slope
    return told


def _slope_without_errors(whole: pd.DataFrame) -> float | None:
    """Slope of added size against size at birth, less what their stated errors do to it.

    The part that the errors allow for outlines that part early or late is alike in all cells, and tilts nothing. None
    where the errors are half of all that sizes at birth differ by: nothing is left to see a slope by.
    """
    names = ("size_birth", "size_division", "size_birth_se", "size_division_se", "added_size_se")
    birth, division, birth_se, division_se, added_se = (whole[name].to_numpy(float) for name in names)
    shared = (birth_se**2 + division_se**2 - added_se**2) / 2 - SHARED_PARTING_VARIANCE * birth * division
    own = birth_se**2 - SHARED_PARTING_VARIANCE * birth**2
    covariance = np.cov(birth, division)
    if own.mean() > covariance[0, 0] / 2:
        return None
    return float((covariance[0, 1] - shared.mean()) / (covariance[0, 0] - own.mean()) - 1)


def _relative(rows: pd.DataFrame, name: str, error: str) -> dict:
    both = rows.dropna(subset=[name, f"{name}_true"])
    found, true, se = (both[column].to_numpy(float) for column in (name, f"{name}_true", error))
    if not len(found):
        return {"rows": 0}
    return {
        "rows": len(found),
        "bias": float(np.median(found / true - 1)),
        "rms": float(np.sqrt(np.mean((found / true - 1) ** 2))),
        "held": float(np.mean(np.abs(found - true) < 1.96 * se)),
    }


def judge_light(light: pd.DataFrame, parameters: Simulation) -> dict:
    """Mean, total and production rate of cells at every frame, as `of_part` returns them, against the truth."""
    return {
        "mean": _without_interval(_relative(light, "mean_au", "total_se_au")),
        "total": _relative(light, "total_au", "total_se_au"),
        "production": _production(light, parameters),
    }


def _without_interval(judged: dict) -> dict:
    """The mean has no error of its own in the tables."""
    return {name: value for name, value in judged.items() if name != "held"}


def _production(light: pd.DataFrame, parameters: Simulation) -> dict:
    """Errors of the production rate: a rate that comes near to 0 must not count for more than others."""
    name = _PRODUCTION
    both = light.dropna(subset=[name, f"{name}_true"])
    if not len(both):
        return {"rows": 0}
    found, true, se = (both[each].to_numpy(float) for each in (name, f"{name}_true", "production_rate_se_au_per_h"))
    return {
        "rows": len(both),
        "bias": float(np.mean(found - true) / np.mean(true)),
        "rms": float(np.sqrt(np.mean((found - true) ** 2)) / np.mean(true)),
        "bound": production_bound(both, parameters),
        "held": float(np.mean(np.abs(found - true) < 1.96 * se)),
    }
