"""Rule measure: labels.tif and the movie -> objects, intensities and planes."""

import sys

sys.stderr = open(snakemake.log[0], "w", buffering=1)

from cytolapse.features import measure_movie
from cytolapse.provenance import stage_record

measure_movie(
    snakemake.input.info,
    snakemake.input.labels,
    snakemake.input.confidence,
    snakemake.output.objects,
    snakemake.output.intensities,
    snakemake.output.planes,
    **snakemake.params.measure,
    object=snakemake.params.object,
    pixel_size_um=snakemake.params.pixel_size_um,
    provenance=stage_record(snakemake.params.measure, snakemake.params.code, snakemake.scriptdir),
)
