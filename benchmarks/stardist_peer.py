"""StarDist beside Cytolapse: its network and its labels, timed in an environment of its own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from processes import python

_PACKAGES = ["stardist==0.9.2", "tensorflow-cpu", "tf-keras"]
# Pixels of the frame that one pixel of the result stands for, each way.
GRIDS = {
    1: "StarDist's network alone, its default grid of 1",
    2: "StarDist's network alone, grid of 2 as in its published models",
}
# What both timings begin with: the grid is the first argument.
_MODEL = """
import os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_USE_LEGACY_KERAS"] = "1"
# What the libraries print on their way is no figure.
figures, sys.stdout = sys.stdout, sys.stderr
import numpy as np
from stardist.models import Config2D, StarDist2D

grid = int(sys.argv[1])
model = StarDist2D(Config2D(grid=(grid, grid)), name=None, basedir=None)
"""
_NETWORK = (
    _MODEL
    + """
image = np.random.default_rng(0).random((1, 1024, 1024, 1), np.float32)
model.keras_model.predict(image, verbose=0)
for _ in range(5):
    start = time.perf_counter()
    model.keras_model.predict(image, verbose=0)
    print(time.perf_counter() - start, file=figures)
sys.stdout = figures
"""
)
_LABELS = (
    _MODEL
    + """
from stardist import edt_prob, star_dist

model.thresholds = dict(prob=0.5, nms=0.4)
for path in sys.argv[2:]:
    image, truth = np.load(path)
    prob, dist = (np.ascontiguousarray(f(truth)[::grid, ::grid]) for f in (edt_prob, lambda t: star_dist(t, 32)))
    start = time.perf_counter()
    image = np.load(path)[0].astype(np.float32)
    image = (image - image.min()) / np.ptp(image)
    model.keras_model.predict(image[None, ..., None], verbose=0)
    middle = time.perf_counter()
    model._instances_from_prediction(image.shape, prob.astype(np.float32), dist.astype(np.float32))
    print(middle - start, file=figures)
    print(time.perf_counter() - middle, file=figures)
sys.stdout = figures
"""
)


def environment(folder: Path) -> str | None:
    """The interpreter of an environment with StarDist, made where it is missing."""
    venv = (folder / "stardist-env").resolve()
    if not (venv / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        done = subprocess.run([str(venv / "bin/python"), "-m", "pip", "install", "-q", *_PACKAGES], check=False)
        if done.returncode:
            print("StarDist could not be installed; timed without it")
            return None
        (venv / "ready").touch()
    return str(venv / "bin/python")


def network_seconds(interpreter: str, grid: int) -> float:
    """Least seconds of its network for one frame of 1024 x 1024."""
    times, _ = python(_NETWORK, str(grid), executable=interpreter)
    return min(times)


def label_seconds(interpreter: str, grid: int, pairs: list[str]) -> np.ndarray:
    """Median seconds a frame of its network and of its post-processing, over files that hold an image and its truth."""
    times, _ = python(_LABELS, str(grid), *pairs, executable=interpreter)
    # The first frame builds the graph.
    return np.median(np.array(times).reshape(-1, 2)[1:], axis=0)
