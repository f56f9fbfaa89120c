"""Rule list_exports: the exports of all movies -> a table of where they are."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.exports import list_exports

list_exports(snakemake.input.infos, snakemake.input.exports, snakemake.output[0])
