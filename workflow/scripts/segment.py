"""Rule segment: a movie -> probability.tif."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.provenance import stage_record
from cytolapse.segmentation import segment_movie

segment_movie(
    snakemake.input.info,
    snakemake.input.weights,
    snakemake.output.probability,
    **snakemake.params.segment,
    **snakemake.params.execution,
    pixel_size_um=snakemake.params.pixel_size_um,
    threads=snakemake.threads,
    provenance=stage_record(snakemake.params.segment, snakemake.params.code, snakemake.scriptdir),
)
