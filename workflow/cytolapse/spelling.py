"""Names of files as instruments write them, spelled in the words by which all names are read.

What is known of a single instrument stands here; `positions` and `folders` know
general words alone.
"""

import os
import re
from datetime import UTC, datetime

# What an instrument is known to mark a position by stands between these, which no name of a file holds.
POSITION_BEGINS, POSITION_ENDS = "\1", "\2"

CLOCK = "clock"
"""The word before the number of seconds that a time in a name becomes."""

_GUID = re.compile(r"[0-9A-F]{8}-(?:[0-9A-F]{4}-){3}[0-9A-F]{12}(?![0-9A-F])", re.IGNORECASE)
_WELL = r"(?<![A-Za-z0-9])([A-P][0-9]{1,2})"

_INSTRUMENTS = [
    (re.compile(written), spelled.replace("<", POSITION_BEGINS).replace(">", POSITION_ENDS))
    for written, spelled in (
        # Opera Phenix and Operetta: r01c01f01p01-ch1sk1fk1fl1
        (r"(r\d+c\d+f\d+)p(\d+)-(ch\d+)sk(\d+)(fk\d+)(fl\d+)", r"<\1>_z\2_\3_t\4_\5_\6"),
        # Yokogawa CV7000 and CV8000: plate_D02_T0001F001L01A01Z01C01
        (_WELL + r"_T(\d+)(F\d+)(L\d+A\d+)Z(\d+)(C\d+)", r"<\1_\3>_t\2_\4_z\5_\6"),
        # Yokogawa CV1000: W1_F001T0001Z01C1, W1F001T0001Z01C1
        (r"(?<![A-Za-z])(W\d+)_?(F\d+)T(\d+)Z(\d+)(C\d+)", r"<\1_\2>_t\3_z\4_\5"),
        # Incucyte: plate_B3_2_00d04h00m
        (_WELL + rf"_(\d+)_({CLOCK}\d+)", r"<\1_\2>_\3"),
        # Nikon JOBS: WellB02_PointB02_0001_ChannelGFP_Seq0003, WellB02_ChannelGFP_Seq0003xy1c1
        (r"Well([A-P]\d{1,2})_Point[A-P]\d{1,2}_(\d+)(?![0-9])", r"<\1_\2>"),
        (r"Well([A-P]\d{1,2})(?![0-9])", r"<\1>"),
        (r"(?<![A-Za-z])Channel(?=[A-Za-z]{2})", "Channel_"),
        # Leica's matrix screener: image--L0000--S00--U01--V02--J20--E00--O00--X00--Y01--T0003--Z02--C01
        (
            r"--(S\d+)--(U\d+)--(V\d+)--J(\d+)--E(\d+)--O(\d+)--(X\d+)--(Y\d+)--T(\d+)--Z(\d+)--(C\d+)",
            r"--<\1_\2_\3_\7_\8>--job\4--e\5--o\6--t\9--z\10--\11",
        ),
    )
]

_ELAPSED = re.compile(r"(?<![A-Za-z0-9])(?:(\d+)d)?(\d+)h(\d+)m(?:(\d+)s)?(?![A-Za-z0-9])")
_DATED = re.compile(r"(?<![A-Za-z0-9])(\d{4})y(\d{1,2})m(\d{1,2})d_?(\d{1,2})h(\d{1,2})m(?:(\d{1,2})s)?(?![A-Za-z0-9])")


def spell_out(name: str) -> str:
    """A file's name without its ending, spelled in general words.

    What marks a position stands between POSITION_BEGINS and POSITION_ENDS, a
    time (00d04h30m, 2024y03m01d_10h20m) is CLOCK and the number of seconds, and
    what MetaXpress adds to make names unique is left out.

    Examples
    --------
    >>> spell_out("scan_00d04h30m.tif")
    'scan_clock16200'
    """
    stem = _GUID.sub("", os.path.splitext(name)[0])
    stem = _DATED.sub(_dated, stem) if _DATED.search(stem) else _ELAPSED.sub(_elapsed, stem)
    for written, spelled in _INSTRUMENTS:
        stem = written.sub(spelled, stem, count=1)
    return stem


def is_thumbnail(name: str) -> bool:
    """Whether a file is the thumbnail that MetaXpress writes beside an image."""
    return "_thumb" in name.lower() and spell_out(name).lower().endswith("_thumb")


def clock_words(seconds: int) -> str:
    """A time that a name holds, in words: 1 d 4 h 30 min; with the date where it is one."""
    if seconds >= _FIRST_DATE_S:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    said = f"{days} d {hours} h {minutes} min"
    return f"{said} {seconds % 60} s" if seconds % 60 else said


# A thousand weeks: no movie is as long, and no date is as early.
_FIRST_DATE_S = 1000 * 7 * 86400


def _elapsed(match: re.Match) -> str:
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return f"{CLOCK}{((days * 24 + hours) * 60 + minutes) * 60 + seconds}"


def _dated(match: re.Match) -> str:
    try:
        date = datetime(*(int(part or 0) for part in match.groups()), tzinfo=UTC)
    except ValueError:
        return match[0]
    return f"{CLOCK}{int(date.timestamp())}"
