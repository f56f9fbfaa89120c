"""How a training goes, while it goes: lines in the log, a table, a picture, and the time that is left."""

import logging
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cytolapse.files import atomic_path

log = logging.getLogger(__name__)

COLUMNS = ("phase", "step", "learning_rate", "loss", "held_out_roc_area", "held_out_score")

# Between two lines of the log, where nothing special happens.
_TELL_EVERY_S = 60.0
# A step is timed over this many of the last.
_RECENT_STEPS = 50


class Row(NamedTuple):
    """One row of a training's table: the loss is the mean since the row before."""

    phase: str
    step: int
    learning_rate: float
    loss: float
    held_out_roc_area: float | None
    held_out_score: float | None


class Work(NamedTuple):
    """What a phase has to do: steps, checks, pixels of a check, and pixels to predict and to label after it."""

    steps: int
    checks: int = 0
    check_px: int = 0
    predict_px: int = 0
    label_px: int = 0


class Progress:
    """What is done of a training, and how long the rest will take.

    Every time is measured on this machine: steps over the last ones,
    predictions and labels a pixel over all so far. As long as neither
    prediction nor label was timed, the line in the log says that judging is
    not in it.

    Parameters
    ----------
    work : mapping of str to Work
        Of each phase, in order.
    folder : path or None
        Where training.tsv and training.png are written while it goes; None
        for nowhere.
    at_most : bool
        Whether phases may end before their last step.
    """

    def __init__(self, work: Mapping[str, Work], folder: str | os.PathLike | None, *, at_most: bool):
        self.work = dict(work)
        self.folder = None if folder is None else Path(folder)
        self.at_most = at_most
        self.rows: list[Row] = []
        self._left_px = {
            "predict": sum(each.checks * each.check_px + each.predict_px for each in work.values()),
            "label": sum(each.checks * each.check_px + each.label_px for each in work.values()),
        }
        self._timed_px = dict.fromkeys(self._left_px, 0)
        self._timed_s = dict.fromkeys(self._left_px, 0.0)
        self._steps_left = sum(each.steps for each in work.values())
        self._marks_s: deque[float] = deque(maxlen=_RECENT_STEPS + 1)
        self._aside_s = 0.0
        self._told_s = time.monotonic()
        self._step = 0

    def begin(self, phase: str, step: int, steps: int, rows: Sequence[Row]) -> None:
        """A phase of `steps` starts, or goes on from a checkpoint at `step` with the rows until then."""
        self._plan(phase, steps)
        checked = sum(row.held_out_score is not None for row in rows)
        for kind in self._left_px:
            self._left_px[kind] -= checked * self.work[phase].check_px
        self._steps_left -= step
        self._step = step
        self._marks_s.clear()
        self._mark()
        self.rows += rows
        if step:
            log.info("%s: %d of %d steps were made before, and are not made again", phase, step, steps)

    def stepped(self, phase: str, step: int, steps: int, loss: float) -> None:
        """A step is done, `steps` being the last of this phase as it looks now."""
        self._plan(phase, steps)
        self._steps_left -= step - self._step
        self._step = step
        self._mark()
        if time.monotonic() - self._told_s >= _TELL_EVERY_S:
            self.tell(phase, loss)

    def _plan(self, phase: str, steps: int) -> None:
        """A phase may turn out shorter: its last steps and checks are not to be waited for."""
        before = self.work[phase]
        self._steps_left += steps - before.steps
        checks = -(-before.checks * steps // before.steps)
        for kind in self._left_px:
            self._left_px[kind] -= (before.checks - checks) * before.check_px
        self.work[phase] = before._replace(steps=steps, checks=checks)

    def noted(self, row: Row) -> None:
        """A row is complete; one with a score, or the last of its phase, is told at once."""
        self.rows.append(row)
        if row.held_out_score is not None:
            log.info(
                "%s: step %d, images left out: pixelwise ROC area %.4f, score of labels %.3f",
                *(row.phase, row.step, row.held_out_roc_area, row.held_out_score),
            )
        if row.held_out_score is not None or row.step == self.work[row.phase].steps:
            self.tell(row.phase, row.loss)

    @contextmanager
    def timed(self, kind: str, pixels: int) -> Iterator[None]:
        """Time a piece of work that is no step: 'predict' or 'label', of so many pixels."""
        start_s = time.monotonic()
        yield
        spent_s = time.monotonic() - start_s
        self._aside_s += spent_s
        self._timed_s[kind] += spent_s
        self._timed_px[kind] += pixels
        self._left_px[kind] -= pixels

    @property
    def step_s(self) -> float | None:
        """Seconds of a step, over the last ones; None before there are two."""
        if len(self._marks_s) < 2:
            return None
        return (self._marks_s[-1] - self._marks_s[0]) / (len(self._marks_s) - 1)

    @property
    def left_s(self) -> float | None:
        """Seconds to the end of the whole training, what was never timed left out; None before there is a step."""
        if self.step_s is None:
            return None
        judging_s = sum(
            max(left_px, 0) * self._timed_s[kind] / self._timed_px[kind]
            for kind, left_px in self._left_px.items()
            if self._timed_px[kind]
        )
        return self._steps_left * self.step_s + judging_s

    def tell(self, phase: str, loss: float) -> None:
        """A line in the log, and table and picture as they are now."""
        self._told_s = time.monotonic()
        start = f"{phase}: step {self._step} of {self.work[phase].steps}, loss {loss:.4f}"
        if self.left_s is None:
            log.info("%s", start)
        else:
            judged = all(self._timed_px[kind] or not left_px for kind, left_px in self._left_px.items())
            log.info(
                "%s, %.2f s a step; %s%s left of the whole training%s",
                *(start, self.step_s, "at most " if self.at_most else "about ", _duration(self.left_s)),
                ", judging included" if judged else ", without judging, which has not been timed yet",
            )
        if self.folder is not None:
            self._write()

    def _write(self) -> None:
        """A folder that takes no picture costs no training."""
        start_s = time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_course(course(self.rows), self.folder / "training.tsv", self.folder / "training.png")
        except OSError as error:
            log.warning("the course of the training could not be written to %s (%s)", self.folder, error)
        self._aside_s += time.monotonic() - start_s

    def _mark(self) -> None:
        self._marks_s.append(time.monotonic() - self._aside_s)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def course(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a table; a score that was not measured is null."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(
        {"held_out_roc_area": "float64", "held_out_score": "float64"}
    )


def write_course(rows: pd.DataFrame, table_path: str | os.PathLike, figure_path: str | os.PathLike) -> None:
    """Write the course of a training as a table and as a picture.

    Parameters
    ----------
    rows : DataFrame
        From `course`.
    table_path : path
        Tab-separated text to write.
    figure_path : path
        PNG to write: loss, scores of the images left out, and learning rate
        over steps, a line a phase.
    """
    write_tsv(rows, table_path)
    _draw(rows, figure_path)


def write_tsv(table: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a table of numbers as text, columns separated by tabs."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, float_format="%.6g", lineterminator="\n")


def _draw(rows: pd.DataFrame, path: str | os.PathLike) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (loss, score, rate) = pyplot.subplots(
        3, 1, figsize=(7, 7), sharex=True, layout="constrained", height_ratios=(3, 3, 1)
    )
    for number, (phase, part) in enumerate(rows.groupby("phase", sort=False)):
        colour = f"C{number}"
        loss.plot(part["step"], part["loss"], color=colour, linewidth=1, label=phase.replace("_", " "))
        rate.plot(part["step"], part["learning_rate"], color=colour, linewidth=1)
        scored = part.dropna(subset=["held_out_score"])
        if len(scored):
            score.plot(scored["step"], scored["held_out_score"], "o-", color=colour, markersize=4, label="labels")
            score.plot(scored["step"], scored["held_out_roc_area"], "s--", color=colour, markersize=4, label="pixels")
    loss.set(ylabel="loss", yscale="log")
    score.set(ylabel="images left out\n(1 is perfect)")
    rate.set(ylabel="learning rate", xlabel="step", ylim=(0, None))
    if len(rows):
        loss.legend(frameon=False)
    handles, names = score.get_legend_handles_labels()
    if names:
        score.legend(handles[:2], ["score of labels", "pixelwise ROC area"], frameon=False, loc="lower right")
    else:
        score.text(0.5, 0.5, "no score yet", transform=score.transAxes, ha="center", color="0.5")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
    pyplot.close(figure)
