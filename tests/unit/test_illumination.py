import numpy as np
import pytest

from cytolapse.illumination import background_of_frame, grouped_quantiles, local_background, surroundings

RINGS = {"ring_gap_px": 3, "ring_px": 6, "spread_px": 2}


def two_squares():
    """Label 1 alone, label 2 further right; 20 pixels a side."""
    labels = np.zeros((100, 200), np.uint16)
    labels[40:60, 40:60] = 1
    labels[40:60, 120:140] = 2
    return labels


def noise(shape, level_au, sd_au, seed=0):
    return np.random.default_rng(seed).normal(level_au, sd_au, shape).round().clip(0).astype(np.uint16)


def test_the_ring_of_a_cell_leaves_a_gap_and_has_the_width_asked_for():
    labels = two_squares()

    around = surroundings(labels, **RINGS)

    ring = np.zeros(labels.size, int)
    ring[around.ring] = around.owner + 1
    row = ring.reshape(labels.shape)[50]
    assert np.flatnonzero(row == 1).tolist() == [*range(31, 37), *range(63, 69)]
    assert np.flatnonzero(row == 2).tolist() == [*range(111, 117), *range(143, 149)]
    assert len(around.outside) == labels.size - 2 * 26**2


def test_pixels_that_blur_reaches_belong_to_the_nearest_cell():
    labels = two_squares()

    around = surroundings(labels, **RINGS)

    near = np.zeros(labels.size, int)
    near[around.near[around.spread]] = around.near_owner[around.spread] + 1
    assert np.flatnonzero(near.reshape(labels.shape)[50] == 1).tolist() == [38, 39, 60, 61]
    assert np.bincount(around.near_owner[around.spread]).tolist() == [24**2 - 20**2] * 2


def test_a_pixel_between_two_cells_belongs_to_the_nearer_and_none_lies_in_a_cell():
    labels = np.zeros((60, 60), np.uint16)
    labels[20:40, 10:25], labels[20:40, 33:50] = 1, 2

    around = surroundings(labels, ring_gap_px=1, ring_px=20, spread_px=0)

    assert not labels.ravel()[around.ring].any()
    owner = dict(zip(around.ring.tolist(), around.owner.tolist(), strict=True))
    assert [owner[30 * 60 + x] for x in (27, 30)] == [0, 1]


def test_background_is_finer_than_the_cameras_steps():
    plane = noise((100, 200), 100.3, 2)

    found = background_of_frame(plane, surroundings(two_squares(), **RINGS))

    assert found.value_au == pytest.approx(100.3, abs=0.05)
    assert found.sd_au == pytest.approx(2, rel=0.05)
    assert found.se_au < 0.3


def test_a_cell_that_was_not_found_and_hot_pixels_do_not_lift_the_background():
    plane = noise((100, 200), 100, 3)
    plane[:30, :60] += 400
    plane[::17, ::13] = 60000

    found = background_of_frame(plane, surroundings(two_squares(), **RINGS))

    assert found.value_au == pytest.approx(100, abs=0.5)
    assert found.sd_au == pytest.approx(3, rel=0.15)


def test_in_a_dark_image_where_most_pixels_are_equal_the_background_still_has_a_spread():
    plane = np.random.default_rng(0).poisson(0.1, (100, 200)).astype(np.uint8)

    found = background_of_frame(plane, surroundings(two_squares(), **RINGS))

    assert 0 <= found.value_au < 0.12
    assert found.sd_au < 0.5


def test_uneven_light_shows_in_the_error_of_the_frames_background():
    slope = np.linspace(0, 60, 200)
    plane = (noise((100, 200), 100, 2) + slope).round().astype(np.uint16)

    found = background_of_frame(plane, surroundings(two_squares(), **RINGS))

    assert found.se_au == pytest.approx(slope.std(), rel=0.2)


def test_local_background_follows_uneven_light_where_that_of_the_frame_does_not():
    labels, slope = two_squares(), np.linspace(0, 100, 200)
    plane = noise((100, 200), 500, 2) + slope
    around = surroundings(labels, **RINGS)
    frame = background_of_frame(plane, around)

    local = local_background(plane, around, frame, ring_min_px=50)

    assert local.method.tolist() == ["local", "local"]
    truth = [500 + slope[40:60].mean(), 500 + slope[120:140].mean()]
    assert local.value_au == pytest.approx(truth, abs=1.0)
    assert abs(frame.value_au - truth[0]) > 10


def test_the_error_of_a_ring_is_that_of_its_mean():
    labels = two_squares()
    around = surroundings(labels, **RINGS)
    planes = [noise(labels.shape, 100, 5, seed) for seed in range(60)]

    found = [local_background(p, around, background_of_frame(p, around), ring_min_px=50) for p in planes]

    spread = np.std([each.value_au for each in found], axis=0)
    stated = np.mean([each.se_au for each in found], axis=0)
    assert stated == pytest.approx(spread, rel=0.3)


def test_a_cell_hemmed_in_takes_the_frames_background_and_says_so():
    labels = np.zeros((80, 80), np.uint16)
    labels[10:70, 10:70] = 1
    labels[35:45, 35:45] = 2
    plane = noise(labels.shape, 50, 1)
    around = surroundings(labels, **RINGS)
    frame = background_of_frame(plane, around)

    local = local_background(plane, around, frame, ring_min_px=50)

    assert local.method.tolist() == ["local", "frame"]
    assert (local.value_au[1], local.se_au[1]) == (frame.value_au, frame.se_au)


def test_a_label_that_is_absent_takes_the_frames_background():
    labels = two_squares()
    labels[labels == 1] = 0
    plane = noise(labels.shape, 50, 1)
    around = surroundings(labels, **RINGS)

    local = local_background(plane, around, background_of_frame(plane, around), ring_min_px=50)

    assert local.method.tolist() == ["frame", "local"]


def test_a_frame_full_of_cells_has_no_background():
    labels = np.ones((50, 50), np.uint16)

    found = background_of_frame(np.full((50, 50), 7, np.uint16), surroundings(labels, **RINGS))

    assert all(np.isnan(each) for each in found[:3])


def test_a_frame_without_cells_is_all_background():
    around = surroundings(np.zeros((50, 60), np.uint16), **RINGS)
    plane = np.full((50, 60), 7, np.uint16)
    frame = background_of_frame(plane, around)

    local = local_background(plane, around, frame, ring_min_px=50)

    assert (frame.value_au, frame.sd_au) == (7, 0)
    assert len(local.value_au) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_quantiles_of_groups_are_those_of_numpy_group_by_group(dtype):
    rng = np.random.default_rng(0)
    value, group = rng.integers(0, 200, 1000).astype(dtype), rng.integers(0, 7, 1000)
    group[group == 3] = 4

    low, median = grouped_quantiles(value, group, 7, (0.25, 0.5))

    for each in (0, 1, 2, 4, 5, 6):
        assert low[each] == pytest.approx(np.quantile(value[group == each], 0.25))
        assert median[each] == pytest.approx(np.median(value[group == each]))
    assert np.isnan(median[3])
