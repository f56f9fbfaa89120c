import numpy as np
import pytest
from drawn import AUGMENTATION

from cytolapse.augmentation import augment
from cytolapse.crowding import Donor

STILL = {
    "roll": False,
    "flip": False,
    "rotation": "none",
    "zoom_fraction": 0.0,
    "bend_px": 0.0,
    "crowded_fraction": 0.0,
    "gain_fraction": 0.0,
    "offset": 0.0,
    "gamma_fraction": 0.0,
    "noise": 0.0,
    "blur_px": 0.0,
    "shading_fraction": 0.0,
    "bleached_fraction": 0.0,
    "shot_noise": 0.0,
}
LIVELY = AUGMENTATION | {"blur_px": 1.0}
AS_IT_IS = {"donors": [], "develop": lambda image: image}


def numbered(height: int, width: int) -> np.ndarray:
    """Every pixel its own number, so that a view tells where it comes from."""
    return np.arange(height * width, dtype=np.float32).reshape(1, height, width)


def views(image, count=40, labels=None, crop_px=16, seed=0, **changes):
    rng = np.random.default_rng(seed)
    labels = image[0] if labels is None else labels
    return [augment(image, labels, crop_px=crop_px, rng=rng, **AS_IT_IS | STILL | changes) for _ in range(count)]


def disk(side: int, radius: float) -> np.ndarray:
    y, x = np.indices((side, side)) - (side - 1) / 2
    return (y**2 + x**2 < radius**2).astype(np.float32)[None]


def test_the_same_seed_gives_the_same_view():
    image, labels = numbered(64, 64) / 4096, np.kron(np.arange(16).reshape(4, 4), np.ones((16, 16), int))

    changes = AS_IT_IS | LIVELY | {"donors": [Donor(np.ones((1, 9, 9), np.float32), np.ones((9, 9), bool))]}

    one = augment(image, labels, crop_px=32, rng=np.random.default_rng(5), **changes)
    two = augment(image, labels, crop_px=32, rng=np.random.default_rng(5), **changes)

    assert all((a == b).all() for a, b in zip(one, two, strict=True))


def test_a_plain_view_is_a_piece_of_the_image_at_a_random_place():
    image = numbered(40, 50)
    corners = set()

    for view, _ in views(image):
        row, column = divmod(int(view[0, 0, 0]), 50)
        assert (view[0] == image[0, row : row + 16, column : column + 16]).all()
        corners.add((row, column))

    assert len(corners) > 30


def test_a_view_as_large_as_the_image_is_the_image_rolled_in_y_and_x():
    image = numbered(16, 16)
    rolled = 0

    for view, _ in views(image, roll=True):
        row, column = divmod(int(view[0, 0, 0]), 16)
        assert (view == np.roll(image, (-row, -column), axis=(1, 2))).all()
        rolled += row > 0 and column > 0

    assert 8 < rolled < 32


def test_flips_and_right_angles_give_the_eight_views_of_a_square():
    image = numbered(16, 16)
    expected = {np.rot90(each, turns).tobytes() for each in (image[0], image[0].T) for turns in range(4)}

    seen = {view[0].tobytes() for view, _ in views(image, count=200, flip=True, rotation="right_angles")}

    assert seen == expected


def test_an_image_smaller_than_the_view_is_mirrored_beyond_its_edges():
    image = numbered(10, 12)

    for view, _ in views(image, roll=True):
        assert view.shape == (1, 16, 16)
        assert set(np.unique(view)) == set(np.unique(image))
        steps = np.abs(np.diff(view[0], axis=0))
        assert set(np.unique(steps)) <= {0, 12}


def test_image_and_labels_move_together():
    image = disk(96, 30)

    for view, labels in views(image, crop_px=64, roll=True, flip=True, rotation="any", zoom_fraction=0.2, bend_px=2.0):
        assert np.abs(view[0] - labels).mean() < 0.02


def test_labels_are_never_mixed():
    labels = np.indices((64, 64)).sum(0) % 7 * 10

    for _, moved in views(numbered(64, 64), labels=labels, rotation="any", zoom_fraction=0.2, bend_px=2.0):
        assert set(np.unique(moved)) <= set(range(0, 70, 10))


def test_half_of_the_views_are_taken_where_a_cell_is():
    labels = np.zeros((128, 128), int)
    labels[40:60, 90:110] = 1

    with_cell = sum(bool(moved.any()) for _, moved in views(numbered(128, 128), count=400, labels=labels))

    # By chance alone a view of 16 px meets a square of 20 px in one of ten.
    assert 0.45 < with_cell / 400 < 0.65


def test_a_crowded_view_has_donors_and_is_developed_after_they_are_set():
    image = 0.5 * disk(96, 12)
    donors = [Donor(np.ones((1, 9, 9), np.float32), np.ones((9, 9), bool))]
    changes = {"labels": disk(96, 12)[0].astype(int), "crop_px": 96, "donors": donors, "crowded_fraction": 1.0}

    for view, labels in views(image, develop=lambda light: 10 * light, **changes):
        assert labels.max() == 2
        assert (view[0][labels == 2] == 10).all()


def test_a_disk_turned_by_any_angle_keeps_its_area():
    image = disk(64, 20)

    for view, _ in views(image, crop_px=64, rotation="any"):
        assert view.sum() == pytest.approx(image.sum(), rel=0.02)


def test_a_zoomed_disk_changes_its_diameter_within_the_limits():
    image = disk(96, 20)

    areas = [view.sum() / image.sum() for view, _ in views(image, crop_px=96, zoom_fraction=0.2, count=80)]

    assert 1 / 1.2**2 * 0.98 < min(areas) < 0.8
    assert 1.25 < max(areas) < 1.2**2 * 1.02


def test_half_of_the_views_keep_their_pixels_as_they_are():
    image = numbered(64, 64)

    whole = sum(bool((view == np.rint(view)).all()) for view, _ in views(image, count=200, bend_px=2.0))

    assert 70 < whole < 130


def test_gain_and_offset_stay_within_their_limits():
    image = np.zeros((1, 32, 32), np.float32)
    image[0, 16:] = 1

    for view, _ in views(image, crop_px=32, gain_fraction=0.25, offset=0.1):
        assert -0.1 <= view.min() <= 0.1
        assert 0.8 <= view.max() - view.min() <= 1.25


def test_gamma_keeps_0_and_1_and_what_is_below_0():
    image = np.tile(np.array([-0.5, 0.0, 0.25, 1.0], np.float32), (1, 32, 8))

    seen = set()
    for view, _ in views(image, crop_px=32, gamma_fraction=0.5):
        assert set(np.unique(view)) >= {np.float32(-0.5), np.float32(0), np.float32(1)}
        seen |= {round(float(value), 3) for value in np.unique(view)}

    assert min(value for value in seen if value > 0) < 0.2
    assert max(value for value in seen if value < 1) > 0.3


def test_noise_and_blur_change_the_image_but_not_the_labels():
    image = disk(64, 20)

    for view, labels in views(image, crop_px=64, count=10, noise=0.1, blur_px=1.0):
        assert (view != image).any()
        assert (labels == image[0]).all()


def test_shading_changes_the_light_along_a_line_and_leaves_the_middle():
    flat = np.ones((1, 65, 65), np.float32)

    slopes = []
    for view, _ in views(flat, crop_px=65, count=20, shading_fraction=0.3):
        assert view[0, 32, 32] == pytest.approx(1)
        np.testing.assert_allclose(np.diff(view[0], n=2, axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(np.diff(view[0], n=2, axis=1), 0, atol=1e-5)
        slopes.append(np.ptp(view))
    assert 0.1 < max(slopes) <= 0.6


def test_bleaching_takes_light_from_cells_and_never_gives_any():
    image = disk(64, 20)

    left = [float(view.max()) for view, _ in views(image, crop_px=64, bleached_fraction=0.5)]

    assert 0.5 <= min(left) < 0.6
    assert 0.9 < max(left) <= 1


def test_shot_noise_grows_with_the_root_of_the_light():
    image = np.repeat(np.array([0, 1, 4], np.float32), 40)[None, None, :].repeat(120, axis=1)

    for view, _ in views(image, crop_px=120, count=5, shot_noise=0.1):
        dark, middle, bright = (part.std() for part in np.split(view[0], 3, axis=1))
        assert dark == 0
        assert bright == pytest.approx(2 * middle, rel=0.1)


def test_blur_comes_before_what_the_network_is_shown():
    spot = np.zeros((1, 33, 33), np.float32)
    spot[0, 16, 16] = 1

    for view, _ in views(spot, crop_px=33, blur_px=2.0, develop=np.sign):
        # Blurred after the sign was taken, the spot would fade instead of growing.
        assert set(np.unique(view)) == {0, 1}


def test_channels_are_lit_apart_but_moved_together():
    image = np.concatenate([disk(64, 20), disk(64, 20)])

    for view, _ in views(image, crop_px=64, rotation="any", offset=0.5):
        assert np.ptp(view[0] - view[1]) < 1e-5
        assert (view[0] != view[1]).all()


def test_a_rotation_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="rotation is 'all'; wanted one of any, right_angles, none"):
        views(numbered(32, 32), rotation="all")


def test_labels_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"image of shape \(1, 32, 32\) and labels of shape \(32, 31\) differ"):
        views(numbered(32, 32), labels=numbered(32, 31)[0])
