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


def test_a_shipped_model_is_made_from_simulated_images_and_goes_on_where_it_was_cut_off(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import shipped
    import simulatedstills

    for name, folder in (("FOLDER", "models"), ("CHECKPOINTS", "checkpoints")):
        monkeypatch.setattr(shipped, name, tmp_path / folder)

    def corners(number):
        # the best filled quarter of each
        for name, image, labels in simulatedstills.rods(number):
            parts = [(slice(y, y + 128), slice(x, x + 128)) for y in (0, 128) for x in (0, 128)]
            part = max(parts, key=lambda part: (labels[part] > 0).mean())
            yield shipped.Annotation(name, image[part], labels[part])

    train = {"steps": 1, "steps_held_out": 1, "crop_px": 32, "batch_crops": 1, "floor_roc_area": 0, "threads": 1}
    tiny = shipped.Shipped(
        tasks=(),
        simulated=lambda number: list(corners(number)),
        number=2,
        train={"architecture": "googlenet_unet_small", **train},
        what="Rods.",
        data="Two images.",
        limits="All.",
    )

    def full_disk(*_, **__):
        raise OSError("no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(shipped, "save_model", full_disk)
        with pytest.raises(OSError, match="no space"):
            shipped.make("rods", tiny)
    learned = [path.name for path in (tmp_path / "checkpoints/rods").iterdir()]
    assert sorted(learned) == ["final.safetensors", "held_out.safetensors"]

    fits = []
    saved = shipped.Checkpoints.save
    monkeypatch.setattr(shipped.Checkpoints, "save", lambda *given: fits.append(given[1]) or saved(*given))
    shipped.make("rods", tiny)

    assert not fits
    described = json.loads((tmp_path / "models/rods/model.json").read_text())
    assert described["digest"] in (tmp_path / "models/rods/README.md").read_text()
    assert not (tmp_path / "checkpoints/rods").exists()
    assert (tmp_path / "checkpoints/rods_course/training.tsv").is_file()
