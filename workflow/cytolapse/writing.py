"""Whether a movie is still being written: acquired, or copied."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from cytolapse.formats import look_inside
from cytolapse.planes import MovieIncomplete, MovieRefused
from cytolapse.positions import movie_files

RECENT_MIN = 10
"""A movie that is not whole, and was written to so many minutes ago or less, may be about to be."""


class _State(NamedTuple):
    files: int
    size: int
    newest_ns: int


@contextmanager
def unchanged(
    path: str | os.PathLike, position: int | str | None = None, channels: Sequence[str] = ()
) -> Iterator[None]:
    """Refuse a movie that changes while the block looks at it, and say of one that is not whole how new it is.

    Nobody waits for a change: the time that the look takes is what there is to
    see one in. Where a movie grows more slowly, by a frame every few minutes,
    it is taken as it is, and processed again when it has grown.

    Parameters
    ----------
    path : path
        A file with those that its movie is spread over, or a folder with the
        files that make it a movie.
    position, channels
        As in `discovery.find_movies`: other positions of a folder may grow.

    Raises
    ------
    MovieRefused
        If number, size or time of change of the files are others after the
        block than before it; else what the block raises, with the time of the
        last change where planes are missing and that was a short while ago.
    """
    look = partial(_state, path, position, channels, _rest_of_set(path))
    before = look()
    try:
        yield
    except MovieIncomplete as refusal:
        _check_same(path, before, look(), f" ({refusal})")
        age_min = (time.time_ns() - before.newest_ns) / 60e9
        if age_min > RECENT_MIN:
            raise
        written = datetime.fromtimestamp(before.newest_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        raise MovieIncomplete(
            f"{refusal}; it was last written to at {written}, less than {RECENT_MIN} minutes before: where it is "
            "still being acquired or copied, run again when that is over"
        ) from refusal
    except MovieRefused as refusal:
        _check_same(path, before, look(), f" ({refusal})")
        raise
    _check_same(path, before, look(), "")


def _check_same(path: str | os.PathLike, before: _State, after: _State, finding: str) -> None:
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


def _rest_of_set(path: str | os.PathLike) -> list[str]:
    """Paths of the other files that a file says its movie is spread over."""
    if os.path.isdir(path):
        return []
    # What keeps the file from being read is found, and said, by who looks at its planes.
    with suppress(OSError):
        _, names = look_inside(path) or (0, [])
        return [os.path.join(os.path.dirname(path), name) for name in names]
    return []


def _state(path: str | os.PathLike, position: int | str | None, channels: Sequence[str], rest: Sequence[str]) -> _State:
    """Files, their bytes and the newest time of change; what cannot be looked at does not count."""
    stats = []
    with suppress(OSError):
        files = movie_files(path, position, channels)
        for each in [path, *rest] if files is None else [os.path.join(path, name) for name in files]:
            with suppress(OSError):
                stats.append(os.stat(each))
    return _State(len(stats), sum(stat.st_size for stat in stats), max((s.st_mtime_ns for s in stats), default=0))
