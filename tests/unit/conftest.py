from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from planned import EXPERIMENTS, ROW

from cytolapse.simulation import NUCLEI, Simulation, simulate_movie


@pytest.fixture(scope="session")
def colony():
    """Four simulated microcolonies that grow into each other."""
    return simulate_movie(Simulation(frames=24, founders=4, grows="area", share_sd=0.03), 3)


@pytest.fixture(scope="session")
def nuclei():
    """Simulated nuclei that wander, also into the field."""
    return simulate_movie(replace(NUCLEI, frames=8, height_px=256, width_px=256, founders=12, surround_um=8.0), 5)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with two movies, a ready model and one experiment."""
    monkeypatch.chdir(tmp_path)
    Path("movies").mkdir()
    for name in ("a", "b"):
        tifffile.imwrite(f"movies/{name}.tif", np.ones((2, 2, 8, 8), np.uint16))
    Path("model").mkdir()
    Path("model/weights.safetensors").write_bytes(b"weights")
    Path("model/model.json").write_text("{}")
    Path("experiments.tsv").write_text(EXPERIMENTS + ROW)
    return {"experiments": "experiments.tsv", "models": {"nuclei": {"weights": "model"}}}
