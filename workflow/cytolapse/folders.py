"""A folder as a movie: file names <-> frames and channels."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import NamedTuple

from cytolapse.planes import MovieIncomplete, MovieRefused, access_failed
from cytolapse.positions import IMAGE_ENDINGS, POSITION_WORDS, channel_pattern, list_images, split_positions
from cytolapse.spelling import CLOCK, clock_words, spell_out

# Frames that a message names.
_NAMED = 10
_NUMBER = re.compile(r"\d+")
_TIME_WORDS = {"t", "time", "timepoint", "tp", "frame", "fr", CLOCK}
_SLICE_WORDS = {"z", "slice", "zslice", "zstep", "plane"}
_OTHER_AXES = dict.fromkeys(POSITION_WORDS, "positions") | dict.fromkeys(("c", "ch", "channel", "w"), "channels")

# Micro-Manager's names: the first number counts frames, the last Z slices.
_MICROMANAGER = re.compile(r"img_\d{9}_.*_\d{3}", re.IGNORECASE)

# A name's frame and Z slice, as numbered there.
Place = tuple[int, int]


class _Numbered(NamedTuple):
    """Files of a channel by frame and slice; by the clock, the frames are seconds."""

    files: dict[Place, str]
    clock: bool

    def frames(self) -> list[int]:
        return sorted({frame for frame, _ in self.files})

    def said(self, frames: Sequence[int], count: int | None = None) -> str:
        """Frames in words, the first of `count`."""
        words = map(clock_words, frames) if self.clock else map(str, frames)
        more = (count or len(frames)) - len(frames)
        return ", ".join(words) + (f" and {more} more" if more > 0 else "")


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
        Channel to file names by frame and Z slice, None where there is none;
        of a stack the one name.
    time_h : list of float, or None
        Time of every frame since the first, where the names hold times.
    warnings : list of str
    """

    kind: str
    files: dict[str, list[list[str | None]]]
    time_h: list[float] | None = None
    warnings: list[str] = field(default_factory=list)


def lay_out_folder(
    folder: str, channels: Sequence[str], segment_channel: str, position: str | None = None
) -> FolderLayout:
    """Find frame, channel and Z slice of every image in a folder, by the names alone.

    A channel is found by its name, set off by anything but letters from the
    rest of the file's name; a Z slice is a number after z or slice that
    changes, or the last of Micro-Manager's; the frame is the other number that
    changes, or the time that a name holds (00d04h30m). A plane of a channel
    that is not segmented may be missing: it was not acquired, which is said
    where it follows no rhythm.

    Parameters
    ----------
    folder : str
    channels : sequence of str
    segment_channel : str
    position : str or None
        Which of `split_positions`, in a folder of several.

    Raises
    ------
    MovieRefused
        If the folder cannot be read, there is no image, no file for a channel,
        a frame number or a slice is missing or there twice, or names follow
        more than one pattern.
    """
    try:
        names = list_images(folder)
    except OSError as error:
        raise access_failed(f"movie {folder}", error) from error
    if not names:
        raise MovieRefused(
            f"movie {folder}: is a folder without images; wanted files that end in {', '.join(IMAGE_ENDINGS)}"
        )
    names, warnings = _names_of(folder, position, split_positions(names, channels))
    of_channel, strangers = _by_channel(folder, names, channels)
    if not any(of_channel.values()):
        if len(names) == len(channels) == 1:
            return FolderLayout(_kind_of_single_files(names), {channels[0]: [names]}, warnings=warnings)
        return _file_a_frame(folder, names, channels, warnings)
    empty = [channel for channel in channels if not of_channel[channel]]
    if empty:
        raise MovieRefused(
            f"movie {folder}: no file name holds the channel {empty[0]!r} (there are {_some(names)}); "
            "name the channels in config/experiments.tsv as the files do"
        )
    warnings += _stranger_warning(strangers, "channel")
    if all(len(files) == 1 for files in of_channel.values()):
        files = {channel: [files] for channel, files in of_channel.items()}
        return FolderLayout(_kind_of_single_files(names), files, warnings=warnings)
    numbered = {}
    for channel, files in of_channel.items():
        pattern = channel_pattern(channel)
        stems = {name: pattern.sub("\0", spell_out(name), count=1) for name in files}
        numbered[channel], ignored = _frame_numbers(folder, stems, f" of channel {channel!r}")
        warnings += _stranger_warning(ignored, "channel")
    return _align(folder, numbered, segment_channel, warnings)


def _names_of(folder: str, position: str | None, parted: Mapping[str | None, list[str]]) -> tuple[list[str], list[str]]:
    """Names of the files of a position, and a warning of what belongs to none."""
    several = [each for each in parted if each is not None]
    if position is None and len(several) == 1:
        position = several[0]
    if position in parted and (position is not None or not several):
        return parted[position], _stranger_warning(parted.get(None, []) if position else [], "position")
    if position is None:
        raise MovieRefused(
            f"movie {folder}: the files are of several positions ({_some(several)}); run again where some came during "
            "the run, else put each position into a folder of its own"
        )
    raise MovieRefused(
        f"movie {folder}: no file is of the position {position!r} any more (there are {_some(several) or 'none'}); "
        "copy them again, or run again"
    )


def _kind_of_single_files(names: Sequence[str]) -> str:
    """Of one file a channel: a PNG is one frame, a TIFF may be a stack."""
    return "channel_files" if all(name.lower().endswith(".png") for name in names) else "channel_stacks"


def _file_a_frame(folder: str, names: list[str], channels: Sequence[str], warnings: list[str]) -> FolderLayout:
    numbers, ignored = _frame_numbers(folder, {name: spell_out(name) for name in names}, "")
    warnings = [*warnings, *_stranger_warning(ignored, "channel")]
    layout = _align(folder, {channels[0]: numbers}, channels[0], warnings)
    files = layout.files[channels[0]]
    return FolderLayout("frame_files", {channel: files for channel in channels}, layout.time_h, layout.warnings)


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _stranger_warning(strangers: Sequence[str], what: str) -> list[str]:
    return [f"images that belong to no {what} were left out: {_some(strangers)}"] if strangers else []


def _by_channel(folder: str, names: Sequence[str], channels: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    patterns = {channel: channel_pattern(channel) for channel in channels}
    of_channel: dict[str, list[str]] = {channel: [] for channel in channels}
    strangers = []
    for name in names:
        stem = spell_out(name)
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


def _frame_numbers(folder: str, stems: dict[str, str], whose: str) -> tuple[_Numbered, list[str]]:
    """The files by frame and slice, and those without a number, which are none of the movie's."""
    patterns: dict[str, list[str]] = {}
    ignored = []
    for name, stem in stems.items():
        if _NUMBER.search(stem):
            patterns.setdefault(_NUMBER.sub("#", stem), []).append(name)
        else:
            ignored.append(name)
    if not patterns and len(stems) == 1:
        return _Numbered({(0, 0): ignored[0]}, clock=False), []
    if len(patterns) != 1:
        examples = [names[0] for names in patterns.values()] or ignored
        finding = "follow more than one pattern" if patterns else "hold no number of a frame"
        raise MovieRefused(
            f"movie {folder}: the file names{whose} {finding} ({_some(examples)}); a movie is one folder with one "
            "pattern: name the channels in config/experiments.tsv as the files do, and move other images out"
        )
    (names,) = patterns.values()
    rows = [[int(number) for number in _NUMBER.findall(stems[name])] for name in names]
    words = _words(stems[names[0]])
    micromanager = _MICROMANAGER.fullmatch(stems[names[0]]) is not None
    where = f"movie {folder}: the files{whose}", f"(as in {names[0]})"
    slices = _slice_place(where, rows, words, micromanager)
    time = _frame_place(where, rows, slices, words)
    numbered = _Numbered({}, clock=words[time] == CLOCK)
    for name, row in zip(names, rows, strict=True):
        place = (row[time], 0 if slices is None else row[slices])
        if place in numbered.files:
            of_slice = "" if slices is None else f", slice {place[1]}"
            raise MovieRefused(
                f"movie {folder}: frame {numbered.said(place[:1])}{of_slice}{whose} is there twice, "
                f"{numbered.files[place]} and {name}; move one of them out"
            )
        numbered.files[place] = name
    return _Numbered(dict(sorted(numbered.files.items())), numbered.clock), ignored


def _words(stem: str) -> list[str]:
    """The letters before every number of a name, in lower case."""
    return [word.lower() for word in re.findall(r"([A-Za-z]*)[^A-Za-z0-9]*\d+", stem)]


def _changing(rows: Sequence[Sequence[int]]) -> list[int]:
    return [place for place in range(len(rows[0])) if len({row[place] for row in rows}) > 1]


def _slice_place(where: tuple[str, str], rows: list[list[int]], words: list[str], micromanager: bool) -> int | None:
    """Which number in the names is the Z slice's; None where there is one slice."""
    changing = _changing(rows)
    if micromanager:
        return len(words) - 1 if len(words) - 1 in changing else None
    sliced = [place for place in changing if words[place] in _SLICE_WORDS]
    if not sliced:
        return None
    if changing == sliced[:1] and not _TIME_WORDS & set(words):
        if words[sliced[0]] != "z":
            return None
        raise MovieRefused(
            f"{where[0]} are Z slices without a number of a frame {where[1]}: one Z stack is no movie; where the "
            "numbers count frames, write t for z"
        )
    return sliced[0]


def _frame_place(where: tuple[str, str], rows: list[list[int]], slices: int | None, words: list[str]) -> int:
    """Which number in the names is the frame's: the one that changes beside that of the slice."""
    changing = [place for place in _changing(rows) if place != slices]
    if not changing:
        others = [place for place in range(len(words)) if place != slices]
        return next((place for place in others if words[place] in _TIME_WORDS), others[0])
    if len(changing) == 1 and slices is None:
        return changing[0]
    frames = sorted({tuple(number for place, number in enumerate(row) if place != slices) for row in rows})
    without = {place: place - (slices is not None and place > slices) for place in changing}
    for place in changing:
        others = {row[: without[place]] + row[without[place] + 1 :] for row in frames}
        if words[place] in _OTHER_AXES and len(others) < len(frames):
            what = _OTHER_AXES[words[place]]
            remedy = {
                "positions": "put each position into a folder of its own, or t before the number of the frame",
                "channels": "name the channels in config/experiments.tsv as the files do (for example c1)",
            }[what]
            raise MovieRefused(f"{where[0]} are of several {what} {where[1]}; {remedy}")
    if len(changing) == 1:
        return changing[0]
    # Numbers that change together (a counter beside a clock) name the same frames: the time is it, else the counter.
    of = {place: [row[without[place]] for row in frames] for place in changing}
    unique = [place for place in changing if len(set(of[place])) == len(frames)]
    clocks = [place for place in unique if words[place] == CLOCK]
    timed = [place for place in unique if words[place] in _TIME_WORDS]
    counted = [place for place in unique if max(of[place]) - min(of[place]) == len(frames) - 1]
    # A folder of a frame may say what the names in it say again.
    same = timed[-1:] if all(of[place] == of[timed[0]] for place in timed) else timed
    for chosen in (clocks, same, counted):
        if len(chosen) == 1:
            return chosen[0]
    raise MovieRefused(
        f"{where[0]} have {len(changing)} numbers that change in their names {where[1]}; put t before the frame's "
        "number and pos before the position's, or each position into a folder of its own"
    )


def _align(folder: str, numbered: dict[str, _Numbered], segment_channel: str, warnings: list[str]) -> FolderLayout:
    """Put the files of every channel to the frames of the segmented one."""
    reference = numbered.get(segment_channel) or next(iter(numbered.values()))
    frames = reference.frames()
    warnings = [*warnings, *_gaps(folder, reference)]
    slices = sorted({z for of_channel in numbered.values() for _, z in of_channel.files})
    files: dict[str, list[list[str | None]]] = {}
    for channel, of_channel in numbered.items():
        there = set(of_channel.frames())
        extra = sorted(there - set(frames))
        if extra:
            raise MovieRefused(
                f"movie {folder}: channel {channel!r} has files for the frames "
                f"{of_channel.said(extra[:_NAMED], len(extra))}, the segmented channel {segment_channel!r} has none "
                "there; copy them again, or wait until they are written"
            )
        _check_slices(folder, channel, of_channel)
        files[channel] = [[of_channel.files.get((frame, z)) for z in slices] for frame in frames]
        missing = sorted(set(frames) - there)
        if not is_regular([index for index, frame in enumerate(frames) if frame in there], len(frames)):
            warnings.append(
                f"channel {channel!r} has no file of the frames numbered "
                f"{reference.said(missing[:_NAMED], len(missing))}, which follow no rhythm: taken as not acquired"
            )
    time_h = [(frame - frames[0]) / 3600 for frame in frames] if reference.clock else None
    return FolderLayout("channel_files", files, time_h, warnings)


def _gaps(folder: str, numbered: _Numbered) -> list[str]:
    """What is to be said where frames do not follow each other; frames with a hole between them are refused.

    Times may be uneven, and are believed.
    """
    frames = numbered.frames()
    steps = {later - earlier for earlier, later in pairwise(frames)}
    if numbered.clock:
        if len(steps) < 2:
            return []
        return [
            f"the times in the names are uneven, {min(steps) / 60:g} to {max(steps) / 60:g} min apart: taken as they "
            "are; where files are missing, copy them again"
        ]
    if len(steps) == 1 and len(frames) > 2 and steps != {1}:
        (step,) = steps
        return [f"frames are numbered in steps of {step} and were taken as consecutive"]
    if steps - {1}:
        # A number may be a date: what is missing is counted, not listed.
        gaps = (number for last, number_after in pairwise(frames) for number in range(last + 1, number_after))
        missing = frames[-1] - frames[0] + 1 - len(frames)
        raise MovieIncomplete(
            f"movie {folder}: the frames {numbered.said(list(islice(gaps, _NAMED)), missing)} are missing; copy them "
            "again, or wait until they are written; where they do not exist, renumber the files"
        )
    return []


def _check_slices(folder: str, channel: str, numbered: _Numbered) -> None:
    """Every frame of a channel has the same slices."""
    slices = sorted({z for _, z in numbered.files})
    places = ((frame, z) for frame in numbered.frames() for z in slices)
    missing = next((place for place in places if place not in numbered.files), None)
    if missing is not None:
        raise MovieIncomplete(
            f"movie {folder}: slice {missing[1]} of frame {numbered.said(missing[:1])} of channel {channel!r} is "
            "missing; copy the files again, or wait until they are written"
        )


def is_regular(acquired: Sequence[int], frames: int) -> bool:
    """Whether planes were acquired at every n-th frame, from some frame on to the end; once counts at either end."""
    if len(acquired) < 2:
        return list(acquired) in ([0], [frames - 1])
    step = acquired[1] - acquired[0]
    steps = {later - earlier for earlier, later in zip(acquired, acquired[1:], strict=False)}
    return steps == {step} and acquired[-1] + step >= frames
