"""The other ways to labels.tif and confidence.parquet, one rule each: column segmenter of experiments.tsv."""


rule label_threshold:
    """Cells by Otsu's threshold of the movie, parted by their shape."""
    input:
        movie=ancient(movie_path),
        info="results/{experiment}/{movie}/movie.json",
    output:
        labels="results/{experiment}/{movie}/labels.tif",
        confidence="results/{experiment}/{movie}/confidence.parquet",
    log:
        "logs/{experiment}/{movie}/label_threshold.log",
    benchmark:
        "logs/{experiment}/{movie}/label_threshold.benchmark.tsv"
    wildcard_constraints:
        experiment=experiments_by("threshold"),
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        fingerprint=movie_fingerprint,
        threshold=setting("threshold"),
        calibration=calibration,
        code=digest("label_threshold"),
    script:
        "../scripts/label_threshold.py"


rule import_labels:
    """Label images that the user brings."""
    input:
        info="results/{experiment}/{movie}/movie.json",
        images=ancient(label_images),
    output:
        labels="results/{experiment}/{movie}/labels.tif",
        confidence="results/{experiment}/{movie}/confidence.parquet",
    log:
        "logs/{experiment}/{movie}/import_labels.log",
    benchmark:
        "logs/{experiment}/{movie}/import_labels.benchmark.tsv"
    wildcard_constraints:
        experiment=experiments_by("labels"),
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        fingerprint=label_fingerprint,
        calibration=calibration,
        code=digest("import_labels"),
    script:
        "../scripts/import_labels.py"


rule label_cellpose:
    """Cells by Cellpose, which runs in an environment of its own."""
    input:
        movie=ancient(movie_path),
        info="results/{experiment}/{movie}/movie.json",
    output:
        labels="results/{experiment}/{movie}/labels.tif",
        confidence="results/{experiment}/{movie}/confidence.parquet",
    log:
        "logs/{experiment}/{movie}/label_cellpose.log",
    benchmark:
        "logs/{experiment}/{movie}/label_cellpose.benchmark.tsv"
    wildcard_constraints:
        experiment=experiments_by("cellpose"),
    conda:
        "../../envs/tables.yaml"
    threads: plan.settings["threads"]
    resources:
        gpu=gpus,
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 480 * attempt,
    params:
        fingerprint=movie_fingerprint,
        cellpose=setting("cellpose"),
        weights=own_weights,
        engine=engine("cellpose"),
        calibration=calibration,
        code=digest("label_cellpose", "engines/cellpose_engine.py"),
    script:
        "../scripts/label_cellpose.py"


rule label_stardist:
    """Cells by StarDist, which runs in an environment of its own."""
    input:
        movie=ancient(movie_path),
        info="results/{experiment}/{movie}/movie.json",
    output:
        labels="results/{experiment}/{movie}/labels.tif",
        confidence="results/{experiment}/{movie}/confidence.parquet",
    log:
        "logs/{experiment}/{movie}/label_stardist.log",
    benchmark:
        "logs/{experiment}/{movie}/label_stardist.benchmark.tsv"
    wildcard_constraints:
        experiment=experiments_by("stardist"),
    conda:
        "../../envs/tables.yaml"
    threads: plan.settings["threads"]
    resources:
        gpu=gpus,
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        fingerprint=movie_fingerprint,
        stardist=setting("stardist"),
        weights=own_weights,
        engine=engine("stardist"),
        calibration=calibration,
        code=digest("label_stardist", "engines/stardist_engine.py"),
    script:
        "../scripts/label_stardist.py"
