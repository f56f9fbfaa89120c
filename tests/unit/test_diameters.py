from functools import partial

import numpy as np
import pytest
from scipy import ndimage

from cytolapse import diameters
from cytolapse.labeling import find_cells
from cytolapse.scaling import diameter_px

measure_diameter_px = partial(diameters.measure_diameter_px, name="colony.tif")


def disks(radius: float, spacing: int, side: int = 260) -> np.ndarray:
    y, x = np.indices((side, side)) % spacing - spacing / 2
    return (np.hypot(y, x) < radius).astype(np.float32)


def network(known_px: float):
    """Sees cells of any size, and takes them for more like what it knows than they are."""
    shown = []

    def predict(planes, scale):
        shown.append(scale)
        found = []
        for plane in planes:
            labels = ndimage.label(plane > 0.5)[0]
            true_px = diameter_px(np.median(np.bincount(labels.ravel())[1:])) if labels.any() else 1.0
            # Halfway, in logarithms, between what is there and what is known.
            off_px = (np.sqrt(known_px * true_px * scale) / scale - true_px) / 2
            inside = ndimage.distance_transform_edt(plane > 0.5) - ndimage.distance_transform_edt(plane <= 0.5)
            cell = inside > -off_px
            found.append(np.stack([cell, cell & (inside < 2 - off_px)]))
        return (255 * np.stack(found)).astype(np.uint8)

    return predict, shown


def label(probability, scale, least_px):
    return find_cells(probability, 0.5, least_px, scale)


@pytest.mark.parametrize(("radius", "spacing"), [(4, 20), (12, 60), (30, 130)])
def test_the_diameter_is_found_although_the_network_errs_towards_what_it_knows(radius, spacing):
    predict, shown = network(known_px=32.0)

    found_px = measure_diameter_px([disks(radius, spacing)], predict, label, 32.0)

    assert found_px == pytest.approx(2 * radius, rel=0.1)
    assert shown[-1] == pytest.approx(32 / (2 * radius), rel=0.2)


def test_a_scale_at_which_the_network_is_sure_comes_before_one_at_which_it_is_not():
    predict, shown = network(known_px=32.0)
    sure = []

    def unsure_of_large_ones(planes, scale):
        seen = predict(planes, scale)
        # At its own size the network sees specks in these cells, which it is not sure of.
        if scale > 0.5:
            seen = np.where(np.indices(seen.shape[2:]).sum(axis=0) % 20 < 12, 160, 0) * (seen > 0)
            sure.append(scale)
        return seen.astype(np.uint8)

    plane = disks(50, 130)
    assert measure_diameter_px([plane], unsure_of_large_ones, label, 32.0) == pytest.approx(100, rel=0.1)
    tried, led_on = shown[:7], shown[7:]
    assert tried == [0.125, 0.25, 0.5, 1, 2, 4, 8]
    assert led_on[0] in (0.25, 0.5)
    assert all(scale < 0.5 for scale in led_on[1:])


def test_a_scale_at_which_there_is_less_than_a_cell_is_tried_last():
    predict, shown = network(known_px=32.0)

    def a_corner_beyond(planes, scale):
        seen = predict(planes, scale)
        if scale > 1:
            seen[:] = 0
            seen[:, :, :3, :3] = 255
        return seen

    assert measure_diameter_px([disks(12, 60)], a_corner_beyond, label, 32.0) == pytest.approx(24, rel=0.1)
    assert shown[7] == 1


def test_where_the_surest_scale_shows_no_cell_the_next_one_is_tried():
    predict, shown = network(known_px=32.0)
    looks = []

    def blind_at_first(probability, scale, least_px):
        looks.append(scale)
        return np.zeros(probability.shape[1:], int) if len(looks) == 1 else label(probability, scale, least_px)

    assert measure_diameter_px([disks(12, 60)], predict, blind_at_first, 32.0) == pytest.approx(24, rel=0.1)
    assert looks[0] != looks[1]


@pytest.mark.parametrize(("probability", "found"), [(255, True), (210, False)])
def test_what_is_enlarged_to_look_like_cells_is_noise_where_the_network_is_not_sure_of_it(probability, found):
    predict, _ = network(known_px=32.0)

    def sure_of_it(planes, scale):
        seen = predict(planes, scale)
        seen[:, 0] = np.minimum(seen[:, 0], probability)
        return seen

    measured_px = measure_diameter_px([disks(4, 20)], sure_of_it, label, 32.0)

    assert measured_px == (pytest.approx(8, rel=0.15) if found else None)
    # What is shown smaller, or as it is, need not be as clear.
    assert measure_diameter_px([disks(30, 130)], sure_of_it, label, 32.0) == pytest.approx(60, rel=0.1)


@pytest.mark.parametrize(("probability", "found"), [(255, np.sqrt(4 * 8)), (160, None)])
def test_what_swings_between_two_scales_lies_between_them_unless_it_is_noise(probability, found):
    def wider_when_enlarged_more(planes, scale):
        # 4 px asks for a scale of 8, 8 px for one of 4, and so on.
        seen = np.zeros((len(planes), 2, *planes[0].shape), np.uint8)
        if scale >= 4:
            height, width = planes[0].shape
            seen[:, 0] = probability * disks(2 if scale < 6 else 4, 20)[:height, :width]
        return seen

    diameter = measure_diameter_px([disks(4, 20)], wider_when_enlarged_more, label, 32.0)

    assert diameter == (None if found is None else pytest.approx(found, rel=0.15))


@pytest.mark.parametrize(("probability", "warned"), [(255, False), (225, False), (215, True)])
def test_a_network_that_is_nowhere_sure_is_said_in_the_log(probability, warned, caplog):
    predict, _ = network(known_px=32.0)

    def unsure(planes, scale):
        return np.minimum(predict(planes, scale), probability)

    measure_diameter_px([disks(12, 60)], unsure, label, 32.0)

    assert [each.levelname for each in caplog.records] == (["WARNING"] if warned else [])
    assert not warned or "colony.tif: at no scale is the network surer than 0.47" in caplog.text
    assert not warned or "cell_diameter_px" in caplog.text


def test_without_cells_there_is_no_diameter():
    predict, _ = network(known_px=32.0)

    assert measure_diameter_px([np.zeros((64, 64), np.float32)], predict, label, 32.0) is None


def test_a_large_plane_is_shown_in_part_where_most_cells_are():
    plane = np.zeros((3000, 500), np.float32)
    plane[2500:2900] = disks(12, 60, 500)[:400]
    predict, _ = network(known_px=48.0)
    seen = []

    def noted(planes, scale):
        seen.append((scale, planes.shape))
        return predict(planes, scale)

    # The first look is at the middle; what it shows of the cells leads on.
    plane[1400:1460] = disks(12, 60, 500)[:60]
    assert measure_diameter_px([plane], noted, label, 48.0) == pytest.approx(24, rel=0.1)
    assert all(rows * scale <= 1024 + scale and columns <= 500 for scale, (_, rows, columns) in seen)


def test_cells_that_touch_count_each_for_itself():
    y, x = np.indices((240, 260))
    # Pairs of disks that overlap; the network sees the edge between the two of a pair.
    left, right = (np.hypot(y % 60 - 30, x % 80 - centre) < 14 for centre in (24, 48))

    def predict(planes, scale):
        cell = left | right
        edge = cell & (np.abs(x % 80 - 36) < 3)
        return np.stack([255 * cell, 255 * edge]).astype(np.uint8)[None]

    def at_once(probability, scale, least_px):
        return ndimage.label(probability[0] > 127)[0]

    plane = np.zeros((240, 260), np.float32)
    assert measure_diameter_px([plane], predict, label, 28.0) == pytest.approx(28, rel=0.1)
    assert measure_diameter_px([plane], predict, at_once, 28.0) > 36
