"""What reruns when: one test a row of the table in docs/cluster.md."""

import json
import os
import shutil
from collections import Counter

import numpy as np
import pandas as pd
import tifffile
from project import SMALL, Project, darkened, write_folder

from cytolapse.simulation import simulate_movie, write_annotations, write_movie

AFTER_ANALYSE = {"collect": 1, "report": 1}
AFTER_LINK = {"analyse": 1, "overlay": 1, **AFTER_ANALYSE}
AFTER_MEASURE = {"link": 1, **AFTER_LINK}
AFTER_LABEL = {"measure": 1, **AFTER_MEASURE}
CHAIN = {"inspect": 1, "segment": 1, "label": 1, **AFTER_LABEL}


def of_movies(rules: dict, movies: int) -> Counter:
    """The rules of a chain for several movies of one experiment."""
    return Counter({rule: 1 if rule in AFTER_ANALYSE else movies for rule in rules})


def age(path) -> None:
    """Give a file a time long before it was made, as rsync -a and unzip do."""
    os.utime(path, (1_000_000_000, 1_000_000_000))


def test_nothing_changed_and_nothing_runs(project):
    assert project.would_run() == Counter()


def test_a_new_movie_runs_its_own_chain_and_the_tables_of_its_experiment(project):
    write_movie(project.folder / "movies/d.tif", simulate_movie(SMALL, 4))

    run = project.snakemake()

    assert run.code == 0, run.text
    assert run.rules == Counter(CHAIN)
    movies = pd.read_parquet(project.folder / "results/rods/movies.parquet")
    assert movies["movie"].tolist() == ["a", "b", "d"]
    assert project.would_run() == Counter()


def test_another_position_in_a_folder_runs_its_own_chain_alone(project):
    for position, seed in (("xy01", 4), ("xy02", 5)):
        write_folder(project.folder / "folders/chip", seed, position)

        run = project.snakemake()

        assert run.code == 0, run.text
        assert run.rules == Counter(CHAIN)
        assert "its movie is gone" not in run.text
    movies = pd.read_parquet(project.folder / "results/drawn/movies.parquet").set_index("movie")
    assert movies["position"].dropna().to_dict() == {"chip_xy01": "xy01", "chip_xy02": "xy02"}


def test_a_touched_movie_runs_nothing(project):
    os.utime(project.folder / "movies/a.tif")
    os.utime(project.folder / "folders/c/t001.tif")
    os.utime(project.folder / "folders/c")

    assert project.would_run() == Counter()


def test_a_movie_replaced_under_an_older_date_runs_its_chain(project):
    write_movie(project.folder / "movies/a.tif", simulate_movie(SMALL, 9))
    age(project.folder / "movies/a.tif")

    assert project.would_run() == Counter(CHAIN)


def test_one_frame_of_a_folder_overwritten_runs_its_chain(project):
    frame = project.folder / "folders/c/t002.tif"
    before = os.stat(frame)
    darkened(frame)
    os.utime(frame, ns=(before.st_atime_ns, before.st_mtime_ns))

    run = project.snakemake()

    assert run.code == 0, run.text
    assert run.rules == Counter(CHAIN)


def test_a_labelling_option_of_one_experiment_runs_label_and_on_there_and_no_segmentation(project):
    project.configure(overrides={"rods": {"label": {"threshold": 0.4}}})

    run = project.snakemake()

    assert run.code == 0, run.text
    assert run.rules == of_movies({"label": 1, **AFTER_LABEL}, movies=2)


def test_a_labelling_option_of_all_runs_label_and_on_for_all(project):
    project.configure(label={"min_area_px": 25})

    ran = project.would_run()

    assert ran["label"] == ran["measure"] == 3
    assert ran["segment"] == ran["inspect"] == ran["train"] == 0


def test_a_linking_option_runs_link_and_on(project):
    project.configure(overrides={"rods": {"link": {"memory_frames": 1}}})

    assert project.would_run() == of_movies(AFTER_MEASURE, movies=2)


def test_another_frame_interval_runs_link_and_on(project):
    project.edit_sheet("experiments.tsv", "0.1\t5", "0.1\t6")

    assert project.would_run() == Counter(AFTER_MEASURE)


def test_another_pixel_size_runs_measure_and_on(project):
    project.edit_sheet("experiments.tsv", "0.1\t5", "0.2\t5")

    assert project.would_run() == Counter(AFTER_LABEL)


def test_another_pixel_size_runs_segment_and_on_where_that_of_the_model_is_known(project):
    project.configure(models={"trained": {**project.config["models"]["trained"], "pixel_size_um": 0.1}})
    run = project.snakemake()
    assert run.code == 0, run.text
    project.edit_sheet("experiments.tsv", "0.1\t5", "0.2\t5")

    assert project.would_run() == Counter({"segment": 1, "label": 1, **AFTER_LABEL})


def test_an_annotation_edited_under_an_older_date_trains_and_runs_the_experiments_of_that_model(project):
    before = json.loads((project.folder / "models/trained/model.json").read_text())["digest"]
    for masks in (project.folder / "annotations/masks").glob("*.tif"):
        tifffile.imwrite(masks, np.roll(tifffile.imread(masks), 10, axis=0))
        age(masks)

    run = project.snakemake()

    assert run.code == 0, run.text
    assert run.rules == Counter({"train": 1, "segment": 1, "label": 1, **AFTER_LABEL})
    after = json.loads((project.folder / "models/trained/model.json").read_text())["digest"]
    assert after != before
    assert (project.folder / f"models/archive/{before}/weights.safetensors").exists()


def test_an_annotation_added_trains_again(project):
    write_annotations(project.folder / "annotations", simulate_movie(SMALL, 14), [0])

    assert project.would_run() == Counter({"train": 1, "segment": 1, "label": 1, **AFTER_LABEL})


def test_an_annotation_removed_trains_again(project):
    for part in ("images", "masks"):
        sorted((project.folder / "annotations" / part).glob("*.tif"))[0].unlink()

    assert project.would_run() == Counter({"train": 1, "segment": 1, "label": 1, **AFTER_LABEL})


def test_an_annotation_touched_trains_nothing(project):
    for part in ("images", "masks"):
        os.utime(sorted((project.folder / "annotations" / part).glob("*.tif"))[0])

    assert project.would_run() == Counter()


def test_a_model_rebuilt_by_a_run_of_its_own_with_the_same_weights_segments_nothing_again(project):
    run = project.snakemake("models", "--forcerun", "train")

    assert run.code == 0, run.text
    assert run.rules == Counter({"train": 1})
    assert project.would_run() == Counter()


def test_a_frozen_experiment_stays_when_the_annotations_move_on(project):
    digest = json.loads((project.folder / "models/trained/model.json").read_text())["digest"]
    models = project.config["models"] | {"paper": {"weights": f"models/archive/{digest}"}}
    project.configure(models=models)
    row = project.folder.joinpath("experiments.tsv").read_text().splitlines()[2]
    project.edit_sheet("experiments.tsv", row, f"{row}\n{row.replace('drawn', 'frozen').replace('trained', 'paper')}")
    run = project.snakemake()
    assert run.code == 0, run.text
    cells = (project.folder / "results/frozen/cells.parquet").read_bytes()

    write_annotations(project.folder / "annotations", simulate_movie(SMALL, 14), [0])
    run = project.snakemake()

    assert run.code == 0, run.text
    assert run.rules == Counter({"train": 1, "segment": 1, "label": 1, **AFTER_LABEL})
    assert (project.folder / "results/frozen/cells.parquet").read_bytes() == cells


def test_a_line_of_the_library_runs_the_rules_that_reach_it_and_a_comment_none(project, repository):
    snakefile = repository / "Snakefile"
    module = repository / "workflow/cytolapse/lineage.py"
    text = module.read_text()

    module.write_text(text.replace('"""', '"""Said otherwise. ', 1) + "\n# a comment\n")
    assert project.would_run(snakefile=snakefile) == Counter()

    module.write_text(f"{text}\n_ADDED = 1\n")
    assert project.would_run(snakefile=snakefile) == of_movies(AFTER_MEASURE, 2) + Counter(AFTER_MEASURE)


def test_a_touched_script_runs_nothing(project, repository):
    os.utime(repository / "workflow/scripts/segment.py")

    assert project.would_run(snakefile=repository / "Snakefile") == Counter()


def test_a_row_of_movies_tsv_runs_collect_and_report(project):
    (project.folder / "movies.tsv").write_text("experiment\tmovie\tcondition\nrods\ta\tslow\n")
    project.configure(movies="movies.tsv")

    run = project.snakemake()

    assert run.code == 0, run.text
    assert run.rules == Counter(AFTER_ANALYSE)
    cells = pd.read_parquet(project.folder / "results/rods/cells.parquet", columns=["movie", "condition"])
    assert set(cells.loc[cells["movie"] == "a", "condition"]) == {"slow"}
    assert cells.loc[cells["movie"] == "b", "condition"].isna().all()


def test_a_pattern_for_names_runs_collect_and_report(project):
    project.edit_sheet("experiments.tsv", "interval_min\n", "interval_min\tname_pattern\n")
    project.edit_sheet("experiments.tsv", "fission\t\t\t\n", "fission\t\t\t\t{condition}\n")

    run = project.snakemake()

    assert run.code == 0, run.text
    assert run.rules == Counter(AFTER_ANALYSE)
    cells = pd.read_parquet(project.folder / "results/rods/cells.parquet", columns=["movie", "condition"])
    assert (cells["condition"] == cells["movie"]).all()


def test_a_row_of_events_tsv_runs_analyse_and_on_for_the_movies_that_it_matches(project):
    (project.folder / "events.tsv").write_text("experiment\tmovie\tevent\ttime_h\nrods\ta\tinducer\t0.2\n")
    project.configure(events="events.tsv")

    assert project.would_run() == Counter({"analyse": 1, **AFTER_ANALYSE})


def test_a_movie_removed_runs_collect_and_report_and_its_files_are_named_until_they_are_cleaned(project):
    (project.folder / "movies/b.tif").unlink()

    run = project.snakemake()

    assert run.code == 0, run.text
    assert run.rules == Counter(AFTER_ANALYSE)
    assert "results/rods/b: its movie is gone; `snakemake clean_stale` removes the folder" in run.text
    assert (project.folder / "results/rods/b").exists()
    assert project.snakemake("clean_stale").code == 0
    assert not (project.folder / "results/rods/b").exists()
    assert (project.folder / "results/rods/a").exists()
    assert project.would_run() == Counter()


def test_a_project_moved_to_another_folder_runs_nothing(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "moved", symlinks=True)

    assert Project(tmp_path / "moved").would_run() == Counter()


def test_another_answer_to_bad_movies_or_models_runs_nothing(project):
    project.configure(on_bad_movie="stop", on_bad_model="stop", threads=1, batch_frames=2)

    assert project.would_run() == Counter()
