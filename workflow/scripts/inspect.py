"""Rule inspect: a movie -> movie.json, which says what it is or why it is refused."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.inspection import inspect_movie, write_info

info = inspect_movie(
    snakemake.params.path,
    position=snakemake.params.position,
    axes=snakemake.params.axes,
    channels=snakemake.params.channels,
    segment_channel=snakemake.params.segment_channel,
    stated=snakemake.params.stated,
    **snakemake.params.inspect,
    on_bad_movie=snakemake.params.on_bad_movie,
)
write_info(info, snakemake.output.info)
