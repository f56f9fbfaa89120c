"""Dark and flat-field images: camera counts -> light that is even over the field."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cytolapse.illumination import background_of_frame, surroundings
from cytolapse.movies import StackReader, open_movie, write_stack
from cytolapse.tiff import TiffPlanes

logger = logging.getLogger(__name__)

# Light is smooth: an estimated flat field is a polynomial of this degree in y and x.
_DEGREE = 4
# It is fitted to the means of so many blocks a side.
_BLOCKS = 32
# An estimate that is off by more than this would make the light no more even.
_MOST_ERROR = 0.02
# A flat field below this part of its mean is no light, but a vignette or a wrong file.
_LEAST_GAIN = 0.05


class Shading(NamedTuple):
    """How a camera and its light change what is seen in one channel.

    Attributes
    ----------
    dark_au : float32 array of shape (y, x), or float
        What a pixel reads without light.
    gain : float32 array of shape (y, x), or float
        Light on a pixel over that on the mean one.
    """

    dark_au: np.ndarray | float
    gain: np.ndarray | float

    def correct(self, plane: np.ndarray) -> np.ndarray:
        """The plane as an even light and a camera without offset would show it, float32."""
        return ((plane.astype(np.float32) - self.dark_au) / self.gain).astype(np.float32, copy=False)


def read_mean_image(path: str | os.PathLike, what: str, shape: tuple[int, int]) -> np.ndarray:
    """The mean of the planes of a TIFF file, float32.

    Parameters
    ----------
    path : path
        An image, or a stack of images of the same.
    what : str
        What it is, for messages: 'flat field', ...
    shape : tuple of int
        (y, x) of the movie.

    Raises
    ------
    ValueError
        If it cannot be read, or has another size than the movie.
    """
    with TiffPlanes(path, what=what) as planes:
        if tuple(planes.shape) != tuple(shape):
            raise ValueError(
                f"{what} {path}: is {planes.shape[0]} x {planes.shape[1]} pixels, the movie {shape[0]} x {shape[1]}; "
                "take it with the same camera settings, or crop and bin it alike"
            )
        total = np.zeros(shape, np.float64)
        for index in range(planes.count):
            total += planes.read(index)
        return (total / planes.count).astype(np.float32)


def read_shading(
    channel: str,
    shape: tuple[int, int],
    *,
    dark: Mapping[str, str | float],
    flat_field: Mapping[str, str],
) -> Shading | None:
    """The shading of one channel, as given; None where nothing is.

    Parameters
    ----------
    channel : str
    shape : tuple of int
        (y, x) of the movie.
    dark : mapping of str to str or float
        By channel, the file of an image taken without light, or the camera's
        offset in counts.
    flat_field : mapping of str to str
        By channel, the file of an image of an even light. The dark image is
        taken off it first.

    Raises
    ------
    ValueError
        If a file cannot be read, has another size, or a flat field holds
        pixels without light.
    """
    if channel not in dark and channel not in flat_field:
        return None
    given = dark.get(channel, 0.0)
    dark_au = read_mean_image(given, "dark image", shape) if isinstance(given, str) else float(given)
    if channel not in flat_field:
        return Shading(dark_au, 1.0)
    light = read_mean_image(flat_field[channel], "flat field", shape) - dark_au
    mean = float(light.mean())
    if mean <= 0:
        raise ValueError(
            f"flat field {flat_field[channel]}: its mean is not above the dark image of {channel}; were the two "
            "swapped?"
        )
    gain = light / np.float32(mean)
    without = int(np.sum(gain < _LEAST_GAIN))
    if without:
        raise ValueError(
            f"flat field {flat_field[channel]}: {without} pixels hold less than {_LEAST_GAIN:.0%} of its mean light; "
            "take it of an even light that fills the field, or crop the movies to where there is light"
        )
    return Shading(dark_au, gain)


def estimate_flat_field(
    movie_jsons: Sequence[str | os.PathLike],
    labels_paths: Sequence[str | os.PathLike],
    flat_path: str | os.PathLike,
    *,
    channel: str,
    dark: Mapping[str, str | float],
    ring_gap_px: int,
    frames: int,
) -> None:
    """Write the flat field of a channel, from what lies between the cells of many movies.

    Each plane's pixels outside of cells, over that plane's background, are
    averaged over all movies, and a polynomial of fourth degree is laid through
    them. The medium must shine by itself in
    this channel, and the dark image be right: an offset that is taken for light
    makes the field look more even than it is. Light that cells throw far into
    their surroundings is *not* told from shading, unless cells lie everywhere
    alike. Where the light is dim, take an image of a fluorescent slide instead.

    Parameters
    ----------
    movie_jsons, labels_paths : sequence of path
        movie.json and labels.tif of each movie; refused movies are left out.
    flat_path : path
        TIFF to write, float32: the medium as the camera would see it without
        cells, dark image included, so that it is named like any other flat field.
    channel : str
    dark : mapping
        As in `read_shading`.
    ring_gap_px : int
        Pixels this near to a cell are left out.
    frames : int
        Planes of each movie that are looked at, evenly spaced.

    Raises
    ------
    ValueError
        If a movie lacks the channel, movies differ in size, there is no background above the dark image,
        or so little light that the estimate would be off by more than 2 %.
    """
    total = count = None
    noise, levels_au, pixel_um, dark_au = [], [], None, 0.0
    for movie_json, labels_path in zip(movie_jsons, labels_paths, strict=True):
        info = json.loads(Path(movie_json).read_text())
        if info["status"] == "refused":
            continue
        with open_movie(info) as movie, StackReader(labels_path) as stack:
            if channel not in movie.channels:
                raise ValueError(f"{info['path']}: has no channel {channel!r}; there are {', '.join(movie.channels)}")
            if total is None:
                total, count, pixel_um = np.zeros(movie.shape), np.zeros(movie.shape), info["pixel_size_um"]
            if total.shape != movie.shape:
                raise ValueError(
                    f"flat field of {channel}: {info['path']} has frames of {movie.shape[0]} x {movie.shape[1]} "
                    f"pixels, movies before it of {total.shape[0]} x {total.shape[1]}; estimate one for each size"
                )
            shading = read_shading(channel, movie.shape, dark=dark, flat_field={}) or Shading(0.0, 1.0)
            for frame in np.unique(np.linspace(0, movie.frames - 1, frames).astype(int)):
                plane = movie.read(int(frame), channel)
                if plane is None:
                    continue
                light, dark_au = shading.correct(plane), shading.dark_au
                around = surroundings(stack.read(int(frame)), ring_gap_px=ring_gap_px, ring_px=1, spread_px=0)
                outside = background_of_frame(light, around)
                if not outside.value_au > 0:
                    continue
                # cells that were not found, and hot pixels, are no background
                value = light.ravel()[around.outside]
                near = np.abs(value - outside.value_au) < 3 * np.hypot(outside.sd_au, outside.value_au / 2)
                at = around.outside[near]
                total.ravel()[at] += value[near] / outside.value_au
                count.ravel()[at] += 1
                noise.append(outside.sd_au / outside.value_au)
                levels_au.append(outside.value_au)
    if not noise:
        raise ValueError(
            f"flat field of {channel}: no plane has background above the dark image; give the dark image of this "
            "channel (measure.dark), or take a flat field of a fluorescent slide"
        )
    gain, error = _smooth(total, count, float(np.median(noise)))
    if not error <= _MOST_ERROR:
        raise ValueError(
            f"flat field of {channel}: {len(noise)} planes give it within {error:.1%}, wanted {_MOST_ERROR:.0%}; name "
            "more movies, or take a flat field of a fluorescent slide"
        )
    logger.info("%s: %d planes, light from %.3f to %.3f of its mean", channel, len(noise), gain.min(), gain.max())
    write_stack(
        flat_path,
        [(dark_au + np.median(levels_au) * gain).astype(np.float32)],
        shape=(1, *gain.shape),
        dtype=np.float32,
        pixel_size_um=pixel_um,
        frame_interval_min=None,
        axes="TYX",
        description={"channel": channel, "planes": len(noise), "relative_error": error},
    )


def _smooth(total: np.ndarray, count: np.ndarray, noise: float) -> tuple[np.ndarray, float]:
    """A smooth gain of mean 1, and its largest relative error."""
    y, x = (np.linspace(-1, 1, side) for side in total.shape)
    block_y, block_x = (np.minimum((each + 1) / 2 * _BLOCKS, _BLOCKS - 1).astype(int) for each in (y, x))
    block = (block_y[:, None] * _BLOCKS + block_x).ravel()
    pixels = np.bincount(block, count.ravel(), _BLOCKS**2)
    seen = pixels > 0
    value = np.bincount(block, total.ravel(), _BLOCKS**2)[seen] / pixels[seen]
    middle = (np.arange(_BLOCKS) + 0.5) / _BLOCKS * 2 - 1
    terms = _terms(np.repeat(middle, _BLOCKS)[seen], np.tile(middle, _BLOCKS)[seen])
    if len(value) < terms.shape[1]:
        return np.ones(total.shape), np.inf
    information = terms.T @ (pixels[seen, None] * terms)
    if np.linalg.cond(information) > 1e12:
        return np.ones(total.shape), np.inf
    fitted = np.linalg.solve(information, terms.T @ (pixels[seen] * value))
    gain = np.empty(total.shape)
    variance, unsure = 0.0, np.linalg.inv(information)
    for row, at in enumerate(y):
        of_row = _terms(np.full(len(x), at), x)
        gain[row] = of_row @ fitted
        variance = max(variance, float((of_row @ unsure * of_row).sum(axis=1).max()))
    return gain / gain.mean(), noise * np.sqrt(variance)


def _terms(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Products of powers of y and x up to the degree, shape (n, terms)."""
    powers = [(i, j) for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)]
    return np.stack([y**i * x**j for i, j in powers], axis=1)
