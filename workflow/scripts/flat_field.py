"""Rule flat_field: the movies of an experiment and their labels -> the flat field of one channel."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.shading import estimate_flat_field

estimate_flat_field(
    snakemake.input.infos,
    snakemake.input.labels,
    snakemake.output.flat,
    channel=snakemake.wildcards.channel,
    dark=snakemake.params.dark,
    ring_gap_px=snakemake.params.ring_gap_px,
    **snakemake.params.shading,
)
