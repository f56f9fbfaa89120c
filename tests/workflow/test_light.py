"""Light that is corrected, controls and CSV, as Snakemake makes them and makes them again."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import tifffile
from project import SMALL, Project

from cytolapse.columns import EXPERIMENT_TABLES
from cytolapse.movies import StackReader
from cytolapse.simulation import simulate_movie, write_movie
from cytolapse.tables import read_table

SHEET = "experiment\tmovies\tsegmenter\tlabels\tsegment_channel\tchannels\n"
ROW = "rods\tmovies/*.tif\tlabels\tmasks/{movie}.tif\tphase\tphase,reporter\n"
TABLES = {"collect": 1, "report": 1}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Project:
    """One movie with its true labels and a flat field."""
    folder = tmp_path_factory.mktemp("light") / "project"
    (folder / "movies").mkdir(parents=True)
    (folder / "masks").mkdir()
    simulated = simulate_movie(SMALL, 1)
    write_movie(folder / "movies/a.tif", simulated)
    tifffile.imwrite(folder / "masks/a.tif", simulated.labels.astype(np.uint16), photometric="minisblack")
    tifffile.imwrite(folder / "flat.tif", np.full(simulated.labels.shape[1:], 1000, np.uint16))
    (folder / "experiments.tsv").write_text(SHEET + ROW)
    (folder / "movies.tsv").write_text("experiment\tmovie\tcondition\nrods\ta\tfixed\n")
    project = Project(folder)
    project.config = {
        "experiments": "experiments.tsv",
        "movies": "movies.tsv",
        "device": "cpu",
        "measure": {"flat_field": {"reporter": "flat.tif"}},
        "controls": {"bleaching": ["fixed"]},
    }
    run = project.snakemake()
    assert run.code == 0, run.text
    return project


@pytest.fixture
def project(finished, tmp_path) -> Project:
    return finished.copy(tmp_path / "project")


def test_another_flat_field_under_the_same_name_measures_again_and_labels_nothing(project):
    assert project.would_run() == Counter()
    light = 1000 + 4 * np.arange(SMALL.height_px * SMALL.width_px).reshape(SMALL.height_px, SMALL.width_px) % 50
    tifffile.imwrite(project.folder / "flat.tif", light.astype(np.uint16))

    assert project.would_run() == Counter({"measure": 1, "link": 1, "analyse": 1, "overlay": 1, **TABLES})


def test_a_stated_bleaching_analyses_again_and_measures_nothing(project):
    project.configure(analyse={"bleached_per_exposure": {"reporter": 0.01}})

    assert project.would_run() == Counter({"analyse": 1, **TABLES})


def test_controls_and_a_flat_field_are_made_when_asked_for_and_by_no_plain_run(project):
    assert not (project.folder / "results/rods/controls.tsv").exists()

    asked = project.snakemake("results/rods/controls.tsv", "results/rods/flat_field_reporter.tif")

    assert asked.code == 0, asked.text
    assert asked.rules == Counter({"controls": 1, "flat_field": 1})
    controls = pd.read_csv(project.folder / "results/rods/controls.tsv", sep="\t")
    assert set(controls["channel"]) == {"phase", "reporter"}
    with StackReader(project.folder / "results/rods/flat_field_reporter.tif") as stack:
        assert stack.shape == (1, SMALL.height_px, SMALL.width_px)


def test_csv_is_written_on_demand_and_of_every_run_where_config_says_so(project):
    assert project.would_run("csv") == Counter({"export_csv": len(EXPERIMENT_TABLES), "csv": 1})
    project.configure(csv=True)

    run = project.snakemake()

    assert run.code == 0, run.text
    assert run.rules == Counter({"export_csv": len(EXPERIMENT_TABLES)})
    for name in EXPERIMENT_TABLES:
        found = pd.read_csv(project.folder / f"results/rods/{name}.csv")
        assert len(found) == len(read_table(name, project.folder / f"results/rods/{name}.parquet"))
