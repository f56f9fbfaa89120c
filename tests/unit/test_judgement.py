import itertools

import numpy as np
import pandas as pd
import pytest
from drawn import TARGETS, drawn

from cytolapse.annotations import IGNORE, Annotation
from cytolapse.judgement import (
    Answers,
    choose_setting,
    draw_roc,
    judge,
    part_of_small,
    quick_scores,
    usual_area_px,
)
from cytolapse.labeling import USUAL_CUTS
from cytolapse.targets import make_targets


def test_perfect_probabilities_are_judged_perfect():
    annotations = [drawn(seed=1), drawn(seed=2)]
    targets = [make_targets(each.labels, **TARGETS)[:2] for each in annotations]

    scores = judge(Answers(annotations, [np.rint(255 * each).astype(np.uint8) for each in targets]), 1.0)

    assert scores["roc_area"] == 1
    assert scores["ap_50"] == 1
    assert scores["threshold"] == 0.5
    assert (scores["split_depth"], scores["split_neck"]) == USUAL_CUTS
    assert (scores["false_positive_rate"], scores["true_positive_rate"]) == (0, 1)


def test_images_without_cells_are_refused():
    annotation = drawn(seed=1)
    annotation = annotation._replace(labels=np.zeros_like(annotation.labels))

    with pytest.raises(ValueError, match="needs pixels of cells and of background; found 0 of cells"):
        judge(Answers([annotation], [np.zeros((2, *annotation.labels.shape), np.uint8)]), 1.0)


def test_each_image_is_judged_alone_too_and_one_without_cells_is_not():
    annotations = [drawn("good", seed=1), drawn("missed", seed=2), drawn("empty", seed=3)]
    annotations[2] = annotations[2]._replace(labels=np.zeros_like(annotations[2].labels))
    probabilities = [np.rint(255 * make_targets(each.labels, **TARGETS)[:2]).astype(np.uint8) for each in annotations]
    probabilities[1][:] = 0

    scores = judge(Answers(annotations, probabilities), 1.0)

    assert list(scores["by_image"]) == ["good", "missed"]
    assert scores["by_image"]["good"]["ap_50"] == 1
    assert scores["by_image"]["missed"] == {"ap_50": 0, "seg": 0}
    assert scores["by_image_range"] == {"ap_50": [0, 1], "seg": [0, scores["by_image"]["good"]["seg"]]}


def test_where_the_dips_between_cells_are_shallow_cuts_are_chosen_that_find_them():
    annotation = drawn(seed=1)
    annotation = annotation._replace(labels=np.zeros((96, 96), np.int32))
    cell, edge = np.zeros((2, 96, 96))
    for number, (y, x) in enumerate(itertools.product((4, 36, 68), repeat=2), start=1):
        annotation.labels[y : y + 20, x : x + 12] = 2 * number - 1
        annotation.labels[y : y + 20, x + 12 : x + 24] = 2 * number
        cell[y : y + 20, x : x + 24] = 0.9
        edge[y : y + 20, x + 10 : x + 14] = 0.18
    probability = np.rint(255 * np.stack([cell, edge])).astype(np.uint8)

    scores = judge(Answers([annotation], [probability]), 1.0)

    assert scores["split_depth"] < USUAL_CUTS.split_depth
    assert scores["ap_50"] == 1 > scores["score_by_threshold"]["0.50"]
    assert scores["score_by_cuts"][f"{scores['split_depth']:.2f}, {scores['split_neck']:.2f}"] > 0.9


def sloped(rim: float) -> tuple[Annotation, np.ndarray]:
    """Sixteen cells whose outlines lie where the probability falls to `rim`; 10 px on it falls from 1 to 0."""
    labels, cell = np.zeros((240, 240), np.int32), np.zeros((240, 240))
    y, x = np.indices(labels.shape)
    for number, (row, column) in enumerate(itertools.product(range(30, 240, 60), repeat=2), start=1):
        off = np.hypot(y - row, x - column)
        cell = np.maximum(cell, np.clip(1 - (off - 10) / 10, 0, 1))
        labels[off <= 20 - 10 * rim] = number
    return Annotation("a", np.zeros(labels.shape, np.uint8), labels), np.rint(255 * cell[None]).astype(np.uint8)


def test_of_thresholds_that_do_equally_well_the_areas_of_the_network_that_is_used_decide():
    left_out, last = (Answers(*([each] for each in sloped(rim))) for rim in (0.5, 0.55))
    alone, scores = judge(left_out, 1.0), judge(left_out, 1.0, last)

    assert (alone["threshold"], scores["threshold"]) == (0.5, 0.55)
    bias = scores["last_area_bias_by_threshold"]
    assert bias["0.50"] > 0.01 > abs(scores["last_area_bias"]) > -0.01 > bias["0.60"]
    assert scores["area_bias"] < -0.01, "scores are those of the network that is judged"
    assert alone["last_area_bias"] == pytest.approx(alone["area_bias"], abs=1e-5)


def unsure(false_cells: int) -> tuple[Annotation, np.ndarray]:
    """Sixteen cells, sure but for their rims, and some squares that are none, of which the network is half sure."""
    labels, cell = np.zeros((160, 160), np.int32), np.zeros((160, 160))
    places = list(itertools.product(range(4, 160, 20), repeat=2))
    for number, (y, x) in enumerate(places[:16], start=1):
        labels[y : y + 12, x : x + 12] = number
        cell[y : y + 12, x : x + 12] = 0.55
        cell[y + 1 : y + 11, x + 1 : x + 11] = 1
    for y, x in places[16 : 16 + false_cells]:
        cell[y : y + 12, x : x + 12] = 0.7
    return Annotation("a", np.zeros((160, 160), np.uint8), labels), np.rint(255 * cell[None]).astype(np.uint8)


def test_what_the_network_is_not_sure_of_is_dropped_where_that_gains_cells():
    annotation, probability = unsure(false_cells=20)

    scores = judge(Answers([annotation], [probability]), 1.0)

    assert scores["threshold"] < 0.55
    assert scores["min_confidence"] == 0.7
    assert scores["ap_50"] == 1
    assert scores["score_by_confidence"]["0.00"] == pytest.approx((16 / 36 + 1) / 2)


def test_two_cells_gained_are_too_few_to_drop_what_the_network_is_not_sure_of():
    annotation, probability = unsure(false_cells=2)

    assert judge(Answers([annotation], [probability]), 1.0)["min_confidence"] == 0


def squares(sides: list[int], *, on_border: int = 0) -> np.ndarray:
    """Cells of these widths inside the frame, and some of 3 pixels at its border."""
    labels = np.zeros((40 * len(sides), 40), np.int32)
    for number, side in enumerate(sides, start=1):
        labels[40 * number - 30 : 40 * number - 30 + side, 10 : 10 + side] = number
    for number in range(on_border):
        labels[10 * number : 10 * number + 3, :3] = len(sides) + 1 + number
    return labels


def test_what_is_far_smaller_than_the_smallest_hundredth_of_drawn_cells_is_small():
    assert part_of_small([squares([20] * 119 + [6])]) == 0.25
    assert part_of_small([squares([20] * 117 + [6] * 3)]) == 0.1
    assert part_of_small([squares([20] * 115 + [14] * 5)]) == pytest.approx(0.5 * 14**2 / 20**2, abs=1e-3)


def test_small_is_relative_to_a_usual_cell_cut_ones_among_them():
    labels = squares([2] * 110, on_border=200)

    assert usual_area_px([labels]) == 3**2
    assert part_of_small([labels]) == pytest.approx(0.5 * 2**2 / 3**2, abs=1e-3)


def test_too_few_drawn_cells_do_not_say_how_small_one_may_be():
    assert part_of_small([squares([20] * 99)]) == 0.1
    assert part_of_small([squares([20] * 50), squares([20] * 50)]) == 0.25


def test_cells_that_the_border_or_an_unjudged_place_cuts_do_not_say_how_small_one_may_be():
    unjudged = squares([6] * 3 + [20] * 108)
    unjudged[:120][unjudged[:120] == 0] = IGNORE

    assert part_of_small([squares([20] * 110, on_border=5)]) == part_of_small([unjudged]) == 0.25


def test_small_cells_that_the_network_is_not_sure_of_are_left_out_of_the_scores():
    annotation, probability = unsure(false_cells=0)
    for y, x in itertools.product(range(64, 160, 20), range(4, 60, 20)):
        probability[0, y : y + 5, x : x + 5] = 160

    usual, small = (judge(Answers([annotation], [probability]), 1.0, small_part=part) for part in (0.0, 0.25))

    assert usual["score_by_threshold"]["0.40"] < 0.8 < small["score_by_threshold"]["0.40"] == 1


def test_cells_gained_with_both_networks_add_up():
    left_out, last = (Answers(*([each] for each in unsure(false_cells=number))) for number in (4, 6))

    assert judge(left_out, 1.0)["min_confidence"] == judge(last, 1.0)["min_confidence"] == 0
    assert judge(left_out, 1.0, last)["min_confidence"] == 0.7


def test_another_setting_is_chosen_only_where_it_gains_more_than_three_cells():
    assert choose_setting({0.0: [80], 0.6: [82], 0.7: [79]}, 0.0, unlike=float) == 0
    assert choose_setting({0.0: [160], 0.6: [164], 0.7: [158]}, 0.0, unlike=float) == 0.6


def test_cells_of_the_images_left_out_and_of_others_add_up():
    assert choose_setting({0.0: [80, 300], 0.6: [82, 304], 0.7: [81, 301]}, 0.0, unlike=float) == 0.6


def test_what_loses_cells_on_the_images_left_out_is_not_chosen_for_what_it_gains_on_others():
    assert choose_setting({0.0: [80, 300], 0.6: [79, 320], 0.7: [80, 310]}, 0.0, unlike=float) == 0.7


def test_of_settings_within_one_cell_of_the_best_the_one_most_like_the_usual_is_chosen():
    assert choose_setting({0.0: [800], 0.8: [850], 0.7: [849], 0.6: [845]}, 0.0, unlike=float) == 0.7
    assert choose_setting({0.0: [80], 0.8: [85.0], 0.7: [84.9], 0.6: [84.5]}, 0.0, unlike=float) == 0.6


def test_the_quick_scores_are_those_of_judge_at_one_half():
    annotations = [drawn(seed=1), drawn(seed=2)]
    probabilities = [np.rint(255 * make_targets(each.labels, **TARGETS)[:2]).astype(np.uint8) for each in annotations]
    probabilities[0][:, :30] = 90

    area, score = quick_scores(annotations, probabilities, 1.0)

    judged = judge(Answers(annotations, probabilities), 1.0)
    assert area == pytest.approx(judged["roc_area"], abs=1e-6)
    assert score == pytest.approx(judged["score_by_threshold"]["0.50"], abs=1e-6)


def test_the_figure_is_the_same_each_time(tmp_path):
    roc = pd.DataFrame({"images": "training", "false_positive_rate": [0, 0.1, 1], "true_positive_rate": [0, 0.9, 1]})
    draw_roc(roc, tmp_path / "one.png")
    draw_roc(roc, tmp_path / "two.png")

    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
