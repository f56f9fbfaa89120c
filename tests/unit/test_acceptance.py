import json
import logging
import os
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
import tifffile
import torch
from bright import untrained
from drawn import TRAIN, several

from cytolapse import training
from cytolapse.acceptance import train_model, train_or_keep
from cytolapse.cards import CHOSEN
from cytolapse.checkpoints import TrainingInterrupted
from cytolapse.models import load_model, save_model
from cytolapse.progress import Progress
from cytolapse.training import TrainingRejected
from planning.digests import WORKFLOW, _reached


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
