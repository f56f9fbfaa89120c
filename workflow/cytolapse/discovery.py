"""Which movies there are, and whether their content changed: for planning."""

import glob
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cytolapse.formats import FORMATS, format_of, look_inside
from cytolapse.positions import files_of_positions, movie_files, natural_key

_ENDINGS = "|".join(ending[1:] for each in FORMATS for ending in each.endings)
_MOVIE_ENDINGS = re.compile(rf"(\.ome)?\.({_ENDINGS})$", re.IGNORECASE)

# What lies beside movies and is none; matched by a pattern that names no ending, it is passed over.
_NEVER_MOVIES = re.compile(
    r"\.(txt|csv|tsv|jsonl?|md|rst|xml|log|ya?ml|ini|cfg|toml|db|pdf|html?|docx?|xlsx?|pptx?|odt|py|r|m|ijm|ipynb|sh|zip|gz"
    r"|bz2|xz|tar|7z|roi|np[yz]|pkl|pickle|mat|h5|hdf5|parquet|png|jpe?g|gif|bmp|svg|mp4|avi|mov|partial|tmp)$",
    re.IGNORECASE,
)

_WILDCARD = re.compile(r"[*?\[]")
_EDGE_BYTES = 64 * 1024
_BLOCK_BYTES = 16 * 1024
_BLOCKS = 16
_FRAME_EDGE_BYTES = 8 * 1024
_FRAME_BLOCKS = 2


class MovieSource(NamedTuple):
    """Where a movie is: a file or folder, and the position in one that holds several.

    In a file that is a number, in a folder of images what marks the position in
    their names.
    """

    path: str
    position: int | str | None


def find_movies(
    pattern: str, root: str | os.PathLike, channels: Sequence[str], cache: dict | None = None
) -> dict[str, MovieSource]:
    """Find the movies of an experiment.

    A movie is named by its path below the pattern's fixed part (the folders
    before the first wildcard), without ending, with every character outside of
    A-Z a-z 0-9 . _ - made '_'; a position of a file with several adds '_p000',
    one of a folder with several what marks it in the names of the images. A
    file that only goes on with another's movie is none.

    Parameters
    ----------
    pattern : str
        A glob for files or folders ('**' for any depth), or a text file (.txt)
        with one path or glob a line, '#' before comments. Brackets stand for
        themselves where nothing matches otherwise.
    root : path
        What relative paths are relative to.
    channels : sequence of str
        What names a channel in the names of images marks no position.
    cache : dict or None
        Path -> {'stat', 'positions'}, as kept between runs; mutated.

    Returns
    -------
    dict
        Name -> source, in natural order; empty where nothing matches. Paths are
        as the pattern gives them: relative ones stay relative to `root`.

    Raises
    ------
    ValueError
        If two movies have one name, or a list names a path that is not there.
    """
    cache = {} if cache is None else cache
    movies: dict[str, MovieSource] = {}
    for name, path in _named_paths(pattern, Path(root)):
        for movie, source in _positions(name, path, Path(root), channels, cache):
            if movie in movies and movies[movie] != source:
                raise ValueError(
                    f"movies {movies[movie].path} and {source.path} both get the name {movie!r}; rename one of them, "
                    "or begin the wildcards of the pattern further up"
                )
            movies[movie] = source
    return movies


def _named_paths(pattern: str, root: Path) -> Iterator[tuple[str, str]]:
    if not pattern.lower().endswith(".txt") or _WILDCARD.search(pattern):
        yield from _matches(pattern, root)
        return
    for line in _lines(pattern, root):
        found = list(_matches(line, root))
        if not found and not _WILDCARD.search(line):
            raise ValueError(f"movie {line}: there is no such file or folder; correct the list {pattern}")
        yield from found


def _lines(path: str, root: Path) -> list[str]:
    try:
        text = (root / path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"list of movies {path}: cannot be read ({error})") from error
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines()]
    remote = next((line for line in lines if "://" in line), None)
    if remote is not None:
        raise ValueError(f"list of movies {path}: {remote} is a URL, which is not read in this version; download it")
    return [line for line in lines if line]


def _matches(pattern: str, root: Path) -> Iterator[tuple[str, str]]:
    """Name and path of every match of one glob."""
    pattern = pattern.rstrip("/")
    fixed = _fixed_part(pattern)
    names_ending = re.search(r"\.[A-Za-z0-9]+$", pattern) is not None
    found = glob.glob(pattern, root_dir=root, recursive=True)
    if not found:
        # A folder may be called 'night [2]', which as a glob is 'night 2'.
        found = glob.glob(pattern.replace("[", "[[]"), root_dir=root, recursive=True)
    for path in sorted(found, key=natural_key):
        is_folder = os.path.isdir(root / path)
        if not is_folder and not names_ending and _NEVER_MOVIES.search(path):
            continue
        name = _safe_name(os.path.relpath(path, fixed or "."), is_folder)
        if name:
            yield name, path


def _fixed_part(pattern: str) -> str:
    """The folders before the first wildcard; without one, the parent."""
    if not _WILDCARD.search(pattern):
        return os.path.dirname(pattern)
    parts = pattern.split("/")
    first = next(index for index, part in enumerate(parts) if _WILDCARD.search(part))
    return "/".join(parts[:first]) or ("/" if pattern.startswith("/") else "")


def _safe_name(path: str, is_folder: bool) -> str:
    stem = _MOVIE_ENDINGS.sub("", path)
    if stem == path and not is_folder:
        stem = os.path.splitext(path)[0]
    return _safe(stem).lstrip(".")


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def _positions(
    name: str, path: str, root: Path, channels: Sequence[str], cache: dict
) -> Iterator[tuple[str, MovieSource]]:
    if os.path.isdir(root / path) and format_of(root / path) is None:
        marks = _folder_positions(root / path, channels)
        for mark in marks:
            yield f"{name}_{_safe(mark)}", MovieSource(path, mark)
        if not marks:
            yield name, MovieSource(path, None)
        return
    count = _cached_positions(root / path, cache)
    if count == 1:
        yield name, MovieSource(path, None)
        return
    for position in range(count):
        yield f"{name}_p{position:03d}", MovieSource(path, position)


def _folder_positions(path: Path, channels: Sequence[str]) -> list[str]:
    try:
        return [mark for mark in files_of_positions(path, channels) if mark is not None]
    except OSError:
        # An inspection says what keeps the folder from being read.
        return []


def _cached_positions(path: Path, cache: dict) -> int:
    if format_of(path) is None:
        return 1
    before = cache.get(str(path))
    try:
        return _looked_inside(path, cache, str(path), movie_files(path))["positions"]
    except OSError:
        # It may pass: not remembered, so that the next run looks again.
        return before.get("positions", 1) if isinstance(before, dict) else 1


def _looked_inside(path: str | os.PathLike, cache: dict, key: str, files: list[str] | None) -> dict:
    """The cache's entry of a movie: positions, and the other files of its folder that belong to it."""
    before, stat = cache.get(key), _own_stat(path, files)
    if isinstance(before, dict) and before.get("stat") == stat and "positions" in before:
        return before
    # A file that is damaged, or just being copied, keeps its positions: each is refused by its own name.
    last = before.get("positions", 1) if isinstance(before, dict) else 1
    entry = cache[key] = {"stat": stat}
    positions, parts = look_inside(path) or (last, [])
    entry |= {"positions": positions, "parts": parts}
    return entry


def _own_stat(path: str | os.PathLike, files: list[str] | None) -> list:
    """What tells that a path is not the one it was; of a folder the stats of all that is the movie in it."""
    if files is None:
        return _stat_key(os.stat(path))
    stats = [[name, *_stat_key(os.stat(os.path.join(path, name)))] for name in files]
    # The stats of a thousand frames would bloat the cache: their digest does.
    return [len(stats), hashlib.blake2b(repr(stats).encode(), digest_size=16).hexdigest()]


def fingerprint(
    path: str | os.PathLike, cache: dict, position: int | str | None = None, channels: Sequence[str] = ()
) -> str:
    """What tells a movie's content from another's, without reading it all.

    Names, sizes and sampled blocks of the file and of those that belong to it,
    or of every image of the folder, of a folder with several positions those of
    this position. A changed pixel between the blocks of a
    large file that keeps its size goes unnoticed.

    Parameters
    ----------
    path : path
    cache : dict
        Path (with position) -> {'stat', 'fingerprint'}, as kept between runs; mutated. Besides
        the modification time it goes by inode and change time, which no copying
        program sets back.
    position, channels
        As in `find_movies`.

    Returns
    -------
    str
        Hexadecimal; 'unreadable' with the reason where the file cannot be read.
    """
    try:
        files = movie_files(path, position, channels)
        key = f"{path}//{position}" if isinstance(position, str) else str(path)
        entry = _looked_inside(path, cache, key, files)
        parts = entry["parts"]
        stats = [_stat_key(os.stat(other)) for name in parts if os.path.exists(other := _beside(path, name))]
        if "fingerprint" not in entry or entry.get("stats_of_parts", []) != stats:
            entry |= {"fingerprint": _fingerprint(path, parts, files), "stats_of_parts": stats}
        return entry["fingerprint"]
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _beside(path: str | os.PathLike, name: str) -> str:
    return os.path.join(os.path.dirname(path), name)


def _fingerprint(path: str | os.PathLike, parts: list[str], files: list[str] | None) -> str:
    if files is not None:
        return _digest_of(path, files, _FRAME_EDGE_BYTES, _FRAME_BLOCKS)
    own = _digest_of(path, [""], _EDGE_BYTES, _BLOCKS)
    there = [name for name in parts if os.path.exists(_beside(path, name))]
    if not there:
        return own
    others = _digest_of(os.path.dirname(path) or ".", there, _EDGE_BYTES, _BLOCKS)
    return hashlib.blake2b(f"{own} {others}".encode(), digest_size=16).hexdigest()


def _stat_key(stat: os.stat_result) -> list[int]:
    return [stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_ctime_ns]


def _digest_of(path: str | os.PathLike, names: list[str], edge_bytes: int, blocks: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        with open(os.path.join(path, name) if name else path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(f"{name}\0{size}\0".encode())
            for offset, length in _sampled(size, edge_bytes, blocks):
                file.seek(offset)
                digest.update(file.read(length))
    return digest.hexdigest()


def _sampled(size: int, edge_bytes: int, blocks: int) -> list[tuple[int, int]]:
    """Offset and length of what is read: all of a small file, else both ends and blocks in between."""
    if size <= 2 * edge_bytes + blocks * _BLOCK_BYTES:
        return [(0, size)]
    inner = size - 2 * edge_bytes - _BLOCK_BYTES
    between = [(edge_bytes + inner * (block + 1) // (blocks + 1), _BLOCK_BYTES) for block in range(blocks)]
    return [(0, edge_bytes), *between, (size - edge_bytes, edge_bytes)]
