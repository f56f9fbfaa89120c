"""A rod that constricts: known at both ends, reversible in between."""

import math

import pytest

from cytolapse.rods import rod_area, rod_length, rod_volume


def test_a_rod_as_long_as_wide_is_a_sphere():
    assert rod_area(2.0, 1.0, 0.0) == pytest.approx(math.pi)
    assert rod_volume(2.0, 1.0, 0.0) == pytest.approx(4 / 3 * math.pi)


def test_a_fully_constricted_rod_is_two_rods():
    assert rod_area(5.0, 0.5, 1.0) == pytest.approx(rod_area(2.0, 0.5, 0.0) + rod_area(3.0, 0.5, 0.0))
    assert rod_volume(5.0, 0.5, 1.0) == pytest.approx(rod_volume(2.0, 0.5, 0.0) + rod_volume(3.0, 0.5, 0.0))


@pytest.mark.parametrize("constriction", [0.0, 0.4, 1.0])
def test_the_length_of_a_rod_is_found_again_from_its_size(constriction):
    assert rod_length(3.0, 0.5, constriction, "length") == 3.0
    assert rod_length(rod_area(3.0, 0.5, constriction), 0.5, constriction, "area") == pytest.approx(3.0)
    assert rod_length(rod_volume(3.0, 0.5, constriction), 0.5, constriction, "volume") == pytest.approx(3.0)
