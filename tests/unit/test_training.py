import logging
import shutil
from pathlib import Path

import pytest
import torch
from drawn import FIT, TRAIN, empty, several

from cytolapse import starts, training
from cytolapse.judgement import judge
from cytolapse.learning import fit_network
from cytolapse.models import NORMALISATION, Model, save_model, weights_digest
from cytolapse.stills import predict_still, prepare_still
from cytolapse.training import (
    TrainingRejected,
    cross_validate,
    train,
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def test_the_loss_falls_and_the_cells_are_found_on_an_image_not_learned_from():
    settings = TRAIN | {"steps": 1, "steps_held_out": 40, "batch_crops": 4, "hold_out": 1}
    result = train(several(4), **settings)
    rows = result.log[result.log.phase == "held_out"]

    assert rows.loss.tail(5).mean() < 0.6 * rows.loss.head(5).mean()
    assert result.model.trained["metrics"]["held_out"]["roc_area"] > 0.95


def test_cross_validation_gives_every_image_the_answer_of_a_network_that_has_not_seen_it():
    annotations = several(3)

    probabilities = cross_validate(annotations, 3, **FIT | {"steps": 2})

    assert list(probabilities) == ["image0", "image1", "image2"]
    rest = [annotations[0], annotations[2]]
    network, _ = fit_network(rest, phase="test", check=None, **FIT | {"steps": 2})
    image = prepare_still(annotations[1], 1, NORMALISATION, 1.0)
    alone = predict_still(
        network, image, shape=annotations[1].labels.shape, device=torch.device("cpu"), precision=torch.float32
    )
    assert (probabilities["image1"] == alone).all()


def test_the_settings_of_the_labels_suit_the_images_left_out_and_the_last_network(monkeypatch):
    given = []
    monkeypatch.setattr(training, "judge", lambda *each: given.append(each) or judge(*each))
    monkeypatch.setattr(training, "_MOST_JUDGED", 3)
    model = train(several(5), **TRAIN | {"steps": 2, "steps_held_out": 2, "hold_out": 1}).model

    ((left_out, scale, last, _),) = given
    assert scale == model.scale
    assert [each.name for each in left_out.annotations] == model.trained["metrics"]["held_out"]["images"]
    assert [each.name for each in last.annotations] == ["image0", "image2", "image4"]
    for each, probability in zip(*last, strict=True):
        again = predict_still(
            model.network,
            prepare_still(each, 1, NORMALISATION, scale),
            shape=each.labels.shape,
            device=torch.device("cpu"),
            precision=torch.float32,
        )
        assert (probability == again).all()


def test_a_model_knows_what_is_small_beside_the_annotated_cells_and_is_judged_by_it(monkeypatch):
    given = []
    monkeypatch.setattr(training, "judge", lambda *each: given.append(each) or judge(*each))
    monkeypatch.setattr(training, "part_of_small", lambda truths: 0.001 * sum(truth.size for truth in truths))
    annotations = several(3)

    model = train(annotations, **TRAIN | {"steps": 1, "steps_held_out": 1}).model

    assert model.small_part == given[0][3] == 0.001 * sum(each.labels.size for each in annotations)


def test_images_without_cells_choose_only_where_there_is_room(monkeypatch):
    few = [*empty(2), *several(3), *empty(2)]

    assert training._judging(few, several(1)) == [0, 1, 2, 3, 4, 5, 6]
    monkeypatch.setattr(training, "_MOST_JUDGED", 4)
    assert training._judging(few, several(1)) == [0, 2, 3, 4]
    monkeypatch.setattr(training, "_MOST_JUDGED", 2)
    assert training._judging(few, several(1)) == [2, 4]


def test_without_images_left_out_all_are_judged(monkeypatch):
    monkeypatch.setattr(training, "_MOST_JUDGED", 1)
    metrics = train(several(3), **TRAIN | {"hold_out": 0, "steps": 2}).model.trained["metrics"]

    assert list(metrics["training"]["by_image"]) == metrics["training"]["images"] == ["image0", "image1", "image2"]


def test_with_folds_the_threshold_comes_from_all_images_together():
    result = train(several(3), **TRAIN | {"folds": 7, "steps": 2, "steps_held_out": 2})
    metrics = result.model.trained["metrics"]

    assert result.log.phase.unique().tolist() == ["fold_1", "fold_2", "fold_3", "final"]
    assert sorted(metrics["held_out"]["images"]) == ["image0", "image1", "image2"]
    assert metrics["threshold_from"] == "cross_validation"
    assert result.model.threshold == metrics["held_out"]["threshold"]
    assert set(metrics["held_out"]["by_image"]) == {"image0", "image1", "image2"}


@pytest.mark.parametrize("annotations", [several(1), several(2), [*empty(3), *several(1)]], ids=["1", "2", "1 of 4"])
def test_with_too_few_images_for_folds_a_quarter_is_left_out(annotations):
    metrics = train(annotations, **TRAIN | {"folds": 2, "steps": 1, "steps_held_out": 1}).model.trained["metrics"]

    assert metrics["threshold_from"] == "held_out"
    assert all(name.endswith("(a quarter)") for name in metrics["held_out"]["images"])


def test_where_the_training_on_a_part_ends_early_that_on_all_takes_as_much_less(monkeypatch):
    monkeypatch.setattr(training, "quick_scores", lambda *_: (0.9, 0.5))
    result = train(several(3), **TRAIN | {"steps": 30, "steps_held_out": 10, "patience": 2, "crop_px": 32})

    assert result.log[result.log.phase == "held_out"].step.max() == 4
    assert result.log[result.log.phase == "final"].step.max() == result.model.trained["steps"] == 12


@pytest.mark.parametrize("folds", [1, 4])
def test_folds_that_leave_nothing_out_or_all_are_refused(folds):
    with pytest.raises(ValueError, match=f"folds is {folds}; wanted 2 to 3"):
        cross_validate(several(3), folds, **FIT | {"steps": 1})


def test_without_images_left_out_the_scores_say_that_they_come_from_the_training_images(caplog):
    with caplog.at_level(logging.WARNING):
        model = train(several(2), **TRAIN | {"hold_out": 0}).model

    assert "no image is held out" in caplog.text
    assert model.trained["metrics"]["held_out"] is None
    assert model.trained["metrics"]["threshold_from"] == "training"
    assert model.threshold == model.trained["metrics"]["training"]["threshold"]


@pytest.mark.parametrize(("hold_out", "images"), [(1, "images left out"), (0, "the training images")])
def test_a_model_below_the_floor_is_rejected_with_score_and_floor(hold_out, images):
    with pytest.raises(TrainingRejected, match=f"ROC area on {images} is 0.*, floor_roc_area asks for 1.1") as caught:
        train(several(3), **TRAIN | {"hold_out": hold_out, "floor_roc_area": 1.1})

    assert caught.value.floor == 1.1
    assert 0 <= caught.value.score <= 1


def keep_model(folder: Path, model: Model) -> Path:
    folder.mkdir(parents=True)
    save_model(model, folder / "weights.safetensors", folder / "model.json", half=True)
    return folder / "weights.safetensors"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    """A repository with one model that has learned such cells, and one that takes background for cells."""
    torch.set_num_threads(1)
    learned = train(several(4), **TRAIN | {"steps": 40, "batch_crops": 4, "hold_out": 0}).model
    repository = tmp_path_factory.mktemp("repository")
    keep_model(repository / "resources/models/nuclei", learned)
    turned = {name: -value if "classify" in name else value for name, value in learned.network.state_dict().items()}
    learned.network.load_state_dict(turned)
    keep_model(repository / "resources/models/phase", learned)
    return repository


def test_where_no_start_is_said_the_shipped_model_is_taken_that_knows_such_cells(shipped, monkeypatch):
    monkeypatch.setattr(starts, "REPOSITORY", shipped)
    settings = TRAIN | {"start_from": starts.AUTO}
    auto = train(several(3), **settings).model
    named = train(several(3), **TRAIN | {"start_from": shipped / "resources/models/nuclei/weights.safetensors"}).model

    assert auto.trained["start_from"] == auto.trained["settings"]["start_from"] == "resources/models/nuclei"
    assert weights_digest(auto.network.state_dict()) == weights_digest(named.network.state_dict())
    assert settings["start_from"] == starts.AUTO, "what was asked for is not changed"


@pytest.mark.parametrize(("score", "start"), [(0.8, "resources/models/nuclei"), (0.79, None)])
def test_a_shipped_model_that_finds_the_cells_and_draws_them_badly_is_no_start(score, start, shipped, monkeypatch):
    monkeypatch.setattr(starts, "REPOSITORY", shipped)
    monkeypatch.setattr(training, "quick_scores", lambda *_: (0.999, score))
    settings = TRAIN | {"start_from": starts.AUTO, "steps": 1, "steps_held_out": 1, "floor_roc_area": 0.0}

    assert train(several(3), **settings).model.trained["start_from"] == start


def test_where_no_shipped_model_knows_such_cells_weights_are_random(shipped, tmp_path, monkeypatch):
    shutil.copytree(shipped / "resources/models/phase", tmp_path / "resources/models/phase")
    monkeypatch.setattr(starts, "REPOSITORY", tmp_path)
    auto = train(several(3), **TRAIN | {"start_from": starts.AUTO}).model

    assert auto.trained["start_from"] is None
    assert weights_digest(auto.network.state_dict()) == weights_digest(
        train(several(3), **TRAIN).model.network.state_dict()
    )
