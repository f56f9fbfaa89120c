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
    *(
        "cycle",
        "generation",
        "first_frame",
        "last_frame",
        "start",
        "end",
        "birth_time_h",
        "division_time_h",
        "cycle_time_h",
    ),
    *("size_birth", "size_division", "added_size", "division_ratio", "growth_rate_per_h"),
]


def truth_tables(simulated: SimulatedMovie, *, experiment: str, movie: str) -> dict[str, pd.DataFrame]:
    """Tables `cells`, `growth` and `expression` as a measurement without any error would fill them.

    What a simulation does not know of, or has no error of, is null. A cell's
    number stands for its label and its track. The rate in `growth` is that of
    `SimulatedMovie.lineage`, that in `cells` the one at the frame. Where the
    reporter knows nuclei, `expression` has rows of the compartments nucleus
    (where cells are outlined) and ring; of the ring, as wide as one likes, the
    mean is known alone. Where nuclei are outlined, whole is the nucleus.

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
    expression = _expression(simulated).assign(**keys, channel=p.channels[1])
    expression["cell_id"] = cell_ids(movie, expression["label"])
    tables = {"cells": cells, "growth": _growth(lineage, seen, movie, p.division).assign(**keys)}
    tables["expression"] = expression
    return {name: typed(name, table, size_quantity=p.grows) for name, table in tables.items()}


def _expression(simulated: SimulatedMovie) -> pd.DataFrame:
    """Rows of the compartments whole, nucleus and ring, as far as the reporter knows them."""
    p, seen = simulated.parameters, simulated.cells
    keys = seen[["frame", "time_h"]].assign(label=seen["cell"])
    whole = keys.assign(
        compartment="whole",
        total_au=seen["total_au"],
        mean_au=seen["total_au"] / (seen["area_um2"] / p.pixel_size_um**2),
        concentration_au_per_um3=seen["concentration_au_per_um3"],
        production_rate_au_per_h=seen["production_rate_au_per_h"],
    )
    if not p.nuclear_ratio:
        return whole
    nucleus = keys.assign(total_au=seen["nucleus_total_au"], mean_au=seen["nucleus_au_per_px"])
    ring = keys.assign(compartment="ring", mean_au=seen["cytoplasm_au_per_px"].where(seen["nuclear_ratio"].notna()))
    if p.kind == "nucleus":
        # what goes in and out of the nucleus is no production
        return pd.concat([nucleus.assign(compartment="whole"), ring], ignore_index=True)
    return pd.concat([whole, nucleus.assign(compartment="nucleus"), ring], ignore_index=True)


def _growth(lineage: pd.DataFrame, seen: pd.DataFrame, movie: str, division: str) -> pd.DataFrame:
    of_cells = lineage.drop_duplicates("cell").rename(columns={"cell": "track"})
    ancestry = find_ancestry(of_cells, division=division).loc[lineage["cell"]]
    relatives = {f"{one}_id": cell_ids(movie, ancestry[one]) for one in ("parent", "sister", "root")}
    born_h, divided_h = (lineage[f"{event}_time_h"].to_numpy(float) for event in ("birth", "division"))
    rate_per_h = lineage["growth_rate_per_h"].to_numpy(float)
    return lineage[_GROWTH].assign(
        track=lineage["cell"],
        cell_id=cell_ids(movie, lineage["cell"]),
        **relatives,
        history_known=ancestry["born"].to_numpy(bool) if division == "budding" else ~np.isnan(born_h),
        division_kind=division,
        frames_observed=_frames_of_cycles(lineage, seen),
        cycle_observed=~np.isnan(divided_h - born_h),
        doubling_time_h=np.log(2) / np.where(rate_per_h > 0, rate_per_h, np.nan),
    )


def _frames_of_cycles(lineage: pd.DataFrame, seen: pd.DataFrame) -> np.ndarray:
    """Frames in which each cell is seen in each of its cycles."""
    stride = int(seen["frame"].max()) + 1 if len(seen) else 1
    key = np.sort(seen["cell"].to_numpy(int) * stride + seen["frame"].to_numpy(int))
    begin, end = (
        lineage["cell"].to_numpy(int) * stride + lineage[name].to_numpy(int) for name in ("first_frame", "last_frame")
    )
    return np.searchsorted(key, end, side="right") - np.searchsorted(key, begin)


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
