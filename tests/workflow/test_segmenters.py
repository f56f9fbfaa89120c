"""Experiments that no model of the pipeline segments: from their rule to the tables, and what reruns when."""

import json
import os
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import tifffile
from project import REPOSITORY, SMALL, Project

from cytolapse.movies import StackReader
from cytolapse.simulation import simulate_movie, write_movie
from cytolapse.tables import read_table

SHEET = """\
experiment\tmovies\tsegmenter\tlabels\tsegment_channel\tchannels
bare\tmovies/*.tif\tthreshold\t\tphase\tphase,reporter
drawn\tmovies/*.tif\tlabels\tmasks/{movie}.tif\tphase\tphase,reporter
engine\tmovies/*.tif\tcellpose\t\tphase\tphase,reporter
"""
CONFIG = {
    "experiments": "experiments.tsv",
    "device": "cpu",
    "threshold": {"cells": "dark"},
    "cellpose": {"model": "./weights"},
    "environments": {"cellpose": "python"},
}
AFTER = {"measure": 1, "link": 1, "analyse": 1, "overlay": 1, "collect": 1, "report": 1}
RULES = {"bare": "label_threshold", "drawn": "import_labels", "engine": "label_cellpose"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Project:
    """One movie, segmented in three ways: by a threshold, by its true labels, by a stub of Cellpose."""
    folder = tmp_path_factory.mktemp("segmenters") / "project"
    (folder / "movies").mkdir(parents=True)
    (folder / "masks").mkdir()
    simulated = simulate_movie(SMALL, 1)
    write_movie(folder / "movies/a.tif", simulated)
    tifffile.imwrite(folder / "masks/a.tif", simulated.labels.astype(np.uint16), photometric="minisblack")
    (folder / "weights").write_text("weights")
    (folder / "python").write_text(
        f'#!/bin/sh\nPYTHONPATH="{REPOSITORY}/tests/stubs:$PYTHONPATH" exec {sys.executable} "$@"\n'
    )
    (folder / "python").chmod(0o755)
    (folder / "experiments.tsv").write_text(SHEET)
    project = Project(folder)
    project.config = CONFIG
    run = project.snakemake()
    assert run.code == 0, run.text
    each = {rule: 3 if rule in AFTER else 1 for rule in ("inspect", *AFTER, *RULES.values())}
    assert run.rules == Counter({**each, "inspect": 3})
    return project


def chain(experiment: str) -> Counter:
    return Counter({RULES[experiment]: 1, **AFTER})


def test_every_segmenter_leads_to_the_tables_which_say_which_it_was(finished):
    movies = {name: pd.read_parquet(finished.folder / f"results/{name}/movies.parquet").iloc[0] for name in RULES}

    assert {name: movie["status"] for name, movie in movies.items()} == dict.fromkeys(RULES, "done")
    facts = ["segmenter", "segmenter_version", "model", "device"]
    assert {name: movie[facts].dropna().to_dict() for name, movie in movies.items()} == {
        "bare": {"segmenter": "threshold"},
        "drawn": {"segmenter": "labels"},
        "engine": {
            "segmenter": "cellpose",
            "segmenter_version": "cellpose 4.2.1, torch 0.stub",
            "model": "./weights",
            "device": "cpu",
        },
    }
    assert movies["engine"]["model_digest"]
    for movie in movies.values():
        assert set(json.loads(movie["settings"])) == {"label", "measure", "link", "analyse"}
    for name in RULES:
        assert len(read_table("growth", finished.folder / f"results/{name}/growth.parquet"))


def test_the_threshold_finds_about_the_cells_that_there_are(finished):
    cells = read_table("cells", finished.folder / "results/bare/cells.parquet")
    true = simulate_movie(SMALL, 1).labels

    assert len(cells) == pytest.approx(sum(len(np.unique(frame)) - 1 for frame in true), rel=0.25)
    with StackReader(finished.folder / "results/bare/a/labels.tif") as stack:
        found = np.stack([stack.read(frame) for frame in range(stack.shape[0])]) > 0
    assert np.count_nonzero(found & (true > 0)) / np.count_nonzero(found | (true > 0)) > 0.7
    assert cells["mask_confidence"].isna().all()
    assert set(cells["mask_source"]) == {"predicted"}


def test_label_images_are_taken_as_they_are(finished):
    with StackReader(finished.folder / "results/drawn/a/labels.tif") as stack:
        found = np.stack([stack.read(frame) for frame in range(stack.shape[0])])

    np.testing.assert_array_equal(found, simulate_movie(SMALL, 1).labels)
    cells = read_table("cells", finished.folder / "results/drawn/cells.parquet")
    assert set(cells["mask_source"]) == {"given"}


def test_the_probabilities_of_an_engine_reach_the_tables(finished):
    cells = read_table("cells", finished.folder / "results/engine/cells.parquet")

    assert cells["mask_confidence"].to_numpy() == pytest.approx(1 / (1 + np.exp(-2)))


def test_the_report_names_the_segmenter_and_shows_its_settings_alone(finished):
    report = {name: (finished.folder / f"results/{name}/report.html").read_text() for name in RULES}

    assert "Settings: threshold" in report["bare"]
    assert "Settings: cellpose" in report["engine"]
    for html in report.values():
        assert "No model of Cytolapse was used." in html
        assert "Settings: segment" not in html
        assert "Settings: label<" not in html
    assert "cellpose 4.2.1, torch 0.stub" in report["engine"]


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished project, to be changed."""
    return finished.copy(tmp_path / "project")


def test_nothing_changed_or_touched_runs_nothing(project):
    for file in ("movies/a.tif", "masks/a.tif", "weights", "python"):
        os.utime(project.folder / file)

    assert project.would_run() == Counter()


def test_a_setting_of_a_segmenter_runs_its_rule_and_on(project):
    project.configure(threshold={"factor": 1.1})
    assert project.would_run() == chain("bare")

    project.configure(threshold=CONFIG["threshold"] | {"factor": 1}, cellpose={"diameter_px": 20})
    assert project.would_run() == chain("engine")


def test_label_images_edited_under_an_older_date_run_their_import_and_on(project):
    masks = project.folder / "masks/a.tif"
    edited = tifffile.imread(masks)
    edited[0][edited[0] == 1] = 0
    tifffile.imwrite(masks, edited, photometric="minisblack")
    os.utime(masks, (1_000_000_000, 1_000_000_000))

    run = project.snakemake()

    assert run.code == 0, run.text
    assert run.rules == chain("drawn")
    frame = read_table("cells", project.folder / "results/drawn/cells.parquet").query("frame == 0")
    assert 1 not in frame["label"].tolist()
    assert project.would_run() == Counter()


def test_weights_of_ones_own_replaced_under_an_older_date_run_the_engine_and_on(project):
    (project.folder / "weights").write_text("other weights")
    os.utime(project.folder / "weights", (1_000_000_000, 1_000_000_000))

    assert project.would_run() == chain("engine")


def test_an_engine_somewhere_else_runs_nothing(project):
    (project.folder / "python").rename(project.folder / "python4")
    project.configure(environments={"cellpose": "python4"}, device="auto")

    assert project.would_run() == Counter()


def test_a_line_of_an_engine_runs_the_experiments_of_that_engine_and_a_comment_none(project, repository):
    snakefile, program = repository / "Snakefile", repository / "workflow/engines/cellpose_engine.py"
    text = program.read_text()

    program.write_text(f"{text}\n# a comment\n")
    assert project.would_run(snakefile=snakefile) == Counter()

    program.write_text(f"{text}\n_ADDED = 1\n")
    assert project.would_run(snakefile=snakefile) == chain("engine")


def test_a_movie_that_cannot_be_processed_gives_tables_without_rows(project):
    movie = project.folder / "movies/a.tif"
    movie.write_bytes(movie.read_bytes()[:3000])

    run = project.snakemake()

    assert run.code != 0
    assert "3 movie(s) could not be processed" in run.text
    assert "Error in rule" not in run.text
    for name in RULES:
        movies = pd.read_parquet(project.folder / f"results/{name}/movies.parquet")
        assert movies["status"].tolist() == ["refused"]
        assert read_table("cells", project.folder / f"results/{name}/cells.parquet").empty


def test_an_engine_that_dies_fails_its_job_with_its_last_words_in_the_log(project):
    (project.folder / "python").write_text("#!/bin/sh\necho the card fell out >&2\nexit 3\n")
    (project.folder / "weights").write_text("other weights")

    run = project.snakemake()

    assert run.code != 0
    assert "Error in rule label_cellpose" in run.text
    log = (project.folder / "logs/engine/a/label_cellpose.log").read_text()
    assert "cellpose ended at its start with exit code 3; its last words:\nthe card fell out" in log


def test_what_a_segmenter_lacks_is_said_before_any_job(project):
    (project.folder / "masks/a.tif").unlink()
    run = project.snakemake()
    assert (run.code != 0, not run.rules) == (True, True)
    assert "(experiment drawn): no label images for 1 of 1 movies: a (masks/a.tif)" in run.text

    (project.folder / "python").unlink()
    run = project.snakemake()
    assert (run.code != 0, not run.rules) == (True, True)
    assert f"there is no Python {project.folder}/python" in run.text
    assert "run `make env-cellpose`" in run.text
