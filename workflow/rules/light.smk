"""Flat fields from the movies themselves, on demand."""


rule flat_field:
    """The light of one channel over the field, from between the cells of all movies of an experiment."""
    input:
        movies=ancient(movie_paths),
        infos=of_movies("movie.json"),
        labels=of_movies("labels.tif"),
    output:
        flat="results/{experiment}/flat_field_{channel}.tif",
    log:
        "logs/{experiment}/flat_field_{channel}.log",
    benchmark:
        "logs/{experiment}/flat_field_{channel}.benchmark.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        shading=setting("shading"),
        dark=lambda wildcards: plan.block("measure", wildcards.experiment)["dark"],
        ring_gap_px=lambda wildcards: plan.block("measure", wildcards.experiment)["ring_gap_px"],
        code=digest("flat_field"),
    script:
        "../scripts/flat_field.py"
