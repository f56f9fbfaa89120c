"""Control cells whose autofluorescence, bleaching and crosstalk are known."""

import numpy as np
import pandas as pd
import pytest

from cytolapse.controls import COLUMNS, write_controls
from cytolapse.tables import typed, write_table

CELLS, FRAMES = 12, 10
NONE = {"autofluorescence": [], "bleaching": [], "crosstalk": {}}


def rows_of(condition, light_au, movie="a", channel="gfp"):
    """A row a cell and frame of one movie; light above a background of 100, (cells, frames) or what becomes so."""
    light = np.broadcast_to(light_au, (CELLS, FRAMES)).ravel()
    cell, frame = np.repeat(np.arange(CELLS), FRAMES), np.tile(np.arange(FRAMES), CELLS)
    rows = {"movie": movie, "condition": condition, "channel": channel, "compartment": "whole", "frame": frame}
    return pd.DataFrame(
        {**rows, "cell_id": [f"{movie}:{each}" for each in cell], "background_au": 100.0, "mean_raw_au": 100 + light}
    )


@pytest.fixture
def controls(tmp_path):
    def run(*rows, **named):
        table = typed("expression", pd.concat(rows, ignore_index=True))
        write_table("expression", table, tmp_path / "expression.parquet")
        write_controls(
            tmp_path / "expression.parquet", tmp_path / "controls.tsv", experiment="night1", **{**NONE, **named}
        )
        return pd.read_csv(tmp_path / "controls.tsv", sep="\t")

    return run


def test_autofluorescence_is_the_usual_light_of_cells_without_a_reporter(controls):
    rng = np.random.default_rng(0)
    wild = [rows_of("wild", 12 + rng.normal(0, 1, (CELLS, 1)), movie) for movie in ("a", "b", "c")]

    table = controls(*wild, rows_of("drug", 500.0, "d"), autofluorescence=["wild"])

    assert tuple(table.columns) == COLUMNS
    (row,) = table.to_dict("records")
    assert (row["setting"], row["channel"], row["movies"], row["cells"]) == ("autofluorescence_au", "gfp", 3, 36)
    assert row["value"] == pytest.approx(12, abs=0.6)
    assert 0.02 < row["se"] < 0.8


def test_bleaching_is_the_part_that_an_exposure_takes_from_cells_of_any_brightness(controls):
    brightness = np.linspace(50, 900, CELLS)[:, None]

    (row,) = controls(rows_of("fixed", brightness * 0.97 ** np.arange(FRAMES)), bleaching=["fixed"]).to_dict("records")

    assert row["setting"] == "bleached_per_exposure"
    assert row["value"] == pytest.approx(0.03)
    assert row["movies"] == 1


def test_exposures_are_counted_and_not_frames(controls):
    light = np.where(np.arange(FRAMES) % 2 == 0, 400 * 0.9 ** (np.arange(FRAMES) // 2), np.nan)

    (row,) = controls(rows_of("fixed", light), bleaching=["fixed"]).to_dict("records")

    assert row["value"] == pytest.approx(0.1)


def test_crosstalk_is_the_slope_over_cells_whatever_they_shine_by_themselves(controls):
    red = np.linspace(100, 900, CELLS)[:, None]
    rows = (rows_of("red", red, channel="rfp"), rows_of("red", 15 + 0.04 * red))

    (row,) = controls(*rows, crosstalk={"rfp": ["red"]}).to_dict("records")

    assert (row["setting"], row["channel"], row["source"]) == ("crosstalk", "gfp", "rfp")
    assert row["value"] == pytest.approx(0.04)


def test_too_few_frames_or_cells_give_no_value_but_a_row(controls):
    few = rows_of("fixed", 400.0).query("frame < 3")
    assert np.isnan(controls(few, bleaching=["fixed"])["value"][0])
    alike = rows_of("red", 300.0, channel="rfp"), rows_of("red", 20.0)
    assert np.isnan(controls(*alike, crosstalk={"rfp": ["red"]})["value"][0])


def test_cells_that_are_darker_than_their_surroundings_bleach_by_no_value(controls):
    (row,) = controls(rows_of("fixed", -40.0), bleaching=["fixed"]).to_dict("records")

    assert np.isnan(row["value"])
    assert row["movies"] == 0


def test_without_a_control_there_is_nothing_to_write(controls):
    with pytest.raises(ValueError, match="experiment night1: no control is named; name conditions of movies.tsv"):
        controls(rows_of("wild", 12.0))


def test_a_condition_that_no_cell_has_is_refused(controls):
    with pytest.raises(ValueError, match="experiment night1: no cell has the condition wlid"):
        controls(rows_of("wild", 12.0), autofluorescence=["wlid"])


def test_crosstalk_from_a_channel_that_was_not_seen_is_refused(controls):
    with pytest.raises(ValueError, match="cells of the condition red have no light in 'cfp'"):
        controls(rows_of("red", 12.0), crosstalk={"cfp": ["red"]})
