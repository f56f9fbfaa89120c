"""Rule analyse: tracks -> frames, cells, growth, fits and expression of one movie."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.analysis import analyse_movie
from cytolapse.provenance import stage_record

analyse_movie(
    snakemake.input.info,
    snakemake.input.objects,
    snakemake.input.intensities,
    snakemake.input.planes,
    snakemake.input.tracks,
    snakemake.input.lineage,
    snakemake.input.repairs,
    dict(snakemake.output.items()),
    experiment=snakemake.wildcards.experiment,
    movie=snakemake.wildcards.movie,
    **snakemake.params.analyse,
    object=snakemake.params.object,
    division=snakemake.params.division,
    pixel_size_um=snakemake.params.pixel_size_um,
    frame_interval_min=snakemake.params.frame_interval_min,
    events=snakemake.params.events,
    provenance=stage_record(snakemake.params.analyse, snakemake.params.code, snakemake.scriptdir),
)
