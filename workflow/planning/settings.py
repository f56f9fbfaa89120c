"""config.yaml: checked, defaults filled in, and overridden by experiment."""

import copy
from collections.abc import Mapping
from itertools import chain

from planning.checks import did_you_mean, problems, read_schema, with_defaults

# What can segment an experiment, and the blocks of config.yaml that it is set by.
SEGMENTERS = {
    "cytolapse": ("segment", "label"),
    "cellpose": ("cellpose",),
    "stardist": ("stardist",),
    "threshold": ("threshold",),
    "labels": (),
}
# The blocks that `overrides` may set for one experiment.
BY_EXPERIMENT = (
    "inspect",
    *chain.from_iterable(SEGMENTERS.values()),
    *("measure", "shading", "link", "analyse", "controls", "overlay", "population", "report"),
)


def read_settings(config: Mapping) -> dict:
    """The config with its defaults, or everything that is wrong with it.

    Parameters
    ----------
    config : mapping
        As Snakemake read it from the config files.

    Raises
    ------
    ValueError
        If a key is unknown, has the wrong type or is out of range: all that
        is wrong, a line each.
    """
    schema = read_schema("config")
    wrong = problems(schema, config, "config")
    for experiment, blocks in _mapping(config.get("overrides")).items():
        for block, values in _mapping(blocks).items():
            if block not in BY_EXPERIMENT:
                wrong.append(
                    f"config: overrides.{experiment}.{block} cannot be overridden{did_you_mean(block, BY_EXPERIMENT)}; "
                    f"the blocks that can are {', '.join(BY_EXPERIMENT)}"
                )
            else:
                wrong += problems(schema["properties"][block], values, f"config, overrides.{experiment}.{block}")
    for name, model in _mapping(config.get("models")).items():
        wrong += _model_problems(name, _mapping(model), schema)
    if wrong:
        raise ValueError("\n".join(wrong))
    settings = with_defaults(schema, config)
    wrong = _tile_problems("config: segment", settings["segment"])
    wrong += _size_problems("config", settings["measure"], settings["analyse"])
    for experiment in settings["overrides"]:
        segment, measure, analyse = (block_of(settings, name, experiment) for name in ("segment", "measure", "analyse"))
        place = f"config: overrides.{experiment}"
        wrong += _tile_problems(f"{place}.segment", segment)
        wrong += _size_problems(place, measure, analyse)
    if wrong:
        raise ValueError("\n".join(wrong))
    return settings


def _tile_problems(place: str, segment: Mapping) -> list[str]:
    tile_px, overlap_px = segment["tile_px"], segment["overlap_px"]
    # Both are rounded up to the network's stride; 32 is the largest.
    if -(-tile_px // 32) >= 2 * -(-overlap_px // 32):
        return []
    return [
        f"{place}: tile_px is {tile_px}, overlap_px {overlap_px}; wanted tiles of twice the overlap or more, both "
        "rounded up to a multiple of 32"
    ]


def _size_problems(place: str, measure: Mapping, analyse: Mapping) -> list[str]:
    if analyse["size_quantity"] != "volume" or measure["volume_model"] != "none":
        return []
    return [
        f"{place}: analyse.size_quantity is volume, and measure.volume_model is none, so that no cell has one; "
        "set volume_model to rod or ellipsoid, or size_quantity to area or length"
    ]


def _mapping(value: object) -> Mapping:
    return value if isinstance(value, Mapping) else {}


def _model_problems(name: str, model: Mapping, schema: Mapping) -> list[str]:
    wrong = []
    sources = [key for key in ("weights", "annotations") if key in model]
    if len(sources) != 1:
        found = "both" if sources else "neither"
        wrong.append(
            f"config: models.{name}: found {found} of weights and annotations, wanted one: weights (a folder with "
            "weights.safetensors and model.json, ready to use) or annotations (a folder to train from)"
        )
    wrong += [
        f"config: models.{name}.{key}: has no meaning beside weights, which are ready to use; remove it"
        for key in ("architecture", "start_from", "train", "pixel_size_um")
        if "weights" in model and key in model
    ]
    return wrong + problems(schema["properties"]["train"], model.get("train", {}), f"config, models.{name}.train")


def block_of(settings: Mapping, block: str, experiment: str) -> dict:
    """One block of settings as it holds for an experiment."""
    own = settings["overrides"].get(experiment, {}).get(block, {})
    return {**copy.deepcopy(dict(settings[block])), **own}
