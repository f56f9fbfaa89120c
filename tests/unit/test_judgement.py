import itertools

import numpy as np
import pandas as pd
import pytest
from drawn import TARGETS, drawn

from cytolapse.judgement import USUAL_CUTS, Cuts, choose_cuts, draw_roc, judge, quick_scores
from cytolapse.targets import make_targets


def test_perfect_probabilities_are_judged_perfect():
    annotations = [drawn(seed=1), drawn(seed=2)]
    targets = [make_targets(each.labels, **TARGETS)[:2] for each in annotations]

    scores = judge(annotations, [np.rint(255 * each).astype(np.uint8) for each in targets], 1.0)

    assert scores["roc_area"] == 1
    assert scores["ap_50"] == 1
    assert scores["threshold"] == 0.5
    assert (scores["split_depth"], scores["split_neck"]) == USUAL_CUTS
    assert (scores["false_positive_rate"], scores["true_positive_rate"]) == (0, 1)


def test_each_image_is_judged_alone_too_and_one_without_cells_is_not():
    annotations = [drawn("good", seed=1), drawn("missed", seed=2), drawn("empty", seed=3)]
    annotations[2] = annotations[2]._replace(labels=np.zeros_like(annotations[2].labels))
    probabilities = [np.rint(255 * make_targets(each.labels, **TARGETS)[:2]).astype(np.uint8) for each in annotations]
    probabilities[1][:] = 0

    scores = judge(annotations, probabilities, 1.0)

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

    scores = judge([annotation], [probability], 1.0)

    assert scores["split_depth"] < USUAL_CUTS.split_depth
    assert scores["ap_50"] == 1 > scores["score_by_threshold"]["0.50"]
    assert scores["score_by_cuts"][f"{scores['split_depth']:.2f}, {scores['split_neck']:.2f}"] > 0.9


def test_other_cuts_are_chosen_only_where_they_gain_more_than_three_cells():
    scores = {USUAL_CUTS: 0.80, Cuts(0.1, 0.7): 0.82, Cuts(0.1, 0.8): 0.79}

    assert choose_cuts(scores, cells=100) == USUAL_CUTS
    assert choose_cuts(scores, cells=200) == Cuts(0.1, 0.7)


def test_of_cuts_within_one_cell_of_the_best_those_most_like_the_usual_are_chosen():
    scores = {USUAL_CUTS: 0.80, Cuts(0.05, 0.9): 0.850, Cuts(0.1, 0.7): 0.845, Cuts(0.1, 0.6): 0.849}

    assert choose_cuts(scores, cells=1000) == Cuts(0.1, 0.6)
    assert choose_cuts(scores, cells=100) == Cuts(0.1, 0.7)


def test_the_quick_scores_are_those_of_judge_at_one_half():
    annotations = [drawn(seed=1), drawn(seed=2)]
    probabilities = [np.rint(255 * make_targets(each.labels, **TARGETS)[:2]).astype(np.uint8) for each in annotations]
    probabilities[0][:, :30] = 90

    area, score = quick_scores(annotations, probabilities, 1.0)

    judged = judge(annotations, probabilities, 1.0)
    assert area == pytest.approx(judged["roc_area"], abs=1e-6)
    assert score == pytest.approx(judged["score_by_threshold"]["0.50"], abs=1e-6)


def test_the_figure_is_the_same_each_time(tmp_path):
    roc = pd.DataFrame({"images": "training", "false_positive_rate": [0, 0.1, 1], "true_positive_rate": [0, 0.9, 1]})
    draw_roc(roc, tmp_path / "one.png")
    draw_roc(roc, tmp_path / "two.png")

    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
