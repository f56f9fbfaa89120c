import numpy as np
import pandas as pd
from drawn import TARGETS, drawn

from cytolapse.judgement import draw_roc, judge
from cytolapse.targets import make_targets


def test_perfect_probabilities_are_judged_perfect():
    annotations = [drawn(seed=1), drawn(seed=2)]
    targets = [make_targets(each.labels, **TARGETS)[:2] for each in annotations]

    scores = judge(annotations, [np.rint(255 * each).astype(np.uint8) for each in targets], 1.0)

    assert scores["roc_area"] == 1
    assert scores["ap_50"] == 1
    assert scores["threshold"] == 0.5
    assert (scores["false_positive_rate"], scores["true_positive_rate"]) == (0, 1)


def test_the_figure_is_the_same_each_time(tmp_path):
    roc = pd.DataFrame({"images": "training", "false_positive_rate": [0, 0.1, 1], "true_positive_rate": [0, 0.9, 1]})
    draw_roc(roc, tmp_path / "one.png")
    draw_roc(roc, tmp_path / "two.png")

    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
