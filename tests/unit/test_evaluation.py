import numpy as np
import pytest

from cytolapse.annotations import IGNORE
from cytolapse.evaluation import (
    average_precision,
    cell_jaccards,
    choose_threshold,
    detection_scores,
    label_scores,
    match_cells,
    probability_histogram,
    roc_area,
    roc_curve,
    seg_score,
)


def squares(*cells: tuple[int, int, int, int], side: int = 40) -> np.ndarray:
    """Labels 1, 2, ... of rectangles (first row, end, first column, end)."""
    labels = np.zeros((side, side), np.int32)
    for number, (top, bottom, left, right) in enumerate(cells, start=1):
        labels[top:bottom, left:right] = number
    return labels


def disks(*cells: tuple[int, int, int], side: int = 60) -> np.ndarray:
    y, x = np.indices((side, side))
    labels = np.zeros((side, side), np.int32)
    for number, (row, column, radius) in enumerate(cells, start=1):
        labels[(y - row) ** 2 + (x - column) ** 2 < radius**2] = number
    return labels


TWO = squares((0, 10, 0, 10), (20, 30, 20, 30))


def test_a_perfect_probability_has_an_area_of_1():
    assert roc_area(probability_histogram((TWO > 0).astype(np.float32), TWO)) == 1


def test_a_probability_that_says_nothing_has_an_area_of_one_half():
    assert roc_area(probability_histogram(np.full(TWO.shape, 0.3), TWO)) == 0.5


def test_a_probability_that_is_upside_down_has_an_area_of_0():
    assert roc_area(probability_histogram((TWO == 0).astype(np.float32), TWO)) == 0


def test_the_area_is_the_chance_that_a_cell_pixel_beats_a_background_pixel():
    labels = np.array([[0, 0, 1, 1]])
    probability = np.array([[10, 30, 20, 30]], np.uint8)

    # pairs: 20 > 10, 20 < 30, 30 > 10, 30 = 30
    assert roc_area(probability_histogram(probability, labels)) == (1 + 0 + 1 + 0.5) / 4


def test_histograms_of_two_images_add_to_that_of_both():
    rng = np.random.default_rng(0)
    probability = rng.random((2, 40, 40))
    both = probability_histogram(np.concatenate(probability), np.concatenate([TWO, TWO]))

    assert (sum(probability_histogram(each, TWO) for each in probability) == both).all()


def test_a_better_probability_has_a_larger_area():
    noise = np.random.default_rng(0).normal(size=TWO.shape)
    good, poor = ((TWO > 0) * 0.5 + 0.25 + 0.1 * noise * scale for scale in (1, 4))

    assert roc_area(probability_histogram(good, TWO)) > roc_area(probability_histogram(poor, TWO)) > 0.6


def test_the_curve_says_what_share_of_pixels_is_above_each_threshold():
    labels = np.array([[0, 0, 0, 0, 1, 1]])
    curve = roc_curve(probability_histogram(np.array([[0.0, 0.0, 0.0, 0.8, 0.2, 1.0]]), labels))
    at_half = np.argmin(np.abs(curve.threshold - 0.5))

    assert (curve.false_positive_rate[0], curve.true_positive_rate[0]) == (0, 0)
    assert (curve.false_positive_rate[-1], curve.true_positive_rate[-1]) == (1, 1)
    assert (curve.false_positive_rate[at_half], curve.true_positive_rate[at_half]) == (0.25, 0.5)
    assert (np.diff(curve.threshold) < 0).all()


def test_pixels_that_nobody_has_judged_count_nowhere():
    labels = TWO.copy()
    labels[20:, :] = IGNORE
    probability = (TWO > 0).astype(np.float32)
    probability[35:, 35:] = 1

    histogram = probability_histogram(probability, labels)

    assert histogram.sum() == 20 * 40
    assert roc_area(histogram) == 1
    assert seg_score(labels, TWO) == 1
    assert match_cells(labels, TWO, 0.5) == (1, 0, 0)


def test_a_roc_without_cells_is_refused():
    with pytest.raises(ValueError, match="found 0 of cells and 1600 of background"):
        roc_area(probability_histogram(np.zeros((40, 40)), np.zeros((40, 40), int)))


def test_a_probability_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"probability of shape \(4, 4\) for a truth of shape \(40, 40\)"):
        probability_histogram(np.zeros((4, 4)), TWO)


def test_the_same_cells_under_other_numbers_are_all_found():
    found = np.where(TWO == 1, 70, np.where(TWO == 2, 5, 0))

    assert match_cells(TWO, found, 0.99) == (2, 0, 0)
    assert seg_score(TWO, found) == 1
    assert detection_scores(TWO, found) == (1, 1, 0, 0)


def test_a_cell_half_covered_matches_up_to_an_overlap_of_one_half():
    half = squares((0, 10, 0, 5))

    assert match_cells(squares((0, 10, 0, 10)), half, 0.5).true_positives == 1
    assert match_cells(squares((0, 10, 0, 10)), half, 0.51) == (0, 1, 1)


def test_two_halves_of_a_cell_cannot_both_be_that_cell():
    truth = squares((0, 10, 0, 10))

    assert match_cells(truth, squares((0, 10, 0, 5), (0, 10, 5, 10)), 0.5) == (1, 1, 0)


def test_average_precision_is_found_over_found_missed_and_invented():
    truth = squares((0, 5, 0, 5), (10, 15, 0, 5), (20, 25, 0, 5))
    found = squares((0, 5, 0, 5), (10, 15, 0, 5), (30, 35, 30, 35))

    assert average_precision(truth, found, 0.5) == 2 / 4


def test_the_average_precision_of_nothing_is_not_a_number():
    nothing = np.zeros((5, 5), int)

    assert np.isnan(average_precision(nothing, nothing, 0.5))
    assert np.isnan(seg_score(nothing, nothing))
    assert np.isnan(detection_scores(nothing, nothing)).all()


@pytest.mark.parametrize("iou", [0, 1.5])
def test_an_overlap_out_of_range_is_refused(iou):
    with pytest.raises(ValueError, match=f"iou is {iou}; wanted above 0 and at most 1"):
        match_cells(TWO, TWO, iou)


def test_labels_of_another_size_are_refused():
    with pytest.raises(ValueError, match="labels found of shape"):
        seg_score(TWO, TWO[1:])


def test_seg_is_the_mean_jaccard_of_the_cells_that_are_mostly_covered():
    truth = squares((0, 10, 0, 10), (20, 30, 20, 30), (0, 10, 30, 40))
    found = squares((0, 10, 0, 8), (20, 30, 20, 25))

    # 80 of 100; exactly one half is not most; missed
    assert cell_jaccards(truth, found).tolist() == [0.8, 0, 0]
    assert seg_score(truth, found) == pytest.approx(0.8 / 3)


def test_seg_does_not_mind_a_cell_that_is_invented():
    assert seg_score(TWO, np.where(np.roll(TWO, 15, axis=1) > 0, 9, TWO)) == 1


def test_a_disk_drawn_a_pixel_too_wide_has_the_jaccard_of_the_areas():
    small, wide = disks((30, 30, 12)), disks((30, 30, 13))

    assert seg_score(small, wide) == pytest.approx((small > 0).sum() / (wide > 0).sum())


def test_two_cells_found_as_one_are_merged_and_both_detected():
    truth = disks((30, 20, 9), (30, 40, 9))
    merged = squares((15, 45, 5, 55), side=60)

    scores = detection_scores(truth, merged)

    assert (scores.precision, scores.recall) == (1, 1)
    assert (scores.merged_per_100, scores.split_per_100) == (50, 0)


def test_a_cell_found_in_two_halves_is_split():
    scores = detection_scores(squares((0, 10, 0, 10)), squares((0, 10, 0, 6), (0, 10, 6, 10)))

    assert (scores.precision, scores.recall) == (0.5, 1)
    assert (scores.merged_per_100, scores.split_per_100) == (0, 100)


def test_a_missed_and_an_invented_cell_lower_recall_and_precision():
    scores = detection_scores(TWO, squares((0, 10, 0, 10), (30, 40, 0, 5), (30, 40, 10, 15)))

    assert scores.recall == 1 / 2
    assert scores.precision == 1 / 3


def test_a_marker_is_detected_by_a_cell_much_larger_than_it():
    assert detection_scores(squares((20, 22, 20, 22)), squares((10, 30, 10, 30))).recall == 1


def test_the_threshold_with_the_best_score_is_chosen():
    scores = {0.3: 0.9, 0.5: 0.95, 0.7: 0.92}

    assert choose_threshold(scores, {0.3: 0.0, 0.5: 0.1, 0.7: 0.0}, cells=1000) == 0.5


def test_of_thresholds_that_do_equally_well_the_middle_one_is_chosen():
    alike = dict.fromkeys([0.1, 0.3, 0.5, 0.7, 0.9], 0.8)

    assert choose_threshold(alike, dict.fromkeys(alike, 0.0), cells=1000) == 0.5


@pytest.mark.parametrize(("cells", "threshold"), [(1000, 0.5), (51, 0.5), (49, 0.3), (20, 0.3)])
def test_among_thresholds_that_score_alike_within_half_a_cell_the_areas_decide(cells, threshold):
    scores, bias = {0.3: 0.9399, 0.5: 0.946, 0.7: 0.95}, {0.3: 0.001, 0.5: -0.02, 0.7: -0.05}

    assert choose_threshold(scores, bias, cells) == threshold


def test_a_threshold_that_finds_nothing_is_never_the_better_one():
    assert choose_threshold({0.3: 0.003, 0.5: 0.005, 0.7: 0.001}, {0.3: 0.8, 0.5: None, 0.7: None}, cells=300) == 0.3


def test_the_bias_of_areas_is_that_of_cells_that_are_matched():
    truth = squares((0, 10, 0, 10), (20, 30, 0, 10), (40, 50, 0, 10))
    found = squares((0, 10, 0, 12), (20, 30, 0, 8), (40, 50, 0, 4))

    assert label_scores([truth], [found], [0.5])["area_bias"] == pytest.approx(np.sqrt(0.96) - 1)
    assert label_scores([truth], [np.zeros_like(truth)], [0.5])["area_bias"] is None


def test_scores_count_the_cells_of_all_images_together():
    crowded = squares(*[(10 * i, 10 * i + 5, 10 * j, 10 * j + 5) for i in range(4) for j in range(4)])
    lonely = squares((0, 10, 0, 10))

    scores = label_scores([crowded, lonely], [crowded, np.zeros_like(lonely)], [0.5])

    assert scores["seg"] == scores["ap_50"] == scores["mean_ap"] == scores["score"] == 16 / 17
