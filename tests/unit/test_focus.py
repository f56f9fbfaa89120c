import math

import numpy as np
import pytest
from drawn import field

from cytolapse.focus import focus_score, is_blank, out_of_focus
from cytolapse.illumination import background_of_frame, surroundings


@pytest.mark.parametrize("plane", [
    np.zeros((64, 64), np.uint16),
    np.full((64, 64), 7, np.uint8),
    field(cells=0),
    np.random.default_rng(0).poisson(0.05, (256, 256)).astype(np.uint8),
    np.random.default_rng(0).normal(0, 1, (128, 128)).astype(np.float32),
    np.ones((1, 1), np.uint8),
], ids=["zeros", "constant", "noise", "few counts", "float noise", "one pixel"])  # fmt: skip
def test_a_plane_of_nothing_but_noise_is_blank(plane):
    assert is_blank(plane, blank_contrast=8)


def test_hot_pixels_and_uneven_light_do_not_make_a_picture():
    plane = field(cells=0)
    plane[np.random.default_rng(1).random(plane.shape) < 0.001] = 60000
    slope = np.linspace(0, 40, 256).astype(np.uint16)

    assert is_blank(plane, blank_contrast=8)
    assert is_blank(field(cells=0) + slope, blank_contrast=8)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_single_dim_cell_is_a_picture(dtype):
    plane = field(cells=0)
    plane[100:115, 100:115] += 12

    assert not is_blank(plane.astype(dtype), blank_contrast=8)


def outside(plane):
    nothing = surroundings(np.zeros(plane.shape, np.uint16), ring_gap_px=2, ring_px=5, spread_px=0)
    return background_of_frame(plane, nothing)


def test_a_blurred_picture_has_a_lower_focus_score_also_when_it_is_as_noisy_as_the_sharp_one():
    scores = [focus_score(plane, outside(plane)) for plane in (field(blur_px=blur) for blur in (0, 2, 4, 6))]

    assert scores == sorted(scores, reverse=True)
    assert scores[1] < scores[0] / 2


def test_the_focus_score_hardly_depends_on_how_bright_and_how_many_the_cells_are():
    few, many = field(cells=5), field(cells=20)
    bright = (field(cells=5, noise_au=0).astype(int) * 4 - 300).astype(np.uint16)

    assert focus_score(many, outside(many)) == pytest.approx(focus_score(few, outside(few)), rel=0.25)
    assert focus_score(bright, outside(bright)) == pytest.approx(focus_score(few, outside(few)), rel=0.25)


def test_where_there_is_nothing_to_be_sharp_there_is_no_focus_score():
    plane = field(cells=0)

    assert math.isnan(focus_score(plane, outside(plane)._replace(sd_au=10)))


def test_a_frame_far_less_sharp_than_its_neighbours_is_flagged_and_a_slow_change_is_not():
    score = np.linspace(10, 5, 30)
    score[[12, 13]] = 1.0
    score[20] = np.nan

    flagged = out_of_focus(score, focus_window_frames=9, focus_drop=0.5)

    assert np.flatnonzero(flagged).tolist() == [12, 13]


def test_of_fewer_than_three_frames_none_is_flagged():
    assert not out_of_focus(np.array([10.0, 0.1]), focus_window_frames=9, focus_drop=0.5).any()
