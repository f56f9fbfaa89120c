"""Annotations -> models/{model}/: weights, model.json, course of the training, ROC curve."""


rule train:
    """Train a model from its annotations; keep the accepted one if that goes wrong."""
    input:
        annotations=ancient(lambda wildcards: plan.models.annotation_files(wildcards.model)),
        start_from=lambda wildcards: plan.models.start_files(wildcards.model),
    output:
        weights=update("models/{model}/weights.safetensors"),
        card=update("models/{model}/model.json"),
        training_log=update("models/{model}/training.tsv"),
        training_figure=update("models/{model}/training.png"),
        roc=update("models/{model}/roc.tsv"),
        roc_figure=update("models/{model}/roc.png"),
        status="models/{model}/training.json",
    log:
        "logs/models/{model}/train.log",
    benchmark:
        "logs/models/{model}/train.benchmark.tsv"
    wildcard_constraints:
        model="|".join(map(re.escape, plan.models.trained())) or "(?!)",
    conda:
        "../../envs/network.yaml"
    threads: lambda wildcards: plan.models.training(wildcards.model)["threads"]
    resources:
        gpu=lambda wildcards: gpus(wildcards),
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        folder=lambda wildcards: plan.settings["models"][wildcards.model]["annotations"],
        annotations=lambda wildcards: plan.models.annotations_digest(wildcards.model),
        start_from=lambda wildcards: plan.models.start_from(wildcards.model),
        start=lambda wildcards: plan.models.start_digest(wildcards.model),
        train=lambda wildcards: plan.models.training(wildcards.model),
        on_bad_model=on_bad_model,
        execution=training_execution,
        # Neither is an output: a checkpoint has to outlive a job that failed, and progress shows before it ends.
        checkpoints=".cytolapse/training/{model}",
        progress="logs/models/{model}",
        code=digest("train"),
    script:
        "../scripts/train.py"
