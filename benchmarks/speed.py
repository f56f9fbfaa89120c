"""Speed and memory of the stages on this machine.

    python benchmarks/speed.py [segment] [memory] [startup] [--folder bench/speed] [--frames 20]

segment   seconds a 1024 x 1024 frame of each network, from movie to probability.tif, beside the network of
          StarDist (its default 2D configuration, random weights), which is installed into an environment of
          its own; in turns, so that all see the same machine
memory    peak memory of segment, label and measure for 50 and for 500 frames
startup   what a job costs before it does any work

Everything is made here: the movies are simulated, the weights random. The
tables are printed as Markdown.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "workflow"))

STARDIST = ["stardist==0.9.2", "tensorflow-cpu", "tf-keras"]
STARDIST_TIMING = """
import os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np
from stardist.models import Config2D, StarDist2D

model = StarDist2D(Config2D(), name=None, basedir=None)
image = np.random.default_rng(0).random((1, 1024, 1024, 1), np.float32)
model.keras_model.predict(image, verbose=0)
for _ in range(int(sys.argv[1])):
    start = time.perf_counter()
    model.keras_model.predict(image, verbose=0)
    print(time.perf_counter() - start)
"""


def write_noise(path: Path, frames: int, side: int) -> None:
    """A movie of blurred noise as a plain TIFF stack, and its movie.json."""
    import numpy as np
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
        on_bad_movie="stop",
    )
    write_info(info, path.with_suffix(".json"))


def write_model(folder: Path, architecture: str) -> Path:
    """A model with random weights."""
    import torch

    from cytolapse.models import CLASSES, NORMALISATION, Model, save_model
    from cytolapse.networks import build_network

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    network = build_network(architecture, channels=1, classes=len(CLASSES)).eval()
    model = Model(network, architecture, 1, CLASSES, dict(NORMALISATION), 0.2, 0.5, {"seed": 0, "metrics": {}})
    save_model(model, folder / "weights.safetensors", folder / "model.json", half=False)
    return folder / "weights.safetensors"


SEGMENT = """
import sys, time
sys.path.insert(0, {workflow!r})
from cytolapse.segmentation import segment_movie

start = time.perf_counter()
segment_movie({info!r}, {weights!r}, {out!r}, device="cpu", batch_frames=1, tile_px=2048, overlap_px=128,
              precision="auto", resample=False, pixel_size_um=None, threads={threads}, provenance=None)
print(time.perf_counter() - start)
"""


# The process says its own peak: what its parent could tell would hold the parent's memory too.
PEAK = """
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print(int(line.split()[1]) / 1024)
"""


def python(code: str, *arguments: str, executable: str = sys.executable) -> tuple[list[float], float]:
    """Run code in a process of its own: the numbers that it prints, and its peak memory in MB."""
    command = [executable, "-c", code + PEAK, *arguments]
    text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    *numbers, peak = (float(line) for line in text.split())
    return numbers, peak


def segment(folder: Path, frames: int, rounds: int) -> None:
    """Print seconds a frame, network by network and beside StarDist's."""
    write_noise(folder / "movie.tif", frames, 1024)
    write_noise(folder / "one.tif", 1, 1024)
    threads = os.cpu_count()
    peer = _stardist(folder)
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
            times, _ = python(STARDIST_TIMING, "5", executable=peer)
            seconds.setdefault("StarDist's network alone", []).append(min(times))
    base = seconds.get("StarDist's network alone")
    print(f"\n| 1024 x 1024 frame, {threads} threads | seconds (median of {rounds}) | least | ratio to StarDist's |")
    print("| --- | --- | --- | --- |")
    for name, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(values, base, strict=True)) if base else float("nan")
        print(f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} | {ratio:.2f} |")


def _stardist(folder: Path) -> str | None:
    """The interpreter of an environment with StarDist, made where it is missing."""
    venv = (folder / "stardist-env").resolve()
    if not (venv / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        done = subprocess.run([str(venv / "bin/python"), "-m", "pip", "install", "-q", *STARDIST], check=False)
        if done.returncode:
            print("StarDist could not be installed; timed without it")
            return None
        (venv / "ready").touch()
    return str(venv / "bin/python")


def memory(folder: Path) -> None:
    """Print the peak memory of the stages that read every frame."""
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
    print("\n| peak memory, frames of 256 x 256 | 50 frames | 500 frames |\n| --- | --- | --- |")
    for stage, peaks in rows.items():
        print(f"| {stage} | " + " | ".join(f"{peak:.0f} MB" for peak in peaks) + " |")


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


def startup() -> None:
    """Print what the imports of each stage cost."""
    print("\n| start-up of a stage | seconds (median of 5) |\n| --- | --- |")
    for stage, module in (
        ("inspect", "inspection"),
        ("segment", "segmentation"),
        ("label", "labels"),
        ("measure", "features"),
        ("link", "lineage"),
        ("analyse", "analysis"),
        ("collect", "collection"),
        ("overlay", "overlays"),
        ("report", "report"),
    ):
        code = f"import sys; sys.path.insert(0, {str(REPOSITORY / 'workflow')!r}); import cytolapse.{module}"
        times = []
        for _ in range(5):
            start = time.perf_counter()
            python(code)
            times.append(time.perf_counter() - start)
        print(f"| {stage} | {statistics.median(times):.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help="segment, memory, startup; all by default")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "bench/speed")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    parts = options.parts or ["segment", "memory", "startup"]
    if "segment" in parts:
        segment(options.folder, options.frames, options.rounds)
    if "memory" in parts:
        memory(options.folder)
    if "startup" in parts:
        startup()


if __name__ == "__main__":
    main()
