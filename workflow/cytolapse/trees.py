"""Who descends from whom: table and trees of lineages.

Made of the table `growth`, whose rows are the nodes of the trees: cells from
birth to division, and of a budding mother her cycles from bud to bud.
"""

import os
from collections.abc import Iterator

import pandas as pd

from cytolapse.files import atomic_path
from cytolapse.tables import read_table

_COLUMNS = [
    *("experiment", "movie", "condition", "replicate", "cell_id", "cycle", "parent_id", "sister_id", "root_id"),
    *("generation", "division_kind", "first_frame", "last_frame", "start", "end", "birth_time_h", "division_time_h"),
    *("time_at_risk_h", "division_score"),
]


def write_trees(
    growth_path: str | os.PathLike,
    *,
    table_path: str | os.PathLike,
    newick_path: str | os.PathLike,
    graphml_path: str | os.PathLike,
) -> None:
    """Write the lineages of one movie, or of an experiment, as a table, as Newick trees and as a graph.

    Nodes are named by their cell, with | for the : of its `cell_id`, as
    Newick [1]_ keeps : for lengths: `movie|12`. The kth further cycle of a
    budding mother is `movie|12|k`, a daughter of her cycle before. Lengths are
    hours under observation (`time_at_risk_h`), so that all daughters begin
    where their mother ends.

    Parameters
    ----------
    growth_path : path
        Table `growth`.
    table_path : path
        Text to write, columns separated by commas: a row a node, with its
        `node` and that of its mother, `parent`, and what `growth` says of
        birth and division.
    newick_path : path
        Text to write: a line a founder, with all its descendants. A cell
        without any is a tree too.
    graphml_path : path
        Directed graph to write, from mothers to daughters, with the columns
        of the table as attributes; networkx, Gephi and Cytoscape read it.

    Raises
    ------
    ValueError
        If a cell's mother is not in the table, or not seen before the cell.

    References
    ----------
    .. [1] Olsen (1990), "Newick's 8:45" tree format standard,
       https://phylipweb.github.io/phylip/newick_doc.html
    """
    nodes = lineage_nodes(read_table("growth", growth_path))
    with atomic_path(table_path) as temporary:
        nodes.to_csv(temporary, index=False)
    with atomic_path(newick_path) as temporary, open(temporary, "w", encoding="ascii") as file:
        file.writelines(f"{tree};\n" for tree in newick_trees(nodes))
    with atomic_path(graphml_path) as temporary:
        _write_graph(nodes, temporary)


def lineage_nodes(growth: pd.DataFrame) -> pd.DataFrame:
    """The nodes of lineage trees.

    Parameters
    ----------
    growth : DataFrame
        Table `growth`.

    Returns
    -------
    DataFrame
        node, parent (null for a founder), and columns of `growth`, in its order.

    Raises
    ------
    ValueError
        As for `write_trees`.
    """
    growth = growth.reset_index(drop=True)
    name = [
        cell.replace(":", "|") + (f"|{cycle}" if cycle else "")
        for cell, cycle in zip(growth["cell_id"], growth["cycle"], strict=True)
    ]
    cycles_of: dict[str, list[tuple[int, str]]] = {}
    for cell, first, node in zip(growth["cell_id"], growth["first_frame"], name, strict=True):
        cycles_of.setdefault(cell, []).append((first, node))
    parents: list[str | None] = []
    before = None  # the row before, of the same cell in any but its first cycle
    for cell, cycle, mother, first, node in zip(
        *(growth[column] for column in ("cell_id", "cycle", "parent_id", "first_frame")), name, strict=True
    ):
        if cycle:
            parents.append(before)
        elif pd.isna(mother):
            parents.append(None)
        else:
            # The mother's last cycle that was under way before this cell was seen.
            earlier = [each for each in cycles_of.get(mother, ()) if each[0] < first]
            if not earlier:
                found = "is seen later" if mother in cycles_of else "has no row"
                raise ValueError(f"growth: the mother {mother} of {cell} {found}; run link and analyse again")
            parents.append(max(earlier)[1])
        before = node
    return growth[_COLUMNS].assign(node=name, parent=pd.Series(parents, dtype="str"))[["node", "parent", *_COLUMNS]]


def newick_trees(nodes: pd.DataFrame) -> Iterator[str]:
    """Newick text of each founder's tree, without the semicolon, in the order of the nodes.

    Parameters
    ----------
    nodes : DataFrame
        As `lineage_nodes` returns them.
    """
    length_h = dict(zip(nodes["node"], nodes["time_at_risk_h"], strict=True))
    daughters: dict[str, list[str]] = {}
    founders = []
    for node, parent in zip(nodes["node"], nodes["parent"], strict=True):
        if pd.isna(parent):
            founders.append(node)
        else:
            daughters.setdefault(parent, []).append(node)
    for founder in founders:
        # Without recursion: a mother with a thousand buds makes a tree a thousand deep.
        order = [founder]
        for node in order:
            order += daughters.get(node, [])
        text: dict[str, str] = {}
        for node in reversed(order):
            inner = ",".join(text.pop(each) for each in daughters.get(node, []))
            text[node] = f"{f'({inner})' if inner else ''}{node}:{length_h[node]:.6g}"
        yield text[founder]


def _write_graph(nodes: pd.DataFrame, path: str | os.PathLike) -> None:
    import networkx

    graph = networkx.DiGraph()
    for row in nodes.astype(object).to_dict("records"):
        node, parent = row.pop("node"), row.pop("parent")
        # GraphML knows no null: what is unknown is left out.
        graph.add_node(node, **{key: value for key, value in row.items() if pd.notna(value)})
        if pd.notna(parent):
            graph.add_edge(parent, node)
    networkx.write_graphml(graph, path, named_key_ids=True)
