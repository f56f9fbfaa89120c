"""Cytolapse: movies of living cells in, tables of growth and expression out."""

import sys

# Every job's script finds the library through this path, on any node.
sys.path.insert(0, f"{workflow.current_basedir}/workflow")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/segment.smk"
include: "workflow/rules/segmenters.smk"
include: "workflow/rules/light.smk"
include: "workflow/rules/track.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/csv.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/export.smk"


rule all:
    """Tables and report of every experiment."""
    default_target: True
    input:
        expand("results/{experiment}/report.html", experiment=plan.experiments),
        expand(
            "results/{experiment}/{table}.parquet",
            experiment=plan.experiments,
            table=EXPERIMENT_TABLES,
        ),
        csv_tables() if plan.settings["csv"] else [],


rule models:
    """The models that are trained from annotations."""
    input:
        # The status goes when a training fails, so that the next run tries again.
        expand(
            "models/{model}/{file}",
            model=plan.models.trained(),
            file=["model.json", "training.json"],
        ),


rule tracked:
    """Masks of every movie under the numbers of their tracks, on demand."""
    input:
        expand("results/{experiment}/tracked.tsv", experiment=plan.experiments),


rule ctc:
    """Every movie as a result of the Cell Tracking Challenge, on demand."""
    input:
        expand("results/{experiment}/ctc.tsv", experiment=plan.experiments),


rule geff:
    """Tracks of every movie as graphs in the format GEFF, on demand."""
    input:
        expand("results/{experiment}/geff.tsv", experiment=plan.experiments),


rule trees:
    """Lineages of every experiment as table, Newick trees and GraphML, on demand."""
    input:
        expand(
            "results/{experiment}/lineage.{ending}",
            experiment=plan.experiments,
            ending=["csv", "nwk", "graphml"],
        ),
