"""Axes: which plane of a file is which channel, frame and Z slice.

Those of experiments.tsv win, else the file's own count, and a file that could
be read in more than one way is refused.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np

from cytolapse.planes import Described, MovieRefused, Planes

SHEET = "config/experiments.tsv"


def arrange(
    path: str,
    described: Described,
    shape: tuple[int, int],
    axes: str | None,
    channels: Sequence[str],
    z_projection: str,
) -> list[list[list[Hashable | None]]]:
    """Pages of every channel and frame, after the sheet's axes or else the file's.

    Returns
    -------
    list of list of list of Hashable or None
        [channel][frame][slice] -> page.
    """
    said = [(letter, size) for letter, size in zip(described.axes, described.sizes, strict=True) if size > 1]
    sizes = dict(said)
    what = f"shape {(*sizes.values(), *shape)} with axes {''.join(sizes)}YX ({described.source})"
    if axes is None:
        order = _axes_of_file(path, what, said, channels)
    else:
        order = _axes_of_sheet(path, what, said, axes, channels)
    check_slices(path, dict(order).get("Z", 1), what, z_projection)
    return _by_channel_frame_slice(described.pages, order)


def arrange_image(
    image: Planes, described: Described, axes: str | None, channels: Sequence[str], z_projection: str
) -> list[list[Hashable | None]]:
    """Pages of every channel in a file that holds one frame of a folder.

    Planes beyond one a channel are Z slices, where the file does not say that
    they are something else.

    Parameters
    ----------
    axes : str or None
        As in experiments.tsv; taken where a file of channels and slices does
        not say their order.
    channels : sequence of str
        Those that the file holds.

    Returns
    -------
    list of list of Hashable or None
        [channel][slice] -> page.

    Raises
    ------
    MovieRefused
        If the planes are not one a channel, nor as many Z slices of each, or
        nobody has said what is made of these.
    """
    count = image.count
    if count == len(channels) == len(described.pages):
        return [[page] for page in described.pages]
    said = {letter: size for letter, size in zip(described.axes, described.sizes, strict=True) if size > 1}
    slices, rest = divmod(count, len(channels))
    sizes = {"Z": slices, "C": len(channels)}
    letters = "".join(said).replace("I", "Z") if len(channels) == 1 else "".join(said)
    if letters == "I" and axes is not None:
        letters = "".join(letter for letter in axes if letter in "ZC")
    fits = all(size == sizes[letter] for letter, size in said.items() if letter in sizes)
    fits &= rest == 0 and len(described.pages) == count and set(letters) == set("ZC" if len(channels) > 1 else "Z")
    if not fits or ("I" in said and z_projection == "none"):
        raise MovieRefused(
            f"movie {image.path}: a file of one frame holds {count} planes, wanted {len(channels)} (channels: "
            f"{', '.join(channels)}); a folder holds a file a frame, a file a frame and channel, or a stack a channel, "
            "with the channels named as in the file names; where the planes are Z slices, choose what is made of them "
            "in config.yaml (inspect.z_projection)"
        )
    check_slices(image.path, slices, f"{count} planes in a file of one frame", z_projection)
    by_frame = _by_channel_frame_slice(described.pages, [(letter, sizes[letter]) for letter in letters])
    return [frames[0] for frames in by_frame]


def check_slices(path: str, slices: int, what: str, z_projection: str) -> None:
    """Refuse Z slices of which nobody has said what is made of them.

    Raises
    ------
    MovieRefused
    """
    if slices > 1 and z_projection == "none":
        raise MovieRefused(
            f"movie {path}: has {slices} Z slices a frame, {what}; choose what is made of them in config.yaml "
            "(inspect.z_projection: max, mean or focus), or project them first (Fiji: Image > Stacks > Z Project, all "
            "time frames)"
        )


def _by_channel_frame_slice(
    pages: Sequence[Hashable | None], order: Sequence[tuple[str, int]]
) -> list[list[list[Hashable | None]]]:
    """Pages that lie in some order of axes as [channel][frame][slice]."""
    letters = "".join(letter for letter, _ in order)
    index = np.arange(len(pages)).reshape([size for _, size in order])
    missing = [letter for letter in "CTZ" if letter not in letters]
    index = index.reshape(*index.shape, *(1 for _ in missing))
    letters += "".join(missing)
    index = index.transpose([letters.index(letter) for letter in "CTZ"])
    return [[[pages[plane] for plane in frame] for frame in row] for row in index.tolist()]


def _axes_of_file(path: str, what: str, said: list[tuple[str, int]], channels: Sequence[str]) -> list[tuple[str, int]]:
    sizes = dict(said)
    candidates = _candidates([size for _, size in said], len(channels))
    unknown = set(sizes) - set("TC") - (set("Z") if "T" in sizes else set())
    if unknown:
        meant = "they do not say what they are" if "I" in unknown else f"no time axis, but {', '.join(sorted(unknown))}"
        raise MovieRefused(
            f"movie {path}: its planes are ambiguous, {what}: {meant}. {candidates}; where they are Z slices of one "
            "frame, it is no movie"
        )
    if sizes.get("C", 1) != len(channels):
        raise MovieRefused(
            f"movie {path}: has {sizes.get('C', 1)} channels, {SHEET} names {len(channels)} ({', '.join(channels)}), "
            f"{what}. {candidates}"
        )
    if "T" not in sizes:
        raise MovieRefused(
            f"movie {path}: is one image without a time axis, {what}; a movie of one frame needs the axes "
            f"{'TCYX' if len(channels) > 1 else 'TYX'} in {SHEET} (column axes)"
        )
    return said


def _candidates(sizes: Sequence[int], channels: int) -> str:
    """The readings that would fit the shape, as a sentence."""
    planes = math.prod(sizes)
    fits = []
    if channels == 1 and len(sizes) <= 1:
        fits = ["TYX"]
    elif channels > 1 and planes % channels == 0:
        frames = planes // channels
        fits = ["TCYX"] if len(sizes) == 1 or tuple(sizes) == (frames, channels) else []
        fits += ["CTYX"] if len(sizes) == 1 or tuple(sizes) == (channels, frames) else []
    if not fits:
        return f"No reading fits {channels} channel{'s' * (channels > 1)}: correct {SHEET} (column channels)"
    read = " or ".join(f"{axes} ({planes // channels} frames)" for axes in fits)
    return f"It could be read as {read}: name the axes in {SHEET} (column axes)"


def _axes_of_sheet(
    path: str, what: str, said: list[tuple[str, int]], axes: str, channels: Sequence[str]
) -> list[tuple[str, int]]:
    letters = axes[:-2]
    found = [size for _, size in said]
    planes = math.prod(found)
    if "C" not in letters and len(channels) > 1:
        raise MovieRefused(
            f"movie {path}: axes are {axes!r} in {SHEET}, without a channel axis C, but {len(channels)} channels are "
            f"named ({', '.join(channels)}); its {what}"
        )
    if len(channels) == 1:
        letters = letters.replace("C", "")
    if "Z" in letters and len(found) == len(letters):
        order = list(zip(letters, found, strict=True))
        fits = dict(order).get("C", 1) == len(channels)
    else:
        # Slices that no axis is left for are one a frame.
        letters = letters.replace("Z", "")
        expected = {"T": planes // len(channels), "C": len(channels)}
        order = [(letter, expected[letter]) for letter in letters]
        shape = [size for _, size in order if size > 1]
        fits = planes % len(channels) == 0 and (len(found) <= 1 or found == shape)
    if not fits:
        raise MovieRefused(
            f"movie {path}: does not fit the axes {axes!r} of {SHEET} with {len(channels)} channels "
            f"({', '.join(channels)}), {what}; correct the columns axes and channels"
        )
    return order
