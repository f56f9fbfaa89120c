"""What is refused before a job runs, and in which words."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from planned import EXPERIMENTS, ROW, movies_sheet, refusal

from planning.plan import Plan
from planning.settings import block_of, read_settings
from planning.sheets import read_sheet


def test_a_good_project_is_planned_with_its_movies_and_defaults(project):
    plan = Plan(project)
    plan.check_all()

    assert list(plan.movies("night1")) == ["a", "b"]
    assert plan.settings["device"] == "auto"
    assert plan.experiments["night1"]["division"] == "fission"
    assert plan.block("label", "night1") == plan.settings["label"]


def test_an_unknown_key_is_refused_with_the_nearest_known_one(project):
    assert "config: devise is not a known key (did you mean device?); known here are " in refusal(
        project | {"devise": "cpu"}
    )


def test_an_unknown_key_in_a_block_is_refused_with_its_place(project):
    said = refusal(project | {"label": {"treshold": 0.4}})

    assert "config: label.treshold is not a known key (did you mean threshold?)" in said


def test_a_wrong_type_is_refused_with_what_was_found_and_wanted(project):
    said = refusal(project | {"train": {"steps": "many"}})

    assert "config: train.steps: found 'many', wanted a whole number" in said


def test_a_number_that_yaml_took_for_text_is_refused_with_the_remedy(project):
    said = refusal(project | {"train": {"learning_rate": "3e-4"}})

    assert "found '3e-4', wanted a number" in said
    assert "write it as a plain number, with a point in front of an exponent (3.0e-4)" in said


def test_a_value_out_of_range_is_refused_with_the_range(project):
    said = refusal(project | {"label": {"threshold": 1.5}})

    assert "config: label.threshold: found 1.5, wanted" in said


def test_a_word_that_is_none_of_the_choices_is_refused_with_the_choices(project):
    assert "config: device: found 'gpu', wanted one of auto, cuda, cpu" in refusal(project | {"device": "gpu"})


def test_all_that_is_wrong_is_said_at_once(project):
    said = refusal(project | {"device": "gpu", "threads": 0})

    assert "config: device: found 'gpu'" in said
    assert "config: threads: found 0, wanted at least 1" in said


def test_an_override_of_an_unknown_experiment_is_refused(project):
    said = refusal(project | {"overrides": {"night2": {"label": {"min_area_px": 9}}}})

    assert "config: overrides.night2: is not an experiment (did you mean night1?); experiments.tsv has night1" in said


def test_an_override_of_something_that_holds_for_all_is_refused(project):
    said = refusal(project | {"overrides": {"night1": {"train": {"steps": 9}}}})

    assert (
        "config: overrides.night1.train cannot be overridden; the blocks that can are inspect, segment, label" in said
    )


def test_an_override_is_checked_like_the_block_itself(project):
    said = refusal(project | {"overrides": {"night1": {"label": {"treshold": 0.5}}}})

    assert "config, overrides.night1.label: treshold is not a known key (did you mean threshold?)" in said


def test_an_override_sets_one_key_for_one_experiment(project):
    settings = read_settings(project | {"overrides": {"night1": {"label": {"min_area_px": 9}}}})

    assert block_of(settings, "label", "night1") == {**settings["label"], "min_area_px": 9}
    assert block_of(settings, "label", "night2") == settings["label"]


def test_an_experiment_without_movies_is_refused_before_any_job(project):
    Path("experiments.tsv").write_text(EXPERIMENTS + ROW.replace("movies/*.tif", "films/*.tif"))

    said = refusal(project)

    assert "experiments.tsv, line 2 (experiment night1): no movie matches 'films/*.tif' (column movies)" in said


def test_two_movies_of_one_name_are_refused_with_both_paths(project):
    Path("movies/a b.tif").write_bytes(Path("movies/a.tif").read_bytes())
    Path("movies/a_b.tif").write_bytes(Path("movies/a.tif").read_bytes())

    said = refusal(project)

    assert "experiments.tsv, line 2 (experiment night1):" in said
    assert "a b.tif" in said
    assert "a_b.tif" in said


def test_a_segment_channel_that_is_none_of_the_channels_is_refused(project):
    Path("experiments.tsv").write_text(EXPERIMENTS + ROW.replace("\tphase\t", "\tpase\t"))

    assert "segment_channel 'pase' is none of the channels phase, gfp (did you mean phase?)" in refusal(project)


def test_a_channel_with_a_blank_in_its_name_is_refused(project):
    Path("experiments.tsv").write_text(EXPERIMENTS + ROW.replace("phase,gfp", "phase,g f p"))

    assert "the channel 'g f p' (column channels) is no name" in refusal(project)


def test_a_channel_named_twice_is_refused(project):
    Path("experiments.tsv").write_text(EXPERIMENTS + ROW.replace("phase,gfp", "phase,phase"))

    assert "the channel 'phase' stands twice" in refusal(project)


def test_an_unknown_model_is_refused_with_those_there_are(project):
    Path("experiments.tsv").write_text(EXPERIMENTS + ROW.replace("nuclei", "nucli"))

    said = refusal(project)

    assert "the model 'nucli' is not one of `models` in config.yaml (did you mean nuclei?); there are nuclei" in said


def test_an_experiment_named_twice_is_refused(project):
    Path("experiments.tsv").write_text(EXPERIMENTS + ROW + ROW)

    assert "line 3 (experiment night1): the experiment stands in line 2 already" in refusal(project)


def test_a_sheet_without_experiments_says_what_to_do(project):
    Path("experiments.tsv").write_text(EXPERIMENTS)

    assert "experiments.tsv: names no experiment; add a row" in refusal(project)


def test_a_missing_sheet_is_named_with_its_key(project):
    assert "none.tsv: not found; name the sheet in config.yaml (key experiments)" in refusal(
        {"experiments": "none.tsv"}
    )


def test_an_empty_sheet_says_its_columns(project):
    Path("experiments.tsv").write_text("\n")

    assert "experiments.tsv: is empty; the first line names the columns experiment, movies" in refusal(project)


def test_a_sheet_that_is_no_text_is_refused(project):
    Path("experiments.tsv").write_bytes(b"PK\x03\x04\xff\xfe")

    assert "experiments.tsv: is no UTF-8 text" in refusal(project)


def test_a_sheet_with_commas_instead_of_tabs_is_refused(project):
    Path("experiments.tsv").write_text((EXPERIMENTS + ROW).replace("\t", ";"))

    assert "experiments.tsv: the first line holds no tab" in refusal(project)


def test_a_misspelt_column_is_refused_with_the_nearest(project):
    Path("experiments.tsv").write_text(EXPERIMENTS.replace("frame_interval_min", "frame_intervall_min") + ROW)

    assert "'frame_intervall_min' is not a known column (did you mean frame_interval_min?)" in refusal(project)


def test_a_missing_column_is_refused_with_what_it_holds(project):
    Path("experiments.tsv").write_text("experiment\tmovies\nnight1\tmovies/*.tif\n")

    assert "experiments.tsv: the column 'channels' is missing (Names of the channels in order" in refusal(project)


def test_a_column_that_stands_twice_is_refused(project):
    Path("experiments.tsv").write_text(EXPERIMENTS.replace("pixel_size_um", "movies") + ROW)

    assert "the column 'movies' stands there twice" in refusal(project)


def test_an_empty_cell_that_must_be_filled_is_refused_with_its_line(project):
    Path("experiments.tsv").write_text(EXPERIMENTS + ROW.replace("\tphase,gfp\t", "\t\t"))

    assert "experiments.tsv, line 2: channels is missing (names of the channels in order" in refusal(project)


def test_a_pixel_size_that_is_no_number_is_refused(project):
    Path("experiments.tsv").write_text(EXPERIMENTS + ROW.replace("\t0.1\t", "\t0.1 um\t"))

    assert "experiments.tsv, line 2: pixel_size_um: found '0.1 um', wanted a number" in refusal(project)


def test_a_row_with_more_cells_than_columns_is_refused(project):
    Path("experiments.tsv").write_text(EXPERIMENTS + ROW.strip() + "\tmore\n")

    assert "experiments.tsv, line 2: has 8 cells, the first line names 7 columns" in refusal(project)


def test_an_experiment_whose_name_is_no_folder_name_is_refused(project):
    Path("experiments.tsv").write_text(EXPERIMENTS + ROW.replace("night1", "night/1"))

    assert "experiment: found 'night/1', wanted letters, digits, '.', '_' and '-' only" in refusal(project)


def test_conditions_and_carried_columns_reach_the_rows_of_movies(project):
    sheet = movies_sheet("experiment\tmovie\tcondition\treplicate\tx_plate\nnight1\ta\tslow\t2\tP7\n")
    plan = Plan(project | sheet)
    plan.check_all()

    a, b = plan.movie_rows("night1")
    assert (a["condition"], a["replicate"], a["x_plate"], a["excluded"]) == ("slow", "2", "P7", False)
    assert (b["condition"], b["x_plate"]) == (None, None)


def test_an_excluded_movie_is_listed_but_not_made(project):
    plan = Plan(project | movies_sheet("experiment\tmovie\texclude\treason\nnight1\ta\tyes\tlost focus\n"))

    assert list(plan.movies("night1")) == ["b"]
    assert [(row["movie"], row["excluded"], row["reason"]) for row in plan.movie_rows("night1")] == [
        ("a", True, "lost focus"),
        ("b", False, None),
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("night1\tc\tslow\t\t", "line 2: experiment night1 has no movie 'c'"),
        ("night2\ta\tslow\t\t", "line 2: experiment 'night2' is not in experiments.tsv (did you mean night1?)"),
        ("night1\ta\tslow\tyes\t", "line 2: excludes movie a without a reason; write one (column reason)"),
        ("night1\ta\tslow\tmaybe\t", "line 2: exclude: found 'maybe', wanted one of yes, no"),
        ("night1\ta\tslow\t\t\nnight1\ta\tfast\t\t", "line 3: movie a stands in line 2 already"),
    ],
)
def test_a_row_of_movies_tsv_that_fits_nothing_is_refused(project, row, said):
    header = "experiment\tmovie\tcondition\texclude\treason\n"

    assert f"movies.tsv, {said}" in refusal(project | movies_sheet(header + row + "\n"))


def test_a_misspelt_column_of_movies_tsv_is_refused_and_x_is_explained(project):
    said = refusal(project | movies_sheet("experiment\tmovie\tcondtion\nnight1\ta\tslow\n"))

    assert "'condtion' is not a known column (did you mean condition?)" in said
    assert "a column of your own starts with x_" in said


def events_sheet(text: str) -> dict:
    Path("events.tsv").write_text("experiment\tmovie\tevent\ttime_h\tdose\n" + text)
    return {"events": "events.tsv"}


def test_events_reach_the_movies_that_their_glob_matches_in_order_of_time(project):
    plan = Plan(project | events_sheet("night1\t*\twash\t4\t\nnight1\ta\tinducer\t2\t1 mM\n"))

    assert [(event["event"], event["dose"]) for event in plan.events("night1", "a")] == [
        ("inducer", "1 mM"),
        ("wash", None),
    ]
    assert [event["event"] for event in plan.events("night1", "b")] == ["wash"]


def test_an_event_that_matches_no_movie_is_refused(project):
    said = refusal(project | events_sheet("night1\tz*\twash\t4\t\n"))

    assert "events.tsv, line 2: no movie of night1 matches 'z*'" in said


def test_an_event_of_an_unknown_experiment_is_refused(project):
    assert "events.tsv, line 2: experiment 'other' is not in" in refusal(
        project | events_sheet("other\t*\twash\t4\t\n")
    )


def test_a_movie_that_is_asked_for_and_not_there_is_named(project):
    with pytest.raises(KeyError, match="experiment night1 has no movie 'aa'"):
        Plan(project).source("night1", "aa")


def test_a_broken_cache_of_fingerprints_is_no_obstacle(project):
    Path(".cytolapse").mkdir()
    Path(".cytolapse/fingerprints.json").write_text("{broken")

    plan = Plan(project)
    plan.remember_fingerprints()

    assert str(Path("movies/a.tif")) in " ".join(json.loads(Path(".cytolapse/fingerprints.json").read_text()))


def test_a_touched_movie_keeps_its_fingerprint_and_a_replaced_one_does_not(project):
    before = {movie: Plan(project).fingerprint("night1", movie) for movie in ("a", "b")}
    os.utime("movies/a.tif", (1, 1))
    tifffile.imwrite("movies/b.tif", np.full((2, 2, 8, 8), 7, np.uint16))
    os.utime("movies/b.tif", (1, 1))

    after = {movie: Plan(project).fingerprint("night1", movie) for movie in ("a", "b")}

    assert after["a"] == before["a"]
    assert after["b"] != before["b"]


NAMED = EXPERIMENTS.replace("\n", "\tname_pattern\n")


def wells(*names: str, pattern: str = "{condition}/{well}_s{position}") -> None:
    """Movies in folders, and a sheet that reads their names."""
    for name in names:
        Path("movies", name).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(Path("movies", name), np.ones((2, 2, 8, 8), np.uint16))
    Path("experiments.tsv").write_text(NAMED + ROW.replace("*.tif", "*/*.tif").strip() + f"\t{pattern}\n")


def test_well_position_and_condition_are_read_out_of_names_and_the_sheet_wins(project):
    wells("LB/B02_s1.tif", "LB/B03_s2.tif", "M9/C02_s1.tif")
    sheet = "experiment\tmovie\tcondition\twell\tposition\nnight1\tM9_C02_s1\tM9 + glucose\t\t7\n"
    plan = Plan(project | movies_sheet(sheet))
    plan.check_all()

    said = [[row[key] for key in ("condition", "well", "position", "replicate")] for row in plan.movie_rows("night1")]

    assert said == [["LB", "B02", "1", None], ["LB", "B03", "2", None], ["M9 + glucose", "C02", "7", None]]
    assert plan.unread_names() == []


def test_columns_of_the_users_own_are_read_out_of_names(project):
    wells("LB/wt_1.tif", "LB/mut_2.tif", pattern="{x_strain}_{replicate}")
    plan = Plan(project)

    assert plan.carried_columns("night1") == ["x_strain"]
    rows = plan.movie_rows("night1")
    assert {row["x_strain"]: row["replicate"] for row in rows} == {"wt": "1", "mut": "2"}


def test_positions_of_a_folder_are_read_by_their_marks(project):
    wells(*(f"LB/exp_{well}_s{s}_t{t}.tif" for well in ("B02", "B03") for s in (1, 2) for t in (1, 2)))
    text = Path("experiments.tsv").read_text()
    Path("experiments.tsv").write_text(text.replace("movies/*/*.tif", "movies/L*"))

    rows = Plan(project).movie_rows("night1")

    assert [row["movie"] for row in rows] == ["LB_B02_s1", "LB_B02_s2", "LB_B03_s1", "LB_B03_s2"]
    assert (rows[1]["condition"], rows[1]["well"], rows[1]["position"], rows[1]["path"]) == (
        "LB",
        "B02",
        "2",
        "movies/LB",
    )


def test_a_name_that_does_not_fit_is_null_and_said(project):
    wells("LB/B02_s1.tif", "LB/overview.tif")
    plan = Plan(project)
    plan.check_all()

    (odd,) = [row for row in plan.movie_rows("night1") if row["movie"] == "LB_overview"]
    assert (odd["condition"], odd["well"]) == (None, None)
    finding = "the name 'LB/overview.tif' does not fit the pattern '{condition}/{well}_s{position}'"
    assert odd["warnings"] == [finding]
    assert plan.unread_names() == [
        "experiments.tsv, line 2 (experiment night1): condition, well, position cannot be read out of the names of 1 "
        f"of 2 movies and are null, where movies.tsv does not say them: of LB_overview {finding}"
    ]


def test_a_pattern_that_no_name_fits_is_refused(project):
    wells("LB/B02_s1.tif", "LB/B03_s1.tif", pattern="{well}-{position}")

    said = refusal(project)

    assert (
        "experiments.tsv, line 2 (experiment night1): no movie has a name that can be read (column name_pattern)"
        in said
    )
    assert (
        "the name 'B02_s1.tif' does not fit the pattern '{well}-{position}'; write '*' for what is of no matter" in said
    )


def test_a_pattern_with_an_unknown_field_is_refused_with_its_line(project):
    wells("LB/B02_s1.tif", pattern="{wel}_*")

    assert (
        "line 2 (experiment night1): name_pattern is '{wel}_*': {wel} is not a field (did you mean well?)"
        in refusal(project)
    )


def test_the_folder_of_a_movie_that_is_gone_is_stale_and_that_of_an_excluded_one_is_not(project):
    for movie in ("a", "b", "gone"):
        Path("results/night1", movie).mkdir(parents=True)
        Path("results/night1", movie, "movie.json").write_text("{}")
    plan = Plan(project | movies_sheet("experiment\tmovie\texclude\treason\nnight1\ta\tyes\tlost focus\n"))

    assert plan.stale_folders() == ["results/night1/gone"]


def test_numbers_in_a_sheet_are_numbers_and_comments_are_skipped(tmp_path):
    sheet = tmp_path / "experiments.tsv"
    sheet.write_text("# mine\n" + EXPERIMENTS + "# old\n" + ROW)

    (row,) = read_sheet(sheet, "experiments")

    assert (row["pixel_size_um"], row["frame_interval_min"], row["line"]) == (0.1, 5.0, 4)


def test_tiles_smaller_than_twice_their_overlap_are_refused_also_by_an_override(project):
    said = refusal(project | {"segment": {"tile_px": 192}})
    assert "config: segment: tile_px is 192, overlap_px 128; wanted tiles of twice the overlap or more" in said

    said = refusal(project | {"overrides": {"night1": {"segment": {"overlap_px": 2000}}}})
    assert "config: overrides.night1.segment: tile_px is 2048, overlap_px 2000" in said


def test_a_quote_in_a_sheet_is_a_character_like_others(project):
    plan = Plan(project | movies_sheet('experiment\tmovie\tcondition\nnight1\ta\t"5 uM\n'))

    assert plan.movie_rows("night1")[0]["condition"] == '"5 uM'


def test_a_pixel_size_that_is_not_finite_is_refused(project):
    Path("experiments.tsv").write_text(EXPERIMENTS + ROW.replace("\t0.1\t", "\tnan\t"))

    assert "pixel_size_um: found 'nan', wanted a number" in refusal(project)


def test_a_job_takes_the_movies_that_its_run_was_planned_with(project):
    Plan(project).remember_movies()
    Path("movies/c.tif").write_bytes(Path("movies/a.tif").read_bytes())

    assert list(Plan(project, of_job=True).movies("night1")) == ["a", "b"]
    assert list(Plan(project).movies("night1")) == ["a", "b", "c"]


def test_a_job_without_a_plan_looks_for_itself(project):
    assert list(Plan(project, of_job=True).movies("night1")) == ["a", "b"]


def test_a_volume_to_grow_by_that_no_cell_has_is_refused_also_by_an_override(project):
    said = refusal(project | {"analyse": {"size_quantity": "volume"}})
    assert "config: analyse.size_quantity is volume, and measure.volume_model is none" in said

    said = refusal(project | {"overrides": {"night1": {"analyse": {"size_quantity": "volume"}}}})
    assert "config: overrides.night1: analyse.size_quantity is volume" in said
    rod = {"measure": {"volume_model": "rod"}}
    Plan(project | rod | {"overrides": {"night1": {"analyse": {"size_quantity": "volume"}}}}).check_all()


def test_tiles_and_overlap_are_compared_as_the_network_takes_them(project):
    said = refusal(project | {"segment": {"tile_px": 160, "overlap_px": 80}})

    assert "tile_px is 160, overlap_px 80" in said


def test_carried_columns_are_those_of_the_experiment(project):
    Path("experiments.tsv").write_text(EXPERIMENTS + ROW + ROW.replace("night1", "night2"))
    plan = Plan(project | movies_sheet("experiment\tmovie\tx_plate\nnight1\ta\tP7\n"))

    assert (plan.carried_columns("night1"), plan.carried_columns("night2")) == (["x_plate"], [])


def test_a_row_of_a_movie_that_is_gone_is_no_error_while_its_results_are_there(project):
    config = project | movies_sheet("experiment\tmovie\tcondition\nnight1\ta\tslow\n")
    Path("movies/a.tif").unlink()
    assert "experiment night1 has no movie 'a'" in refusal(config)

    Path("results/night1/a").mkdir(parents=True)
    Path("results/night1/a/movie.json").write_text("{}")
    plan = Plan(config)
    plan.check_all()

    assert plan.stale_folders() == ["results/night1/a"]


@pytest.mark.parametrize(
    ("sheet", "why"),
    [("movies", "Is a directory"), ("x" * 300, "File name too long"), ("a\0b", "embedded null byte")],
)
def test_a_sheet_that_is_no_file_of_text_is_refused(project, sheet, why):
    said = refusal(project | {"experiments": sheet})

    assert f"cannot be read ({why}); name a file of text in config.yaml (key experiments)" in said
