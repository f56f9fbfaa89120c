"""A movie read through once: what it is, or why it cannot be processed."""

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cytolapse.axes import SHEET
from cytolapse.files import atomic_path
from cytolapse.folders import is_regular
from cytolapse.formats import FORMATS, UNREAD, format_of
from cytolapse.layouts import Layout, lay_out_movie
from cytolapse.planes import Described, MovieIncomplete, MovieRefused, access_failed
from cytolapse.projections import sharpest
from cytolapse.writing import unchanged

logger = logging.getLogger(__name__)


def inspect_movie(
    path: str | os.PathLike,
    *,
    position: int | str | None,
    axes: str | None,
    channels: Sequence[str],
    segment_channel: str,
    stated: Sequence[str],
    z_projection: str,
    on_bad_movie: str,
) -> dict:
    """Read a movie through once and say what it is, or why it cannot be processed.

    Parameters
    ----------
    path : path
        A file of one of the `formats`, or a folder of TIFF or PNG images.
    position : int, str or None
        Which position of a file that holds several; of a folder that does, what
        marks it in the names of its files.
    axes : str or None
        Axes as experiments.tsv states them, such as 'TCYX'; they win over the
        file's own.
    channels : sequence of str
        Names of the channels, in order.
    segment_channel : str
        The one that is segmented; it must have been acquired at every frame.
    stated : sequence of str
        Which of 'pixel_size_um' and 'frame_interval_min' experiments.tsv
        states, so that the file need not.
    z_projection : {'none', 'max', 'mean', 'focus'}
        What is made of several Z slices a frame; with 'none' such a movie is
        refused.
    on_bad_movie : {'continue', 'stop'}
        What to do with a movie that cannot be processed.

    Returns
    -------
    dict
        The content of movie.json: status 'ok' or 'refused' with the reason,
        shape, channels, times and scales as the file gives them, and which
        planes were acquired.

    Raises
    ------
    ValueError
        If the movie cannot be processed and `on_bad_movie` is 'stop'; the text
        is the reason.
    """
    info = {
        "status": "refused",
        "reason": None,
        "warnings": [],
        "path": str(path),
        "kind": "folder" if os.path.isdir(path) and format_of(path) is None else "file",
        "layout": None,
        "files": None,
        "axes": axes,
        "position": position,
        "z_projection": z_projection,
        "focus_slices": None,
        "frames": 0,
        "channels": list(channels),
        "segment_channel": segment_channel,
        "height_px": None,
        "width_px": None,
        "dtype": None,
        "pixel_size_um": None,
        "frame_interval_min": None,
        "time_h": None,
        "exposure_ms": dict.fromkeys(channels),
        "acquired": None,
        "saturation_au": None,
    }
    try:
        _check_request(str(path), axes, channels, segment_channel)
        with unchanged(path, position, channels):
            found = _found(info, stated)
        return {**info, **found, "status": "ok"}
    except MovieRefused as refusal:
        if on_bad_movie == "stop":
            raise
        logger.warning("refused: %s", refusal)
        return {**info, "reason": str(refusal)}


def _found(info: Mapping, stated: Sequence[str]) -> dict:
    """What reading all of a movie shows, by keys of movie.json."""
    layout = lay_out_movie(info)
    try:
        if layout.slices > 1 and info["z_projection"] == "focus":
            layout.focus_slices = _sharpest_slices(layout, info["segment_channel"])
        _compare_channels(layout)
        found = {**_scales(layout, info, stated), **_scan(layout, info)}
    finally:
        layout.close()
    return {**found, "focus_slices": layout.focus_slices, "warnings": layout.warnings}


def write_info(info: Mapping, path: str | os.PathLike) -> None:
    """Write what `inspect_movie` gave as movie.json."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")


def _check_request(path: str, axes: str | None, channels: Sequence[str], segment_channel: str) -> None:
    ending = next((end for end in UNREAD if path.lower().rstrip("/").endswith(end)), None)
    if ending is not None:
        raise MovieRefused(
            f"movie {path}: {UNREAD[ending]} is not read; export it as OME-TIFF "
            "(Fiji: Plugins > Bio-Formats > Bio-Formats Exporter; or bfconvert)"
        )
    _check_exists(path)
    if not os.path.isdir(path) and format_of(path) is None:
        known = ", ".join(f"{each.name} ({each.endings[0]})" for each in FORMATS)
        raise MovieRefused(
            f"movie {path}: is no movie that can be read, by the ending of its name; wanted {known}, or a folder of "
            "TIFF or PNG images"
        )
    if segment_channel not in channels:
        raise MovieRefused(
            f"movie {path}: the segmented channel {segment_channel!r} is none of its channels {', '.join(channels)}; "
            f"correct {SHEET} (columns segment_channel, channels)"
        )
    if axes is None:
        return
    if len(set(axes)) != len(axes) or not set(axes) <= set("TCZYX") or not axes.endswith("YX"):
        raise MovieRefused(
            f"movie {path}: axes are {axes!r} in {SHEET}; wanted letters of T, C, Y, X, each once, ending in YX, "
            "such as TYX or TCYX (column axes)"
        )
    if "T" not in axes:
        raise MovieRefused(
            f"movie {path}: axes are {axes!r} in {SHEET}, a movie needs a time axis T; a Z stack is not one: project "
            "it first (column axes)"
        )


def _check_exists(path: str) -> None:
    try:
        os.stat(path)
    except OSError as error:
        raise access_failed(f"movie {path}", error) from error


def _compare_channels(layout: Layout) -> None:
    """Say where the file names channels otherwise: in the log, and as a warning where a name of the sheet has moved.

    Names that the file does not know are the user's own.
    """
    named, channels = [name.lower() for name in layout.described.channel_names], layout.channels
    if layout.kind != "stack" or len(named) != len(channels) or named == [channel.lower() for channel in channels]:
        return
    said = (
        f"the file names its channels {', '.join(layout.described.channel_names)}, {SHEET} says "
        f"{', '.join(channels)}: the sheet was followed"
    )
    if any(channel.lower() in named and named[c] != channel.lower() for c, channel in enumerate(channels)):
        layout.warnings.append(said)
    else:
        logger.info("movie %s: %s", layout.path, said)


def _sharpest_slices(layout: Layout, segment_channel: str) -> list[int]:
    """The slice of each frame, the same for all channels, by the one that is segmented."""
    return [
        sharpest(layout.read_slice(frame, segment_channel, z) for z in range(layout.slices))
        for frame in range(layout.frames)
    ]


def _scan(layout: Layout, info: Mapping) -> dict:
    """Read every plane once: size, type, zeros, largest value."""
    looks = {channel: _look_at_channel(layout, channel) for channel in layout.channels}
    first = looks[layout.channels[0]]
    for channel, look in looks.items():
        if look.frame_type is not None and first.frame_type is not None and look.frame_type != first.frame_type:
            raise MovieRefused(
                f"movie {layout.path}: channel {channel!r} is {_said(look.frame_type)}, channel "
                f"{layout.channels[0]!r} is {_said(first.frame_type)}; save all channels in one size and type"
            )
    acquired = _acquired(layout, looks, info["segment_channel"])
    (height, width), dtype = looks[info["segment_channel"]].frame_type
    return {
        "layout": layout.kind,
        "files": layout.files,
        "frames": layout.frames,
        "height_px": height,
        "width_px": width,
        "dtype": dtype,
        "acquired": None if all(map(all, acquired.values())) else acquired,
        "saturation_au": _saturation(dtype, max(look.largest for look in looks.values()), layout),
    }


@dataclass
class _Look:
    """What reading all planes of a channel shows."""

    frame_type: tuple[tuple[int, int], str] | None = None
    absent: list[int] = field(default_factory=list)
    zero: list[int] = field(default_factory=list)
    largest: float = 0.0


def _said(frame_type: tuple[tuple[int, int], str]) -> str:
    (height, width), dtype = frame_type
    return f"{height} x {width} px {dtype}"


def _look_at_channel(layout: Layout, channel: str) -> _Look:
    look = _Look()
    for frame in range(layout.frames):
        plane = layout.read(frame, channel)
        if plane is None:
            look.absent.append(frame)
            continue
        frame_type = (plane.shape, plane.dtype.name)
        look.frame_type = look.frame_type or frame_type
        if frame_type != look.frame_type:
            raise MovieRefused(
                f"movie {layout.path}: frame {frame} of channel {channel!r} is {_said(frame_type)}, the first is "
                f"{_said(look.frame_type)}; a movie has one size and type: take the other frames out"
            )
        largest, smallest = float(plane.max()), float(plane.min())
        if not math.isfinite(largest) or not math.isfinite(smallest):
            raise MovieRefused(
                f"movie {layout.path}: frame {frame} of channel {channel!r} holds values that are no numbers (NaN or "
                "infinite); export it again as the camera gave it"
            )
        if largest == smallest == 0:
            look.zero.append(frame)
        look.largest = max(look.largest, largest)
    return look


def _acquired(layout: Layout, looks: Mapping[str, _Look], segment_channel: str) -> dict[str, list[bool]]:
    segmented = looks[segment_channel]
    if segmented.absent:
        raise MovieRefused(
            f"movie {layout.path}: the segmented channel {segment_channel!r} was not acquired at the frames "
            f"{_ranges(segmented.absent)}; segment a channel of every frame ({SHEET}, column segment_channel)"
        )
    if segmented.zero:
        raise MovieIncomplete(
            f"movie {layout.path}: the segmented channel {segment_channel!r} is all zeros at the frames "
            f"{_ranges(segmented.zero)} of {layout.frames}: the acquisition was stopped early, or the copy is not "
            "complete; copy it again, or save the frames there are as a movie of their own"
        )
    acquired = {}
    for channel, look in looks.items():
        without = {*look.absent, *look.zero}
        acquired[channel] = [frame not in without for frame in range(layout.frames)]
        there = [frame for frame in range(layout.frames) if frame not in without]
        if look.zero and not is_regular(there, layout.frames):
            layout.warnings.append(
                f"channel {channel!r} is all zeros at the frames {_ranges(look.zero)}, which follow no rhythm: taken "
                "as not acquired"
            )
    return acquired


def _ranges(frames: Sequence[int], most: int = 8) -> str:
    """Sorted frames in words: 0, 4 to 7, 9."""
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    words = [str(first) if first == last else f"{first} to {last}" for first, last in runs]
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def _saturation(dtype: str, largest: float, layout: Layout) -> float | None:
    """Largest value that the camera can give.

    A 12-bit camera in 16-bit files shows by a movie that ends exactly at 4095.
    """
    if dtype == "float32":
        return None
    full = {"uint8": 8, "uint16": 16}[dtype]
    stated = layout.described.significant_bits or full
    if 0 < stated < full and largest <= 2**stated - 1:
        return float(2**stated - 1)
    ceilings = [2**bits - 1 for bits in (10, 12, 14) if bits < full]
    return float(largest) if largest in ceilings else float(2**full - 1)


def _scales(layout: Layout, info: Mapping, stated: Sequence[str]) -> dict:
    """Pixel size, interval, times and exposures, as the file gives them."""
    described = layout.described
    number = list(layout.channels).index(info["segment_channel"]) if layout.kind != "channel_stacks" else 0
    time_h = _time_stamps(described, number, layout)
    interval_min = described.frame_interval_min
    if interval_min is None and time_h is not None and layout.frames > 1:
        interval_min = float(np.median(np.diff(time_h)) * 60)
    missing = {}
    if described.pixel_size_um is None and "pixel_size_um" not in stated:
        missing["pixel_size_um"] = "the size of a pixel"
    if interval_min is None and "frame_interval_min" not in stated and layout.frames > 1:
        missing["frame_interval_min"] = "the time between frames"
    if missing:
        raise _not_stated(layout, missing)
    exposure_ms = dict.fromkeys(layout.channels)
    if layout.kind != "channel_stacks":
        exposure_ms = {channel: described.exposure_ms.get(c) for c, channel in enumerate(layout.channels)}
    return {
        "pixel_size_um": described.pixel_size_um,
        "frame_interval_min": interval_min,
        "time_h": time_h,
        "exposure_ms": exposure_ms,
    }


def _not_stated(layout: Layout, missing: Mapping[str, str]) -> MovieRefused:
    """The refusal of a movie that lacks scales, by the columns that mend it."""
    noted = f" ({'; '.join(layout.described.warnings)})" if layout.described.warnings else ""
    state = "state it" if len(missing) == 1 else "state both"
    columns = f"column{'s' * (len(missing) > 1)} {' and '.join(missing)}"
    return MovieRefused(
        f"movie {layout.path}: does not say {' nor '.join(missing.values())}{noted}; {state} in {SHEET} ({columns})"
    )


def _time_stamps(described: Described, channel: int, layout: Layout) -> list[float] | None:
    stamps = [described.time_h.get((frame, channel)) for frame in range(layout.frames)]
    if all(stamp is None for stamp in stamps):
        return None
    if None in stamps or not np.all(np.diff(stamps) > 0):
        layout.warnings.append("time stamps are missing or do not rise: not used")
        return None
    return [stamp - stamps[0] for stamp in stamps]
