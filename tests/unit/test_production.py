"""Production rates of cells whose totals are drawn by a known law."""

import numpy as np
import pandas as pd
import pytest

from cytolapse.production import production_rates

TIME_H = np.arange(16) / 6


def rows_of(totals, *, channel="gfp", **columns):
    """A row a cell and frame; totals have the shape (cells, frames)."""
    totals = np.asarray(totals, float)
    cells, frames = totals.shape
    empty = {"bleach_factor": np.nan, "exposure_ms": 50.0, "area_um2": 2.0, "usable": True, "compartment": "whole"}
    return pd.DataFrame(
        {
            "channel": channel,
            "track": pd.array(np.repeat(np.arange(1, cells + 1), frames), "Int32"),
            "frame": np.tile(np.arange(frames), cells),
            "time_h": np.tile(TIME_H[:frames], cells),
            "total_au": totals.ravel(),
            **{**empty, **columns},
        }
    )


def rates_of(rows, events=()):
    found = production_rates(rows, events, residual_lag1=0.3)
    return found["production_rate_au_per_h"].to_numpy(), found["production_rate_se_au_per_h"].to_numpy()


def noisy(true, sd, seed=0):
    return true + np.random.default_rng(seed).normal(0, sd, np.shape(true))


def test_totals_are_as_noisy_as_they_scatter_about_slow_changes_also_in_cells_seen_too_briefly():
    made = np.linspace(600, 3000, 40)[:, None]
    rows = rows_of(noisy(5000 + made * TIME_H, 60))
    brief = rows_of(noisy(np.full((1, 2), 5000.0), 60), area_um2=1.0).assign(track=99)

    noise = production_rates(pd.concat([rows, brief], ignore_index=True), (), residual_lag1=0.3)["total_noise_au"]

    assert np.sqrt((noise[: len(rows)] ** 2).mean()) == pytest.approx(60, rel=0.15)
    # half as large as the others
    assert noise.iloc[-2:].tolist() == pytest.approx([30, 30], rel=0.25)


def test_steady_production_is_found_within_its_stated_errors():
    made = np.linspace(600, 3000, 40)[:, None]
    rate, se = rates_of(rows_of(noisy(5000 + made * TIME_H, 60)))

    off = (rate - np.repeat(made, len(TIME_H))) / se
    assert np.median(np.abs(rate / np.repeat(made, len(TIME_H)) - 1)) < 0.03
    assert 0.9 <= np.mean(np.abs(off) < 1.96) <= 1.0


@pytest.mark.parametrize("sd", [20, 300])
def test_a_steady_promoter_in_a_cell_that_grows_is_followed_from_frame_to_frame(sd):
    area_um2 = 2 * 2 ** np.tile(TIME_H, (40, 1))
    made = 1500 * area_um2
    rate, se = rates_of(rows_of(noisy(made / np.log(2), sd), area_um2=area_um2.ravel()))

    assert np.sqrt(np.mean((rate / made.ravel() - 1) ** 2)) < 0.05
    assert np.mean(np.abs(rate - made.ravel()) < 1.96 * se) >= 0.9


def test_a_promoter_that_is_switched_slowly_is_followed_too():
    activity = 500 * (1 + np.tanh(3 * (TIME_H - TIME_H[8])))
    totals = np.concatenate([[0], np.cumsum((activity[1:] + activity[:-1]) * np.diff(TIME_H))])
    rate, se = rates_of(rows_of(noisy(np.tile(totals, (40, 1)), 10)))

    assert np.sqrt(np.mean((rate.reshape(40, 16) - 2 * activity) ** 2)) < 0.08 * 2000
    assert np.mean(np.abs(rate.reshape(40, 16) - 2 * activity) < 1.96 * se.reshape(40, 16)) >= 0.9


def test_a_dark_cell_of_negative_totals_has_a_rate_of_nothing_within_its_error():
    rate, se = rates_of(rows_of(noisy(np.full((20, 16), -30.0), 25)))

    assert np.mean(np.abs(rate) < 1.96 * se) >= 0.9


def test_no_rate_is_drawn_from_both_sides_of_an_event():
    switched = np.maximum(TIME_H - TIME_H[8], 0) * 1200 + 300.0
    rate, _ = rates_of(rows_of(noisy(np.tile(switched, (20, 1)), 2)), [{"time_h": float(TIME_H[8])}])

    by_frame = np.median(rate.reshape(20, 16), axis=0)
    assert by_frame[:8] == pytest.approx(0, abs=30)
    assert by_frame[8:] == pytest.approx(1200, rel=0.03)


def test_other_exposures_of_one_channel_are_no_production():
    exposure_ms = np.where(np.arange(16) % 2, 100.0, 50.0)
    rate, _ = rates_of(rows_of([1000 * exposure_ms / 50], exposure_ms=exposure_ms))

    assert rate == pytest.approx(0, abs=1e-6)


def test_a_channel_seen_in_every_third_frame_has_rates_there_alone():
    totals = np.where(np.arange(16) % 3 == 0, 100 + 600 * TIME_H, np.nan)
    rate, _ = rates_of(rows_of([totals]))

    assert np.flatnonzero(np.isfinite(rate)).tolist() == [0, 3, 6, 9, 12, 15]
    assert rate[::3] == pytest.approx(600)


def test_frames_that_are_left_out_and_tracks_of_two_frames_have_no_rate():
    usable = np.arange(16) != 4
    assert np.isnan(rates_of(rows_of([100 + TIME_H], usable=usable))[0]).tolist() == (~usable).tolist()
    assert np.isnan(rates_of(rows_of([[100, 110]]))[0]).all()


def test_a_large_cell_and_a_small_one_of_the_same_promoter_differ_in_production_alone():
    area_um2 = np.repeat([2.0, 8.0], 16)
    totals = np.outer([2.0, 8.0], 100 + 50 * TIME_H)
    found = production_rates(rows_of(totals, area_um2=area_um2), [], residual_lag1=0.3)

    assert found["promoter_activity_au_per_um2_per_h"].to_numpy() == pytest.approx(50)
    assert found["production_rate_au_per_h"].to_numpy() == pytest.approx(50 * area_um2)


def test_without_a_row_there_is_no_rate():
    assert production_rates(rows_of(np.zeros((0, 16))), [], residual_lag1=0.3).empty
