"""Speed and memory of the stages on this machine.

    python benchmarks/speed.py [PART ...] [--folder bench/speed] [--frames 20]

segment   seconds a 1024 x 1024 frame of each network, from movie to probability.tif, beside the network of
          StarDist (its 2D configuration with a grid of 1 and of 2, random weights), which is installed into
          an environment of its own; in turns, so that all see the same machine
labels    seconds a frame of the stem cells (GOWT1, from CYTOLAPSE_DATA) from reading to labels.tif, by the
          model that benchmarks/accuracy.py trained (--models bench/accuracy/models), beside StarDist: its
          network, and its post-processing of the true probabilities and distances of the same frames
precision processor time that each network takes for one tile in float32 and in bfloat16, in turns, by one thread
memory    peak memory of segment, label and measure for 50 and for 500 frames
training  seconds a step of each network with the defaults of training, beside those that one thread takes to make
          the sub-images of a step: less, or the network would wait
simulate  processor time for 100 frames of 512 x 512 with about 100 cells, of rods, nuclei and yeast, by one thread
startup   what a job costs before it does any work
whole     the demo from its movies to its report: wall time, by stage, and the share of start-up

But for `labels` everything is made here: the movies are simulated, the weights
random. The tables are printed as Markdown; those of `labels`, `precision` and `simulate`, and where all parts ran
the others, are written into docs/speed.md too.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import stardist_peer
import tifffile
from processes import python
from scores import seconds_by_stage, write_between_marks

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs/speed.md"
sys.path.insert(0, str(REPOSITORY / "workflow"))

# The module that each stage imports.
STAGES = {
    "inspect": "inspection",
    "segment": "segmentation",
    "label": "labels",
    "measure": "features",
    "link": "lineage",
    "analyse": "analysis",
    "overlay": "overlays",
    "collect": "collection",
    "report": "report",
}

# Parts whose table has a place of its own in docs/speed.md.
OWN_MARKS = {"labels", "precision", "simulate"}
TILE_PX = 512


def write_noise(path: Path, frames: int, side: int) -> None:
    """A movie of blurred noise as a plain TIFF stack, and its movie.json."""
    from scipy import ndimage

    from cytolapse.inspection import inspect_movie, write_info
    from cytolapse.movies import write_stack

    rng = np.random.default_rng(0)
    still = ndimage.gaussian_filter(rng.random((side, side)), 8)
    still = (60_000 * (still - still.min()) / np.ptp(still)).astype(np.uint16)
    pages = (
        np.roll(still, 3 * frame, axis=0) + rng.integers(0, 200, still.shape, np.uint16) for frame in range(frames)
    )
    shape = (frames, side, side)
    write_stack(
        path, pages, shape=shape, dtype=np.uint16, pixel_size_um=0.2, frame_interval_min=5, axes="TYX", description=None
    )
    info = inspect_movie(
        str(path),
        position=None,
        axes="TYX",
        channels=["gfp"],
        segment_channel="gfp",
        stated=[],
        z_projection="none",
        on_bad_movie="stop",
    )
    write_info(info, path.with_suffix(".json"))


def write_model(folder: Path, architecture: str) -> Path:
    """A model with random weights."""
    import torch

    from cytolapse.cards import CLASSES
    from cytolapse.labeling import USUAL_CUTS
    from cytolapse.models import NORMALISATION, Model, save_model
    from cytolapse.networks import build_network

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    network = build_network(architecture, channels=1, classes=len(CLASSES)).eval()
    trained = {"seed": 0, "metrics": {}}
    of_cells = (900.0, 0.1, 1.0, 0.5, *USUAL_CUTS, 0.0)
    model = Model(network, architecture, 1, CLASSES, dict(NORMALISATION), 0.2, *of_cells, trained)
    save_model(model, folder / "weights.safetensors", folder / "model.json", half=False)
    return folder / "weights.safetensors"


SEGMENT = """
import sys, time
sys.path.insert(0, {workflow!r})
from cytolapse.segmentation import segment_movie

start = time.perf_counter()
segment_movie({info!r}, {weights!r}, {out!r}, device="cpu", batch_frames=1, tile_px=2048, overlap_px=128,
              views=1, precision="auto", resample=False, cell_diameter_px=None, pixel_size_um=None, threads={threads},
              provenance=None)
print(time.perf_counter() - start)
"""


def segment(folder: Path, frames: int, rounds: int) -> str:
    """Seconds a frame, network by network and beside StarDist's."""
    write_noise(folder / "movie.tif", frames, 1024)
    write_noise(folder / "one.tif", 1, 1024)
    threads = os.cpu_count()
    peer = stardist_peer.environment(folder)
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for architecture in ("googlenet_fcn", "googlenet_unet", "googlenet_unet_small"):
            weights = write_model(folder / architecture, architecture)
            wall = {}
            for name in ("one", "movie"):
                code = SEGMENT.format(
                    workflow=str(REPOSITORY / "workflow"),
                    info=str(folder / f"{name}.json"),
                    weights=str(weights),
                    out=str(folder / "probability.tif"),
                    threads=threads,
                )
                (wall[name],), _ = python(code)
            seconds.setdefault(architecture, []).append((wall["movie"] - wall["one"]) / (frames - 1))
        if peer:
            for grid, name in stardist_peer.GRIDS.items():
                seconds.setdefault(name, []).append(stardist_peer.network_seconds(peer, grid))
    base = seconds.get(stardist_peer.GRIDS[2])
    rows = []
    for name, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(values, base, strict=True)) if base else float("nan")
        rows.append([name, f"{statistics.median(values):.2f}", f"{min(values):.2f}", f"{ratio:.2f}"])
    head = [f"1024 x 1024 frame, {threads} threads", f"seconds (median of {rounds})", "least", "ratio to the last row"]
    return table(head, rows)


LABELS = """
import sys, time
sys.path.insert(0, {workflow!r})
from cytolapse.labels import label_movie
from cytolapse.segmentation import segment_movie
from planning.settings import read_settings

settings = read_settings({{}})
for info, out in {movies!r}:
    start = time.perf_counter()
    segment_movie(info, {model!r} + "/weights.safetensors", out, device="cpu", batch_frames=1, threads={threads},
                  **settings["segment"], pixel_size_um=None, provenance=None)
    middle = time.perf_counter()
    label_movie(out, info, {model!r} + "/model.json", out + ".labels.tif", out + ".parquet", **settings["label"],
                pixel_size_um=None, frame_interval_min=None, provenance=None)
    print(middle - start)
    print(time.perf_counter() - middle)
"""


def labels(folder: Path, frames: int, rounds: int, models: Path) -> str:
    """Seconds a frame from reading to labels, ours and StarDist's."""
    import data as movies

    model = models / "gowt1"
    if not _teacher(models).exists():
        raise SystemExit(f"{model}: no model there; python benchmarks/accuracy.py prepare run --tasks gowt1 makes it")
    source = movies.data_folder() / "Fluo-N2DH-GOWT1"
    images = list(movies.frames(source / "01", "t").values())[: frames + 2]
    peer = stardist_peer.environment(folder)
    seconds: dict[str, list[np.ndarray]] = {}
    for _ in range(rounds):
        jobs = [
            (_linked(folder / f"gowt1_{len(part)}", part), str(folder / f"p{len(part)}.tif"))
            for part in (images[:2], images)
        ]
        code = LABELS.format(
            workflow=str(REPOSITORY / "workflow"), movies=jobs, model=str(model), threads=os.cpu_count()
        )
        (first, first_labels, all_, all_labels), _ = python(code)
        ours = np.array([all_ - first, all_labels - first_labels]) / (len(images) - 2)
        seconds.setdefault("Cytolapse, from file to labels.tif", []).append(ours)
        truth = movies.frames(source / "01_ST/SEG", "man_seg")
        named = movies.frames(source / "01", "t")
        pairs = []
        for frame, path in list(truth.items())[:6]:
            pairs.append(str(folder / f"pair{frame}.npy"))
            np.save(pairs[-1], np.stack([tifffile.imread(named[frame]), tifffile.imread(path)]).astype(np.uint16))
        for grid in stardist_peer.GRIDS if peer else ():
            seconds.setdefault(f"StarDist, grid of {grid}", []).append(stardist_peer.label_seconds(peer, grid, pairs))
    rows = []
    for name, values in seconds.items():
        network, later = np.median(values, axis=0)
        rows.append([name, f"{network:.2f}", f"{later:.2f}", f"{network + later:.2f}"])
    return table([f"GOWT1, {os.cpu_count()} threads: seconds a frame", "network and files", "labels", "both"], rows)


def _teacher(models: Path) -> Path:
    """The model that `labels` runs."""
    return models / "gowt1/weights.safetensors"


def _linked(folder: Path, images: list[Path]) -> str:
    """A movie of some frames, and its movie.json."""
    from cytolapse.inspection import inspect_movie, write_info

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for image in images:
        (folder / image.name).symlink_to(image.resolve())
    info = inspect_movie(
        str(folder),
        position=None,
        axes=None,
        channels=["gfp"],
        segment_channel="gfp",
        stated=["pixel_size_um", "frame_interval_min"],
        z_projection="none",
        on_bad_movie="stop",
    )
    write_info(info, folder.with_suffix(".json"))
    return str(folder.with_suffix(".json"))


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def precision(rounds: int) -> str:
    """Processor time of each network for one tile in each arithmetic, which other work does not lengthen much."""
    import torch

    from cytolapse.networks import ARCHITECTURES, build_network
    from cytolapse.prediction import folded, forward

    torch.set_num_threads(1)
    tile = torch.rand(1, 1, TILE_PX, TILE_PX)
    rows = []
    for architecture in ARCHITECTURES:
        network = folded(build_network(architecture, channels=1, classes=2))
        seconds = {torch.float32: [], torch.bfloat16: []}
        # The first round prepares, and does not count.
        for _ in range(1 + rounds):
            for dtype, times in seconds.items():
                start = time.process_time()
                forward(network, tile, dtype)
                times.append(time.process_time() - start)
        slow, quick = (statistics.median(times[1:]) for times in seconds.values())
        rows.append([architecture, f"{slow:.3f}", f"{quick:.3f}", f"{slow / quick:.2f}"])
    name = torch.cpu.get_capabilities().get("cpu_name", "this processor")
    head = [f"a tile of {TILE_PX} x {TILE_PX}, {name}", "float32, s", "bfloat16, s", "ratio"]
    return table(head, rows)


def memory(folder: Path) -> str:
    """The peak memory of the stages that read every frame."""
    rows: dict[str, list[float]] = {}
    weights = write_model(folder / "googlenet_unet_small", "googlenet_unet_small")
    for frames in (50, 500):
        write_noise(folder / f"long{frames}.tif", frames, 256)
        names = {key: str(folder / f"{key}{frames}") for key in ("out", "labels", "confidence", "tables")}
        common = {"workflow": str(REPOSITORY / "workflow"), "info": str(folder / f"long{frames}.json"), **names}
        _, peak = python(SEGMENT.format(weights=str(weights), threads=os.cpu_count(), **common))
        rows.setdefault("segment", []).append(peak)
        for stage, code in _later_stages(str(weights.with_name("model.json")), common).items():
            _, peak = python(code)
            rows.setdefault(stage, []).append(peak)
    head = ["peak memory, frames of 256 x 256", "50 frames", "500 frames"]
    return table(head, [[stage, *(f"{peak:.0f} MB" for peak in peaks)] for stage, peaks in rows.items()])


def _later_stages(card: str, common: dict) -> dict[str, str]:
    from planning.settings import read_settings

    settings = read_settings({})
    label = f"""
import sys
sys.path.insert(0, {common["workflow"]!r})
from cytolapse.labels import label_movie
label_movie({common["out"]!r}, {common["info"]!r}, {card!r}, {common["labels"]!r}, {common["confidence"]!r},
            **{settings["label"]!r}, pixel_size_um=None, frame_interval_min=None, provenance=None)
"""
    tables = [common["tables"] + suffix for suffix in ("o", "i", "p")]
    measure = f"""
import sys
sys.path.insert(0, {common["workflow"]!r})
from cytolapse.features import measure_movie
measure_movie({common["info"]!r}, {common["labels"]!r}, {common["confidence"]!r}, *{tables!r},
              **{settings["measure"]!r}, object="cell", pixel_size_um=None, provenance=None)
"""
    return {"label": label, "measure": measure}


STEPS = 30


def training(folder: Path) -> str:
    """A step of the training, and the making of what it is shown, on the demo's annotations."""
    import torch

    from cytolapse.annotations import read_pairs
    from cytolapse.crowding import cut_donors
    from cytolapse.learning import fit_network, make_batch
    from cytolapse.networks import ARCHITECTURES
    from cytolapse.stills import scaled_still
    from planning.settings import read_settings

    demo = [sys.executable, str(REPOSITORY / "workflow/demo.py"), "annotations", "annotations"]
    subprocess.run(demo, cwd=folder, env={**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow")}, check=True)
    annotations = read_pairs(folder / "annotations")
    settings = read_settings({})["train"]
    names = ("steps_held_out", "hold_out", "folds", "floor_roc_area", "working_diameter_px", "steps", "architecture")
    apart = {name: settings.pop(name) for name in names}
    stills = [scaled_still(each, 1, 1.0) for each in annotations]
    donors = [donor for still in stills for donor in cut_donors(*still)]
    targets = {name: settings[name] for name in ("edge_px", "edge_weight", "gap_weight", "gap_px")}
    shown = {name: settings[name] for name in ("batch_crops", "crop_px", "augmentation")} | {"targets": targets}
    torch.set_num_threads(1)
    start = time.perf_counter()
    for step in range(STEPS):
        make_batch(stills, donors, np.random.default_rng([0, step]), **shown)
    making = (time.perf_counter() - start) / STEPS
    rows = [["making the sub-images, one thread", f"{making:.3f}", ""]]
    for architecture in sorted(ARCHITECTURES, key=lambda name: name != apart["architecture"]):
        seconds = {}
        # The difference of two lengths: what is done once does not count.
        for steps in (STEPS // 3, STEPS + STEPS // 3):
            start = time.perf_counter()
            fit_network(
                annotations, phase="speed", check=None, steps=steps, architecture=architecture, channels=1,
                device="cpu", start_from=None, scale=1.0, **settings,
            )  # fmt: skip
            seconds[steps] = time.perf_counter() - start
        long, short = max(seconds), min(seconds)
        step = (seconds[long] - seconds[short]) / (long - short)
        rows.append([f"a step of {architecture}", f"{step:.3f}", f"{making / step:.2f}"])
    head = [f"training, {settings['batch_crops']} x {settings['crop_px']} px, {settings['threads']} threads", "seconds"]
    return table([*head, "making over this"], rows)


def simulate() -> str:
    """Processor time of simulating movies."""
    from dataclasses import replace

    from cytolapse.simulation import NUCLEI, YEAST, Simulation, simulate_movie

    size = {"frames": 100, "height_px": 512, "width_px": 512}
    small = {"pixel_size_um": 0.25, "birth_length_um": 8.0, "width_of_cell_um": 6.5}
    scenes = {
        "rods": Simulation(**size, founders=60, surround_um=3.0, growth_rate_per_h=0.15),
        "nuclei": replace(NUCLEI, **size, **small, founders=110),
        "yeast": replace(YEAST, **size, founders=60, growth_rate_per_h=0.1),
    }
    rows = []
    for name, scene in scenes.items():
        start = time.process_time()
        movie = simulate_movie(scene, seed=0)
        seconds = time.process_time() - start
        rows.append([name, f"{len(movie.cells) / scene.frames:.0f}", f"{seconds:.1f}"])
    return table(["100 frames of 512 x 512", "cells a frame", "seconds"], rows)


def startup() -> str:
    """What the imports of each stage cost."""
    return table(
        ["start-up of a stage", "seconds (median of 5)"],
        [[stage, f"{seconds:.1f}"] for stage, seconds in startup_seconds(5).items()],
    )


def startup_seconds(times: int) -> dict[str, float]:
    """Seconds from the start of Python until the library of a stage is imported; the median of some tries."""
    found = {}
    for stage, module in STAGES.items():
        code = f"import sys; sys.path.insert(0, {str(REPOSITORY / 'workflow')!r}); import cytolapse.{module}"
        walls = []
        for _ in range(times):
            start = time.perf_counter()
            python(code)
            walls.append(time.perf_counter() - start)
        found[stage] = statistics.median(walls)
    return found


def whole(folder: Path) -> str:
    """The demo, from its movies to its report."""
    project = (folder / "whole").resolve()
    shutil.rmtree(project, ignore_errors=True)
    project.mkdir(parents=True)
    (project / "resources").symlink_to(REPOSITORY / "resources")
    demo = [sys.executable, str(REPOSITORY / "workflow/demo.py")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow")}
    subprocess.run([*demo, "prepare", "demo"], cwd=project, env=environment, check=True)
    command = [str(Path(sys.executable).with_name("snakemake")), "-s", str(REPOSITORY / "Snakefile"), "--quiet"]
    start = time.perf_counter()
    subprocess.run([*command, "--cores", "2", "--configfile", "demo/config.yaml"], cwd=project, check=True)
    wall = time.perf_counter() - start
    logs = project / "logs/demo"
    parts = [seconds_by_stage(part) for part in [logs, *(each for each in logs.iterdir() if each.is_dir())]]
    once = startup_seconds(3)
    rows, total, spent = [], 0.0, 0.0
    for stage in STAGES:
        seconds = [part[stage] for part in parts if stage in part]
        starting = len(seconds) * once[stage]
        total, spent = total + sum(seconds), spent + starting
        rows.append([stage, str(len(seconds)), f"{sum(seconds):.0f}", f"{starting / sum(seconds):.0%}"])
    rows.append(["all jobs", str(sum(map(len, parts))), f"{total:.0f}", f"{spent / total:.0%}"])
    head = ["the demo, by stage", "jobs", "seconds in jobs", "share of start-up"]
    return f"The whole demo on two cores: {wall:.0f} s of wall time.\n\n" + table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help="of those above; all, without one")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "bench/speed")
    parser.add_argument("--models", type=Path, default=REPOSITORY / "bench/accuracy/models")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    makers = {
        "segment": lambda: segment(options.folder, options.frames, options.rounds),
        "labels": lambda: labels(options.folder, options.frames, options.rounds, options.models),
        "precision": lambda: precision(options.rounds),
        "memory": lambda: memory(options.folder),
        "training": lambda: training(options.folder),
        "simulate": simulate,
        "startup": startup,
        "whole": lambda: whole(options.folder),
    }
    unknown = set(options.parts) - set(makers)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: no such part; they are {', '.join(makers)}")
    if not options.parts and not _teacher(options.models).exists():
        print(f"{_teacher(options.models)}: no such model; `labels` is left out")
        del makers["labels"]
    texts = []
    for part in options.parts or makers:
        texts.append(makers[part]())
        print(texts[-1], flush=True)
        if part in OWN_MARKS:
            write_between_marks(DOCS, part, texts.pop())
    if len(texts) == len(makers.keys() - OWN_MARKS):
        write_between_marks(DOCS, "speed", "\n".join(texts))


if __name__ == "__main__":
    main()
