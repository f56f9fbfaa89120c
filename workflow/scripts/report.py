"""Rule report: the tables and pictures of an experiment -> report.html."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.columns import EXPERIMENT_TABLES
from cytolapse.report import read_json, read_model, write_report

write_report(
    {table: snakemake.input[table] for table in EXPERIMENT_TABLES},
    dict(zip(snakemake.params.movies, snakemake.input.overlays, strict=True)),
    snakemake.params.template,
    snakemake.output.report,
    experiment=snakemake.wildcards.experiment,
    model=read_model(snakemake.input.card),
    roc_figure=snakemake.params.roc_figure,
    training_figure=snakemake.params.training_figure,
    training_status=read_json(snakemake.input.training),
    settings=snakemake.params.settings,
    events=snakemake.params.events,
    **snakemake.params.report,
)
