"""The demo on a real SLURM, as a user on a login node runs it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from cluster import Cluster, NoSlurm, install

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        install()
        cluster.start()
        yield cluster
    except NoSlurm as reason:
        pytest.skip(f"no SLURM here: {reason}")
    finally:
        cluster.stop()


@pytest.fixture
def checkout(tmp_path) -> Path:
    """The repository as a user has it, without results of earlier runs."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).exists():
            target = tmp_path / "checkout" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target, follow_symlinks=False)
    return tmp_path / "checkout"


def test_the_demo_runs_on_slurm_with_the_profile_by_its_name(cluster, checkout):
    python = Path(sys.executable)
    environment = cluster.environment | {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(checkout / "workflow"),
        "OMP_NUM_THREADS": "1",
    }
    prepare = [str(python), "workflow/demo.py", "prepare", "demo"]
    subprocess.run(prepare, cwd=checkout, env=environment, check=True)
    # One movie of each condition is enough to see every rule run on the cluster.
    for movie in (checkout / "demo/movies").glob("*_[23].tif"):
        movie.unlink()
    sheet = checkout / "demo/movies.tsv"
    lines = sheet.read_text().splitlines(keepends=True)
    sheet.write_text("".join(line for line in lines if "_2\t" not in line and "_3\t" not in line))
    command = ["snakemake", "--profile", "slurm-gpu", "--configfile", "demo/config.yaml"]
    # What a cluster without accounting needs, and a login node that looks more often.
    command += [
        "--slurm-status-command",
        "squeue",
        "--slurm-no-account",
        "--slurm-init-seconds-before-status-checks",
        "2",
    ]
    command += ["--seconds-between-status-checks", "2", "--latency-wait", "10"]

    run = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=900, check=False
    )

    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    jobs = cluster.output("squeue", "--states=all", "--noheader", "--format=%T %b")
    assert jobs.split().count("COMPLETED") >= 14
    growth = pd.read_parquet(checkout / "results/demo/growth.parquet")
    assert set(growth["movie"]) == {"control_1", "drug_1", "slow_1"}
    assert growth["growth_rate_per_h"].notna().sum() > 20
    assert (checkout / "results/demo/report.html").stat().st_size > 10_000


def test_a_gpu_asked_for_is_a_gpu_given_to_one_job(cluster):
    seen = cluster.folder / "seen"
    wrapped = f"echo $CUDA_VISIBLE_DEVICES >> {seen}; sleep 2"
    for _ in range(2):
        cluster.output(
            "sbatch",
            "--gpus=1",
            "--output=/dev/null",
            "--ntasks=1",
            "--cpus-per-task=1",
            "--mem=100",
            f"--wrap={wrapped}",
        )
    cluster.output("sbatch", "--wait", "--gpus=2", "--output=/dev/null", "--mem=100", "--wrap=true")

    assert sorted(seen.read_text().split()) == ["0", "1"]
