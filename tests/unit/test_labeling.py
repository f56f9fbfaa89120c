import os
from pathlib import Path

import numpy as np
import pytest
from drawn import disks
from scipy import ndimage

from cytolapse.labeling import label_cells, least_area_px

DATA = Path(os.environ.get("CYTOLAPSE_DATA", "../shared/data"))
WATERSHED = {
    "method": "watershed",
    "threshold": 0.5,
    "seed_threshold": 0.2,
    "split_depth": 0.2,
    "split_neck": 0.7,
    "min_confidence": 0.0,
    "min_area_px": 20,
    "small_area_px": 20,
    "fill_holes": True,
    "network_scale": 1.0,
}
THRESHOLD = {**WATERSHED, "method": "threshold"}


def probability_of(labels, noise=0.0):
    """What a good network would say of these cells: cell and edge, a little blurred."""
    edge = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        for step in (1, -1):
            edge |= (labels != np.roll(labels, step, axis)) & (labels > 0)
    maps = np.stack([ndimage.gaussian_filter((labels > 0) * 1.0, 0.7), ndimage.gaussian_filter(edge * 1.0, 0.7)])
    maps += np.random.default_rng(0).normal(0, noise, maps.shape)
    return np.clip(maps, 0, 1).astype(np.float32)


def overlaps(truth, found):
    """Of each true cell, the best overlap (intersection over union) of a found one."""
    table = np.zeros((truth.max() + 1, found.max() + 1))
    np.add.at(table, (truth.ravel(), found.ravel()), 1)
    union = table.sum(1, keepdims=True) + table.sum(0, keepdims=True) - table
    best = (table / union)[1:, 1:].max(1)
    return best[np.isin(np.arange(1, truth.max() + 1), truth)]


@pytest.mark.parametrize("settings", [WATERSHED, THRESHOLD])
def test_cells_apart_are_found_by_either_method_and_numbered_by_their_first_row(settings):
    truth = disks((80, 120), (60, 30, 12), (20, 60, 12), (40, 95, 12))

    labels = label_cells(probability_of(truth), **settings)

    assert labels.dtype == np.int32
    assert [labels[20, 60], labels[40, 95], labels[60, 30]] == [1, 2, 3]
    assert overlaps(truth, labels).min() > 0.9


def test_touching_disks_are_one_by_threshold_and_two_by_watershed_with_the_border_on_the_edge():
    y, x = np.indices((60, 90))
    truth = np.where((np.hypot(y - 30, x - 30) <= 16) & (x <= 44), 1, 0) + np.where(
        (np.hypot(y - 30, x - 59) <= 16) & (x > 44), 2, 0
    )
    probability = probability_of(truth, noise=0.03)

    parted = label_cells(probability, **WATERSHED)

    assert label_cells(probability, **THRESHOLD).max() == 1
    assert parted.max() == 2
    border = (np.argmax(parted[25:36] == 2, axis=1)).mean()
    assert border == pytest.approx(45, abs=1)


def test_rods_side_by_side_are_parted():
    truth = np.zeros((60, 60), int)
    for number in range(4):
        truth[10:50, 10 + 9 * number : 19 + 9 * number] = number + 1

    assert overlaps(truth, label_cells(probability_of(truth, noise=0.03), **WATERSHED)).min() > 0.8


def test_noise_does_not_break_a_cell_in_pieces():
    truth = disks((120, 120), (60, 60, 45))

    assert label_cells(probability_of(truth, noise=0.15), **{**WATERSHED, "threshold": 0.4}).max() == 1


def test_a_deeper_split_depth_leaves_a_shallow_dip_whole():
    cell = np.zeros((40, 80))
    cell[10:30, 10:70] = 0.9
    edge = np.zeros((40, 80))
    edge[10:30, 38:42] = 0.35
    probability = np.stack([cell, edge]).astype(np.float32)

    assert label_cells(probability, **WATERSHED).max() == 2
    assert label_cells(probability, **{**WATERSHED, "split_depth": 0.5}).max() == 1


def test_a_cell_too_dim_for_a_seed_stays_a_cell():
    cell = np.zeros((40, 80))
    cell[10:30, 10:30] = 1.0
    cell[10:30, 50:70] = 0.6
    edge = np.zeros((40, 80))
    edge[10:30, 50:70] = 0.55

    labels = label_cells(np.stack([cell, edge]).astype(np.float32), **WATERSHED)

    assert (labels == 2).sum() == 400


def test_a_part_too_small_for_a_cell_goes_to_the_cell_that_it_touches():
    cell = np.zeros((40, 60))
    cell[10:30, 10:40] = 1.0
    cell[18:22, 40:46] = 1.0
    edge = np.zeros((40, 60))
    edge[18:22, 38:41] = 1.0
    probability = np.stack([cell, edge]).astype(np.float32)

    assert label_cells(probability, **{**WATERSHED, "min_area_px": 4}).max() == 2
    merged = label_cells(probability, **{**WATERSHED, "min_area_px": 60})
    assert merged.max() == 1
    assert (merged > 0).sum() == 20 * 30 + 4 * 6


@pytest.mark.parametrize("settings", [WATERSHED, THRESHOLD])
def test_specks_vanish_and_cells_on_the_border_stay(settings):
    truth = disks((60, 60), (0, 30, 10), (40, 40, 1))

    labels = label_cells(probability_of(truth), **settings)

    assert labels.max() == 1
    assert labels[0, 30] == 1


def test_a_hole_is_filled_only_where_one_cell_encloses_it():
    cell = np.zeros((40, 80))
    cell[5:35, 5:35] = 1.0
    cell[15:25, 15:25] = 0.0
    # Two halves of a ring, kept apart by an edge: what they enclose belongs to neither.
    cell[5:35, 45:75] = 1.0
    cell[15:25, 55:65] = 0.0
    edge = np.zeros((40, 80))
    edge[5:35, 59:61] = 1.0
    probability = np.stack([cell, edge]).astype(np.float32)

    filled = label_cells(probability, **WATERSHED)
    kept = label_cells(probability, **{**WATERSHED, "fill_holes": False})

    assert filled[20, 20] == filled[6, 6] > 0
    assert filled[20, 57] == 0
    assert kept[20, 20] == 0
    assert filled.max() == kept.max() == 3


def test_a_narrow_neck_is_cut_where_the_network_saw_no_edge_and_a_wide_waist_is_not():
    apart = disks((70, 200), (30, 30, 20), (30, 66, 20), (30, 130, 20), (30, 156, 20)) > 0
    probability = np.stack([apart, np.zeros_like(apart)]).astype(np.float32)

    labels = label_cells(probability, **WATERSHED)

    # Centres 36 px apart leave a neck of 17 px between widths of 40; 26 px apart, one of 30 px.
    assert labels.max() == 3
    assert labels[30, 30] != labels[30, 66]
    assert labels[30, 130] == labels[30, 156]
    border = np.flatnonzero(np.diff(labels[30, 30:67]))
    assert 30 + border == pytest.approx([48], abs=2)
    assert label_cells(probability, **{**WATERSHED, "split_neck": 0}).max() == 2
    assert label_cells(probability, **{**WATERSHED, "split_neck": 0.95}).max() == 4


def test_a_neck_of_a_cell_cut_by_the_border_and_beside_others_is_found():
    labels = disks((64, 64), (10, 0, 12), (32, 0, 12), (50, 40, 9))
    probability = np.stack([labels > 0, np.zeros_like(labels)]).astype(np.float32)

    assert overlaps(labels, label_cells(probability, **WATERSHED)).min() > 0.85


@pytest.mark.parametrize("width", [8, 12, 20, 30])
def test_a_missing_pixel_inside_a_rod_is_no_neck(width):
    cell = np.zeros((50, 120))
    cell[10 : 10 + width, 20:100] = 1
    cell[10 + width // 2, 60] = 0
    probability = np.stack([cell, np.zeros_like(cell)]).astype(np.float32)

    labels = label_cells(probability, **WATERSHED)

    assert labels.max() == 1
    assert (labels > 0).sum() == 80 * width


def test_a_neck_is_cut_in_a_small_cell_with_a_hole_too():
    # Less lies around them than a cell has at least: that is outside all the same.
    cell = np.zeros((27, 45))
    cell[1:26, 1:21] = cell[1:26, 24:44] = 1
    cell[11:14, 21:24] = 1
    cell[12, 10] = 0
    probability = np.stack([cell, np.zeros_like(cell)]).astype(np.float32)

    assert label_cells(probability, **{**WATERSHED, "min_area_px": 300}).max() == 2


@pytest.mark.parametrize("radius", range(12, 40, 3))
@pytest.mark.parametrize(("part", "cells"), [(0.6, 2), (0.85, 1)])
def test_whether_a_neck_is_cut_does_not_hang_on_the_size_of_the_cells(radius, part, cells):
    # Half of a neck of that part of the width, 4 px added to both.
    neck_px = part * (radius + 2) - 2
    apart = np.sqrt(radius**2 - neck_px**2)
    shape = disks((100, 200), (50, 100 - apart, radius), (50, 100 + apart, radius)) > 0
    probability = np.stack([shape, np.zeros_like(shape)]).astype(np.float32)

    assert label_cells(probability, **WATERSHED).max() == cells


def test_a_thin_spur_stays_with_its_cell():
    cell = disks((60, 90), (30, 25, 16)) > 0
    cell[29:32, 40:60] = True
    cell[27:34, 58:64] = True
    probability = np.stack([cell, np.zeros_like(cell)]).astype(np.float32)

    assert label_cells(probability, **{**WATERSHED, "min_area_px": 120}).max() == 1


def test_fewest_pixels_are_a_tenth_of_a_usual_cell_and_one_at_least():
    assert least_area_px(900.0) == 90
    assert least_area_px(3.0) == 1


def test_without_the_class_edge_the_shape_alone_parts_two_disks():
    truth = disks((60, 90), (30, 30, 16), (30, 58, 16))

    labels = label_cells(probability_of(truth)[:1], **{**WATERSHED, "seed_threshold": 0.5})

    assert labels.max() == 2
    assert overlaps(truth, labels).min() > 0.9


def test_many_regions_take_the_way_over_the_whole_frame_and_give_the_same_cells():
    truth = np.zeros((300, 300), int)
    for number in range(144):
        row, column = divmod(number, 12)
        truth[5 + 24 * row : 25 + 24 * row, 5 + 24 * column : 25 + 24 * column] = number + 1
    # Two of them touch.
    truth[5:25, 25:29] = truth[10, 10]
    probability = probability_of(truth)

    labels = label_cells(probability, **WATERSHED)

    assert labels.max() == 144
    assert overlaps(truth, labels).min() > 0.8
    few = label_cells(probability[:, :100], **WATERSHED)
    np.testing.assert_array_equal(few[:80], labels[:80])


@pytest.mark.parametrize("settings", [WATERSHED, THRESHOLD])
@pytest.mark.parametrize("classes", [1, 2])
def test_an_empty_frame_has_no_cells(settings, classes):
    assert not label_cells(np.zeros((classes, 32, 48), np.float32), **settings).any()


def test_an_array_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"probability has shape \(32, 32\); wanted \(classes, y, x\)"):
        label_cells(np.zeros((32, 32), np.float32), **WATERSHED)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="no labelling method is called 'magic'; the methods are threshold, watershed"):
        label_cells(np.zeros((2, 8, 8), np.float32), **{**WATERSHED, "method": "magic"})


@pytest.mark.skipif(not (DATA / "Fluo-N2DL-HeLa").exists(), reason="needs the data in CYTOLAPSE_DATA")
def test_nearly_every_touching_nucleus_of_hela_is_found_from_maps_of_its_outline():
    import tifffile

    path = sorted((DATA / "Fluo-N2DL-HeLa/01_ST/SEG").glob("man_seg*.tif"))[-1]
    truth = tifffile.imread(path).astype(int)

    labels = label_cells(probability_of(truth, noise=0.05), **WATERSHED)

    assert (overlaps(truth, labels) > 0.5).mean() > 0.97


# pixels of the network


@pytest.mark.parametrize(("distance", "cells"), [(15, 1), (17, 2)])
def test_cells_are_parted_alike_at_any_size_that_the_network_sees_at_its_own(distance, cells):
    # With 4 px of the frame instead of the network's added to each width, the first neck would be cut at four times
    # the size.
    truth = disks((60, 90), (30, 25, 9), (30, 25 + distance, 9))
    probability = probability_of(truth)[:1]
    four_times = np.kron(probability, np.ones((1, 4, 4), np.float32))

    labels = label_cells(probability, **WATERSHED)
    larger = label_cells(four_times, **WATERSHED | {"min_area_px": 320, "network_scale": 0.25})

    assert labels.max() == larger.max() == cells
    assert overlaps(np.kron(labels, np.ones((4, 4), int)), larger).min() > 0.9


def test_a_cell_of_which_the_network_is_not_sure_is_dropped_where_that_is_asked_for():
    truth = disks((60, 120), (30, 30, 12), (30, 85, 12))
    probability = probability_of(truth)
    probability[:, :, 60:] *= 0.7

    assert label_cells(probability, **WATERSHED).max() == 2
    kept = label_cells(probability, **{**WATERSHED, "min_confidence": 0.8})
    assert kept.max() == 1
    assert (kept[30, 30], kept[30, 85]) == (1, 0)


def test_of_a_small_cell_the_network_must_be_surer_unless_the_border_cuts_it():
    cell = np.zeros((1, 64, 64), np.float32)
    cell[0, :8, 10:18] = cell[0, 30:38, 10:18] = cell[0, 30:50, 40:60] = 0.7
    cell[0, 50:58, 10:18] = 0.8
    small = {"small_area_px": 100}

    def rows(**settings) -> list[int]:
        labels = label_cells(cell, **WATERSHED | settings)
        return [int(np.nonzero(labels == number)[0][0]) for number in range(1, labels.max() + 1)]

    assert rows() == [0, 30, 30, 50]
    assert rows(**small) == [0, 30, 50]
    assert rows(**small, threshold=0.3) == [0, 30, 30, 50]
    assert rows(**small, min_confidence=0.78) == [50]
