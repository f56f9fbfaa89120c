import numpy as np
import pytest
from drawn import empty, several

from cytolapse.annotations import Annotation
from cytolapse.holdout import split_folds, split_held_out


def test_the_seed_draws_which_images_are_left_out():
    annotations = several(8)
    chosen = [tuple(each.name for each in split_held_out(annotations, 0.25, seed)[1]) for seed in range(20)]

    assert all(len(names) == 2 for names in chosen)
    assert len(set(chosen)) > 5
    assert chosen[0] == tuple(each.name for each in split_held_out(annotations, 0.25, 0)[1])


@pytest.mark.parametrize(("hold_out", "left_out"), [(0, 0), (0.01, 1), (0.5, 4), (1, 1), (3, 3)])
def test_hold_out_is_a_share_below_1_and_a_number_from_1_on(hold_out, left_out):
    annotations = several(8)
    rest, held_out = split_held_out(annotations, hold_out, 0)

    assert len(held_out) == left_out
    assert sorted(each.name for each in rest + held_out) == [each.name for each in annotations]


@pytest.mark.parametrize("count", [1, 2])
def test_of_one_or_two_images_a_quarter_is_cut_off_instead(count):
    annotations = several(count)
    rest, held_out = split_held_out(annotations, 0.25, 0)

    assert [each.name for each in held_out] == [f"image{number} (a quarter)" for number in range(count)]
    for whole, kept, cut in zip(annotations, rest, held_out, strict=True):
        assert kept.labels.size == 3 * cut.labels.size == 3 * whole.labels.size / 4
        assert (kept.labels > 0).sum() + (cut.labels > 0).sum() == (whole.labels > 0).sum()
        assert kept.image.shape == kept.labels.shape
        assert (cut.labels > 0).any()


def test_the_one_cell_of_a_single_image_is_not_left_out():
    labels = np.zeros((40, 40), np.int32)
    labels[18:22, 18:22] = 1
    only = Annotation("only", np.zeros((40, 40), np.uint8), labels)

    assert split_held_out([only], 0.25, 0) == ([only], [])


def test_an_image_without_cells_is_not_left_out():
    for seed in range(10):
        rest, held_out = split_held_out([*empty(4), *several(2)], 3, seed)
        assert len(held_out) == 1
        assert (held_out[0].labels > 0).any()
        assert any((each.labels > 0).any() for each in rest)


def test_leaving_all_images_out_is_refused():
    with pytest.raises(ValueError, match="hold_out is 4: of 4 annotated images none is left to train on"):
        split_held_out(several(4), 4, 0)


def test_every_image_is_left_out_once_and_every_fold_has_cells_on_both_sides():
    annotations = [*empty(4), *several(3)]

    for seed in range(5):
        folds = split_folds(annotations, 3, seed)
        assert sorted(each.name for _, left_out in folds for each in left_out) == [each.name for each in annotations]
        for rest, left_out in folds:
            assert len(rest) + len(left_out) == 7
            assert all(any((each.labels > 0).any() for each in part) for part in (rest, left_out))
