"""Expression of cells whose pixels can be counted by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from cytolapse.expression import Corrections, measure_expression
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


NOTHING = Corrections({}, {}, {})


def expression_of(*changes, acquired=True, volume_um3=2.0, corrections=NOTHING, **knobs):
    """Rows of one cell, and planes for each frame and channel among them."""
    intensities = typed("intensities", pd.DataFrame([{**CELL, **change} for change in changes]))
    frames = pd.DataFrame({"frame": range(intensities["frame"].max() + 1)})
    planes = frames.merge(intensities[["channel"]].drop_duplicates(), how="cross")
    planes = planes.assign(acquired=acquired, exposure_ms=50.0, background_sd_au=4.0)
    cells = frames.assign(label=7, track=3, cell_id="pad:3", time_h=frames["frame"] / 4 + 0.25)
    rows = measure_expression(
        intensities,
        typed("planes", planes),
        cells.assign(area_um2=4.0, volume_um3=volume_um3, unusable=False),
        [],
        corrections=corrections,
        **{"max_saturated_fraction": 0.01, "negative_errors": 2.0, "residual_lag1": 0.5, **knobs},
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


def test_the_error_of_the_total_is_no_smaller_than_its_scatter_along_the_track():
    rng = np.random.default_rng(0)
    # light of 30 au a pixel, 10 % of it shot noise: 300 au of the total, and 64 by background and pixels
    frames = [{"frame": frame, "mean_raw_au": 150 + 3 * rng.normal()} for frame in range(80)]

    rows = expression_of(*frames)

    assert rows["total_se_au"].median() == pytest.approx(300, rel=0.2)
    assert rows["total_se_au"].min() > math.hypot(50, 40)


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


def test_negative_expression_is_kept_and_flagged_only_beyond_the_errors_allowed():
    # the error of the mean is hypot(50, 40) / 100 = 0.64 au
    rows = expression_of({"mean_raw_au": 119.0}, {"mean_raw_au": 118.0})

    assert rows["mean_au"].tolist() == [-1, -2]
    assert rows["total_au"].tolist() == [-100, -200]
    assert rows["flag_negative"].tolist() == [False, True]
    assert not expression_of({"mean_raw_au": 118.0}, negative_errors=4.0)["flag_negative"].any()


def test_more_saturated_pixels_than_allowed_are_flagged():
    rows = expression_of({"saturated_fraction": 0.01}, {"saturated_fraction": 0.02})

    assert rows["flag_saturated"].tolist() == [False, True]


def test_without_a_volume_there_is_no_concentration():
    assert math.isnan(expression_of({}, volume_um3=np.nan).loc[0, "concentration_au_per_um3"])


def test_a_ring_has_a_total_but_no_concentration():
    ring = expression_of({}, {"compartment": "ring"}).loc[1]

    assert ring["total_au"] == 3000
    assert math.isnan(ring["concentration_au_per_um3"])


def test_light_that_blur_has_spread_beside_the_mask_counts_for_total_and_mean():
    row = expression_of({"spread_pixels": 80, "spread_raw_au": 130.0}).loc[0]

    assert (row["mean_au"], row["total_au"]) == (38, 3000 + 800)
    assert (row["mean_raw_au"], row["median_au"]) == (150, expression_of({}).loc[0, "median_au"])
    # 800 au beside the mask may be anything from 0 to 1600 au
    assert row["total_se_au"] == pytest.approx(math.hypot(0.5 * 180, 4 * math.sqrt(180), 800 / math.sqrt(3)))


def test_where_no_light_beside_masks_is_counted_the_share_that_it_is_of_the_movies_light_is_the_error():
    # 3000 and 1000 au in masks, 300 and 100 beside them
    rows = expression_of({"left_out_au": 100.0}, {"frame": 1, "mean_raw_au": 130.0, "left_out_au": 300.0})

    assert rows["total_au"].tolist() == [3000, 1000]
    assert rows["total_se_au"].tolist() == pytest.approx([math.hypot(50, 40, 0.1 * total) for total in (3000, 1000)])


def test_less_light_beside_masks_than_in_the_frames_background_is_no_error():
    assert expression_of({"left_out_au": -100.0}).loc[0, "total_se_au"] == pytest.approx(math.hypot(50, 40))


def test_a_rate_is_off_by_the_share_that_totals_are():
    frames = [{"frame": frame, "mean_raw_au": 150.0 + frame} for frame in range(12)]

    plain, beside = expression_of(*frames), expression_of(*({**frame, "left_out_au": 600.0} for frame in frames))

    share = 600 * 12 / beside["total_au"].sum()
    for rate, se in (
        ("production_rate_au_per_h", "production_rate_se_au_per_h"),
        ("promoter_activity_au_per_um2_per_h", "promoter_activity_se_au_per_um2_per_h"),
    ):
        assert beside[se].tolist() == pytest.approx(np.hypot(plain[se], share * beside[rate]).tolist())


def test_what_is_not_corrected_is_null():
    row = expression_of({}).loc[0]

    assert row[["autofluorescence_au", "bleach_factor", "crosstalk_applied"]].isna().all()


def test_autofluorescence_that_blur_has_spread_beside_the_mask_is_taken_off_too():
    """A cell without a reporter has no light left, in the mask or beside it."""
    corrections = NOTHING._replace(autofluorescence_au={"gfp": 30.0})

    row = expression_of({"spread_pixels": 80, "spread_raw_au": 130.0}, corrections=corrections).loc[0]

    assert row[["mean_au", "total_au"]].tolist() == [0, 0]


def test_autofluorescence_is_taken_off_every_pixel():
    row = expression_of({}, corrections=NOTHING._replace(autofluorescence_au={"gfp": 10.0})).loc[0]

    assert (row["mean_au"], row["median_au"], row["total_au"], row["autofluorescence_au"]) == (20, 18, 2000, 10)
    assert row["mean_raw_au"] == 150


def test_crosstalk_takes_off_a_part_of_the_other_channel_and_its_errors_come_along():
    rfp = {"channel": "rfp", "mean_raw_au": 620.0, "background_se_au": 2.0}
    rows = expression_of({}, rfp, corrections=NOTHING._replace(crosstalk={"gfp": {"rfp": 0.02}}))

    # 2 % of 500 au above background
    assert rows["mean_au"].tolist() == [20, 500]
    assert rows["crosstalk_applied"].fillna(False).tolist() == [True, False]
    expected = math.hypot(100 * math.hypot(0.5, 0.02 * 2), 10 * math.hypot(4, 0.02 * 4))
    assert rows.loc[0, "total_se_au"] == pytest.approx(expected)


def test_without_the_plane_that_crosstalk_comes_from_the_light_is_unknown():
    rfp = {"channel": "rfp", "mean_raw_au": None}
    rows = expression_of({}, rfp, corrections=NOTHING._replace(crosstalk={"gfp": {"rfp": 0.02}}))

    assert rows[["mean_au", "total_au", "crosstalk_applied"]].isna().all(axis=None)
    assert rows.loc[0, "mean_raw_au"] == 150


def test_a_correction_for_a_channel_that_the_movie_lacks_changes_nothing():
    corrections = Corrections({"gfp": {"cfp": 0.1}, "cfp": {"gfp": 0.1}}, {"cfp": 5.0}, {"cfp": 0.1})

    pd.testing.assert_frame_equal(expression_of({}, corrections=corrections), expression_of({}))


def test_light_that_exposures_have_taken_is_given_back_frame_by_frame():
    rows = expression_of(
        *({"frame": frame, "mean_raw_au": 120 + 30 * 0.9**frame} for frame in range(4)),
        corrections=NOTHING._replace(bleached_per_exposure={"gfp": 0.1}),
    )

    assert rows["mean_au"].to_numpy() == pytest.approx(30)
    assert rows["bleach_factor"].to_numpy() == pytest.approx(0.9 ** np.arange(4))
    assert (rows["production_rate_au_per_h"].abs() < 1e-6).all()


def test_a_cell_that_gains_100_au_a_frame_makes_400_au_an_hour_and_100_an_um2():
    rows = expression_of(*({"frame": frame, "mean_raw_au": 150.0 + frame} for frame in range(6)))

    assert rows["production_rate_au_per_h"].to_numpy() == pytest.approx(400)
    assert rows["promoter_activity_au_per_um2_per_h"].to_numpy() == pytest.approx(100)


def test_a_saturated_cell_has_a_total_but_no_production_rate():
    frames = ({"frame": frame, "saturated_fraction": 0.5 if frame == 2 else 0.0} for frame in range(6))
    rows = expression_of(*frames)

    assert rows["production_rate_au_per_h"].isna().tolist() == [False, False, True, False, False, False]
    assert rows["total_au"].notna().all()
