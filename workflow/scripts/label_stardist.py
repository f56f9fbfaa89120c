"""Rule label_stardist: a movie -> labels.tif and confidence.parquet, by StarDist."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.engines import label_by_engine
from cytolapse.provenance import stage_record

label_by_engine(
    "stardist",
    snakemake.input.info,
    snakemake.output.labels,
    snakemake.output.confidence,
    **snakemake.params.engine,
    **snakemake.params.calibration,
    settings=snakemake.params.stardist,
    own_weights=snakemake.params.weights,
    threads=snakemake.threads,
    provenance=stage_record(snakemake.params.stardist, snakemake.params.code, snakemake.scriptdir),
)
