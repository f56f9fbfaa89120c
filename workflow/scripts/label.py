"""Rule label: probability.tif -> labels.tif and confidence.parquet."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.labels import label_movie
from cytolapse.provenance import stage_record

label_movie(
    snakemake.input.probability,
    snakemake.input.info,
    snakemake.input.card,
    snakemake.output.labels,
    snakemake.output.confidence,
    **snakemake.params.label,
    **snakemake.params.calibration,
    provenance=stage_record(snakemake.params.label, snakemake.params.code, snakemake.scriptdir),
)
