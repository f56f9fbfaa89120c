"""Rule collect: the tables of all movies -> the tables of an experiment."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.collection import collect_experiment

collect_experiment(
    dict(snakemake.input.items()),
    dict(snakemake.output.items()),
    experiment=snakemake.wildcards.experiment,
    movies=snakemake.params.movies,
    channels=snakemake.params.channels,
    object=snakemake.params.object,
    segmenter=snakemake.params.segmenter,
    model=snakemake.params.model,
    size_quantity=snakemake.params.size_quantity,
    pixel_size_um=snakemake.params.pixel_size_um,
    frame_interval_min=snakemake.params.frame_interval_min,
    carried=snakemake.params.carried,
    **snakemake.params.population,
)
