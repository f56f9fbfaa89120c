"""Rule overlay: labels and tracks of one movie -> overlay.png."""

import sys

sys.stderr = open(snakemake.log[0], "w", buffering=1)

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
