"""Labels -> objects, intensities, planes -> tracks, lineage of one movie."""


rule measure:
    """Position, shape and intensities of every cell; pixels become micrometres."""
    input:
        movie=ancient(movie_path),
        info="results/{experiment}/{movie}/movie.json",
        labels="results/{experiment}/{movie}/labels.tif",
        confidence="results/{experiment}/{movie}/confidence.parquet",
    output:
        objects="results/{experiment}/{movie}/objects.parquet",
        intensities="results/{experiment}/{movie}/intensities.parquet",
        planes="results/{experiment}/{movie}/planes.parquet",
    log:
        "logs/{experiment}/{movie}/measure.log",
    benchmark:
        "logs/{experiment}/{movie}/measure.benchmark.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        fingerprint=movie_fingerprint,
        measure=setting("measure"),
        images=light_fingerprints,
        object=sheet("object"),
        pixel_size_um=sheet("pixel_size_um"),
        code=digest("measure"),
    script:
        "../scripts/measure.py"


rule link:
    """Give every cell of one movie a track, cut at divisions."""
    input:
        info="results/{experiment}/{movie}/movie.json",
        objects="results/{experiment}/{movie}/objects.parquet",
    output:
        tracks="results/{experiment}/{movie}/tracks.parquet",
        lineage="results/{experiment}/{movie}/lineage.parquet",
        repairs="results/{experiment}/{movie}/repairs.parquet",
    log:
        "logs/{experiment}/{movie}/link.log",
    benchmark:
        "logs/{experiment}/{movie}/link.benchmark.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        link=setting("link"),
        division=sheet("division"),
        frame_interval_min=sheet("frame_interval_min"),
        code=digest("link"),
    script:
        "../scripts/link.py"
