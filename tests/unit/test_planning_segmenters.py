"""What each segmenter needs, and in which words it is refused without it."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from planned import movies_sheet, refusal

from planning.plan import Plan


def segmented_by(segmenter: str, model: str = "", labels: str = "") -> None:
    """The sheet with one experiment that this finds the cells of."""
    header = "experiment\tmovies\tsegmenter\tmodel\tlabels\tsegment_channel\tchannels\n"
    Path("experiments.tsv").write_text(
        f"{header}night1\tmovies/*.tif\t{segmenter}\t{model}\t{labels}\tphase\tphase,gfp\n"
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("cytolapse",), "model is missing (model that segments the movies"),
        (
            ("threshold", "nuclei"),
            "names the model 'nuclei', which the segmenter threshold does not use; empty the cell",
        ),
        (("cellpose", "nuclei"), "does not use; its own stands in config.yaml (cellpose.model); empty the cell"),
        (("labels",), "the segmenter is labels, and the column labels does not say where they are"),
        (("threshold", "", "masks/{movie}.tif"), "names label images (column labels), which the segmenter threshold"),
        (("celpose",), "segmenter: found 'celpose', wanted one of cytolapse, cellpose"),
    ],
)
def test_a_segmenter_without_what_it_needs_or_with_what_it_does_not_is_refused(project, row, said):
    segmented_by(*row)

    refused = refusal(project)

    assert refused.startswith("experiments.tsv, line 2")
    assert said in refused


def test_the_experiments_of_a_segmenter_and_their_settings_are_its_own(project):
    segmented_by("threshold")
    plan = Plan(project)
    plan.check_all()

    assert (plan.experiments_by("threshold"), plan.experiments_by("cytolapse")) == (["night1"], [])
    assert plan.used_blocks("night1") == [
        *("inspect", "threshold", "measure", "shading", "link", "analyse"),
        *("controls", "overlay", "population", "report"),
    ]
    assert plan.segmenting_model("night1") is None
    assert (
        Plan(project | {"overrides": {"night1": {"threshold": {"factor": 2}}}}).block("threshold", "night1")["factor"]
        == 2
    )


def test_an_override_for_another_segmenter_is_refused(project):
    segmented_by("threshold")

    said = refusal(project | {"overrides": {"night1": {"label": {"min_area_px": 9}}}})

    assert "config: overrides.night1.label: sets nothing, since the experiment is segmented by threshold" in said


def test_label_images_that_are_not_there_are_refused_with_movie_place_and_remedy(project):
    Path("masks").mkdir()
    tifffile.imwrite("masks/a.tif", np.ones((2, 8, 8), np.uint16))
    segmented_by("labels", labels="masks/{movie}.tif")

    said = refusal(project)

    assert "experiments.tsv, line 2 (experiment night1): no label images for 1 of 2 movies: b (masks/b.tif); " in said
    assert "exclude the movies in movies.tsv" in said
    excluded = movies_sheet("experiment\tmovie\texclude\treason\nnight1\tb\tyes\tnot drawn\n")
    Plan(project | excluded).check_all()


def test_a_few_of_many_missing_label_images_are_named(project):
    for name in "cdefg":
        Path(f"movies/{name}.tif").write_bytes(Path("movies/a.tif").read_bytes())
    segmented_by("labels", labels="masks/{movie}.tif")

    assert "for 7 of 7 movies: a (masks/a.tif), b (masks/b.tif)" in refusal(project)
    assert "e (masks/e.tif) and 2 more; put them there" in refusal(project)


def test_the_same_label_images_for_two_movies_are_refused(project):
    segmented_by("labels", labels="masks.tif")

    assert "labels are 'masks.tif' for each of 2 movies; write {movie} where the name" in refusal(project)


def test_edited_label_images_have_another_fingerprint_and_touched_ones_the_same(project):
    Path("masks").mkdir()
    for name in "ab":
        tifffile.imwrite(f"masks/{name}.tif", np.ones((2, 8, 8), np.uint16))
    segmented_by("labels", labels="masks/{movie}.tif")
    before = {movie: Plan(project).label_fingerprint("night1", movie) for movie in "ab"}
    tifffile.imwrite("masks/b.tif", np.full((2, 8, 8), 3, np.uint16))
    for name in "ab":
        os.utime(f"masks/{name}.tif", (1, 1))

    plan = Plan(project)
    plan.remember_fingerprints()

    assert plan.label_fingerprint("night1", "a") == before["a"]
    assert plan.label_fingerprint("night1", "b") != before["b"]
    assert "masks/b.tif" in Path(".cytolapse/fingerprints.json").read_text()


@pytest.mark.parametrize("engine", ["cellpose", "stardist"])
def test_an_engine_without_its_environment_is_refused_with_the_command_that_makes_it(project, engine):
    segmented_by(engine)

    said = refusal(project | {"environments": {engine: "nowhere/bin/python"}})

    assert f"config: environments.{engine}: there is no Python {Path.cwd()}/nowhere/bin/python, which the" in said
    assert f"experiment night1 needs; run `make env-{engine}` in " in said


def test_an_engine_runs_beside_the_snakefile_where_nothing_else_is_said(project):
    assert Plan(project).engine_python("cellpose") == str(Path(__file__).parents[2] / ".venv-cellpose/bin/python")


def engine_with(weights: str) -> dict:
    """Config of an engine whose Python is there, with these weights."""
    segmented_by("stardist")
    Path("python").write_text("")
    Path("python").chmod(0o755)
    return {"environments": {"stardist": "python"}, "stardist": {"model": weights}}


def test_weights_of_ones_own_that_are_not_there_are_refused_and_the_names_of_others_are_not_looked_for(project):
    said = refusal(project | engine_with("weights/mine"))

    assert (
        "line 2 (experiment night1): stardist.model of config.yaml is weights/mine, and there is no such folder" in said
    )
    plan = Plan(project | engine_with("2D_demo"))
    plan.check_all()
    assert (plan.own_weights_digest("night1"), plan.segmenting_model("night1")) == (None, "2D_demo")


def test_weights_of_ones_own_that_are_replaced_have_another_digest(project):
    Path("weights/mine").mkdir(parents=True)
    Path("weights/mine/weights_best.h5").write_bytes(b"one")
    Path("weights/mine/thresholds.json").write_text("{}")
    config = project | engine_with("weights/mine")
    plan = Plan(config)
    plan.check_all()
    before = plan.own_weights_digest("night1")
    plan.remember_fingerprints()
    Path("weights/mine/thresholds.json").write_text('{"prob": 0.4}')

    assert Plan(config).own_weights_digest("night1") != before
    Path("weights/mine/thresholds.json").write_text("{}")
    assert Plan(config).own_weights_digest("night1") == before
