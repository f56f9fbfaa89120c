"""Rule label: probability.tif -> labels.tif and confidence.parquet."""

import json
import sys
from pathlib import Path

sys.stderr = open(snakemake.log[0], "w", buffering=1)

from cytolapse.labeling import label_movie
from cytolapse.provenance import stage_record

label_movie(
    snakemake.input.probability,
    snakemake.input.info,
    snakemake.output.labels,
    snakemake.output.confidence,
    **snakemake.params.label,
    **snakemake.params.calibration,
    model_threshold=json.loads(Path(snakemake.input.card).read_text())["threshold"],
    provenance=stage_record(snakemake.params.label, snakemake.params.code, snakemake.scriptdir),
)
