"""One project, run to its end once on each worker; every test changes a copy of it."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from project import REPOSITORY, SMALL, Project, write_folder

from cytolapse.simulation import simulate_movie, write_annotations, write_movie

SHEET = """\
experiment\tmovies\tmodel\tsegment_channel\tchannels\tobject\tdivision\taxes\tpixel_size_um\tframe_interval_min
rods\tmovies/*.tif\tready\tphase\tphase,reporter\tcell\tfission\t\t\t
drawn\tfolders/*\ttrained\tphase\tphase\tcell\tfission\t\t0.1\t5
"""

CONFIG = {
    "experiments": "experiments.tsv",
    "device": "cpu",
    "models": {
        "ready": {"weights": str(REPOSITORY / "resources/models/demo")},
        "trained": {"annotations": "annotations", "architecture": "googlenet_unet_small"},
    },
    "train": {"steps": 4, "steps_held_out": 2, "crop_px": 64, "batch_crops": 2, "floor_roc_area": 0, "threads": 1},
}


def make_project(folder: Path) -> Project:
    """Two experiments: two stacks with a ready model, one folder with a model to train."""
    (folder / "movies").mkdir(parents=True)
    for name, seed in (("a", 1), ("b", 2)):
        write_movie(folder / f"movies/{name}.tif", simulate_movie(SMALL, seed))
    write_folder(folder / "folders/c", 3)
    for seed in (11, 12, 13):
        write_annotations(folder / "annotations", simulate_movie(dataclasses.replace(SMALL, frames=2), seed), [1])
    (folder / "experiments.tsv").write_text(SHEET)
    project = Project(folder)
    project.config = CONFIG
    return project


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """The project after a whole run."""
    project = make_project(tmp_path_factory.mktemp("finished") / "project")
    run = project.snakemake()
    assert run.code == 0, run.text
    return project


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished project, to be changed."""
    return finished.copy(tmp_path / "project")


@pytest.fixture
def repository(tmp_path) -> Path:
    """A copy of the workflow's code, to be changed."""
    folder = tmp_path / "repository"
    for part in ("workflow", "profiles", "config"):
        shutil.copytree(REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "Snakefile", folder)
    return folder
