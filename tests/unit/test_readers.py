"""Tables as other programs read them: pandas, polars, DuckDB, and CSV."""

import math

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from cytolapse.columns import EXPERIMENT_TABLES
from cytolapse.csvtables import write_csv
from cytolapse.tables import empty_table, schema, typed, write_table

# What a type of a column is in polars and in DuckDB.
POLARS = {"int32": pl.Int32, "double": pl.Float64, "string": pl.String, "bool": pl.Boolean}
DUCKDB = {"int32": "INTEGER", "double": "DOUBLE", "string": "VARCHAR", "bool": "BOOLEAN"}


@pytest.fixture
def cells(tmp_path):
    """Three rows of `cells`: each type, null and not null, and text that is hard to quote."""
    rows = {
        **{"movie": ["a", "a", 'b, "old"'], "frame": [0, 1, 0], "track": [1, None, 2]},
        **{"area_um2": [2.5, np.nan, 1 / 3], "flag_border": [True, None, False], "condition": [None, "é", "slow"]},
    }
    path = tmp_path / "cells.parquet"
    write_table("cells", typed("cells", pd.DataFrame(rows)), path, metadata={"object": "cell"})
    return path


def test_pandas_reads_types_nulls_and_values(cells):
    table = pd.read_parquet(cells, dtype_backend="pyarrow")

    assert table["track"].isna().tolist() == [False, True, False]
    assert table["flag_border"].isna().tolist() == [False, True, False]
    assert table["area_um2"].dropna().tolist() == [2.5, 1 / 3]
    assert str(table["track"].dtype) == "int32[pyarrow]"


def test_polars_reads_types_nulls_and_values(cells):
    table = pl.read_parquet(cells)

    assert {name: table.schema[name] for name in table.columns} == {
        field.name: POLARS[str(field.type)] for field in schema("cells")
    }
    assert table["track"].to_list() == [1, None, 2]
    assert table["flag_border"].to_list() == [True, None, False]
    assert table["area_um2"].to_list() == [2.5, None, 1 / 3]
    assert pl.scan_parquet(cells).filter(pl.col("movie") == "a").select("frame").collect()["frame"].to_list() == [0, 1]


def test_duckdb_reads_types_nulls_and_values(cells):
    found = duckdb.sql(f"select * from '{cells}'")

    assert dict(zip(found.columns, map(str, found.types), strict=True)) == {
        field.name: DUCKDB[str(field.type)] for field in schema("cells")
    }
    assert duckdb.sql(f"select track, area_um2, flag_border, condition from '{cells}'").fetchall() == [
        (1, 2.5, True, None),
        (None, None, None, "é"),
        (2, 1 / 3, False, "slow"),
    ]
    assert duckdb.sql(f"select avg(area_um2) from '{cells}' where not flag_border").fetchall() == [(1 / 3,)]


def test_units_and_meanings_are_in_the_file_for_any_reader_of_parquet(cells):
    fields = {field.name: field.metadata for field in pq.read_schema(cells)}

    assert fields["area_um2"] == {b"description": b"number of pixels times the area of one", b"unit": b"um2"}
    keys = duckdb.sql(f"select decode(key), decode(value) from parquet_kv_metadata('{cells}')").fetchall()
    assert dict(keys)["object"] == "cell"


@pytest.mark.parametrize("name", EXPERIMENT_TABLES)
def test_a_table_without_rows_has_its_columns_and_types_in_polars_and_duckdb(name, tmp_path):
    write_table(name, empty_table(name), path := tmp_path / "empty.parquet")

    assert list(pl.read_parquet(path).schema.values()) == [POLARS[str(kind)] for kind in schema(name).types]
    assert list(map(str, duckdb.sql(f"select * from '{path}'").types)) == [
        DUCKDB[str(kind)] for kind in schema(name).types
    ]


def test_csv_holds_the_same_values_and_an_empty_field_is_null(cells, tmp_path):
    write_csv("cells", cells, tmp_path / "cells.csv")

    table = pd.read_csv(tmp_path / "cells.csv", dtype={"condition": "str"})
    assert list(table.columns) == schema("cells").names
    assert table["movie"].tolist() == ["a", "a", 'b, "old"']
    assert table["condition"].fillna("null").tolist() == ["null", "é", "slow"]
    assert table["area_um2"].tolist()[::2] == [2.5, 1 / 3]
    assert math.isnan(table["track"][1])
    assert table["flag_border"].tolist()[::2] == [True, False]


def test_csv_of_a_table_without_rows_is_its_first_line(tmp_path):
    write_table("fits", empty_table("fits"), tmp_path / "fits.parquet")

    write_csv("fits", tmp_path / "fits.parquet", tmp_path / "fits.csv")

    assert pd.read_csv(tmp_path / "fits.csv").columns.tolist() == schema("fits").names


def test_another_table_than_the_one_named_is_not_written_as_csv(cells, tmp_path):
    with pytest.raises(ValueError, match=r"cells.parquet: holds the table cells, wanted growth"):
        write_csv("growth", cells, tmp_path / "growth.csv")
    assert not (tmp_path / "growth.csv").exists()
