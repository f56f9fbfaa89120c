"""Rule link: objects.parquet -> tracks, lineage and repairs of one movie."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.lineage import link_movie
from cytolapse.provenance import stage_record

link_movie(
    snakemake.input.info,
    snakemake.input.objects,
    snakemake.output.tracks,
    snakemake.output.lineage,
    snakemake.output.repairs,
    **snakemake.params.link,
    division=snakemake.params.division,
    frame_interval_min=snakemake.params.frame_interval_min,
    provenance=stage_record(snakemake.params.link, snakemake.params.code, snakemake.scriptdir),
)
