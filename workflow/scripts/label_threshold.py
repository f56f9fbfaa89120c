"""Rule label_threshold: a movie -> labels.tif and confidence.parquet."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.provenance import stage_record
from cytolapse.thresholding import threshold_movie

threshold_movie(
    snakemake.input.info,
    snakemake.output.labels,
    snakemake.output.confidence,
    **snakemake.params.threshold,
    **snakemake.params.calibration,
    provenance=stage_record(snakemake.params.threshold, snakemake.params.code, snakemake.scriptdir),
)
