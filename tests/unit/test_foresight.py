"""Where cells are expected, from steps with a known answer."""

import numpy as np
import pytest

from cytolapse.foresight import NOTHING, Foresight, expected_steps, measure_company, measure_steadiness


def test_the_steadiness_of_cells_is_the_part_of_a_step_that_is_repeated():
    frame = np.tile(np.arange(4), 2)
    track = np.repeat([0, 1], 4)
    line = np.column_stack([3.0 * frame, 4.0 * frame])
    slowing = np.column_stack([np.tile([0, 8, 12, 14.0], 2), np.zeros(8)])
    to_and_fro = np.column_stack([frame % 2, frame % 2]).astype(float)

    assert measure_steadiness(frame, line, track) == pytest.approx((1.0, 5.0))
    assert measure_steadiness(frame, slowing, track)[0] == pytest.approx(0.5)
    assert measure_steadiness(frame, to_and_fro, track)[0] == 0
    # no cell is seen in three frames in a row
    assert measure_steadiness(2 * frame, line, track) == (0.0, 0.0)


def moving(ways, frames=4):
    """Frame, place and track of cells 10 um apart that go 2 um a frame, each its way (y, x)."""
    ways = np.array(ways, float)
    frame, track = np.repeat(np.arange(frames), len(ways)), np.tile(np.arange(len(ways)), frames)
    place = np.column_stack([10.0 * track, np.zeros(len(track))]) + 2.0 * frame[:, None] * ways[track]
    return frame, place, track


def test_the_company_of_cells_is_1_where_all_flow_together_and_0_where_each_goes_its_own_way():
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 400)
    parting = [(0, 1) if cell < 20 else (0, -1) for cell in range(40)]

    assert measure_company(*moving([(0, 1)] * 9)) == pytest.approx(1)
    assert measure_company(*moving(np.column_stack([np.sin(angle), np.cos(angle)]))) < 0.1
    # two streams side by side: only those between them have neighbours of both
    assert measure_company(*moving(parting)) > 0.9


@pytest.mark.parametrize("cells", [0, 1])
def test_without_company_none_is_measured(cells):
    assert measure_company(*moving(np.ones((cells, 2)))) == 0


def test_a_cell_is_no_company_of_its_own():
    # of two cells that part, each goes against the other
    assert measure_company(*moving([(-1, 0), (1, 0)])) == 0


def test_a_cell_without_a_step_goes_as_those_around_it_and_any_other_by_its_own():
    place = np.column_stack([10.0 * np.arange(20), np.zeros(20)])
    step = np.repeat([[0.0, 2.0], [0.0, -4.0]], 10, axis=0)
    step[[4, 15]] = np.nan

    expected = expected_steps(place, step, Foresight(0.5, 1.0))

    assert expected[[4, 15]].tolist() == [[0, 2], [0, -4]]
    assert expected[[3, 14]].tolist() == [[0, 1], [0, -2]]
    assert not expected_steps(place, step, NOTHING).any()
    # nobody around is known to have moved
    assert not expected_steps(place, np.full_like(step, np.nan), Foresight(1.0, 1.0)).any()
