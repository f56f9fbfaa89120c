"""Tables as text: on demand, or of every run where config says so."""


rule export_csv:
    """One table of an experiment as CSV."""
    input:
        table="results/{experiment}/{table}.parquet",
    output:
        csv="results/{experiment}/{table}.csv",
    log:
        "logs/{experiment}/export_csv_{table}.log",
    benchmark:
        "logs/{experiment}/export_csv_{table}.benchmark.tsv"
    wildcard_constraints:
        table="|".join(EXPERIMENT_TABLES),
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=digest("export_csv"),
    script:
        "../scripts/export_csv.py"


rule csv:
    """Every table of every experiment as CSV, on demand."""
    input:
        csv_tables(),
