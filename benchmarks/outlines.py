"""The segmenter threshold on real and simulated movies: cells outlined at one threshold, or each at its own height.

    python benchmarks/outlines.py [ROW ...] [--folder bench/outlines]

A row is gowt1, hela, sim, ecoli, ecoli_sharp (smoothed by 0.5 px) or simulated; all by
default, and then the table is written into docs/segmenters.md. Whole movies are
labelled, and every third of the frames that have outlines judges.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import data as movies
import numpy as np
import pandas as pd
import tifffile
from scores import drop_margin, write_between_marks
from segmentation import compare, summary
from stills import Judged
from tables import LIGHT, SCENES, SEEDS

from cytolapse.annotations import Annotation
from cytolapse.inspection import inspect_movie, write_info
from cytolapse.simulation import simulate_movie, write_movie
from cytolapse.thresholding import OUTLINES, threshold_movie
from planning.settings import read_settings

DOCS = movies.REPOSITORY / "docs/segmenters.md"
EVERY = 3
# The light under which nuclei are simulated, as a part of `make benchmark-tables`.
LIGHT_OF_NUCLEI = "usual"


@dataclass(frozen=True)
class Drawn:
    """A movie, and the outlines of some of its frames.

    Attributes
    ----------
    path : Path
    channels : tuple of str
        The first is segmented.
    judged : list of (frame, Judged)
    """

    path: Path
    channels: tuple[str, ...]
    judged: list[tuple[int, Judged]]


@dataclass(frozen=True)
class Row:
    """What the table says in one row: movies, and what differs from the defaults of `threshold`."""

    title: str
    drawn: Callable[[Path], Iterator[Drawn]]
    settings: Mapping[str, Any] = field(default_factory=dict)


def _real(name: str) -> Callable[[Path], Iterator[Drawn]]:
    task = next(task for task in movies.TASKS if task.name == name)

    def drawn(_: Path) -> Iterator[Drawn]:
        data = movies.data_folder()
        frames = sorted(task.masks(data))[::EVERY]
        judged = [(frame, Judged(movies.still(task, data, frame, 0), task.margin_px)) for frame in frames]
        path = data / task.folder / ("phase.tif" if name == "ecoli" else "01")
        yield Drawn(path, (task.row["segment_channel"],), judged)

    return drawn


def _simulated(folder: Path) -> Iterator[Drawn]:
    p = SCENES["nuclei"].parameters
    p = replace(p, electrons_per_au=p.electrons_per_au * LIGHT[LIGHT_OF_NUCLEI])
    for seed in SEEDS:
        simulated = simulate_movie(p, seed)
        path = folder / f"seed{seed}.tif"
        write_movie(path, simulated)
        judged = [
            (
                frame,
                Judged(Annotation(f"seed {seed}, t{frame:03d}", simulated.movie[frame, 0], labels.astype(np.int32))),
            )
            for frame, labels in list(enumerate(simulated.labels))[::EVERY]
        ]
        yield Drawn(path, p.channels, judged)


ROWS = {
    "hela": Row("Fluo-N2DL-HeLa 01, consensus outlines", _real("hela")),
    "gowt1": Row("Fluo-N2DH-GOWT1 01, consensus outlines", _real("gowt1")),
    "sim": Row("Fluo-N2DH-SIM+ 01", _real("sim")),
    "ecoli": Row("SuperSegger-Ecoli, phase, `cells: dark`", _real("ecoli"), {"cells": "dark"}),
    "ecoli_sharp": Row("the same, `smoothing_px: 0.5`", _real("ecoli"), {"cells": "dark", "smoothing_px": 0.5}),
    "simulated": Row("two movies of simulated nuclei, usual light", _simulated),
}


def judge(row: Row, folder: Path) -> dict[str, dict]:
    """Scores of a row, by how cells are outlined."""
    folder.mkdir(parents=True, exist_ok=True)
    cells: dict[str, list[pd.DataFrame]] = {outline: [] for outline in OUTLINES}
    for drawn in row.drawn(folder):
        for outline in OUTLINES:
            labels = _labels(drawn, folder, {**row.settings, "outline": outline})
            cells[outline] += [
                compare(judged, drop_margin(labels[frame].astype(np.int32), judged.margin_px))
                for frame, judged in drawn.judged
            ]
    tables = {outline: pd.concat(found, ignore_index=True) for outline, found in cells.items()}
    return {outline: {**summary(table), "cells": int((table["label"] > 0).sum())} for outline, table in tables.items()}


def _labels(drawn: Drawn, folder: Path, settings: Mapping[str, Any]) -> np.ndarray:
    """Labels of a whole movie, as the pipeline makes them."""
    info = inspect_movie(
        drawn.path,
        **{"position": None, "axes": None, "channels": drawn.channels, "segment_channel": drawn.channels[0]},
        **{"stated": ("pixel_size_um", "frame_interval_min"), "z_projection": "none", "on_bad_movie": "stop"},
    )
    write_info(info, folder / "movie.json")
    threshold_movie(
        folder / "movie.json",
        *(folder / "labels.tif", folder / "confidence.parquet"),
        **{**read_settings({})["threshold"], **settings},
        **{"pixel_size_um": 1.0, "frame_interval_min": 1.0, "provenance": {}},
    )
    return tifffile.imread(folder / "labels.tif")


def as_markdown(judged: Mapping[str, dict[str, dict]]) -> str:
    """The table of docs/segmenters.md."""
    lines = ["| movie | cells | SEG: common, own | AP at 0.5 | area | scatter of the area |"]
    lines.append("| --- |" + " --- |" * 5)
    for name, by_outline in judged.items():
        common, own = by_outline["common"], by_outline["own"]
        row = [ROWS[name].title, str(own["cells"])]
        row += [f"{common[score]:.3f}, {own[score]:.3f}" for score in ("SEG", "AP50")]
        row.append(f"{common['area_bias']:+.1%}, {own['area_bias']:+.1%}")
        row.append(f"{common['area_sd']:.1%}, {own['area_sd']:.1%}")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="row", help=", ".join(ROWS))
    parser.add_argument("--folder", type=Path, default=movies.REPOSITORY / "bench/outlines")
    options = parser.parse_args()
    unknown = set(options.rows) - set(ROWS)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: no such row; they are {', '.join(ROWS)}")
    judged = {name: judge(ROWS[name], options.folder / name) for name in ROWS if name in (options.rows or ROWS)}
    (options.folder / "scores.json").write_text(json.dumps(judged, indent=1) + "\n")
    text = as_markdown(judged)
    sys.stdout.write(text)
    if len(judged) == len(ROWS):
        write_between_marks(DOCS, "outlines", text)


if __name__ == "__main__":
    main()
