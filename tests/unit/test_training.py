import json
import logging
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from bright import untrained
from drawn import FIT, several

from cytolapse import training
from cytolapse.annotations import Annotation
from cytolapse.checkpoints import TrainingInterrupted
from cytolapse.learning import fit_network, predict_still, prepare_still
from cytolapse.models import CHOSEN, NORMALISATION, load_model, save_model
from cytolapse.progress import Progress
from cytolapse.training import (
    TrainingRejected,
    cross_validate,
    split_folds,
    split_held_out,
    train,
    train_model,
    train_or_keep,
)
from planning.digests import WORKFLOW, _reached

TRAIN = {name: value for name, value in FIT.items() if name != "scale"} | {
    "steps": 3,
    "steps_held_out": 3,
    "hold_out": 0.25,
    "folds": None,
    "floor_roc_area": 0.0,
    "pixel_size_um": 0.5,
    "working_diameter_px": None,
}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def write_annotations(folder: Path, count: int = 3) -> Path:
    for each in several(count):
        for part, array in (("images", each.image), ("masks", each.labels)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(folder / part / f"{each.name}.tif", array)
    return folder


def outputs(folder: Path) -> dict[str, Path]:
    return {
        "weights_path": folder / "weights.safetensors",
        "json_path": folder / "model.json",
        "log_path": folder / "training_log.tsv",
        "log_figure_path": folder / "training.png",
        "roc_path": folder / "roc.tsv",
        "roc_figure_path": folder / "roc.png",
        "archive_folder": folder / "archive",
        "checkpoint_folder": folder / "while_it_goes/checkpoints",
        "progress_folder": folder / "while_it_goes",
        "code": "of the tests",
    }


def test_a_changed_reader_of_movies_or_writer_of_tables_trains_no_model_again():
    reached = {path.stem for path in _reached(WORKFLOW / "scripts/train.py")}

    assert "training" in reached
    assert reached.isdisjoint({"movies", "layouts", "planes", "folders", "inspection", "segmentation", "tables"})


# leaving some out


def test_the_seed_draws_which_images_are_left_out():
    annotations = several(8)
    chosen = [tuple(each.name for each in split_held_out(annotations, 0.25, seed)[1]) for seed in range(20)]

    assert all(len(names) == 2 for names in chosen)
    assert len(set(chosen)) > 5
    assert chosen[0] == tuple(each.name for each in split_held_out(annotations, 0.25, 0)[1])


@pytest.mark.parametrize(("hold_out", "left_out"), [(0, 0), (0.01, 1), (0.5, 4), (1, 1), (3, 3)])
def test_hold_out_is_a_share_below_1_and_a_number_from_1_on(hold_out, left_out):
    annotations = several(8)
    rest, held_out = split_held_out(annotations, hold_out, 0)

    assert len(held_out) == left_out
    assert sorted(each.name for each in rest + held_out) == [each.name for each in annotations]


@pytest.mark.parametrize("count", [1, 2])
def test_of_one_or_two_images_a_quarter_is_cut_off_instead(count):
    annotations = several(count)
    rest, held_out = split_held_out(annotations, 0.25, 0)

    assert [each.name for each in held_out] == [f"image{number} (a quarter)" for number in range(count)]
    for whole, kept, cut in zip(annotations, rest, held_out, strict=True):
        assert kept.labels.size == 3 * cut.labels.size == 3 * whole.labels.size / 4
        assert (kept.labels > 0).sum() + (cut.labels > 0).sum() == (whole.labels > 0).sum()
        assert kept.image.shape == kept.labels.shape
        assert (cut.labels > 0).any()


def test_the_one_cell_of_a_single_image_is_not_left_out():
    labels = np.zeros((40, 40), np.int32)
    labels[18:22, 18:22] = 1
    only = Annotation("only", np.zeros((40, 40), np.uint8), labels)

    assert split_held_out([only], 0.25, 0) == ([only], [])


def test_an_image_without_cells_is_not_left_out():
    empty = [Annotation(f"empty{n}", np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.int32)) for n in range(4)]

    for seed in range(10):
        rest, held_out = split_held_out([*empty, *several(2)], 3, seed)
        assert len(held_out) == 1
        assert (held_out[0].labels > 0).any()
        assert any((each.labels > 0).any() for each in rest)


def test_leaving_all_images_out_is_refused():
    with pytest.raises(ValueError, match="hold_out is 4: of 4 annotated images none is left to train on"):
        split_held_out(several(4), 4, 0)


# training


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


def empty(count: int) -> list[Annotation]:
    return [Annotation(f"empty{n}", np.zeros((80, 80), np.uint8), np.zeros((80, 80), np.int32)) for n in range(count)]


def test_every_image_is_left_out_once_and_every_fold_has_cells_on_both_sides():
    annotations = [*empty(4), *several(3)]

    for seed in range(5):
        folds = split_folds(annotations, 3, seed)
        assert sorted(each.name for _, left_out in folds for each in left_out) == [each.name for each in annotations]
        for rest, left_out in folds:
            assert len(rest) + len(left_out) == 7
            assert all(any((each.labels > 0).any() for each in part) for part in (rest, left_out))


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


# files


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    write_annotations(folder / "annotations")
    train_or_keep(
        folder / "annotations", **outputs(folder), status_path=folder / "training.json", on_bad_model="keep", **TRAIN
    )
    return folder


def test_a_training_leaves_model_log_roc_and_figure(trained):
    model = load_model(trained / "weights.safetensors")
    described = json.loads((trained / "model.json").read_text())
    log = pd.read_csv(trained / "training_log.tsv", sep="\t")
    roc = pd.read_csv(trained / "roc.tsv", sep="\t")

    for chosen in CHOSEN:
        assert getattr(model, chosen) == described[chosen] == described["metrics"]["held_out"][chosen]
    assert model.pixel_size_um == 0.5
    assert model.trained["seed"] == 3
    assert len(model.trained["annotations"]) == 64
    assert set(described["metrics"]["held_out"]) >= {"images", "roc_area", "ap_50", "ap_75", "seg"}
    assert log.phase.unique().tolist() == ["held_out", "final"]
    assert roc.images.unique().tolist() == ["training", "held_out"]
    assert len(roc) == 2 * 257
    assert (trained / "roc.png").read_bytes().startswith(b"\x89PNG")
    assert (trained / "training.png").read_bytes().startswith(b"\x89PNG")


def test_an_accepted_model_is_also_kept_under_its_digest(trained):
    status = json.loads((trained / "training.json").read_text())
    kept = trained / "archive" / status["digest"]

    assert (status["status"], status["reason"]) == ("accepted", None)
    assert (kept / "weights.safetensors").read_bytes() == (trained / "weights.safetensors").read_bytes()
    assert (kept / "model.json").read_bytes() == (trained / "model.json").read_bytes()


def test_the_same_training_writes_the_same_files_again(trained, tmp_path):
    train_model(trained / "annotations", **outputs(tmp_path), **TRAIN)

    for name in ("weights.safetensors", "model.json", "training_log.tsv", "training.png", "roc.tsv", "roc.png"):
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes(), name


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "training.json" and "while_it_goes" not in path.parts
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"floor_roc_area": 1.1}, "TrainingRejected: training rejected: the pixelwise ROC area on images left out"),
        ({"learning_rate": 1e30}, "RuntimeError: training broke down at step"),
        ({"crop_px": 60}, "ValueError: crop_px is 60"),
    ],
)
def test_a_bad_training_keeps_the_accepted_model_and_says_so(trained, caplog, changes, reason):
    before = contents(trained)
    digest = json.loads((trained / "model.json").read_text())["digest"]

    status = train_or_keep(
        trained / "annotations",
        **outputs(trained),
        status_path=trained / "training.json",
        on_bad_model="keep",
        **TRAIN | changes,
    )

    assert contents(trained) == before
    assert status == json.loads((trained / "training.json").read_text())
    assert status["status"] == "kept"
    assert status["reason"].startswith(reason)
    assert status["digest"] == digest
    assert "the model accepted before is kept" in caplog.text


def test_a_bad_training_is_an_error_where_the_option_is_to_stop(trained):
    before = contents(trained)

    with pytest.raises(TrainingRejected, match="training rejected"):
        train_or_keep(
            trained / "annotations",
            **outputs(trained),
            status_path=trained / "training.json",
            on_bad_model="stop",
            **TRAIN | {"floor_roc_area": 1.1},
        )

    assert contents(trained) == before


@pytest.mark.parametrize("found", ["nothing", "damaged", "of another digest"])
def test_a_bad_training_is_an_error_where_no_model_was_accepted_before(trained, tmp_path, found):
    if found == "damaged":
        (tmp_path / "weights.safetensors").write_bytes(b"half a file")
    if found == "of another digest":
        (tmp_path / "weights.safetensors").write_bytes((trained / "weights.safetensors").read_bytes())
        (tmp_path / "model.json").write_text('{"digest": "another"}')
    before = contents(tmp_path)

    with pytest.raises(TrainingRejected, match="training rejected"):
        train_or_keep(
            trained / "annotations",
            **outputs(tmp_path),
            status_path=tmp_path / "training.json",
            on_bad_model="keep",
            **TRAIN | {"floor_roc_area": 1.1},
        )

    assert contents(tmp_path) == before
    assert not (tmp_path / "training.json").exists()


# cut off, and gone on


def interrupting(phase: str, at: int, made: list):
    """Progress that ends the training by SIGTERM after a step of a phase, and notes the steps that are made."""

    class Interrupting(Progress):
        def stepped(self, now, step, steps, loss):
            super().stepped(now, step, steps, loss)
            made.append((now, step))
            if (now, step) == (phase, at):
                os.kill(os.getpid(), signal.SIGTERM)

    return Interrupting


@pytest.mark.parametrize(("phase", "folds"), [("held_out", None), ("final", None), ("fold_2", 3), ("final", 3)])
def test_a_training_that_was_cut_off_ends_in_the_same_files_and_repeats_nothing(
    trained, tmp_path, monkeypatch, phase, folds
):
    settings = TRAIN | {"folds": folds}
    if folds is None:
        whole = trained
    else:
        whole = tmp_path / "whole"
        train_model(trained / "annotations", **outputs(whole), **settings)
    made = []
    monkeypatch.setattr(training, "Progress", interrupting(phase, 2, made))

    with pytest.raises(TrainingInterrupted, match="training interrupted by SIGTERM"):
        train_or_keep(
            trained / "annotations",
            **outputs(tmp_path),
            status_path=tmp_path / "training.json",
            on_bad_model="keep",
            **settings,
        )
    assert not (tmp_path / "training.json").exists()
    monkeypatch.setattr(training, "Progress", interrupting("none", 0, made))
    train_model(trained / "annotations", **outputs(tmp_path), **settings)

    assert len(made) == len(set(made)) == (6 if folds is None else 12)
    for name in ("weights.safetensors", "model.json", "training_log.tsv", "roc.tsv"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes(), name
    assert not (tmp_path / "while_it_goes/checkpoints").exists()


@pytest.mark.parametrize(
    "changed", [{"seed": 4}, {"learning_rate": 2e-3}, {"code": "another"}, {"precision": "bfloat16"}]
)
def test_a_training_that_was_cut_off_starts_again_where_anything_changed_but_the_floor(
    trained, tmp_path, monkeypatch, caplog, changed
):
    made = []
    monkeypatch.setattr(training, "Progress", interrupting("held_out", 2, made))
    with pytest.raises(TrainingInterrupted):
        train_model(trained / "annotations", **outputs(tmp_path), **TRAIN)

    monkeypatch.setattr(training, "Progress", interrupting("held_out", 1, made))
    with caplog.at_level(logging.INFO), pytest.raises(TrainingInterrupted):
        train_model(trained / "annotations", **outputs(tmp_path) | TRAIN | changed)

    assert made == [("held_out", 1), ("held_out", 2), ("held_out", 1)]
    assert "held_out.safetensors is not used: it is of other annotations, settings, code" in caplog.text


def test_edited_annotations_and_another_start_are_another_training(trained, tmp_path, monkeypatch):
    folder = write_annotations(tmp_path / "annotations")
    start = tmp_path / "start.safetensors"
    shutil.copy(trained / "weights.safetensors", start)
    made = []
    monkeypatch.setattr(training, "Progress", interrupting("held_out", 1, made))

    def begin():
        with pytest.raises(TrainingInterrupted):
            train_model(folder, **outputs(tmp_path), **TRAIN | {"start_from": str(start)})

    begin()
    masks = tifffile.imread(folder / "masks/image0.tif")
    masks[0, 0] = -1
    tifffile.imwrite(folder / "masks/image0.tif", masks)
    begin()
    save_model(untrained(), start, tmp_path / "start.json", half=False)
    begin()

    assert made == 3 * [("held_out", 1)]


def test_a_rejected_training_is_judged_again_by_a_lower_floor_without_its_steps(tmp_path, monkeypatch):
    folder = write_annotations(tmp_path / "annotations")
    made = []
    monkeypatch.setattr(training, "Progress", interrupting("none", 0, made))
    with pytest.raises(TrainingRejected):
        train_model(folder, **outputs(tmp_path), **TRAIN | {"floor_roc_area": 1.1})

    train_model(folder, **outputs(tmp_path), **TRAIN)

    assert made == [(phase, step) for phase in ("held_out", "final") for step in (1, 2, 3)]


def test_an_option_for_bad_models_that_is_not_known_is_refused(tmp_path):
    with pytest.raises(ValueError, match="on_bad_model is 'ignore'; wanted one of keep, stop"):
        train_or_keep(
            tmp_path, **outputs(tmp_path), status_path=tmp_path / "training.json", on_bad_model="ignore", **TRAIN
        )


def test_a_kept_model_stays_when_the_same_weights_get_another_threshold(trained, tmp_path):
    annotations = trained / "annotations"
    shutil.copytree(trained / "archive", tmp_path / "archive")
    (kept,) = (tmp_path / "archive").iterdir()
    before = {path.name: path.read_bytes() for path in kept.iterdir()}

    train_model(annotations, **outputs(tmp_path), **{**TRAIN, "floor_roc_area": 0.01})
    assert [each.name for each in (tmp_path / "archive").iterdir()] == [kept.name]
    train_model(annotations, **outputs(tmp_path), **{**TRAIN, "pixel_size_um": 0.77})

    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    again = json.loads((tmp_path / "archive" / f"{kept.name}-2" / "model.json").read_text())
    assert again["pixel_size_um"] == 0.77
