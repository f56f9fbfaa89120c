"""Movie -> movie.json -> probability.tif -> labels.tif, confidence.parquet."""


rule inspect:
    """Say what a movie is, or why it is none."""
    input:
        movie=ancient(movie_path),
    output:
        info="results/{experiment}/{movie}/movie.json",
    log:
        "logs/{experiment}/{movie}/inspect.log",
    benchmark:
        "logs/{experiment}/{movie}/inspect.benchmark.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        path=inspected_path,
        fingerprint=movie_fingerprint,
        position=movie_position,
        axes=sheet("axes"),
        channels=sheet("channels"),
        segment_channel=sheet("segment_channel"),
        stated=stated,
        inspect=setting("inspect"),
        on_bad_movie=on_bad_movie,
        code=digest("inspect"),
    script:
        "../scripts/inspect.py"


rule segment:
    """Give every pixel of a movie its probability of being cell, and edge."""
    input:
        movie=ancient(movie_path),
        info="results/{experiment}/{movie}/movie.json",
        card=model_card,
        weights=ancient(model_weights),
    output:
        probability=maybe_temporary("results/{experiment}/{movie}/probability.tif"),
    log:
        "logs/{experiment}/{movie}/segment.log",
    benchmark:
        "logs/{experiment}/{movie}/segment.benchmark.tsv"
    wildcard_constraints:
        experiment=experiments_by("cytolapse"),
    conda:
        "../../envs/network.yaml"
    threads: plan.settings["threads"]
    resources:
        gpu=gpus,
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        fingerprint=movie_fingerprint,
        model=ready_model,
        segment=setting("segment"),
        pixel_size_um=resampling,
        execution=execution,
        code=digest("segment"),
    script:
        "../scripts/segment.py"


rule label:
    """Probabilities to numbered cells, frame by frame."""
    input:
        info="results/{experiment}/{movie}/movie.json",
        probability="results/{experiment}/{movie}/probability.tif",
        card=model_card,
    output:
        labels="results/{experiment}/{movie}/labels.tif",
        confidence="results/{experiment}/{movie}/confidence.parquet",
    log:
        "logs/{experiment}/{movie}/label.log",
    benchmark:
        "logs/{experiment}/{movie}/label.benchmark.tsv"
    wildcard_constraints:
        experiment=experiments_by("cytolapse"),
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        label=setting("label"),
        calibration=calibration,
        code=digest("label"),
    script:
        "../scripts/label.py"
