"""Areas that jump, drawn by hand."""

import numpy as np
import pytest

from cytolapse.jumps import area_jumps


def test_one_bad_mask_is_a_lone_jump_and_its_neighbours_are_jumps_too():
    area_um2 = np.array([10, 10.1, 15, 10.2, 10.3])

    jumps, lone = area_jumps(area_um2, np.arange(5), np.ones(5, int), area_jump=0.2)

    assert jumps.tolist() == [False, True, True, True, False]
    assert lone.tolist() == [False, False, True, False, False]


def test_a_lasting_step_of_the_area_is_a_jump_but_not_a_lone_one():
    jumps, lone = area_jumps(np.array([10.0, 10, 20, 20]), np.arange(4), np.ones(4, int), area_jump=0.2)

    assert jumps.tolist() == [False, True, True, False]
    assert not lone.any()


@pytest.mark.parametrize("bad", [0, 4])
def test_a_bad_mask_at_either_end_of_a_track_is_a_lone_jump(bad):
    area_um2 = np.full(5, 10.0)
    area_um2[bad] = 6

    assert np.flatnonzero(area_jumps(area_um2, np.arange(5), np.ones(5, int), area_jump=0.2)[1]).tolist() == [bad]


def test_steady_growth_at_a_slow_frame_rate_is_no_jump_and_neither_is_a_gap():
    frame = np.array([0, 1, 2, 5, 6, 0, 1, 2])
    track = np.array([1, 1, 1, 1, 1, 2, 2, 2])

    jumps, lone = area_jumps(3 * 2 ** (frame / 2), frame, track, area_jump=0.2)

    assert not jumps.any()
    assert not lone.any()


def test_without_neighbours_nothing_jumps():
    jumps, lone = area_jumps(np.array([1.0, 50.0]), np.array([0, 0]), np.array([1, 2]), area_jump=0.2)

    assert not jumps.any()
    assert not lone.any()
