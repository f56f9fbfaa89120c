"""What a model says of itself, in its file and in model.json beside it: checked before it is believed."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

CLASSES = ("cell", "edge")
CHOSEN = ("threshold", "split_depth", "split_neck", "min_confidence")
"""Settings of labelling that a model brings along, as chosen in training; the configuration may say otherwise."""

_REMEDY = "take the model's files as Cytolapse wrote them: copy both again, or train the model again"


def read_card(path: str | os.PathLike, required: Sequence[str] = ()) -> dict[str, Any]:
    """Content of model.json.

    Parameters
    ----------
    path : path
        The file beside a model's weights.
    required : sequence of str
        Keys that are needed.

    Raises
    ------
    ValueError
        If the file is no JSON object, lacks a key, or holds a value that no
        model has.
    """
    try:
        card = json.loads(Path(path).read_text(encoding="utf-8"))
    # Brackets may be nested deeper than Python can follow.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"model {path}: is no JSON ({error}); {_REMEDY}") from error
    check_card(f"model {path}", card, required)
    return card


def check_card(place: str, card: object, required: Sequence[str] = ()) -> None:
    """See that what a model says of itself is what a model can say.

    Parameters
    ----------
    place : str
        How messages begin.
    card : object
        As parsed from JSON.
    required : sequence of str
        Keys that are needed; others may be missing, but not hold nonsense.

    Raises
    ------
    ValueError
        If it is no object, a key is missing, or a value is of another type or
        out of range.
    """
    if not isinstance(card, Mapping):
        raise ValueError(f"{place}: holds {_shown(card)}, wanted an object of keys and values; {_REMEDY}")
    missing = [key for key in required if key not in card]
    if missing:
        raise ValueError(
            f"{place}: has no {', '.join(map(repr, missing))}; it was written by another version of Cytolapse: use "
            "that version, or train the model again"
        )
    for key, (fits, wanted) in _WANTED.items():
        if key in card and not fits(card[key]):
            raise ValueError(f"{place}: key {key!r} is {_shown(card[key])}, wanted {wanted}; {_REMEDY}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _between(lowest: float, highest: float) -> Callable[[object], bool]:
    """Whether a value is a number in a range; infinity and NaN, which Python's JSON knows, are in none."""
    return lambda value: _is_number(value) and lowest <= value <= highest


def _is_normalisation(value: object) -> bool:
    if not isinstance(value, Mapping) or value.get("kind") != "percentile":
        return False
    clip, percent = value.get("clip"), _between(0, 100)
    if not (isinstance(clip, list) and len(clip) == 2 and all(map(_between(-1e6, 1e6), clip)) and clip[0] < clip[1]):
        return False
    low, high = value.get("low"), value.get("high")
    return percent(low) and percent(high) and low < high and _between(0, 1e6)(value.get("log_gain", 0.0))


# Bounds that no training reaches, and within which memory holds: a frame is enlarged by the scale.
_WANTED: dict[str, tuple[Callable[[object], bool], str]] = {
    "architecture": (lambda value: isinstance(value, str), "a name"),
    "channels": (lambda value: isinstance(value, int) and _between(1, 100)(value), "a whole number from 1 to 100"),
    "classes": (lambda value: value == list(CLASSES), f"the list {json.dumps(CLASSES)}"),
    "normalisation": (
        _is_normalisation,
        "the kind percentile, the percentiles low and high, clip (two limits), and log_gain",
    ),
    "pixel_size_um": (lambda value: value is None or _between(1e-6, 1e6)(value), "null, or micrometres above 0"),
    "cell_area_px": (_between(1e-3, 1e9), "a number of pixels above 0"),
    "small_part": (_between(0, 1), "a number from 0 to 1"),
    "scale": (_between(0.1, 2), "a number from 0.1 to 2"),
    "threshold": (_between(0, 1), "a number from 0 to 1"),
    "split_depth": (_between(0, 2), "a number from 0 to 2"),
    "split_neck": (_between(0, 1), "a number from 0 to 1"),
    "min_confidence": (_between(0, 1), "a number from 0 to 1"),
    "trained": (lambda value: isinstance(value, Mapping), "an object of keys and values"),
    "metrics": (lambda value: isinstance(value, Mapping), "an object of keys and values"),
    "digest": (lambda value: isinstance(value, str), "the digest of the tensors, in hexadecimal digits"),
}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
