"""A small project to plan, and what is said against it."""

from pathlib import Path

import pytest

from planning.plan import Plan

EXPERIMENTS = "experiment\tmovies\tmodel\tsegment_channel\tchannels\tpixel_size_um\tframe_interval_min\n"
ROW = "night1\tmovies/*.tif\tnuclei\tphase\tphase,gfp\t0.1\t5\n"


def refusal(config) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        Plan(config).check_all()
    return str(caught.value)


def movies_sheet(text: str) -> dict:
    Path("movies.tsv").write_text(text)
    return {"movies": "movies.tsv"}
