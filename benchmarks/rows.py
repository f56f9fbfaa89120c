"""Memory and time of the tables of an experiment with many millions of rows.

    python benchmarks/rows.py [--movies 100] [--rows 100000] [--folder bench/rows]

Writes `cells` and `expression` of many movies, with random numbers in all columns, has
another process put them together and sum them up as collect does, and takes its peak
memory; then asks DuckDB and polars for one movie, for one cell, and for all. What comes
out is printed, and written into docs/speed.md where there are ten million rows.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from data import REPOSITORY
from scores import write_between_marks

from cytolapse.columns import FLAG, INT, REAL, TEXT
from cytolapse.tables import schema

DOCS = REPOSITORY / "docs/speed.md"
FULL_ROWS = 10_000_000
CELLS_A_FRAME = 200
COLLECT = """
import resource, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import pandas as pd
from cytolapse.families import count_families
from cytolapse.tables import concatenate_tables
folder, name = Path(sys.argv[2]), sys.argv[3]
parts = sorted(folder.glob(f"{name}_*.parquet"))
began = time.perf_counter()
rows = concatenate_tables(
    name, [(part, {"condition": "slow"}) for part in parts], folder / f"{name}.parquet", size_quantity="area"
)
if name == "cells":
    ids = pd.concat([pd.read_parquet(part, columns=["cell_id"])["cell_id"].drop_duplicates() for part in parts])
    growth = pd.DataFrame({"cell_id": ids, "root_id": ids})
    for _ in count_families(folder / "cells.parquet", growth, size_quantity="area"):
        pass
print(rows, time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def write_movies(folder: Path, name: str, movies: int, rows: int) -> None:
    """Tables of movies: keys as the pipeline writes them, random numbers, the same for all, in the other columns."""
    rng = np.random.default_rng(0)
    declared = schema(name, size_quantity="area")
    frame = np.arange(rows) // CELLS_A_FRAME
    track = 1 + np.arange(rows) % CELLS_A_FRAME + CELLS_A_FRAME * (frame // 20)
    makers = {
        INT: lambda: track,
        FLAG: lambda: rng.random(rows) < 0.02,
        TEXT: lambda: np.full(rows, "whole"),
        REAL: lambda: rng.normal(100, 10, rows),
    }
    columns = {field.name: pa.array(makers[field.type]()).cast(field.type) for field in declared}
    columns |= {"experiment": pa.repeat("night1", rows), "frame": pa.array(frame).cast(INT)}
    columns |= {each: pa.nulls(rows, TEXT) for each in ("condition", "replicate")}
    for number in range(movies):
        movie = f"night1_p{number:04d}"
        columns["movie"] = pa.repeat(movie, rows)
        columns["cell_id"] = pc.binary_join_element_wise(columns["movie"], pa.array(track).cast(TEXT), ":")
        table = pa.Table.from_arrays([columns[each] for each in declared.names], schema=declared)
        pq.write_table(table, folder / f"{name}_{number:04d}.parquet", compression="zstd")


def collect(folder: Path, name: str) -> tuple[int, float, float]:
    """Rows, seconds and peak memory in MB of a process that puts all movies together."""
    command = [sys.executable, "-c", COLLECT, str(REPOSITORY / "workflow"), str(folder), name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, seconds, megabytes = done.stdout.split()
    return int(rows), float(seconds), float(megabytes)


def query_seconds(path: Path, movie: str, cell_id: str, column: str) -> dict[str, list[float]]:
    """Seconds of each question in DuckDB and in polars, median of three."""
    questions = {
        "one movie": (f"movie = '{movie}'", pl.col("movie") == movie),
        "one cell": (f"cell_id = '{cell_id}'", pl.col("cell_id") == cell_id),
        "all": ("true", pl.lit(True)),
    }
    found = {}
    for question, (condition, expression) in questions.items():
        sql = f"select avg({column}), count(*) from '{path}' where {condition}"
        programs = [
            lambda sql=sql: duckdb.sql(sql).fetchall(),
            lambda expression=expression: pl.scan_parquet(path).filter(expression).select(pl.mean(column)).collect(),
        ]
        found[question] = [median_seconds(program) for program in programs]
    return found


def median_seconds(program) -> float:
    """Of three calls."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        program()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def as_markdown(collected: dict[str, tuple[int, float, float]], asked: dict[str, list[float]]) -> str:
    lines = ["| table | rows | seconds to put together | peak memory |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {name} | {rows:,} | {seconds:.0f} | {megabytes:.0f} MB |"
        for name, (rows, seconds, megabytes) in collected.items()
    ]
    lines += ["", "| mean of a column of expression over | DuckDB, s | polars, s |", "| --- | --- | --- |"]
    lines += [f"| {question} | {first:.3f} | {second:.3f} |" for question, (first, second) in asked.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--movies", type=int, default=100)
    parser.add_argument("--rows", type=int, default=100_000, help="of each movie")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "bench/rows")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    collected = {}
    for name in ("cells", "expression"):
        for stale in options.folder.glob(f"{name}_*.parquet"):
            stale.unlink()
        write_movies(options.folder, name, options.movies, options.rows)
        collected[name] = collect(options.folder, name)
        for part in options.folder.glob(f"{name}_*.parquet"):
            part.unlink()
    movie = f"night1_p{options.movies // 2:04d}"
    asked = query_seconds(options.folder / "expression.parquet", movie, f"{movie}:7", "mean_au")
    text = as_markdown(collected, asked)
    sys.stdout.write(text)
    if options.movies * options.rows >= FULL_ROWS:
        write_between_marks(DOCS, "rows", text)


if __name__ == "__main__":
    main()
