"""What is refused before a job runs, and in which words."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from planning import digests
from planning.checks import problems, read_schema, with_defaults
from planning.digests import code_digest
from planning.plan import Plan
from planning.settings import BY_EXPERIMENT, block_of, read_settings
from planning.sheets import read_sheet

EXPERIMENTS = "experiment\tmovies\tmodel\tsegment_channel\tchannels\tpixel_size_um\tframe_interval_min\n"
ROW = "night1\tmovies/*.tif\tnuclei\tphase\tphase,gfp\t0.1\t5\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with two movies, a ready model and one experiment."""
    monkeypatch.chdir(tmp_path)
    Path("movies").mkdir()
    for name in ("a", "b"):
        tifffile.imwrite(f"movies/{name}.tif", np.ones((2, 2, 8, 8), np.uint16))
    Path("model").mkdir()
    Path("model/weights.safetensors").write_bytes(b"weights")
    Path("model/model.json").write_text("{}")
    Path("experiments.tsv").write_text(EXPERIMENTS + ROW)
    return {"experiments": "experiments.tsv", "models": {"nuclei": {"weights": "model"}}}


def refusal(config) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        Plan(config).check_all()
    return str(caught.value)


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


def test_a_model_with_weights_and_annotations_is_refused(project):
    said = refusal(project | {"models": {"nuclei": {"weights": "model", "annotations": "drawn"}}})

    assert "config: models.nuclei: found both of weights and annotations, wanted one" in said


def test_a_model_without_a_source_is_refused(project):
    assert "models.nuclei: found neither of weights and annotations" in refusal(project | {"models": {"nuclei": {}}})


def test_a_ready_model_that_is_told_to_train_is_refused(project):
    said = refusal(project | {"models": {"nuclei": {"weights": "model", "architecture": "googlenet_fcn"}}})

    assert "config: models.nuclei.architecture: has no meaning beside weights" in said


def test_weights_that_are_not_there_are_refused_with_the_file(project):
    Path("model/weights.safetensors").unlink()

    assert "config: models.nuclei.weights: model holds no weights.safetensors" in refusal(project)


def test_a_start_that_is_not_there_is_refused(project):
    annotate("drawn", "one")
    said = refusal(project | {"models": {"nuclei": {"annotations": "drawn", "start_from": "old"}}})

    assert "config: models.nuclei.start_from: old holds no weights.safetensors" in said


def annotate(folder: str, name: str, masks: bool = True) -> None:
    for part, wanted in (("images", True), ("masks", masks)):
        Path(folder, part).mkdir(parents=True, exist_ok=True)
        if wanted:
            tifffile.imwrite(Path(folder, part, f"{name}.tif"), np.ones((8, 8), np.uint16))


def test_an_annotation_without_its_masks_is_refused_by_name(project):
    annotate("drawn", "one")
    annotate("drawn", "two", masks=False)

    said = refusal(project | {"models": {"nuclei": {"annotations": "drawn"}}})

    assert "config: models.nuclei.annotations:" in said
    assert "two" in said


def test_an_override_of_an_unknown_experiment_is_refused(project):
    said = refusal(project | {"overrides": {"night2": {"label": {"min_area_px": 9}}}})

    assert "config: overrides.night2: is not an experiment (did you mean night1?); experiments.tsv has night1" in said


def test_an_override_of_something_that_holds_for_all_is_refused(project):
    said = refusal(project | {"overrides": {"night1": {"train": {"steps": 9}}}})

    assert "config: overrides.night1.train cannot be overridden; the blocks that can are segment, label" in said


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


def movies_sheet(text: str) -> dict:
    Path("movies.tsv").write_text(text)
    return {"movies": "movies.tsv"}


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


def test_the_folder_of_a_movie_that_is_gone_is_stale_and_that_of_an_excluded_one_is_not(project):
    for movie in ("a", "b", "gone"):
        Path("results/night1", movie).mkdir(parents=True)
        Path("results/night1", movie, "movie.json").write_text("{}")
    plan = Plan(project | movies_sheet("experiment\tmovie\texclude\treason\nnight1\ta\tyes\tlost focus\n"))

    assert plan.stale_folders() == ["results/night1/gone"]


def test_the_settings_of_a_model_win_over_those_of_all(project):
    annotate("drawn", "one")
    model = {"annotations": "drawn", "architecture": "googlenet_fcn", "train": {"steps": 7}}

    training = Plan(project | {"models": {"nuclei": model}}).training("nuclei")

    assert training["steps"] == 7
    assert training["architecture"] == "googlenet_fcn"
    assert training["learning_rate"] == Plan(project).settings["train"]["learning_rate"]


@pytest.mark.parametrize("sheet", ["experiments", "movies", "events"])
def test_every_column_of_a_sheet_is_described_and_others_are_refused(sheet):
    schema = read_schema(sheet)

    assert schema["additionalProperties"] is False
    assert all(column["description"] for column in schema["properties"].values())


def parts(schema: dict, place: str = "config"):
    yield place, schema
    for name, part in schema.get("properties", {}).items():
        yield from parts(part, f"{place}.{name}")


def test_every_knob_has_a_description_a_default_and_a_range():
    for place, part in parts(read_schema("config")):
        if place == "config" or place.startswith("config.models"):
            continue
        assert part.get("description"), place
        assert "default" in part, place
        if "properties" in part:
            assert part["additionalProperties"] is False, place
        if {"integer", "number"} & set([part["type"]] if isinstance(part["type"], str) else part["type"]):
            assert {"minimum", "exclusiveMinimum"} & part.keys(), place


def test_the_defaults_are_allowed_by_their_own_schema():
    schema = read_schema("config")

    assert problems(schema, with_defaults(schema, {}), "defaults") == []


def test_a_key_written_out_at_its_default_changes_nothing_not_even_the_order():
    schema = read_schema("config")
    label = with_defaults(schema, {})["label"]

    stated = with_defaults(schema, {"label": {"fill_holes": True, "method": "watershed"}, "threads": 4})

    assert list(stated["label"].items()) == list(label.items())
    assert list(stated) == list(with_defaults(schema, {}))


def test_the_blocks_of_an_experiment_are_those_of_the_schema():
    assert set(BY_EXPERIMENT) <= set(read_schema("config")["properties"])


def test_a_list_and_a_pattern_are_refused_in_words():
    schema = {"properties": {"names": {"type": "array", "minItems": 2}, "code": {"type": "string", "const": "a"}}}

    said = problems(schema, {"names": [], "code": "b"}, "place")

    assert "place: names: found [], wanted a list of at least 2" in said
    assert any(sentence.startswith("place: code: 'a' was expected") for sentence in said)


def forget_code() -> None:
    """Look at the code anew, as another run does."""
    digests._imports.cache_clear()
    digests._bare_syntax.cache_clear()


def library(tmp_path, monkeypatch, text: str) -> str:
    """Digest of a script that reaches a library module with this text."""
    monkeypatch.setattr("planning.digests.WORKFLOW", tmp_path)
    forget_code()
    (tmp_path / "scripts").mkdir(exist_ok=True)
    (tmp_path / "cytolapse").mkdir(exist_ok=True)
    (tmp_path / "scripts/link.py").write_text("from cytolapse.linking import link\nlink()\n")
    (tmp_path / "cytolapse/linking.py").write_text("from cytolapse import tables\nfrom cytolapse.tables import read\n")
    (tmp_path / "cytolapse/tables.py").write_text(text)
    return code_digest("link")


def test_a_comment_or_docstring_keeps_the_digest_and_a_line_reached_by_imports_changes_it(tmp_path, monkeypatch):
    bare = library(tmp_path, monkeypatch, "def read():\n    return 1\n")
    commented = library(tmp_path, monkeypatch, '"""Tables."""\n\n# why\ndef read():\n    """Read."""\n    return 1\n')
    changed = library(tmp_path, monkeypatch, "def read():\n    return 2\n")

    assert commented == bare
    assert changed != bare


def test_a_template_counts_with_all_its_text(tmp_path, monkeypatch):
    library(tmp_path, monkeypatch, "")
    (tmp_path / "page.j2").write_text("a")
    before = code_digest("link", "page.j2")
    (tmp_path / "page.j2").write_text("b")

    assert code_digest("link", "page.j2") != before


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


def test_a_start_that_was_replaced_under_an_older_date_has_another_digest(project):
    annotate("drawn", "one")
    config = project | {"models": {"nuclei": {"annotations": "drawn", "start_from": "model"}}}
    before = Plan(config).start_digest("nuclei")
    Path("model/weights.safetensors").write_bytes(b"WEIGHTS")
    os.utime("model/weights.safetensors", (1, 1))

    assert Plan(config).start_digest("nuclei") != before
    assert Plan(project).start_digest("nuclei") is None


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


def test_a_training_may_start_from_a_model_that_is_yet_to_be_trained(project):
    annotate("drawn", "one")
    models = {"base": {"annotations": "drawn"}, "nuclei": {"annotations": "drawn", "start_from": "models/base/"}}
    plan = Plan(project | {"models": models})
    plan.check_all()

    assert plan.start_from("nuclei") == "models/base/weights.safetensors"
    assert plan.start_digest("nuclei") is None


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


def segmented_by(segmenter: str, model: str = "", labels: str = "") -> None:
    """The sheet with one experiment that this finds the cells of."""
    header = "experiment\tmovies\tsegmenter\tmodel\tlabels\tsegment_channel\tchannels\n"
    Path("experiments.tsv").write_text(
        f"{header}night1\tmovies/*.tif\t{segmenter}\t{model}\t{labels}\tphase\tphase,gfp\n"
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("cytolapse",), "model is missing (model that segments the movies"),
        (
            ("threshold", "nuclei"),
            "names the model 'nuclei', which the segmenter threshold does not use; empty the cell",
        ),
        (("cellpose", "nuclei"), "does not use; its own stands in config.yaml (cellpose.model); empty the cell"),
        (("labels",), "the segmenter is labels, and the column labels does not say where they are"),
        (("threshold", "", "masks/{movie}.tif"), "names label images (column labels), which the segmenter threshold"),
        (("celpose",), "segmenter: found 'celpose', wanted one of cytolapse, cellpose"),
    ],
)
def test_a_segmenter_without_what_it_needs_or_with_what_it_does_not_is_refused(project, row, said):
    segmented_by(*row)

    refused = refusal(project)

    assert refused.startswith("experiments.tsv, line 2")
    assert said in refused


def test_the_experiments_of_a_segmenter_and_their_settings_are_its_own(project):
    segmented_by("threshold")
    plan = Plan(project)
    plan.check_all()

    assert (plan.experiments_by("threshold"), plan.experiments_by("cytolapse")) == (["night1"], [])
    assert plan.used_blocks("night1") == ["threshold", "measure", "link", "analyse", "overlay", "population", "report"]
    assert plan.segmenting_model("night1") is None
    assert (
        Plan(project | {"overrides": {"night1": {"threshold": {"factor": 2}}}}).block("threshold", "night1")["factor"]
        == 2
    )


def test_an_override_for_another_segmenter_is_refused(project):
    segmented_by("threshold")

    said = refusal(project | {"overrides": {"night1": {"label": {"min_area_px": 9}}}})

    assert "config: overrides.night1.label: sets nothing, since the experiment is segmented by threshold" in said


def test_label_images_that_are_not_there_are_refused_with_movie_place_and_remedy(project):
    Path("masks").mkdir()
    tifffile.imwrite("masks/a.tif", np.ones((2, 8, 8), np.uint16))
    segmented_by("labels", labels="masks/{movie}.tif")

    said = refusal(project)

    assert "experiments.tsv, line 2 (experiment night1): no label images for 1 of 2 movies: b (masks/b.tif); " in said
    assert "exclude the movies in movies.tsv" in said
    excluded = movies_sheet("experiment\tmovie\texclude\treason\nnight1\tb\tyes\tnot drawn\n")
    Plan(project | excluded).check_all()


def test_a_few_of_many_missing_label_images_are_named(project):
    for name in "cdefg":
        Path(f"movies/{name}.tif").write_bytes(Path("movies/a.tif").read_bytes())
    segmented_by("labels", labels="masks/{movie}.tif")

    assert "for 7 of 7 movies: a (masks/a.tif), b (masks/b.tif)" in refusal(project)
    assert "e (masks/e.tif) and 2 more; put them there" in refusal(project)


def test_the_same_label_images_for_two_movies_are_refused(project):
    segmented_by("labels", labels="masks.tif")

    assert "labels are 'masks.tif' for each of 2 movies; write {movie} where the name" in refusal(project)


def test_edited_label_images_have_another_fingerprint_and_touched_ones_the_same(project):
    Path("masks").mkdir()
    for name in "ab":
        tifffile.imwrite(f"masks/{name}.tif", np.ones((2, 8, 8), np.uint16))
    segmented_by("labels", labels="masks/{movie}.tif")
    before = {movie: Plan(project).label_fingerprint("night1", movie) for movie in "ab"}
    tifffile.imwrite("masks/b.tif", np.full((2, 8, 8), 3, np.uint16))
    for name in "ab":
        os.utime(f"masks/{name}.tif", (1, 1))

    plan = Plan(project)
    plan.remember_fingerprints()

    assert plan.label_fingerprint("night1", "a") == before["a"]
    assert plan.label_fingerprint("night1", "b") != before["b"]
    assert "masks/b.tif" in Path(".cytolapse/fingerprints.json").read_text()


@pytest.mark.parametrize("engine", ["cellpose", "stardist"])
def test_an_engine_without_its_environment_is_refused_with_the_command_that_makes_it(project, engine):
    segmented_by(engine)

    said = refusal(project | {"environments": {engine: "nowhere/bin/python"}})

    assert f"config: environments.{engine}: there is no Python {Path.cwd()}/nowhere/bin/python, which the" in said
    assert f"experiment night1 needs; run `make env-{engine}` in " in said


def test_an_engine_runs_beside_the_snakefile_where_nothing_else_is_said(project):
    assert Plan(project).engine_python("cellpose") == str(Path(__file__).parents[2] / ".venv-cellpose/bin/python")


def engine_with(weights: str) -> dict:
    """Config of an engine whose Python is there, with these weights."""
    segmented_by("stardist")
    Path("python").write_text("")
    Path("python").chmod(0o755)
    return {"environments": {"stardist": "python"}, "stardist": {"model": weights}}


def test_weights_of_ones_own_that_are_not_there_are_refused_and_the_names_of_others_are_not_looked_for(project):
    said = refusal(project | engine_with("weights/mine"))

    assert (
        "line 2 (experiment night1): stardist.model of config.yaml is weights/mine, and there is no such folder" in said
    )
    plan = Plan(project | engine_with("2D_demo"))
    plan.check_all()
    assert (plan.own_weights_digest("night1"), plan.segmenting_model("night1")) == (None, "2D_demo")


def test_weights_of_ones_own_that_are_replaced_have_another_digest(project):
    Path("weights/mine").mkdir(parents=True)
    Path("weights/mine/weights_best.h5").write_bytes(b"one")
    Path("weights/mine/thresholds.json").write_text("{}")
    config = project | engine_with("weights/mine")
    plan = Plan(config)
    plan.check_all()
    before = plan.own_weights_digest("night1")
    plan.remember_fingerprints()
    Path("weights/mine/thresholds.json").write_text('{"prob": 0.4}')

    assert Plan(config).own_weights_digest("night1") != before
    Path("weights/mine/thresholds.json").write_text("{}")
    assert Plan(config).own_weights_digest("night1") == before


def test_a_program_counts_by_what_it_says_and_reaches(tmp_path, monkeypatch):
    library(tmp_path, monkeypatch, "def read():\n    return 1\n")
    (tmp_path / "engine.py").write_text('"""An engine."""\n')
    (tmp_path / "scripts/bare.py").write_text("")
    before = code_digest("bare", "engine.py")
    forget_code()
    (tmp_path / "engine.py").write_text('"""Said otherwise."""\n# a comment\n')

    assert code_digest("bare", "engine.py") == before
    forget_code()
    (tmp_path / "engine.py").write_text("from cytolapse.tables import read\n")
    with_library = code_digest("bare", "engine.py")
    assert with_library != before
    library(tmp_path, monkeypatch, "def read():\n    return 2\n")
    assert code_digest("bare", "engine.py") != with_library
