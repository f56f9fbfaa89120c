"""Tracks -> the tables of one movie -> the tables of an experiment."""


rule analyse:
    """Growth and expression of every cell of one movie."""
    input:
        info="results/{experiment}/{movie}/movie.json",
        objects="results/{experiment}/{movie}/objects.parquet",
        intensities="results/{experiment}/{movie}/intensities.parquet",
        planes="results/{experiment}/{movie}/planes.parquet",
        tracks="results/{experiment}/{movie}/tracks.parquet",
        lineage="results/{experiment}/{movie}/lineage.parquet",
        repairs="results/{experiment}/{movie}/repairs.parquet",
    output:
        frames="results/{experiment}/{movie}/frames.parquet",
        cells="results/{experiment}/{movie}/cells.parquet",
        growth="results/{experiment}/{movie}/growth.parquet",
        fits="results/{experiment}/{movie}/fits.parquet",
        expression="results/{experiment}/{movie}/expression.parquet",
    log:
        "logs/{experiment}/{movie}/analyse.log",
    benchmark:
        "logs/{experiment}/{movie}/analyse.benchmark.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        analyse=setting("analyse"),
        object=sheet("object"),
        division=sheet("division"),
        pixel_size_um=sheet("pixel_size_um"),
        frame_interval_min=sheet("frame_interval_min"),
        events=movie_events,
        code=digest("analyse"),
    script:
        "../scripts/analyse.py"


rule collect:
    """The tables of all movies of an experiment as one."""
    input:
        infos=of_movies("movie.json"),
        frames=of_movies("frames.parquet"),
        cells=of_movies("cells.parquet"),
        growth=of_movies("growth.parquet"),
        fits=of_movies("fits.parquet"),
        expression=of_movies("expression.parquet"),
    output:
        movies="results/{experiment}/movies.parquet",
        frames="results/{experiment}/frames.parquet",
        cells="results/{experiment}/cells.parquet",
        growth="results/{experiment}/growth.parquet",
        fits="results/{experiment}/fits.parquet",
        expression="results/{experiment}/expression.parquet",
        population="results/{experiment}/population.parquet",
    log:
        "logs/{experiment}/collect.log",
    benchmark:
        "logs/{experiment}/collect.benchmark.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        movies=movie_rows,
        population=setting("population"),
        channels=sheet("channels"),
        object=sheet("object"),
        segmenter=sheet("segmenter"),
        model=segmenting_model,
        pixel_size_um=sheet("pixel_size_um"),
        frame_interval_min=sheet("frame_interval_min"),
        size_quantity=lambda wildcards: plan.block("analyse", wildcards.experiment)["size_quantity"],
        carried=lambda wildcards: plan.carried_columns(wildcards.experiment),
        code=digest("collect"),
    script:
        "../scripts/collect.py"


rule clean_stale:
    """Remove the results of movies that are no longer there."""
    log:
        "logs/clean_stale.log",
    conda:
        "../../envs/tables.yaml"
    threads: 1
    params:
        folders=lambda wildcards: plan.stale_folders(),
    script:
        "../scripts/clean_stale.py"
