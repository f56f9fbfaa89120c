import numpy as np
import pytest
import torch
from drawn import disks

from cytolapse.annotations import IGNORE
from cytolapse.scaling import diameter_px, movie_scale, resize_images, resize_labels, scaled_shape, working_scale

KNOWN = {"resample": True, "movie_um": 0.2, "model_um": 0.2, "movie_diameter_px": None, "model_area_px": 900.0}


# scales


@pytest.mark.parametrize(
    ("diameter", "wanted", "scale"),
    [(64, 32, 0.5), (16, 32, 1), (30, 32, 1), (34, 32, 1), (1000, 32, 1 / 8), (64, None, 1)],
)
def test_cells_are_shown_at_the_working_diameter_within_limits(diameter, wanted, scale):
    area_px = np.pi * (diameter / 2) ** 2

    assert diameter_px(area_px) == pytest.approx(diameter)
    assert working_scale(area_px, wanted) == pytest.approx(scale)


@pytest.mark.parametrize(
    ("movie_um", "model_um", "scale"),
    [(0.5, 0.25, 2), (0.1, 0.2, 0.5), (0.24, 0.2405, 1), (None, 0.2, 1), (0.2, None, 1)],
)
def test_a_movie_is_resampled_by_the_ratio_of_the_pixel_sizes_where_both_are_known(movie_um, model_um, scale):
    assert movie_scale(**{**KNOWN, "movie_um": movie_um, "model_um": model_um}) == pytest.approx(scale)


def test_without_resample_a_movie_is_shown_as_it_is():
    assert movie_scale(**{**KNOWN, "movie_um": 1.0, "resample": False}) == 1


def test_the_diameter_of_the_cells_wins_over_the_pixel_sizes():
    scale = movie_scale(**{**KNOWN, "movie_um": 0.6, "movie_diameter_px": 2 * diameter_px(900.0)})

    assert scale == pytest.approx(0.5)


def test_resampling_beyond_a_factor_of_2_is_warned_of(caplog):
    movie_scale(**{**KNOWN, "movie_um": 0.3})
    assert not caplog.records

    movie_scale(**{**KNOWN, "movie_um": 0.5})
    assert "pixels are 0.5 um, 0.2 um in the model's annotations: frames are resampled by 2.5" in caplog.text
    assert "so large a factor costs accuracy" in caplog.text


@pytest.mark.parametrize("known", [{"movie_diameter_px": 1.5}, {"movie_um": 20.0}])
def test_a_scale_that_only_a_slip_of_the_unit_can_give_is_refused(known):
    with pytest.raises(
        ValueError, match="correct cell_diameter_px .pixels of the movie, not micrometres. or pixel_size"
    ):
        movie_scale(**{**KNOWN, **known})


# images and labels in another size


@pytest.mark.parametrize("scale", [0.37, 0.5, 0.8, 1, 1.5, 2])
def test_cells_keep_place_and_area_in_another_size(scale):
    labels = disks((200, 200), (60, 60, 22), (60, 104, 22), (140, 90, 40), (20, 170, 8)).astype(np.int32)

    resized = resize_labels(labels, scaled_shape(labels.shape, scale))

    assert set(np.unique(resized)) == {0, 1, 2, 3, 4}
    for number in range(1, 5):
        (y, x), (there_y, there_x) = (
            [axis.mean() for axis in np.nonzero(each == number)] for each in (labels, resized)
        )
        assert (there_y + 0.5) / scale == pytest.approx(y + 0.5, abs=0.6)
        assert (there_x + 0.5) / scale == pytest.approx(x + 0.5, abs=0.6)
    ratios = np.bincount(resized.ravel())[1:] / np.bincount(labels.ravel())[1:] / scale**2
    assert ratios == pytest.approx(1, abs=0.06)
    assert ratios[2] == pytest.approx(1, abs=0.01)


def test_what_nobody_has_judged_stays_so_and_a_cell_too_small_for_a_pixel_goes():
    labels = np.zeros((40, 40), np.int32)
    labels[:, :20] = IGNORE
    labels[30:38, 24:38] = 7
    labels[4, 30] = 3

    resized = resize_labels(labels, (10, 10))

    assert set(np.unique(resized)) == {IGNORE, 0, 7}
    assert (resized[:, :4] == IGNORE).all()
    assert (resized[:7, 6:] == 0).all()


def test_an_image_that_nobody_has_judged_stays_so():
    assert (resize_labels(np.full((20, 20), IGNORE, np.int32), (10, 10)) == IGNORE).all()


def test_an_image_that_is_made_smaller_keeps_its_light():
    image = torch.from_numpy(np.random.default_rng(0).random((1, 1, 60, 80), np.float32))

    small = resize_images(image, (30, 40))

    assert small.mean().item() == pytest.approx(image.mean().item(), abs=0.005)
    assert small.std() < 0.6 * image.std()
