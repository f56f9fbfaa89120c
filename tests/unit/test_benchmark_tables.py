"""What the benchmark of the tables says of errors that are known."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn import disks

from cytolapse.production import production_rates
from cytolapse.scenarios import Simulation


@pytest.fixture
def tablescores(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import tablescores

    return tablescores


def cells_with_noise(sd, lag1, tracks=120, frames=14):
    """Cells that grow, found with autoregressive noise, an offset and a trend of their own."""
    rng = np.random.default_rng(0)
    parts = []
    for track in range(tracks):
        noise = rng.normal(size=frames)
        for frame in range(1, frames):
            noise[frame] = lag1 * noise[frame - 1] + math.sqrt(1 - lag1**2) * noise[frame]
        true = 3 * np.exp(0.1 * np.arange(frames))
        offset = rng.normal(0, 0.05) + rng.normal(0, 0.002) * np.arange(frames)
        parts.append(
            pd.DataFrame(
                {
                    "cell_id": f"a:{track}",
                    "frame": np.arange(frames),
                    "flag_border": False,
                    "area_um2": true * np.exp(offset + sd * noise),
                    "area_um2_true": true,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("lag1", [0.0, 0.55])
def test_noise_is_found_whatever_the_offset_and_trend_of_a_track(tablescores, lag1):
    noise = tablescores.size_noise(cells_with_noise(0.01, lag1), "area_um2")

    assert noise.neighbours == pytest.approx(lag1, abs=0.08)
    assert noise.sd == pytest.approx(0.01, rel=0.15)


def test_slow_noise_is_told_from_white_noise_and_so_the_bound_is_known(tablescores):
    cells = cells_with_noise(0.01, 0.8, tracks=600)
    cells["area_um2"] *= np.exp(np.random.default_rng(1).normal(0, 0.01, len(cells)))

    noise = tablescores.size_noise(cells, "area_um2")

    assert noise.white == pytest.approx(0.5, abs=0.11)
    assert noise.lag1 == pytest.approx(0.8, abs=0.1)
    assert noise.sd == pytest.approx(0.01 * math.sqrt(2), rel=0.15)
    true = tablescores.Noise(0.01 * math.sqrt(2), 0.8, 0.5)
    assert tablescores.rate_bound(10, 1.0, noise) == pytest.approx(tablescores.rate_bound(10, 1.0, true), rel=0.1)


def test_an_outline_of_another_thing_is_no_noise(tablescores):
    cells = cells_with_noise(0.01, 0.0)
    cells.loc[::29, "area_um2"] *= 2

    assert tablescores.size_noise(cells, "area_um2").sd == pytest.approx(0.01, rel=0.15)


def test_the_bound_of_white_noise_is_the_textbook_error_of_a_slope(tablescores):
    hours = np.linspace(0, 2, 9)

    bound = tablescores.rate_bound(9, 2.0, tablescores.Noise(0.02, 0.0, 0.0))

    assert bound == pytest.approx(0.02 / math.sqrt(((hours - hours.mean()) ** 2).sum()))
    assert tablescores.rate_bound(9, 2.0, tablescores.Noise(0.02, 0.6, 0.0)) > 1.3 * bound


def test_cells_are_paired_where_each_covers_most_of_the_other(tablescores):
    true = np.stack([disks((60, 90), (30, 25, 12), (30, 55, 12))] * 2)
    found = true.copy()
    found[0][found[0] == 1] = 7
    found[1] = np.where(true[1] > 0, 3, 0)  # two cells in one

    pairs = tablescores.matches(found, true)

    assert pairs.to_dict("records") == [{"label": 7, "cell": 1, "frame": 0}, {"label": 2, "cell": 2, "frame": 0}]


def test_rates_are_judged_by_bias_error_over_its_bound_and_intervals(tablescores):
    rng = np.random.default_rng(1)
    noise = tablescores.Noise(0.02, 0.0, 0.0)
    bound = tablescores.rate_bound(10, 1.0, noise)
    error = rng.normal(0, 1.5 * bound, 4000)
    rates = pd.DataFrame(
        {
            "growth_rate_per_h": 1.02 + error,
            "growth_rate_per_h_true": 1.0,
            "growth_rate_lo95_per_h": 1.02 + error - 1.96 * 1.5 * bound,
            "growth_rate_hi95_per_h": 1.02 + error + 1.96 * 1.5 * bound,
            "fit_frames": 10,
            "fit_span_h": 1.0,
        }
    )

    judged = tablescores.judge_rates(rates, noise)

    assert judged["tracks"] == 4000
    assert judged["bias"] == pytest.approx(0.02, abs=0.004)
    assert judged["over_bound"] == pytest.approx(math.hypot(1.5, 0.02 / bound), rel=0.05)
    assert judged["usual_over_bound"] == pytest.approx(judged["over_bound"], rel=0.1)
    # the bias is two thirds of the error
    assert judged["held"] == pytest.approx(0.897, abs=0.015)


def test_light_is_judged_by_bias_error_and_intervals(tablescores):
    rng = np.random.default_rng(2)
    made = np.exp(rng.normal(0, 0.5, 4000))
    light = pd.DataFrame(
        {
            **{"movie": "a", "cell": np.repeat(np.arange(400), 10), "frame": np.tile(np.arange(10), 400)},
            **{"mean_au": 9.0, "mean_au_true": 10.0, "total_au": rng.normal(1000, 20, 4000), "total_au_true": 1000.0},
            **{"total_se_au": 20.0, "production_rate_au_per_h": 1.1 * made + rng.normal(0, 0.2, 4000)},
            **{
                "area_um2": 2.1,
                "area_um2_true": 2.0,
                "production_rate_au_per_h_true": made,
                "production_rate_se_au_per_h": 0.2,
            },
        }
    )

    judged = tablescores.judge_light(light, Simulation())

    assert judged["mean"] == {"rows": 4000, "bias": pytest.approx(-0.1), "rms": pytest.approx(0.1)}
    assert judged["total"]["held"] == pytest.approx(0.95, abs=0.015)
    assert judged["production"]["bias"] == pytest.approx(0.1, abs=0.01)
    assert judged["production"]["rms"] == pytest.approx(math.hypot(0.2, 0.1 * math.exp(0.25)) / made.mean(), rel=0.05)
    assert 0.8 < judged["production"]["held"] < 0.95


LIGHT = {"mean_au": 1.0, "mean_au_true": 1.0, "total_se_au": 1.0, "production_rate_se_au_per_h": 1.0}


def made_by_promoters(noise_au, parameters, cells=60, frames=16):
    """Totals of steady cells whose promoters fluctuate, with the truth beside what is measured."""
    rng = np.random.default_rng(5)
    step_h = parameters.frame_interval_min / 60
    kept = np.exp(-step_h / 50 / parameters.reporter_memory_h)
    rows = []
    for cell in range(cells):
        activity = np.empty(50 * frames)
        activity[0] = rng.normal()
        for step in range(1, len(activity)):
            activity[step] = kept * activity[step - 1] + np.sqrt(1 - kept**2) * rng.normal()
        rate = 100 * np.exp(parameters.reporter_sd * activity - parameters.reporter_sd**2 / 2)
        total = 500 + np.cumsum(rate) * step_h / 50
        seen = slice(0, None, 50)
        truth = {"total_au_true": total[seen], "production_rate_au_per_h_true": rate[seen], "area_um2_true": 2.0}
        rows.append(pd.DataFrame({"movie": "a", "cell": cell, "frame": np.arange(frames), **truth}))
    light = pd.concat(rows, ignore_index=True)
    return light.assign(total_au=light["total_au_true"] + rng.normal(0, noise_au, len(light)))


def test_no_estimate_of_production_beats_its_bound_and_that_of_the_library_comes_near(tablescores):
    parameters = Simulation(frame_interval_min=15.0, reporter_sd=0.4, reporter_memory_h=1.5)
    light = made_by_promoters(10.0, parameters)
    rows = light.assign(
        **{"channel": "green", "compartment": "whole", "track": light["cell"], "area_um2": 2.0, "usable": True},
        **{"time_h": light["frame"] / 4, "bleach_factor": np.nan, "exposure_ms": np.nan},
    )
    found = production_rates(rows, [], residual_lag1=0.0)["production_rate_au_per_h"]
    true = light["production_rate_au_per_h_true"]
    error = np.sqrt(np.mean((found - true) ** 2)) / true.mean()

    bound = tablescores.production_bound(light, parameters)

    assert 0.97 * bound < error < 1.15 * bound
    judged = tablescores.judge_light(light.assign(**LIGHT, production_rate_au_per_h=found), parameters)["production"]
    assert judged["rms"] == pytest.approx(error)
    assert judged["bound"] == bound
    assert 0.15 < bound < 0.35


@pytest.mark.parametrize(("noise_au", "least", "most"), [(1e5, 0.40, 0.43), (1.0, 0.03, 0.15)])
def test_the_bound_of_production_lies_between_what_is_known_of_promoters_and_nothing(
    tablescores, noise_au, least, most
):
    parameters = Simulation(frame_interval_min=15.0, reporter_sd=0.4, reporter_memory_h=10.0)

    bound = tablescores.production_bound(made_by_promoters(noise_au, parameters), parameters)

    assert least < bound < most  # all that promoters differ by is sqrt(exp(0.4**2) - 1) = 0.417


def test_rates_of_odd_and_even_frames_of_clean_growth_agree(tablescores):
    import realgrowth

    hours = np.arange(40) / 60
    cells = pd.DataFrame({"cell": 1, "frame": np.arange(40), "time_h": hours, "length_um": 2 * np.exp(0.7 * hours)})
    cells["length_um"] *= np.exp(1e-4 * np.random.default_rng(0).normal(size=40))

    said = realgrowth.odd_and_even(cells, "length_um", {"min_fit_frames": 5, "residual_lag1": 0.5})

    count, bias, rms, _ = said.split("; ")
    assert count == "1"
    assert abs(float(bias.rstrip("%"))) < 0.5
    assert float(rms.rstrip("%")) < 0.5


def test_own_and_others_cells_are_laid_side_by_side_in_the_frames_that_were_outlined(tablescores, tmp_path):
    import realgrowth
    from data import TASKS

    hela = next(task for task in TASKS if task.name == "hela")
    square = np.zeros((20, 20), np.uint16)
    square[5:9, 5:15] = 7
    rows = pd.DataFrame({"cell_id": "01:1", "frame": [0, 1, 2, 3, 4], "time_h": [0, 0.5, 1, 1.5, 2], "label": 3})
    rows = rows.assign(length_um=6.0, area_um2=20.0, **dict.fromkeys(realgrowth.LEFT_OUT, False))
    rows.loc[rows["frame"] == 4, "flag_mitotic"] = True
    rows.to_parquet(tmp_path / "cells.parquet")

    theirs = realgrowth.outlined_cells({1: square, 4: square}, hela)
    ours = realgrowth.own_cells(tmp_path, [1, 4])

    assert theirs["cell"].tolist() == [7, 7]
    assert theirs["frame"].tolist() == ours["frame"].tolist() == [0, 1]
    assert theirs["time_h"].tolist() == ours["time_h"].tolist() == [0.5, 2.0]
    assert theirs["area_um2"].tolist() == pytest.approx([40 * 0.645**2] * 2)
    assert ours["left_out"].tolist() == [False, True]
    assert not theirs["left_out"].any()


def test_two_sources_of_outlines_are_compared_by_cell_and_frame(tablescores):
    import realgrowth

    frames = np.tile(np.arange(20), 2)
    theirs = pd.DataFrame({"cell": np.repeat([12, 11], 20), "frame": frames, "time_h": 1.0 * frames, "left_out": False})
    theirs["area_um2"] = theirs["cell"].map({12: 50, 11: 150}) * np.exp(0.05 * theirs["time_h"])
    theirs["length_um"] = 10.0
    # Ours are 4 % larger, and the larger cell, their 11, grows 10 % faster from the middle of the movie on and before.
    label = np.repeat([1, 2], 20)
    ours = theirs.assign(label=label, cell=np.repeat(["movie:8", "movie:9"], 20))
    ours["area_um2"] *= 1.04 * np.where(label == 2, np.exp(0.005 * (frames - 9.5)), 1.0)
    ours.loc[ours["frame"] == 3, "left_out"] = True
    pairs = pd.DataFrame({"frame": frames, "label": label, "cell": theirs["cell"]})
    settings = {"min_fit_frames": 5, "residual_lag1": 0.5, "area_jump": 0.3}

    rows = realgrowth.beside_others(ours, theirs, pairs, ["area_um2"], settings)

    cells, area, rate = rows.values()
    assert cells == "38"
    assert float(area.split("%")[0]) == pytest.approx(4, abs=0.3)
    number, bias, rms, _ = rate.split("; ")
    assert number == "2"
    assert abs(float(bias.rstrip("%")) - 5 / 1.025) < 0.6
    assert abs(float(rms.rstrip("%")) - 10 / np.sqrt(2) / 1.025) < 0.6


def test_the_slope_of_an_adder_is_found_though_errors_tilt_it(tablescores):
    rng = np.random.default_rng(3)
    cells = 4000
    born = rng.normal(10, 1, cells)
    divided = born + rng.normal(10, 1, cells)
    error, shared = rng.normal(0, 0.5, (2, cells))
    parting = tablescores.SHARED_PARTING_VARIANCE
    sizes = pd.DataFrame(
        {
            "size_birth": born + error,
            "size_division": divided + shared,
            "size_birth_se": np.sqrt(0.5**2 + parting * (born + error) ** 2),
            "size_division_se": np.sqrt(0.5**2 + parting * (divided + shared) ** 2),
            "added_size": divided + shared - born - error,
            "cycle_time_h": 1.0,
        }
    )
    sizes["added_size_se"] = np.sqrt(2 * 0.5**2 + parting * sizes["added_size"] ** 2)
    truth = {"size_birth_true": born, "size_division_true": divided, "added_size_true": 10.0, "cycle_time_h_true": 1.0}

    rule = tablescores.judge_rule(sizes.assign(**truth))

    assert rule["true"]["slope"] == pytest.approx(0, abs=0.05)
    assert rule["found"]["slope"] == pytest.approx(-0.2, abs=0.05)
    assert rule["found"]["slope_without_errors"] == pytest.approx(0, abs=0.07)
