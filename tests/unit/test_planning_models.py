"""What is planned of models, and refused before a job runs."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from planned import refusal

from cytolapse import starts
from planning.plan import Plan


def test_a_model_with_weights_and_annotations_is_refused(project):
    said = refusal(project | {"models": {"nuclei": {"weights": "model", "annotations": "drawn"}}})

    assert "config: models.nuclei: found both of weights and annotations, wanted one" in said


def test_a_model_without_a_source_is_refused(project):
    assert "models.nuclei: found neither of weights and annotations" in refusal(project | {"models": {"nuclei": {}}})


def test_a_ready_model_that_is_told_to_train_is_refused(project):
    said = refusal(project | {"models": {"nuclei": {"weights": "model", "architecture": "googlenet_fcn"}}})

    assert "config: models.nuclei.architecture: has no meaning beside weights" in said


def test_weights_that_are_not_there_are_refused_with_the_file(project):
    Path("model/weights.safetensors").unlink()

    assert "config: models.nuclei.weights: model holds no weights.safetensors" in refusal(project)


def test_a_start_that_is_not_there_is_refused(project):
    annotate("drawn", "one")
    said = refusal(project | {"models": {"nuclei": {"annotations": "drawn", "start_from": "old"}}})

    assert "config: models.nuclei.start_from: old holds no weights.safetensors" in said


def annotate(folder: str, name: str, masks: bool = True) -> None:
    for part, wanted in (("images", True), ("masks", masks)):
        Path(folder, part).mkdir(parents=True, exist_ok=True)
        if wanted:
            tifffile.imwrite(Path(folder, part, f"{name}.tif"), np.ones((8, 8), np.uint16))


def test_an_annotation_without_its_masks_is_refused_by_name(project):
    annotate("drawn", "one")
    annotate("drawn", "two", masks=False)

    said = refusal(project | {"models": {"nuclei": {"annotations": "drawn"}}})

    assert "config: models.nuclei.annotations:" in said
    assert "two" in said


def test_the_settings_of_a_model_win_over_those_of_all(project):
    annotate("drawn", "one")
    model = {"annotations": "drawn", "architecture": "googlenet_fcn", "train": {"steps": 7}}

    training = Plan(project | {"models": {"nuclei": model}}).models.training("nuclei")

    assert training["steps"] == 7
    assert training["architecture"] == "googlenet_fcn"
    assert training["learning_rate"] == Plan(project).settings["train"]["learning_rate"]


def test_a_start_that_was_replaced_under_an_older_date_has_another_digest(project):
    annotate("drawn", "one")
    config = project | {"models": {"nuclei": {"annotations": "drawn", "start_from": "model"}}}
    before = Plan(config).models.start_digest("nuclei")
    Path("model/weights.safetensors").write_bytes(b"WEIGHTS")
    os.utime("model/weights.safetensors", (1, 1))

    assert Plan(config).models.start_digest("nuclei") != before


def shipped(folder: Path, name: str, architecture: str) -> None:
    (folder / "resources/models" / name).mkdir(parents=True)
    (folder / "resources/models" / name / "weights.safetensors").write_bytes(name.encode())
    (folder / "resources/models" / name / "model.json").write_text(json.dumps({"architecture": architecture}))


def test_where_no_start_is_said_a_shipped_model_that_changes_trains_anew(project, tmp_path, monkeypatch):
    annotate("drawn", "one")
    config = project | {"models": {**project["models"], "mine": {"annotations": "drawn"}}}
    monkeypatch.setattr(starts, "REPOSITORY", tmp_path / "elsewhere")
    assert Plan(config).models.start_from("mine") == "auto"
    assert Plan(config).models.start_files("mine") == []
    assert Plan(config).models.start_digest("mine") is None

    shipped(tmp_path / "elsewhere", "phase", "googlenet_unet_small")
    assert Plan(config).models.start_digest("mine") is None, "a model of another network is no start"
    shipped(tmp_path / "elsewhere", "nuclei", "googlenet_unet")
    before = Plan(config).models.start_digest("mine")
    (tmp_path / "elsewhere/resources/models/nuclei/weights.safetensors").write_bytes(b"other")

    assert None is not before != Plan(config).models.start_digest("mine")


def test_random_weights_can_be_asked_for(project):
    annotate("drawn", "one")
    plan = Plan(project | {"models": {**project["models"], "mine": {"annotations": "drawn", "start_from": None}}})

    assert plan.models.start_from("mine") is plan.models.start_digest("mine") is None
    assert plan.models.start_files("mine") == []


def test_a_training_may_start_from_a_model_that_is_yet_to_be_trained(project):
    annotate("drawn", "one")
    models = {"base": {"annotations": "drawn"}, "nuclei": {"annotations": "drawn", "start_from": "models/base/"}}
    plan = Plan(project | {"models": models})
    plan.check_all()

    assert plan.models.start_from("nuclei") == "models/base/weights.safetensors"
    assert plan.models.start_files("nuclei") == ["models/base/weights.safetensors"]
    assert plan.models.start_digest("nuclei") is None


@pytest.mark.parametrize("folder", ["nowhere", "x" * 300, "a\0b"])
def test_weights_that_cannot_be_there_are_refused(project, folder):
    said = refusal(project | {"models": {"nuclei": {"weights": folder}}})

    assert f"config: models.nuclei.weights: {folder} holds no weights.safetensors and no model.json" in said
    said = refusal(project | {"models": {**project["models"], "more": {"annotations": "movies", "start_from": folder}}})
    assert f"config: models.more.start_from: {folder} holds no weights.safetensors" in said
