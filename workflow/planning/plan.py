"""The plan of a run: experiments, their movies, models and settings.

Built once while the Snakefile is parsed. What needs the disk (globs,
fingerprints) is looked up when a rule asks for it and cached by stat, so that
the process of a single job stays quick.
"""

import fnmatch
import hashlib
import json
import os
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from cytolapse.discovery import MovieSource, find_movies, fingerprint
from cytolapse.engines import ENGINES
from cytolapse.files import atomic_path
from planning.checks import did_you_mean
from planning.light import light_images, light_problems
from planning.models import Models
from planning.naming import NamePattern, name_pattern, read_name
from planning.rows import channel_problems, segmenter_problems
from planning.settings import BY_EXPERIMENT, SEGMENTERS, block_of, read_settings
from planning.sheets import read_sheet

REPOSITORY = Path(__file__).parents[2]
CACHE = Path(".cytolapse/fingerprints.json")
PLANNED = Path(".cytolapse/movies.json")
# What the user's own weights of an engine are.
WEIGHTS_ARE = {"cellpose": os.path.isfile, "stardist": os.path.isdir}


class Plan:
    """What is to be made, from config and sheets.

    Parameters
    ----------
    config : mapping
        As Snakemake read it.
    of_job : bool
        Whether this is the process of a single job, on a cluster: it takes the
        movies that the run was planned with, also where others have come since.

    Raises
    ------
    ValueError
        If config or sheets do not hold together: what is wrong, a line each.
    """

    def __init__(self, config: Mapping, *, of_job: bool = False):
        self.started = time.time()
        self.settings = read_settings(config)
        self.experiments = {row["experiment"]: row for row in self._experiment_rows()}
        self._fingerprints: dict[str, dict] = _read_cache()
        self.models = Models(self.settings, self._fingerprints)
        self._movies: dict[str, dict[str, MovieSource]] = _read_planned() if of_job else {}

    def _experiment_rows(self) -> list[dict]:
        path = self.settings["experiments"]
        rows = read_sheet(path, "experiments")
        models = self.settings["models"]
        wrong = []
        if not rows and not any("annotations" in model for model in models.values()):
            wrong.append(f"{path}: names no experiment; add a row: what its movies are, and which model")
        seen: dict[str, int] = {}
        for row in rows:
            place = f"{path}, line {row['line']} (experiment {row['experiment']})"
            if row["experiment"] in seen:
                wrong.append(f"{place}: the experiment stands in line {seen[row['experiment']]} already; rename one")
            seen[row["experiment"]] = row["line"]
            wrong += segmenter_problems(place, row, models)
            row["channels"] = [channel.strip() for channel in row["channels"].split(",")]
            wrong += channel_problems(place, row)
            if "name_pattern" in row:
                try:
                    row["name_pattern"] = name_pattern(row["name_pattern"])
                except ValueError as error:
                    wrong.append(f"{place}: name_pattern is {row['name_pattern']!r}: {error}")
        if wrong:
            raise ValueError("\n".join(wrong))
        return rows

    def movies(self, experiment: str) -> dict[str, MovieSource]:
        """The movies of an experiment that are not excluded, by name."""
        return {
            name: source
            for name, source in self.all_movies(experiment).items()
            if self.sheet_rows.get((experiment, name), {}).get("exclude") != "yes"
        }

    def all_movies(self, experiment: str) -> dict[str, MovieSource]:
        """The movies of an experiment, excluded ones too, by name."""
        if experiment not in self._movies:
            row = self.experiments[experiment]
            try:
                found = find_movies(row["movies"], Path.cwd(), row["channels"], self._fingerprints)
            except ValueError as error:
                raise ValueError(f"{self._place(experiment)}: {error}") from error
            if not found:
                raise ValueError(
                    f"{self._place(experiment)}: no movie matches {row['movies']!r} (column movies); "
                    f"looked in {Path.cwd()}, wanted a glob of files or folders, or a .txt file that lists them"
                )
            self._movies[experiment] = found
        return self._movies[experiment]

    def _place(self, experiment: str) -> str:
        """Where an experiment is described, for messages."""
        return f"{self.settings['experiments']}, line {self.experiments[experiment]['line']} (experiment {experiment})"

    def source(self, experiment: str, movie: str) -> MovieSource:
        """Where a movie lies.

        Raises
        ------
        KeyError
            If the experiment has no such movie.
        """
        movies = self.all_movies(experiment)
        if movie not in movies:
            raise KeyError(f"experiment {experiment} has no movie {movie!r}{did_you_mean(movie, movies)}")
        return movies[movie]

    def fingerprint(self, experiment: str, movie: str) -> str:
        """What tells this movie from another under the same name."""
        path, position = self.source(experiment, movie)
        return fingerprint(path, self._fingerprints, position, self.experiments[experiment]["channels"])

    @cached_property
    def sheet_rows(self) -> dict[tuple[str, str], dict]:
        """Rows of movies.tsv by (experiment, movie)."""
        path = self.settings["movies"]
        if path is None:
            return {}
        rows, wrong = {}, []
        for row in read_sheet(path, "movies"):
            key, place = (row["experiment"], row["movie"]), f"{path}, line {row['line']}"
            if row["experiment"] not in self.experiments:
                near = did_you_mean(row["experiment"], self.experiments)
                wrong.append(f"{place}: experiment {row['experiment']!r} is not in experiments.tsv{near}")
            if key in rows:
                wrong.append(f"{place}: movie {row['movie']} stands in line {rows[key]['line']} already; remove one")
            if row.get("exclude") == "yes" and "reason" not in row:
                wrong.append(f"{place}: excludes movie {row['movie']} without a reason; write one (column reason)")
            rows[key] = row
        if wrong:
            raise ValueError("\n".join(wrong))
        return rows

    @cached_property
    def event_rows(self) -> list[dict]:
        """Rows of events.tsv."""
        path = self.settings["events"]
        if path is None:
            return []
        rows = read_sheet(path, "events")
        wrong = [
            f"{path}, line {row['line']}: experiment {row['experiment']!r} is not in experiments.tsv"
            f"{did_you_mean(row['experiment'], self.experiments)}"
            for row in rows
            if row["experiment"] not in self.experiments
        ]
        if wrong:
            raise ValueError("\n".join(wrong))
        return rows

    def events(self, experiment: str, movie: str) -> list[dict]:
        """The events of one movie in order of time: event, time_h, dose."""
        matching = [
            {"event": row["event"], "time_h": row["time_h"], "dose": row.get("dose")}
            for row in self.event_rows
            if row["experiment"] == experiment and fnmatch.fnmatchcase(movie, row["movie"])
        ]
        return sorted(matching, key=lambda event: event["time_h"])

    def carried_columns(self, experiment: str) -> list[str]:
        """The columns x_... of movies.tsv and of the names that say something of an experiment."""
        rows = [row for (of, _), row in self.sheet_rows.items() if of == experiment]
        pattern: NamePattern | None = self.experiments[experiment].get("name_pattern")
        columns = {column for row in rows for column in row} | set(pattern.fields if pattern else ())
        return sorted(column for column in columns if column.startswith("x_"))

    def names_read(self, experiment: str) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
        """What the names of an experiment's movies say of them.

        Returns
        -------
        dict, dict
            Movie -> field -> text, empty where the name says nothing; movie ->
            why its name could not be read.
        """
        pattern: NamePattern | None = self.experiments[experiment].get("name_pattern")
        read, unread = {}, {}
        for movie, (path, position) in self.all_movies(experiment).items():
            read[movie] = {}
            try:
                if pattern:
                    read[movie] = read_name(pattern, f"{path}/{position}" if isinstance(position, str) else path)
            except ValueError as error:
                unread[movie] = str(error)
        return read, unread

    def movie_rows(self, experiment: str) -> list[dict]:
        """What sheets and names say of every movie of an experiment, excluded ones too; the sheets win."""
        rows = []
        read, unread = self.names_read(experiment)
        for name, source in self.all_movies(experiment).items():
            row = self.sheet_rows.get((experiment, name), {})
            said = {"position": source.position, **read[name], **row}
            columns = ("position", "well", "condition", "replicate", *self.carried_columns(experiment))
            rows.append(
                {
                    "movie": name,
                    "path": str(source.path),
                    **{column: said.get(column) for column in columns},
                    "excluded": row.get("exclude") == "yes",
                    "reason": row.get("reason"),
                    "warnings": [unread[name]] if name in unread else [],
                }
            )
        return rows

    def unread_names(self) -> list[str]:
        """Names that do not fit their experiment's pattern, a sentence an experiment."""
        said = []
        for experiment in self.experiments:
            _, unread = self.names_read(experiment)
            if unread:
                movie, finding = next(iter(unread.items()))
                fields = ", ".join(self.experiments[experiment]["name_pattern"].fields)
                said.append(
                    f"{self._place(experiment)}: {fields} cannot be read out of the names of {len(unread)} of "
                    f"{len(self.all_movies(experiment))} movies and are null, where movies.tsv does not say them: "
                    f"of {movie} {finding}"
                )
        return said

    def _check_overrides(self) -> None:
        wrong = [
            f"config: overrides.{name}: is not an experiment{did_you_mean(name, self.experiments)}; "
            f"experiments.tsv has {', '.join(self.experiments)}"
            for name in self.settings["overrides"]
            if name not in self.experiments
        ]
        wrong += [
            f"config: overrides.{name}.{block}: sets nothing, since the experiment is segmented by "
            f"{self.experiments[name]['segmenter']} (column segmenter of experiments.tsv); remove it"
            for name, blocks in self.settings["overrides"].items()
            if name in self.experiments
            for block in blocks
            if block not in self.used_blocks(name)
        ]
        if wrong:
            raise ValueError("\n".join(wrong))

    def _check_names(self) -> None:
        wrong = []
        for experiment in self.experiments:
            _, unread = self.names_read(experiment)
            if len(unread) == len(self.all_movies(experiment)):
                wrong.append(
                    f"{self._place(experiment)}: no movie has a name that can be read (column name_pattern): "
                    f"{next(iter(unread.values()))}; write '*' for what is of no matter, and a '/' before the name for "
                    "each folder that is to be read"
                )
        if wrong:
            raise ValueError("\n".join(wrong))

    def _check_label_images(self) -> None:
        wrong = []
        for experiment in self.experiments_by("labels"):
            pattern, movies = self.experiments[experiment]["labels"], self.movies(experiment)
            if "{movie}" not in pattern and len(movies) > 1:
                wrong.append(
                    f"{self._place(experiment)}: labels are {pattern!r} for each of {len(movies)} movies; "
                    "write {movie} where the name of the movie stands (column labels)"
                )
                continue
            missing = [movie for movie in movies if not os.path.exists(self.label_images(experiment, movie))]
            if missing:
                named = ", ".join(f"{movie} ({self.label_images(experiment, movie)})" for movie in missing[:5])
                more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
                wrong.append(
                    f"{self._place(experiment)}: no label images for {len(missing)} of {len(movies)} movies: "
                    f"{named}{more}; put them there, correct the column labels, or exclude the movies in movies.tsv"
                )
        if wrong:
            raise ValueError("\n".join(wrong))

    def _check_engines(self) -> None:
        wrong = []
        for engine in ENGINES:
            needing = self.experiments_by(engine)
            python = self.engine_python(engine)
            if needing and not os.access(python, os.X_OK):
                wrong.append(
                    f"config: environments.{engine}: there is no Python {python}, which the experiment {needing[0]} "
                    f"needs; run `make env-{engine}` in {REPOSITORY}, or name the Python of an environment that has "
                    f"{engine}"
                )
            wrong += [
                f"{self._place(experiment)}: {engine}.model of config.yaml is {weights}, and there is no such "
                f"{'file' if engine == 'cellpose' else 'folder'}; correct it, or write a name without '/' for a model "
                f"that {engine} fetches"
                for experiment in needing
                if (weights := self.own_weights(experiment)) and not WEIGHTS_ARE[engine](weights)
            ]
        if wrong:
            raise ValueError("\n".join(wrong))

    def experiments_by(self, segmenter: str) -> list[str]:
        """The experiments that are segmented by one of SEGMENTERS."""
        return [name for name, row in self.experiments.items() if row["segmenter"] == segmenter]

    def label_images(self, experiment: str, movie: str) -> str:
        """Where the user's label images of a movie lie."""
        return self.experiments[experiment]["labels"].replace("{movie}", movie)

    def label_fingerprint(self, experiment: str, movie: str) -> str:
        """What tells these label images from others under the same name."""
        return fingerprint(self.label_images(experiment, movie), self._fingerprints)

    def light_fingerprints(self, experiment: str) -> dict[str, str]:
        """What tells the images that light is corrected by from others under the same names."""
        images = light_images(self.settings, experiment, self.experiments[experiment])
        return {path: fingerprint(path, self._fingerprints) for path in images}

    def engine_python(self, engine: str) -> str:
        """The Python that an engine runs by; it need not be there."""
        named = self.settings["environments"][engine]
        return str(REPOSITORY / f".venv-{engine}/bin/python") if named is None else os.path.abspath(named)

    def own_weights(self, experiment: str) -> str | None:
        """Weights of the user's own that an engine runs with; None for those that its library knows."""
        engine = self.experiments[experiment]["segmenter"]
        model = self.block(engine, experiment)["model"]
        return model if "/" in model else None

    def own_weights_digest(self, experiment: str) -> str | None:
        """What tells these weights from others under the same name."""
        weights = self.own_weights(experiment)
        if weights is None:
            return None
        path = Path(weights)
        files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
        found = [f"{file.name} {fingerprint(file, self._fingerprints)}" for file in files]
        return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]

    def used_blocks(self, experiment: str) -> list[str]:
        """The blocks of settings that say something of an experiment."""
        used = SEGMENTERS[self.experiments[experiment]["segmenter"]]
        others = {block for of in SEGMENTERS.values() for block in of if block not in used}
        return [block for block in BY_EXPERIMENT if block not in others]

    def segmenting_model(self, experiment: str) -> str | None:
        """The model that an experiment is segmented by, of this pipeline or an engine's; None where it needs none."""
        row = self.experiments[experiment]
        return self.block(row["segmenter"], experiment)["model"] if row["segmenter"] in ENGINES else row.get("model")

    def block(self, name: str, experiment: str) -> dict:
        """One block of settings as it holds for an experiment."""
        return block_of(self.settings, name, experiment)

    def check_all(self) -> None:
        """Look at every model, movie and sheet, so that what is wrong is said before a job runs.

        Raises
        ------
        ValueError
            If a model lacks weights or masks, an experiment has no movies, two
            of its movies share a name, none has a name that fits the pattern or one lacks its label images, an engine
            has no environment or weights, a channel or an image that light is
            corrected by is not there, or an override or a row of movies.tsv or
            events.tsv fits nothing.
        """
        self.models.check()
        self._check_overrides()
        self._check_engines()
        wrong = light_problems(self.settings, self.experiments)
        for experiment in self.experiments:
            try:
                self.all_movies(experiment)
            except ValueError as error:
                wrong.append(str(error))
        if wrong:
            raise ValueError("\n".join(wrong))
        self._check_names()
        self._check_label_images()
        wrong += [
            f"{self.settings['movies']}, line {row['line']}: experiment {experiment} has no movie {movie!r}"
            f"{did_you_mean(movie, self.all_movies(experiment))}; "
            f"remove the row, or name the movie as in results/{experiment}/"
            for (experiment, movie), row in self.sheet_rows.items()
            if movie not in self._known_movies(experiment)
        ]
        wrong += [
            f"{self.settings['events']}, line {row['line']}: no movie of {row['experiment']} matches {row['movie']!r}"
            for row in self.event_rows
            if not fnmatch.filter(self._known_movies(row["experiment"]), row["movie"])
        ]
        if wrong:
            raise ValueError("\n".join(wrong))

    def _known_movies(self, experiment: str) -> set[str]:
        """Movies that a sheet may speak of: those there, and those whose results are there still."""
        return {*self.all_movies(experiment), *(path.parent.name for path in _results(experiment))}

    def remember_fingerprints(self) -> None:
        """Look every movie's fingerprint up and keep what was found for the next run."""
        before = json.dumps(self._fingerprints, sort_keys=True)
        for experiment in self.experiments:
            for movie in self.movies(experiment):
                self.fingerprint(experiment, movie)
            self.light_fingerprints(experiment)
        for experiment in self.experiments_by("labels"):
            for movie in self.movies(experiment):
                self.label_fingerprint(experiment, movie)
        for engine in ENGINES:
            for experiment in self.experiments_by(engine):
                self.own_weights_digest(experiment)
        for model in self.settings["models"]:
            if "weights" in self.settings["models"][model]:
                self.models.ready_digest(model)
            else:
                self.models.annotations_digest(model)
        after = json.dumps(self._fingerprints, sort_keys=True)
        if after != before:
            CACHE.parent.mkdir(exist_ok=True)
            with atomic_path(CACHE) as temporary:
                temporary.write_text(after)

    def remember_movies(self) -> None:
        """Write down the movies of this run, for the processes of its jobs."""
        PLANNED.parent.mkdir(exist_ok=True)
        planned = {experiment: self.all_movies(experiment) for experiment in self.experiments}
        with atomic_path(PLANNED) as temporary:
            temporary.write_text(json.dumps(planned))

    def stale_folders(self) -> list[str]:
        """Folders of results, of the experiments in the sheet, whose movie is no longer there."""
        stale = []
        for experiment in self.experiments:
            folders = [path.parent for path in _results(experiment)]
            stale += [str(folder) for folder in folders if folder.name not in self.all_movies(experiment)]
        return sorted(stale)


def _results(experiment: str) -> list[Path]:
    """movie.json of every movie that was ever processed."""
    return sorted(Path("results", experiment).glob("*/movie.json"))


def _read_planned() -> dict[str, dict[str, MovieSource]]:
    try:
        planned = json.loads(PLANNED.read_text())
    except OSError:
        return {}
    return {
        experiment: {name: MovieSource(*source) for name, source in movies.items()}
        for experiment, movies in planned.items()
    }


def _read_cache() -> dict:
    try:
        return json.loads(CACHE.read_text())
    except (OSError, ValueError):
        return {}
