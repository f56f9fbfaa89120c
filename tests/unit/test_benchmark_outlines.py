"""The benchmark of the segmenter threshold, on a movie that is drawn."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from drawn import disks
from scipy import ndimage

from cytolapse.annotations import Annotation

CELLS = disks((120, 160), (30, 30, 12), (30, 110, 12), (85, 60, 12))


@pytest.fixture
def outlines(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import outlines

    return outlines


def test_whole_movies_are_labelled_and_the_frames_with_outlines_judge(outlines, tmp_path):
    dim_and_bright = ndimage.gaussian_filter(np.array([0.0, 3000, 3000, 800])[CELLS], 2.0)
    frames = 200 + np.random.default_rng(0).normal(0, 5, (3, *CELLS.shape)) + dim_and_bright
    tifffile.imwrite(tmp_path / "m.tif", frames.astype(np.uint16), photometric="minisblack", metadata={"axes": "TYX"})
    true = outlines.Judged(Annotation("t002", frames[2], CELLS.astype(np.int32)))
    drawn = outlines.Drawn(tmp_path / "m.tif", ("a",), [(2, true)])

    judged = outlines.judge(outlines.Row("disks", lambda _: iter([drawn])), tmp_path / "out")

    assert [judged[outline]["cells"] for outline in ("own", "common")] == [3, 3]
    assert judged["own"]["AP50"] == judged["common"]["AP50"] == 1
    assert judged["own"]["area_sd"] < 0.05 < judged["common"]["area_sd"]


def test_the_table_has_a_row_a_movie(outlines):
    of_one = {"cells": 5, "SEG": 0.5, "AP50": 0.25, "area_bias": -0.01, "area_sd": 0.125}
    text = outlines.as_markdown({"sim": {"common": of_one, "own": {**of_one, "SEG": 0.75}}})

    assert text.splitlines()[2] == (
        "| Fluo-N2DH-SIM+ 01 | 5 | 0.500, 0.750 | 0.250, 0.250 | -1.0%, -1.0% | 12.5%, 12.5% |"
    )
