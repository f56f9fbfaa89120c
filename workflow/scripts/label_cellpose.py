"""Rule label_cellpose: a movie -> labels.tif and confidence.parquet, by Cellpose."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.engines import label_by_engine
from cytolapse.provenance import stage_record

label_by_engine(
    "cellpose",
    snakemake.input.info,
    snakemake.output.labels,
    snakemake.output.confidence,
    **snakemake.params.engine,
    **snakemake.params.calibration,
    settings=snakemake.params.cellpose,
    own_weights=snakemake.params.weights,
    threads=snakemake.threads,
    provenance=stage_record(snakemake.params.cellpose, snakemake.params.code, snakemake.scriptdir),
)
