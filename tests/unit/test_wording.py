"""Numbers and settings as words."""

import math

import pytest

from cytolapse.wording import flattened, number, rate_words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (0.012345, "0.0123"),
        (-2.5, "−2.50"),
        (12345.6, "12,346"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_a_number_is_written_with_three_digits_and_an_unknown_one_as_a_dash(value, text):
    assert number(value) == text


def test_nested_settings_become_dotted_names_in_words():
    settings = {"a": {"b": None, "c": [1, 2.5]}, "d": True, "e": {}, "f": list(range(50)), "g": math.nan}

    assert flattened(settings) == [
        *[("a.b", "–"), ("a.c", "1, 2.5"), ("d", "yes")],
        *[("e", "none"), ("f", "50 values"), ("g", "–")],
    ]


def test_a_fast_doubling_is_said_in_minutes():
    words = rate_words(2 * math.log(2), 1.5 * math.log(2), 3 * math.log(2))

    assert words == {
        **{"rate": "1.39", "interval": "1.04 to 2.08"},
        **{"doubling": "30.0 min", "doubling_interval": "20.0 to 40.0 min"},
    }


def test_cells_that_shrink_have_no_doubling_time():
    words = rate_words(-0.1, -0.1, -0.1)

    assert words == {
        **{"rate": "−0.100", "interval": "−0.100 to −0.100"},
        **{"doubling": "does not grow", "doubling_interval": "–"},
    }


def test_a_rate_without_an_interval_or_a_value_has_dashes():
    assert rate_words(0.1, math.nan, math.nan)["doubling_interval"] == "–"
    assert set(rate_words(math.nan, math.nan, math.nan).values()) == {"–"}
