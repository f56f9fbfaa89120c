"""Expression of cells whose pixels can be counted by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from cytolapse.expression import measure_expression
from cytolapse.tables import typed

# 100 pixels of 150 au over a background of 120 +- 0.5 au; pixel noise 4 au; volume 2 um3
CELL = {
    **{"frame": 0, "label": 7, "channel": "gfp", "compartment": "whole", "pixels": 100},
    **{"background_au": 120.0, "background_se_au": 0.5, "background_method": "local"},
    **{"mean_raw_au": 150.0, "median_raw_au": 148.0, "sd_au": 9.0, "saturated_fraction": 0.0},
}
NUMBERS = [
    *("background_au", "background_se_au", "mean_raw_au", "mean_au", "median_au", "sd_au", "total_au", "total_se_au"),
    *("concentration_au_per_um3", "saturated_fraction", "flag_negative", "flag_saturated", "exposure_ms"),
]


def expression_of(*changes, acquired=True, volume_um3=2.0, max_saturated_fraction=0.01):
    intensities = typed("intensities", pd.DataFrame([{**CELL, **change} for change in changes]))
    plane = {"frame": 0, "channel": "gfp", "acquired": acquired, "exposure_ms": 50.0, "background_sd_au": 4.0}
    cells = {"frame": 0, "label": 7, "cell_id": "pad:3", "time_h": 0.25, "volume_um3": volume_um3}
    rows = measure_expression(
        intensities,
        typed("planes", pd.DataFrame([plane])),
        pd.DataFrame([cells]),
        max_saturated_fraction=max_saturated_fraction,
    )
    return typed("expression", rows)


def test_a_cell_30_au_above_background_on_100_pixels_has_a_total_of_3000_au():
    row = expression_of({}).iloc[0]

    assert (row["mean_au"], row["median_au"], row["total_au"]) == (30, 28, 3000)
    assert row["concentration_au_per_um3"] == 1500
    assert (row["cell_id"], row["time_h"], row["exposure_ms"]) == ("pad:3", 0.25, 50)


def test_the_error_of_the_total_is_that_of_the_background_and_of_the_pixels():
    # background: 0.5 * 100 = 50 au; pixels: 4 * sqrt(100) = 40 au
    assert expression_of({}).loc[0, "total_se_au"] == pytest.approx(math.hypot(50, 40))


def test_the_error_of_the_total_is_the_scatter_of_totals_drawn_at_random():
    rng = np.random.default_rng(0)
    background = 120 + 0.5 * rng.normal(size=4000)
    mean_raw = 150 + 4 * rng.normal(size=(4000, 100)).mean(axis=1)

    scatter = np.std((mean_raw - background) * 100)

    assert expression_of({}).loc[0, "total_se_au"] == pytest.approx(scatter, rel=0.05)


def test_a_plane_that_was_not_acquired_has_null_numbers_in_its_row():
    empty = dict.fromkeys(("background_au", "background_se_au", "mean_raw_au", "median_raw_au", "sd_au"))

    rows = expression_of({**empty, "background_method": None, "saturated_fraction": None}, acquired=False)

    assert len(rows) == 1
    assert rows.loc[0, NUMBERS].isna().all()
    assert rows.loc[0, "time_h"] == 0.25


def test_the_zeros_of_a_padded_plane_are_null_too():
    padded = {"mean_raw_au": 0.0, "background_au": 0.0, "background_se_au": 0.0, "median_raw_au": 0.0, "sd_au": 0.0}

    assert expression_of(padded, acquired=False).loc[0, [*NUMBERS, "background_method"]].isna().all()


def test_negative_expression_is_kept_and_flagged_only_beyond_two_errors():
    # the error of the mean is hypot(50, 40) / 100 = 0.64 au
    rows = expression_of({"mean_raw_au": 119.0}, {"mean_raw_au": 118.0})

    assert rows["mean_au"].tolist() == [-1, -2]
    assert rows["total_au"].tolist() == [-100, -200]
    assert rows["flag_negative"].tolist() == [False, True]


def test_more_saturated_pixels_than_allowed_are_flagged():
    rows = expression_of({"saturated_fraction": 0.01}, {"saturated_fraction": 0.02})

    assert rows["flag_saturated"].tolist() == [False, True]


def test_without_a_volume_there_is_no_concentration():
    assert math.isnan(expression_of({}, volume_um3=np.nan).loc[0, "concentration_au_per_um3"])


def test_a_ring_has_a_total_but_no_concentration():
    ring = expression_of({}, {"compartment": "ring"}).loc[1]

    assert ring["total_au"] == 3000
    assert math.isnan(ring["concentration_au_per_um3"])


def test_what_this_version_does_not_compute_is_null_and_typed():
    row = expression_of({}).loc[0]

    assert row[["autofluorescence_au", "bleach_factor", "crosstalk_applied", "production_rate_au_per_h"]].isna().all()
