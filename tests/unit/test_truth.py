"""The truth of simulated movies in the tables of a measurement."""

import numpy as np
import pytest
import tifffile

from cytolapse.tables import read_metadata, read_table
from cytolapse.truth import truth_tables, write_truth


def test_every_cell_and_frame_and_every_cycle_is_in_the_tables_as_simulated(colony):
    tables = truth_tables(colony, experiment="sim", movie="a")

    assert len(tables["cells"]) == len(tables["expression"]) == len(colony.cells)
    assert len(tables["growth"]) == len(colony.lineage)
    assert tables["cells"]["area_um2"].tolist() == colony.cells["area_um2"].tolist()
    assert set(tables["cells"]["cell_id"]) == {f"a:{cell}" for cell in colony.lineage["cell"]}
    assert tables["growth"]["size_birth"].tolist() == pytest.approx(colony.lineage["size_birth"].tolist(), nan_ok=True)


def test_families_are_told_by_ids_that_are_in_the_table(colony):
    growth = truth_tables(colony, experiment="sim", movie="a")["growth"].set_index("cell_id")

    daughters = growth.dropna(subset=["sister_id"])
    assert len(daughters) > 10
    assert (growth.loc[daughters["sister_id"], "parent_id"].to_numpy() == daughters["parent_id"].to_numpy()).all()
    ratios = daughters["division_ratio"] + growth.loc[daughters["sister_id"], "division_ratio"].to_numpy()
    assert ratios.to_numpy() == pytest.approx(1)


def test_the_true_mean_of_the_reporter_is_its_total_over_the_pixels_of_the_cell(colony):
    tables = truth_tables(colony, experiment="sim", movie="a")

    pixels = tables["cells"]["area_um2"] / 0.1**2
    assert (tables["expression"]["mean_au"] * pixels).to_numpy() == pytest.approx(colony.cells["total_au"].to_numpy())


def test_written_truth_is_read_back_as_tables_of_its_quantity_with_its_outlines(colony, tmp_path):
    write_truth(tmp_path / "truth", colony, experiment="sim", movie="a")

    growth = read_table("growth", tmp_path / "truth/growth.parquet")
    assert len(growth) == len(colony.lineage)
    assert read_metadata(tmp_path / "truth/growth.parquet")["size_quantity"] == "area"
    assert np.array_equal(tifffile.imread(tmp_path / "truth/labels.tif"), colony.labels)
