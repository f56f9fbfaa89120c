"""Cells with drawn nuclei."""

import numpy as np
from drawn import disks
from scipy import ndimage

from cytolapse.compartments import find_nuclei, ring_around
from cytolapse.shapes import cells_of

SHAPE = (60, 120)
CELLS = disks(SHAPE, (30, 30, 18), (30, 67, 18))


def marker_of(nuclei, *, level_au=100, bright_au=200, noise_au=5):
    return np.random.default_rng(0).normal(level_au + bright_au * (nuclei > 0), noise_au)


def overlap(found, true):
    return np.sum((found == true) & (true > 0)) / np.sum((found > 0) | (true > 0))


def test_nuclei_are_found_under_the_numbers_of_their_cells():
    nuclei = disks(SHAPE, (28, 27, 7), (33, 70, 6))

    assert overlap(find_nuclei(marker_of(nuclei), cells_of(CELLS), smoothing_px=1), nuclei) > 0.9


def test_nuclei_of_unlike_brightness_are_found_each_by_its_own_threshold():
    nuclei = disks(SHAPE, (28, 27, 7), (33, 70, 6))
    marker = marker_of(nuclei) + 700 * (nuclei == 2) + 400 * (CELLS == 2)

    assert overlap(find_nuclei(marker, cells_of(CELLS), smoothing_px=1), nuclei) > 0.9


def test_a_cell_without_a_nucleus_to_be_seen_has_none():
    nuclei = disks(SHAPE, (28, 27, 7))

    found = find_nuclei(marker_of(nuclei), cells_of(CELLS), smoothing_px=1)

    assert np.unique(found).tolist() == [0, 1]


def test_the_rim_that_blur_dims_makes_no_nucleus_of_the_rest():
    marker = ndimage.gaussian_filter(100.0 + 400 * (CELLS > 0), 1) + marker_of(CELLS * 0, level_au=0)

    assert not find_nuclei(marker, cells_of(CELLS), smoothing_px=1).any()


def test_cells_of_hardly_more_than_a_rim_have_no_nuclei():
    thin = np.zeros(SHAPE, int)
    thin[10:13, 10:100] = 1

    assert not find_nuclei(marker_of(thin), cells_of(thin), smoothing_px=1).any()


def test_of_two_bright_pieces_the_larger_is_the_nucleus():
    nuclei = disks(SHAPE, (28, 24, 6), (30, 42, 2))

    found = find_nuclei(marker_of(nuclei), cells_of(CELLS), smoothing_px=0)

    assert overlap(found, np.where(nuclei == 1, 1, 0)) > 0.85


def test_nuclei_that_touch_across_two_cells_stay_two():
    cells = np.zeros((40, 60), int)
    cells[5:35, 5:30], cells[5:35, 30:55] = 1, 2
    nuclei = np.where((np.indices(cells.shape)[1] > 20) & (np.indices(cells.shape)[1] < 40), cells, 0)

    assert overlap(find_nuclei(marker_of(nuclei), cells_of(cells), smoothing_px=0), nuclei) > 0.95


def test_cells_of_one_grey_value_and_frames_without_cells_have_no_nuclei():
    flat = np.full(SHAPE, 7, np.uint16)

    assert not find_nuclei(flat, cells_of(CELLS), smoothing_px=1).any()
    assert not find_nuclei(flat, cells_of(np.zeros(SHAPE, int)), smoothing_px=1).any()


def test_a_ring_leaves_a_gap_and_stays_in_its_cell():
    nuclei = disks(SHAPE, (30, 30, 7), (30, 80, 4))

    ring = ring_around(nuclei, CELLS, gap_px=2, ring_px=20)

    assert np.flatnonzero(ring[30, :50] == 1).tolist() == [*range(12, 21), *range(40, 49)]
    assert not np.any((ring > 0) & (ring != CELLS))


def test_around_nuclei_alone_a_ring_ends_halfway_to_the_next():
    nuclei = np.zeros((41, 60), int)
    nuclei[16:26, 21:30], nuclei[16:26, 36:45] = 1, 2

    ring = ring_around(nuclei, None, gap_px=1, ring_px=5)

    assert np.flatnonzero(ring[20] == 1).tolist() == [*range(15, 20), 31, 32]
    assert not np.any(ring[nuclei > 0])


def test_without_nuclei_there_is_no_ring():
    assert not ring_around(np.zeros(SHAPE, int), None, gap_px=1, ring_px=3).any()
