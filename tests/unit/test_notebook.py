"""The notebook of docs/, run on the demo's movies as measured under their true outlines."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from measured import collect_simulated, measure_simulated
from nbclient import NotebookClient

import demo
from cytolapse.simulation import simulate_movie

NOTEBOOK = Path(__file__).parents[2] / "docs/examples.ipynb"
EVENT = {"event": "drug", "time_h": demo.DRUG_TIME_H, "dose": None}


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """The notebook with its outputs: three conditions on two days, a little shorter than the demo."""
    folder = tmp_path_factory.mktemp("notebook")
    results, rows = folder / "results/demo", []
    for condition in demo.DOUBLING_TIME_MIN:
        for replicate in (1, 2):
            name = f"{condition}_{replicate}"
            simulated = simulate_movie(replace(demo.parameters_of(condition, replicate), frames=24), len(rows))
            events = [EVENT] if condition == "drug" else []
            measure_simulated(results / name, simulated, experiment="demo", movie=name, events=events)
            rows.append({"movie": name, "condition": condition, "replicate": str(replicate)})
    collect_simulated(results, rows, experiment="demo", channels=demo.BACTERIA.channels)
    (folder / "docs").mkdir()
    shutil.copy(NOTEBOOK, folder / "docs")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    return NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder / "docs")}}).execute()


def outputs_of(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_the_notebook_finds_that_the_drug_halves_growth(answered):
    printed = "".join(output.get("text", "") for output in outputs_of(answered))
    ratio = float(re.search(r"growth after over before: ([\d.]+)", printed)[1])

    assert ratio == pytest.approx(demo.DRUG_FACTOR, abs=0.05)


def test_the_notebook_finds_that_slow_cells_grow_slower_by_what_was_simulated(answered):
    tables = [output["data"]["text/plain"] for output in outputs_of(answered) if "text/plain" in output.get("data", {})]
    (compared,) = (table for table in tables if "mixed model" in table)
    differences = [float(re.search(rf"{name}\s+(-?[\d.]+)", compared)[1]) for name in ("random", "day by day")]

    # ln 2 / 1 h less ln 2 / (2/3) h, and two days
    assert differences == pytest.approx([-0.347, -0.347], abs=0.05)


def test_the_notebook_draws_a_plot_for_each_of_its_five_questions(answered):
    pictures = [output for output in outputs_of(answered) if "image/png" in output.get("data", {})]

    assert len(pictures) == 5
    assert not [
        output
        for output in outputs_of(answered)
        if output["output_type"] in ("stream", "error") and output.get("name") != "stdout"
    ]


def test_the_committed_notebook_is_small_and_holds_no_outputs():
    assert NOTEBOOK.stat().st_size < 50_000
    assert not outputs_of(nbformat.read(NOTEBOOK, as_version=4))
