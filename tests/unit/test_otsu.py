import numpy as np
import pytest

from cytolapse.otsu import GreyScale, find_cut, find_scale, levels, stretched

SCALE = GreyScale("bright", "linear", 1.0, 0)


def test_the_threshold_of_two_grey_values_lies_between_them_and_moves_with_its_factor():
    image = np.where(np.arange(1000) % 4, 100.0, 300.0).reshape(20, 50).astype(np.float32)

    cut, farther = (find_cut([image], SCALE, factor=factor) for factor in (1, 1.5))

    assert cut.background == pytest.approx(100)
    assert 100 < cut.threshold < 300
    assert farther.threshold - 100 == pytest.approx(1.5 * (cut.threshold - 100))


@pytest.mark.parametrize("grey_values", ["log", "linear"])
def test_levels_are_those_values_of_the_image_that_are_background_and_threshold(grey_values):
    scale = GreyScale("bright", grey_values, 0.0, 0)
    image = np.where(np.arange(1000) % 4, 100.0, 300.0).reshape(20, 50).astype(np.float32)
    cut = find_cut([image], scale, factor=1)

    threshold, background = levels(scale, cut)

    assert background == pytest.approx(100)
    at = np.array([[threshold, background]], np.float32)
    assert stretched(at, scale, cut)[0] == pytest.approx([0.5, 0.0], abs=1e-4)


def sparse(cells, ground_au, noise_au, seed=0):
    """A large frame with a few squares of 9 px, and where they are."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((1024, 1024), bool)
    for _ in range(cells):
        y, x = rng.integers(10, 1000, 2)
        mask[y : y + 9, x : x + 9] = True
    image = ground_au + 500 * mask + noise_au * rng.standard_normal(mask.shape)
    return image.clip(0).astype(np.float32), mask


@pytest.mark.parametrize("cells", [3, 10, 20, 60])
@pytest.mark.parametrize("grey_values", ["auto", "linear"])
def test_a_few_small_cells_in_a_large_frame_are_found_and_its_noise_is_not(cells, grey_values):
    image, mask = sparse(cells, 200, 10)
    scale = GreyScale("bright", grey_values, 0.0, 0)

    scale, cut, (shown,) = find_scale([image], scale, factor=1.0)
    found = stretched(shown, scale, cut) > 0.5

    assert found[mask].mean() > 0.95
    assert found[~mask].mean() < 1e-4


def test_in_a_frame_of_noise_alone_next_to_nothing_is_cell_and_the_log_says_why(caplog):
    image, _ = sparse(0, 200, 10)
    scale = GreyScale("bright", "auto", 1.0, 0)
    scale, cut, (shown,) = find_scale([image], scale, factor=1.0)
    found = stretched(shown, scale, cut) > 0.5

    assert scale.smoothing_px == 1.0
    assert found.mean() < 1e-5
    assert "no two kinds of pixels, cells and background, are to be seen" in caplog.text


def test_a_background_without_any_noise_is_no_cell():
    image, mask = sparse(5, 0, 0)
    scale = GreyScale("bright", "auto", 0.0, 0)

    assert (stretched(image, scale, find_cut([image], scale, factor=1.0)) > 0.5).tolist() == mask.tolist()
