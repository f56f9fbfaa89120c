"""Parquet tables, written and read through their declarations in `cytolapse.columns`.

Two movies never differ in a column's type, and a file explains itself. The
column reference in docs/tables.md is generated (`column_reference`).
"""

import os
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cytolapse import __version__
from cytolapse.columns import EXPERIMENT_TABLES, FLAG, INT, SIZE_UNITS, TABLES, TEXT, Column
from cytolapse.files import atomic_path

SCHEMA_VERSION = "1"

# Rows of a row group at least, where there are more, and at most: what a query by movie or cell reads.
_LEAST_GROUP_ROWS, _MOST_GROUP_ROWS = 1 << 15, 1 << 17


def _declaration(name: str) -> tuple[str, list[Column]]:
    if name not in TABLES:
        raise ValueError(f"no table is called {name!r}; the tables are {', '.join(TABLES)}")
    return TABLES[name]


def schema(
    name: str,
    *,
    channels: Sequence[str] = (),
    extra: Sequence[str] = (),
    size_quantity: str | None = None,
) -> pa.Schema:
    """The declared Arrow schema of a table.

    Parameters
    ----------
    name : str
        One of MOVIE_TABLES or EXPERIMENT_TABLES.
    channels : sequence of str
        Channels, for the columns of `frames` that there is one of a channel.
    extra : sequence of str
        Columns of movies.tsv (`x_...`) to carry along, as text.
    size_quantity : {'area', 'length', 'volume'}, optional
        Sets the unit of the columns that hold a size.

    Raises
    ------
    ValueError
        If there is no such table.
    """
    row, columns = _declaration(name)
    fields = []
    for column in columns:
        unit = SIZE_UNITS.get(size_quantity, "size") if column.unit == "size" else column.unit
        names = (
            [column.name.format(channel=channel) for channel in channels]
            if "{channel}" in column.name
            else [column.name]
        )
        metadata = {"description": column.description, "unit": unit}
        fields += [pa.field(each, column.type, metadata=metadata) for each in names]
    fields += [pa.field(each, TEXT, metadata={"description": "as in movies.tsv", "unit": ""}) for each in extra]
    metadata = {"table": name, "rows": row, "schema_version": SCHEMA_VERSION, "cytolapse_version": __version__}
    if size_quantity:
        metadata["size_quantity"] = size_quantity
    return pa.schema(fields, metadata=metadata)


def typed(name: str, frame: pd.DataFrame, **of_schema) -> pd.DataFrame:
    """The frame with the declared columns in order and in their types.

    A declared column that the frame lacks is null throughout.

    Parameters
    ----------
    name : str
        Table.
    frame : DataFrame
        Any subset of the declared columns.
    **of_schema
        `channels`, `extra` and `size_quantity`, as in `schema`.

    Raises
    ------
    ValueError
        If the frame has a column that is not declared, or a value that its
        type cannot hold.
    """
    declared = schema(name, **of_schema)
    unknown = [column for column in frame.columns if column not in declared.names]
    if unknown:
        raise ValueError(
            f"{name} has no column {', '.join(map(repr, unknown))}; its columns are {', '.join(declared.names)}"
        )
    return _to_pandas(_to_arrow(name, frame.reindex(columns=declared.names), declared))


def empty_table(name: str, **of_schema) -> pd.DataFrame:
    """A table without rows, with the declared columns and types."""
    return _to_pandas(schema(name, **of_schema).empty_table())


def _to_arrow(name: str, frame: pd.DataFrame, declared: pa.Schema) -> pa.Table:
    columns = []
    for field in declared:
        try:
            columns.append(pa.Array.from_pandas(frame[field.name], type=field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(f"{name}, column {field.name}: wanted {field.type}, {error}") from error
    return pa.Table.from_arrays(columns, schema=declared)


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    nullable = {INT: pd.Int32Dtype(), FLAG: pd.BooleanDtype()}
    return table.replace_schema_metadata(None).to_pandas(types_mapper=nullable.get)


def write_table(
    name: str,
    frame: pd.DataFrame,
    path: str | os.PathLike,
    *,
    metadata: Mapping[str, str] | None = None,
    **of_schema,
) -> None:
    """Write a table under its declaration, whole or not at all.

    Parameters
    ----------
    name : str
        Table.
    frame : DataFrame
        All declared columns, in any order.
    path : path
        Parquet file to write; it appears only when it is complete.
    metadata : mapping of str to str, optional
        Further entries for the file's metadata (`object`, `provenance`, ...).
    **of_schema
        `channels`, `extra` and `size_quantity`, as in `schema`.

    Raises
    ------
    ValueError
        If a column is missing, is not declared, or cannot hold a value.
    """
    declared = schema(name, **of_schema)
    missing = [column for column in declared.names if column not in frame.columns]
    if missing:
        raise ValueError(
            f"{name} has no column {', '.join(map(repr, missing))}; "
            f"its columns are {', '.join(map(str, frame.columns))}"
        )
    unknown = [column for column in frame.columns if column not in declared.names]
    if unknown:
        raise ValueError(
            f"{name} has no column {', '.join(map(repr, unknown))}; its columns are {', '.join(declared.names)}"
        )
    table = _to_arrow(name, frame, declared)
    table = table.replace_schema_metadata(_merged(declared, metadata))
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, row_group_size=_MOST_GROUP_ROWS, **_WRITING)


_WRITING = {"compression": "zstd", "write_page_index": True}


def _merged(declared: pa.Schema, metadata: Mapping[str, str] | None) -> dict:
    return {**declared.metadata, **{key.encode(): str(value).encode() for key, value in (metadata or {}).items()}}


def read_table(name: str, path: str | os.PathLike, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table with its declared types: Int32, boolean, float64 and str.

    Parameters
    ----------
    name : str
        Table that the file must hold.
    path : path
        Parquet file.
    columns : sequence of str, optional
        Columns to read; all by default.

    Raises
    ------
    ValueError
        If the file holds another table, was written under another schema
        version, or lacks a column.
    """
    _declaration(name)
    with pq.ParquetFile(path) as file:
        found = file.schema_arrow
        _check_is(name, path, found)
        missing = [column for column in columns or () if column not in found.names]
        if missing:
            raise ValueError(
                f"{path}: {name} has no column {', '.join(map(repr, missing))}; "
                f"its columns are {', '.join(found.names)}"
            )
        return _to_pandas(file.read(columns=list(columns) if columns is not None else None))


def _check_is(name: str, path: str | os.PathLike, found: pa.Schema) -> None:
    metadata = found.metadata or {}
    table = metadata.get(b"table", b"none").decode()
    if table != name:
        raise ValueError(f"{path}: holds the table {table}, wanted {name}")
    version = metadata.get(b"schema_version", b"none").decode()
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: written under schema version {version}, this Cytolapse reads {SCHEMA_VERSION}; "
            "run the stage that makes it again"
        )


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """The metadata of a Parquet file, as text."""
    return {key.decode(): value.decode() for key, value in (pq.read_schema(path).metadata or {}).items()}


def concatenate_tables(
    name: str,
    parts: Iterable[tuple[str | os.PathLike, Mapping[str, str | None]]],
    path: str | os.PathLike,
    *,
    metadata: Mapping[str, str] | None = None,
    **of_schema,
) -> int:
    """Write the tables of many movies as one.

    Rows keep the order of movies. A large movie has row groups of its own, small
    ones share one, so that a query by movie or by cell (whose identity begins
    with its movie) reads little. At most two row groups are in memory at a time.

    Parameters
    ----------
    name : str
        Table.
    parts : iterable of (path, constants)
        A movie's file of this table, and the text columns to set to one value
        in all its rows (`condition`, `replicate`, `x_...`).
    path : path
        Parquet file to write.
    metadata, **of_schema
        As in `write_table`.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    ValueError
        If a part holds another table or another schema version.
    """
    declared = schema(name, **of_schema)
    declared = declared.with_metadata(_merged(declared, metadata))
    rows, waiting, held = 0, 0, []
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, declared, **_WRITING) as writer:
        for part, constants in parts:
            with pq.ParquetFile(part) as file:
                _check_is(name, part, file.schema_arrow)
                large = file.metadata.num_rows >= _LEAST_GROUP_ROWS
                for batch in file.iter_batches(batch_size=_MOST_GROUP_ROWS):
                    if waiting and (large or waiting + batch.num_rows > _MOST_GROUP_ROWS):
                        writer.write_table(pa.concat_tables(held).combine_chunks())
                        waiting, held = 0, []
                    held.append(_as_declared(batch, declared, constants))
                    rows, waiting = rows + batch.num_rows, waiting + batch.num_rows
        if waiting:
            writer.write_table(pa.concat_tables(held).combine_chunks())
    return rows


def _as_declared(batch: pa.RecordBatch, declared: pa.Schema, constants: Mapping[str, str | None]) -> pa.Table:
    """A part's rows with all declared columns: constants, its own, or null."""
    columns = []
    for field in declared:
        if field.name in constants:
            columns.append(pa.repeat(pa.scalar(constants[field.name], field.type), batch.num_rows))
        elif field.name in batch.schema.names:
            columns.append(batch[field.name].cast(field.type))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.Table.from_arrays(columns, schema=declared)


def column_reference() -> str:
    """The tables for the user, column by column, as Markdown."""
    lines = []
    for name in EXPERIMENT_TABLES:
        row, columns = _declaration(name)
        lines += [
            f"## {name}",
            "",
            f"{row[0].upper()}{row[1:]}.",
            "",
            "| column | type | unit | meaning |",
            "| --- | --- | --- | --- |",
        ]
        lines += [
            f"| `{c.name}` | {c.type} | {'unit of the size' if c.unit == 'size' else c.unit} | {c.description} |"
            for c in columns
        ]
        lines.append("")
    return "\n".join(lines)
