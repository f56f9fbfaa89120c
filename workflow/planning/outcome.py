"""The last word of a run: what was left out, and how the run ends."""

import json
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from planning.plan import Plan


def end_of_run(plan: Plan) -> None:
    """Name the movies that were refused and the models that were not replaced.

    Raises
    ------
    WorkflowError
        If a movie of an experiment whose tables this run made was refused, so
        that the run ends with a non-zero exit.
    """
    for model in plan.models.trained():
        status = _read(Path("models", model, "training.json"))
        if status and status["status"] == "kept":
            logger.warning(
                f"model {model}: the last training was not accepted, the model before it stays: {status['reason']}"
            )
    refused = []
    for experiment in plan.experiments:
        tables = Path("results", experiment, "movies.parquet")
        if not tables.exists() or tables.stat().st_mtime < plan.started:
            continue  # not made by this run, for example one of `snakemake models`
        for movie in plan.movies(experiment):
            info = _read(Path("results", experiment, movie, "movie.json"))
            if info and info["status"] == "refused":
                refused.append(f"experiment {experiment}, movie {movie}: {info['reason']}")
    if refused:
        raise WorkflowError(
            f"{len(refused)} movie(s) could not be processed; the tables hold all others, "
            "and name these in movies.parquet and report.html:",
            *refused,
            "Mend the movie or its row in experiments.tsv, or exclude it in movies.tsv.",
        )


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except OSError:
        return None
