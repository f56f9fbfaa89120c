"""Cells of many movies -> how many of them, and how much, are of each founder's family."""

import os
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cytolapse.columns import SIZE_UNITS
from cytolapse.tables import read_table

_BATCH_ROWS = 1 << 18


def count_families(
    cells_path: str | os.PathLike, growth: pd.DataFrame, *, size_quantity: str
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Number and total size of the cells of each family in each frame, movie by movie.

    A family is a founder (the first of its lineage that was seen) with all
    that came from it. Masks without a track count as one family together.

    Parameters
    ----------
    cells_path : path
        Table cells of any length, the rows of each movie together, as they are
        written: one movie is in memory at a time.
    growth : DataFrame
        Columns cell_id and root_id of `growth`.
    size_quantity : {'area', 'length', 'volume'}

    Yields
    ------
    movie : str
    families : DataFrame
        Columns frame, family (a number), cells and total_size, which is NaN
        where the size of a cell is null.

    Raises
    ------
    ValueError
        If rows of other movies lie between those of one.
    """
    column = f"{size_quantity}_{SIZE_UNITS[size_quantity]}"
    read_table("cells", cells_path, columns=[])  # refuses a file that holds another table
    known = growth.drop_duplicates("cell_id")
    cell_ids = pa.array(known["cell_id"], pa.string())
    family = pa.array(pd.factorize(known["root_id"])[0], pa.int32())
    parts: list[pa.Table] = []
    done, movie = set(), None
    with pq.ParquetFile(cells_path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=["movie", "frame", "cell_id", column]):
            of_cell = family.take(pc.index_in(batch["cell_id"].cast(pa.string()), value_set=cell_ids, skip_nulls=True))
            rows = pa.table(
                {
                    "movie": batch["movie"].cast(pa.string()),
                    "frame": batch["frame"],
                    "family": pc.fill_null(of_cell, -1),
                    "size": batch[column].cast(pa.float64()),
                }
            )
            names = rows["movie"].to_pandas().to_numpy()
            first = np.flatnonzero(np.append(True, names[1:] != names[:-1]))[: len(names)]
            for begin, end in zip(first, np.append(first[1:], len(names)), strict=True):
                if names[begin] != movie:
                    if parts:
                        yield movie, _summed(parts)
                    done.add(movie)
                    movie, parts = names[begin], []
                    if movie in done:
                        raise ValueError(
                            f"{cells_path}: rows of other movies lie between those of movie {movie}; run collect again"
                        )
                parts.append(_counted(rows.slice(begin, end - begin)))
    if parts:
        yield movie, _summed(parts)


def _counted(rows: pa.Table) -> pa.Table:
    sums = rows.group_by(["frame", "family"]).aggregate([("size", "sum"), ("size", "count"), ("frame", "count")])
    return sums.rename_columns(
        {"size_sum": "total_size", "size_count": "sized", "frame_count": "cells", "frame": "frame", "family": "family"}
    )


def _summed(parts: list[pa.Table]) -> pd.DataFrame:
    keys = ["frame", "family"]
    table = pa.concat_tables(parts).to_pandas().groupby(keys, as_index=False).sum(min_count=1)
    whole = table["sized"] == table["cells"]
    return table[[*keys, "cells"]].assign(total_size=table["total_size"].where(whole))
