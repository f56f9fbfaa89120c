"""The demo: what it prepares, and how it compares results with the truth."""

from dataclasses import replace

import pandas as pd
import pytest

import demo


@pytest.fixture
def small_demo(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "BACTERIA", replace(demo.BACTERIA, frames=2, height_px=96, width_px=96, founders=2))
    demo.prepare(tmp_path)
    return tmp_path


def test_the_demo_comes_with_movies_sheets_config_and_truth(small_demo):
    conditions = ["control", "slow", "drug"]
    names = [f"{condition}_{replicate}" for condition in conditions for replicate in (1, 2, 3)]
    sheet = pd.read_csv(small_demo / "movies.tsv", sep="\t")
    experiments = pd.read_csv(small_demo / "experiments.tsv", sep="\t")

    assert sorted(path.stem for path in (small_demo / "movies").glob("*.tif")) == sorted(names)
    assert sheet["movie"].tolist() == names
    assert sheet["condition"].tolist() == [name[:-2] for name in names]
    assert pd.read_csv(small_demo / "events.tsv", sep="\t")["movie"].tolist() == ["drug_*"]
    assert experiments["channels"].tolist() == ["phase,reporter"]
    assert experiments["pixel_size_um"].isna().all()
    assert f"{small_demo.as_posix()}/experiments.tsv" in (small_demo / "config.yaml").read_text()
    truth = pd.read_parquet(small_demo / "truth" / "cells.parquet")
    assert sorted(truth["movie"].unique()) == sorted(names)


def test_no_annotated_frame_of_the_demo_is_one_of_its_movies():
    movies = range(demo.FIRST_SEED, demo.FIRST_SEED + len(demo.DOUBLING_TIME_MIN) * len(demo.PACE_OF_REPLICATE))

    assert not set(demo.ANNOTATED) & set(movies)
    assert len(demo.ANNOTATED) == 7


def test_the_demo_matches_cells_to_the_nearest_true_ones_and_leaves_out_what_is_far(small_demo):
    truth = pd.read_parquet(small_demo / "truth" / "cells.parquet")
    found = truth[["movie", "frame", "y_px", "x_px"]].assign(label=truth["cell"], cell_id=truth["cell"].astype(str))
    found["x_px"] += 3.0
    far = found.iloc[[0]].assign(y_px=900.0, cell_id="far")

    matches = demo.match_cells(pd.concat([found, far], ignore_index=True), truth)

    assert len(matches) == len(truth)
    assert (matches["cell_id"] == matches["cell"].astype(str)).all()
    assert demo.true_cells(matches)["cell_id"].nunique() == truth["cell"].nunique()


def test_a_demo_that_did_not_run_is_told_what_to_do(small_demo, monkeypatch):
    monkeypatch.chdir(small_demo)

    with pytest.raises(FileNotFoundError, match=r"cells.parquet: not found; run `make demo`"):
        demo.check(small_demo)
