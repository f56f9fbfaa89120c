import json

import pandas as pd
import pytest

from cytolapse.collection import collect_experiment
from cytolapse.columns import EXPERIMENT_TABLES
from cytolapse.tables import read_metadata, read_table, typed, write_table

STAGES = ("segment", "label", "measure", "link", "analyse")
PROVENANCE = {
    stage: {"settings": {"of": stage}, "code": f"{stage}-code", "version": "1", "commit": "abc", "packages_digest": "p"}
    for stage in STAGES
}
PROVENANCE["segment"] |= {"model_digest": "m", "device": "cpu", "precision": "float32", "seed": 7}
INFO = {
    "status": "ok",
    "reason": None,
    "warnings": [],
    "frames": 3,
    "channels": ["phase", "gfp"],
    "height_px": 8,
    "width_px": 9,
    "pixel_size_um": 0.1,
    "frame_interval_min": 5.0,
    "time_h": None,
}


def write_movie_products(folder, movie: str, cells: int, **info) -> None:
    """The products of one movie that collect reads."""
    folder.mkdir()
    (folder / "movie.json").write_text(json.dumps(INFO | info))
    metadata = {"provenance": json.dumps(PROVENANCE), "flags": json.dumps({"flag_short": "fewer than 5"})}
    for name in ("frames", "cells", "growth", "fits", "expression"):
        rows = pd.DataFrame({"experiment": ["e"] * cells, "movie": movie})
        if name == "cells":
            rows = rows.assign(frame=0, cell_id=f"{movie}:1", area_um2=2.0, time_h=0.0)
        of_schema = {"channels": ["phase", "gfp"] if name == "frames" else (), "size_quantity": "area"}
        table = typed(name, rows, **of_schema)
        write_table(name, table, folder / f"{name}.parquet", metadata=metadata, **of_schema)


def sheet_row(movie: str, **more) -> dict:
    empty = dict.fromkeys(("position", "well", "condition", "replicate", "reason", "x_plate"))
    return {"movie": movie, "path": f"{movie}.tif", "excluded": False, "warnings": [], **empty, **more}


def collected(tmp_path, rows: list[dict], **settings) -> dict[str, pd.DataFrame]:
    """Run collect over the movies of a sheet, and read the tables back."""
    included = [row["movie"] for row in rows if not row["excluded"]]
    parts = {
        name: [tmp_path / movie / f"{name}.parquet" for movie in included]
        for name in ("frames", "cells", "growth", "fits", "expression")
    }
    parts["infos"] = [tmp_path / movie / "movie.json" for movie in included]
    outputs = {name: tmp_path / f"{name}.parquet" for name in EXPERIMENT_TABLES}
    stated = {
        "pixel_size_um": None,
        "frame_interval_min": None,
        "segmenter": "cytolapse",
        "model": "bacteria",
    } | settings
    collect_experiment(
        parts,
        outputs,
        experiment="e",
        movies=rows,
        channels=["phase", "gfp"],
        object="cell",
        size_quantity="area",
        carried=["x_plate"],
        window_h=None,
        **stated,
    )
    return {name: read_table(name, path) for name, path in outputs.items()}


def test_the_tables_of_movies_become_one_with_their_condition(tmp_path):
    write_movie_products(tmp_path / "a", "a", cells=2)
    write_movie_products(tmp_path / "b", "b", cells=1)

    tables = collected(tmp_path, [sheet_row("a", condition="slow", replicate="1"), sheet_row("b", condition="fast")])

    assert tables["cells"]["condition"].tolist() == ["slow", "slow", "fast"]
    assert tables["growth"]["replicate"].isna().tolist() == [False, False, True]


def test_a_movie_is_a_row_with_its_scale_and_where_it_comes_from(tmp_path):
    write_movie_products(tmp_path / "a", "a", cells=1)

    row = collected(tmp_path, [sheet_row("a", position=3, well="B03", x_plate="P7")])["movies"].iloc[0]

    assert (row["status"], row["position"], row["x_plate"], row["model"]) == ("done", "3", "P7", "bacteria")
    assert row["well"] == "B03"
    assert (row["pixel_size_um"], row["frame_interval_min"], row["interval_even"]) == (0.1, pytest.approx(5), True)
    assert (row["model_digest"], row["device"], row["seed"], row["commit"]) == ("m", "cpu", 7, "abc")
    assert json.loads(row["settings"])["link"] == {"of": "link"}
    assert json.loads(row["code_digests"])["analyse"] == "analyse-code"


def test_a_movie_that_an_engine_labelled_says_so_without_a_stage_before(tmp_path, monkeypatch):
    label = PROVENANCE["label"] | {"segmenter_version": "cellpose 4.2", "device": "cpu", "model_digest": None}
    monkeypatch.delitem(PROVENANCE, "segment")
    monkeypatch.setitem(PROVENANCE, "label", label)
    write_movie_products(tmp_path / "a", "a", cells=1)

    row = collected(tmp_path, [sheet_row("a")], segmenter="cellpose", model="cpsam_v2")["movies"].iloc[0]

    assert (row["segmenter"], row["segmenter_version"], row["model"]) == ("cellpose", "cellpose 4.2", "cpsam_v2")
    assert (row["device"], row["version"], row["commit"]) == ("cpu", "1", "abc")
    assert row[["model_digest", "precision", "seed"]].isna().all()
    assert set(json.loads(row["settings"])) == {"label", "measure", "link", "analyse"}


def test_excluded_and_refused_movies_are_rows_with_their_reasons(tmp_path):
    write_movie_products(tmp_path / "a", "a", cells=1)
    write_movie_products(tmp_path / "b", "b", cells=0, status="refused", reason="b.tif: is cut off")

    rows = [sheet_row("a"), sheet_row("b"), sheet_row("c", excluded=True, reason="lost focus")]
    movies = collected(tmp_path, rows)["movies"].set_index("movie")

    assert movies["status"].to_dict() == {"a": "done", "b": "refused", "c": "excluded"}
    assert movies["reason"].dropna().to_dict() == {"b": "b.tif: is cut off", "c": "lost focus"}
    assert movies.loc["b":, "frames"].isna().all()


def test_where_sheet_and_file_disagree_the_sheet_wins_and_a_warning_says_so(tmp_path):
    write_movie_products(tmp_path / "a", "a", cells=1)

    row = collected(tmp_path, [sheet_row("a")], pixel_size_um=0.2, frame_interval_min=5.01)["movies"].iloc[0]

    assert row["pixel_size_um"] == 0.2
    assert row["warnings"] == "pixel size: experiments.tsv says 0.2 um, the file 0.1 um; experiments.tsv wins"


def test_a_difference_between_sheet_and_files_is_logged_once_with_its_movies(tmp_path, caplog):
    movies = [f"m{n}" for n in range(5)]
    for movie in movies:
        write_movie_products(tmp_path / movie, movie, cells=1, **({"pixel_size_um": 0.3} if movie == "m4" else {}))

    collected(tmp_path, [sheet_row(movie) for movie in movies], pixel_size_um=0.2)

    said = "pixel size: experiments.tsv says 0.2 um, the file {} um; experiments.tsv wins (movies: {})"
    assert [record.getMessage() for record in caplog.records] == [
        said.format(0.1, "m0, m1, m2 and 1 more"),
        said.format(0.3, "m4"),
    ]


def test_uneven_times_that_the_sheet_makes_even_are_said(tmp_path):
    write_movie_products(tmp_path / "a", "a", cells=1, time_h=[0.0, 0.1, 0.5], frame_interval_min=15.0)

    row = collected(tmp_path, [sheet_row("a")], frame_interval_min=15.0)["movies"].iloc[0]

    assert row["interval_even"]
    assert "15 min from every frame to the next, the file 6 to 24 min; experiments.tsv wins" in row["warnings"]


def test_a_name_that_could_not_be_read_is_a_warning_also_of_a_refused_movie(tmp_path):
    write_movie_products(tmp_path / "a", "a", cells=1)
    write_movie_products(tmp_path / "b", "b", cells=0, status="refused", reason="b.tif: is cut off")

    rows = [sheet_row("a", warnings=["odd"]), sheet_row("b", warnings=["odder"])]

    assert collected(tmp_path, rows)["movies"]["warnings"].tolist() == ["odd", "odder"]


def test_uneven_time_stamps_are_said_to_be_uneven(tmp_path):
    write_movie_products(tmp_path / "a", "a", cells=1, time_h=[0.0, 0.1, 0.5])

    assert not collected(tmp_path, [sheet_row("a")])["movies"].iloc[0]["interval_even"]


def test_an_experiment_whose_movies_are_all_excluded_has_tables_without_rows(tmp_path):
    tables = collected(tmp_path, [sheet_row("a", excluded=True, reason="mould")])

    assert tables["movies"]["status"].tolist() == ["excluded"]
    assert all(tables[name].empty for name in EXPERIMENT_TABLES if name != "movies")


def test_the_rules_behind_the_flags_travel_to_the_tables_of_the_experiment(tmp_path):
    write_movie_products(tmp_path / "a", "a", cells=1)
    collected(tmp_path, [sheet_row("a")])

    assert json.loads(read_metadata(tmp_path / "growth.parquet")["flags"]) == {"flag_short": "fewer than 5"}
    assert read_metadata(tmp_path / "growth.parquet")["object"] == "cell"


def test_a_field_that_trackpy_could_not_link_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(PROVENANCE["link"], "solver", "assignment")
    write_movie_products(tmp_path / "a", "a", cells=1)

    row = collected(tmp_path, [sheet_row("a")])["movies"].iloc[0]

    assert "too crowded for trackpy" in row["warnings"]
