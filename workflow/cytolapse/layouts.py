"""Where the planes of a movie are: in a stack, or in the files of a folder.

Axes are settled here: those of experiments.tsv win, else the file's own count,
and a file that could be read in more than one way is refused. Where a frame has
Z slices, a plane is their projection.
"""

import json
import math
import os
from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cytolapse.folders import lay_out_folder
from cytolapse.formats import describe, open_planes
from cytolapse.planes import Described, MovieRefused, Planes
from cytolapse.png import PngPlanes
from cytolapse.projections import project
from cytolapse.tiffnotes import add_micromanager_summary

SHEET = "config/experiments.tsv"


@dataclass
class Layout:
    """Where the planes of a movie are, with the files that stay open.

    Attributes
    ----------
    pages : dict
        Channel to pages by frame and Z slice; None for a slice that was not
        acquired.
    slices : int
        Z slices a frame.
    z_projection : str
        What is made of them.
    focus_slices : list of int or None
        Of the projection 'focus' the slice of each frame.
    """

    kind: str
    path: str
    channels: Sequence[str]
    frames: int
    described: Described
    stacks: dict[str, Planes] = field(default_factory=dict)
    pages: dict[str, list[list[Hashable | None]]] = field(default_factory=dict)
    files: dict[str, list[str | None]] | None = None
    slices: int = 1
    z_projection: str = "none"
    focus_slices: list[int] | None = None
    warnings: list[str] = field(default_factory=list)

    def read(self, frame: int, channel: str) -> np.ndarray | None:
        """One plane; None where the names or the metadata say that there is none."""
        if self.stacks:
            if self.z_projection == "focus" and self.slices > 1:
                return self.read_slice(frame, channel, self.focus_slices[frame])
            return project(
                (self.read_slice(frame, channel, z) for z in range(self.slices)),
                self.z_projection if self.slices > 1 else "max",
            )
        name = self.files[channel][frame]
        if name is None:
            return None
        with open_planes(os.path.join(self.path, name)) as image:
            return image.read(_page_of_channel(image, self.kind, self.channels, channel))

    def read_slice(self, frame: int, channel: str, z: int) -> np.ndarray | None:
        """One Z slice; None where it was not acquired."""
        page = self.pages[channel][frame][z]
        return None if page is None else self.stacks[channel].read(page)

    def close(self) -> None:
        """Close the files that are open."""
        for stack in set(self.stacks.values()):
            stack.close()


def _page_of_channel(image: Planes, kind: str, channels: Sequence[str], channel: str) -> int:
    wanted = len(channels) if kind == "frame_files" else 1
    if image.count != wanted:
        raise MovieRefused(
            f"movie {image.path}: a file of one frame holds {image.count} planes, wanted {wanted} (channels: "
            f"{', '.join(channels)}); a folder holds a file a frame, a file a frame and channel, or a stack a channel, "
            "with the channels named as in the file names"
        )
    return channels.index(channel) if kind == "frame_files" else 0


def lay_out_movie(info: Mapping) -> Layout:
    """Find every plane of a movie; the stacks that hold them stay open.

    Parameters
    ----------
    info : mapping
        Content of movie.json: path, kind, position, axes, channels,
        segment_channel and z_projection; of an inspected folder also layout
        and files, of an inspected Z stack focus_slices.

    Raises
    ------
    MovieRefused
        If the movie cannot be read in exactly one way.
    """
    with ExitStack() as on_error:
        layout = _lay_out_folder(info, on_error) if info["kind"] == "folder" else _lay_out_file(info, on_error)
        on_error.pop_all()
    return layout


def _lay_out_file(info: Mapping, on_error: ExitStack) -> Layout:
    path, channels = info["path"], info["channels"]
    planes = open_planes(path)
    on_error.callback(planes.close)
    described = _described(planes, info["position"])
    pages = _arrange(path, described, planes.shape, info["axes"], channels, info["z_projection"])
    layout = Layout("stack", path, channels, len(pages[0]), described, warnings=described.warnings)
    _take_slices(layout, len(pages[0][0]), info)
    layout.stacks = dict.fromkeys(channels, planes)
    layout.pages = dict(zip(channels, pages, strict=True))
    named = described.channel_names
    if sorted(named) == sorted(channels) and named != list(channels):
        layout.warnings.append(
            f"the file names its channels {', '.join(named)}, {SHEET} says {', '.join(channels)}: the sheet was "
            "followed"
        )
    return layout


def _take_slices(layout: Layout, slices: int, info: Mapping) -> None:
    layout.slices, layout.z_projection = slices, info["z_projection"]
    layout.focus_slices = info["focus_slices"]


def _described(planes: Planes, position: int | None) -> Described:
    positions = describe(planes)
    if (position or 0) >= len(positions):
        raise MovieRefused(
            f"movie {planes.path}: position {position} was asked for, the file holds {len(positions)}; "
            "copy it again, or plan anew"
        )
    return positions[position or 0]


def _lay_out_folder(info: Mapping, on_error: ExitStack) -> Layout:
    path, channels = info["path"], info["channels"]
    if info["files"] is None:
        found = lay_out_folder(path, channels, info["segment_channel"])
        kind, files, warnings = found.kind, found.files, found.warnings
    else:
        kind, files, warnings = info["layout"], info["files"], []
    if kind != "channel_stacks":
        with open_planes(os.path.join(path, next(name for name in files[info["segment_channel"]] if name))) as image:
            described = describe(image)[0]
        # What single images say of time (an interval of 0, one time stamp) is not the movie's.
        described.time_h = {}
        described.exposure_ms = {}
        described.warnings += warnings
        _read_micromanager_folder(path, described)
        frames = len(files[info["segment_channel"]])
        return Layout(kind, path, channels, frames, described, files=files, warnings=described.warnings)
    layout = Layout(kind, path, channels, 0, Described("plain", "", (), ()), files=files, warnings=warnings)
    axes = info["axes"].replace("C", "") if info["axes"] else None
    for channel in channels:
        stack = open_planes(os.path.join(path, files[channel][0]))
        on_error.callback(stack.close)
        if isinstance(stack, PngPlanes):
            raise MovieRefused(f"movie {stack.path}: is one PNG image; a channel needs a file a frame, or a TIFF stack")
        described = _described(stack, None)
        arranged = _arrange(stack.path, described, stack.shape, axes, [channel], info["z_projection"])
        (layout.pages[channel],) = arranged
        layout.stacks[channel] = stack
        if channel == info["segment_channel"]:
            layout.described = described
            layout.warnings += described.warnings
    _check_equal_stacks(layout, info["segment_channel"])
    _take_slices(layout, len(layout.pages[info["segment_channel"]][0]), info)
    return layout


def _check_equal_stacks(layout: Layout, segment_channel: str) -> None:
    layout.frames = len(layout.pages[segment_channel])
    slices = {channel: len(pages[0]) for channel, pages in layout.pages.items()}
    if len(set(slices.values())) > 1:
        said = ", ".join(f"{layout.files[channel][0]} {count}" for channel, count in slices.items())
        raise MovieRefused(f"movie {layout.path}: its stacks have different numbers of Z slices: {said}; project them")
    for channel, pages in layout.pages.items():
        if len(pages) != layout.frames:
            raise MovieRefused(
                f"movie {layout.path}: {layout.files[channel][0]} has {len(pages)} frames, "
                f"{layout.files[segment_channel][0]} has {layout.frames}; copy them again, or pad the planes between "
                "with zeros"
            )


def _read_micromanager_folder(folder: str, described: Described) -> None:
    path = Path(folder, "metadata.txt")
    if not path.is_file():
        return
    try:
        add_micromanager_summary(json.loads(path.read_text(encoding="utf-8", errors="replace"))["Summary"], described)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        described.warnings.append(f"metadata.txt of Micro-Manager cannot be read: {type(error).__name__}: {error}")


def _arrange(
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
    slices = dict(order).get("Z", 1)
    if slices > 1 and z_projection == "none":
        raise MovieRefused(
            f"movie {path}: has {slices} Z slices a frame, {what}; choose what is made of them in config.yaml "
            "(inspect.z_projection: max, mean or focus), or project them first (Fiji: Image > Stacks > Z Project, all "
            "time frames)"
        )
    letters = "".join(letter for letter, _ in order)
    index = np.arange(len(described.pages)).reshape([size for _, size in order])
    missing = [letter for letter in "CTZ" if letter not in letters]
    index = index.reshape(*index.shape, *(1 for _ in missing))
    letters += "".join(missing)
    index = index.transpose([letters.index(letter) for letter in "CTZ"])
    return [[[described.pages[plane] for plane in frame] for frame in row] for row in index.tolist()]


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
