"""Which files are a movie: those of a folder, and of each position in it."""

import os
import re
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache

from cytolapse.formats import ZARR, format_of
from cytolapse.spelling import CLOCK, POSITION_BEGINS, POSITION_ENDS, is_thumbnail, spell_out

IMAGE_ENDINGS = (".tif", ".tiff", ".png")

# Words before the number of a position. A single letter may as well count frames: it needs a time beside it.
_LONG_WORDS = ("position", "pos", "xy", "site", "fov", "field", "scene", "series", "region")
_LETTERS = ("s", "p")
POSITION_WORDS = (*_LONG_WORDS, *_LETTERS)

_MARK = re.compile(
    rf"{POSITION_BEGINS}(?P<known>[^{POSITION_ENDS}]*){POSITION_ENDS}"
    rf"|(?<![A-Za-z0-9])(?P<row>[A-P])[0-9]{{1,2}}(?![A-Za-z0-9])"
    rf"|(?<![A-Za-z])(?P<word>{'|'.join(POSITION_WORDS)})[ _-]?[0-9]+",
    re.IGNORECASE,
)
_TIME = re.compile(rf"(?<![A-Za-z])(t|time|timepoint|tp|frame|fr|{CLOCK})[ _-]?[0-9]", re.IGNORECASE)
_SLICE_OR_CHANNEL = re.compile(r"(?<![A-Za-z])(z|slice|zstep|c|ch|channel|w)[ _-]?[0-9]+", re.IGNORECASE)
# Folders in which MetaXpress puts the images of a frame, and within these of a slice.
_OF_A_FRAME_OR_SLICE = re.compile(r"(timepoint|zstep)[ _-]?[0-9]+", re.IGNORECASE)


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key by which t2 comes before t10."""
    return [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in re.split(r"([0-9]+)", text)]


def list_images(folder: str | os.PathLike) -> list[str]:
    """Paths of the images in a folder, hidden files and thumbnails left out, in natural order.

    Those in its folders TimePoint_1, TimePoint_2 and so on are among them, as
    MetaXpress lays them out, and those in ZStep_1 and so on within. A link that
    leads nowhere counts: left out, a movie would lack its frame and nobody would
    know.
    """
    names = []
    for place in ("", *_folders_of_frames(folder)):
        with os.scandir(os.path.join(folder, place)) as entries:
            here = [entry.name for entry in entries if not entry.name.startswith(".") and _is_file(entry)]
        names += [os.path.join(place, name) for name in here]
    images = (name for name in names if name.lower().endswith(IMAGE_ENDINGS))
    return sorted((name for name in images if not is_thumbnail(name)), key=natural_key)


def _is_file(entry: os.DirEntry) -> bool:
    return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))


def _folders_of_frames(folder: str | os.PathLike, depth: int = 2) -> list[str]:
    """Paths below a folder of those in which the images of one frame, or one slice of it, lie."""
    inside = _folders_named_so(os.fspath(folder), _state(folder)) if depth else ()
    return [
        path
        for name in inside
        for path in (
            name,
            *(f"{name}/{deeper}" for deeper in _folders_of_frames(os.path.join(folder, name), depth - 1)),
        )
    ]


@lru_cache(maxsize=4096)
def _folders_named_so(folder: str, _: tuple[int, ...]) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        found = [entry.name for entry in entries if _OF_A_FRAME_OR_SLICE.fullmatch(entry.name) and entry.is_dir()]
    return tuple(sorted(found, key=natural_key))


def _state(folder: str | os.PathLike) -> tuple[int, ...]:
    """What stays the same as long as the names in a folder do."""
    stat = os.stat(folder)
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def movie_files(
    path: str | os.PathLike, position: int | str | None = None, channels: Sequence[str] = ()
) -> list[str] | None:
    """The files that make a folder a movie, by their paths in it; None of a file.

    Parameters
    ----------
    path : path
    position, channels
        As in `discovery.find_movies`.
    """
    if not os.path.isdir(path):
        return None
    if format_of(path) is ZARR:
        found = (os.path.join(place, name) for place, _, names in os.walk(path) for name in names)
        return sorted(os.path.relpath(each, path) for each in found)
    images = files_of_positions(path, channels).get(position, []) if isinstance(position, str) else list_images(path)
    return [*images, *(["metadata.txt"] if os.path.isfile(os.path.join(path, "metadata.txt")) else [])]


def channel_pattern(channel: str) -> re.Pattern:
    """The channel's name, not inside of a longer word; a number may touch letters and letters a number."""
    before = r"(?<![A-Za-z])" if channel[0].isalpha() else r"(?<![0-9])" if channel[0].isdigit() else ""
    after = r"(?![A-Za-z])" if channel[-1].isalpha() else r"(?![0-9])" if channel[-1].isdigit() else ""
    return re.compile(before + re.escape(channel) + after, re.IGNORECASE)


def files_of_positions(folder: str | os.PathLike, channels: Sequence[str]) -> dict[str | None, list[str]]:
    """The images of a folder by position, as `split_positions` finds them.

    Raises
    ------
    OSError
        If the folder cannot be listed.
    """
    # The names of a folder stand as long as its own time does: a thousand positions need one listing, not one each.
    states = (_state(folder), *(_state(os.path.join(folder, place)) for place in _folders_of_frames(folder)))
    return _listed(os.fspath(folder), tuple(channels), states)


@lru_cache(maxsize=8)
def _listed(folder: str, channels: tuple[str, ...], _: tuple[tuple[int, ...], ...]) -> dict[str | None, list[str]]:
    return split_positions(list_images(folder), channels)


def split_positions(names: Sequence[str], channels: Sequence[str]) -> dict[str | None, list[str]]:
    """Part file names by what marks a position in them.

    A position is marked by a number after position, pos, xy, site, fov, field,
    scene, series, region, s or p, by a well of a plate (A1 to P24, set off from the
    rest), or as an instrument of `spelling` does. What names a channel is none. A
    single letter, or wells of one row, mark positions only where the names also
    hold something that counts time: without it they may be the frames.

    The mark of a single position counts like those of several: a movie keeps
    its name when another position comes.

    Parameters
    ----------
    names : sequence of str
        Of the images of one folder.
    channels : sequence of str

    Returns
    -------
    dict
        The marks of the position, as they stand in the names and joined by '_',
        to the names, in natural order of positions; under None what has no
        mark where several positions have one. Where nothing is marked all is
        under None.

    Examples
    --------
    >>> split_positions(["t1xy01c1.tif", "t2xy01c1.tif", "t1xy02c1.tif"], ["c1"])
    {'xy01': ['t1xy01c1.tif', 't2xy01c1.tif'], 'xy02': ['t1xy02c1.tif']}
    """
    patterns = [channel_pattern(channel) for channel in channels]
    stems = {name: spell_out(name) for name in names}
    for name, stem in stems.items():
        for pattern in patterns:
            stems[name] = stem = pattern.sub("\0", stem)
    marks = {name: _marks(stem) for name, stem in stems.items()}
    rows = {found["well"][0] for found in marks.values() if "well" in found}
    # C1 and C2 alone are channels, unless these are named by something else.
    if rows == {"C"} and not all("\0" in stem for stem in stems.values()):
        marks = {name: {kind: mark for kind, mark in of.items() if kind != "well"} for name, of in marks.items()}
    kinds = {kind for of in marks.values() for kind in of}
    changing = {kind for kind in kinds if len({of.get(kind) for of in marks.values()} - {None}) > 1}
    marked = [name for name, of in marks.items() if of and changing <= set(of)]
    # What does not change belongs to the position as well: it is the same when another well is added.
    common = set.intersection(*(set(marks[name]) for name in marked)) if marked else set()
    telling = changing or common
    sure = telling & {*_LONG_WORDS, "known"} or ("well" in telling and len(rows) > 1)
    if not common or not (sure or _count_time([stems[name] for name in marked])):
        return {None: list(names)}
    if not changing:
        return {_key(marks[marked[0]], common): list(names)}
    parted: dict[str | None, list[str]] = {}
    for name, of in marks.items():
        parted.setdefault(_key(of, common) if changing <= set(of) else None, []).append(name)
    return {key: parted[key] for key in sorted(parted, key=lambda key: natural_key(key or ""))}


def _key(marks: Mapping[str, str], kinds: Set[str]) -> str:
    return "_".join(mark for kind, mark in marks.items() if kind in kinds)


def _marks(stem: str) -> dict[str, str]:
    """Kind of mark -> mark, the first of each kind in a name."""
    marks: dict[str, str] = {}
    for match in _MARK.finditer(stem):
        if match["known"] is not None:
            marks.setdefault("known", match["known"])
        elif match["row"] is None:
            marks.setdefault(match["word"].lower(), match[0])
        elif match["row"].isupper():
            # P1 before a well is a position.
            if marks.get("well", "").startswith("P") and match["row"] != "P":
                marks = {"p" if kind == "well" else kind: mark for kind, mark in marks.items()}
            marks.setdefault("well", match[0])
        elif match["row"].lower() in _LETTERS:
            marks.setdefault(match["row"], match[0])
    return marks


def _count_time(stems: Sequence[str]) -> bool:
    """Whether names hold a number of time, or differ in more than position, slice and channel."""
    if any(_TIME.search(stem) for stem in stems):
        return True
    return len({_SLICE_OR_CHANNEL.sub("#", _MARK.sub("#", stem)) for stem in stems}) > 1
