"""What Micro-Manager notes: the summary of an acquisition, and metadata.txt beside the images of a folder."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from cytolapse.planes import Described
from cytolapse.scales import positive


def add_micromanager_summary(summary: Mapping, described: Described) -> None:
    """Fill what is not known yet from the summary that Micro-Manager writes."""
    interval_ms = positive(summary.get("Interval_ms") or summary.get("WaitInterval"))
    described.pixel_size_um = described.pixel_size_um or positive(
        summary.get("PixelSize_um") or summary.get("PixelSizeUm")
    )
    if described.frame_interval_min is None and interval_ms is not None:
        described.frame_interval_min = interval_ms / 60000
    names = summary.get("ChNames")
    if not described.channel_names and isinstance(names, list):
        described.channel_names = [str(name) for name in names]


def read_micromanager_folder(
    folder: str, channels: Sequence[str], files: Mapping[str, Sequence[Sequence[str | None]]], described: Described
) -> None:
    """Fill what is not known yet from metadata.txt, where there is one.

    Besides the summary these are times and exposures of the images by their
    names, as elapsed since the acquisition began.

    Parameters
    ----------
    folder : str
    channels : sequence of str
    files : mapping
        Channel to file names by frame and Z slice.
    described : Described
        Filled in place; what cannot be read becomes a warning.
    """
    path = Path(folder, "metadata.txt")
    if not path.is_file():
        return
    try:
        noted = json.loads(path.read_text(encoding="utf-8", errors="replace"))
        add_micromanager_summary(noted["Summary"], described)
        images = {_image_name(key, entry): entry for key, entry in noted.items() if isinstance(entry, Mapping)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        described.warnings.append(f"metadata.txt of Micro-Manager cannot be read: {type(error).__name__}: {error}")
        return
    for number, channel in enumerate(channels):
        for frame, names in enumerate(files[channel]):
            entry = next((images[name] for name in names if name in images), {})
            elapsed_ms = _number(entry, "ElapsedTime-ms", "ElapsedTimeMs")
            exposure_ms = positive(_number(entry, "Exposure-ms", "Exposure"))
            if elapsed_ms is not None:
                described.time_h[frame, number] = elapsed_ms / 3.6e6
            if exposure_ms is not None:
                described.exposure_ms.setdefault(number, exposure_ms)


def _image_name(key: str, entry: Mapping) -> str:
    """The file that an entry is of: as it says, or as its key does."""
    name = entry.get("FileName") or key.removeprefix("Metadata-")
    return str(name).rsplit("/", 1)[-1]


def _number(entry: Mapping, *keys: str) -> float | None:
    value = next((entry[key] for key in keys if key in entry), None)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
