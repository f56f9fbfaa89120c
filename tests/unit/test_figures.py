"""Figures of an experiment: what is drawn and what the captions say."""

import base64

import pandas as pd

from cytolapse import figures
from cytolapse.figures import cells_figure, expression_figure, growth_figure
from cytolapse.tables import typed, write_table


def counts(cells, conditions=("LB",)):
    """Numbers of cells in frames half an hour apart, in a movie of each condition."""
    rows = [(name, i, i / 2, n, name) for name in conditions for i, n in enumerate(cells)]
    table = pd.DataFrame(rows, columns=["movie", "frame", "time_h", "cells", "condition"])
    return table.assign(condition=pd.Categorical(table["condition"], conditions))


def expression(folder, rows=4):
    """File of a table expression, a row in two measured."""
    table = pd.DataFrame({"time_h": [i / 1000 for i in range(rows)], "mean_au": [5.0, None] * (rows // 2)})
    table = table.assign(movie="a", channel="GFP", compartment="whole", condition="LB")
    write_table("expression", typed("expression", table), folder / "expression.parquet")
    return folder / "expression.parquet"


def drawn(figure):
    """The SVG of a figure."""
    return base64.b64decode(figure["src"].removeprefix("data:image/svg+xml;base64,")).decode()


def test_treatments_are_marked_in_the_figures_over_time(tmp_path):
    marks = [("acid pH 5.5", 0.5)]

    for figure in (cells_figure(counts([1, 2]), marks), expression_figure(expression(tmp_path), counts([1, 2]), marks)):
        assert drawn(figure).count("acid pH 5.5</text>") == 1


def test_more_conditions_than_colours_still_give_figures():
    names = [f"dose {i}" for i in range(20)]
    rates = pd.DataFrame(
        {"condition": pd.Categorical(names * 2, names), "unit": "r", "rate": [i / 10 for i in range(40)]}
    )

    assert "dose 13 (and 6 more)" in drawn(cells_figure(counts([3, 3], names), []))
    assert "(40 of 20 conditions)" in growth_figure(rates, "replicate", "cell")["caption"]


def test_counts_that_grow_more_than_eightfold_are_drawn_on_a_logarithmic_axis_and_it_is_said():
    assert "The axis is logarithmic" in cells_figure(counts([1, 9]), [])["caption"]
    assert "logarithmic" not in cells_figure(counts([1, 8]), [])["caption"]


def test_of_very_many_measurements_a_sample_is_drawn_and_said_to_be_one(tmp_path, monkeypatch):
    path = expression(tmp_path, 2000)

    assert "(1,000 measurements, in steps of 0.5 h)" in expression_figure(path, counts([1, 1]), [])["caption"]
    monkeypatch.setattr(figures, "LARGEST_SAMPLE_ROWS", 100)
    assert " of 1,000 measurements" in expression_figure(path, counts([1, 1]), [])["caption"]
    assert "a random sample of " in expression_figure(path, counts([1, 1]), [])["caption"]


def test_where_there_is_nothing_to_draw_there_is_no_figure(tmp_path):
    path = tmp_path / "expression.parquet"
    write_table("expression", typed("expression", pd.DataFrame()), path)

    assert cells_figure(counts([0, 0]), []) is None
    assert expression_figure(path, counts([1, 1]), []) is None
    assert growth_figure(pd.DataFrame(columns=["condition", "unit", "rate"]), "movie", "cell") is None
