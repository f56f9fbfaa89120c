"""What is made when it is asked for by name."""

from collections import Counter

import geff
import networkx
import pandas as pd
import tifffile
from Bio import Phylo


def test_every_format_is_made_of_every_movie_when_it_is_asked_for_and_only_then(project):
    assert not project.would_run()
    assert not list(project.folder.glob("results/*/*/tracked.tif"))

    run = project.snakemake("tracked", "ctc", "geff", "trees")

    assert run.code == 0, run.text
    each = {f"export_{name}": 3 for name in ("tracked", "ctc", "geff")}
    assert run.rules - Counter(["tracked", "ctc", "geff", "trees"]) == Counter(
        each | {"export_trees_of_experiment": 2, "list_exports": 6}
    )
    for listed, name in (("tracked", "tracked.tif"), ("ctc", "ctc"), ("geff", "tracks.geff")):
        table = pd.read_csv(project.folder / f"results/rods/{listed}.tsv", sep="\t")
        assert table["path"].tolist() == [f"a/{name}", f"b/{name}"]
        assert all((project.folder / "results/rods" / path).exists() for path in table["path"])
    movie = project.folder / "results/rods/a"
    tracks = pd.read_parquet(movie / "tracks.parquet")
    assert tifffile.imread(movie / "tracked.tif").max() == tracks["track"].max()
    assert len(list((movie / "ctc").glob("mask*.tif"))) == 5
    assert len(geff.read(movie / "tracks.geff", backend="networkx")[0]) == len(tracks)
    cells = pd.read_parquet(project.folder / "results/rods/growth.parquet")["cell_id"].nunique()
    trees = Phylo.parse(project.folder / "results/rods/lineage.nwk", "newick")
    assert sum(1 for tree in trees for _ in tree.find_clades()) == cells
    assert len(networkx.read_graphml(project.folder / "results/rods/lineage.graphml")) == cells
    assert not project.would_run("tracked", "ctc", "geff", "trees") - Counter(["tracked", "ctc", "geff", "trees"])


def test_one_movie_is_exported_by_the_name_of_its_file_and_follows_another_setting_of_link(project):
    names = [f"results/drawn/c/{name}" for name in ("ctc", "tracks.geff", "lineage.nwk")]
    run = project.snakemake(*names)
    assert run.code == 0, run.text
    assert run.rules == Counter(["export_ctc", "export_tracked", "export_geff", "export_trees"])

    project.configure(link={"memory_frames": 7})

    again = project.would_run(*names)
    assert again == run.rules + Counter(["link", "analyse"])
