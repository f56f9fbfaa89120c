import math

import numpy as np
import pytest

from cytolapse.shapes import measure_shapes, volume_um3, width_px


def rod(length_px, width, angle_rad, bend_rad=0.0, middle=(0.3, 0.6)):
    """A drawn rod with round tips; its midline is an arc of `bend_rad`, the angle counts from the y axis."""
    straight = length_px - width
    along = np.linspace(-straight / 2, straight / 2, 81)
    if bend_rad:
        radius = straight / bend_rad
        y, x = radius * np.sin(along / radius), radius * (1 - np.cos(along / radius))
    else:
        y, x = along, np.zeros_like(along)
    cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
    side = int(length_px + 2 * width)
    y, x = cosine * y - sine * x + side / 2 + middle[0], sine * y + cosine * x + side / 2 + middle[1]
    grid_y, grid_x = np.indices((side, side))
    squared = np.full((side, side), np.inf)
    for a_y, a_x, b_y, b_x in zip(y[:-1], x[:-1], y[1:], x[1:], strict=True):
        d_y, d_x = b_y - a_y, b_x - a_x
        part = np.clip(((grid_y - a_y) * d_y + (grid_x - a_x) * d_x) / (d_y**2 + d_x**2), 0, 1)
        squared = np.minimum(squared, (grid_y - a_y - part * d_y) ** 2 + (grid_x - a_x - part * d_x) ** 2)
    return (squared <= width**2 / 4).astype(np.uint16)


def ellipse(long_px, short_px, angle_rad):
    """A drawn ellipse of two half-axes."""
    y, x = np.indices((2 * int(long_px) + 9, 2 * int(long_px) + 9)) - long_px - 4.3
    along = y * math.cos(angle_rad) + x * math.sin(angle_rad)
    across = x * math.cos(angle_rad) - y * math.sin(angle_rad)
    return ((along / long_px) ** 2 + (across / short_px) ** 2 <= 1).astype(np.uint16)


def shape_of(labels):
    (row,) = measure_shapes(labels).to_dict("records")
    return row


@pytest.mark.parametrize("length_px", [16, 24, 40, 60])
def test_the_length_of_a_rod_at_any_angle_is_right_to_three_per_cent(length_px):
    angles = np.linspace(-1.5, 1.5, 13)
    found = [shape_of(rod(length_px, 8, angle, middle=(angle % 1, 0.4)))["length_px"] for angle in angles]

    assert found == pytest.approx([length_px] * len(angles), rel=0.03)
    assert np.mean(found) == pytest.approx(length_px, rel=0.01)


def test_the_length_of_the_shortest_rod_is_right_to_half_a_pixel():
    found = [shape_of(rod(12, 8, angle, middle=(angle, 0.1)))["length_px"] for angle in np.linspace(0, 1.5, 13)]

    assert found == pytest.approx([12] * 13, abs=0.5)
    assert np.mean(found) == pytest.approx(12, rel=0.02)


@pytest.mark.parametrize("bend_rad", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("length_px", [40, 60, 120])
def test_the_length_of_a_bent_rod_is_that_along_its_arc(length_px, bend_rad):
    found = [shape_of(rod(length_px, 8, angle, bend_rad))["length_px"] for angle in (0, 0.4, 0.8, 1.9)]

    assert found == pytest.approx([length_px] * 4, rel=0.025)


@pytest.mark.parametrize("half_axes", [(10, 10), (20, 20), (20, 15), (20, 10)])
def test_the_length_of_an_ellipse_is_its_long_axis(half_axes):
    row = shape_of(ellipse(*half_axes, 0.5))

    assert row["length_px"] == pytest.approx(2 * half_axes[0], rel=0.025)
    assert row["major_axis_px"] == pytest.approx(2 * half_axes[0], rel=0.02)
    assert row["minor_axis_px"] == pytest.approx(2 * half_axes[1], rel=0.02)


def test_a_rod_about_to_divide_is_as_long_as_its_halves():
    labels = np.zeros((30, 70), np.uint16)
    for start in (5, 30):
        half = rod(25, 9, math.pi / 2, middle=(0, 0))
        y, x = np.nonzero(half)
        labels[y - y.min() + 10, x - x.min() + start] = 1

    assert shape_of(labels)["length_px"] == pytest.approx(50, rel=0.03)


def test_width_is_that_of_the_rod_drawn_and_of_a_disk_its_diameter():
    assert shape_of(rod(40, 8, 0.7, 1.0))["width_px"] == pytest.approx(8, rel=0.03)
    assert width_px(np.array([math.pi * 25]), np.array([10.0])) == pytest.approx([10])
    assert width_px(np.array([8 * 32 + math.pi * 16]), np.array([40.0])) == pytest.approx([8])


def test_an_area_too_large_for_the_length_gives_the_circle_of_that_area():
    assert width_px(np.array([400.0]), np.array([10.0])) == pytest.approx([math.sqrt(1600 / math.pi)])


@pytest.mark.parametrize("angle_rad", [-1.2, -0.5, 0.3, math.pi / 4, 1.4])
def test_orientation_is_the_angle_from_the_y_axis_to_the_rod(angle_rad):
    assert shape_of(rod(40, 8, angle_rad))["orientation_rad"] == pytest.approx(angle_rad, abs=0.02)


def test_a_rod_from_the_top_left_to_the_bottom_right_has_a_positive_orientation():
    labels = np.eye(20, dtype=np.uint16) | np.eye(20, k=1, dtype=np.uint16)

    assert shape_of(labels)["orientation_rad"] == pytest.approx(math.pi / 4, abs=0.05)


def test_shapes_agree_with_those_of_skimage_on_a_field_of_cells():
    from skimage.measure import regionprops_table

    labels = np.zeros((150, 200), np.uint16)
    for number, angle in enumerate(np.linspace(-1.5, 1.5, 8)):
        cell = rod(30, 9, angle, bend_rad=number / 8)
        y, x = np.nonzero(cell)
        row, column = divmod(number, 4)
        labels[y + 70 * row, x + 49 * column] = number + 1

    found = measure_shapes(labels)
    names = ["label", "area", "centroid", "perimeter_crofton", "orientation", "eccentricity"]
    known = regionprops_table(labels, properties=[*names, "axis_major_length"])

    assert found["label"].tolist() == known["label"].tolist()
    assert found["area_px"].tolist() == known["area"].tolist()
    np.testing.assert_allclose(found["y_px"], known["centroid-0"])
    np.testing.assert_allclose(found["x_px"], known["centroid-1"])
    np.testing.assert_allclose(found["perimeter_px"], known["perimeter_crofton"])
    np.testing.assert_allclose(found["orientation_rad"], known["orientation"], atol=1e-9)
    np.testing.assert_allclose(found["major_axis_px"], known["axis_major_length"], rtol=0.01)
    np.testing.assert_allclose(found["eccentricity"], known["eccentricity"], atol=0.01)


def test_the_perimeter_of_a_disk_is_that_of_the_circle():
    assert shape_of(ellipse(30, 30, 0))["perimeter_px"] == pytest.approx(2 * math.pi * 30, rel=0.02)


def test_solidity_counts_the_pixels_that_the_hull_holds():
    labels = np.zeros((20, 20), np.uint16)
    labels[2:12, 2:12] = 1
    labels[7:12, 7:12] = 0  # an L: the hull takes back the triangle of 4 + 3 + 2 + 1 centres and its border

    assert shape_of(labels)["solidity"] == pytest.approx(75 / (75 + 10))


@pytest.mark.parametrize("labels", [np.ones((1, 1)), np.ones((1, 7)), np.ones((9, 1)), np.ones((5, 6)), np.eye(4)])
def test_what_is_convex_has_solidity_one_down_to_a_single_pixel(labels):
    row = shape_of(np.pad(labels.astype(np.uint16), 2))

    assert row["solidity"] == 1
    assert np.isfinite(row["length_px"])
    assert row["width_px"] > 0


def test_cells_that_touch_do_not_change_each_others_shape():
    alone, both = np.zeros((40, 60), np.uint16), np.zeros((40, 60), np.uint16)
    alone[10:30, 10:30] = both[10:30, 10:30] = 4
    both[10:30, 30:50] = 9

    found = measure_shapes(both)

    assert found["label"].tolist() == [4, 9]
    assert found.iloc[0].to_dict() == measure_shapes(alone).iloc[0].to_dict()


def test_a_cell_is_flagged_only_where_it_touches_the_edge_of_the_frame():
    labels = np.zeros((30, 30), np.uint16)
    labels[0:5, 5:10], labels[10:15, 25:30], labels[1:5, 15:20] = 1, 2, 3

    assert measure_shapes(labels)["flag_border"].tolist() == [True, True, False]


def test_volumes_are_those_of_the_bodies():
    sphere = {key: np.array([2.0]) for key in ("length_um", "width_um", "major_axis_um", "minor_axis_um")}
    capsule = {"length_um": np.array([5.0]), "width_um": np.array([2.0])}

    assert volume_um3(sphere, "rod") == pytest.approx([4 / 3 * math.pi])
    assert volume_um3(sphere, "ellipsoid") == pytest.approx([4 / 3 * math.pi])
    assert volume_um3(capsule, "rod") == pytest.approx([math.pi * 3 + 4 / 3 * math.pi])
    assert np.isnan(volume_um3(capsule, "none")).all()


def test_an_unknown_volume_model_is_refused():
    with pytest.raises(ValueError, match="no volume model is called 'cube'; the models are none, rod, ellipsoid"):
        volume_um3({"length_um": np.ones(1)}, "cube")
