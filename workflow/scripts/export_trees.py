"""Rule export_trees: growth of one movie -> lineage.csv, lineage.nwk and lineage.graphml."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.trees import write_trees

write_trees(
    snakemake.input.growth,
    table_path=snakemake.output.table,
    newick_path=snakemake.output.newick,
    graphml_path=snakemake.output.graphml,
)
