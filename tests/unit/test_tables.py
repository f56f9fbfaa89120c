import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytolapse.columns import EXPERIMENT_TABLES, MOVIE_TABLES
from cytolapse.tables import (
    column_reference,
    concatenate_tables,
    empty_table,
    read_metadata,
    read_table,
    schema,
    typed,
    write_table,
)


def lineage(**columns) -> pd.DataFrame:
    return typed("lineage", pd.DataFrame(columns))


def test_a_table_comes_back_as_it_was_written(tmp_path):
    table = lineage(track=[1, 2], parent=[None, 1], start=["movie_start", "division"], division_score=[0.75, np.nan])

    write_table("lineage", table, tmp_path / "lineage.parquet")

    pd.testing.assert_frame_equal(read_table("lineage", tmp_path / "lineage.parquet"), table)


@pytest.mark.parametrize("name", [*MOVIE_TABLES, *EXPERIMENT_TABLES])
def test_a_table_without_rows_has_the_same_types_as_one_with_rows(name, tmp_path):
    write_table(name, empty_table(name), tmp_path / "empty.parquet")

    assert pq.read_schema(tmp_path / "empty.parquet").types == schema(name).types


@pytest.mark.parametrize("name", [*MOVIE_TABLES, *EXPERIMENT_TABLES])
def test_every_column_says_what_it_means_and_no_name_stands_twice(name):
    declared = schema(name)

    assert all(field.metadata[b"description"] for field in declared)
    assert len(set(declared.names)) == len(declared.names)


def test_a_missing_number_is_null_in_the_file_and_not_nan(tmp_path):
    write_table("lineage", lineage(track=[1], division_score=[np.nan]), tmp_path / "t.parquet")

    assert pq.read_table(tmp_path / "t.parquet")["division_score"].null_count == 1


def test_a_column_of_each_channel_stands_in_frames():
    names = schema("frames", channels=["phase", "gfp"]).names

    assert {"background_phase_au", "background_gfp_au", "exposure_gfp_ms"} <= set(names)
    assert not any("{" in name for name in names)


def test_the_unit_of_a_size_is_that_of_the_experiment(tmp_path):
    declared = schema("growth", size_quantity="length")

    assert declared.field("size_birth").metadata[b"unit"] == b"um"
    assert declared.metadata[b"size_quantity"] == b"length"


def test_a_carried_column_of_movies_tsv_stands_in_movies():
    assert "x_plate" in schema("movies", extra=["x_plate"]).names


def test_an_unknown_table_is_refused_by_name():
    with pytest.raises(ValueError, match="no table is called 'cels'; the tables are confidence, objects"):
        schema("cels")


def test_a_column_that_is_not_declared_is_refused(tmp_path):
    with pytest.raises(ValueError, match="lineage has no column 'mother'; its columns are track, parent"):
        typed("lineage", pd.DataFrame({"mother": [1]}))
    with pytest.raises(ValueError, match="lineage has no column 'mother'; its columns are track, parent"):
        write_table("lineage", lineage(track=[1]).assign(mother=1), tmp_path / "t.parquet")


def test_a_column_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="lineage has no column 'parent'; its columns are track"):
        write_table("lineage", lineage(track=[1]).drop(columns="parent"), tmp_path / "t.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_its_type_cannot_hold_is_refused_with_the_column():
    with pytest.raises(ValueError, match="lineage, column track: wanted int32"):
        typed("lineage", pd.DataFrame({"track": ["first"]}))


def test_another_table_than_the_one_asked_for_is_refused(tmp_path):
    write_table("tracks", empty_table("tracks"), tmp_path / "t.parquet")

    with pytest.raises(ValueError, match="t.parquet: holds the table tracks, wanted lineage"):
        read_table("lineage", tmp_path / "t.parquet")


def test_a_table_of_another_schema_version_is_refused(tmp_path):
    declared = schema("tracks")
    older = declared.with_metadata({**declared.metadata, b"schema_version": b"0"})
    pq.write_table(older.empty_table(), tmp_path / "t.parquet")

    with pytest.raises(ValueError, match="written under schema version 0, this Cytolapse reads 1; run the stage"):
        read_table("tracks", tmp_path / "t.parquet")


def test_a_column_that_the_file_lacks_is_refused_on_reading(tmp_path):
    write_table("tracks", empty_table("tracks"), tmp_path / "t.parquet")

    with pytest.raises(ValueError, match="tracks has no column 'y_px'; its columns are frame, label, track"):
        read_table("tracks", tmp_path / "t.parquet", columns=["y_px"])


def parts_of(tmp_path, *rows: int) -> list:
    """Tables `growth` of movies m0, m1, ... with so many cells each, the first without a condition."""
    for n, count in enumerate(rows):
        table = pd.DataFrame({"movie": f"m{n}", "cell_id": [f"m{n}:{k}" for k in range(count)]})
        write_table("growth", typed("growth", table), tmp_path / f"{n}.parquet", size_quantity="area")
    return [(tmp_path / f"{n}.parquet", {"condition": "slow" if n else None}) for n in range(len(rows))]


def groups_of(path) -> list[tuple[int, str, str]]:
    """Rows, first and last movie of each row group, as its statistics say."""
    metadata = pq.ParquetFile(path).metadata
    column = metadata.schema.names.index("movie")
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    return [(g.num_rows, g.column(column).statistics.min, g.column(column).statistics.max) for g in groups]


def test_movies_join_to_one_table_with_their_condition(tmp_path):
    parts = parts_of(tmp_path, 2, 0, 3)

    rows = concatenate_tables(
        "growth", parts, tmp_path / "all.parquet", metadata={"object": "cell"}, size_quantity="area"
    )

    joined = read_table("growth", tmp_path / "all.parquet")
    assert rows == 5
    assert joined["condition"].fillna("null").tolist() == ["null", "null", "slow", "slow", "slow"]
    assert read_metadata(tmp_path / "all.parquet")["object"] == "cell"


def test_small_movies_share_a_row_group_and_a_large_one_has_its_own(tmp_path):
    parts = parts_of(tmp_path, 10, 20, 300_000, 5, 5)

    concatenate_tables("growth", parts, tmp_path / "all.parquet", size_quantity="area")

    groups = groups_of(tmp_path / "all.parquet")
    assert groups[0] == (30, "m0", "m1")
    assert {group[1:] for group in groups[1:-1]} == {("m2", "m2")}
    assert groups[-1][2] == "m4"
    assert max(rows for rows, *_ in groups) <= 1 << 17
    assert len(groups) <= 5
    joined = read_table("growth", tmp_path / "all.parquet")
    assert (joined["cell_id"].str.split(":").str[0] == joined["movie"]).all()
    assert len(joined) == 300_040


def test_joining_nothing_gives_a_table_without_rows(tmp_path):
    assert concatenate_tables("cells", [], tmp_path / "all.parquet") == 0
    assert read_table("cells", tmp_path / "all.parquet").empty


def test_joining_refuses_a_file_of_another_table(tmp_path):
    write_table("tracks", empty_table("tracks"), tmp_path / "t.parquet")

    with pytest.raises(ValueError, match="holds the table tracks, wanted cells"):
        concatenate_tables("cells", [(tmp_path / "t.parquet", {})], tmp_path / "all.parquet")


def test_pandas_and_arrow_read_a_file_without_this_library(tmp_path):
    write_table(
        "tracks", typed("tracks", pd.DataFrame({"frame": [0], "label": [1], "track": [1]})), tmp_path / "t.parquet"
    )

    assert pd.read_parquet(tmp_path / "t.parquet").to_dict("list") == {"frame": [0], "label": [1], "track": [1]}
    assert pq.read_table(tmp_path / "t.parquet").schema.field("frame").type == pa.int32()


def test_the_column_reference_names_every_column_of_every_table():
    reference = column_reference()

    for name in EXPERIMENT_TABLES:
        assert f"## {name}" in reference
    assert reference.count("\n| `") == sum(
        len(schema(name, channels=["{channel}"]).names) for name in EXPERIMENT_TABLES
    )
