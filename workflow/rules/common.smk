"""The checked plan, and what the rules look up in it."""

import os
from pathlib import Path

from cytolapse.columns import EXPERIMENT_TABLES
from planning.digests import code_digest
from planning.outcome import end_of_run
from planning.plan import Plan
from snakemake.logging import logger

plan = Plan(config, of_job=not workflow.is_main_process)

if workflow.is_main_process:
    plan.check_all()
    plan.remember_fingerprints()
    for folder in plan.stale_folders():
        logger.warning(f"{folder}: its movie is gone; `snakemake clean_stale` removes the folder")
    for finding in plan.unread_names():
        logger.warning(finding)


wildcard_constraints:
    experiment="[^/]+",
    movie="[^/]+",
    model="[^/]+",
    channel="[^/]+",


def setting(block):
    """A block of config.yaml as it holds for the experiment."""
    return lambda wildcards: plan.block(block, wildcards.experiment)


def sheet(column):
    """A column of experiments.tsv; None where the cell is empty."""
    return lambda wildcards: plan.experiments[wildcards.experiment].get(column)


def experiments_by(segmenter):
    """Pattern of the experiments that a segmenter is for; of none where there are none."""
    return "|".join(map(re.escape, plan.experiments_by(segmenter))) or "(?!)"


def digest(script, *others):
    """Digest of the code that a rule runs."""
    return code_digest(script, *others)


def movie_path(wildcards):
    """Where a movie lies, as input; nothing where a link leads nowhere, which is for inspect to say."""
    path = plan.source(wildcards.experiment, wildcards.movie).path
    return path if os.path.exists(path) else []


def inspected_path(wildcards, input):
    """Untracked: the input and its fingerprint are."""
    return plan.source(wildcards.experiment, wildcards.movie).path


def movie_position(wildcards):
    return plan.source(wildcards.experiment, wildcards.movie).position


def movie_fingerprint(wildcards):
    return plan.fingerprint(wildcards.experiment, wildcards.movie)


def movie_events(wildcards):
    return plan.events(wildcards.experiment, wildcards.movie)


def stated(wildcards):
    """The calibrations that experiments.tsv states, and not what it states."""
    row = plan.experiments[wildcards.experiment]
    return [column for column in ("pixel_size_um", "frame_interval_min") if column in row]


def resampling(wildcards):
    """The pixel size, where movies are resampled by it; segmentation ignores it elsewhere."""
    row, segment = plan.experiments[wildcards.experiment], plan.block(
        "segment", wildcards.experiment
    )
    by_pixel_size = segment["resample"] and segment["cell_diameter_px"] is None
    known = plan.models.pixel_size_um(row["model"]) is not None
    return row.get("pixel_size_um") if by_pixel_size and known else None


def calibration(wildcards, input):
    """Pixel size and interval to note in an image file.

    Takes `input`, so that Snakemake does not track it: the tables are what
    counts, and another interval must not label a movie again.
    """
    row = plan.experiments[wildcards.experiment]
    return {column: row.get(column) for column in ("pixel_size_um", "frame_interval_min")}


def execution(wildcards, input):
    """Where to compute; untracked, since it does not change what comes out."""
    return {key: plan.settings[key] for key in ("device", "batch_frames")}


def on_bad_movie(wildcards, input):
    """Untracked: another answer to bad movies makes no movie another."""
    return plan.settings["on_bad_movie"]


def on_bad_model(wildcards, input):
    return plan.settings["on_bad_model"]


def training_execution(wildcards, input):
    return {"device": plan.settings["device"]}


def gpus(wildcards):
    return 0 if plan.settings["device"] == "cpu" else 1


def light_fingerprints(wildcards):
    """The images that light is corrected by, each with what tells it from another."""
    return plan.light_fingerprints(wildcards.experiment)


def movie_paths(wildcards):
    """Where every movie of the experiment lies, but for links that lead nowhere."""
    paths = (plan.source(wildcards.experiment, movie).path for movie in movie_names(wildcards))
    return [path for path in paths if os.path.exists(path)]


def label_images(wildcards):
    return plan.label_images(wildcards.experiment, wildcards.movie)


def label_fingerprint(wildcards):
    return plan.label_fingerprint(wildcards.experiment, wildcards.movie)


def own_weights(wildcards):
    """Digest of the weights that an engine runs with, where they are the user's own."""
    return plan.own_weights_digest(wildcards.experiment)


def engine(name):
    """How an engine runs; untracked, since it does not change what comes out."""
    return lambda wildcards, input: {
        "python": plan.engine_python(name),
        "device": plan.settings["device"],
    }


def model_card(wildcards):
    """What is known of the experiment's model; nothing where another segmenter is at work."""
    model = plan.experiments[wildcards.experiment].get("model")
    return f"{plan.models.folder(model)}/model.json" if model else []


def model_weights(wildcards):
    return (
        f"{plan.models.folder(plan.experiments[wildcards.experiment]['model'])}/weights.safetensors"
    )


def ready_model(wildcards):
    return plan.models.ready_digest(plan.experiments[wildcards.experiment]["model"])


def maybe_temporary(path):
    """Mark a file that is removed once it was used, where config says so."""
    return path if plan.settings["keep_probability"] else temp(path)


def of_movies(file):
    """One file of every movie of the experiment."""
    return lambda wildcards: [
        f"results/{wildcards.experiment}/{movie}/{file}"
        for movie in plan.movies(wildcards.experiment)
    ]


def exports_of_movies(wildcards):
    """What is exported of every movie of the experiment, in one of the formats."""
    file = {"tracked": "tracked.tif", "ctc": "ctc", "geff": "tracks.geff"}[wildcards.export]
    return of_movies(file)(wildcards)


def movie_names(wildcards):
    return list(plan.movies(wildcards.experiment))


def experiment_events(wildcards):
    return [
        event
        for movie in plan.movies(wildcards.experiment)
        for event in plan.events(wildcards.experiment, movie)
    ]


def all_settings(wildcards):
    """Every block of settings that says something of the experiment."""
    experiment = wildcards.experiment
    return {block: plan.block(block, experiment) for block in plan.used_blocks(experiment)}


def segmenting_model(wildcards):
    return plan.segmenting_model(wildcards.experiment)


def report_template(wildcards, input):
    """Untracked: the digest of the code holds its text, and a moved checkout is no change."""
    return f"{workflow.basedir}/workflow/report/report.html.j2"


def figure_of_training(name):
    """A picture that a training leaves; a ready model may come without one."""

    def look(wildcards, input):
        figure = Path(input.card).with_name(name) if input.card else None
        return str(figure) if figure and figure.is_file() else None

    return look


def csv_tables():
    """Every table of every experiment as text."""
    return expand(
        "results/{experiment}/{table}.csv", experiment=plan.experiments, table=EXPERIMENT_TABLES
    )


def movie_rows(wildcards):
    return plan.movie_rows(wildcards.experiment)


def training_status(wildcards):
    """How the last training of the experiment's model ended, where it is trained here."""
    model = plan.experiments[wildcards.experiment].get("model")
    return f"models/{model}/training.json" if model in plan.models.trained() else []


onstart:
    plan.remember_movies()


onsuccess:
    end_of_run(plan)
