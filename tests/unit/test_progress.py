import logging

import pandas as pd
import pytest

from cytolapse import progress
from cytolapse.progress import Progress, Row, Work, course, write_course


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now_s = 0.0

    def monotonic(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock.monotonic)
    return clock


def make_steps(training: Progress, clock: Clock, phase: str, steps: range, of: int, step_s: float) -> None:
    for step in steps:
        clock.now_s += step_s
        training.stepped(phase, step, of, 0.5)


def row(phase="held_out", step=10, score=None):
    return Row(phase, step, 1e-3, 0.5, score, score)


def test_the_time_left_is_that_of_all_phases_and_of_judging(clock):
    work = {"held_out": Work(100, 10, 1000, 1000, 15_000), "final": Work(200, 0, 0, 4000, 3000)}
    training = Progress(work, None, at_most=False)
    training.begin("held_out", 0, 100, [])
    assert training.left_s is None

    make_steps(training, clock, "held_out", range(1, 11), 100, step_s=2.0)
    assert training.left_s == 290 * 2.0

    with training.timed("predict", 1000):
        clock.now_s += 3.0
    with training.timed("label", 1000):
        clock.now_s += 1.0
    # 9 checks, one prediction of the images left out and four of all; 9 checks and 18 thousand pixels to label
    assert training.left_s == 290 * 2.0 + (9 + 1 + 4) * 3.0 + (9 + 18) * 1.0


def test_a_check_counts_in_no_step_and_a_step_is_timed_over_the_last(clock):
    training = Progress({"final": Work(1000)}, None, at_most=False)
    training.begin("final", 0, 1000, [])
    make_steps(training, clock, "final", range(1, 101), 1000, step_s=9.0)
    with training.timed("predict", 1):
        clock.now_s += 1000
    make_steps(training, clock, "final", range(101, 151), 1000, step_s=1.0)

    assert training.step_s == 1.0
    assert training.left_s == 850.0


def test_what_was_done_before_a_training_was_cut_off_is_not_waited_for(clock):
    work = {"held_out": Work(100, 10, 1000, 0, 0), "final": Work(200)}
    training = Progress(work, None, at_most=False)
    training.begin("held_out", 100, 100, [row(step=step, score=0.9) for step in range(10, 101, 10)])
    training.begin("final", 150, 200, [])
    make_steps(training, clock, "final", range(151, 153), 200, step_s=1.0)
    with training.timed("predict", 5):
        clock.now_s += 7.0

    assert training.left_s == 48.0


def test_a_phase_that_ends_early_is_waited_for_no_longer(clock):
    training = Progress({"held_out": Work(100, 10, 1000, 0, 0), "final": Work(200)}, None, at_most=True)
    training.begin("held_out", 0, 100, [])
    make_steps(training, clock, "held_out", range(1, 51), 100, step_s=1.0)
    with training.timed("label", 5000):
        clock.now_s += 5.0
    make_steps(training, clock, "held_out", range(51, 52), 60, step_s=1.0)

    assert training.left_s == pytest.approx(9 + 200 + 1)  # one check of ten is left
    make_steps(training, clock, "held_out", range(52, 61), 60, step_s=1.0)
    training.begin("final", 0, 120, [])
    make_steps(training, clock, "final", range(1, 2), 120, step_s=1.0)
    assert training.left_s == pytest.approx(119 + 1)


def test_the_log_has_a_line_a_minute_and_says_what_is_left_and_what_is_not_in_it(clock, caplog):
    training = Progress({"held_out": Work(1000, 10, 1000, 0, 0)}, None, at_most=False)
    training.begin("held_out", 0, 1000, [])
    with caplog.at_level(logging.INFO):
        make_steps(training, clock, "held_out", range(1, 61), 1000, step_s=2.0)

    assert [message for message in caplog.messages] == [
        "held_out: step 30 of 1000, loss 0.5000, 2.00 s a step; about 32 min left of the whole training, "
        "without judging, which has not been timed yet",
        "held_out: step 60 of 1000, loss 0.5000, 2.00 s a step; about 31 min left of the whole training, "
        "without judging, which has not been timed yet",
    ]


@pytest.mark.parametrize(
    ("left_s", "words"), [(50, "about 50 s left"), (1800, "about 30 min left"), (9000, "about 2.5 h left")]
)
def test_a_score_is_told_at_once_with_the_time_left_in_fitting_units(clock, caplog, left_s, words):
    training = Progress({"held_out": Work(2 * left_s)}, None, at_most=False)
    training.begin("held_out", 0, 2 * left_s, [])
    make_steps(training, clock, "held_out", range(1, left_s + 1), 2 * left_s, step_s=1.0)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        training.noted(row(step=left_s, score=0.75))

    assert caplog.messages[0].endswith("images left out: pixelwise ROC area 0.7500, score of labels 0.750")
    assert words in caplog.messages[1]
    assert caplog.messages[1].endswith("judging included")


def test_where_phases_may_end_early_the_time_left_is_the_most(clock, caplog):
    training = Progress({"held_out": Work(10)}, None, at_most=True)
    training.begin("held_out", 0, 10, [])
    make_steps(training, clock, "held_out", range(1, 3), 10, step_s=1.0)
    with caplog.at_level(logging.INFO):
        training.noted(row(step=2, score=0.5))

    assert "at most 8 s left" in caplog.text


def test_table_and_picture_are_there_while_the_training_goes(clock, tmp_path):
    training = Progress({"held_out": Work(100, 10)}, tmp_path / "logs", at_most=False)
    training.begin("held_out", 0, 100, [])
    training.noted(row(step=5))
    assert not (tmp_path / "logs").exists()
    training.noted(row(step=10, score=0.8))

    table = pd.read_csv(tmp_path / "logs/training.tsv", sep="\t")
    assert table.columns.tolist() == list(progress.COLUMNS)
    assert table.step.tolist() == [5, 10]
    assert table.held_out_score.isna().tolist() == [True, False]
    assert (tmp_path / "logs/training.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_takes_no_picture_costs_no_training(clock, tmp_path, caplog):
    (tmp_path / "logs").write_text("a file")
    training = Progress({"held_out": Work(10)}, tmp_path / "logs", at_most=False)
    training.begin("held_out", 0, 10, [])

    training.noted(row(score=0.8))

    assert "the course of the training could not be written" in caplog.text


def test_the_picture_of_a_course_is_the_same_each_time_also_without_a_score(tmp_path):
    rows = course([row("final", step) for step in (1, 2, 3)])
    for name in ("one", "two"):
        write_course(rows, tmp_path / f"{name}.tsv", tmp_path / f"{name}.png")

    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert rows.held_out_score.dtype == "float64"
