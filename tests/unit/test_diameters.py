import numpy as np
import pytest
from scipy import ndimage

from cytolapse.diameters import cell_areas_px, measure_diameter_px
from cytolapse.scaling import diameter_px


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


@pytest.mark.parametrize(("radius", "spacing"), [(4, 20), (12, 60), (30, 130)])
def test_the_diameter_is_found_although_the_network_errs_towards_what_it_knows(radius, spacing):
    predict, shown = network(known_px=32.0)

    found_px = measure_diameter_px([disks(radius, spacing)], predict, 32.0)

    assert found_px == pytest.approx(2 * radius, rel=0.1)
    assert shown[0] == 1
    assert shown[-1] == pytest.approx(32 / (2 * radius), rel=0.2)


def test_cells_that_are_seen_at_no_other_scale_are_found_by_trying():
    predict, shown = network(known_px=32.0)

    def blind(planes, scale):
        seen = predict(planes, scale)
        return seen if scale <= 0.3 else np.zeros_like(seen)

    assert measure_diameter_px([disks(50, 130)], blind, 32.0) == pytest.approx(100, rel=0.1)
    assert shown[:4] == [1.0, 0.5, 2.0, 0.25]


def test_without_cells_there_is_no_diameter():
    predict, _ = network(known_px=32.0)

    assert measure_diameter_px([np.zeros((64, 64), np.float32)], predict, 32.0) is None


def test_a_large_plane_is_shown_in_part_where_most_cells_are():
    plane = np.zeros((3000, 500), np.float32)
    plane[2500:2900] = disks(12, 60, 500)[:400]
    predict, _ = network(known_px=48.0)
    seen = []

    def noted(planes, scale):
        seen.append(planes.shape)
        return predict(planes, scale)

    # The first look is at the middle; what it shows of the cells leads on.
    plane[1400:1460] = disks(12, 60, 500)[:60]
    assert measure_diameter_px([plane], noted, 48.0) == pytest.approx(24, rel=0.1)
    assert all(rows <= 1024 and columns <= 500 for _, rows, columns in seen)


def test_cells_that_touch_count_each_for_itself_and_specks_do_not():
    probability = np.zeros((2, 40, 60), np.uint8)
    probability[0, 10:30, 10:50] = 255
    probability[1, 10:30, 28:32] = 255
    probability[0, 0:2, 0:2] = 255

    assert sorted(cell_areas_px(probability, 20)) == [400, 400]
