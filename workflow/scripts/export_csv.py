"""Rule export_csv: a table of an experiment -> the same as text."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.csvtables import write_csv

write_csv(snakemake.wildcards.table, snakemake.input.table, snakemake.output.csv)
