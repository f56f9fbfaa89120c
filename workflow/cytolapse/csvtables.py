"""The tables as text, for programs that read no Parquet."""

import os

import pyarrow.csv
import pyarrow.parquet as pq

from cytolapse.files import atomic_path
from cytolapse.tables import read_table

_ROWS = 1 << 16


def write_csv(name: str, parquet_path: str | os.PathLike, csv_path: str | os.PathLike) -> None:
    """Write a table as CSV (RFC 4180, UTF-8), a piece at a time.

    The first line names the columns. An empty field is null, text stands in
    quotation marks, flags are `true` and `false`, numbers have all their digits.
    Types, units and meanings do not go into such a file; they stand in the
    Parquet file and in docs/tables.md.

    Parameters
    ----------
    name : str
        Table that the file must hold.
    parquet_path : path
        To read.
    csv_path : path
        To write; it appears only when it is complete.

    Raises
    ------
    ValueError
        If the file holds another table, or one of another schema version.
    """
    read_table(name, parquet_path, columns=[])  # refuses a file that holds another table
    with pq.ParquetFile(parquet_path) as file, atomic_path(csv_path) as temporary:
        schema = file.schema_arrow.remove_metadata()
        with pyarrow.csv.CSVWriter(temporary, schema) as writer:
            for batch in file.iter_batches(batch_size=_ROWS):
                writer.write_batch(batch.replace_schema_metadata(None))
