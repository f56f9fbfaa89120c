"""Where a product comes from: software, settings, code and model of each stage.

Every product of a movie carries the records of the stages behind it, under
the key `provenance` of its metadata: a JSON object from stage to record.
"""

import hashlib
import subprocess
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

from cytolapse import __version__


def stage_record(settings: Mapping, code: str, repository: str | Path) -> dict:
    """What is to be known of one run of a stage.

    Parameters
    ----------
    settings : mapping
        The settings that the stage ran with.
    code : str
        Digest of the stage's code.
    repository : path
        Folder of the workflow, to ask git for the commit.

    Returns
    -------
    dict
        settings, code, version, commit and packages_digest.
    """
    return {
        "settings": dict(settings),
        "code": code,
        "version": __version__,
        "commit": commit(repository),
        "packages_digest": packages_digest(),
    }


def commit(repository: str | Path) -> str | None:
    """The commit of a working tree, '-dirty' behind it where files were changed.

    None where the folder is no git checkout, or where git is missing.
    """
    git = ["git", "-C", str(repository)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("-dirty" if changed.stdout.strip() else "")


def packages_digest() -> str:
    """Digest of the names and versions of the installed packages."""
    installed = sorted({f"{each.metadata['Name']}=={each.version}" for each in distributions()})
    return hashlib.sha256("\n".join(installed).encode()).hexdigest()[:12]
