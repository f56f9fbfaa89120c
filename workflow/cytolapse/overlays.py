"""Pictures to check by eye: the outlines of the cells on the images, over time.

The colours follow the lineage: a founder and all its descendants share a hue,
sisters differ in lightness. The hues are those of Okabe and Ito (2008),
distinct for colour-blind readers too.
"""

import io
import json
import math
import os
import textwrap
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from cytolapse.files import atomic_path
from cytolapse.movies import StackReader, frame_times_h, open_movie
from cytolapse.movies import pixel_size_um as size_of_pixel_um
from cytolapse.tables import read_table

MONTAGE_WIDTH_PX = 1104
MONTAGE_ASPECT = 1.6
PANEL_GAP_PX = 12
CAPTION_PX = 24
LARGEST_ENLARGEMENT = 6.0
# A cell narrower than this on the page is all outline: rather a part of the frame, larger.
SMALLEST_CELL_PX = 16.0
LARGEST_FILE_BYTES = 600_000

HUES = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (30, 120, 220), (230, 95, 10), (214, 120, 176))
# Towards white (above 0) or black (below 0); a daughter's place is counted from her mother's.
SHADES = (0.0, 0.45, -0.22, 0.25)
UNTRACKED = (255, 255, 255)
GREYS = 96
# The picture's brightest grey, of 255: outlines must stand out on it.
BRIGHTEST = 205
# Where a dim cell (lower quartile) is to lie in the grey scale.
USUAL_CELL = 0.4
STRONGEST_GAMMA = 0.5


class Tone(NamedTuple):
    """From pixel values to greys, the same for all frames of a movie."""

    low: float
    high: float
    gamma: float


def draw_overlay(
    movie_json: str | os.PathLike,
    labels_path: str | os.PathLike,
    tracks_path: str | os.PathLike,
    lineage_path: str | os.PathLike,
    overlay_path: str | os.PathLike,
    *,
    frames: int,
    pixel_size_um: float | None,
    frame_interval_min: float | None,
) -> None:
    """Draw some frames of a movie with the outline of every cell, as one PNG.

    The grey scale is the same for all frames. Outlines are one pixel of the
    picture wide and drawn after scaling. Where cells would be too small to
    see, the same part of every frame is shown, the one with most cells, and
    the picture says so. Only the frames shown are read. The file stays below
    600 kB. A refused movie gets a picture of the reason.

    Parameters
    ----------
    movie_json : path
        What was found out about the movie.
    labels_path : path
        Label images of the movie, (t, y, x).
    tracks_path, lineage_path : path
        Tables `tracks` and `lineage` of the movie.
    overlay_path : path
        PNG to write.
    frames : int
        How many frames to show, evenly spaced over those acquired.
    pixel_size_um : float or None
        Side of a pixel where the sheet states it, for the scale bar.
    frame_interval_min : float or None
        Time between frames where the sheet states it.

    Raises
    ------
    ValueError
        If fewer than one frame is asked for, or the labels are of another
        size than the movie.
    """
    if frames < 1:
        raise ValueError(f"an overlay of {frames} frames was asked for; at least 1 is needed")
    info = json.loads(Path(movie_json).read_text())
    if info["status"] == "refused":
        png = _encode(_notice(f"Not processed: {info['reason']}"))
    else:
        shown = _frames_shown(info, frames)
        planes, labels = _read(info, labels_path, shown)
        colours = _colours(read_table("tracks", tracks_path), read_table("lineage", lineage_path))
        captions = _time_captions(frame_times_h(info, frame_interval_min), shown)
        scale_um = size_of_pixel_um(info, pixel_size_um)
        png = _montage_below(LARGEST_FILE_BYTES, planes, labels, shown, captions, colours, scale_um)
    with atomic_path(overlay_path) as temporary:
        temporary.write_bytes(png)


def lineage_shades(lineage: pd.DataFrame) -> dict[int, tuple[int, int]]:
    """Hue and lightness of every track, by its lineage.

    Parameters
    ----------
    lineage : DataFrame
        The table `lineage` of one movie.

    Returns
    -------
    dict of int to (int, int)
        Track to index into HUES, one a founder, and index into SHADES:
        different for sisters, and for a mother and her daughters.
    """
    shades: dict[int, tuple[int, int]] = {}
    founders = 0
    daughters: dict[int, int] = {}
    ordered = lineage.sort_values(["first_frame", "track"])
    for track, parent in zip(ordered["track"], ordered["parent"], strict=True):
        if pd.isna(parent) or int(parent) not in shades:
            shades[int(track)] = (founders % len(HUES), 0)
            founders += 1
            continue
        hue, shade = shades[int(parent)]
        rank = daughters.get(int(parent), 0)
        daughters[int(parent)] = rank + 1
        shades[int(track)] = (hue, (shade + 1 + rank % (len(SHADES) - 1)) % len(SHADES))
    return shades


def _frames_shown(info: dict, wanted: int) -> list[int]:
    acquired = (info.get("acquired") or {}).get(info["segment_channel"])
    there = np.arange(info["frames"]) if acquired is None else np.flatnonzero(acquired)
    places = np.linspace(0, len(there) - 1, min(wanted, len(there)))
    return [int(there[round(place)]) for place in places]


def _read(info: dict, labels_path: str | os.PathLike, shown: list[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    with open_movie(info) as movie:
        planes = [movie.read(frame, info["segment_channel"]) for frame in shown]
    with StackReader(labels_path) as stack:
        labels = [np.asarray(stack.read(frame)) for frame in shown]
    size = (info["height_px"], info["width_px"])
    for frame, plane in zip(shown, labels, strict=True):
        if plane.shape != size:
            raise ValueError(
                f"{labels_path}: frame {frame} is {plane.shape[0]} x {plane.shape[1]} px, "
                f"the movie {info['path']} is {size[0]} x {size[1]} px; label it again"
            )
    return planes, labels


def _colours(tracks: pd.DataFrame, lineage: pd.DataFrame) -> dict[int, np.ndarray]:
    """Per frame, the colour (from 1; 1 = no track) of every label."""
    shades = lineage_shades(lineage)
    place = {track: 2 + hue * len(SHADES) + shade for track, (hue, shade) in shades.items()}
    colours = {}
    for frame, rows in tracks.groupby("frame"):
        table = np.ones(int(rows["label"].max()) + 1, np.uint8)
        table[rows["label"].to_numpy(int)] = [place.get(int(track), 1) for track in rows["track"]]
        colours[int(frame)] = table
    return colours


def _time_captions(times_h: np.ndarray, shown: list[int]) -> list[str]:
    minutes = times_h[-1] < 2
    times = [f"{60 * times_h[frame]:.3g} min" if minutes else f"{times_h[frame]:.1f} h" for frame in shown]
    return [f"frame {frame} · {time}" for frame, time in zip(shown, times, strict=True)]


def _montage_below(largest_bytes, planes, labels, shown, captions, colours, scale_um) -> bytes:
    width = MONTAGE_WIDTH_PX
    while True:
        png = _encode(_montage(width, planes, labels, shown, captions, colours, scale_um))
        if len(png) <= largest_bytes or width < MONTAGE_WIDTH_PX / 4:
            return png
        # Bytes go as the area; a little further, so that one more try is enough.
        width = int(width * min(0.95, 0.97 * math.sqrt(largest_bytes / len(png))))


def _montage(width, planes, labels, shown, captions, colours, scale_um) -> Image.Image:
    columns, panel = _grid(len(planes), planes[0].shape, width)
    rows0, columns0, scale, shape = _window(labels, panel)
    planes_of_part = [plane[rows0, columns0] for plane in planes]
    labels_of_part = [label[rows0, columns0] for label in labels]
    tone = _tone(planes_of_part, labels_of_part)
    lines = math.ceil(len(planes) / columns)
    notes = _notes(shape, planes[0].shape, tone.gamma)
    grey = Image.new(
        "L",
        (
            columns * panel[1] + (columns - 1) * PANEL_GAP_PX,
            lines * (panel[0] + CAPTION_PX) + (lines - 1) * PANEL_GAP_PX + (CAPTION_PX if notes else 0),
        ),
        255,
    )
    coloured = np.zeros(grey.size[::-1], np.uint8)
    pen = ImageDraw.Draw(grey)
    for i, (plane, label, frame) in enumerate(zip(planes_of_part, labels_of_part, shown, strict=True)):
        top = (i // columns) * (panel[0] + CAPTION_PX + PANEL_GAP_PX) + CAPTION_PX
        left = (i % columns) * (panel[1] + PANEL_GAP_PX)
        grey.paste(_grey_panel(plane, tone, panel), (left, top))
        outline = _outline_panel(label, colours.get(frame), panel)
        coloured[top : top + panel[0], left : left + panel[1]] = outline
        cells = np.count_nonzero(np.bincount(labels[i].ravel())[1:])
        _caption(pen, left, top, panel[1], captions[i], cells)
    _scale_bar(pen, coloured, panel, scale, scale_um)
    pen.text((0, grey.size[1] - 4), notes, font=_font(12), fill=90, anchor="ls")
    return _indexed(grey, coloured)


def _grid(panels: int, shape: tuple[int, int], width: int) -> tuple[int, tuple[int, int]]:
    """Columns, and the (height, width) of a panel, for a montage near MONTAGE_ASPECT."""
    aspect = shape[1] / shape[0]

    def distance(columns: int) -> float:
        return abs(math.log(columns * aspect / math.ceil(panels / columns) / MONTAGE_ASPECT))

    columns = min(range(1, panels + 1), key=distance)
    panel_width = (width - (columns - 1) * PANEL_GAP_PX) / columns
    largest = LARGEST_ENLARGEMENT * shape[1]
    panel_width = max(1, min(panel_width, largest, 0.7 * width * aspect))
    return columns, (max(1, round(panel_width / aspect)), max(1, round(panel_width)))


def _window(labels: list[np.ndarray], panel: tuple[int, int]) -> tuple[slice, slice, float, tuple[int, int]]:
    """Rows and columns to show, the scale (picture px per movie px) and the size of the part."""
    height, width = labels[0].shape
    scale = panel[1] / width
    diameter = _median_diameter_px(labels)
    if diameter is None or diameter * scale >= SMALLEST_CELL_PX:
        return slice(0, height), slice(0, width), scale, (height, width)
    scale = max(scale, min(LARGEST_ENLARGEMENT, SMALLEST_CELL_PX / diameter))
    part = (min(height, max(1, round(panel[0] / scale))), min(width, max(1, round(panel[1] / scale))))
    top, left = _fullest_part(labels, part)
    return slice(top, top + part[0]), slice(left, left + part[1]), scale, part


def _median_diameter_px(labels: list[np.ndarray]) -> float | None:
    areas = np.concatenate([np.bincount(label.ravel())[1:] for label in labels])
    areas = areas[areas > 0]
    return 2 * math.sqrt(float(np.median(areas)) / math.pi) if len(areas) else None


def _fullest_part(labels: list[np.ndarray], part: tuple[int, int]) -> tuple[int, int]:
    """Top and left of the part of this size with most cell in it, over all frames."""
    covered = np.sum([label > 0 for label in labels], axis=0, dtype=np.int64)
    summed = np.pad(covered.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    height, width = part
    inside = summed[height:, width:] - summed[:-height, width:] - summed[height:, :-width] + summed[:-height, :-width]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(top), int(left)


def _tone(planes: list[np.ndarray], labels: list[np.ndarray]) -> Tone:
    """One grey scale for all frames; where cells shine on a dark ground, dim ones are lifted."""
    step = max(1, max(planes[0].shape) // 512)
    values = np.stack([plane[::step, ::step] for plane in planes]).astype(np.float32)
    inside = np.stack([label[::step, ::step] for label in labels]) > 0
    low, high = (float(limit) for limit in np.nanpercentile(values, (0.3, 99.8)))
    if high <= low:
        return Tone(low, low + 1, 1.0)
    if not inside.any() or inside.all():
        return Tone(low, high, 1.0)
    cell, ground = (np.nanpercentile(values[where], 25) for where in (inside, ~inside))
    usual = (cell - low) / (high - low)
    if cell <= ground or not 0 < usual < USUAL_CELL:
        return Tone(low, high, 1.0)
    return Tone(low, high, max(STRONGEST_GAMMA, round(math.log(USUAL_CELL) / math.log(usual), 1)))


def _notes(part: tuple[int, int], frame: tuple[int, int], gamma: float) -> str:
    notes = []
    if part != frame:
        notes.append(
            f"Part of each frame, {part[1]} x {part[0]} of {frame[1]} x {frame[0]} px; cells counted in all of it."
        )
    if gamma < 1:
        notes.append(f"Dim cells are lifted (gamma {gamma:g}).")
    return " ".join(notes)


def _grey_panel(plane: np.ndarray, tone: Tone, panel: tuple[int, int]) -> Image.Image:
    bright = np.clip((np.nan_to_num(plane.astype(np.float32)) - tone.low) / (tone.high - tone.low), 0, 1)
    kind = Image.Resampling.BICUBIC if panel[0] > plane.shape[0] else Image.Resampling.BOX
    scaled = np.asarray(Image.fromarray(bright.astype(np.float32)).resize(panel[::-1], kind))
    grey = BRIGHTEST * np.clip(scaled, 0, 1) ** tone.gamma
    return Image.fromarray(grey.round().astype(np.uint8))


def _outline_panel(label: np.ndarray, colour_of: np.ndarray | None, panel: tuple[int, int]) -> np.ndarray:
    """Colours (0 = none) of the outermost pixel of every cell, at the size of the panel."""
    rows = ((np.arange(panel[0]) + 0.5) * label.shape[0] / panel[0]).astype(int)
    columns = ((np.arange(panel[1]) + 0.5) * label.shape[1] / panel[1]).astype(int)
    scaled = label[rows[:, None], columns]
    inner = np.ones(scaled.shape, bool)
    inner[1:] &= scaled[1:] == scaled[:-1]
    inner[:-1] &= scaled[:-1] == scaled[1:]
    inner[:, 1:] &= scaled[:, 1:] == scaled[:, :-1]
    inner[:, :-1] &= scaled[:, :-1] == scaled[:, 1:]
    table = np.ones(int(label.max()) + 1, np.uint8)
    if colour_of is not None:
        known = min(len(table), len(colour_of))
        table[:known] = colour_of[:known]
    return np.where((scaled > 0) & ~inner, table[scaled], 0).astype(np.uint8)


def _font(size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size_px)


def _caption(pen: ImageDraw.ImageDraw, left: int, top: int, width: int, text: str, cells: int) -> None:
    font = _font(13)
    pen.text((left, top - 7), text, font=font, fill=20, anchor="ls")
    counted = f"{cells} cell" if cells == 1 else f"{cells} cells"
    if font.getlength(text) + font.getlength(counted) + 10 < width:
        pen.text((left + width, top - 7), counted, font=font, fill=90, anchor="rs")


def _scale_bar(pen, coloured: np.ndarray, panel: tuple[int, int], scale: float, scale_um: float) -> None:
    """A bar of a round length in the lower right corner of the first panel."""
    wanted_um = 0.25 * panel[1] / scale * scale_um
    power = 10.0 ** math.floor(math.log10(wanted_um))
    length_um = power * max(step for step in (1, 2, 5) if step * power <= wanted_um)
    length_px = round(length_um / scale_um * scale)
    right, bottom = panel[1] - 10, CAPTION_PX + panel[0] - 10
    text = f"{length_um:g} µm"
    wide = max(length_px, math.ceil(_font(12).getlength(text)))
    box = (right - wide - 6, bottom - 25, right + 6, bottom + 6)
    if box[0] < 0 or box[1] < CAPTION_PX:
        return
    pen.rectangle(box, fill=0)
    coloured[box[1] : box[3] + 1, box[0] : box[2] + 1] = 0
    middle = right - wide / 2
    pen.rectangle((middle - length_px / 2, bottom - 2, middle + length_px / 2 - 1, bottom + 1), fill=255)
    pen.text((middle, bottom - 8), text, font=_font(12), fill=255, anchor="ms")


def _indexed(grey: Image.Image, coloured: np.ndarray) -> Image.Image:
    """Greys and outlines in one palette: crisp, and a third of the bytes of true colour."""
    levels = (np.asarray(grey, np.uint16) * (GREYS - 1) + 127) // 255
    index = np.where(coloured > 0, GREYS - 1 + coloured, levels).astype(np.uint8)
    greys = [(round(255 * i / (GREYS - 1)),) * 3 for i in range(GREYS)]
    tints = [_shaded(hue, shade) for hue in HUES for shade in SHADES]
    picture = Image.frombytes("P", grey.size, index.tobytes())
    picture.putpalette([value for colour in [*greys, UNTRACKED, *tints] for value in colour])
    return picture


def _shaded(hue: tuple[int, int, int], shade: float) -> tuple[int, ...]:
    towards = 255 if shade > 0 else 0
    return tuple(round(value + (towards - value) * abs(shade)) for value in hue)


def _notice(text: str) -> Image.Image:
    lines = textwrap.wrap(text, 90) or [""]
    picture = Image.new("L", (760, 40 + 20 * len(lines)), 245)
    pen = ImageDraw.Draw(picture)
    for i, line in enumerate(lines):
        pen.text((20, 34 + 20 * i), line, font=_font(13), fill=30, anchor="ls")
    return picture


def _encode(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
