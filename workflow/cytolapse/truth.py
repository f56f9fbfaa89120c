"""The truth of a simulated movie, in the tables that a measurement is written in."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from cytolapse.cycles import cell_ids, find_ancestry
from cytolapse.files import atomic_path
from cytolapse.simulation import SimulatedMovie
from cytolapse.tables import typed, write_table

_CELLS = [
    *("frame", "time_h", "y_px", "x_px", "y_um", "x_um", "y_aligned_um", "x_aligned_um", "area_um2", "length_um"),
    *("width_um", "orientation_rad", "volume_um3", "age_h", "growth_rate_per_h", "flag_border"),
]
_GROWTH = [
    *("generation", "first_frame", "last_frame", "start", "end", "birth_time_h", "division_time_h", "cycle_time_h"),
    *("size_birth", "size_division", "added_size", "division_ratio", "growth_rate_per_h"),
]


def truth_tables(simulated: SimulatedMovie, *, experiment: str, movie: str) -> dict[str, pd.DataFrame]:
    """Tables `cells`, `growth` and `expression` as a measurement without any error would fill them.

    What a simulation does not know of, or has no error of, is null. A cell's
    number stands for its label and its track. The rate in `growth` is the
    cell's own (see `Simulation`), that in `cells` the one at the frame.

    Parameters
    ----------
    simulated : SimulatedMovie
    experiment, movie : str
        As they are named to the pipeline.

    Returns
    -------
    dict of str to DataFrame
        Typed, size being the quantity that grows.
    """
    p, seen, lineage = simulated.parameters, simulated.cells, simulated.lineage
    keys = {"experiment": experiment, "movie": movie}
    cells = seen[_CELLS].assign(**keys, label=seen["cell"], track=seen["cell"], cell_id=cell_ids(movie, seen["cell"]))
    of_reporter = seen[["frame", "time_h", "total_au", "concentration_au_per_um3", "production_rate_au_per_h"]]
    expression = of_reporter.assign(
        **keys,
        label=seen["cell"],
        cell_id=cells["cell_id"],
        channel=p.channels[1],
        compartment="whole",
        mean_au=seen["total_au"] / (seen["area_um2"] / p.pixel_size_um**2),
    )
    tables = {"cells": cells, "growth": _growth(lineage, seen, movie).assign(**keys), "expression": expression}
    return {name: typed(name, table, size_quantity=p.grows) for name, table in tables.items()}


def _growth(lineage: pd.DataFrame, seen: pd.DataFrame, movie: str) -> pd.DataFrame:
    ancestry = find_ancestry(lineage.rename(columns={"cell": "track"}), division="fission")
    relatives = {f"{one}_id": cell_ids(movie, ancestry[one]) for one in ("parent", "sister", "root")}
    frames = seen.groupby("cell")["frame"].count().reindex(lineage["cell"]).to_numpy()
    born_h, divided_h = (lineage[f"{event}_time_h"].to_numpy(float) for event in ("birth", "division"))
    rate_per_h = lineage["growth_rate_per_h"].to_numpy(float)
    return lineage[_GROWTH].assign(
        track=lineage["cell"],
        cell_id=cell_ids(movie, lineage["cell"]),
        cycle=0,
        **relatives,
        history_known=~np.isnan(born_h),
        division_kind="fission",
        frames_observed=frames,
        cycle_observed=~np.isnan(divided_h - born_h),
        doubling_time_h=np.log(2) / rate_per_h,
    )


def write_truth(folder: str | os.PathLike, simulated: SimulatedMovie, *, experiment: str, movie: str) -> None:
    """Write the true tables of a movie, and labels.tif with its true outlines.

    Parameters
    ----------
    folder : path
        Gets cells.parquet, growth.parquet, expression.parquet and labels.tif.
    simulated, experiment, movie
        As in `truth_tables`.
    """
    import tifffile

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in truth_tables(simulated, experiment=experiment, movie=movie).items():
        write_table(name, table, folder / f"{name}.parquet", size_quantity=simulated.parameters.grows)
    with atomic_path(folder / "labels.tif") as temporary:
        tifffile.imwrite(temporary, simulated.labels, compression="deflate")
