"""What the movies themselves say of their light, on demand: flat fields, and values of controls."""


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


rule controls:
    """What control cells say of autofluorescence, bleaching and crosstalk: values for config.yaml, on demand."""
    input:
        expression="results/{experiment}/expression.parquet",
    output:
        controls="results/{experiment}/controls.tsv",
    log:
        "logs/{experiment}/controls.log",
    benchmark:
        "logs/{experiment}/controls.benchmark.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        controls=setting("controls"),
        code=digest("controls"),
    script:
        "../scripts/controls.py"
