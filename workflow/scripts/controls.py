"""Rule controls: expression of an experiment -> what its control cells say of light that is to be taken off."""

from cytolapse.logs import open_log

open_log(snakemake.log[0])

from cytolapse.controls import write_controls

write_controls(
    snakemake.input.expression,
    snakemake.output.controls,
    experiment=snakemake.wildcards.experiment,
    **snakemake.params.controls,
)
