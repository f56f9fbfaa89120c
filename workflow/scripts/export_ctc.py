"""Rule export_ctc: labels, tracks, lineage and repairs of one movie -> ctc."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.exports import write_ctc

write_ctc(
    snakemake.input.labels,
    snakemake.input.tracks,
    snakemake.input.lineage,
    snakemake.input.repairs,
    snakemake.output.ctc,
)
