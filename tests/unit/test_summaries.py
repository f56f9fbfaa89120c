"""Numbers behind the page: rates, their intervals and counts of flags."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from cytolapse.summaries import fitted_rates, flag_counts, mean_interval, number_rates, rate_summary, sample_expression
from cytolapse.tables import typed, write_table

INTERVAL = ["number_rate_lo95_per_h", "number_rate_hi95_per_h"]


def test_cycles_flagged_as_short_or_poor_take_no_part_in_the_rates():
    growth = pd.DataFrame(
        [
            (1, 0.5, False, False),
            (2, 7.0, True, False),
            (3, 8.0, False, True),
            (4, math.nan, False, False),
            (5, 0.7, None, None),
        ],
        columns=["track", "growth_rate_per_h", "flag_short", "flag_poor_fit"],
    ).assign(movie="a", cycle=0, condition=pd.Categorical(["LB"] * 5), replicate=None)

    rates = fitted_rates(typed("growth", growth).assign(condition=growth["condition"]), "movie")

    assert rates["rate"].tolist() == [0.5, 0.7]
    assert set(rates["unit"]) == {"a"}


def test_of_one_replicate_the_interval_of_the_median_has_the_ranks_40_and_61_of_100_cells():
    rates = pd.DataFrame({"condition": "LB", "unit": "r1", "rate": np.arange(1.0, 101.0)})

    [row] = rate_summary(rates).to_dict("records")

    assert row == {
        **{"condition": "LB", "cells": 100, "units": 1},
        **{"rate_per_h": 50.5, "lo95_per_h": 40.0, "hi95_per_h": 61.0},
    }


def test_five_cells_of_one_replicate_give_a_median_but_no_interval():
    rates = pd.DataFrame({"condition": "LB", "unit": "r1", "rate": [1.0, 2.0, 3.0, 4.0, 5.0]})

    [row] = rate_summary(rates).to_dict("records")

    assert row["rate_per_h"] == 3
    assert math.isnan(row["lo95_per_h"])


def test_the_interval_of_a_mean_of_three_is_4_303_standard_errors_wide():
    mean, low, high = mean_interval(np.array([1.0, 2.0, 3.0]))

    assert mean == 2
    assert high - mean == pytest.approx(4.30265 / math.sqrt(3), rel=1e-4)
    assert mean - low == pytest.approx(high - mean)


def test_windows_of_a_replicate_count_by_their_length():
    windows = [("r1", 0, 3, 0.1, 0.08, 0.12), ("r1", 3, 4, 0.5, 0.45, 0.55), ("r1", 4, 5, *[math.nan] * 3)]
    population = pd.DataFrame(
        windows,
        columns=["replicate", "window_start_h", "window_end_h", "number_rate_per_h", *INTERVAL],
    ).assign(condition=pd.Categorical(["LB"] * 3), divisions=2)

    [row] = number_rates(population).to_dict("records")

    # (3 * 0.1 + 1 * 0.5) / 4, and the halves of the intervals with the same weights
    half = math.hypot(0.75 * 0.02, 0.25 * 0.05)
    assert row["rate_per_h"] == pytest.approx(0.2)
    assert row["hi95_per_h"] == pytest.approx(0.2 + half)
    assert (row["replicates"], row["divisions"]) == (1, 6)


def test_two_replicates_give_the_rate_of_number_an_interval_between_them():
    population = pd.DataFrame(
        {"replicate": ["r1", "r2"], "window_start_h": 0.0, "window_end_h": 2.0, "number_rate_per_h": [0.1, 0.3]}
    ).assign(condition=pd.Categorical(["LB"] * 2), divisions=1, **dict.fromkeys(INTERVAL, math.nan))

    [row] = number_rates(population).to_dict("records")

    assert row["rate_per_h"] == pytest.approx(0.2)
    assert row["hi95_per_h"] == pytest.approx(0.2 + 12.7062 * 0.1, rel=1e-4)


def test_a_condition_without_any_rate_of_number_is_unknown_not_an_error():
    population = pd.DataFrame(
        {"replicate": ["r1"], "window_start_h": 0.0, "window_end_h": 2.0, "number_rate_per_h": [math.nan]}
    ).assign(condition=pd.Categorical(["LB"]), divisions=0, **dict.fromkeys(INTERVAL, math.nan))

    [row] = number_rates(population).to_dict("records")

    assert math.isnan(row["rate_per_h"])
    assert row["replicates"] == 0


def test_flags_are_counted_over_all_rows_with_the_movie_that_has_most(tmp_path):
    rows = [{"movie": "a", "flag_border": True}] + [{"movie": "b", "flag_border": i < 2} for i in range(4)]
    path = tmp_path / "cells.parquet"
    write_table("cells", typed("cells", pd.DataFrame(rows).assign(flag_area_jump=False)), path)

    flags, unjudged = flag_counts({"cells": path})

    border, jump = flags
    assert (border["flag"], border["rows"], border["of"], border["share"]) == ("flag_border", 3, 5, 0.6)
    assert (border["worst"], border["worst_rows"]) == ("b", 2)
    assert border["rule"] == "the mask touches the edge of the frame"
    assert (jump["rows"], jump["worst"]) == (0, None)
    assert unjudged == ["cells.flag_mitotic", "cells.flag_merged", "cells.flag_split", "cells.flag_out_of_focus"]


def test_the_rule_of_a_flag_is_the_one_that_the_table_states(tmp_path):
    path = tmp_path / "growth.parquet"
    table = typed("growth", pd.DataFrame([{"movie": "a", "track": 1, "cycle": 0, "flag_short": True}]))
    write_table("growth", table, path, metadata={"flags": json.dumps({"flag_short": "fewer than 5 frames"})})

    flags, _ = flag_counts({"growth": path})

    assert [each["rule"] for each in flags] == ["fewer than 5 frames"]


def test_a_sample_of_expression_is_drawn_from_measured_rows_alone_which_are_counted(tmp_path):
    rows = pd.DataFrame({"movie": "a", "channel": "GFP", "compartment": "whole", "time_h": range(2000), "mean_au": 5.0})
    rows.loc[::2, "mean_au"] = None
    path = tmp_path / "expression.parquet"
    write_table("expression", typed("expression", rows), path)

    some, total = sample_expression(path, ["channel", "mean_au"], 100)
    every, _ = sample_expression(path, ["channel", "mean_au"], 2000)

    assert total == len(every) == 1000
    assert 20 < len(some) < 90
    assert some["mean_au"].notna().all()
