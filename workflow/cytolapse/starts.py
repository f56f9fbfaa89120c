"""The shipped models that a training may start from."""

from pathlib import Path

from cytolapse.cards import read_card

AUTO = "auto"
"""For `start_from`: the shipped model that suits the annotated images, or random weights."""

REPOSITORY = Path(__file__).parents[2]
_MODELS = ("nuclei", "phase")


def shipped_starts(architecture: str) -> list[Path]:
    """Model files of the shipped models for users' cells that hold this network.

    Parameters
    ----------
    architecture : str
        One of `networks.ARCHITECTURES`.

    Returns
    -------
    list of Path
        weights.safetensors of each; none where the folder resources/models
        was not copied along.

    Raises
    ------
    ValueError
        If a model.json cannot be believed (`cards.read_card`).
    """
    folders = [REPOSITORY / "resources/models" / name for name in _MODELS]
    return [
        folder / "weights.safetensors"
        for folder in folders
        if (folder / "weights.safetensors").is_file()
        and read_card(folder / "model.json", ["architecture"])["architecture"] == architecture
    ]


def name_of_start(path: Path) -> str:
    """A shipped model as it is named in a model trained from it, the same on every machine."""
    return path.parent.relative_to(REPOSITORY).as_posix()
