import numpy as np
import pytest
from drawn import disks

from cytolapse.annotations import IGNORE
from cytolapse.crowding import Donor, crowd, cut_donors


def crowded(image, labels, donors, count=60):
    return [crowd(image, labels, donors, np.random.default_rng(seed)) for seed in range(count)]


def test_donors_are_whole_cells_that_touch_none_and_carry_no_background():
    labels = disks((120, 160), (30, 30, 10), (0, 80, 10), (80, 40, 10), (80, 62, 10), (80, 110, 8))
    image = np.stack([0.3 + 0.5 * (labels > 0), 0.1 + 0.4 * (labels > 0)]).astype(np.float32)

    donors = cut_donors(image, labels)

    # The second is cut by the border, the third and fourth are neighbours.
    assert [int(donor.mask.sum()) for donor in donors] == [(labels == 1).sum(), (labels == 5).sum()]
    for donor in donors:
        assert donor.light[0][donor.mask] == pytest.approx(0.5)
        assert donor.light[1][donor.mask] == pytest.approx(0.4)
        assert np.abs(donor.light[:, ~donor.mask]).max() < 1e-6


def test_cells_darker_than_what_surrounds_them_are_no_donors():
    labels = disks((60, 60), (30, 30, 10))

    assert cut_donors((labels == 0).astype(np.float32)[None], labels) == []
    assert len(cut_donors((labels > 0).astype(np.float32)[None], labels)) == 1


def test_a_donor_near_pixels_that_nobody_has_judged_is_left():
    labels = disks((60, 60), (30, 30, 10))
    image = (labels == 1).astype(np.float32)[None]
    assert len(cut_donors(image, labels)) == 1
    labels[:, 43:] = IGNORE

    assert cut_donors(image, labels) == []


def test_a_donor_touches_its_host_and_adds_its_light():
    labels = disks((100, 100), (50, 50, 12))
    image = (0.2 + 0.5 * (labels > 0)).astype(np.float32)[None]
    donors = cut_donors(image, labels)
    set_beside = 0

    for view, found in crowded(image, labels, donors):
        added = found == 2
        if not added.any():
            continue
        set_beside += 1
        assert (found[labels == 1] == 1).all()
        grown = np.zeros_like(added)
        for dy in (-2, -1, 0, 1, 2):
            for dx in (-2, -1, 0, 1, 2):
                grown |= np.roll(labels == 1, (dy, dx), (0, 1))
        assert (grown & added).any()
        assert view[0][added] == pytest.approx(0.7, abs=1e-5)

    assert set_beside > 50


def test_as_many_as_the_view_has_cells_at_most_and_none_on_another_or_on_pixels_not_judged():
    labels = disks((90, 90), (30, 30, 9), (30, 60, 9), (60, 45, 9))
    labels[80:] = IGNORE
    image = (labels > 0).astype(np.float32)[None]
    donors = cut_donors(image, labels)
    numbers = set()

    for _, found in crowded(image, labels, donors):
        numbers.add(len(np.unique(found[found > 3])))
        assert (found[labels != 0] == labels[labels != 0]).all()

    assert numbers >= {1, 2}
    assert max(numbers) <= 3


def test_a_host_in_two_pieces_is_not_passed_between():
    labels = disks((100, 100), (50, 20, 8), (50, 80, 8))
    labels[labels > 0] = 1
    image = (labels > 0).astype(np.float32)[None]
    donor = Donor(np.ones((1, 11, 11), np.float32), np.ones((11, 11), bool))

    for _, found in crowded(image, labels, [donor]):
        added = np.argwhere(found > 1)
        if len(added):
            to_host = np.hypot(*(added[:, None] - np.argwhere(labels == 1)[None]).transpose(2, 0, 1))
            assert to_host.min() < 3


def test_of_a_full_view_eight_cells_get_a_neighbour_at_most():
    labels = disks((300, 300), *((y, x, 5) for y in range(15, 300, 30) for x in range(15, 300, 30)))
    image = (labels > 0).astype(np.float32)[None]

    added = [found.max() - labels.max() for _, found in crowded(image, labels, cut_donors(image, labels), count=40)]

    assert 3 < max(added) <= 8


def test_the_view_that_is_handed_in_stays_as_it_was():
    labels = disks((60, 60), (30, 30, 9))
    image = (labels > 0).astype(np.float32)[None]
    before = image.copy(), labels.copy()

    crowd(image, labels, cut_donors(image, labels), np.random.default_rng(0))

    assert (image == before[0]).all()
    assert (labels == before[1]).all()


def test_without_cells_or_donors_nothing_is_set():
    empty = np.zeros((1, 30, 30), np.float32)
    donor = Donor(np.ones((1, 5, 5), np.float32), np.ones((5, 5), bool))

    assert not crowd(empty, np.zeros((30, 30), int), [donor], np.random.default_rng(0))[1].any()
    assert crowd(empty, disks((30, 30), (15, 15, 5)), [], np.random.default_rng(0))[1].max() == 1
