"""The models of config.yaml: those that are there, and those that are trained here from annotations."""

import os
from collections.abc import Mapping
from pathlib import Path

from cytolapse.annotations import annotations_digest, find_pairs
from cytolapse.cards import read_card
from cytolapse.discovery import fingerprint
from cytolapse.starts import AUTO, shipped_starts


class Models:
    """What the rules have to know of each model.

    Parameters
    ----------
    settings : mapping
        As `read_settings` returns them.
    fingerprints : dict
        Cache of `discovery.fingerprint`, which it adds to.
    """

    def __init__(self, settings: Mapping, fingerprints: dict):
        self._models, self._train = settings["models"], settings["train"]
        self._fingerprints = fingerprints
        self._pixel_sizes: dict[str, float | None] = {}

    def check(self) -> None:
        """Refuse weights and annotations that are not there, or do not hold together: ValueError, a line each."""
        wrong = []
        for name, model in self._models.items():
            place = f"config: models.{name}"
            if "weights" in model:
                missing = [
                    f for f in ("weights.safetensors", "model.json") if not os.path.isfile(f"{model['weights']}/{f}")
                ]
                if missing:
                    wrong.append(f"{place}.weights: {model['weights']} holds no {' and no '.join(missing)}")
            else:
                try:
                    find_pairs(model["annotations"])
                except (ValueError, OSError) as error:
                    wrong.append(f"{place}.annotations: {error}")
            wrong += [
                f"{place}.start_from: {model['start_from']} holds no weights.safetensors"
                for start in self.start_files(name)
                if start not in self._weights_trained() and not os.path.isfile(start)
            ]
        if wrong:
            raise ValueError("\n".join(wrong))

    def trained(self) -> list[str]:
        """Models that are trained here, from annotations."""
        return [name for name, model in self._models.items() if "annotations" in model]

    def _weights_trained(self) -> set[str]:
        return {f"models/{model}/weights.safetensors" for model in self.trained()}

    def folder(self, model: str) -> str:
        """The folder with a model's weights.safetensors and model.json."""
        return self._models[model].get("weights", f"models/{model}")

    def pixel_size_um(self, model: str) -> float | None:
        """Pixel size of a model's annotations, in micrometres; None where nobody has said."""
        if model not in self._pixel_sizes:
            settings = self._models[model]
            card = Path(settings["weights"], "model.json") if "weights" in settings else None
            known = read_card(card) if card else settings
            self._pixel_sizes[model] = known.get("pixel_size_um")
        return self._pixel_sizes[model]

    def ready_digest(self, model: str) -> str | None:
        """Fingerprint of a model that came ready to use; None for a trained one."""
        settings = self._models[model]
        if "weights" not in settings:
            return None
        return fingerprint(Path(settings["weights"], "weights.safetensors"), self._fingerprints)

    def annotation_files(self, model: str) -> list[str]:
        """Images and masks that a model is trained from."""
        pairs = find_pairs(self._models[model]["annotations"])
        return [str(file) for pair in pairs for file in (pair.image, pair.masks)]

    def annotations_digest(self, model: str) -> str:
        """Digest of the content of a model's annotations."""
        return annotations_digest(self._models[model]["annotations"], self._fingerprints)

    def training(self, model: str) -> dict:
        """The settings of a model's training, its own before those of all."""
        settings = self._models[model]
        own = {key: settings[key] for key in ("architecture",) if key in settings}
        blocks = self._train | settings.get("train", {}) | own
        augmentation = self._train["augmentation"] | settings.get("train", {}).get("augmentation", {})
        return {**blocks, "augmentation": augmentation, "pixel_size_um": settings.get("pixel_size_um"), "channels": 1}

    def start_from(self, model: str) -> str | None:
        """The weights that a training starts from; None for random ones, `starts.AUTO` where the training chooses."""
        start = self._models[model].get("start_from", AUTO)
        return start if start in (None, AUTO) else f"{start.rstrip('/')}/weights.safetensors"

    def start_files(self, model: str) -> list[str]:
        """The weights that the user names, which may be those of a model that is trained here first."""
        start = self.start_from(model)
        return [] if start in (None, AUTO) else [start]

    def start_digest(self, model: str) -> str | None:
        """Fingerprint of the weights that a training may start from; None for those of a model that is trained here.

        Such weights may not be there yet: the file itself, an input, says when they change.
        """
        starts = self.start_files(model)
        if self.start_from(model) == AUTO:
            starts = shipped_starts(self.training(model)["architecture"])
        known = [start for start in starts if start not in self._weights_trained()]
        return " ".join(fingerprint(start, self._fingerprints) for start in known) or None
