"""Numbers and settings as words, for people to read."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

UNSTATED = "not stated"
ALL_MOVIES = "all movies"
LONGEST_LIST = 20
LONGEST_IN_MINUTES_H = 2.0


def number(value: float | None) -> str:
    """A number for reading: a count in full, an estimate with three significant digits.

    Parameters
    ----------
    value : int, float or None
        None, NaN and infinity give a dash.
    """
    if value is None or pd.isna(value) or math.isinf(value):
        return "–"
    if isinstance(value, int | np.integer) or value == 0:
        return f"{int(value):,}".replace("-", "−")
    decimals = 2 - math.floor(math.log10(abs(value)))
    return f"{value:,.{min(max(0, decimals), 12)}f}".replace("-", "−")


def exact(value: float | None) -> str:
    """A number that was set, not estimated, for reading: no zeros behind; unknown is a dash."""
    return "–" if pd.isna(value) else f"{value:.4g}"


def counted(count: int, noun: str) -> str:
    """'1 movie', '2 movies'."""
    plural = {"nucleus": "nuclei"}.get(noun, f"{noun}s")
    return f"{number(count)} {noun if count == 1 else plural}"


def shortened(name: str, length: int) -> str:
    """A name of at most `length` characters, the last of which says that more was cut off."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def rate_words(rate: float, low: float, high: float) -> dict[str, str]:
    """A rate and its doubling time, each with its interval; in minutes where cells double within two hours.

    Parameters
    ----------
    rate, low, high : float
        Per hour, and the ends of its interval; NaN where unknown.

    Returns
    -------
    dict of str to str
        rate, interval, doubling and doubling_interval.
    """
    minutes = rate > math.log(2) / LONGEST_IN_MINUTES_H
    return {
        "rate": number(rate),
        "interval": "–" if math.isnan(low) else f"{number(low)} to {number(high)}",
        "doubling": _doubling_words(rate, minutes),
        "doubling_interval": _doubling_interval(low, high, minutes),
    }


def _doubling_words(rate: float, minutes: bool) -> str:
    if math.isnan(rate):
        return "–"
    if rate <= 0:
        return "does not grow"
    return f"{_doubling_time(rate, minutes)} {'min' if minutes else 'h'}"


def _doubling_time(rate: float, minutes: bool) -> str:
    return number(math.log(2) / rate * (60 if minutes else 1))


def _doubling_interval(low: float, high: float, minutes: bool) -> str:
    if math.isnan(low) or high <= 0:
        return "–"
    unit = "min" if minutes else "h"
    if low <= 0:
        return f"above {_doubling_time(high, minutes)} {unit}"
    return f"{_doubling_time(high, minutes)} to {_doubling_time(low, minutes)} {unit}"


def flattened(values: Mapping, before: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, text) pairs, in order.

    Parameters
    ----------
    values : mapping
        Of JSON values.
    before : str
        Name that all of them stand under.
    """
    pairs = []
    for key, value in values.items():
        name = f"{before}.{key}" if before else str(key)
        if isinstance(value, Mapping) and value:
            pairs += flattened(value, name)
        else:
            pairs.append((name, _value_text(value)))
    return pairs


def _value_text(value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) > LONGEST_LIST:
            return f"{len(value)} values"
        return ", ".join(_value_text(each) for each in value) or "none"
    if isinstance(value, Mapping):
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
