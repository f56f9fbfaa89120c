"""Error of the tables against the truth of simulated movies, through the whole pipeline.

    python benchmarks/tables.py [simulate] [run] [score] [--scenes rods nuclei adder] [--light bright usual dim]
                                [--folder bench/tables] [--cores 2]

Without a verb, all three. A part is one scene under one light. `simulate` writes its
movies, their truth, a config and a sheet; `run` runs Snakemake over it; `score`
compares, and writes what all parts that are there say into docs/accuracy.md and
scores.json. What is done stays: the parts can be made one by one.
"""

import argparse
import math
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import scores
import yaml
from data import REPOSITORY
from tablescores import SPANS, judge, of_part

from cytolapse.columns import SIZE_UNITS
from cytolapse.simulation import NUCLEI, Simulation, simulate_movie, write_movie
from cytolapse.truth import write_truth

DOCS = REPOSITORY / "docs/accuracy.md"
SEEDS = (11, 12)
# Light on the camera, relative to that which the simulator draws by default.
LIGHT = {"bright": 1.0, "usual": 0.2, "dim": 0.04}


@dataclass(frozen=True)
class Scene:
    """What is simulated, and how the pipeline is told to look at it."""

    parameters: Simulation
    segmenter: str
    object: str
    lights: tuple[str, ...] = tuple(LIGHT)


SCENES = {
    "rods": Scene(
        replace(
            Simulation(grows="area", frames=40, height_px=320, width_px=320, founders=6),
            growth_rate_per_h=math.log(2) / 0.75,
        ),
        "cytolapse",
        "cell",
    ),
    "nuclei": Scene(
        replace(NUCLEI, frames=60, height_px=512, width_px=512, frame_interval_min=30.0, founders=16),
        "threshold",
        "nucleus",
    ),
    # E. coli in M9 with glucose, a frame every 3 min: doubling time and its variation, that of added lengths and of the
    # shares of daughters rounded from the cells in Data_export/Fig1_2_3.csv of Witz, G., van Nimwegen, E. & Julou, T.
    # Initiation of chromosome replication controls both division and replication cycles in E. coli through a
    # double-adder mechanism. eLife 8, e48063 (2019).
    "adder": Scene(
        Simulation(
            **{"grows": "length", "frames": 75, "frame_interval_min": 3.0, "founders": 8},
            **{"height_px": 352, "width_px": 352, "birth_length_um": 1.8},
            **{"growth_rate_per_h": math.log(2) / (51 / 60), "growth_rate_cv": 0.12},
            **{"division_rule": "adder", "division_cv": 0.2, "share_sd": 0.025},
        ),
        "cytolapse",
        "cell",
        lights=("usual",),
    ),
}


def size_column(scene: str) -> str:
    """The column of `cells` that is meant by size."""
    quantity = SCENES[scene].parameters.grows
    return f"{quantity}_{SIZE_UNITS[quantity]}"


def simulate(folder: Path, scene: Scene, light: float) -> None:
    """Movies of one part, their truth, and what Snakemake needs to run over them."""
    if (folder / "config.yaml").exists():
        return
    p = replace(scene.parameters, electrons_per_au=scene.parameters.electrons_per_au * light)
    (folder / "movies").mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        name, simulated = f"seed{seed}", simulate_movie(p, seed)
        write_movie(folder / f"movies/{name}.tif", simulated)
        write_truth(folder / "truth" / name, simulated, experiment="simulated", movie=name)
    row = {
        **{"experiment": "simulated", "movies": "movies/*.tif", "segmenter": scene.segmenter},
        **{"model": "demo" if scene.segmenter == "cytolapse" else "", "segment_channel": p.channels[0]},
        **{"channels": ",".join(p.channels), "object": scene.object},
    }
    pd.DataFrame([row]).to_csv(folder / "experiments.tsv", sep="\t", index=False)
    config = {
        "experiments": "experiments.tsv",
        "device": "cpu",
        "models": {"demo": {"weights": str(REPOSITORY / "resources/models/demo")}},
        "analyse": {"size_quantity": p.grows},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def run(folder: Path, cores: str) -> None:
    """The whole pipeline over one part, as a user would."""
    command = ["snakemake", "-s", str(REPOSITORY / "Snakefile"), "--directory", str(folder)]
    subprocess.run([*command, "--configfile", str(folder / "config.yaml"), "--cores", cores], check=True)


def as_markdown(judged: dict[str, dict]) -> str:
    """The table of docs/accuracy.md: a column a part."""
    rows = {
        "noise of ln(size)": lambda part: f"{part['noise']['sd']:.1%}, lag 1 {part['noise']['lag1']:.2f}",
        "**growth rate**, tracks": lambda part: f"{part['rate']['all']['tracks']}",
        "median bias": lambda part: f"{part['rate']['all']['bias']:+.1%}",
        "RMS error": lambda part: f"{part['rate']['all']['rms']:.1%}",
        "95 % intervals that hold the truth": lambda part: f"{part['rate']['all']['held']:.1%}",
    }
    for span in [*(f"{low:g} to {high:g}" for low, high in zip(SPANS[:-1], SPANS[1:], strict=True)), "all"]:
        title = "RMS error over the bound (usual error over it), all" if span == "all" else f"span {span} doublings"
        rows[title] = lambda part, span=span: _over_bound(part["rate"].get(span))
    rows["**rate at each frame**: RMS error, intervals hold"] = lambda part: _error(part["local"])
    rows["**cycle time**: cycles, median error in frames, within one frame"] = lambda part: (
        f"{part['cycle_time']['cycles']}, {part['cycle_time']['median_frames']:+.1f}, "
        f"{part['cycle_time']['within_a_frame']:.0%}"
        if part["cycle_time"]["cycles"]
        else "0"
    )
    for name in ("size_birth", "size_division", "added_size"):
        rows[f"**{name}**: bias, RMS error, intervals hold"] = lambda part, name=name: _biased(part[name])
    rows["**mean above background**: bias, RMS error"] = lambda part: _without_held(part["light"]["mean"])
    rows["**total**: bias, RMS error, intervals hold"] = lambda part: _biased(part["light"]["total"])
    rows["**production rate**: bias, RMS error, intervals hold"] = lambda part: _biased(part["light"]["production"])
    rows["RMS error of production over that of the best linear estimate"] = lambda part: _over_best(
        part["light"]["production"]
    )
    for source in ("found", "true"):
        rows[f"**added size over size at birth**, slope; cycle time and its CV, {source}"] = (
            lambda part, source=source: _rule(part["rule"].get(source))
        )
    lines = ["| | " + " | ".join(name.replace("/", ", ") for name in judged) + " |", "| --- |" + " --- |" * len(judged)]
    lines += [
        f"| {title} | " + " | ".join(shown(part) for part in judged.values()) + " |" for title, shown in rows.items()
    ]
    return "\n".join(lines) + "\n"


def _over_bound(rate: dict | None) -> str:
    return f"{rate['over_bound']:.2f} ({rate['usual_over_bound']:.2f}), n {rate['tracks']}" if rate else ""


def _over_best(judged: dict) -> str:
    return f"{judged['rms'] / judged['bound']:.2f} (best: {judged['bound']:.1%})" if judged["rows"] else ""


def _rule(rule: dict | None) -> str:
    if not rule:
        return ""
    slope = f"{rule['slope']:+.2f} ± {1.96 * rule['slope_se']:.2f}"
    if "slope_without_errors" in rule:
        slope += f" ({rule['slope_without_errors']:+.2f} less errors)"
    return f"{slope}; {rule['mean_h']:.2f} h, {rule['cv']:.0%}"


def _biased(judged: dict) -> str:
    return f"{judged['bias']:+.1%}, {_error(judged)}" if judged["rows"] else ""


def _without_held(judged: dict) -> str:
    return f"{judged['bias']:+.1%}, {judged['rms']:.1%}" if judged["rows"] else ""


def _error(judged: dict) -> str:
    return f"{judged['rms']:.1%}, {judged['held']:.0%}" if judged["rows"] else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verbs", nargs="*", metavar="verb", help="simulate, run, score; all by default")
    parser.add_argument("--scenes", nargs="+", choices=list(SCENES), default=list(SCENES))
    parser.add_argument("--light", nargs="+", choices=list(LIGHT), default=list(LIGHT))
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "bench/tables")
    parser.add_argument("--cores", default="all")
    options = parser.parse_args()
    unknown = set(options.verbs) - {"simulate", "run", "score"}
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: no such verb; they are simulate, run and score")
    verbs = options.verbs or ["simulate", "run", "score"]
    for name in options.scenes:
        for light in (each for each in options.light if each in SCENES[name].lights):
            part = options.folder / name / light
            if "simulate" in verbs:
                simulate(part, SCENES[name], LIGHT[light])
            if "run" in verbs:
                run(part, options.cores)
    if "score" in verbs:
        done = [
            (f"{name}/{light}", options.folder / name / light)
            for name in SCENES
            for light in LIGHT
            if (options.folder / name / light / "results/simulated/population.parquet").is_file()
        ]
        judged = {
            part: judge(*of_part(folder), size=size_column(name), parameters=SCENES[name].parameters)
            for part, folder in done
            for name in (part.split("/")[0],)
        }
        scores.write_json(options.folder / "scores.json", judged)
        text = as_markdown(judged)
        sys.stdout.write(text)
        scores.write_between_marks(DOCS, "tables", text)


if __name__ == "__main__":
    main()
