"""Accuracy on real movies: models trained by the pipeline, judged on frames that they have not seen.

    python benchmarks/accuracy.py [prepare] [run] [score] [crossvalidate] [thresholds]
                                  [--tasks gowt1 hela ecoli sim] [--folder bench/accuracy] [--folds 7]

Without a verb, the first three. `prepare` lays the experiments out, `run` runs
Snakemake over them, `score` prints the table and writes it into
docs/accuracy.md and scores.json. Each can be run again: what is done stays.
`crossvalidate` leaves the annotated frames out in turn, trains a network for
each fold, and prints how well the frames left out were drawn. `thresholds`
labels a copy of the colony of bacteria at thresholds 0.1 below and above the
model's, and writes what becomes of its growth into docs/accuracy.md.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import data as movies
import numpy as np
import pandas as pd
import scores
import tifffile
import yaml

DOCS = movies.REPOSITORY / "docs/accuracy.md"


def run(folder: Path, cores: str) -> None:
    """Run the whole pipeline, training included, as a user would."""
    command = ["snakemake", "-s", str(movies.REPOSITORY / "Snakefile"), "--directory", str(folder)]
    command += ["--configfile", str(folder / "config.yaml"), "--cores", cores]
    subprocess.run(command, check=True)


def score(folder: Path, task: movies.Task, data: Path) -> dict:
    """Everything that is known to be right or wrong about one movie."""
    (results,) = [path.parent for path in (folder / "results" / task.name).glob("*/labels.tif")]
    found = scores.export(results, folder / "ctc" / task.name)
    truth_folder = data / task.folder / "01_GT"
    if task.name == "ecoli":
        truth_folder = supersegger_as_challenge(data, folder / "truth/ecoli")
    markers = movies.frames(truth_folder / "TRA", "man_track")
    drawn = movies.frames(truth_folder / "SEG", "man_seg")
    last = len(tifffile.TiffFile(results / "labels.tif").pages)
    ours = movies.frames(found, "mask")
    seen = {frame: mask for frame, mask in drawn.items() if task.judged(frame)}
    judged = {
        "SEG": scores.seg(ours, seen),
        **scores.precision_at(found, task.masks(data), task.judged, task.margin_px),
        **scores.detections(
            found, {frame: path for frame, path in markers.items() if task.judged(frame)}, task.margin_px
        ),
        **scores.divisions(scores.match_frames(found, markers), truth_folder / "TRA/man_track.txt", found),
    }
    if task.consensus:
        taught = task.masks(data)
        both = {frame: seen[frame] for frame in seen.keys() & taught}
        judged |= {"SEG_both": scores.seg(ours, both), "SEG_consensus": scores.seg(taught, both)}
    if len(markers) == last:
        judged |= scores.challenge(found, truth_folder)
    card = json.loads((folder / "models" / task.name / "model.json").read_text())
    seconds = scores.seconds_by_stage(folder / "logs" / task.name / results.name)
    seconds |= scores.seconds_by_stage(folder / "logs" / task.name)
    seconds["train"] = scores.seconds_by_stage(folder / "logs/models" / task.name).get("train")
    return {**judged, "model": card["digest"], "metrics": card["metrics"], "frames": last, "seconds": seconds}


def crossvalidate(folder: Path, task: movies.Task, folds: int) -> dict:
    """Scores over the annotated frames, each drawn by a network that has not seen it."""
    from cytolapse.annotations import read_pairs
    from cytolapse.judgement import Answers, judge, usual_area_px
    from cytolapse.scaling import working_scale
    from cytolapse.training import cross_validate
    from planning.settings import read_settings

    train = movies.TRAINING.get(task.name, {})
    settings = read_settings({"train": train.get("train", {})})["train"]
    settings["architecture"] = train.get("architecture", settings["architecture"])
    # As long as the training that chooses the threshold: a fold leaves images out like that one.
    settings["steps"] = settings["steps_held_out"]
    judging = ("steps_held_out", "hold_out", "folds", "floor_roc_area")
    fit = {key: value for key, value in settings.items() if key not in judging}
    annotations = read_pairs(folder / "annotations" / task.name)
    area_px = usual_area_px(each.labels for each in annotations)
    fit["scale"] = working_scale(area_px, fit.pop("working_diameter_px"))
    probabilities = cross_validate(annotations, folds, **fit, channels=1, device="auto", start_from=None)
    judged = judge(Answers(annotations, list(probabilities.values())), fit["scale"])
    return {key: judged[key] for key in ("roc_area", "threshold", "seg", "ap_50", "ap_75")}


def thresholds(folder: Path, cores: str) -> str:
    """What becomes of growth in the colony of bacteria where the threshold moves by 0.1."""
    chosen = json.loads((folder / "models/ecoli/model.json").read_text())["threshold"]
    others = [task.name for task in movies.TASKS if task.name != "ecoli"]
    rows = {}
    for step in (-0.1, 0.0, 0.1):
        moved = folder
        if step:
            moved = folder.with_name(f"{folder.name}_threshold{step:+}")
            shutil.rmtree(moved, ignore_errors=True)
            shutil.copytree(folder, moved, symlinks=True, ignore=shutil.ignore_patterns("ctc", *others))
            config = yaml.safe_load((folder / "config.yaml").read_text())
            config["overrides"].setdefault("ecoli", {})["label"] = {"threshold": round(chosen + step, 3)}
            for part in ("models", "overrides"):
                config[part] = {name: value for name, value in config[part].items() if name == "ecoli"}
            (moved / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
            sheet = (folder / "experiments.tsv").read_text().splitlines(keepends=True)
            (moved / "experiments.tsv").write_text("".join(line for line in sheet if line.split("\t")[0] not in others))
            run(moved, cores)
        results = moved / "results/ecoli"
        cells, growth = pd.read_parquet(results / "cells.parquet"), pd.read_parquet(results / "growth.parquet")
        fitted = growth.dropna(subset=["growth_rate_per_h"])
        fitted = fitted[~fitted["flag_short"] & ~fitted["flag_poor_fit"]]
        population = pd.read_parquet(results / "population.parquet").iloc[0]
        rows[f"{chosen + step:.2f}"] = {
            "median growth rate of cells (1/h)": fitted["growth_rate_per_h"].median(),
            "cells fitted": float(len(fitted)),
            "rate of total size (1/h)": population["size_rate_per_h"],
            "total area, all frames (um2)": cells["area_um2"].sum(),
            "masks": float(len(cells)),
        }
    table = pd.DataFrame(rows)
    lines = ["| *E. coli*, threshold | " + " | ".join(rows) + " |", "| --- |" + " --- |" * len(rows)]
    lines += [f"| {name} | " + " | ".join(f"{value:.4g}" for value in row) + " |" for name, row in table.iterrows()]
    return "\n".join(lines) + "\n"


def supersegger_as_challenge(data: Path, folder: Path) -> Path:
    """SuperSegger's labels and lineage as TRA and SEG of the Cell Tracking Challenge."""
    labels = tifffile.imread(data / "SuperSegger-Ecoli/labels_tracked.tif").astype(np.uint16)
    lineage = pd.read_csv(data / "SuperSegger-Ecoli/lineage.csv")
    for part, name in (("TRA", "man_track"), ("SEG", "man_seg")):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for frame, page in enumerate(labels):
            tifffile.imwrite(folder / part / f"{name}{frame:03d}.tif", page, compression="zlib")
    rows = lineage[["id", "first", "last", "mother"]].itertuples(index=False)
    (folder / "TRA/man_track.txt").write_text(
        "".join(f"{i} {first} {last} {mother}\n" for i, first, last, mother in rows)
    )
    return folder


def beside_supersegger(folder: Path, data: Path) -> pd.DataFrame:
    """Cells, divisions so far and total area through time, ours and SuperSegger's."""
    results = folder / "results/ecoli"
    cells = pd.read_parquet(results / "cells.parquet", columns=["frame", "area_um2"])
    growth = pd.read_parquet(results / "growth.parquet", columns=["start", "first_frame"])
    labels = tifffile.imread(data / "SuperSegger-Ecoli/labels_tracked.tif")
    lineage = pd.read_csv(data / "SuperSegger-Ecoli/lineage.csv")
    born = growth.query("start == 'division'")["first_frame"]
    theirs = lineage.query("mother > 0")["first"]
    rows = [
        {
            "frame": frame,
            "cells": int((cells["frame"] == frame).sum()),
            "cells_supersegger": len(np.unique(labels[frame])) - 1,
            "divisions": int((born <= frame).sum()) // 2,
            "divisions_supersegger": int((theirs <= frame).sum()) // 2,
            "area_um2": float(cells.loc[cells["frame"] == frame, "area_um2"].sum()),
            "area_um2_supersegger": float((labels[frame] > 0).sum()) * 0.1**2,
        }
        for frame in range(len(labels))
    ]
    return pd.DataFrame(rows)


def as_markdown(results: dict[str, dict], colony: pd.DataFrame | None) -> str:
    """The tables of docs/accuracy.md."""
    measures = ["SEG", "SEG_both", "SEG_consensus", "AP50", "AP75", "recall", "precision", "DET", "TRA", "LNK"]
    measures += ["divisions", "divisions_found", "division_recall", "division_precision", "division_F1"]
    measures += ["division_F1_within_3"]
    lines = ["| measure | " + " | ".join(results) + " |", "| --- |" + " --- |" * len(results)]
    lines += [
        f"| {measure} | " + " | ".join(_shown(result.get(measure)) for result in results.values()) + " |"
        for measure in measures
    ]
    held = {name: result["metrics"].get("held_out") or {} for name, result in results.items()}
    lines.append(
        "| pixelwise ROC area, images left out | "
        + " | ".join(_shown(h.get("roc_area"), 4) for h in held.values())
        + " |"
    )
    trained = [result["metrics"]["training"]["roc_area"] for result in results.values()]
    lines.append("| pixelwise ROC area, training images | " + " | ".join(_shown(area, 4) for area in trained) + " |")
    lines += ["", "Wall time in seconds, by stage:", "", "| stage | " + " | ".join(results) + " |"]
    lines.append("| --- |" + " --- |" * len(results))
    for stage in ("train", "inspect", "segment", "label", "measure", "link", "analyse", "overlay", "collect", "report"):
        times = [result["seconds"].get(stage) for result in results.values()]
        lines.append(f"| {stage} | " + " | ".join("" if t is None else f"{t:.0f}" for t in times) + " |")
    lines.append("| frames | " + " | ".join(str(result["frames"]) for result in results.values()) + " |")
    if colony is not None:
        lines += ["", "The colony through time, beside SuperSegger's own outlines:", ""]
        lines.append("| frame | cells | SuperSegger | divisions | SuperSegger | area (um2) | SuperSegger |")
        lines.append("| --- |" + " --- |" * 6)
        for row in colony[colony["frame"].isin([0, 10, 20, 30, 40, 50, 59])].itertuples(index=False):
            lines.append("| " + " | ".join(_shown(value, 1) for value in row) + " |")
    return "\n".join(lines) + "\n"


def _shown(value: float | int | None, digits: int = 3) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verbs", nargs="*", default=[], metavar="verb", help="the first three by default")
    parser.add_argument("--folds", type=int, default=7, help="parts of the annotated frames to leave out in turn")
    parser.add_argument("--tasks", nargs="+", default=[task.name for task in movies.TASKS])
    parser.add_argument("--folder", type=Path, default=movies.REPOSITORY / "bench/accuracy")
    parser.add_argument("--cores", default="all")
    options = parser.parse_args()
    unknown = set(options.verbs) - {"prepare", "run", "score", "crossvalidate", "thresholds"}
    if unknown:
        parser.error(
            f"{', '.join(sorted(unknown))}: no such verb; they are prepare, run, score, crossvalidate and thresholds"
        )
    verbs = options.verbs or ["prepare", "run", "score"]
    tasks = tuple(task for task in movies.TASKS if task.name in options.tasks)
    data, folder = movies.data_folder(), options.folder
    if "prepare" in verbs:
        folder.mkdir(parents=True, exist_ok=True)
        movies.prepare(folder, tasks)
    if "run" in verbs:
        run(folder, options.cores)
    if "score" in verbs:
        results = {task.name: score(folder, task, data) for task in tasks}
        colony = beside_supersegger(folder, data) if "ecoli" in results else None
        scores.write_json(folder / "scores.json", results)
        text = as_markdown(results, colony)
        sys.stdout.write(text)
        if len(tasks) == len(movies.TASKS):
            scores.write_between_marks(DOCS, "scores", text)
    if "thresholds" in verbs:
        text = thresholds(folder, options.cores)
        sys.stdout.write(text)
        scores.write_between_marks(DOCS, "thresholds", text)
    if "crossvalidate" in verbs:
        for task in tasks:
            sys.stdout.write(f"{task.name}, {options.folds} folds: {crossvalidate(folder, task, options.folds)}\n")


if __name__ == "__main__":
    main()
