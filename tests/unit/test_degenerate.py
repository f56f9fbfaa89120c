"""Movies without cells, full of them, blank, saturated: typed tables, the right flags, and no number that is none."""

import re
from functools import cache

import numpy as np
import pytest
import tifffile
from scenes import BACKGROUND, FRAMES, SCENES
from throughout import OF_MOVIE, PIXEL_UM, nonsense, process

# Where a segmenter may see what is not there, or not see what is.
BY_THRESHOLD = ("no_cell", "one_clump", "specks", "saturated", "saturated_cells")
BY_NETWORK = ("no_cell", "large_cells")
RUNS = [*((name, "labels") for name in SCENES), *((name, "threshold") for name in BY_THRESHOLD)]
RUNS += [(name, "network") for name in BY_NETWORK]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A scene from its pixels to its report, once a module."""

    @cache
    def once(name, by):
        folder = tmp_path_factory.mktemp(name)
        movie, labels = SCENES[name]()
        given = {"labels": labels} if by == "labels" else {"by": by}
        done = process(folder, movie, **given, segment={"tile_px": 64, "overlap_px": 32})
        done.folder = folder
        return done

    return lambda name, by="labels": once(name, by)


@pytest.mark.parametrize(("name", "by"), RUNS)
def test_tables_are_typed_and_hold_numbers_or_nulls_alone(run, name, by):
    done = run(name, by)

    assert nonsense(done.folder) == []
    assert done.movies["status"].tolist() == ["done"]
    assert set(OF_MOVIE) <= {path.stem for path in (done.folder / "m").glob("*.parquet")}
    assert len(done.frames) == len(SCENES[name]()[0])
    assert done.frames["cells"].sum() == len(done.cells) == len(done.expression) / 2


@pytest.mark.parametrize(("name", "by"), RUNS)
def test_a_rate_comes_with_its_error_and_a_doubling_time_only_where_there_is_growth(run, name, by):
    growth = run(name, by).growth

    known = growth["growth_rate_per_h"].notna()
    assert (growth.loc[~known, "fit_frames"].fillna(0) < 3).all()
    assert growth.loc[~known, "flag_short"].all()
    assert growth.loc[known, "growth_rate_se_per_h"].notna().all()
    holds_0 = (growth["growth_rate_lo95_per_h"] <= 0) & (growth["growth_rate_hi95_per_h"] >= 0)
    for column in ("doubling_time_h", "doubling_time_lo95_h", "doubling_time_hi95_h"):
        assert growth.loc[holds_0 | ~known, column].isna().all()
        assert (growth[column].dropna().abs() < 1000).all()


@pytest.mark.parametrize(("name", "by"), RUNS)
def test_the_log_says_a_thing_once_and_python_warns_of_nothing(run, name, by):
    said = [line for line in run(name, by).said if not line.startswith("Pandas4Warning")]  # trackpy's own

    assert len(said) <= 1
    assert [line for line in said if "Warning:" in line] == []


@pytest.mark.parametrize(("name", "by"), RUNS)
def test_the_page_shows_no_number_that_is_none(run, name, by):
    text = run(name, by).text

    assert re.findall(r".{0,30}\b(?:nan|inf|NaN|NaT|None)\b|<NA>.{0,30}", text) == []


@pytest.mark.parametrize("by", ["labels", "threshold"])
def test_a_movie_without_cells_has_frames_and_no_rows_of_cells(run, by):
    done = run("no_cell", by)

    for table in (done.cells, done.growth, done.fits, done.expression):
        assert table.empty
    assert done.frames["flag_blank"].all()
    assert done.frames["background_gfp_au"].notna().all()
    population = done.population.iloc[0]
    assert (population["cells_start"], population["cells_end"], population["divisions"]) == (0, 0, 0)
    assert population[["number_rate_per_h", "size_rate_per_h", "cycle_time_median_h"]].isna().all()


def test_a_threshold_in_a_movie_without_cells_says_so_once(run):
    (said,) = run("no_cell", "threshold").said

    assert said.startswith("no two kinds of pixels, cells and background, are to be seen")


def test_one_cell_is_followed_and_its_rate_is_that_of_its_area(run):
    done = run("one_cell")

    assert done.cells["cell_id"].tolist() == ["m:1"] * FRAMES
    # a radius that grows by 2 % in five minutes
    assert done.growth["growth_rate_per_h"].tolist() == pytest.approx([24 * np.log(1.02)], rel=0.1)
    assert done.growth[["start", "end"]].to_numpy().tolist() == [["movie_start", "movie_end"]]
    assert not done.cells[["flag_border", "flag_area_jump", "flag_merged", "flag_split"]].any(axis=None)


def test_a_cell_seen_once_has_a_size_and_no_rate(run):
    done = run("one_cell_once")

    (cell,) = done.cells.to_dict("records")
    assert cell["area_um2"] == pytest.approx(np.pi * (9 * 1.02**2 * PIXEL_UM) ** 2, rel=0.05)
    (cycle,) = done.growth.to_dict("records")
    assert (cycle["start"], cycle["end"], cycle["fit_frames"], cycle["flag_short"]) == ("appeared", "lost", 1, True)
    assert done.frames["flag_blank"].tolist() == [True, True, False, True, True, True]


def test_a_field_that_is_one_clump_has_no_background_and_so_no_light_of_its_own(run):
    done = run("one_clump")

    assert done.cells["flag_border"].all()
    assert done.frames[["background_phase_au", "background_gfp_au"]].isna().all(axis=None)
    above_background = ["background_au", "mean_au", "total_au", "total_se_au", "production_rate_au_per_h"]
    assert done.expression[above_background].isna().all(axis=None)
    assert done.expression["mean_raw_au"].notna().all()
    assert done.expression["flag_negative"].isna().all()
    assert done.growth["growth_rate_per_h"].isna().all()


@pytest.mark.parametrize("name", ["one_large_clump", "same_size"])
def test_masks_that_never_change_do_not_grow_and_never_double(run, name):
    done = run(name)

    assert done.growth["growth_rate_per_h"].to_numpy() == pytest.approx(0, abs=1e-9)
    assert (done.growth["growth_rate_se_per_h"] > 1e-15).all()
    assert done.growth["doubling_time_h"].isna().all()
    assert done.cells["growth_rate_per_h"].to_numpy() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("by", ["labels", "threshold"])
def test_specks_are_rows_in_frames_that_count_as_blank(run, by):
    done = run("specks", by)

    assert len(done.cells) == 64 * FRAMES
    assert done.frames["flag_blank"].all()
    assert done.growth["growth_rate_per_h"].isna().all()
    assert (done.cells[["length_um", "width_um", "major_axis_um"]] > 0).all(axis=None)
    assert done.cells.loc[done.cells["y_px"] == 0, "flag_border"].all()


@pytest.mark.parametrize("name", ["blank_but_one", "all_one_grey_value_but_one_frame"])
def test_of_frames_that_are_blank_but_one_only_that_has_cells(run, name):
    frames = run(name).frames

    assert frames["cells"].tolist() == [0, 0, 0, 4, 0, 0]
    assert frames["flag_blank"].tolist() == [True, True, True, False, True, True]
    assert frames["focus_score"].notna().tolist() == [False, False, False, True, False, False]


def test_a_reporter_of_zeros_is_null_and_said(run):
    done = run("dark_reporter")

    dark = done.expression["channel"] == "gfp"
    light = ["background_au", "mean_raw_au", "mean_au", "total_au", "production_rate_au_per_h", "saturated_fraction"]
    assert done.expression.loc[dark, [*light, "flag_negative", "flag_saturated"]].isna().all(axis=None)
    assert done.expression.loc[~dark, "mean_au"].notna().all()
    assert done.frames["background_gfp_au"].isna().all()
    warning = "channel 'gfp' is all zeros at the frames 0 to 5, which follow no rhythm: taken as not acquired"
    assert done.movies["warnings"].tolist() == [warning]
    assert warning.replace("'", "&#39;") in done.page
    assert done.growth["growth_rate_per_h"].notna().all()


def test_frames_that_are_saturated_all_over_are_flagged_and_give_no_rates(run):
    done = run("saturated")

    assert done.frames[["flag_saturated", "flag_blank"]].all(axis=None)
    assert done.expression["flag_saturated"].all()
    assert (done.expression["saturated_fraction"] == 1).all()
    assert done.expression["production_rate_au_per_h"].isna().all()
    assert done.growth["growth_rate_per_h"].isna().all()
    assert run("saturated", "threshold").cells.empty


@pytest.mark.parametrize("by", ["labels", "threshold"])
def test_saturated_cells_are_flagged_and_have_no_rate_of_production(run, by):
    done = run("saturated_cells", by)

    assert done.frames["flag_saturated"].all()
    assert not done.frames["flag_blank"].any()
    assert done.expression["flag_saturated"].all()
    assert done.expression["production_rate_au_per_h"].isna().all()
    assert done.frames["background_phase_au"].to_numpy() == pytest.approx(BACKGROUND, abs=2)


@pytest.mark.parametrize("by", ["labels", "threshold"])
def test_saturated_cells_grow_as_they_were_drawn(run, by):
    done = run("saturated_cells", by)

    assert done.growth["growth_rate_per_h"].tolist() == pytest.approx([24 * np.log(1.02)] * 4, rel=0.15)


def test_a_movie_of_one_frame_has_cells_and_no_rates(run):
    done = run("one_frame")

    assert len(done.cells) == 4
    assert done.cells["growth_rate_per_h"].isna().all()
    assert done.movies["frame_interval_min"].isna().all()
    assert done.population["number_rate_per_h"].isna().all()


def test_a_cell_larger_than_a_tile_is_drawn_as_in_one_tile(run, tmp_path):
    tiled = tifffile.imread(run("large_cells", "network").folder / "m/labels.tif") > 0
    process(tmp_path, SCENES["large_cells"]()[0], by="network", segment={"tile_px": 512})

    assert np.mean(tiled == (tifffile.imread(tmp_path / "m/labels.tif") > 0)) > 0.9


def test_cells_that_nobody_can_follow_are_many_short_tracks(run):
    done = run("everything_at_once")

    assert done.growth["flag_short"].sum() > 0.9 * len(done.growth)
    assert len(done.growth) > len(done.cells) / 2
