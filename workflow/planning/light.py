"""What config says of channels and of images of dark, flat and empty fields, checked against the experiments."""

import os
from collections.abc import Iterator, Mapping

from planning.checks import did_you_mean
from planning.settings import block_of

# The settings that are stated by channel.
_BY_CHANNEL = (
    *(("measure", key) for key in ("dark", "flat_field", "blank")),
    *(("analyse", key) for key in ("crosstalk", "autofluorescence_au", "bleached_per_exposure")),
)


def light_images(settings: Mapping, experiment: str, row: Mapping) -> list[str]:
    """The images that an experiment's light is corrected by, each once."""
    measure = block_of(settings, "measure", experiment)
    named = {
        path
        for key in ("dark", "flat_field", "blank")
        for channel, path in measure[key].items()
        if channel in row["channels"] and isinstance(path, str)
    }
    return sorted(named)


def light_problems(settings: Mapping, experiments: Mapping[str, Mapping]) -> list[str]:
    """Everything that is wrong with what config says of channels, a sentence each.

    A channel that some experiment has may be named for all: it counts where
    it is. One that is named in `overrides` must be of that experiment.

    Parameters
    ----------
    settings : mapping
        As `read_settings` returns them.
    experiments : mapping of str to mapping
        Rows of experiments.tsv, `channels` as a list.
    """
    everywhere = [channel for row in experiments.values() for channel in row["channels"]]
    wrong = [
        *_unknown_channels("config: ", settings, everywhere, "of any experiment"),
        *_missing_images("config: ", settings["measure"]),
    ]
    for experiment, blocks in settings["overrides"].items():
        if experiment in experiments:
            place = f"config: overrides.{experiment}."
            channels = experiments[experiment]["channels"]
            wrong += _unknown_channels(place, blocks, channels, f"of the experiment {experiment}")
            wrong += _missing_images(place, blocks.get("measure", {}))
    for experiment, row in experiments.items():
        wrong += _compartment_problems(experiment, row, block_of(settings, "measure", experiment))
    return wrong


def _unknown_channels(place: str, blocks: Mapping, channels: list[str], of: str) -> Iterator[str]:
    for block, key in _BY_CHANNEL:
        stated = blocks.get(block, {}).get(key, {})
        sources = [source for sources in stated.values() if isinstance(sources, Mapping) for source in sources]
        for channel in [*stated, *sources]:
            if channel not in channels:
                near = did_you_mean(channel, channels)
                yield f"{place}{block}.{key}: {channel!r} is no channel {of}{near}; correct the name, or remove it"


def _missing_images(place: str, measure: Mapping) -> Iterator[str]:
    for key in ("dark", "flat_field", "blank"):
        for channel, path in measure.get(key, {}).items():
            if isinstance(path, str) and not os.path.isfile(path):
                yield f"{place}measure.{key}.{channel}: there is no file {path}; correct the name, or remove it"


def _compartment_problems(experiment: str, row: Mapping, measure: Mapping) -> Iterator[str]:
    channel, place = measure["nucleus_channel"], f"config: measure of experiment {experiment}"
    if channel is not None and channel not in row["channels"]:
        near = did_you_mean(channel, row["channels"])
        yield (
            f"{place}: nucleus_channel is {channel!r}, and the channels are {', '.join(row['channels'])}{near}; "
            f"correct it, or set it for one experiment alone (overrides.{experiment}.measure.nucleus_channel)"
        )
    if channel is not None and row["object"] == "nucleus":
        yield (
            f"{place}: nucleus_channel is {channel!r}, but the masks are of nuclei already (column object); set it to "
            "null, and nuclear_ring_px for the ring around them"
        )
    reach = measure["nuclear_ring_gap_px"] + measure["nuclear_ring_px"]
    inside = measure["background"] == "local" and measure["ring_gap_px"] < reach
    if row["object"] == "nucleus" and measure["nuclear_ring_px"] and inside:
        yield (
            f"{place}: the ring around nuclei reaches {reach} px, and background is taken from "
            f"{measure['ring_gap_px']} px on, so that cytoplasm would count as background; set background to "
            f"frame, or ring_gap_px to {reach} or more"
        )
