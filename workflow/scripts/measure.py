"""Rule measure: labels.tif and the movie -> objects, intensities and planes."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

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
