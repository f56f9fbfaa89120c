import numpy as np
import pytest

from cytolapse.projections import project, sharpest


def plane(value, dtype="uint16"):
    return np.full((8, 10), value, dtype)


@pytest.mark.parametrize(("kind", "value"), [("max", 9), ("mean", 5)])
def test_slices_become_one_plane_of_their_type(kind, value):
    result = project(iter([plane(1), plane(4), plane(9)]), kind)

    assert result.dtype == np.uint16
    assert set(result.ravel()) == {value}


def test_a_mean_of_bright_slices_does_not_overflow():
    assert project([plane(65535), plane(65533)], "mean").max() == 65534
    assert project([plane(255, "uint8")] * 300, "mean").max() == 255


def test_a_mean_of_floats_keeps_its_fraction():
    result = project([plane(1, "float32"), plane(2, "float32")], "mean")

    assert result.dtype == np.float32
    assert result[0, 0] == 1.5


def test_a_slice_that_was_not_acquired_counts_for_nothing():
    assert project([None, plane(4), None, plane(6)], "mean")[0, 0] == 5
    assert project([None, plane(4), None], "max")[0, 0] == 4
    assert project([None, None], "max") is None


def test_another_projection_is_an_error():
    with pytest.raises(ValueError, match="projection 'sum' is none of slices to one plane; wanted max or mean"):
        project([plane(1)], "sum")


def blurred_disk(blur_px, noise_au=2.0, seed=0):
    """A disk whose light stays the same out of focus, with a camera's noise."""
    from scipy import ndimage

    y, x = np.mgrid[:64, :64]
    disk = 200.0 * (np.hypot(y - 32, x - 32) < 12)
    light = ndimage.gaussian_filter(disk, blur_px) if blur_px else disk
    return (100 + light + np.random.default_rng(seed).normal(0, noise_au, disk.shape)).astype(np.uint16)


def test_the_sharpest_slice_is_the_one_in_focus():
    slices = [blurred_disk(blur_px, seed=z) for z, blur_px in enumerate((6, 4, 2, 0.5, 2, 4))]

    assert sharpest(slices) == 3
    assert sharpest([None, *slices]) == 4
    assert sharpest([None, None]) == 0


def test_planes_of_a_few_pixels_have_a_sharpest_too():
    assert sharpest([np.array([[1, 1, 1]], np.uint8), np.array([[1, 1, 9]], np.uint8)]) == 1
    assert sharpest([np.array([[1]], np.uint8)]) == 0
