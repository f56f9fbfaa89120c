"""Growth of real cells, judged by what is known without a simulator.

    python benchmarks/realgrowth.py [--folder bench/accuracy]

After a run of benchmarks/accuracy.py: lengths and rates of its colony of
*E. coli* beside those of SuperSegger's outlines, the rates of the cells beside
that of the whole colony, and rates from odd frames beside those from even ones;
areas and rates of nuclei (GOWT1, HeLa) beside those of the consensus outlines.
All rates come from the fits of the library, on tables or outlines as they are.
Writes its tables into docs/accuracy.md.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import scores
import tifffile
from data import REPOSITORY, TASKS, Task, data_folder
from tablescores import matches

from cytolapse.fits import LEAST_FIT_FRAMES, Fit, Track, believed_lag1, growth_rate
from cytolapse.jumps import area_jumps
from cytolapse.localrates import local_rates
from cytolapse.shapes import measure_shapes
from planning.settings import read_settings

DOCS = REPOSITORY / "docs/accuracy.md"

SIZES = {"length_um": "length", "area_um2": "area"}
# Columns that say that the pipeline leaves a frame of a cell out of its fits; those of nuclei say nothing of others.
LEFT_OUT = ["flag_border", "flag_mitotic", "flag_merged", "flag_split", "flag_out_of_focus"]


def outlined_cells(masks: Mapping[int, np.ndarray], task: Task) -> pd.DataFrame:
    """Cells that others outlined, measured as the pipeline measures its own: a label is a cell.

    `frame` counts the frames that were outlined, and neighbours there count as neighbours in all that follows, though
    up to four frames of the movie may lie between them; `time_h` is that of the movie.
    """
    frames = [
        measure_shapes(labels.astype(np.int32)).assign(frame=number, time_h=frame * task.row["interval"] / 60)
        for number, (frame, labels) in enumerate(masks.items())
    ]
    shapes = pd.concat(frames, ignore_index=True)
    pixel_um = task.row["pixel_size_um"]
    return pd.DataFrame(
        {
            "cell": shapes["label"],
            **{name: shapes[name] for name in ("frame", "time_h")},
            "length_um": shapes["length_px"] * pixel_um,
            "area_um2": shapes["area_px"] * pixel_um**2,
            "left_out": shapes["flag_border"],
        }
    )


def own_cells(results: Path, outlined: list[int]) -> pd.DataFrame:
    """Cells of the pipeline's table in the frames that others outlined, likewise."""
    cells = pd.read_parquet(results / "cells.parquet").dropna(subset=["cell_id"]).rename(columns={"cell_id": "cell"})
    cells = cells[cells["frame"].isin(outlined)]
    cells["frame"] = cells["frame"].map({frame: number for number, frame in enumerate(outlined)})
    cells["left_out"] = cells[LEFT_OUT].fillna(False).any(axis=1)
    return cells[["cell", "frame", "time_h", "label", *SIZES, "left_out"]]


def usable(cells: pd.DataFrame, area_jump: float) -> pd.DataFrame:
    """Rows that a fit uses, sorted by cell and frame."""
    cells = cells.sort_values(["cell", "frame"], ignore_index=True)
    number = cells["cell"].astype("category").cat.codes.to_numpy(int)
    _, aside = area_jumps(cells["area_um2"].to_numpy(float), cells["frame"].to_numpy(int), number, area_jump=area_jump)
    return cells[~aside & ~cells["left_out"].to_numpy(bool)]


def tracks_of(cells: pd.DataFrame, size: str, least: int) -> dict:
    """Tracks of cells with enough frames, by cell."""
    return {
        cell: Track(rows[size].to_numpy(float), rows["time_h"].to_numpy(float), rows["frame"].to_numpy(int))
        for cell, rows in cells.groupby("cell")
        if len(rows) >= least
    }


def fits_of(tracks: dict, residual_lag1: float) -> dict[object, Fit]:
    believed = believed_lag1(list(tracks.values()), residual_lag1=residual_lag1)
    return {cell: growth_rate(track, own) for (cell, track), own in zip(tracks.items(), believed, strict=True)}


def beside_others(
    ours: pd.DataFrame, theirs: pd.DataFrame, pairs: pd.DataFrame, sizes: list[str], analyse: dict
) -> dict[str, str]:
    """Sizes frame by frame, and rates of tracks that follow one and the same cell."""
    both = pairs.rename(columns={"cell": "other"}).merge(ours, on=["frame", "label"])
    both = both.merge(theirs.rename(columns={"cell": "other"}), on=["frame", "other"], suffixes=("", "_theirs"))
    inside = both[~both["left_out"] & ~both["left_out_theirs"]]
    same = both.groupby(["cell", "other"]).size().reset_index(name="frames")
    same = same.sort_values("frames").drop_duplicates("cell", keep="last").drop_duplicates("other", keep="last")
    rows = {"cells and frames in both": f"{len(inside)}"}
    for size in sizes:
        name = SIZES[size]
        ratio = np.log(inside[size].astype(float) / inside[f"{size}_theirs"])
        spread = 1.4826 * (ratio - ratio.median()).abs().median()
        rows[f"{name}, ours over theirs (spread of a cell in a frame)"] = (
            f"{np.expm1(ratio.median()):+.1%} ({spread:.1%})"
        )
        # the same frames of the same cells: what differs is the outline alone
        shared = inside.merge(same[["cell", "other"]], on=["cell", "other"])
        mine = tracks_of(usable(shared, analyse["area_jump"]), size, analyse["min_fit_frames"])
        column = shared[["cell", "frame", "time_h", "left_out"]].assign(
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
        halves.append(fits_of(tracks_of(half, size, analyse["min_fit_frames"]), analyse["residual_lag1"]))
    return _differences([(halves[0][cell], halves[1][cell]) for cell in halves[0] if cell in halves[1]])


def of_colony(cells: pd.DataFrame, size: str, analyse: dict) -> str:
    """Rate of the colony's total size, and the mean of its cells' rates weighted by their sizes."""
    totals = cells.groupby("time_h")[size].sum()
    slope = np.polyfit(totals.index.to_numpy(float), np.log(totals.to_numpy(float)), 1)[0]
    kept = usable(cells, analyse["area_jump"])
    tracks = tracks_of(kept, size, LEAST_FIT_FRAMES)
    rates = local_rates(list(tracks.values()), residual_lag1=analyse["residual_lag1"])
    weight = np.concatenate([track.size for track in tracks.values()])
    mean = np.average(np.concatenate([each.rate_per_h for each in rates]), weights=weight)
    return f"{slope:.3f}, {mean:.3f} ({mean / slope - 1:+.1%})"


def of_task(task: Task, folder: Path, sizes: list[str], analyse: dict) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    """The pipeline's cells of a task, those that others outlined, and rows that compare them."""
    masks = {
        frame: each if isinstance(each, np.ndarray) else tifffile.imread(each)
        for frame, each in task.masks(data_folder()).items()
    }
    results = folder / "results" / task.name
    labels = tifffile.imread(next(results.glob("*/labels.tif")))
    ours, theirs = own_cells(results, list(masks)), outlined_cells(masks, task)
    pairs = matches(labels[list(masks)], list(masks.values()))
    rows = beside_others(ours, theirs, pairs, sizes, analyse)
    for size in sizes:
        title = f"odd against even frames ({SIZES[size]}), cells; median difference; RMS; over the stated error"
        rows[title] = odd_and_even(usable(ours, analyse["area_jump"]), size, analyse)
    return ours, theirs, rows


def as_markdown(columns: dict[str, dict[str, str]]) -> str:
    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    rows = next(iter(columns.values()))
    lines += [f"| {title} | " + " | ".join(column[title] for column in columns.values()) + " |" for title in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "bench/accuracy")
    options = parser.parse_args()
    tasks = {task.name: task for task in TASKS if task.name != "sim"}
    for name in tasks:
        results = options.folder / "results" / name
        if not (results / "cells.parquet").is_file():
            parser.error(
                f"{results}: no tables there; run benchmarks/accuracy.py first, or name its folder with --folder"
            )
    analyse = read_settings({})["analyse"]
    ours, theirs, colony = of_task(tasks["ecoli"], options.folder, list(SIZES), analyse)
    for size, name in SIZES.items():
        for source, some in (("ours", ours), ("SuperSegger's", theirs)):
            colony[f"colony's rate by total {name}, mean of cells' rates (1/h), {source}"] = of_colony(
                some, size, analyse
            )
    nuclei = {
        title: of_task(tasks[name], options.folder, ["area_um2"], analyse)[2]
        for name, title in (("gowt1", "GOWT1"), ("hela", "HeLa"))
    }
    for place, columns in (("realgrowth", {"*E. coli*": colony}), ("nucleigrowth", nuclei)):
        text = as_markdown(columns)
        sys.stdout.write(text + "\n")
        scores.write_between_marks(DOCS, place, text)


if __name__ == "__main__":
    main()
