"""Cell cycles, their sizes and rates, of tracks whose truth is known."""

import math

import numpy as np
import pandas as pd
import pytest

from cytolapse.cycles import cell_ids, find_ancestry
from cytolapse.growth import growth_tables
from cytolapse.tables import typed

SETTINGS = {"min_fit_frames": 5, "max_residual_sd": 0.1, "residual_lag1": 0.5}


def lineage_table(*rows):
    """Rows of (track, parent, first_frame, last_frame, start, end, division_frame)."""
    columns = ["track", "parent", "first_frame", "last_frame", "start", "end", "division_frame"]
    return typed("lineage", pd.DataFrame(rows, columns=columns))


def cells_of(frame_time_h, sizes):
    """Cells from {track: {frame: size}}."""
    rows = [(track, frame, size) for track, of_track in sizes.items() for frame, size in of_track.items()]
    cells = pd.DataFrame(rows, columns=["track", "frame", "size"])
    return cells.assign(time_h=frame_time_h[cells["frame"]], usable=True, outline=0.0, outline_on_grid=0.0)


def tables_of(frame_time_h, sizes, lineage, division="fission", events=(), **settings):
    return growth_tables(
        cells_of(frame_time_h, sizes),
        lineage,
        frame_time_h,
        movie="pad",
        division=division,
        events=list(events),
        **{**SETTINGS, **settings},
    )[:2]


# A mother that doubles every hour from size 2 at time 0, a frame every 0.25 h;
# she divides at 1.125 h, between frames 4 and 5, into shares of 0.6 and 0.4.
FRAME_TIME_H = np.arange(10) * 0.25
DIVISION_H = 1.125
MOTHER = {frame: 2 * 2 ** FRAME_TIME_H[frame] for frame in range(5)}
AT_DIVISION = 2 * 2**DIVISION_H
FAMILY = {
    1: MOTHER,
    2: {frame: 0.6 * 2 * 2 ** FRAME_TIME_H[frame] for frame in range(5, 10)},
    3: {frame: 0.4 * 2 * 2 ** FRAME_TIME_H[frame] for frame in range(6, 9)},
}
FAMILY_LINEAGE = lineage_table(
    (1, None, 0, 4, "movie_start", "division", 5),
    (2, 1, 5, 9, "division", "movie_end", None),
    (3, 1, 6, 8, "division", "left", None),
)


def test_a_family_has_its_mother_sister_founder_and_generation():
    growth, _ = tables_of(FRAME_TIME_H, FAMILY, FAMILY_LINEAGE)
    growth = growth.set_index("cell_id")

    assert growth.loc["pad:2", ["parent_id", "sister_id", "root_id"]].tolist() == ["pad:1", "pad:3", "pad:1"]
    assert growth.loc["pad:1", ["parent_id", "sister_id", "root_id"]].tolist() == [None, None, "pad:1"]
    assert growth["generation"].tolist() == [0, 1, 1]
    assert growth["history_known"].tolist() == [False, True, True]
    assert (growth["division_kind"] == "fission").all()


def test_division_lies_in_the_middle_between_the_frames_around_it():
    growth, _ = tables_of(FRAME_TIME_H, FAMILY, FAMILY_LINEAGE)

    assert growth["division_time_h"].fillna(-1).tolist() == [DIVISION_H, -1, -1]
    assert growth["birth_time_h"].fillna(-1).tolist() == [-1, DIVISION_H, DIVISION_H]
    assert growth["birth_halfwidth_h"].fillna(-1).tolist() == [-1, 0.125, 0.125]


def test_sizes_are_those_of_the_fit_at_birth_and_division():
    growth, _ = tables_of(FRAME_TIME_H, FAMILY, FAMILY_LINEAGE)
    growth = growth.set_index("track")

    assert growth.loc[1, "size_division"] == pytest.approx(AT_DIVISION)
    assert math.isnan(growth.loc[1, "size_birth"])
    assert math.isnan(growth.loc[1, "added_size"])
    assert growth.loc[2, "size_birth"] == pytest.approx(0.6 * AT_DIVISION)
    assert growth.loc[3, "size_birth"] == pytest.approx(0.4 * AT_DIVISION)
    assert growth.loc[[2, 3], "division_ratio"].tolist() == pytest.approx([0.6, 0.4])
    assert math.isnan(growth.loc[1, "division_ratio"])


def test_without_noise_the_error_of_a_size_is_what_growth_does_while_the_time_of_the_event_is_uncertain():
    growth, _ = tables_of(FRAME_TIME_H, FAMILY, FAMILY_LINEAGE)
    growth = growth.set_index("track")

    # uniform over 0.125 h before and after, and over an eighth of a doubling; the size changes by ln 2 an hour
    relative = math.log(2) * math.hypot(0.125, 0.125) / math.sqrt(3)
    assert growth.loc[1, "size_division_se"] == pytest.approx(AT_DIVISION * relative, rel=1e-6)
    assert growth.loc[2, "size_birth_se"] == pytest.approx(0.6 * AT_DIVISION * relative, rel=1e-6)
    assert growth.loc[[2, 3], ["size_division_se", "added_size_se"]].isna().all(axis=None)


def test_outlines_off_by_one_width_widen_rates_by_what_that_changes_along_a_track_and_sizes_by_what_it_is():
    cells = cells_of(FRAME_TIME_H, {1: MOTHER})
    # ln(size) off by 4 % in the first frame, by 3 % an hour later
    off = cells.assign(outline=0.04 - 0.01 * cells["time_h"], outline_on_grid=0.04 - 0.01 * cells["time_h"])
    rest = {"movie": "m", "division": "fission", "events": [], **SETTINGS}

    (plain, _, plain_local), (growth, fits, local) = (
        growth_tables(each, FAMILY_LINEAGE[:1], FRAME_TIME_H, **rest) for each in (cells, off)
    )

    assert growth.loc[0, "growth_rate_per_h"] == plain.loc[0, "growth_rate_per_h"]
    assert growth.loc[0, "growth_rate_se_per_h"] == pytest.approx(0.01, rel=1e-3)
    half = growth.loc[0, "growth_rate_hi95_per_h"] - growth.loc[0, "growth_rate_per_h"]
    assert half == pytest.approx(1.96 * 0.01, rel=1e-3)
    assert fits.loc[0, "growth_rate_se_per_h"] == growth.loc[0, "growth_rate_se_per_h"]
    assert local["growth_rate_se_per_h"].tolist() == pytest.approx(
        np.hypot(plain_local["growth_rate_se_per_h"], 0.01).tolist()
    )
    divided = growth.loc[0, "size_division"]
    expected = math.hypot(plain.loc[0, "size_division_se"], 0.03 * divided)
    assert growth.loc[0, "size_division_se"] == pytest.approx(expected, rel=1e-3)


def test_the_added_size_is_less_uncertain_than_birth_and_division_are_together():
    noise = np.exp([0.02, -0.03, 0.01, 0.03])
    sizes = {1: MOTHER, 2: dict(enumerate(2 ** FRAME_TIME_H[5:9] * noise, start=5)), 3: FAMILY[3]}
    lineage = pd.concat(
        [
            FAMILY_LINEAGE.assign(end=["division", "division", "left"], division_frame=[5, 9, None]),
            lineage_table((4, 2, 9, 9, "division", "movie_end", None), (5, 2, 9, 9, "division", "movie_end", None)),
        ]
    )

    growth = tables_of(FRAME_TIME_H, {**sizes, 4: {9: 2.0}, 5: {9: 2.0}}, lineage)[0].set_index("track").loc[2]

    ends = growth["size_birth_se"], growth["size_division_se"]
    assert 0 < growth["added_size_se"] < sum(ends)


def test_the_interval_of_the_doubling_time_is_that_of_the_rate():
    rng = np.random.default_rng(5)
    sizes = {1: dict(enumerate(2**FRAME_TIME_H * np.exp(0.02 * rng.normal(size=10))))}

    growth, _ = tables_of(FRAME_TIME_H, sizes, lineage_table((1, None, 0, 9, "movie_start", "movie_end", None)))

    row = growth.iloc[0]
    assert row["doubling_time_lo95_h"] == pytest.approx(math.log(2) / row["growth_rate_hi95_per_h"])
    assert row["doubling_time_hi95_h"] == pytest.approx(math.log(2) / row["growth_rate_lo95_per_h"])


def test_a_cycle_time_needs_birth_and_division_and_the_others_count_their_time_at_risk():
    grandchildren = {4: {9: 2.0}, 5: {9: 2.0}}
    sizes = {1: MOTHER, 2: {frame: FAMILY[2][frame] for frame in range(5, 9)}, 3: FAMILY[3], **grandchildren}
    lineage = lineage_table(
        (1, None, 0, 4, "movie_start", "division", 5),
        (2, 1, 5, 8, "division", "division", 9),
        (3, 1, 6, 8, "division", "left", None),
        (4, 2, 9, 9, "division", "movie_end", None),
        (5, 2, 9, 9, "division", "movie_end", None),
    )

    growth, _ = tables_of(FRAME_TIME_H, sizes, lineage)
    growth = growth.set_index("track")

    assert growth["cycle_observed"].tolist() == [False, True, False, False, False]
    assert growth["cycle_time_h"].fillna(-1).tolist() == [-1, 1, -1, -1, -1]
    # founder: from frame 0; daughter that leaves: until frame 8; last: from 2.125 to 2.25 h
    assert growth["time_at_risk_h"].tolist() == [1.125, 1, 0.875, 0.125, 0.125]
    assert growth.loc[2, "added_size"] == pytest.approx(0.6 * AT_DIVISION * (2 - 1))
    assert growth.loc[4, "generation"] == 2


def test_a_mother_lost_for_two_frames_widens_the_interval_of_the_division():
    sizes = {1: {frame: MOTHER[frame] for frame in range(3)}, 2: FAMILY[2], 3: FAMILY[3]}
    lineage = FAMILY_LINEAGE.assign(last_frame=[2, 9, 8])

    growth, _ = tables_of(FRAME_TIME_H, sizes, lineage)

    assert growth.loc[0, "division_time_h"] == pytest.approx((0.5 + 1.25) / 2)
    assert growth.loc[0, "division_halfwidth_h"] == pytest.approx(0.375)


def test_frames_not_usable_are_left_out_of_the_fit_but_observed():
    cells = cells_of(FRAME_TIME_H, {1: {frame: 2 * 2 ** FRAME_TIME_H[frame] for frame in range(10)}})
    cells.loc[3, ["size", "usable"]] = [50.0, False]
    lineage = lineage_table((1, None, 0, 9, "movie_start", "movie_end", None))

    growth, _, local = growth_tables(cells, lineage, FRAME_TIME_H, movie="m", division="fission", events=[], **SETTINGS)

    assert growth.loc[0, "growth_rate_per_h"] == pytest.approx(math.log(2))
    assert growth.loc[0, ["frames_observed", "fit_frames"]].tolist() == [10, 9]
    assert np.flatnonzero(local["growth_rate_per_h"].isna()).tolist() == [3]
    assert local["growth_rate_per_h"].dropna().to_numpy() == pytest.approx(math.log(2))


def test_growth_that_halves_at_an_event_is_null_in_growth_and_right_in_fits():
    hours = np.arange(21) * 0.1
    log_size = np.where(hours < 1, 0.9 * hours, 0.9 + 0.45 * (hours - 1))
    lineage = lineage_table((1, None, 0, 20, "movie_start", "movie_end", None))
    sizes = {1: dict(enumerate(np.exp(log_size)))}

    growth, fits = tables_of(hours, sizes, lineage, events=[{"event": "drug", "time_h": 1.0, "dose": "5"}])

    assert fits["segment"].tolist() == [0, 1]
    assert fits["event"].tolist() == [None, "drug"]
    assert fits["growth_rate_per_h"].tolist() == pytest.approx([0.9, 0.45])
    assert fits["fit_frames"].tolist() == [10, 11]
    nulls = ["growth_rate_per_h", "growth_rate_se_per_h", "fit_frames", "fit_span_h", "r2", "doubling_time_h"]
    assert growth.loc[0, nulls].isna().all()
    assert not growth.loc[0, "flag_short"]


def test_sizes_around_an_event_come_from_the_part_on_their_side():
    sizes = {**FAMILY, 1: {frame: size * (2 if frame >= 2 else 1) for frame, size in MOTHER.items()}}
    event = {"event": "drug", "time_h": 0.4, "dose": None}

    growth, _ = tables_of(FRAME_TIME_H, sizes, FAMILY_LINEAGE, events=[event])

    assert growth.loc[0, "size_division"] == pytest.approx(2 * AT_DIVISION)
    assert growth.loc[1, "growth_rate_per_h"] == pytest.approx(math.log(2))


def test_a_size_is_null_where_an_event_lies_between_the_frames_and_the_division():
    growth, fits = tables_of(
        FRAME_TIME_H, FAMILY, FAMILY_LINEAGE, events=[{"event": "drug", "time_h": 1.2, "dose": ""}]
    )
    growth = growth.set_index("track")

    # between division (1.125 h) and the daughters' first frame (1.25 h)
    assert growth.loc[1, "size_division"] == pytest.approx(AT_DIVISION)
    assert growth.loc[[2, 3], "size_birth"].isna().all()
    assert growth["growth_rate_per_h"].notna().all()
    assert fits["event"].tolist() == [None, "drug", "drug"]


def test_two_events_at_one_time_are_one_border_with_both_names():
    events = [{"event": "drug", "time_h": 0.6, "dose": "1"}, {"event": "wash", "time_h": 0.6, "dose": ""}]

    _, fits = tables_of(FRAME_TIME_H, FAMILY, FAMILY_LINEAGE, events=events)

    assert fits["event"].tolist() == [None, "drug + wash", "drug + wash", "drug + wash"]


def test_a_cell_of_two_frames_has_no_rate_and_is_short():
    sizes = {1: {0: 2.0, 1: 2.2}}

    growth, fits = tables_of(FRAME_TIME_H, sizes, lineage_table((1, None, 0, 1, "movie_start", "lost", None)))

    assert math.isnan(growth.loc[0, "growth_rate_per_h"])
    assert growth.loc[0, "flag_short"]
    assert pd.isna(growth.loc[0, "flag_poor_fit"])
    assert fits.loc[0, "fit_frames"] == 2


def test_a_noisy_fit_is_flagged_and_a_rate_that_may_be_0_has_no_doubling_time():
    rng = np.random.default_rng(3)
    sizes = {1: dict(enumerate(np.exp(0.3 * rng.normal(size=10)))), 2: dict(enumerate(2**FRAME_TIME_H))}
    lineage = lineage_table(
        (1, None, 0, 9, "movie_start", "movie_end", None), (2, None, 0, 9, "movie_start", "movie_end", None)
    )

    growth, _ = tables_of(FRAME_TIME_H, sizes, lineage)

    assert growth["flag_poor_fit"].tolist() == [True, False]
    assert growth["doubling_time_h"].isna().tolist() == [True, False]
    assert growth.loc[1, "doubling_time_h"] == pytest.approx(1)


# Mother 1 buds in frames 3 (bud 2) and 7 (bud 3).
BUDDING_LINEAGE = lineage_table(
    (1, None, 0, 9, "movie_start", "movie_end", None),
    (2, 1, 3, 9, "division", "movie_end", None),
    (3, 1, 7, 9, "division", "movie_end", None),
)
BUDDING = {
    1: dict.fromkeys(range(10), 30.0),
    2: {frame: 1.5 * frame for frame in range(3, 10)},
    3: {frame: 1.0 * frame for frame in range(7, 10)},
}


def test_a_budding_mother_keeps_her_track_and_has_a_cycle_from_bud_to_bud():
    growth, fits = tables_of(FRAME_TIME_H, BUDDING, BUDDING_LINEAGE, division="budding")
    mother = growth[growth["track"] == 1]

    assert mother["cycle"].tolist() == [0, 1, 2]
    assert mother["first_frame"].tolist() == [0, 3, 7]
    assert mother["last_frame"].tolist() == [2, 6, 9]
    assert mother["start"].tolist() == ["movie_start", "division", "division"]
    assert mother["end"].tolist() == ["division", "division", "movie_end"]
    assert mother["cycle_time_h"].fillna(-1).tolist() == [-1, 1, -1]
    assert mother["birth_time_h"].fillna(-1).tolist() == [-1, 0.625, 1.625]
    assert mother["time_at_risk_h"].tolist() == [0.625, 1, 0.625]
    assert not mother["history_known"].any()
    assert fits["cycle"].tolist() == [0, 1, 2, 0, 0]


def test_a_bud_is_born_of_its_mother_and_has_no_sister():
    growth, _ = tables_of(FRAME_TIME_H, BUDDING, BUDDING_LINEAGE, division="budding")
    buds = growth[growth["track"] > 1]

    assert buds["parent_id"].tolist() == ["pad:1", "pad:1"]
    assert buds["birth_time_h"].tolist() == [0.625, 1.625]
    assert buds["generation"].tolist() == [1, 1]
    assert buds[["sister_id", "division_ratio"]].isna().all(axis=None)
    assert buds["history_known"].all()


def test_a_daughter_whose_sister_was_not_seen_has_none():
    lineage = FAMILY_LINEAGE.iloc[:2]

    ancestry = find_ancestry(lineage, division="fission")

    assert ancestry["sister"].tolist() == [0, 0]


def test_a_mother_that_is_not_in_the_lineage_is_refused():
    with pytest.raises(ValueError, match="lineage has no track 7, the mother of track 2; run link again"):
        find_ancestry(lineage_table((2, 7, 1, 4, "division", "lost", None)), division="fission")


def test_a_mother_that_begins_with_her_daughter_is_refused():
    lineage = lineage_table((1, None, 3, 4, "appeared", "division", 3), (2, 1, 3, 4, "division", "lost", None))

    with pytest.raises(ValueError, match="track 2 begins in frame 3, its mother, track 1, in frame 3"):
        find_ancestry(lineage, division="fission")


def test_a_track_without_a_row_in_the_lineage_is_refused():
    with pytest.raises(ValueError, match="lineage has no row for track 3; run link again"):
        tables_of(FRAME_TIME_H, FAMILY, FAMILY_LINEAGE.iloc[:2])


def test_a_mother_that_is_seen_behind_her_fission_is_refused():
    sizes = {**FAMILY, 1: {**MOTHER, 6: 3.0}}

    with pytest.raises(ValueError, match="track 1 is seen in frame 6, but divides in frame 5; run link again"):
        tables_of(FRAME_TIME_H, sizes, FAMILY_LINEAGE)


def test_a_movie_without_a_cell_has_tables_without_rows():
    growth, fits = tables_of(FRAME_TIME_H, {}, lineage_table())

    assert len(typed("growth", growth.drop(columns="cell_birth_time_h"))) == 0
    assert len(typed("fits", fits)) == 0


def test_a_cell_id_is_the_movie_and_the_track():
    assert cell_ids("night3_exp", pd.array([4, None], "Int32")).tolist() == ["night3_exp:4", None]
