"""A folder as a movie: file names <-> frames and channels."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise

from cytolapse.planes import MovieIncomplete, MovieRefused, access_failed

IMAGE_ENDINGS = (".tif", ".tiff", ".png")

# Frames that a message names.
_NAMED = 10
_NUMBER = re.compile(r"\d+")
_TIME_WORDS = {"t", "time", "frame", "fr", "tp"}
_OTHER_AXES = {
    "z": "Z slices",
    "slice": "Z slices",
    "s": "positions",
    "p": "positions",
    "pos": "positions",
    "position": "positions",
    "xy": "positions",
    "c": "channels",
    "ch": "channels",
    "channel": "channels",
    "w": "channels",
}


@dataclass
class FolderLayout:
    """Which file of a folder holds what.

    Attributes
    ----------
    kind : str
        frame_files (a file a frame, with a page for each channel where there
        are several), channel_files (a file a frame and channel) or
        channel_stacks (one stack a channel).
    files : dict
        Channel to file names by frame, None where there is none; of a stack
        the one name.
    warnings : list of str
    """

    kind: str
    files: dict[str, list[str | None]]
    warnings: list[str] = field(default_factory=list)


def list_images(folder: str | os.PathLike) -> list[str]:
    """Names of the images in a folder, hidden files left out, in natural order.

    A link that leads nowhere counts: left out, a movie would lack its frame and nobody would know.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and _is_file(entry)]
    return sorted((name for name in names if name.lower().endswith(IMAGE_ENDINGS)), key=natural_key)


def _is_file(entry: os.DirEntry) -> bool:
    return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key by which t2 comes before t10."""
    return [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in re.split(r"([0-9]+)", text)]


def lay_out_folder(folder: str, channels: Sequence[str], segment_channel: str) -> FolderLayout:
    """Find frame and channel of every image in a folder, by the names alone.

    A channel is found by its name, set off by anything but letters from the
    rest of the file's name; the frame is the number that changes. Planes that
    are missing in equal steps were not acquired.

    Raises
    ------
    MovieRefused
        If the folder cannot be read, there is no image, no file for a channel, a frame number is missing
        or there twice, or names follow more than one pattern.
    """
    try:
        names = list_images(folder)
    except OSError as error:
        raise access_failed(f"movie {folder}", error) from error
    if not names:
        raise MovieRefused(
            f"movie {folder}: is a folder without images; wanted files that end in {', '.join(IMAGE_ENDINGS)}"
        )
    of_channel, strangers = _by_channel(folder, names, channels)
    if not any(of_channel.values()):
        if len(names) == len(channels) == 1:
            return FolderLayout(_kind_of_single_files(names), {channels[0]: names})
        return _file_a_frame(folder, names, channels)
    empty = [channel for channel in channels if not of_channel[channel]]
    if empty:
        raise MovieRefused(
            f"movie {folder}: no file name holds the channel {empty[0]!r} (there are {_some(names)}); "
            "name the channels in config/experiments.tsv as the files do"
        )
    warnings = _stranger_warning(strangers)
    if all(len(files) == 1 for files in of_channel.values()):
        return FolderLayout(_kind_of_single_files(names), dict(of_channel), warnings)
    numbered = {}
    for channel, files in of_channel.items():
        pattern = _channel_pattern(channel)
        stems = {name: pattern.sub("\0", os.path.splitext(name)[0], count=1) for name in files}
        numbered[channel], ignored = _frame_numbers(folder, stems, f" of channel {channel!r}")
        warnings += _stranger_warning(ignored)
    return _align(folder, numbered, segment_channel, warnings)


def _kind_of_single_files(names: Sequence[str]) -> str:
    """Of one file a channel: a PNG is one frame, a TIFF may be a stack."""
    return "channel_files" if all(name.lower().endswith(".png") for name in names) else "channel_stacks"


def _file_a_frame(folder: str, names: list[str], channels: Sequence[str]) -> FolderLayout:
    numbers, ignored = _frame_numbers(folder, {name: os.path.splitext(name)[0] for name in names}, "")
    layout = _align(folder, {channels[0]: numbers}, channels[0], _stranger_warning(ignored))
    files = layout.files[channels[0]]
    return FolderLayout("frame_files", {channel: files for channel in channels}, layout.warnings)


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _stranger_warning(strangers: Sequence[str]) -> list[str]:
    return [f"images that belong to no channel were left out: {_some(strangers)}"] if strangers else []


def _channel_pattern(channel: str) -> re.Pattern:
    """The channel's name, not inside of a longer word; a number may touch letters and letters a number."""
    before = r"(?<![A-Za-z])" if channel[0].isalpha() else r"(?<![0-9])" if channel[0].isdigit() else ""
    after = r"(?![A-Za-z])" if channel[-1].isalpha() else r"(?![0-9])" if channel[-1].isdigit() else ""
    return re.compile(before + re.escape(channel) + after, re.IGNORECASE)


def _by_channel(folder: str, names: Sequence[str], channels: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    patterns = {channel: _channel_pattern(channel) for channel in channels}
    of_channel: dict[str, list[str]] = {channel: [] for channel in channels}
    strangers = []
    for name in names:
        stem = os.path.splitext(name)[0]
        found = [channel for channel in channels if patterns[channel].search(stem)]
        longest = [channel for channel in found if len(channel) == max(map(len, found))]
        if len(longest) > 1:
            raise MovieRefused(
                f"movie {folder}: the name {name} holds two channels, {longest[0]!r} and {longest[1]!r}; "
                "rename the files"
            )
        if longest:
            of_channel[longest[0]].append(name)
        else:
            strangers.append(name)
    return of_channel, strangers


def _frame_numbers(folder: str, stems: dict[str, str], whose: str) -> tuple[dict[int, str], list[str]]:
    """Frame number -> file name, and the files without a number, which are none of the movie's."""
    patterns: dict[str, list[str]] = {}
    ignored = []
    for name, stem in stems.items():
        if _NUMBER.search(stem):
            patterns.setdefault(_NUMBER.sub("#", stem), []).append(name)
        else:
            ignored.append(name)
    if not patterns and len(stems) == 1:
        return {0: ignored[0]}, []
    if len(patterns) != 1:
        examples = [names[0] for names in patterns.values()] or ignored
        finding = "follow more than one pattern" if patterns else "hold no number of a frame"
        raise MovieRefused(
            f"movie {folder}: the file names{whose} {finding} ({_some(examples)}); a movie is one folder with one "
            "pattern: name the channels in config/experiments.tsv as the files do, and move other images out"
        )
    (names,) = patterns.values()
    rows = [[int(number) for number in _NUMBER.findall(stems[name])] for name in names]
    place = _frame_place(folder, rows, stems[names[0]], whose)
    numbered: dict[int, str] = {}
    for name, row in zip(names, rows, strict=True):
        if row[place] in numbered:
            raise MovieRefused(
                f"movie {folder}: frame {row[place]}{whose} is there twice, {numbered[row[place]]} and {name}; "
                "move one of them out"
            )
        numbered[row[place]] = name
    return dict(sorted(numbered.items())), ignored


def _frame_place(folder: str, rows: list[list[int]], stem: str, whose: str) -> int:
    """Which number in the names is the frame's: the one that changes."""
    changing = [place for place in range(len(rows[0])) if len({row[place] for row in rows}) > 1]
    words = [word.lower() for word in re.findall(r"([A-Za-z]*)[^A-Za-z0-9]*\d+", stem)]
    if not changing:
        return next((place for place, word in enumerate(words) if word in _TIME_WORDS), 0)
    if len(changing) == 1:
        return changing[0]
    for place in changing:
        if words[place] in _OTHER_AXES and len({tuple(row[:place] + row[place + 1 :]) for row in rows}) < len(rows):
            what = _OTHER_AXES[words[place]]
            remedy = {
                "Z slices": "project them first (Fiji: Image > Stacks > Z Project)",
                "positions": "put each position into a folder of its own",
                "channels": "name the channels in config/experiments.tsv as the files do (for example c1)",
            }[what]
            raise MovieRefused(f"movie {folder}: the files{whose} are of several {what}; {remedy}")
    # Numbers that change together (a counter beside a clock) name the same frames: the counter is it.
    unique = [place for place in changing if len({row[place] for row in rows}) == len(rows)]
    timed = [place for place in unique if words[place] in _TIME_WORDS]
    counted = [place for place in unique if max(r[place] for r in rows) - min(r[place] for r in rows) == len(rows) - 1]
    chosen = timed if len(timed) == 1 else counted
    if len(chosen) == 1:
        return chosen[0]
    raise MovieRefused(
        f"movie {folder}: {len(changing)} numbers change in the file names{whose} (as in "
        f"{stem.replace(chr(0), '...')}); put t before the frame's number, and each position into a folder of its own"
    )


def _align(folder: str, numbered: dict[str, dict[int, str]], segment_channel: str, warnings: list[str]) -> FolderLayout:
    """Put the files of every channel to the frames of the segmented one."""
    reference = numbered.get(segment_channel) or next(iter(numbered.values()))
    frames = list(reference)
    steps = {later - earlier for earlier, later in zip(frames, frames[1:], strict=False)}
    if len(steps) == 1 and len(frames) > 2 and steps != {1}:
        (step,) = steps
        warnings = [*warnings, f"frames are numbered in steps of {step} and were taken as consecutive"]
    elif steps - {1}:
        # A number may be a date: what is missing is counted, not listed.
        gaps = (number for last, number_after in pairwise(frames) for number in range(last + 1, number_after))
        missing = frames[-1] - frames[0] + 1 - len(frames)
        raise _hole(folder, list(islice(gaps, _NAMED)), missing, "")
    files: dict[str, list[str | None]] = {}
    for channel, of_number in numbered.items():
        extra = sorted(set(of_number) - set(frames))
        if extra:
            raise MovieRefused(
                f"movie {folder}: channel {channel!r} has files for the frames {_numbers(extra[:_NAMED], len(extra))}, "
                f"the segmented channel {segment_channel!r} has none there; copy them again, or wait until they are "
                "written"
            )
        files[channel] = [of_number.get(frame) for frame in frames]
        _check_regular(folder, channel, files[channel], frames)
    return FolderLayout("channel_files", files, warnings)


def _check_regular(folder: str, channel: str, files: list[str | None], frames: list[int]) -> None:
    there = [index for index, name in enumerate(files) if name is not None]
    if not is_regular(there, len(files)):
        missing = [frames[index] for index, name in enumerate(files) if name is None]
        raise _hole(folder, missing[:_NAMED], len(missing), f" of channel {channel!r}")


def is_regular(acquired: Sequence[int], frames: int) -> bool:
    """Whether planes were acquired at every n-th frame, from some frame on to the end; once counts at either end."""
    if len(acquired) < 2:
        return list(acquired) in ([0], [frames - 1])
    step = acquired[1] - acquired[0]
    steps = {later - earlier for earlier, later in zip(acquired, acquired[1:], strict=False)}
    return steps == {step} and acquired[-1] + step >= frames


def _hole(folder: str, first_missing: Sequence[int], missing: int, whose: str) -> MovieIncomplete:
    return MovieIncomplete(
        f"movie {folder}: the frames {_numbers(first_missing, missing)}{whose} are missing; copy them again, or wait "
        "until they are written; where they do not exist, renumber the files"
    )


def _numbers(first: Sequence[int], count: int) -> str:
    return ", ".join(map(str, first)) + (f" and {count - len(first)} more" if count > len(first) else "")
