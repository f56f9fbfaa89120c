"""What models say of themselves, and what is refused of it."""

import json
from pathlib import Path

import pytest

from cytolapse.cards import read_card

MODEL = Path(__file__).parents[2] / "resources/models/demo/model.json"


@pytest.fixture
def changed(tmp_path):
    """model.json of the demo with values replaced."""

    def write(**values) -> Path:
        path = tmp_path / "model.json"
        path.write_text(json.dumps({**json.loads(MODEL.read_text()), **values}))
        return path

    return write


def test_a_card_comes_back_as_it_was_written():
    assert read_card(MODEL, ("digest", "scale")) == json.loads(MODEL.read_text())


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"a": 1}}', "\ud800"])
def test_a_card_that_is_no_json_is_refused(tmp_path, text):
    (tmp_path / "model.json").write_bytes(text.encode("utf-8", "surrogatepass"))

    with pytest.raises(ValueError, match=r"model .*model\.json: is no JSON \(.*\); take the model's files"):
        read_card(tmp_path / "model.json")


def test_a_card_that_is_no_object_is_refused(tmp_path):
    (tmp_path / "model.json").write_text("[1, 2]")

    with pytest.raises(ValueError, match=r"model\.json: holds \[1, 2\], wanted an object of keys and values"):
        read_card(tmp_path / "model.json")


def test_a_card_that_lacks_a_key_is_refused_by_its_name(tmp_path):
    (tmp_path / "model.json").write_text('{"scale": 1.0}')

    assert read_card(tmp_path / "model.json") == {"scale": 1.0}
    with pytest.raises(ValueError, match=r"model\.json: has no 'threshold', 'digest'; it was written by another"):
        read_card(tmp_path / "model.json", ("threshold", "scale", "digest"))


NORMALISATION = {"kind": "percentile", "low": 1.0, "high": 99.8, "clip": [-1.0, 4.0]}


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("architecture", 3, "a name"),
        ("channels", 10**12, "a whole number from 1 to 100"),
        ("channels", 1.5, "a whole number from 1 to 100"),
        ("channels", True, "a whole number from 1 to 100"),
        ("classes", ["edge", "cell"], r'the list \["cell", "edge"\]'),
        ("pixel_size_um", -0.1, "null, or micrometres above 0"),
        ("pixel_size_um", "0.1", "null, or micrometres above 0"),
        ("cell_area_px", 0, "a number of pixels above 0"),
        ("cell_area_px", float("inf"), "a number of pixels above 0"),
        ("small_part", 1.5, "a number from 0 to 1"),
        ("scale", 1e6, "a number from 0.1 to 2"),
        ("threshold", float("nan"), "a number from 0 to 1"),
        ("split_depth", None, "a number from 0 to 2"),
        ("digest", None, "the digest of the tensors"),
        ("metrics", [], "an object of keys and values"),
        *(
            ("normalisation", normalisation, "the kind percentile, the percentiles low and high")
            for normalisation in (
                *(None, {}, {**NORMALISATION, "low": 99.9}, {**NORMALISATION, "clip": [1]}),
                *({**NORMALISATION, "clip": [4, -1]}, {**NORMALISATION, "high": 101}),
                *({**NORMALISATION, "log_gain": "much"}, {**NORMALISATION, "kind": "zscore"}),
            )
        ),
    ],
)
def test_a_value_that_no_model_has_is_refused_with_key_value_and_what_was_wanted(changed, key, value, wanted):
    with pytest.raises(ValueError, match=rf"model\.json: key '{key}' is .*, wanted {wanted}.*; take the model's files"):
        read_card(changed(**{key: value}))


def test_a_long_value_is_shown_by_its_beginning(changed):
    with pytest.raises(ValueError, match=r"key 'architecture' is \['x+\.\.\., wanted a name"):
        read_card(changed(architecture=["x" * 10_000]))
