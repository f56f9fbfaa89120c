import networkx
import pandas as pd
import pytest
from Bio import Phylo

from cytolapse.tables import empty_table, typed, write_table
from cytolapse.trees import write_trees


def growth(*rows):
    """Rows of `growth` from (track, cycle, mother, first frame, hours)."""
    table = pd.DataFrame(rows, columns=["track", "cycle", "parent", "first_frame", "time_at_risk_h"])
    parent = table.pop("parent")
    return table.assign(
        movie="n_1",
        cell_id=[f"n_1:{track}" for track in table["track"]],
        parent_id=[None if pd.isna(mother) else f"n_1:{mother:.0f}" for mother in parent],
        last_frame=table["first_frame"] + 1,
    )


def written(tmp_path, table):
    write_table("growth", typed("growth", table), tmp_path / "growth.parquet")
    paths = [tmp_path / f"lineage.{ending}" for ending in ("csv", "nwk", "graphml")]
    write_trees(
        tmp_path / "growth.parquet", **dict(zip(("table_path", "newick_path", "graphml_path"), paths, strict=True))
    )
    return paths


FAMILY = growth((1, 0, None, 0, 2.5), (2, 0, 1, 5, 1.25), (3, 0, 1, 5, 4), (4, 0, 3, 9, 0.5), (5, 0, 3, 9, 1e-7))


def test_an_independent_reader_of_newick_finds_the_family_and_its_hours(tmp_path):
    lone = growth((9, 0, None, 3, 0))

    trees = list(Phylo.parse(written(tmp_path, pd.concat([FAMILY, lone], ignore_index=True))[1], "newick"))

    assert len(trees) == 2
    root = trees[0].root
    assert (root.name, root.branch_length) == ("n_1|1", 2.5)
    assert [(child.name, child.branch_length) for child in root] == [("n_1|2", 1.25), ("n_1|3", 4)]
    assert trees[0].get_path("n_1|4")[0].name == "n_1|3"
    assert trees[0].distance("n_1|2", "n_1|4") == 1.25 + 4 + 0.5
    assert sorted(leaf.name for leaf in trees[0].get_terminals()) == ["n_1|2", "n_1|4", "n_1|5"]
    assert (trees[1].root.name, trees[1].root.branch_length) == ("n_1|9", 0)


def test_networkx_reads_the_graph_with_what_is_known_of_each_cell(tmp_path):
    graph = networkx.read_graphml(written(tmp_path, FAMILY)[2])

    assert set(graph.edges) == {
        ("n_1|1", "n_1|2"),
        ("n_1|1", "n_1|3"),
        ("n_1|3", "n_1|4"),
        ("n_1|3", "n_1|5"),
    }
    assert networkx.is_arborescence(graph)
    assert graph.nodes["n_1|2"]["time_at_risk_h"] == 1.25
    assert graph.nodes["n_1|2"]["parent_id"] == "n_1:1"
    assert "parent_id" not in graph.nodes["n_1|1"]


def test_the_table_makes_the_same_graph_by_networkx_and_names_cells_as_the_other_tables_do(tmp_path):
    paths = written(tmp_path, FAMILY)

    table = pd.read_csv(paths[0])

    graph = networkx.from_pandas_edgelist(
        table.dropna(subset="parent"), "parent", "node", create_using=networkx.DiGraph
    )
    assert set(graph.edges) == set(networkx.read_graphml(paths[2]).edges)
    assert table["cell_id"].tolist() == [f"n_1:{track}" for track in range(1, 6)]


def test_a_budding_mother_is_a_chain_of_cycles_with_a_bud_at_the_end_of_each(tmp_path):
    table = growth((1, 0, None, 0, 1), (1, 1, None, 4, 2), (1, 2, None, 8, 3), (2, 0, 1, 4, 5), (3, 0, 1, 8, 6))

    text = written(tmp_path, table)[1].read_text()

    assert text == "((n_1|1|2:3,n_1|3:6)n_1|1|1:2,n_1|2:5)n_1|1:1;\n"
    (tree,) = Phylo.parse(tmp_path / "lineage.nwk", "newick")
    assert tree.root.branch_length + tree.distance("n_1|3") == 1 + 2 + 6


def test_a_mother_of_a_thousand_buds_is_written(tmp_path):
    mother = [(1, cycle, None, cycle, 1) for cycle in range(1001)]
    buds = [(track, 0, 1, track - 1, 1) for track in range(2, 1002)]

    text = written(tmp_path, growth(*mother, *buds))[1].read_text()

    assert text.count("(") == text.count(")") == 1000
    assert text.startswith("(" * 1000 + "n_1|1|1000:1,n_1|1001:1)")


def test_a_table_without_cells_gives_no_tree(tmp_path):
    table, newick, graphml = written(tmp_path, empty_table("growth"))

    assert newick.read_text() == ""
    assert len(networkx.read_graphml(graphml)) == 0
    assert pd.read_csv(table).empty


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(2, 0, 1, 5, 1)], "the mother n_1:1 of n_1:2 has no row; run link and analyse again"),
        ([(1, 0, None, 5, 1), (2, 0, 1, 5, 1)], "the mother n_1:1 of n_1:2 is seen later; run link"),
    ],
)
def test_a_mother_that_cannot_be_is_refused(tmp_path, rows, said):
    with pytest.raises(ValueError, match=said):
        written(tmp_path, growth(*rows))
