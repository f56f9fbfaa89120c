"""What comes out of a run, also where movies or trainings go wrong."""

import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import tifffile

from cytolapse.columns import EXPERIMENT_TABLES
from cytolapse.tables import schema


def test_a_run_leaves_every_product_of_the_flow(finished):
    movie = finished.folder / "results/rods/a"
    products = ["movie.json", "probability.tif", "labels.tif", "confidence.parquet", "objects.parquet"]
    products += [
        "intensities.parquet",
        "planes.parquet",
        "tracks.parquet",
        "lineage.parquet",
        "repairs.parquet",
        "overlay.png",
    ]
    products += [f"{table}.parquet" for table in ("frames", "cells", "growth", "fits", "expression")]

    assert {path.name for path in movie.iterdir()} == set(products)
    experiment = finished.folder / "results/rods"
    assert {path.name for path in experiment.iterdir() if path.is_file()} == {
        "report.html",
        *(f"{table}.parquet" for table in EXPERIMENT_TABLES),
    }
    assert {path.name for path in (finished.folder / "models/trained").iterdir()} == {
        "weights.safetensors",
        "model.json",
        "training.tsv",
        "training.png",
        "training.json",
        "roc.tsv",
        "roc.png",
    }


@pytest.mark.parametrize("table", EXPERIMENT_TABLES)
def test_the_tables_have_their_declared_columns_and_units(finished, table):
    found = pq.read_schema(finished.folder / f"results/rods/{table}.parquet")
    declared = schema(table, channels=["phase", "reporter"], size_quantity="area")

    assert found.names == declared.names
    assert found.types == declared.types
    assert all(found.field(name).metadata == declared.field(name).metadata for name in declared.names)


def test_the_movies_table_says_where_every_number_comes_from(finished):
    movies = pd.read_parquet(finished.folder / "results/drawn/movies.parquet").iloc[0]
    card = json.loads((finished.folder / "models/trained/model.json").read_text())

    assert movies["status"] == "done"
    assert movies["model_digest"] == card["digest"]
    assert (movies["device"], movies["seed"], movies["frames"]) == ("cpu", 0, 5)
    assert (movies["pixel_size_um"], movies["frame_interval_min"]) == (0.1, 5)
    assert set(json.loads(movies["settings"])) == {"segment", "label", "measure", "link", "analyse"}
    assert set(json.loads(movies["code_digests"])) == {"segment", "label", "measure", "link", "analyse"}
    assert movies["packages_digest"]


def test_labels_hold_pixel_size_and_interval(finished):
    with tifffile.TiffFile(finished.folder / "results/drawn/c/labels.tif") as labels:
        assert labels.series[0].axes == "TYX"
        assert labels.imagej_metadata["finterval"] == 300
        numerator, denominator = labels.pages[0].tags["XResolution"].value
        assert numerator / denominator == pytest.approx(10, rel=1e-3)


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def test_a_movie_that_cannot_be_processed_is_named_and_costs_the_others_nothing(project):
    damage(project.folder / "movies/b.tif")
    (project.folder / "movies/link.tif").symlink_to("/gone/c.tif")

    run = project.snakemake()

    assert run.code != 0
    assert "2 movie(s) could not be processed" in run.text
    assert "experiment rods, movie b:" in run.text
    assert "movie movies/link.tif: is a link to /gone/c.tif, where there is nothing; restore that" in run.text
    movies = pd.read_parquet(project.folder / "results/rods/movies.parquet").set_index("movie")
    assert movies["status"].to_dict() == {"a": "done", "b": "refused", "link": "refused"}
    assert "b.tif" in movies.loc["b", "reason"]
    cells = pd.read_parquet(project.folder / "results/rods/cells.parquet")
    assert set(cells["movie"]) == {"a"}
    report = (project.folder / "results/rods/report.html").read_text()
    assert movies.loc["b", "reason"].split(":")[0] in report


def test_a_movie_that_cannot_be_processed_stops_its_experiment_where_that_is_asked_for(project):
    damage(project.folder / "movies/b.tif")
    before = (project.folder / "results/rods/cells.parquet").read_bytes()
    project.configure(on_bad_movie="stop")

    run = project.snakemake("--keep-going", "--forcerun", "collect")

    assert run.code != 0
    assert "Error in rule inspect" in run.text
    # rods stops where it is, the other experiment goes on
    assert run.rules == Counter({"inspect": 1, "collect": 1, "report": 1})
    assert "b.tif" in (project.folder / "logs/rods/b/inspect.log").read_text()
    assert (project.folder / "results/rods/cells.parquet").read_bytes() == before


def test_a_movie_that_is_excluded_is_a_row_with_its_reason(project):
    (project.folder / "movies.tsv").write_text("experiment\tmovie\texclude\treason\nrods\tb\tyes\tlost focus\n")
    project.configure(movies="movies.tsv")

    run = project.snakemake()

    assert run.code == 0, run.text
    movies = pd.read_parquet(project.folder / "results/rods/movies.parquet").set_index("movie")
    assert movies.loc["b", ["status", "reason"]].tolist() == ["excluded", "lost focus"]
    assert set(pd.read_parquet(project.folder / "results/rods/cells.parquet")["movie"]) == {"a"}


def test_a_training_below_its_floor_keeps_the_accepted_model_and_says_so(project):
    weights = project.folder / "models/trained/weights.safetensors"
    before = weights.read_bytes()
    project.configure(train={"floor_roc_area": 1})

    run = project.snakemake()

    assert run.code == 0, run.text
    assert weights.read_bytes() == before
    status = json.loads((project.folder / "models/trained/training.json").read_text())
    assert status["status"] == "kept"
    assert "floor_roc_area asks for 1" in status["reason"]
    assert "model trained: the last training was not accepted, the model before it stays" in run.text
    assert "floor_roc_area asks for 1" in (project.folder / "results/drawn/report.html").read_text()


def test_a_training_that_fails_keeps_the_accepted_model_or_stops_where_that_is_asked_for(project):
    weights = project.folder / "models/trained/weights.safetensors"
    before = weights.read_bytes()
    masks = sorted((project.folder / "annotations/masks").glob("*.tif"))[0]
    tifffile.imwrite(masks, tifffile.imread(masks)[:-7])
    project.configure(on_bad_model="stop")

    run = project.snakemake("models")

    assert run.code != 0
    assert "Error in rule train" in run.text
    assert weights.read_bytes() == before

    project.configure(on_bad_model="keep")
    run = project.snakemake("models")

    assert run.code == 0, run.text
    assert weights.read_bytes() == before
    assert masks.name in json.loads((project.folder / "models/trained/training.json").read_text())["reason"]


def test_a_first_training_that_fails_is_an_error_with_its_reason(project):
    for path in (project.folder / "models/trained").iterdir():
        path.unlink()
    project.configure(train={"floor_roc_area": 1})

    run = project.snakemake("models")

    assert run.code != 0
    assert "floor_roc_area asks for 1" in (project.folder / "logs/models/trained/train.log").read_text()
    assert not (project.folder / "models/trained/weights.safetensors").exists()


def end_once_it_shows(folder: Path, course: Path) -> None:
    """Send SIGTERM, as SLURM does, to the training of a project once its course shows."""
    for _ in range(6000):
        if course.exists():
            break
        time.sleep(0.02)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, working = (process / "cmdline").read_bytes(), (process / "cwd").resolve()
        except OSError:
            continue  # it has ended, or is not ours
        if b".train.py" in command and working == folder.resolve():
            os.kill(int(process.name), signal.SIGTERM)


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks for the job in /proc")
def test_a_training_that_a_time_limit_ends_goes_on_in_the_next_run(project):
    weights = project.folder / "models/trained/weights.safetensors"
    log = project.folder / "logs/models/trained/train.log"
    checkpoints = project.folder / ".cytolapse/training/trained"
    card = weights.with_name("model.json")
    before, digest = weights.read_bytes(), json.loads(card.read_text())["digest"]
    project.configure(train={"steps_held_out": 100})
    course = log.with_name("training.tsv")
    course.unlink()
    limit = threading.Thread(target=end_once_it_shows, args=(project.folder, course))
    limit.start()

    run = project.snakemake("models")
    limit.join()

    assert run.code != 0
    assert "training interrupted by SIGTERM" in log.read_text()
    assert [path.name for path in checkpoints.iterdir()] == ["held_out.safetensors"]
    assert weights.read_bytes() == before

    run = project.snakemake("models")

    assert run.code == 0, run.text
    assert "of 100 steps were made before, and are not made again" in log.read_text()
    # another length of the first training makes no other network of the last
    assert json.loads(card.read_text())["digest"] == digest
    assert not checkpoints.exists()


def test_a_gpu_that_is_asked_for_and_absent_ends_the_job_at_once(project):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    project.configure(device="cuda")

    run = project.snakemake("results/rods/a/probability.tif", "--forcerun", "segment")

    assert run.code != 0
    assert "cuda" in (project.folder / "logs/rods/a/segment.log").read_text().lower()


def test_what_is_wrong_with_the_config_is_said_before_any_job(project):
    project.configure(label={"treshold": 0.5})

    run = project.snakemake()

    assert run.code != 0
    assert not run.rules
    assert "config: label.treshold is not a known key (did you mean threshold?)" in run.text


def test_an_experiment_without_movies_is_refused_before_any_job(project):
    project.edit_sheet("experiments.tsv", "movies/*.tif", "films/*.tif")

    run = project.snakemake()

    assert run.code != 0
    assert not run.rules
    assert "experiments.tsv, line 2 (experiment rods): no movie matches 'films/*.tif'" in run.text


def test_probabilities_are_removed_where_they_are_not_kept(project):
    project.configure(keep_probability=False)

    run = project.snakemake("results/rods/a/labels.tif", "--forcerun", "segment")

    assert run.code == 0, run.text
    assert (project.folder / "results/rods/a/labels.tif").exists()
    assert not (project.folder / "results/rods/a/probability.tif").exists()
