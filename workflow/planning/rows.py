"""What is wrong with a row of experiments.tsv, besides what its schema says."""

import re
from collections.abc import Mapping

from cytolapse.engines import ENGINES
from planning.checks import did_you_mean, read_schema
from planning.settings import SEGMENTERS


def segmenter_problems(place: str, row: Mapping, models: Mapping) -> list[str]:
    """A segmenter without its model or label images, or with those of another; a sentence each, `place` before it."""
    segmenter, model, wrong = row["segmenter"], row.get("model"), []
    known = ", ".join(models) or "none yet"
    if segmenter == "cytolapse" and model is None:
        described = read_schema("experiments")["properties"]["model"]["description"]
        wrong.append(
            f"{place}: model is missing ({described[0].lower()}{described[1:].rstrip('.')}); there are {known}; "
            f"or choose another segmenter (column segmenter: {', '.join(SEGMENTERS)})"
        )
    elif segmenter == "cytolapse" and model not in models:
        wrong.append(
            f"{place}: the model {model!r} is not one of `models` in config.yaml{did_you_mean(model, models)}; "
            f"there are {known}"
        )
    elif segmenter != "cytolapse" and model is not None:
        instead = f"; its own stands in config.yaml ({segmenter}.model)" if segmenter in ENGINES else ""
        wrong.append(
            f"{place}: names the model {model!r}, which the segmenter {segmenter} does not use{instead}; "
            "empty the cell (column model)"
        )
    if segmenter == "labels" and "labels" not in row:
        wrong.append(
            f"{place}: the segmenter is labels, and the column labels does not say where they are; "
            "write masks/{movie}.tif or the like"
        )
    elif segmenter != "labels" and "labels" in row:
        wrong.append(
            f"{place}: names label images (column labels), which the segmenter {segmenter} does not read; "
            "empty the cell, or write labels in the column segmenter"
        )
    return wrong


def channel_problems(place: str, row: Mapping) -> list[str]:
    """Channels that are no names, stand twice, or lack the one that is segmented; a sentence each."""
    channels, wrong = row["channels"], []
    if row["segment_channel"] not in channels:
        near = did_you_mean(row["segment_channel"], channels)
        wrong.append(
            f"{place}: segment_channel {row['segment_channel']!r} is none of the channels {', '.join(channels)}{near}"
        )
    wrong += [
        f"{place}: the channel {channel!r} (column channels) is no name; wanted letters, digits, '_' and '-'"
        for channel in channels
        if not re.fullmatch(r"[A-Za-z0-9_-]+", channel)
    ]
    wrong += [
        f"{place}: the channel {channel!r} stands twice in column channels"
        for channel in sorted({c for c in channels if channels.count(c) > 1})
    ]
    return wrong
