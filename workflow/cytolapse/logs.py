"""The log of a job: everything that would go to the terminal, and what the library says."""

import logging
import os
import sys


def open_log(path: str | os.PathLike) -> None:
    """Send stderr and the library's messages to a file, line by line.

    Other libraries are heard from warnings on: trackpy says a line a frame.
    """
    sys.stderr = open(path, "w", buffering=1)  # noqa: SIM115 (open until the job ends)
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", force=True
    )
    logging.getLogger("cytolapse").setLevel(logging.INFO)
    logging.captureWarnings(True)
