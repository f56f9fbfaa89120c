"""The models that ship in resources/."""

import json
from pathlib import Path

import pytest

from cytolapse.cards import CHOSEN
from cytolapse.models import load_model, weights_digest

MODELS = Path(__file__).parents[2] / "resources/models"


@pytest.mark.parametrize("name", sorted(path.name for path in MODELS.iterdir()))
def test_a_shipped_model_can_be_used_and_is_what_its_files_say(name):
    folder = MODELS / name
    model = load_model(folder / "weights.safetensors")
    described = json.loads((folder / "model.json").read_text())

    assert described["digest"] == weights_digest(model.network.state_dict())
    assert [described[choice] for choice in CHOSEN] == [getattr(model, choice) for choice in CHOSEN]
    assert (folder / "weights.safetensors").stat().st_size < 25e6


@pytest.mark.parametrize("name", sorted(path.parent.name for path in MODELS.glob("*/README.md")))
def test_the_card_of_a_shipped_model_names_the_weights_that_lie_beside_it(name):
    described = json.loads((MODELS / name / "model.json").read_text())

    assert described["digest"] in (MODELS / name / "README.md").read_text()
