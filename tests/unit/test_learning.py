import numpy as np
import pytest
import torch
from bright import untrained
from drawn import FIT, drawn, several

from cytolapse.annotations import Annotation
from cytolapse.learning import annealed_rate, fit_network
from cytolapse.models import save_model, weights_digest
from cytolapse.stills import predict_still, prepare_still


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


# images


def test_each_channel_of_an_image_is_normalised_by_its_own_limits():
    plane = drawn().image
    normalisation = {"kind": "percentile", "low": 1.0, "high": 99.0, "clip": [-1.0, 4.0]}
    two = prepare_still(Annotation("a", np.stack([plane, 100 * plane]), drawn().labels), 2, normalisation, 0.5)

    assert two.shape == (2, 40, 40)
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
        prepare_still(Annotation("b", np.zeros(shape), np.zeros((8, 8), int)), channels, {}, 1.0)


@pytest.mark.parametrize("shown", [(8, 16), (13, 5), (3, 50)])
@pytest.mark.parametrize("shape", [(8, 16), (20, 31)])
def test_an_image_of_any_size_gets_a_probability_for_every_pixel_as_annotated(shown, shape):
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, kernel_size=1))
    network.stride = 8

    probability = predict_still(
        network, np.zeros((1, *shown), np.float32), shape=shape, device=torch.device("cpu"), precision=torch.float32
    )

    assert probability.shape == (2, *shape)
    assert probability.dtype == np.uint8


# learning


def test_the_learning_rate_rises_shortly_and_then_falls_to_0():
    rates = [annealed_rate(step, steps=200, learning_rate=3e-4) for step in range(200)]

    assert rates[0] < 1e-4
    assert max(rates) == rates[10] == 3e-4
    assert (np.diff(rates[10:]) < 0).all()
    assert 0 < rates[-1] < 1e-7


def fit(annotations=None, check=None, **changes):
    annotations = several(2) if annotations is None else annotations
    return fit_network(annotations, phase="test", check=check, **FIT | {"steps": 3} | changes)


def test_one_seed_gives_one_model_bit_by_bit():
    one, two, other = (weights_digest(fit(seed=seed)[0].state_dict()) for seed in (3, 3, 4))

    assert one == two
    assert one != other


def test_the_log_has_the_score_of_the_images_left_out_ten_times():
    scores = iter(np.arange(1, 21) / 20)
    _, rows = fit(steps=20, crop_px=32, check=lambda network: (next(scores), 0.5))

    assert [row.step for row in rows] == list(range(1, 21))
    assert [row.held_out_roc_area for row in rows[1::2]] == list(np.arange(1, 11) / 20)
    assert [row.held_out_score for row in rows] == [None, 0.5] * 10


def test_a_rate_that_settles_falls_from_where_it_is_to_0_within_a_tenth_of_the_steps():
    usual, settling = (
        [annealed_rate(step, steps=200, learning_rate=3e-4, settles_at=at) for step in range(120)] for at in (None, 100)
    )

    assert settling[:101] == usual[:101]
    assert (np.diff(settling[100:]) < 0).all()
    assert settling[119] < 0.01 * settling[100]


def scored(*scores, **changes):
    """Rows of a training whose checks give these scores of labels."""
    given = iter(scores)
    changes = {"areas": [0.9] * len(scores), **changes}
    areas = iter(changes.pop("areas"))
    return fit(steps=20, crop_px=32, check=lambda network: (next(areas), next(given)), **changes)[1]


def test_without_patience_a_training_that_stalled_makes_all_its_steps():
    assert scored(*[0.5] * 10)[-1].step == 20


def test_a_training_that_stalled_settles_and_is_scored_a_last_time():
    rows = scored(0.1, 0.5, 0.504, 0.4, 0.503, 0.7, patience=3)

    assert rows[-1].step == 12
    assert rows[-1].held_out_score == 0.7
    assert rows[-1].learning_rate < 0.6 * rows[-3].learning_rate


@pytest.mark.parametrize(
    "changes",
    [{}, {"areas": np.linspace(0.9, 0.99, 10)}],
    ids=["the score of labels gains", "the area gains"],
)
def test_a_training_that_gains_in_either_score_goes_on(changes):
    scores = [0.5] * 10 if changes else [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5]

    assert scored(*scores, patience=2, **changes)[-1].step == 20


def test_an_image_smaller_than_the_view_can_be_learned_from():
    network, _ = fit([drawn(side=40)], steps=1)

    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())


def test_bfloat16_trains_on_a_processor_without_it_too():
    _, rows = fit(precision="bfloat16", steps=1, crop_px=32)

    assert all(np.isfinite(row.loss) for row in rows)


def test_a_view_that_does_not_fit_the_network_is_refused():
    with pytest.raises(ValueError, match="crop_px is 60; googlenet_unet_small needs a multiple of 8 px"):
        fit(crop_px=60)


def test_a_loss_that_is_no_number_stops_the_training_and_names_step_and_remedy():
    with pytest.raises(
        RuntimeError, match=r"training broke down at step \d of 3: the loss is \w+; lower learning_rate"
    ):
        fit(learning_rate=1e30)


def test_training_goes_on_from_the_weights_of_another_model(tmp_path):
    start = untrained()
    save_model(start, tmp_path / "start.safetensors", tmp_path / "start.json", half=False)
    before = start.network.state_dict()

    after = fit(start_from=tmp_path / "start.safetensors", learning_rate=0.0)[0].state_dict()
    afresh = fit(learning_rate=0.0)[0].state_dict()

    learned = [name for name, tensor in before.items() if "running" not in name and tensor.is_floating_point()]
    assert all(torch.equal(before[name], after[name]) for name in learned)
    assert not all(torch.equal(before[name], afresh[name]) for name in learned)


def test_starting_from_another_architecture_is_refused_with_both_names(tmp_path):
    start = untrained()
    save_model(start, tmp_path / "start.safetensors", tmp_path / "start.json", half=False)

    with pytest.raises(
        ValueError,
        match=r"holds googlenet_unet_small with 1 channel\(s\), the model to train is googlenet_unet with 1",
    ):
        fit(start_from=tmp_path / "start.safetensors", architecture="googlenet_unet")
