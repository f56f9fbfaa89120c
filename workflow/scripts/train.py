"""Rule train: annotations -> models/{model}/, or the model accepted before, with the reason."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.acceptance import train_or_keep

train_or_keep(
    snakemake.params.folder,
    weights_path=snakemake.output.weights,
    json_path=snakemake.output.card,
    log_path=snakemake.output.training_log,
    log_figure_path=snakemake.output.training_figure,
    roc_path=snakemake.output.roc,
    roc_figure_path=snakemake.output.roc_figure,
    status_path=snakemake.output.status,
    archive_folder="models/archive",
    checkpoint_folder=snakemake.params.checkpoints,
    progress_folder=snakemake.params.progress,
    on_bad_model=snakemake.params.on_bad_model,
    start_from=snakemake.params.start_from,
    code=snakemake.params.code,
    **snakemake.params.train,
    **snakemake.params.execution,
)
