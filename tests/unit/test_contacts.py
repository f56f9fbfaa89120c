"""Cells that touch: pushed apart as rigid bodies."""

import math

import numpy as np
import pytest

from cytolapse.contacts import distance_to_segments, push_apart


def cells_at(*places):
    """Cells by the places of their centres and the angles of their axes."""
    return np.array(list(places), [("y_um", "f8"), ("x_um", "f8"), ("angle_rad", "f8")])


def test_two_rods_side_by_side_part_until_they_hardly_overlap_and_their_middle_stays():
    cells = cells_at((5.0, 5.0, 0.0), (5.0, 5.6, 0.0))

    push_apart(cells, np.array([3.0, 3.0]), np.array([1.0, 1.0]))

    assert cells["x_um"][1] - cells["x_um"][0] == pytest.approx(1.0, abs=0.02)
    assert cells["x_um"].mean() == pytest.approx(5.3)
    assert cells["angle_rad"] == pytest.approx([0, 0], abs=1e-6)


def test_rods_that_do_not_touch_stay_where_they_are():
    cells = cells_at((5.0, 5.0, 0.3), (5.0, 7.0, 0.0))
    before = cells.copy()

    push_apart(cells, np.array([3.0, 3.0]), np.array([1.0, 1.0]))

    assert (cells == before).all()


def test_a_rod_hit_at_its_end_turns_away():
    cells = cells_at((0.0, 0.0, 0.0), (1.4, 0.7, math.pi / 2))

    push_apart(cells, np.array([3.0, 2.0]), np.array([1.0, 1.0]))

    # hit from the side of larger x, the end at larger y goes towards smaller x
    assert cells["angle_rad"][0] < -0.01


def test_the_nearest_point_of_a_segment_is_an_end_or_below_the_point():
    points = np.array([[1.0, 2.0], [5.0, 4.0]])

    distance, nearest = distance_to_segments(points, np.array([0.0, 0.0]), np.array([2.0, 0.0]))

    assert distance == pytest.approx([2.0, 5.0])
    assert nearest.tolist() == [[1.0, 0.0], [2.0, 0.0]]
