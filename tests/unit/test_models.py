import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cytolapse.cards import CHOSEN, CLASSES
from cytolapse.models import (
    KEYS,
    NORMALISATION,
    Model,
    compress,
    load_model,
    normalisation_limits,
    normalise,
    save_model,
    weights_digest,
)
from cytolapse.networks import build_network

torch.set_num_threads(1)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model(
        network=build_network("googlenet_unet_small", channels=1, classes=2),
        architecture="googlenet_unet_small",
        channels=1,
        classes=CLASSES,
        normalisation=NORMALISATION,
        pixel_size_um=0.24,
        cell_area_px=900.0,
        small_part=0.2,
        scale=0.5,
        threshold=0.45,
        split_depth=0.1,
        split_neck=0.8,
        min_confidence=0.6,
        trained={"seed": 3, "steps": 10, "metrics": {"roc_area": 0.99}},
    )


@pytest.fixture
def saved(model, tmp_path):
    save_model(model, tmp_path / "weights.safetensors", tmp_path / "model.json", half=False)
    return tmp_path / "weights.safetensors"


def rewritten(path, *, tensors=lambda tensors: tensors, metadata=lambda metadata: metadata):
    """The file with its tensors or its metadata changed."""
    with safe_open(path, framework="pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        found = json.loads(file.metadata()["cytolapse"])
    save_file(tensors(kept), path, metadata={"cytolapse": json.dumps(metadata(found))})
    return path


def test_a_saved_model_comes_back_with_all_it_needs(model, saved):
    loaded = load_model(saved)
    image = torch.rand(1, 1, 32, 32)

    for name in set(KEYS) - {"format", "digest"}:
        assert getattr(loaded, name) == getattr(model, name)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(image), model.network.eval()(image), rtol=0, atol=0)


def test_a_model_without_a_pixel_size_comes_back_without_one(model, tmp_path):
    model.pixel_size_um = None
    save_model(model, tmp_path / "w.safetensors", tmp_path / "m.json", half=False)

    assert load_model(tmp_path / "w.safetensors").pixel_size_um is None


def test_a_model_stored_by_halves_takes_half_the_space_and_predicts_nearly_the_same(model, saved, tmp_path):
    save_model(model, tmp_path / "half.safetensors", tmp_path / "half.json", half=True)
    loaded = load_model(tmp_path / "half.safetensors")
    image = torch.rand(1, 1, 64, 64)

    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * saved.stat().st_size
    assert all(tensor.dtype != torch.float16 for tensor in loaded.network.state_dict().values())
    with torch.inference_mode():
        difference = torch.sigmoid(loaded.network(image)) - torch.sigmoid(model.network.eval()(image))
    assert difference.abs().max() < 1 / 255


@pytest.mark.parametrize("half", [False, True])
def test_the_digest_in_model_json_is_that_of_the_network_as_it_is_loaded(model, tmp_path, half):
    digest = save_model(model, tmp_path / "w.safetensors", tmp_path / "m.json", half=half)

    assert digest == json.loads((tmp_path / "m.json").read_text())["digest"]
    assert digest == weights_digest(load_model(tmp_path / "w.safetensors").network.state_dict())


def test_the_same_weights_give_the_same_files(model, tmp_path):
    for name in ("a", "b"):
        save_model(model, tmp_path / f"{name}.safetensors", tmp_path / f"{name}.json", half=False)

    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_model_json_says_what_other_rules_need(saved):
    described = json.loads((saved.parent / "model.json").read_text())

    assert [described[name] for name in CHOSEN] == [0.45, 0.1, 0.8, 0.6]
    assert described["classes"] == ["cell", "edge"]
    assert described["metrics"] == {"roc_area": 0.99}
    assert described["pixel_size_um"] == 0.24
    assert described["small_part"] == 0.2


def test_the_digest_does_not_depend_on_order_or_layout_of_the_tensors():
    weight = torch.rand(4, 3, 3, 3)
    bias = torch.rand(4)
    laid_out = weight.contiguous(memory_format=torch.channels_last)

    assert weights_digest({"w": weight, "b": bias}) == weights_digest({"b": bias, "w": laid_out})


@pytest.mark.parametrize(
    "changed",
    [
        {"w": torch.tensor([1.0, 2.5])},
        {"v": torch.tensor([1.0, 2.0])},
        {"w": torch.tensor([[1.0, 2.0]])},
        {"w": torch.tensor([1, 2])},
        {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(0)},
    ],
    ids=["value", "name", "shape", "type", "one more"],
)
def test_any_change_of_the_tensors_changes_the_digest(changed):
    assert weights_digest(changed) != weights_digest({"w": torch.tensor([1.0, 2.0])})


def test_the_digest_of_known_tensors_stays_as_it_was():
    """Written down: another digest would have every movie segmented again."""
    known = {"a": torch.tensor([[1.0, -2.0]]), "n": torch.tensor(7)}

    assert weights_digest(known) == "97ab4f97452dc5efefa9153275c2145016f523782701f7f4456c9842b8ed5590"


def test_a_model_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model .*none.safetensors: there is no such file; name a model file"):
        load_model(tmp_path / "none.safetensors")


def test_a_file_that_is_not_safetensors_is_refused(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"\x80\x02pickle" * 10)

    with pytest.raises(ValueError, match=r"model .*weights.pt: not a safetensors file \(.*\); give a model file"):
        load_model(tmp_path / "weights.pt")


def test_a_safetensors_file_of_another_program_is_refused(tmp_path):
    save_file({"w": torch.ones(2)}, tmp_path / "other.safetensors", metadata={"format": "pt"})

    with pytest.raises(ValueError, match=r"other.safetensors: its metadata has no key 'cytolapse' \(found: format\)"):
        load_model(tmp_path / "other.safetensors")


def test_metadata_that_is_not_json_is_refused(tmp_path):
    save_file({"w": torch.ones(2)}, tmp_path / "w.safetensors", metadata={"cytolapse": "{"})

    with pytest.raises(ValueError, match=r"w.safetensors: key 'cytolapse' of its metadata is not JSON"):
        load_model(tmp_path / "w.safetensors")


@pytest.mark.parametrize("key", ["architecture", "classes", "normalisation", "pixel_size_um", "threshold", "digest"])
def test_a_model_file_that_lacks_a_key_is_refused_by_name_of_the_key(saved, key):
    rewritten(saved, metadata=lambda found: {name: value for name, value in found.items() if name != key})

    with pytest.raises(ValueError, match=rf"weights.safetensors: has no '{key}'; .* train the model again"):
        load_model(saved)


def test_a_model_file_of_a_later_format_is_refused(saved):
    rewritten(saved, metadata=lambda found: {**found, "format": "9"})

    with pytest.raises(ValueError, match=r"weights.safetensors: key 'format' is '9', .* reads '1'"):
        load_model(saved)


def test_a_model_of_an_unknown_architecture_is_refused(saved):
    rewritten(saved, metadata=lambda found: {**found, "architecture": "resnet"})

    with pytest.raises(ValueError, match=r"weights.safetensors: architecture is 'resnet', .* has googlenet_fcn"):
        load_model(saved)


def test_tensors_of_another_shape_are_refused_by_name(saved):
    rewritten(saved, tensors=lambda kept: {**kept, "context.0.conv.weight": torch.ones(2, 2)})

    with pytest.raises(ValueError, match=r"tensor 'context.0.conv.weight' is \[2, 2\], googlenet_unet_small .* wants"):
        load_model(saved)


def test_a_missing_tensor_and_one_too_many_are_refused_by_name(saved):
    rewritten(saved, tensors=lambda kept: {name: t for name, t in kept.items() if name != "step2.deep.bias"})
    with pytest.raises(ValueError, match=r"tensor 'step2.deep.bias' is missing, .* wants \[32\]"):
        load_model(saved)

    rewritten(saved, tensors=lambda kept: {**kept, "a.tail": torch.ones(3)})
    with pytest.raises(ValueError, match=r"tensor 'a.tail' is \[3\], .* wants none of that name"):
        load_model(saved)


def test_tensors_that_are_not_those_that_were_saved_are_refused(saved):
    rewritten(saved, tensors=lambda kept: {**kept, "step2.deep.bias": kept["step2.deep.bias"] + 1})

    with pytest.raises(ValueError, match=r"weights.safetensors: key 'digest' is .*, the tensors have .*copy it again"):
        load_model(saved)


def test_the_limits_are_percentiles_of_all_planes_together():
    planes = [np.arange(0, 100, dtype=np.uint16).reshape(10, 10), np.arange(100, 200, dtype=np.uint16).reshape(10, 10)]

    assert normalisation_limits(planes, {**NORMALISATION, "low": 0, "high": 100}) == (0, 199)
    assert normalisation_limits(planes, {**NORMALISATION, "low": 50, "high": 100}) == (99.5, 199)


def test_a_large_plane_is_sampled_over_all_of_it():
    ramp = np.tile(np.linspace(0, 1000, 3000, dtype=np.float32), (2000, 1))

    assert normalisation_limits([ramp], NORMALISATION) == pytest.approx((10, 998), abs=2)


def test_a_dark_frame_stays_dark_beside_its_neighbours():
    bright = np.linspace(0, 1000, 100).reshape(10, 10).astype(np.uint16)
    limits = normalisation_limits([bright, bright // 10], NORMALISATION)

    np.testing.assert_allclose(
        normalise(bright // 10, limits, NORMALISATION).max(),
        normalise(bright, limits, NORMALISATION).max() / 10,
        atol=0.02,
    )


def test_the_limits_become_0_and_1_and_what_lies_far_beyond_is_cut_off():
    image = np.array([[100, 200, 150, 65535, 0]], np.uint16)

    scaled = normalise(image, (100.0, 200.0), {"kind": "percentile", "low": 1, "high": 99, "clip": [-0.5, 4.0]})

    np.testing.assert_allclose(scaled, [[0, 1, 0.5, 4, -0.5]])
    assert scaled.dtype == np.float32


def scene() -> np.ndarray:
    """Some bright cells on a dark ground, in parts of full scale."""
    y, x = np.indices((96, 96))
    light = 0.02 + 0.01 * np.random.default_rng(0).random((96, 96))
    for row, column in ((20, 30), (60, 60), (70, 20)):
        light += 0.4 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 60)
    return light


def shown(image: np.ndarray) -> np.ndarray:
    limits = normalisation_limits([image], NORMALISATION)
    return compress(torch.from_numpy(normalise(image, limits, NORMALISATION)), NORMALISATION).numpy()


@pytest.mark.parametrize(
    ("scale", "dtype", "close"),
    [
        (255, np.uint8, 0.1),
        (4095, np.uint16, 0.01),
        (65535, np.uint16, 0.001),
        (1, np.float32, 1e-5),
        (9e6, np.float64, 1e-5),
    ],
)
def test_a_network_is_shown_the_same_from_any_depth_of_pixels(scale, dtype, close):
    image = scene() * scale

    found = shown(image.astype(dtype) if np.issubdtype(dtype, np.floating) else np.rint(image).astype(dtype))

    np.testing.assert_allclose(found, shown(scene()), atol=close)


def test_dead_and_saturated_pixels_change_no_other():
    image = np.rint(4095 * scene()).astype(np.uint16)
    hit = image.copy()
    hit[5, 5], hit[50, 10], hit[80, 80], hit[10, 90] = 0, 65535, 65535, 0

    ours, others = shown(image), shown(hit)

    untouched = image == hit
    np.testing.assert_allclose(others[untouched], ours[untouched], atol=0.02)


def test_pixels_that_are_not_numbers_do_not_count_and_become_0():
    image = np.array([[0, 10], [np.nan, np.inf]], np.float32)
    limits = normalisation_limits([image], {**NORMALISATION, "low": 0, "high": 100})

    assert limits == (0, 10)
    np.testing.assert_allclose(normalise(image, limits, NORMALISATION), [[0, 1], [0, 4]])


@pytest.mark.parametrize("value", [0, 7, 65535])
def test_a_plane_of_one_grey_value_becomes_0_and_no_error(value):
    plane = np.full((8, 8), value, np.uint16)

    limits = normalisation_limits([plane], NORMALISATION)

    assert limits[0] < limits[1]
    np.testing.assert_array_equal(normalise(plane, limits, NORMALISATION), 0)


@pytest.mark.parametrize("planes", [[], [np.full((4, 4), np.nan, np.float32)]], ids=["no plane", "no number"])
def test_limits_of_nothing_are_refused(planes):
    with pytest.raises(ValueError, match="no pixel to take the limits of the grey values from"):
        normalisation_limits(planes, NORMALISATION)


def test_compression_lifts_what_is_dark_and_leaves_0_and_1():
    image = torch.tensor([-0.03, 0.0, 0.03, 1.0, 4.0])

    found = compress(image, {"log_gain": 20.0})

    np.testing.assert_allclose(found, [-0.1544, 0, 0.1544, 1, 1.4434], atol=1e-4)
    assert compress(image, {}) is image
    assert image[2] == np.float32(0.03)
