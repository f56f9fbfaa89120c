"""Pictures of every movie, and one page an experiment."""


rule overlay:
    """Outlines on images at some times of one movie."""
    input:
        movie=ancient(movie_path),
        info="results/{experiment}/{movie}/movie.json",
        labels="results/{experiment}/{movie}/labels.tif",
        tracks="results/{experiment}/{movie}/tracks.parquet",
        lineage="results/{experiment}/{movie}/lineage.parquet",
    output:
        overlay="results/{experiment}/{movie}/overlay.png",
    log:
        "logs/{experiment}/{movie}/overlay.log",
    benchmark:
        "logs/{experiment}/{movie}/overlay.benchmark.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        fingerprint=movie_fingerprint,
        overlay=setting("overlay"),
        pixel_size_um=sheet("pixel_size_um"),
        frame_interval_min=sheet("frame_interval_min"),
        code=digest("overlay"),
    script:
        "../scripts/overlay.py"


rule report:
    """One self-contained page on an experiment."""
    input:
        movies="results/{experiment}/movies.parquet",
        frames="results/{experiment}/frames.parquet",
        cells="results/{experiment}/cells.parquet",
        growth="results/{experiment}/growth.parquet",
        fits="results/{experiment}/fits.parquet",
        expression="results/{experiment}/expression.parquet",
        population="results/{experiment}/population.parquet",
        overlays=of_movies("overlay.png"),
        card=model_card,
        training=training_status,
    output:
        report="results/{experiment}/report.html",
    log:
        "logs/{experiment}/report.log",
    benchmark:
        "logs/{experiment}/report.benchmark.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        movies=movie_names,
        settings=all_settings,
        events=experiment_events,
        roc_figure=figure_of_training("roc.png"),
        training_figure=figure_of_training("training.png"),
        template=report_template,
        report=setting("report"),
        code=digest("report", "report/report.html.j2"),
    script:
        "../scripts/report.py"
