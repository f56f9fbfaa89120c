"""Whether a movie is still being written: acquired, or copied."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import NamedTuple

from cytolapse.folders import list_images
from cytolapse.formats import ZARR, format_of
from cytolapse.planes import MovieIncomplete, MovieRefused

RECENT_MIN = 10
"""A movie that is not whole, and was written to so many minutes ago or less, may be about to be."""


def movie_files(folder: str | os.PathLike) -> list[str]:
    """The files that make a folder a movie, by their paths in it."""
    if format_of(folder) is ZARR:
        found = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
        return sorted(os.path.relpath(path, folder) for path in found)
    notes = ["metadata.txt"] if os.path.isfile(os.path.join(folder, "metadata.txt")) else []
    return [*list_images(folder), *notes]


class _State(NamedTuple):
    files: int
    size: int
    newest_ns: int


@contextmanager
def unchanged(path: str | os.PathLike) -> Iterator[None]:
    """Refuse a movie that changes while the block looks at it, and say of one that is not whole how new it is.

    Nobody waits for a change: the time that the look takes is what there is to
    see one in. Where a movie grows more slowly, by a frame every few minutes,
    it is taken as it is, and processed again when it has grown.

    Parameters
    ----------
    path : path
        A file, or a folder with the files that make it a movie.

    Raises
    ------
    MovieRefused
        If number, size or time of change of the files are others after the
        block than before it; else what the block raises, with the time of the
        last change where planes are missing and that was a short while ago.
    """
    before = _state(path)
    try:
        yield
    except MovieIncomplete as refusal:
        _check_same(path, before, f" ({refusal})")
        age_min = (time.time_ns() - before.newest_ns) / 60e9
        if age_min > RECENT_MIN:
            raise
        written = datetime.fromtimestamp(before.newest_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        raise MovieIncomplete(
            f"{refusal}; it was last written to at {written}, less than {RECENT_MIN} minutes before: where it is "
            "still being acquired or copied, run again when that is over"
        ) from refusal
    except MovieRefused as refusal:
        _check_same(path, before, f" ({refusal})")
        raise
    _check_same(path, before, "")


def _check_same(path: str | os.PathLike, before: _State, finding: str) -> None:
    after = _state(path)
    if after == before:
        return
    if after.files != before.files:
        change = f"{before.files} files became {after.files}"
    elif after.size != before.size:
        change = f"{before.size} bytes became {after.size}"
    else:
        change = "it was written to"
    raise MovieIncomplete(
        f"movie {path}: is still being written: {change} while it was looked at; run again when it is acquired and "
        f"copied whole{finding}"
    )


def _state(path: str | os.PathLike) -> _State:
    """Files, their bytes and the newest time of change; what cannot be looked at does not count."""
    stats = []
    with suppress(OSError):
        for name in movie_files(path) if os.path.isdir(path) else [""]:
            with suppress(OSError):
                stats.append(os.stat(os.path.join(path, name) if name else path))
    return _State(len(stats), sum(stat.st_size for stat in stats), max((s.st_mtime_ns for s in stats), default=0))
