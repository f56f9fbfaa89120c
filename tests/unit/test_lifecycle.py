"""Growth of simulated cells and the rules by which they divide."""

import math
from dataclasses import replace

import numpy as np
import pytest

from cytolapse.lifecycle import division_sizes, division_times, growth_rates, lognormal, sizes
from cytolapse.scenarios import Simulation

RODS = Simulation(grows="area", division_cv=0.1)


def cells_of(birth_size, *, rate_per_h=1.0, birth_time_h=0.0, division_size=np.nan):
    kinds = [(name, "f8") for name in ("birth_time_h", "birth_size", "division_size", "growth_rate_per_h")]
    cells = np.zeros(len(np.atleast_1d(birth_size)), kinds)
    cells["birth_size"], cells["division_size"] = birth_size, division_size
    cells["birth_time_h"], cells["growth_rate_per_h"] = birth_time_h, rate_per_h
    return cells


def slope_of_division_size(rule, rng):
    """Of size at division against size at birth, over 20,000 cells."""
    birth_size = RODS.birth_size * rng.uniform(0.7, 1.3, 20_000)
    division_size = division_sizes(birth_size, np.ones(20_000), replace(RODS, division_rule=rule), rng)
    return np.polyfit(birth_size, division_size, 1)[0]


@pytest.mark.parametrize(("rule", "slope"), [("sizer", 0.0), ("adder", 1.0), ("timer", 2.0)])
def test_size_at_division_depends_on_size_at_birth_as_the_rule_says(rule, slope):
    assert slope_of_division_size(rule, np.random.default_rng(1)) == pytest.approx(slope, abs=0.03)


def test_a_timer_without_noise_divides_after_its_doubling_time():
    exact = replace(RODS, division_rule="timer", division_cv=0.0)
    birth_size = np.array([1.0, 3.0])

    division_size = division_sizes(birth_size, np.array([1.0, 2.0]), exact, np.random.default_rng(0))

    assert division_size == pytest.approx(2 * birth_size)


def test_a_cell_born_above_the_size_of_a_sizer_still_grows_before_it_divides():
    sizer = replace(RODS, division_rule="sizer")

    division_size = division_sizes(np.array([9 * RODS.birth_size]), np.ones(1), sizer, np.random.default_rng(0))

    assert division_size == pytest.approx(9.9 * RODS.birth_size)


@pytest.mark.parametrize("trend", [-0.5, 0.0, 1.0])
def test_size_is_the_integral_of_the_rate_and_division_is_when_it_is_reached(trend):
    changing = replace(RODS, growth_trend=trend, shift_time_h=0.4, shift_factor=0.5)
    hours = np.linspace(-0.2, 0.9, 4001)
    cells = cells_of(np.full(len(hours), 2.0), birth_time_h=-0.2)

    rates_per_h, size = growth_rates(cells, hours, changing), sizes(cells, hours, changing)

    steps = (rates_per_h[1:] + rates_per_h[:-1]) / 2 * np.diff(hours)
    assert np.log(size / 2) == pytest.approx(np.concatenate([[0], steps.cumsum()]), abs=1e-3)
    cells["division_size"] = size
    assert division_times(cells, changing) == pytest.approx(hours)


def test_a_rate_that_rises_has_the_cells_own_value_in_the_middle_of_a_doubling():
    rising = replace(RODS, growth_trend=0.4)
    cells = cells_of([1.0, 1.0, 1.0])

    rates_per_h = growth_rates(cells, np.array([0, 0.5, 1]) * math.log(2), rising)

    assert rates_per_h == pytest.approx([0.8, 1.0, 1.2])


def test_a_shift_changes_the_pace_of_all_cells_from_its_time_on():
    shifted = replace(RODS, shift_time_h=1.0, shift_factor=0.5)

    rates_per_h = growth_rates(cells_of([1.0, 1.0]), np.array([0.99, 1.0]), shifted)

    assert rates_per_h == pytest.approx([1.0, 0.5])


def test_lognormal_numbers_have_the_mean_and_variation_asked_for():
    drawn = lognormal(5.0, 0.3, 100_000, np.random.default_rng(0))

    assert drawn.mean() == pytest.approx(5, rel=0.01)
    assert drawn.std() / drawn.mean() == pytest.approx(0.3, rel=0.02)
