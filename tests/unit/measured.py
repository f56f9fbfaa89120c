"""Simulated movies measured and analysed under their true outlines, in this process: tables as a run writes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import tifffile

from cytolapse import __version__
from cytolapse.analysis import analyse_movie
from cytolapse.collection import collect_experiment
from cytolapse.columns import EXPERIMENT_TABLES
from cytolapse.features import measure_movie
from cytolapse.inspection import inspect_movie, write_info
from cytolapse.labelimages import import_labels
from cytolapse.lineage import link_movie
from cytolapse.simulation import SimulatedMovie, write_movie
from planning.checks import read_schema, with_defaults

SETTINGS = with_defaults(read_schema("config"), {})
NOTHING_STATED = {"pixel_size_um": None, "frame_interval_min": None}
RECORD = {"settings": {}, "code": "drawn", "version": __version__, "commit": None, "packages_digest": "drawn"}
OF_MOVIE = ("frames", "cells", "growth", "fits", "expression")


def measure_simulated(
    folder: Path, simulated: SimulatedMovie, *, experiment: str, movie: str, events: Sequence[Mapping] = ()
) -> None:
    """All tables of one movie in `folder`, from its pixels and its true outlines."""
    folder.mkdir(parents=True)
    p = simulated.parameters
    kind = {"rod": "cell", "nucleus": "nucleus"}[p.kind]
    write_movie(folder / "movie.tif", simulated)
    tifffile.imwrite(folder / "drawn.tif", simulated.labels, photometric="minisblack")
    info = inspect_movie(
        folder / "movie.tif",
        position=None,
        axes=None,
        channels=p.channels,
        segment_channel=p.channels[0],
        stated=[],
        on_bad_movie="stop",
        **SETTINGS["inspect"],
    )
    write_info(info, folder / "movie.json")
    import_labels(
        folder / "drawn.tif",
        folder / "movie.json",
        folder / "labels.tif",
        folder / "confidence.parquet",
        **NOTHING_STATED,
        provenance=RECORD,
    )
    measured = [folder / f"{name}.parquet" for name in ("objects", "intensities", "planes")]
    linked = [folder / f"{name}.parquet" for name in ("tracks", "lineage", "repairs")]
    measure_movie(
        folder / "movie.json",
        folder / "labels.tif",
        folder / "confidence.parquet",
        *measured,
        **SETTINGS["measure"],
        object=kind,
        pixel_size_um=None,
        provenance=RECORD,
    )
    link_movie(
        folder / "movie.json",
        measured[0],
        *linked,
        **SETTINGS["link"],
        division="fission",
        frame_interval_min=None,
        provenance=RECORD,
    )
    analyse_movie(
        folder / "movie.json",
        *measured,
        *linked,
        {name: folder / f"{name}.parquet" for name in OF_MOVIE},
        experiment=experiment,
        movie=movie,
        **NOTHING_STATED,
        **SETTINGS["analyse"],
        object=kind,
        division="fission",
        events=events,
        provenance=RECORD,
    )


def collect_simulated(folder: Path, movies: Sequence[Mapping], *, experiment: str, channels: Sequence[str]) -> None:
    """The tables of an experiment in `folder`, from those of its movies in folders of their names there.

    `movies` are rows with movie, condition and replicate.
    """
    of_sheet = {"path": "movie.tif", "position": None, "excluded": False, "reason": None, "warnings": []}
    parts = {name: [folder / row["movie"] / f"{name}.parquet" for row in movies] for name in OF_MOVIE}
    collect_experiment(
        {**parts, "infos": [folder / row["movie"] / "movie.json" for row in movies]},
        {name: folder / f"{name}.parquet" for name in EXPERIMENT_TABLES},
        experiment=experiment,
        movies=[{**of_sheet, **row} for row in movies],
        channels=channels,
        object="cell",
        segmenter="labels",
        model=None,
        size_quantity=SETTINGS["analyse"]["size_quantity"],
        **NOTHING_STATED,
        carried=[],
        **SETTINGS["population"],
    )
