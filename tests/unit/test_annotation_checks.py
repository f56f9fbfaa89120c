import numpy as np
import pytest
from drawn import disks

from cytolapse.annotation_checks import check_masks, compare_cells, trusted_doubts
from cytolapse.annotations import IGNORE, Annotation

SHAPE = (120, 160)
CELLS = disks(SHAPE, (30, 30, 12), (30, 90, 12), (80, 40, 12), (80, 110, 12)).astype(np.int32)


def annotated(labels: np.ndarray) -> Annotation:
    return Annotation("day1", np.zeros(labels.shape, np.uint8), labels)


def check(labels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    annotation, warnings = check_masks(annotated(labels), "masks/day1.tif")
    return annotation.labels, warnings


# masks


def test_masks_without_a_slip_raise_no_warning_and_stay_as_they_are():
    labels, warnings = check(CELLS)

    assert warnings == []
    assert (labels == CELLS).all()


@pytest.mark.parametrize("pixels", [[(60, 70)], [(60, 70), (61, 70), (62, 71), (63, 71), (63, 72)]])
def test_a_speck_is_named_and_left_out_of_the_training_and_the_cell_stays(pixels):
    masks = CELLS.copy()
    for place in pixels:
        masks[place] = 2

    labels, warnings = check(masks)

    (warning,) = warnings
    row, column = pixels[len(pixels) // 2]
    assert warning.startswith(
        f"masks/day1.tif: cell 2 has a speck of {len(pixels)} px at row {row}, column {column}, off its 441 px: "
    )
    assert all(labels[place] == IGNORE for place in pixels)
    assert ((labels == 2) == (CELLS == 2)).all()


def test_pieces_that_share_a_corner_are_one():
    masks = CELLS.copy()
    masks[42, 31] = 0
    masks[43, 32] = masks[42, 31 + 1] = 1

    assert check(masks)[1] == []


def test_a_dot_that_is_a_whole_cell_is_named_and_left_out():
    masks = CELLS.copy()
    masks[60, 70:73] = 9

    labels, (warning,) = check(masks)

    assert warning.startswith("masks/day1.tif: cell 9 has 3 px at row 60, column 71, a usual one 441: left out")
    assert (labels[60, 70:73] == IGNORE).all()


def test_cells_of_a_few_pixels_are_cells_where_all_are_small():
    masks = np.zeros(SHAPE, np.int32)
    for number in range(1, 9):
        masks[10 * number, 20 : 22 + number % 3] = number

    labels, warnings = check(masks)

    assert warnings == []
    assert (labels == masks).all()


def test_a_cell_that_the_border_cuts_may_be_small():
    masks = CELLS.copy()
    masks[60, :3] = 9

    labels, warnings = check(masks)

    assert warnings == []
    assert (labels == masks).all()


def test_two_cells_with_one_number_are_named_with_both_places():
    masks = CELLS.copy()
    masks[masks == 4] = 1

    labels, (warning,) = check(masks)

    assert warning == (
        "masks/day1.tif: cell 1 is in 2 pieces of 441 and 441 px, 70 px apart, at row 30, column 30 and at row 80, "
        "column 110: two cells with one number? give one of them a number of its own"
    )
    assert (labels == masks).all()


def test_a_cell_that_a_thin_gap_parts_is_asked_to_be_joined():
    masks = CELLS.copy()
    masks[30, 10:50] = 0

    (warning,) = check(masks)[1]

    assert "cell 1 is in 2 pieces of 208 and 208 px, 1 px apart" in warning
    assert warning.endswith("draw what joins them, or give one of them a number of its own")


def test_a_cell_of_which_only_the_outline_is_drawn_is_named():
    masks = CELLS.copy()
    masks[disks(SHAPE, (80, 40, 10)) > 0] = 0

    (warning,) = check(masks)[1]

    assert "cell 3 is a ring of 124 px around 317 px of background" in warning


def test_a_cell_around_another_one_is_no_ring():
    masks = CELLS.copy()
    masks[disks(SHAPE, (80, 40, 10)) > 0] = 7

    assert check(masks)[1] == []


def test_masks_without_a_cell_are_named():
    assert check(np.zeros(SHAPE, np.int32))[1] == [
        "masks/day1.tif: no cell is drawn; remove image and masks, unless there is none to be seen"
    ]


def test_255_alone_beside_small_numbers_is_asked_about_and_256_is_not():
    for number, asked in ((255, True), (256, False)):
        masks = CELLS.copy()
        masks[100:118, 5:60] = number
        warnings = check(masks)[1]
        assert [("cell 255 stands alone beside cells 1 to 4" in warning) for warning in warnings] == [True] * asked


def test_of_many_specks_five_are_named_and_the_others_counted():
    masks = CELLS.copy()
    masks[60, 10:150:20] = 2

    labels, warnings = check(masks)

    assert len(warnings) == 6
    assert warnings[-1] == "masks/day1.tif: and 2 more specks like these"
    assert (labels == IGNORE).sum() == 7


def test_what_nobody_has_judged_is_no_cell():
    masks = CELLS.copy()
    masks[50:70, :] = IGNORE

    labels, warnings = check(masks)

    assert warnings == []
    assert (labels == masks).all()


def test_numbers_as_large_as_colours_are_no_burden():
    masks = np.where(CELLS == 3, 2_000_000_000, CELLS)
    masks[60, 70] = 2_000_000_000

    (warning,) = check(masks)[1]

    assert "cell 2000000000 has a speck of 1 px at row 60, column 70" in warning


# a network's word


def probability(labels: np.ndarray, sure: float = 0.95) -> np.ndarray:
    cell = np.where(labels > 0, round(255 * sure), 5).astype(np.uint8)
    return np.stack([cell, np.zeros_like(cell)])


def doubts(drawn: np.ndarray, seen: np.ndarray, sure: float = 0.95) -> list[str]:
    return trusted_doubts([compare_cells(annotated(drawn), seen, probability(seen, sure), 441)])


def without(labels: np.ndarray, *numbers: int) -> np.ndarray:
    return np.where(np.isin(labels, numbers), 0, labels)


def test_where_both_agree_there_is_no_doubt():
    assert doubts(CELLS, CELLS) == []


def test_a_cell_that_nobody_drew_is_named():
    assert doubts(without(CELLS, 4), CELLS) == [
        "image day1: perhaps a cell that nobody drew at row 80, column 110; draw it, or mark it as not judged"
    ]


def test_a_cell_that_was_marked_as_not_judged_is_no_doubt():
    assert doubts(np.where(CELLS == 4, IGNORE, CELLS), CELLS) == []


def test_what_the_network_is_not_sure_of_or_is_small_is_no_doubt():
    assert doubts(without(CELLS, 4), CELLS, sure=0.7) == []
    small = without(CELLS, 4) + 4 * disks(SHAPE, (80, 110, 6)).astype(np.int32)
    assert doubts(without(CELLS, 4), small) == []


def test_a_drawn_cell_where_the_network_sees_nothing_is_named():
    assert doubts(CELLS, without(CELLS, 3)) == [
        "image day1: the network sees nothing where cell 3 is drawn at row 80, column 40; see whether it is one, and "
        "in its place"
    ]


def test_an_image_of_which_a_part_was_drawn_is_named_as_such():
    seen = disks(SHAPE, *((y, x, 8) for y in (15, 40, 65, 90) for x in (20, 50, 80, 110))).astype(np.int32)
    drawn = np.where(seen <= 8, seen, 0)

    (doubt,) = trusted_doubts([compare_cells(annotated(drawn), seen, probability(seen), 197)])

    assert doubt.startswith(
        "image day1: perhaps annotated in part: 8 cells are drawn, and the network sees 8 others, the first at row 65"
    )


def test_a_network_that_sees_few_of_the_drawn_cells_is_not_asked():
    assert doubts(CELLS, without(CELLS, 2, 3)) == []
