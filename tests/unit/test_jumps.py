"""Areas that jump, drawn by hand."""

import numpy as np
import pytest

from cytolapse.jumps import area_jumps


def test_one_bad_mask_lies_aside_and_its_neighbours_are_jumps_too():
    area_um2 = np.array([10, 10.1, 15, 10.2, 10.3])

    jumps, aside = area_jumps(area_um2, np.arange(5), np.ones(5, int), area_jump=0.2)

    assert jumps.tolist() == [False, True, True, True, False]
    assert aside.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("later_um2", [20, 5])
def test_of_two_levels_with_as_many_frames_the_later_lies_aside(later_um2):
    areas = np.array([10, 10, later_um2, later_um2])

    jumps, aside = area_jumps(areas, np.arange(4), np.ones(4, int), area_jump=0.2)

    assert jumps.tolist() == [False, True, True, False]
    assert aside.tolist() == [False, False, True, True]


def test_a_cell_that_halved_unseen_is_known_by_its_growth_before_or_behind_and_not_by_a_line_through_both():
    frame = np.r_[0:4, 20:24]
    areas = 10 * 1.02**frame * np.where(frame < 20, 1.0, 0.5)
    steady = 10 * 1.02 ** np.arange(24)

    aside = area_jumps(
        np.concatenate([areas, steady]),
        np.concatenate([frame, np.arange(24)]),
        np.repeat([1, 2], [8, 24]),
        area_jump=0.2,
    )[1]

    assert np.flatnonzero(aside).tolist() == [4, 5, 6, 7]


def test_a_mask_that_holds_a_neighbour_for_some_frames_lies_aside_for_all_of_them():
    grown = 10 * 1.05 ** np.arange(12)
    area_um2 = np.where((np.arange(12) >= 4) & (np.arange(12) < 8), 1.9, 1.0) * grown

    aside = area_jumps(area_um2, np.arange(12), np.ones(12, int), area_jump=0.2)[1]

    assert np.flatnonzero(aside).tolist() == [4, 5, 6, 7]


def test_what_a_track_was_before_it_lost_half_its_area_for_good_lies_aside():
    area_um2 = np.where(np.arange(9) < 3, 20.0, 10.0)
    areas = np.concatenate([area_um2, np.full(9, 10.0)])

    aside = area_jumps(areas, np.tile(np.arange(9), 2), np.repeat([1, 2], 9), area_jump=0.2)[1]

    assert np.flatnonzero(aside).tolist() == [0, 1, 2]


@pytest.mark.parametrize("bad", [0, 4])
def test_a_bad_mask_at_either_end_of_a_track_lies_aside(bad):
    area_um2 = np.full(5, 10.0)
    area_um2[bad] = 6

    assert np.flatnonzero(area_jumps(area_um2, np.arange(5), np.ones(5, int), area_jump=0.2)[1]).tolist() == [bad]


def test_steady_growth_at_a_slow_frame_rate_is_no_jump_and_neither_is_a_gap():
    frame = np.array([0, 1, 2, 5, 6, 0, 1, 2])
    track = np.array([1, 1, 1, 1, 1, 2, 2, 2])

    jumps, aside = area_jumps(3 * 2 ** (frame / 2), frame, track, area_jump=0.2)

    assert not jumps.any()
    assert not aside.any()


def test_without_neighbours_nothing_jumps():
    jumps, aside = area_jumps(np.array([1.0, 50.0]), np.array([0, 0]), np.array([1, 2]), area_jump=0.2)

    assert not jumps.any()
    assert not aside.any()
