import json
import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch

from cytolapse.annotations import IGNORE, Annotation
from cytolapse.models import load_model, save_model, weights_digest
from cytolapse.training import (
    TrainingRejected,
    annealed_rate,
    choose_precision,
    cross_validate,
    draw_roc,
    fit_network,
    judge,
    make_targets,
    predict_still,
    prepare_still,
    reproducible,
    split_held_out,
    train,
    train_model,
    train_or_keep,
    weighted_loss,
)

TARGETS = {"edge_px": 1, "edge_weight": 5.0, "gap_weight": 0.0, "gap_px": 3.0}
AUGMENTATION = {
    "roll": True,
    "flip": True,
    "rotation": "any",
    "zoom_fraction": 0.1,
    "bend_px": 2.0,
    "gain_fraction": 0.2,
    "offset": 0.1,
    "gamma_fraction": 0.2,
    "noise": 0.05,
    "blur_px": 0.5,
}
FIT = TARGETS | {
    "architecture": "googlenet_unet_small",
    "channels": 1,
    "crop_px": 64,
    "batch_crops": 2,
    "learning_rate": 1e-3,
    "augmentation": AUGMENTATION,
    "seed": 3,
    "threads": 1,
    "device": "cpu",
    "precision": "float32",
    "start_from": None,
}
TRAIN = FIT | {"steps": 3, "steps_held_out": 3, "hold_out": 0.25, "floor_roc_area": 0.0, "pixel_size_um": 0.5}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def drawn(name: str = "a", seed: int = 0, side: int = 80) -> Annotation:
    """Bright disks on a dark, noisy ground."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((side, side))
    labels = np.zeros((side, side), np.int32)
    for number in range(1, 7):
        row, column = rng.integers(8, side - 8, 2)
        labels[(y - row) ** 2 + (x - column) ** 2 < 8**2] = number
    image = 100 + 60 * (labels > 0) + rng.normal(0, 5, labels.shape)
    return Annotation(name, image.astype(np.uint16), labels)


def several(count: int = 4) -> list[Annotation]:
    return [drawn(f"image{number}", seed=number) for number in range(count)]


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
        "roc_path": folder / "roc.tsv",
        "figure_path": folder / "roc.png",
        "archive_folder": folder / "archive",
    }


def state(network) -> dict:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


# targets


def test_an_edge_is_one_pixel_on_either_side_of_an_outline():
    labels = np.zeros((9, 9), np.int32)
    labels[3:6, 3:6] = 1

    cell, edge, weight = make_targets(labels, **TARGETS)

    assert (cell == (labels > 0)).all()
    assert edge[4].tolist() == [0, 0, 1, 1, 0, 1, 1, 0, 0]
    assert edge[2, 2] == 0
    assert weight[4].tolist() == [1, 1, 5, 5, 1, 5, 5, 1, 1]


def test_two_cells_that_touch_have_an_edge_between_them_and_a_middle_each():
    labels = np.ones((5, 12), np.int32)
    labels[:, 6:] = 2

    _, edge, _ = make_targets(labels, **TARGETS)

    assert (edge[:, 5:7] == 1).all()
    assert edge.sum() == 10


@pytest.mark.parametrize("edge_px", [1, 2])
def test_a_cell_as_narrow_as_a_bacterium_keeps_a_middle_that_is_not_edge(edge_px):
    labels = np.zeros((30, 30), np.int32)
    labels[10:18, 5:25] = 1

    cell, edge, _ = make_targets(labels, **TARGETS | {"edge_px": edge_px})

    assert ((cell - edge) > 0).sum() == (8 - 2 * edge_px) * (20 - 2 * edge_px)


def test_the_border_of_the_image_is_no_edge():
    assert make_targets(np.ones((6, 6), np.int32), **TARGETS)[1].sum() == 0


def test_a_narrow_gap_counts_more_than_a_wide_one_and_that_more_than_open_background():
    labels = np.zeros((40, 60), np.int32)
    labels[5:15, 5:20] = 1
    labels[5:15, 22:40] = 2
    labels[5:15, 46:60] = 3

    weight = make_targets(labels, **TARGETS | {"edge_weight": 1.0, "gap_weight": 10.0})[2]

    assert weight[10, 20] > weight[10, 43] > 1.5
    assert weight[10, 20] == pytest.approx(1 + 10 * np.exp(-(3**2) / (2 * 3**2)))
    assert weight[38, 30] == pytest.approx(1, abs=1e-3)


def test_pixels_that_nobody_has_judged_have_no_weight_and_make_no_edge():
    labels = np.zeros((10, 10), np.int32)
    labels[:5] = 1
    labels[:, 5:] = IGNORE

    _, edge, weight = make_targets(labels, **TARGETS | {"gap_weight": 5.0})

    assert (weight[:, 5:] == 0).all()
    assert (weight[:, :5] > 0).all()
    assert edge[:, :5].sum() == 10
    assert edge[:, 5:].sum() == 0


# loss and learning rate


def test_a_better_answer_has_a_smaller_loss():
    targets = torch.tensor([0.0, 1.0]).repeat(2, 2, 4, 2)
    weight = torch.ones(2, 1, 4, 4)
    right = 2 * targets - 1

    losses = [float(weighted_loss(scale * right, targets, weight)) for scale in (10, 1, 0, -1, -10)]

    assert losses == sorted(losses)
    assert losses[2] == pytest.approx(np.log(2))


def test_a_mistake_on_an_edge_costs_more_than_the_same_mistake_elsewhere():
    targets = torch.zeros(1, 1, 1, 4)
    weight = torch.tensor([1.0, 5, 1, 1]).view(1, 1, 1, 4)
    elsewhere, on_edge = torch.full((2, 1, 1, 1, 4), -3.0)
    elsewhere[..., 0] = on_edge[..., 1] = 3

    assert weighted_loss(on_edge, targets, weight) > 2 * weighted_loss(elsewhere, targets, weight)


def test_a_pixel_without_weight_does_not_change_the_loss():
    targets = torch.zeros(1, 2, 2, 2)
    weight = torch.ones(1, 1, 2, 2)
    weight[..., 0] = 0
    wrong = torch.full((1, 2, 2, 2), -1.0)
    wrong[..., 0] = 50

    assert weighted_loss(wrong, targets, weight) == weighted_loss(torch.full_like(wrong, -1), targets, weight)
    assert weighted_loss(wrong, targets, 0 * weight) == 0


def test_the_learning_rate_rises_shortly_and_then_falls_to_0():
    rates = [annealed_rate(step, steps=200, learning_rate=3e-4) for step in range(200)]

    assert rates[0] < 1e-4
    assert max(rates) == rates[10] == 3e-4
    assert (np.diff(rates[10:]) < 0).all()
    assert 0 < rates[-1] < 1e-7


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


# device, precision and images


def test_a_precision_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="precision is 'float8'; wanted one of auto, float32, bfloat16"):
        choose_precision("float8", torch.device("cpu"))


def test_auto_takes_bfloat16_where_the_processor_has_it(monkeypatch):
    for has in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: {"avx512_bf16": has, "amx_bf16": False})
        assert choose_precision("auto", torch.device("cpu")) == (torch.bfloat16 if has else torch.float32)


def test_torch_is_as_it_was_after_a_reproducible_part():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with reproducible(seed=1, threads=2):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == 2
        torch.rand(5)

    assert (torch.rand(3) == expected).all()
    assert torch.get_num_threads() == 1
    assert not torch.are_deterministic_algorithms_enabled()


def test_each_channel_of_an_image_is_normalised_by_its_own_limits():
    plane = drawn().image
    normalisation = {"kind": "percentile", "low": 1.0, "high": 99.0, "clip": [-1.0, 4.0]}
    two = prepare_still(Annotation("a", np.stack([plane, 100 * plane]), drawn().labels), 2, normalisation)

    assert two.shape == (2, 80, 80)
    assert np.allclose(two[0], two[1], atol=1e-4)


@pytest.mark.parametrize(
    ("channels", "shape", "message"),
    [
        (1, (2, 8, 8), r"annotation b: image of shape \(2, 8, 8\); the model takes one plane \(y, x\)"),
        (2, (8, 8), r"annotation b: image of shape \(8, 8\); the model takes 2 planes \(channel, y, x\)"),
    ],
)
def test_an_image_with_another_number_of_channels_is_refused(channels, shape, message):
    with pytest.raises(ValueError, match=message):
        prepare_still(Annotation("b", np.zeros(shape), np.zeros((8, 8), int)), channels, {})


@pytest.mark.parametrize("shape", [(8, 16), (13, 5), (3, 50)])
def test_an_image_of_any_size_gets_a_probability_for_every_pixel(shape):
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, kernel_size=1))
    network.stride = 8

    probability = predict_still(
        network, np.zeros((1, *shape), np.float32), device=torch.device("cpu"), precision=torch.float32
    )

    assert probability.shape == (2, *shape)
    assert probability.dtype == np.uint8


# training


def fit(annotations=None, check=None, **changes):
    annotations = several(2) if annotations is None else annotations
    return fit_network(annotations, phase="test", check=check, **FIT | {"steps": 3} | changes)


def test_one_seed_gives_one_model_bit_by_bit():
    one, two, other = (weights_digest(fit(seed=seed)[0].state_dict()) for seed in (3, 3, 4))

    assert one == two
    assert one != other


def test_the_loss_falls_and_the_cells_are_found_on_an_image_not_learned_from():
    settings = TRAIN | {"steps": 1, "steps_held_out": 40, "batch_crops": 4, "hold_out": 1}
    result = train(several(4), **settings)
    rows = result.log[result.log.phase == "held_out"]

    assert rows.loss.tail(5).mean() < 0.6 * rows.loss.head(5).mean()
    assert result.model.trained["metrics"]["held_out"]["roc_area"] > 0.95


def test_the_log_has_the_score_of_the_images_left_out_ten_times():
    scores = iter(np.arange(1, 21) / 20)
    _, log = fit(steps=20, crop_px=32, check=lambda network: next(scores))

    assert log.columns.tolist() == ["phase", "step", "learning_rate", "loss", "held_out_roc_area"]
    assert log.step.tolist() == list(range(1, 21))
    assert log.held_out_roc_area.dropna().tolist() == list(np.arange(1, 11) / 20)
    assert log.held_out_roc_area.notna().tolist() == [False, True] * 10


def test_an_image_smaller_than_the_view_can_be_learned_from():
    network, _ = fit([drawn(side=40)], steps=1)

    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())


def test_bfloat16_trains_on_a_processor_without_it_too():
    _, log = fit(precision="bfloat16", steps=1, crop_px=32)

    assert np.isfinite(log.loss).all()


def test_a_view_that_does_not_fit_the_network_is_refused():
    with pytest.raises(ValueError, match="crop_px is 60; googlenet_unet_small needs a multiple of 8 px"):
        fit(crop_px=60)


def test_a_loss_that_is_no_number_stops_the_training_and_names_step_and_remedy():
    with pytest.raises(
        RuntimeError, match=r"training broke down at step \d of 3: the loss is \w+; lower learning_rate"
    ):
        fit(learning_rate=1e30)


def test_training_goes_on_from_the_weights_of_another_model(tmp_path):
    start = train(several(3), **TRAIN).model
    save_model(start, tmp_path / "start.safetensors", tmp_path / "start.json", half=False)
    before = state(start.network)

    after = fit(start_from=tmp_path / "start.safetensors", learning_rate=0.0)[0].state_dict()
    afresh = fit(learning_rate=0.0)[0].state_dict()

    learned = [name for name, tensor in before.items() if "running" not in name and tensor.is_floating_point()]
    assert all(torch.equal(before[name], after[name]) for name in learned)
    assert not all(torch.equal(before[name], afresh[name]) for name in learned)


def test_starting_from_another_architecture_is_refused_with_both_names(tmp_path):
    start = train(several(3), **TRAIN).model
    save_model(start, tmp_path / "start.safetensors", tmp_path / "start.json", half=False)

    with pytest.raises(
        ValueError,
        match=r"holds googlenet_unet_small with 1 channel\(s\), the model to train is googlenet_unet with 1",
    ):
        fit(start_from=tmp_path / "start.safetensors", architecture="googlenet_unet")


def test_cross_validation_gives_every_image_the_answer_of_a_network_that_has_not_seen_it():
    annotations = several(3)

    probabilities = cross_validate(annotations, 3, **FIT | {"steps": 2})

    assert list(probabilities) == ["image0", "image1", "image2"]
    rest = [annotations[0], annotations[2]]
    network, _ = fit_network(rest, phase="test", check=None, **FIT | {"steps": 2})
    image = prepare_still(annotations[1], 1, load_normalisation())
    alone = predict_still(network, image, device=torch.device("cpu"), precision=torch.float32)
    assert (probabilities["image1"] == alone).all()


def load_normalisation() -> dict:
    from cytolapse.models import NORMALISATION

    return NORMALISATION


@pytest.mark.parametrize("folds", [1, 4])
def test_folds_that_leave_nothing_out_or_all_are_refused(folds):
    with pytest.raises(ValueError, match=f"folds is {folds}; wanted 2 to 3"):
        cross_validate(several(3), folds, **FIT | {"steps": 1})


def test_perfect_probabilities_are_judged_perfect():
    annotations = [drawn(seed=1), drawn(seed=2)]
    targets = [make_targets(each.labels, **TARGETS)[:2] for each in annotations]

    scores = judge(annotations, [np.rint(255 * each).astype(np.uint8) for each in targets])

    assert scores["roc_area"] == 1
    assert scores["ap_50"] == 1
    assert scores["threshold"] == 0.5
    assert (scores["false_positive_rate"], scores["true_positive_rate"]) == (0, 1)


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

    assert model.threshold == described["threshold"] == described["metrics"]["held_out"]["threshold"]
    assert model.pixel_size_um == 0.5
    assert model.trained["seed"] == 3
    assert len(model.trained["annotations"]) == 64
    assert set(described["metrics"]["held_out"]) >= {"images", "roc_area", "ap_50", "ap_75", "seg"}
    assert log.phase.unique().tolist() == ["held_out", "final"]
    assert roc.images.unique().tolist() == ["training", "held_out"]
    assert len(roc) == 2 * 257
    assert (trained / "roc.png").read_bytes().startswith(b"\x89PNG")


def test_an_accepted_model_is_also_kept_under_its_digest(trained):
    status = json.loads((trained / "training.json").read_text())
    kept = trained / "archive" / status["digest"]

    assert (status["status"], status["reason"]) == ("accepted", None)
    assert (kept / "weights.safetensors").read_bytes() == (trained / "weights.safetensors").read_bytes()
    assert (kept / "model.json").read_bytes() == (trained / "model.json").read_bytes()


def test_the_same_training_writes_the_same_files_again(trained, tmp_path):
    train_model(trained / "annotations", **outputs(tmp_path), **TRAIN)

    for name in ("weights.safetensors", "model.json", "training_log.tsv", "roc.tsv", "roc.png"):
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes(), name


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "training.json"
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


def test_an_option_for_bad_models_that_is_not_known_is_refused(tmp_path):
    with pytest.raises(ValueError, match="on_bad_model is 'ignore'; wanted one of keep, stop"):
        train_or_keep(
            tmp_path, **outputs(tmp_path), status_path=tmp_path / "training.json", on_bad_model="ignore", **TRAIN
        )


def test_the_figure_is_the_same_each_time(tmp_path):
    roc = pd.DataFrame({"images": "training", "false_positive_rate": [0, 0.1, 1], "true_positive_rate": [0, 0.9, 1]})
    draw_roc(roc, tmp_path / "one.png")
    draw_roc(roc, tmp_path / "two.png")

    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


# real cells

DATA = Path(os.environ.get("CYTOLAPSE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "Fluo-N2DH-GOWT1"


@pytest.mark.skipif(not DATA.is_dir(), reason="real data not found; set CYTOLAPSE_DATA")
def test_targets_of_real_nuclei_leave_every_nucleus_one_middle():
    from scipy import ndimage

    labels = tifffile.imread(DATA / "01_ST" / "SEG" / "man_seg000.tif").astype(np.int32)

    cell, edge, _ = make_targets(labels, **TARGETS)

    assert ndimage.label(cell - edge > 0)[1] == len(np.unique(labels)) - 1
