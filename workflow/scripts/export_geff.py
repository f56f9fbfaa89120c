"""Rule export_geff: cells and lineage of one movie -> tracks.geff."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.graphs import write_geff

write_geff(
    snakemake.input.info,
    snakemake.input.cells,
    snakemake.input.lineage,
    snakemake.input.tracked,
    snakemake.output.geff,
    pixel_size_um=snakemake.params.pixel_size_um,
    frame_interval_min=snakemake.params.frame_interval_min,
)
