"""One movie from its pixels to the page of its experiment, by the stages as the rules call them."""

import html
import json
import logging
import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tifffile
from recorded import accepted

from cytolapse.analysis import analyse_movie
from cytolapse.collection import collect_experiment
from cytolapse.columns import EXPERIMENT_TABLES
from cytolapse.features import measure_movie
from cytolapse.inspection import write_info
from cytolapse.labelimages import import_labels
from cytolapse.labels import label_movie
from cytolapse.lineage import link_movie
from cytolapse.overlays import draw_overlay
from cytolapse.provenance import stage_record
from cytolapse.report import write_report
from cytolapse.tables import read_table, schema
from cytolapse.thresholding import threshold_movie
from planning.settings import read_settings

REPOSITORY = Path(__file__).parents[2]
MODEL = REPOSITORY / "resources/models/demo"
CHANNELS = ["phase", "gfp"]
OF_MOVIE = ("frames", "cells", "growth", "fits", "expression")
PIXEL_UM, INTERVAL_MIN = 0.1, 5.0


def process(
    folder: Path, movie: np.ndarray, *, labels: np.ndarray | None = None, by: str = "threshold", **of_config
) -> SimpleNamespace:
    """Every table of a movie (t, c, y, x), its page, and what was said meanwhile.

    Parameters
    ----------
    folder : Path
    movie : array of shape (t, 2, y, x)
    labels : array of shape (t, y, x), optional
        The user's own; `by` counts for nothing then.
    by : {'threshold', 'network'}
        Otsu's threshold, or the model of the demo.
    **of_config
        Blocks of config.yaml.

    Returns
    -------
    SimpleNamespace
        The tables as data frames, `objects`, `page` (html), `text` (what is
        read of it) and `said`: log messages and warnings of Python.
    """
    settings = read_settings({"experiments": "experiments.tsv", **of_config})
    said: list[str] = []
    listener = _Listener(said)
    logging.getLogger().addHandler(listener)
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        try:
            _run(folder, movie, labels, by, settings)
        finally:
            logging.getLogger().removeHandler(listener)
    said += [f"{each.category.__name__}: {each.message} ({each.filename}:{each.lineno})" for each in raised]
    page = (folder / "report.html").read_text(encoding="utf-8")
    return SimpleNamespace(
        **{name: read_table(name, folder / f"{name}.parquet") for name in EXPERIMENT_TABLES},
        objects=read_table("objects", folder / "m/objects.parquet"),
        page=page,
        text=html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"(?s)<(style|script).*?</\1>", " ", page))),
        said=said,
    )


class _Listener(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


def _run(folder: Path, movie: np.ndarray, labels: np.ndarray | None, by: str, settings: dict) -> None:
    (folder / "m").mkdir()
    at = {
        name: folder / "m" / f"{name}.parquet"
        for name in ("confidence", "objects", "intensities", "planes", "tracks", "lineage", "repairs", *OF_MOVIE)
    }
    path, info, stack = folder / "m.tif", folder / "m/movie.json", folder / "m/labels.tif"
    tifffile.imwrite(path, movie, photometric="minisblack", metadata={"axes": "TCYX"})
    write_info(accepted(path, CHANNELS, axes="TCYX"), info)
    calibration = {"pixel_size_um": PIXEL_UM, "frame_interval_min": INTERVAL_MIN}
    record = stage_record({}, "code", REPOSITORY)
    if labels is not None:
        tifffile.imwrite(folder / "masks.tif", labels.astype(np.uint16), photometric="minisblack")
        import_labels(folder / "masks.tif", info, stack, at["confidence"], **calibration, provenance=record)
    elif by == "threshold":
        threshold_movie(info, stack, at["confidence"], **settings["threshold"], **calibration, provenance=record)
    else:
        from cytolapse.segmentation import segment_movie

        execution = {"device": "cpu", "batch_frames": settings["batch_frames"], "threads": 1}
        weights, probability = MODEL / "weights.safetensors", folder / "m/probability.tif"
        of_network = {**settings["segment"], **execution, "pixel_size_um": PIXEL_UM, "provenance": record}
        segment_movie(info, weights, probability, **of_network)
        card = MODEL / "model.json"
        of_labels = {**settings["label"], **calibration, "provenance": record}
        label_movie(probability, info, card, stack, at["confidence"], **of_labels)
    measured = [at[name] for name in ("confidence", "objects", "intensities", "planes")]
    of_objects = {"object": "cell", "pixel_size_um": PIXEL_UM, "provenance": record}
    measure_movie(info, stack, *measured, **settings["measure"], **of_objects)
    linked = [at[name] for name in ("objects", "tracks", "lineage", "repairs")]
    of_tracks = {"division": "fission", "frame_interval_min": INTERVAL_MIN, "provenance": record}
    link_movie(info, *linked, **settings["link"], **of_tracks)
    analyse_movie(
        info,
        *(at[name] for name in ("objects", "intensities", "planes", "tracks", "lineage", "repairs")),
        {name: at[name] for name in OF_MOVIE},
        experiment="e",
        movie="m",
        **settings["analyse"],
        **calibration,
        object="cell",
        division="fission",
        events=[],
        provenance=record,
    )
    tables = {name: folder / f"{name}.parquet" for name in EXPERIMENT_TABLES}
    row = {"movie": "m", "path": str(path), "position": None, "condition": None, "replicate": None}
    collect_experiment(
        {"infos": [info], **{name: [at[name]] for name in OF_MOVIE}},
        tables,
        experiment="e",
        movies=[{**row, "excluded": False, "reason": None, "warnings": []}],
        channels=CHANNELS,
        object="cell",
        segmenter="threshold",
        model=None,
        size_quantity=settings["analyse"]["size_quantity"],
        carried=[],
        **calibration,
        **settings["population"],
    )
    picture = folder / "m/overlay.png"
    draw_overlay(info, stack, at["tracks"], at["lineage"], picture, **settings["overlay"], **calibration)
    write_report(
        tables,
        {"m": picture},
        REPOSITORY / "workflow/report/report.html.j2",
        folder / "report.html",
        experiment="e",
        model=json.loads((MODEL / "model.json").read_text()) if by == "network" else None,
        roc_figure=None,
        training_figure=None,
        training_status=None,
        settings={block: settings[block] for block in ("measure", "link", "analyse")},
        events=[],
        **settings["report"],
    )


def nonsense(folder: Path, size_quantity: str = "area") -> list[str]:
    """What no table of an experiment or a movie may hold: other columns or types than declared, NaN, infinity."""
    found = []
    for path in sorted(folder.rglob("*.parquet")):
        table = pq.read_table(path)
        channels = CHANNELS if path.stem == "frames" else ()
        declared = schema(path.stem, channels=channels, size_quantity=size_quantity)
        if (table.schema.names, table.schema.types) != (declared.names, declared.types):
            found.append(f"{path}: its columns are {table.schema}")
        for name, column in zip(table.column_names, table.columns, strict=True):
            if pa.types.is_floating(column.type):
                wild = pc.sum(pc.invert(pc.is_finite(column))).as_py()
                found += [f"{path}, column {name}: {wild} values are no numbers"] if wild else []
    return found
