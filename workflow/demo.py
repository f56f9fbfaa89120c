"""The demo: simulate an experiment, and compare what the pipeline found with the truth.

python workflow/demo.py prepare FOLDER      movies, truth, config and sheets
python workflow/demo.py check FOLDER        how close the results came
python workflow/demo.py annotations FOLDER  what the demo's model is trained from
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cytolapse.simulation import Simulation, simulate_movie, write_annotations, write_movie
from cytolapse.tables import read_metadata, read_table

EXPERIMENT = "demo"
RESULTS = Path("results") / EXPERIMENT
BACTERIA = Simulation(frames=28, founders=5, grows="area")
DOUBLING_TIME_MIN = {"control": 40, "slow": 60, "drug": 40}
# The same three days for every condition: cells grow a little slower or faster on each of them.
PACE_OF_REPLICATE = (0.96, 1.04, 1.0)
# In the condition of that name; growth is halved from then on.
DRUG_TIME_H, DRUG_FACTOR = 1.0, 0.5
FIRST_SEED = 1
# founders and frames, from a few single cells to a field that is nearly full; seeds unlike those of the movies
ANNOTATED = {101: (4, 1), 102: (6, 10), 103: (9, 16), 104: (14, 18), 105: (4, 30), 106: (14, 26), 107: (22, 28)}
COMPARED = ("cells", "growth", "expression")
CELL_COLUMNS = ["movie", "frame", "label", "cell_id", "y_px", "x_px", "flag_border"]
FARTHEST_UM = 0.7  # of a cell found from its true place; less than the width of a cell

CONFIG = """\
# The demo, made by `python workflow/demo.py prepare {folder}`.
experiments: {folder}/experiments.tsv
movies: {folder}/movies.tsv
events: {folder}/events.tsv
device: cpu
threads: 2
models:
  demo:
    weights: resources/models/demo
"""
TRAINING = """\
# How the demo's model is trained, made by `python workflow/demo.py annotations {annotations}`.
experiments: {folder}/training.tsv
device: cpu
models:
  demo_new:
    annotations: {annotations}
    architecture: googlenet_unet_small
    pixel_size_um: {pixel_size_um}
    train: {{steps: 600, steps_held_out: 150, crop_px: 128, batch_crops: 8, learning_rate: 0.001}}
"""


def prepare(folder: Path) -> None:
    """Write movies, their truth, and a config and sheets to run the pipeline on them."""
    cells, lineages, sheet = [], [], []
    for number, (name, condition, replicate) in enumerate(_movies()):
        simulated = simulate_movie(parameters_of(condition, replicate), FIRST_SEED + number)
        (folder / "movies").mkdir(parents=True, exist_ok=True)
        write_movie(folder / "movies" / f"{name}.tif", simulated)
        cells.append(simulated.cells.assign(movie=name, condition=condition))
        lineages.append(simulated.lineage.assign(movie=name, condition=condition))
        sheet.append({"experiment": EXPERIMENT, "movie": name, "condition": condition, "replicate": replicate})
    (folder / "truth").mkdir(exist_ok=True)
    pd.concat(cells, ignore_index=True).to_parquet(folder / "truth" / "cells.parquet")
    pd.concat(lineages, ignore_index=True).to_parquet(folder / "truth" / "lineage.parquet")
    _write_sheet(folder / "movies.tsv", sheet, "experiment movie condition replicate exclude reason")
    event = {"experiment": EXPERIMENT, "movie": "drug_*", "event": "drug", "time_h": DRUG_TIME_H}
    _write_sheet(folder / "events.tsv", [event], "experiment movie event time_h dose")
    _write_experiments(folder / "experiments.tsv", [_experiment(folder)])
    (folder / "config.yaml").write_text(CONFIG.format(folder=folder.as_posix()), encoding="utf-8")
    print(f"{len(sheet)} simulated movies of {BACTERIA.frames} frames: {folder / 'movies'}")


def parameters_of(condition: str, replicate: int) -> Simulation:
    """What is simulated for a condition, on the day of a replicate, from 1."""
    rate_per_h = math.log(2) * 60 / DOUBLING_TIME_MIN[condition] * PACE_OF_REPLICATE[replicate - 1]
    shift = {"shift_time_h": DRUG_TIME_H, "shift_factor": DRUG_FACTOR} if condition == "drug" else {}
    return replace(BACTERIA, growth_rate_per_h=rate_per_h, **shift)


def _movies() -> list[tuple[str, str, int]]:
    return [
        (f"{condition}_{replicate}", condition, replicate)
        for condition in DOUBLING_TIME_MIN
        for replicate in range(1, len(PACE_OF_REPLICATE) + 1)
    ]


def _experiment(folder: Path) -> dict:
    return {
        "experiment": EXPERIMENT,
        "movies": f"{folder.as_posix()}/movies/*.tif",
        "model": "demo",
        "segment_channel": BACTERIA.channels[0],
        "channels": ",".join(BACTERIA.channels),
        "object": "cell",
        "division": "fission",
    }


def _write_experiments(path: Path, rows: list[dict]) -> None:
    columns = "experiment movies model segment_channel channels object division axes pixel_size_um frame_interval_min"
    _write_sheet(path, rows, columns)


def _write_sheet(path: Path, rows: list[dict], columns: str) -> None:
    pd.DataFrame(rows, columns=columns.split()).to_csv(path, sep="\t", index=False, lineterminator="\n")


def annotations(folder: Path) -> None:
    """Write seven frames with true outlines, and beside the folder a config to train from them."""
    for seed, (founders, frames) in ANNOTATED.items():
        simulated = simulate_movie(replace(BACTERIA, founders=founders, frames=frames), seed)
        write_annotations(folder, simulated, [frames - 1])
    _write_experiments(folder.parent / "training.tsv", [])
    text = TRAINING.format(
        folder=folder.parent.as_posix(), annotations=folder.as_posix(), pixel_size_um=BACTERIA.pixel_size_um
    )
    (folder.parent / "training.yaml").write_text(text, encoding="utf-8")
    print(f"{len(ANNOTATED)} annotated images: {folder}")
    print(f"to train from them: snakemake models --cores 2 --configfile {folder.parent / 'training.yaml'}")


def check(folder: Path) -> None:
    """Print where the results are and how close they came to what was simulated."""
    for path in (folder / "truth" / "cells.parquet", *(RESULTS / f"{name}.parquet" for name in COMPARED)):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: not found; run `make demo`, which prepares and runs before it checks")
    truth = pd.read_parquet(folder / "truth" / "cells.parquet")
    lineage = pd.read_parquet(folder / "truth" / "lineage.parquet")
    cells = read_table("cells", RESULTS / "cells.parquet", CELL_COLUMNS)
    growth = read_table("growth", RESULTS / "growth.parquet")
    matches = match_cells(cells, truth)
    growth = growth.merge(true_cells(matches), on="cell_id", how="left")

    print("\nThe demo is done.\n")
    print(f"  tables    {RESULTS}/ (movies, frames, cells, growth, fits, expression, population .parquet)")
    print(f"  report    {RESULTS / 'report.html'}")
    print(f"  overlays  {RESULTS}/MOVIE/overlay.png, for MOVIE {', '.join(name for name, *_ in _movies())}\n")
    _print_cells(cells, truth, matches)
    _print_divisions(growth, lineage)
    _print_growth(growth, truth, read_metadata(RESULTS / "growth.parquet").get("size_quantity", "area"))
    _print_expression(matches)


def match_cells(cells: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Pairs of a cell found and a true one that are nearest to each other in their frame."""
    from scipy.spatial import cKDTree

    true_frames = dict(list(truth.groupby(["movie", "frame"])))
    parts = []
    for key, found in cells.groupby(["movie", "frame"]):
        if key not in true_frames:
            continue
        true = true_frames[key]
        places, true_places = found[["y_px", "x_px"]].to_numpy(float), true[["y_px", "x_px"]].to_numpy(float)
        distance_px, nearest = cKDTree(true_places).query(places)
        back = cKDTree(places).query(true_places)[1]
        mutual = (back[nearest] == np.arange(len(found))) & (distance_px * BACTERIA.pixel_size_um < FARTHEST_UM)
        of_truth = true.iloc[nearest[mutual]].reset_index(drop=True).drop(columns=["movie", "frame"])
        keys = found.loc[mutual, ["movie", "frame", "label", "cell_id"]].reset_index(drop=True)
        parts.append(pd.concat([keys, of_truth], axis=1))
    return pd.concat(parts, ignore_index=True)


def true_cells(matches: pd.DataFrame) -> pd.DataFrame:
    """The true cell of each track: the one that nine tenths or more of its matched frames agree on."""
    frames = matches.groupby(["cell_id", "cell"]).size().rename("agree").reset_index()
    frames["share"] = frames["agree"] / frames.groupby("cell_id")["agree"].transform("sum")
    return frames.loc[frames["share"] >= 0.9, ["cell_id", "cell"]]


def _print_cells(cells: pd.DataFrame, truth: pd.DataFrame, matches: pd.DataFrame) -> None:
    whole, found = (~truth["flag_border"]).sum(), (~matches["flag_border"]).sum()
    inside = cells[~cells["flag_border"]]
    known = inside.merge(matches[["cell_id", "frame"]], on=["cell_id", "frame"])
    print(
        f"  cells      {found} of {whole} whole cells found, over all frames ({found / whole:.1%}); "
        f"{len(inside) - len(known)} of {len(inside)} whole outlines are not of one cell"
    )


def _print_divisions(growth: pd.DataFrame, lineage: pd.DataFrame) -> None:
    divided = lineage[lineage["end"] == "division"]
    reported = growth[growth["end"] == "division"]
    pairs = reported.merge(divided, on=["movie", "cell"], suffixes=("", "_true"))
    right = ((pairs["last_frame"] + 1 - pairs["division_frame"]).abs() <= 1).sum()
    print(
        f"  divisions  {right} of {len(divided)} found within a frame; {len(reported) - right} reported beside them\n"
    )


def _print_growth(growth: pd.DataFrame, truth: pd.DataFrame, size_quantity: str) -> None:
    column = {"area": "area_um2", "length": "length_um", "volume": "volume_um3"}[size_quantity]
    rates = truth.groupby(["movie", "cell"]).apply(_log_slope, column, include_groups=False).rename("simulated_per_h")
    compared = growth.merge(rates.reset_index(), on=["movie", "cell"])
    compared = compared.dropna(subset=["growth_rate_per_h", "simulated_per_h"])
    compared = compared[~compared["flag_short"].fillna(True)]
    print(f"  growth rate ({size_quantity}), median of cells, per hour")
    for condition, group in compared.groupby("condition"):
        measured, simulated = group["growth_rate_per_h"].median(), group["simulated_per_h"].median()
        low, high = _interval_of_median(group["growth_rate_per_h"].to_numpy(float))
        print(
            f"    {condition:<8} measured {measured:.3f} ({low:.3f} to {high:.3f}), simulated {simulated:.3f}: "
            f"{measured / simulated - 1:+.1%} ({len(group)} cells)"
        )
    error = compared["growth_rate_per_h"] / compared["simulated_per_h"] - 1
    rms = math.sqrt((error**2).mean())
    print(f"    cell by cell: median bias {error.median():+.1%}, RMS error {rms:.1%}\n")


def _log_slope(cell: pd.DataFrame, column: str) -> float:
    if len(cell) < 2:
        return math.nan
    return float(np.polyfit(cell["time_h"].to_numpy(float), np.log(cell[column].to_numpy(float)), 1)[0])


def _interval_of_median(values: np.ndarray) -> tuple[float, float]:
    """95 % interval by resampling cells; it knows nothing of differences between replicates."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return float(low), float(high)


def _print_expression(matches: pd.DataFrame) -> None:
    reporter = BACTERIA.channels[1]
    columns = ["cell_id", "frame", "channel", "compartment", "mean_au"]
    expression = read_table("expression", RESULTS / "expression.parquet", columns)
    expression = expression[(expression["channel"] == reporter) & (expression["compartment"] == "whole")]
    both = matches[~matches["flag_border"]].merge(expression, on=["cell_id", "frame"]).dropna(subset=["mean_au"])
    simulated_au = both["total_au"] / both["area_um2"] * BACTERIA.pixel_size_um**2
    ratio = (both["mean_au"] / simulated_au).median()
    print(
        f"  {reporter}   mean above background, median of cells: measured {both['mean_au'].median():.0f} au, simulated "
        f"{simulated_au.median():.0f} au"
    )
    print(f"    cell by cell: {ratio - 1:+.1%}, correlation {np.corrcoef(both['mean_au'], simulated_au)[0, 1]:.3f}\n")


def main() -> None:
    """Run the subcommand that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["prepare", "check", "annotations"])
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    try:
        {"prepare": prepare, "check": check, "annotations": annotations}[asked.what](asked.folder)
    except FileNotFoundError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
