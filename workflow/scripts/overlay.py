"""Rule overlay: labels and tracks of one movie -> overlay.png."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.overlays import draw_overlay

draw_overlay(
    snakemake.input.info,
    snakemake.input.labels,
    snakemake.input.tracks,
    snakemake.input.lineage,
    snakemake.output.overlay,
    **snakemake.params.overlay,
    pixel_size_um=snakemake.params.pixel_size_um,
    frame_interval_min=snakemake.params.frame_interval_min,
)
