"""Rule export_tracked: labels, tracks and repairs of one movie -> tracked.tif."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.exports import write_tracked

write_tracked(
    snakemake.input.info,
    snakemake.input.labels,
    snakemake.input.tracks,
    snakemake.input.repairs,
    snakemake.output.tracked,
    pixel_size_um=snakemake.params.pixel_size_um,
    frame_interval_min=snakemake.params.frame_interval_min,
)
