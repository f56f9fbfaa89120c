"""Growth of real bacteria, judged by what is known without a simulator.

    python benchmarks/realgrowth.py [--folder bench/accuracy]

After a run of benchmarks/accuracy.py: lengths and rates of its colony of
*E. coli* beside those of SuperSegger's outlines, the rates of the cells beside
that of the whole colony, and rates from odd frames beside those from even ones.
All rates come from the fits of the library, on tables or outlines as they are.
Writes its table into docs/accuracy.md.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import scores
import tifffile
from data import REPOSITORY, data_folder
from tablescores import matches

from cytolapse.fits import LEAST_FIT_FRAMES, Fit, Track, believed_lag1, growth_rate
from cytolapse.jumps import area_jumps
from cytolapse.localrates import local_rates
from cytolapse.shapes import measure_shapes
from planning.settings import read_settings

DOCS = REPOSITORY / "docs/accuracy.md"

PIXEL_UM = 0.1
HOURS_A_FRAME = 1 / 60
SIZES = {"length_um": "length", "area_um2": "area"}


def supersegger_cells(labels: np.ndarray) -> pd.DataFrame:
    """SuperSegger's cells, measured as the pipeline measures its own: a label is a cell."""
    frames = [measure_shapes(page.astype(np.int32)).assign(frame=frame) for frame, page in enumerate(labels)]
    shapes = pd.concat(frames, ignore_index=True)
    return pd.DataFrame(
        {
            "cell": shapes["label"],
            "frame": shapes["frame"],
            "length_um": shapes["length_px"] * PIXEL_UM,
            "area_um2": shapes["area_px"] * PIXEL_UM**2,
            "flag_border": shapes["flag_border"],
        }
    )


def usable(cells: pd.DataFrame, area_jump: float) -> pd.DataFrame:
    """Rows that a fit uses, sorted by cell and frame."""
    cells = cells.sort_values(["cell", "frame"], ignore_index=True)
    number = cells["cell"].astype("category").cat.codes.to_numpy(int)
    _, aside = area_jumps(cells["area_um2"].to_numpy(float), cells["frame"].to_numpy(int), number, area_jump=area_jump)
    return cells[~aside & ~cells["flag_border"].fillna(False).to_numpy(bool)]


def tracks_of(cells: pd.DataFrame, size: str, least: int) -> dict:
    """Tracks of cells with enough frames, by cell."""
    return {
        cell: Track(
            rows[size].to_numpy(float), rows["frame"].to_numpy(float) * HOURS_A_FRAME, rows["frame"].to_numpy(int)
        )
        for cell, rows in cells.groupby("cell")
        if len(rows) >= least
    }


def fits_of(tracks: dict, residual_lag1: float) -> dict[object, Fit]:
    believed = believed_lag1(list(tracks.values()), residual_lag1=residual_lag1)
    return {cell: growth_rate(track, own) for (cell, track), own in zip(tracks.items(), believed, strict=True)}


def beside_supersegger(ours: pd.DataFrame, theirs: pd.DataFrame, pairs: pd.DataFrame, analyse: dict) -> dict[str, str]:
    """Sizes frame by frame, and rates of tracks that follow one and the same cell."""
    both = pairs.rename(columns={"cell": "other"}).merge(ours, on=["frame", "label"])
    both = both.merge(theirs.rename(columns={"cell": "other"}), on=["frame", "other"], suffixes=("", "_theirs"))
    inside = both[~both["flag_border"].astype(bool) & ~both["flag_border_theirs"].astype(bool)]
    same = both.groupby(["cell", "other"]).size().reset_index(name="frames")
    same = same.sort_values("frames").drop_duplicates("cell", keep="last").drop_duplicates("other", keep="last")
    rows = {"cells and frames in both": f"{len(inside)}"}
    for size, name in SIZES.items():
        ratio = np.log(inside[size].astype(float) / inside[f"{size}_theirs"])
        spread = 1.4826 * (ratio - ratio.median()).abs().median()
        rows[f"{name}, ours over theirs (spread of a cell in a frame)"] = (
            f"{np.expm1(ratio.median()):+.1%} ({spread:.1%})"
        )
        # the same frames of the same cells: what differs is the outline alone
        shared = inside.merge(same[["cell", "other"]], on=["cell", "other"])
        mine = tracks_of(usable(shared, analyse["area_jump"]), size, analyse["min_fit_frames"])
        column = shared[["cell", "frame", "flag_border"]].assign(
            **{each: shared[f"{each}_theirs"].to_numpy() for each in SIZES}
        )
        other = tracks_of(usable(column, analyse["area_jump"]), size, analyse["min_fit_frames"])
        found, known = fits_of(mine, analyse["residual_lag1"]), fits_of(other, analyse["residual_lag1"])
        pairs_of = [(found[cell], known[cell]) for cell in found if cell in known]
        rows[f"growth rate ({name}), cells; median difference; RMS; over the stated error"] = _differences(pairs_of)
    return rows


def _differences(pairs: list[tuple[Fit, Fit]]) -> str:
    rate = np.array([(one.rate_per_h, other.rate_per_h) for one, other in pairs])
    se = np.array([(one.se_per_h, other.se_per_h) for one, other in pairs])
    difference, middle = rate[:, 0] - rate[:, 1], np.median(rate)
    over = 1.4826 * np.median(np.abs(difference / np.hypot(*se.T)))
    bias, rms = np.median(difference) / middle, np.sqrt((difference**2).mean()) / middle
    return f"{len(pairs)}; {bias:+.1%}; {rms:.1%}; {over:.2f}"


def odd_and_even(cells: pd.DataFrame, size: str, analyse: dict) -> str:
    """Rates from every second frame against those from the others, over the error that is stated for both."""
    halves = []
    for parity in (0, 1):
        half = cells[cells["frame"] % 2 == parity]
        half = half.assign(frame=half["frame"] // 2)
        tracks = tracks_of(half, size, analyse["min_fit_frames"])
        tracks = {cell: track._replace(time_h=2 * track.time_h) for cell, track in tracks.items()}
        halves.append(fits_of(tracks, analyse["residual_lag1"]))
    return _differences([(halves[0][cell], halves[1][cell]) for cell in halves[0] if cell in halves[1]])


def of_colony(cells: pd.DataFrame, size: str, analyse: dict) -> str:
    """Rate of the colony's total size, and the mean of its cells' rates weighted by their sizes."""
    totals = cells.groupby("frame")[size].sum()
    slope = np.polyfit(totals.index.to_numpy(float) * HOURS_A_FRAME, np.log(totals.to_numpy(float)), 1)[0]
    kept = usable(cells, analyse["area_jump"])
    tracks = tracks_of(kept, size, LEAST_FIT_FRAMES)
    rates = local_rates(list(tracks.values()), residual_lag1=analyse["residual_lag1"])
    weight = np.concatenate([track.size for track in tracks.values()])
    mean = np.average(np.concatenate([each.rate_per_h for each in rates]), weights=weight)
    return f"{slope:.3f}, {mean:.3f} ({mean / slope - 1:+.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "bench/accuracy")
    options = parser.parse_args()
    results = options.folder / "results/ecoli"
    if not (results / "cells.parquet").is_file():
        parser.error(f"{results}: no tables there; run benchmarks/accuracy.py first, or name its folder with --folder")
    analyse = read_settings({})["analyse"]
    theirs_labels = tifffile.imread(data_folder() / "SuperSegger-Ecoli/labels_tracked.tif")
    cells = pd.read_parquet(results / "cells.parquet").dropna(subset=["cell_id"]).rename(columns={"cell_id": "cell"})
    ours = cells[["cell", "frame", "label", *SIZES, "flag_border"]]
    theirs = supersegger_cells(theirs_labels)
    pairs = matches(tifffile.imread(results / "colony/labels.tif"), theirs_labels)
    rows = beside_supersegger(ours, theirs, pairs, analyse)
    for size, name in SIZES.items():
        for source, some in (("ours", ours), ("SuperSegger's", theirs)):
            rows[f"colony's rate by total {name}, mean of cells' rates (1/h), {source}"] = of_colony(
                some, size, analyse
            )
        halves = odd_and_even(usable(ours, analyse["area_jump"]), size, analyse)
        rows[f"odd against even frames ({name}), cells; median difference; RMS; over the stated error"] = halves
    text = "| *E. coli* | |\n| --- | --- |\n" + "".join(f"| {title} | {value} |\n" for title, value in rows.items())
    sys.stdout.write(text)
    scores.write_between_marks(DOCS, "realgrowth", text)


if __name__ == "__main__":
    main()
