"""What is made on demand: tracked masks, graphs and trees in the formats of others."""


rule export_tracked:
    """Masks of one movie under the numbers of their tracks."""
    input:
        info="results/{experiment}/{movie}/movie.json",
        labels="results/{experiment}/{movie}/labels.tif",
        tracks="results/{experiment}/{movie}/tracks.parquet",
        repairs="results/{experiment}/{movie}/repairs.parquet",
    output:
        tracked="results/{experiment}/{movie}/tracked.tif",
    log:
        "logs/{experiment}/{movie}/export_tracked.log",
    benchmark:
        "logs/{experiment}/{movie}/export_tracked.benchmark.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        pixel_size_um=sheet("pixel_size_um"),
        frame_interval_min=sheet("frame_interval_min"),
        code=digest("export_tracked"),
    script:
        "../scripts/export_tracked.py"


rule export_ctc:
    """One movie as a result of the Cell Tracking Challenge."""
    input:
        labels="results/{experiment}/{movie}/labels.tif",
        tracks="results/{experiment}/{movie}/tracks.parquet",
        repairs="results/{experiment}/{movie}/repairs.parquet",
        lineage="results/{experiment}/{movie}/lineage.parquet",
    output:
        ctc=directory("results/{experiment}/{movie}/ctc"),
    log:
        "logs/{experiment}/{movie}/export_ctc.log",
    benchmark:
        "logs/{experiment}/{movie}/export_ctc.benchmark.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=digest("export_ctc"),
    script:
        "../scripts/export_ctc.py"


rule export_geff:
    """Cells of one movie and the links between them as a graph."""
    input:
        info="results/{experiment}/{movie}/movie.json",
        cells="results/{experiment}/{movie}/cells.parquet",
        lineage="results/{experiment}/{movie}/lineage.parquet",
        tracked="results/{experiment}/{movie}/tracked.tif",
    output:
        geff=directory("results/{experiment}/{movie}/tracks.geff"),
    log:
        "logs/{experiment}/{movie}/export_geff.log",
    benchmark:
        "logs/{experiment}/{movie}/export_geff.benchmark.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        pixel_size_um=sheet("pixel_size_um"),
        frame_interval_min=sheet("frame_interval_min"),
        code=digest("export_geff"),
    script:
        "../scripts/export_geff.py"


rule export_trees:
    """Lineages of one movie as a table, as trees and as a graph."""
    input:
        growth="results/{experiment}/{movie}/growth.parquet",
    output:
        table="results/{experiment}/{movie}/lineage.csv",
        newick="results/{experiment}/{movie}/lineage.nwk",
        graphml="results/{experiment}/{movie}/lineage.graphml",
    log:
        "logs/{experiment}/{movie}/export_trees.log",
    benchmark:
        "logs/{experiment}/{movie}/export_trees.benchmark.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=digest("export_trees"),
    script:
        "../scripts/export_trees.py"


use rule export_trees as export_trees_of_experiment with:
    input:
        growth="results/{experiment}/growth.parquet",
    output:
        table="results/{experiment}/lineage.csv",
        newick="results/{experiment}/lineage.nwk",
        graphml="results/{experiment}/lineage.graphml",
    log:
        "logs/{experiment}/export_trees.log",
    benchmark:
        "logs/{experiment}/export_trees.benchmark.tsv"


rule list_exports:
    """Where the exports of all movies of an experiment are."""
    input:
        infos=of_movies("movie.json"),
        exports=exports_of_movies,
    output:
        "results/{experiment}/{export}.tsv",
    log:
        "logs/{experiment}/list_{export}.log",
    wildcard_constraints:
        export="tracked|ctc|geff",
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        code=digest("list_exports"),
    script:
        "../scripts/list_exports.py"
