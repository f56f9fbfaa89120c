import numpy as np
import pytest
from drawn import disks
from scipy import ndimage

from cytolapse.heights import outlined_at, relative_heights

APART = disks((120, 160), (30, 30, 12), (30, 110, 12), (85, 60, 12))


def blurred(labels, level_au, ground_au=100.0, sigma_px=2.0):
    """Disks of these levels over an even ground, as a lens shows them."""
    levels = np.append(0.0, np.broadcast_to(np.asarray(level_au, float), labels.max()))
    return ground_au + ndimage.gaussian_filter(levels[labels], sigma_px)


def cut_at(labels, image, threshold):
    """The labels as one threshold draws them."""
    grown = ndimage.grey_dilation(labels, size=(13, 13))
    return np.where(image > threshold, grown, 0)


def areas(labels):
    return np.bincount(labels.ravel())[1:]


def test_a_threshold_lies_low_on_bright_cells_and_high_on_dim_ones():
    image = blurred(APART, [1000, 500, 250])

    heights = relative_heights(APART, image, threshold=200, background=0)

    assert heights == pytest.approx([0.1, 0.2, 0.4], rel=0.05)


def test_dim_and_bright_cells_get_the_outline_that_they_have():
    image = blurred(APART, [1000, 500, 250])
    common = cut_at(APART, image, 200)
    assert areas(common)[0] > 1.3 * areas(common)[2]

    own = outlined_at(common, image, 0.5, 0.0, fill_holes=True)

    assert areas(own) == pytest.approx(areas(APART), rel=0.08)
    assert set(np.unique(own)) == {0, 1, 2, 3}


def test_at_a_lower_height_all_cells_are_larger():
    image = blurred(APART, [1000, 500, 250])
    half, tenth = (outlined_at(APART, image, part, 0.0, fill_holes=True) for part in (0.5, 0.1))

    assert (areas(tenth) > 1.15 * areas(half)).all()


@pytest.mark.parametrize("radius_px", [6, 8, 12])
def test_a_threshold_lies_as_high_on_a_small_cell_as_on_a_large_one(radius_px):
    labels = disks((120, 160), (60, 30, radius_px), (60, 110, 20))

    small, large = relative_heights(labels, blurred(labels, 1000, sigma_px=1.5), threshold=600, background=0)

    assert small == pytest.approx(large, rel=0.05)


def test_a_dim_cell_beside_a_bright_one_does_not_grow_into_its_light():
    labels = disks((80, 120), (40, 40, 14), (40, 69, 14))
    image = blurred(labels, [2000, 200])

    own = outlined_at(labels, image, 0.5, 100.0, fill_holes=True)

    assert areas(own) == pytest.approx(areas(labels), rel=0.12)
    assert ((own == 1) & (labels == 2)).sum() < 0.05 * (labels == 2).sum()


def test_where_no_background_is_seen_around_a_cell_that_of_the_movie_counts():
    labels = np.ones((40, 40), int)
    image = np.full((40, 40), 300.0)

    assert relative_heights(labels, image, threshold=200, background=100) == pytest.approx([0.5])
    assert (outlined_at(labels, image, 0.5, 100.0, fill_holes=True) == 1).all()


def test_a_region_that_is_no_brighter_than_what_surrounds_it_stays():
    image = np.full(APART.shape, 300.0)

    assert len(relative_heights(APART, image, threshold=200, background=0)) == 0
    assert (outlined_at(APART, image, 0.5, 0.0, fill_holes=True) == APART).all()


@pytest.mark.parametrize(("radius_px", "stays"), [(11, False), (9, True)])
def test_a_region_of_which_less_than_half_would_stay_stays_whole(radius_px, stays):
    labels = disks((60, 60), (30, 30, 14))
    bright = disks((60, 60), (30, 30, radius_px))
    image = 100.0 + 50.0 * labels + 1000.0 * bright

    # Above twice the height of the median lies the bright part alone, of the smaller one nothing else is there to see.
    part = 0.5 if radius_px == 11 else 2.0
    own = outlined_at(labels, image, part, 0.0, fill_holes=True)

    assert (own == (labels if stays else bright)).all()


@pytest.mark.parametrize("fill_holes", [True, False])
def test_a_hole_is_filled_where_that_is_wanted(fill_holes):
    labels = disks((80, 80), (40, 40, 20))
    image = blurred(labels, 1000.0) - 900.0 * (disks((80, 80), (40, 40, 5)) > 0)

    own = outlined_at(labels, image, 0.5, 0.0, fill_holes=fill_holes)

    assert own[40, 40] == fill_holes


def test_numbers_stay_and_gaps_between_them():
    labels = np.where(APART == 2, 7, APART)

    own = outlined_at(labels, blurred(APART, 1000.0), 0.5, 0.0, fill_holes=True)

    assert set(np.unique(own)) == {0, 1, 3, 7}


def test_a_frame_without_cells_stays_empty():
    nothing = np.zeros((20, 30), int)

    assert len(relative_heights(nothing, np.ones((20, 30)), 0.5, 0.0)) == 0
    assert not outlined_at(nothing, np.ones((20, 30)), 0.5, 0.0, fill_holes=True).any()
