"""A simulated movie through the stages of the pipeline, as its rules call them."""

import json

import numpy as np
import tifffile

from cytolapse.analysis import analyse_movie
from cytolapse.features import measure_movie
from cytolapse.inspection import inspect_movie
from cytolapse.lineage import link_movie
from cytolapse.movies import write_stack
from cytolapse.simulation import write_movie
from cytolapse.tables import empty_table, read_table, write_table
from cytolapse.thresholding import threshold_movie
from planning.settings import read_settings

OF_MOVIE = {"pixel_size_um": None, "frame_interval_min": None}
ANALYSED = ("frames", "cells", "growth", "fits", "expression")


def staged(folder, simulated, *, by_threshold=False, object="cell", **changes):
    """Tables tracks, lineage, cells, growth and expression of a movie, and labels.tif, in a dict.

    Labels are the truth's own under other numbers in every frame, or found by
    threshold. `changes` are those of `measure`.
    """
    p, settings = simulated.parameters, read_settings({})
    write_movie(folder / "movie.tif", simulated)
    info = inspect_movie(
        str(folder / "movie.tif"),
        **{"position": None, "axes": None, "channels": list(p.channels), "segment_channel": p.channels[0]},
        **{"z_projection": "none", "stated": [], "on_bad_movie": "stop"},
    )
    (folder / "movie.json").write_text(json.dumps(info))
    labels, confidence = folder / "labels.tif", folder / "confidence.parquet"
    if by_threshold:
        threshold_movie(folder / "movie.json", labels, confidence, **settings["threshold"], **OF_MOVIE, provenance={})
    else:
        write_table("confidence", empty_table("confidence"), confidence)
        pages = [shuffled(page, frame) for frame, page in enumerate(simulated.labels)]
        write_stack(
            labels, pages, shape=simulated.labels.shape, axes="TYX", dtype=np.uint16, description=None,
            pixel_size_um=p.pixel_size_um, frame_interval_min=p.frame_interval_min,
        )  # fmt: skip
    measured = [folder / f"{name}.parquet" for name in ("objects", "intensities", "planes")]
    linked = [folder / f"{name}.parquet" for name in ("tracks", "lineage", "repairs")]
    analysed = {name: folder / f"{name}.parquet" for name in ANALYSED}
    measure_movie(
        folder / "movie.json", labels, confidence, *measured,
        **{**settings["measure"], **changes}, pixel_size_um=None, object=object, provenance=None,
    )  # fmt: skip
    link_movie(
        folder / "movie.json", measured[0], *linked,
        **settings["link"], frame_interval_min=None, division=p.division, provenance=None,
    )  # fmt: skip
    analyse_movie(
        folder / "movie.json", *measured, *linked, analysed,
        **settings["analyse"], **OF_MOVIE, experiment="simulated", movie="a", object=object, division=p.division,
        events=[], provenance=None,
    )  # fmt: skip
    tables = {name: read_table(name, path) for name, path in analysed.items()}
    tables |= {path.stem: read_table(path.stem, path) for path in linked}
    return {**tables, "labels": tifffile.imread(labels)}


def shuffled(labels, seed):
    """The same masks under other numbers."""
    present, index = np.unique(labels, return_inverse=True)
    numbers = np.random.default_rng(seed).permutation(np.count_nonzero(present)) + 1
    return np.concatenate([[0], numbers])[index.reshape(labels.shape)].astype(np.uint16)


def true_cells(labels, simulated):
    """Number of the true cell of each (frame, label) that covers more than half of it and is covered so by it."""
    pairs = {}
    for frame, (found, true) in enumerate(zip(labels, simulated.labels, strict=True)):
        both = np.stack([found[(found > 0) & (true > 0)], true[(found > 0) & (true > 0)]], axis=1)
        unique, pixels = np.unique(both, axis=0, return_counts=True)
        large, truly = np.bincount(found.ravel()), np.bincount(true.ravel())
        for (label, cell), count in zip(unique.tolist(), pixels.tolist(), strict=True):
            if 2 * count > large[label] and 2 * count > truly[cell]:
                pairs[frame, label] = cell
    return pairs
