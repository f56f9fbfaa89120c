import numpy as np
import pandas as pd
import pytest
from drawn import TARGETS, drawn

from cytolapse.judgement import draw_roc, judge, quick_scores
from cytolapse.targets import make_targets


def test_perfect_probabilities_are_judged_perfect():
    annotations = [drawn(seed=1), drawn(seed=2)]
    targets = [make_targets(each.labels, **TARGETS)[:2] for each in annotations]

    scores = judge(annotations, [np.rint(255 * each).astype(np.uint8) for each in targets], 1.0)

    assert scores["roc_area"] == 1
    assert scores["ap_50"] == 1
    assert scores["threshold"] == 0.5
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
