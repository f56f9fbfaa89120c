"""Where the planes of a movie are: in a stack, or in the files of a folder.

Where a frame has Z slices, a plane is their projection.
"""

import os
from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from cytolapse.axes import arrange, arrange_image, check_slices
from cytolapse.folders import lay_out_folder
from cytolapse.formats import describe, open_planes
from cytolapse.micromanager import read_micromanager_folder
from cytolapse.planes import Described, MovieRefused, Planes
from cytolapse.png import PngPlanes
from cytolapse.projections import project


@dataclass
class Layout:
    """Where the planes of a movie are, with the files that stay open.

    Attributes
    ----------
    pages : dict
        Channel to pages by frame and Z slice; None for a slice that was not
        acquired. Of a folder of images a page is a file's name with the page in
        it.
    planes_a_file : int
        Of a folder of images.
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
    files: dict[str, list[list[str | None]]] | None = None
    planes_a_file: int = 1
    slices: int = 1
    z_projection: str = "none"
    focus_slices: list[int] | None = None
    warnings: list[str] = field(default_factory=list)

    def read(self, frame: int, channel: str) -> np.ndarray | None:
        """One plane; None where the names or the metadata say that there is none.

        In focus is the slice of the frame that is nearest to the sharpest of
        the segmented channel, of those that this channel has.
        """
        if self.z_projection == "focus" and self.slices > 1:
            there = [z for z, page in enumerate(self.pages[channel][frame]) if page is not None]
            sharp = self.focus_slices[frame]
            return self.read_slice(frame, channel, min(there, key=lambda z: abs(z - sharp))) if there else None
        return project(
            (self.read_slice(frame, channel, z) for z in range(self.slices)),
            self.z_projection if self.slices > 1 else "max",
        )

    def read_slice(self, frame: int, channel: str, z: int) -> np.ndarray | None:
        """One Z slice; None where it was not acquired."""
        page = self.pages[channel][frame][z]
        if page is None:
            return None
        if self.stacks:
            return self.stacks[channel].read(page)
        name, number = page
        with open_planes(os.path.join(self.path, name)) as image:
            if image.count != self.planes_a_file:
                raise MovieRefused(
                    f"movie {image.path}: a file of one frame holds {image.count} planes, wanted {self.planes_a_file} "
                    "as in the others; copy or export it again, or take it out"
                )
            return image.read(number)

    def close(self) -> None:
        """Close the files that are open."""
        for stack in set(self.stacks.values()):
            stack.close()


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
    pages = arrange(path, described, planes.shape, info["axes"], channels, info["z_projection"])
    layout = Layout("stack", path, channels, len(pages[0]), described, warnings=described.warnings)
    _take_slices(layout, len(pages[0][0]), info)
    layout.stacks = dict.fromkeys(channels, planes)
    layout.pages = dict(zip(channels, pages, strict=True))
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
        found = lay_out_folder(path, channels, info["segment_channel"], info["position"])
        kind, files, time_h, warnings = found.kind, found.files, found.time_h, found.warnings
    else:
        kind, files, time_h, warnings = info["layout"], info["files"], None, []
    layout = Layout(kind, path, channels, 0, Described("plain", "", (), ()), files=files, warnings=warnings)
    if kind == "channel_stacks":
        _open_stacks(layout, info, on_error)
    else:
        _open_images(layout, info, time_h)
    return layout


def _open_images(layout: Layout, info: Mapping, time_h: Sequence[float] | None) -> None:
    """Find the pages of a folder of images by what the first file of the segmented channel is like."""
    path, files, channels = layout.path, layout.files, layout.channels
    first = next(name for frame in files[info["segment_channel"]] for name in frame if name)
    with open_planes(os.path.join(path, first)) as image:
        described, layout.planes_a_file = describe(image)[0], image.count
        held = channels if layout.kind == "frame_files" else [info["segment_channel"]]
        pages = arrange_image(image, described, info["axes"], held, info["z_projection"])
    layout.frames = len(files[info["segment_channel"]])
    named, inside = len(files[info["segment_channel"]][0]), len(pages[0])
    if min(named, inside) > 1:
        raise MovieRefused(
            f"movie {path}: has Z slices in the names ({named}) and in the files ({inside} in {first}); project those "
            "in the files first"
        )
    check_slices(path, max(named, inside), "by the names of the files", info["z_projection"])
    for number, channel in enumerate(channels):
        own = pages[number if layout.kind == "frame_files" else 0]
        layout.pages[channel] = [
            [None if name is None else (name, page) for name in frame for page in own] for frame in files[channel]
        ]
    _take_slices(layout, max(named, inside), info)
    # What single images say of time (an interval of 0, one time stamp) is not the movie's; their names may.
    described.time_h = {
        (frame, number): hours
        for number, channel in enumerate(channels)
        for frame, hours in enumerate(time_h or ())
        if any(files[channel][frame])
    }
    described.exposure_ms = {}
    read_micromanager_folder(path, channels, files, described)
    layout.warnings += described.warnings
    layout.described = described


def _open_stacks(layout: Layout, info: Mapping, on_error: ExitStack) -> None:
    axes = info["axes"].replace("C", "") if info["axes"] else None
    for channel in layout.channels:
        stack = open_planes(os.path.join(layout.path, layout.files[channel][0][0]))
        on_error.callback(stack.close)
        if isinstance(stack, PngPlanes):
            raise MovieRefused(f"movie {stack.path}: is one PNG image; a channel needs a file a frame, or a TIFF stack")
        described = _described(stack, None)
        arranged = arrange(stack.path, described, stack.shape, axes, [channel], info["z_projection"])
        (layout.pages[channel],) = arranged
        layout.stacks[channel] = stack
        if channel == info["segment_channel"]:
            layout.described = described
            layout.warnings += described.warnings
    _check_equal_stacks(layout, info["segment_channel"])
    _take_slices(layout, len(layout.pages[info["segment_channel"]][0]), info)


def _check_equal_stacks(layout: Layout, segment_channel: str) -> None:
    layout.frames = len(layout.pages[segment_channel])
    slices = {channel: len(pages[0]) for channel, pages in layout.pages.items()}
    if len(set(slices.values())) > 1:
        said = ", ".join(f"{layout.files[channel][0][0]} {count}" for channel, count in slices.items())
        raise MovieRefused(f"movie {layout.path}: its stacks have different numbers of Z slices: {said}; project them")
    for channel, pages in layout.pages.items():
        if len(pages) != layout.frames:
            raise MovieRefused(
                f"movie {layout.path}: {layout.files[channel][0][0]} has {len(pages)} frames, "
                f"{layout.files[segment_channel][0][0]} has {layout.frames}; copy them again, or pad the planes "
                "between with zeros"
            )
