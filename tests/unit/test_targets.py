import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from cytolapse.annotations import IGNORE
from cytolapse.targets import make_targets, weighted_loss

DATA = Path(os.environ.get("CYTOLAPSE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "Fluo-N2DH-GOWT1"
TARGETS = {"edge_px": 1, "edge_weight": 5.0, "gap_weight": 0.0, "gap_px": 3.0}


# targets


def test_an_edge_is_one_pixel_on_either_side_of_an_outline():
    labels = np.zeros((9, 9), np.int32)
    labels[3:6, 3:6] = 1

    cell, edge, weight = make_targets(labels, **TARGETS)

    assert (cell == (labels > 0)).all()
    assert edge[4].tolist() == [0, 0, 1, 1, 0, 1, 1, 0, 0]
    assert edge[2, 2] == 0
    assert weight[4].tolist() == [1, 1, 5, 5, 1, 5, 5, 1, 1]


def test_two_cells_that_touch_have_an_edge_between_them_and_a_middle_each():
    labels = np.ones((5, 12), np.int32)
    labels[:, 6:] = 2

    _, edge, _ = make_targets(labels, **TARGETS)

    assert (edge[:, 5:7] == 1).all()
    assert edge.sum() == 10


@pytest.mark.parametrize("edge_px", [1, 2])
def test_a_cell_as_narrow_as_a_bacterium_keeps_a_middle_that_is_not_edge(edge_px):
    labels = np.zeros((30, 30), np.int32)
    labels[10:18, 5:25] = 1

    cell, edge, _ = make_targets(labels, **TARGETS | {"edge_px": edge_px})

    assert ((cell - edge) > 0).sum() == (8 - 2 * edge_px) * (20 - 2 * edge_px)


def test_the_border_of_the_image_is_no_edge():
    assert make_targets(np.ones((6, 6), np.int32), **TARGETS)[1].sum() == 0


def test_a_narrow_gap_counts_more_than_a_wide_one_and_that_more_than_open_background():
    labels = np.zeros((40, 60), np.int32)
    labels[5:15, 5:20] = 1
    labels[5:15, 22:40] = 2
    labels[5:15, 46:60] = 3

    weight = make_targets(labels, **TARGETS | {"edge_weight": 1.0, "gap_weight": 10.0})[2]

    assert weight[10, 20] > weight[10, 43] > 1.5
    assert weight[10, 20] == pytest.approx(1 + 10 * np.exp(-(3**2) / (2 * 3**2)))
    assert weight[38, 30] == pytest.approx(1, abs=1e-3)


def test_pixels_that_nobody_has_judged_have_no_weight_and_make_no_edge():
    labels = np.zeros((10, 10), np.int32)
    labels[:5] = 1
    labels[:, 5:] = IGNORE

    _, edge, weight = make_targets(labels, **TARGETS | {"gap_weight": 5.0})

    assert (weight[:, 5:] == 0).all()
    assert (weight[:, :5] > 0).all()
    assert edge[:, :5].sum() == 10
    assert edge[:, 5:].sum() == 0


@pytest.mark.skipif(not DATA.is_dir(), reason="real data not found; set CYTOLAPSE_DATA")
def test_targets_of_real_nuclei_leave_every_nucleus_one_middle():
    from scipy import ndimage

    labels = tifffile.imread(DATA / "01_ST" / "SEG" / "man_seg000.tif").astype(np.int32)

    cell, edge, _ = make_targets(labels, **TARGETS)

    assert ndimage.label(cell - edge > 0)[1] == len(np.unique(labels)) - 1


# loss


def test_a_better_answer_has_a_smaller_loss():
    targets = torch.tensor([0.0, 1.0]).repeat(2, 2, 4, 2)
    weight = torch.ones(2, 1, 4, 4)
    right = 2 * targets - 1

    losses = [float(weighted_loss(scale * right, targets, weight)) for scale in (10, 1, 0, -1, -10)]

    assert losses == sorted(losses)
    assert losses[2] == pytest.approx(np.log(2))


def test_a_mistake_on_an_edge_costs_more_than_the_same_mistake_elsewhere():
    targets = torch.zeros(1, 1, 1, 4)
    weight = torch.tensor([1.0, 5, 1, 1]).view(1, 1, 1, 4)
    elsewhere, on_edge = torch.full((2, 1, 1, 1, 4), -3.0)
    elsewhere[..., 0] = on_edge[..., 1] = 3

    assert weighted_loss(on_edge, targets, weight) > 2 * weighted_loss(elsewhere, targets, weight)


def test_a_pixel_without_weight_does_not_change_the_loss():
    targets = torch.zeros(1, 2, 2, 2)
    weight = torch.ones(1, 1, 2, 2)
    weight[..., 0] = 0
    wrong = torch.full((1, 2, 2, 2), -1.0)
    wrong[..., 0] = 50

    assert weighted_loss(wrong, targets, weight) == weighted_loss(torch.full_like(wrong, -1), targets, weight)
    assert weighted_loss(wrong, targets, 0 * weight) == 0
