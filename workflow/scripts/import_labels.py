"""Rule import_labels: the user's label images -> labels.tif and confidence.parquet."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.labelimages import import_labels
from cytolapse.provenance import stage_record

import_labels(
    snakemake.input.images,
    snakemake.input.info,
    snakemake.output.labels,
    snakemake.output.confidence,
    **snakemake.params.calibration,
    provenance=stage_record({}, snakemake.params.code, snakemake.scriptdir),
)
