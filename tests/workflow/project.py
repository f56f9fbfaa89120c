"""A small project in a folder of its own, run by Snakemake as a user runs it."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
import yaml

from cytolapse.simulation import Simulation, simulate_movie

REPOSITORY = Path(__file__).parents[2]
SMALL = Simulation(frames=5, height_px=96, width_px=96, founders=3)
SNAKEMAKE = Path(sys.executable).with_name("snakemake")


@dataclass
class Run:
    """How Snakemake ended, what it said, and how often each rule ran."""

    code: int
    text: str

    @property
    def rules(self) -> Counter:
        """Jobs by rule, from the lines that Snakemake prints as a job starts (or would)."""
        named = re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):$", self.text, flags=re.MULTILINE)
        return Counter(name for name in named if name not in ("all", "models"))


@dataclass
class Project:
    """A working directory with config, sheets, movies and results.

    Parameters
    ----------
    folder : Path
        The working directory.
    """

    folder: Path

    @property
    def config(self) -> dict:
        return yaml.safe_load((self.folder / "config.yaml").read_text())

    @config.setter
    def config(self, config: dict) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))

    def configure(self, **blocks) -> None:
        """Set keys of config.yaml; blocks of settings are merged."""
        config = self.config
        for key, value in blocks.items():
            config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
        self.config = config

    def edit_sheet(self, name: str, old: str, new: str) -> None:
        """Replace a piece of text in a sheet."""
        sheet = self.folder / name
        text = sheet.read_text()
        assert old in text
        sheet.write_text(text.replace(old, new))

    def snakemake(self, *arguments: str, snakefile: Path = REPOSITORY / "Snakefile") -> Run:
        """Run Snakemake in the project's folder."""
        # Targets come first: --configfile would take a name behind it for a file.
        command = [str(SNAKEMAKE), *arguments, "-s", str(snakefile), "--configfile", "config.yaml"]
        if "-n" not in arguments:
            command += ["--cores", "2"]
        # Threads of numerical libraries would fight for the two cores of two jobs.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        return Run(done.returncode, done.stdout + done.stderr)

    def would_run(self, *arguments: str, snakefile: Path = REPOSITORY / "Snakefile") -> Counter:
        """The jobs that a run would start now, by rule."""
        run = self.snakemake("-n", *arguments, snakefile=snakefile)
        assert run.code == 0, run.text
        return run.rules

    def copy(self, folder: Path) -> "Project":
        """The same project elsewhere, with all its times and what Snakemake remembers."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)


def write_folder(folder: Path, seed: int, position: str = "") -> None:
    """A movie as a folder of one file a frame, or one more position in such a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame, planes in enumerate(simulate_movie(SMALL, seed).movie):
        tifffile.imwrite(folder / f"t{frame:03d}{position}.tif", planes[0])


def darkened(path: Path) -> None:
    """Overwrite an image with another of the same size."""
    image = tifffile.imread(path)
    tifffile.imwrite(path, (image * 0.9).astype(image.dtype) if image.dtype != np.uint8 else image // 2)
