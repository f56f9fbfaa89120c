"""Random views of annotated images: places, rolls, flips, rotations, bending, crowding and light.

All numbers are drawn from the generator that is handed in, so that a seed
gives the same views again.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from cytolapse.crowding import Donor, crowd

ROTATIONS = ("any", "right_angles", "none")

_THROWS = 256
"""Random pixels that are looked at for one of a cell."""

_BEND_SPACING_PX = 64
"""Distance between the points that are moved to bend an image."""


def augment(
    image: np.ndarray,
    labels: np.ndarray,
    *,
    crop_px: int,
    rng: np.random.Generator,
    donors: Sequence[Donor],
    develop: Callable[[np.ndarray], np.ndarray],
    roll: bool,
    flip: bool,
    rotation: str,
    zoom_fraction: float,
    bend_px: float,
    crowded_fraction: float,
    gain_fraction: float,
    offset: float,
    gamma_fraction: float,
    noise: float,
    blur_px: float,
    shading_fraction: float,
    bleached_fraction: float,
    shot_noise: float,
) -> tuple[np.ndarray, np.ndarray]:
    """One random view of an annotated image.

    The view is cut at a random place. Half of the views are cut from the
    image rolled in y and x by random distances, so that what leaves on one
    side comes in on the other; the others, and all views of an image smaller
    than the view, see the image mirrored beyond its edges. Half of the views
    are turned by any angle, zoomed and bent, where that is asked for; the
    others keep their pixels as they are, only turned by right angles, so that
    the network also sees noise that no interpolation has smoothed.

    Parameters
    ----------
    image : float32 array of shape (channels, y, x)
        Normalised, linear in light: background near 0, cells near 1.
    labels : int array of shape (y, x)
        Numbers of cells. They move with the image; values are taken from the
        nearest pixel and never mixed.
    crop_px : int
        Side of the view.
    rng : numpy Generator
        Where the random numbers come from.
    donors : sequence of Donor
        Cells that may be set beside those of the view.
    develop : callable
        From light to what the network is shown. Blur, shading, bleaching and
        shot noise act on the light, as they do under a microscope; gamma,
        contrast, brightness and noise on what is shown.
    roll, flip : bool
        Whether views are rolled, and flipped in y and in x.
    rotation : {'any', 'right_angles', 'none'}
        Angles that views are turned by.
    zoom_fraction : float
        Largest change of scale, below 1: 0.1 gives 1 / 1.1 to 1.1.
    bend_px : float
        Standard deviation of the distance by which points 64 px apart are
        moved.
    crowded_fraction : float
        Share of the views that get cells set beside theirs (`crowding.crowd`).
    gain_fraction, gamma_fraction : float
        Largest change of contrast and of gamma: 0.2 gives 1 / 1.2 to 1.2.
        Gamma acts on values above 0 alone.
    offset : float
        Largest change of brightness, up or down.
    noise : float
        Largest standard deviation of the noise added to pixels.
    blur_px : float
        Largest standard deviation of the blur; half of the views are blurred.
    shading_fraction : float
        Largest change of the light from the middle of the view to its border,
        below 1.
    bleached_fraction : float
        Largest part of the light that is taken away from a view.
    shot_noise : float
        Largest standard deviation of the noise at a light of 1; it grows with
        the root of the light.

    Returns
    -------
    image : float32 array of shape (channels, crop_px, crop_px)
    labels : array of shape (crop_px, crop_px), of the type of `labels`

    Raises
    ------
    ValueError
        If `rotation` is none of the three, or image and labels differ in
        size.
    """
    if rotation not in ROTATIONS:
        raise ValueError(f"rotation is {rotation!r}; wanted one of {', '.join(ROTATIONS)}")
    if image.shape[1:] != labels.shape:
        raise ValueError(f"image of shape {image.shape} and labels of shape {labels.shape} differ in size")
    shape = labels.shape
    wrap = roll and min(shape) >= crop_px and rng.random() < 0.5
    bends = (rotation == "any" or zoom_fraction > 0 or bend_px > 0) and rng.random() < 0.5
    start_px = _place(labels, crop_px, wrap, rng)
    if bends:
        view = _bent_view(image, labels, start_px, crop_px, wrap, rng, rotation == "any", zoom_fraction, bend_px)
    else:
        view = _plain_view(image, labels, start_px, crop_px, wrap)
    turns = int(rng.integers(4)) if rotation != "none" else 0
    flips = [axis for axis in (-2, -1) if flip and rng.random() < 0.5]
    image, labels = (np.ascontiguousarray(np.flip(np.rot90(each, turns, axes=(-2, -1)), flips)) for each in view)
    if donors and rng.random() < crowded_fraction:
        image, labels = crowd(image, labels, donors, rng)
    image = _exposed(image, rng, blur_px, shading_fraction, bleached_fraction, shot_noise)
    return _relit(develop(image), rng, gain_fraction, offset, gamma_fraction, noise), labels


def _place(labels: np.ndarray, crop_px: int, wrap: bool, rng: np.random.Generator) -> list[int]:
    """First row and column of the view; a small image lies anywhere inside the view.

    Half of the views hold a pixel that was drawn from those of cells: where
    cells are few, most others would show background alone.
    """
    inside = _pixel_of_a_cell(labels, rng) if rng.random() < 0.5 else None
    start_px = []
    for axis, side in enumerate(labels.shape):
        room = side - crop_px
        low, high = (0, side - 1) if wrap else (min(room, 0), max(room, 0))
        if inside is not None and room > 0:
            lowest, highest = inside[axis] - crop_px + 1, inside[axis]
            low, high = (lowest, highest) if wrap else (max(low, lowest), min(high, highest))
        start_px.append(int(rng.integers(low, high + 1)))
    return start_px


def _pixel_of_a_cell(labels: np.ndarray, rng: np.random.Generator) -> tuple[int, int] | None:
    """Row and column of a random pixel of a cell; None where a few throws hit none."""
    rows, columns = (rng.integers(side, size=_THROWS) for side in labels.shape)
    hits = np.flatnonzero(labels[rows, columns] > 0)
    return (int(rows[hits[0]]), int(columns[hits[0]])) if len(hits) else None


def _indices(positions: np.ndarray, side: int, wrap: bool) -> np.ndarray:
    """Positions on an endless axis to rows or columns of the image."""
    if wrap:
        return positions % side
    folded = positions % (2 * side)
    return np.where(folded < side, folded, 2 * side - 1 - folded)


def _plain_view(
    image: np.ndarray, labels: np.ndarray, start_px: list[int], crop_px: int, wrap: bool
) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = (
        _indices(start + np.arange(crop_px), side, wrap) for start, side in zip(start_px, image.shape[1:], strict=True)
    )
    return image[:, rows][:, :, columns], labels[rows][:, columns]


def _bent_view(
    image: np.ndarray,
    labels: np.ndarray,
    start_px: list[int],
    crop_px: int,
    wrap: bool,
    rng: np.random.Generator,
    turn: bool,
    zoom_fraction: float,
    bend_px: float,
) -> tuple[np.ndarray, np.ndarray]:
    angle = rng.uniform(-np.pi / 4, np.pi / 4) if turn else 0.0
    zoom = (1 + zoom_fraction) ** rng.uniform(-1, 1)
    cosine, sine = np.float32(np.cos(angle) / zoom), np.float32(np.sin(angle) / zoom)
    middle = (crop_px - 1) / 2
    steps = np.arange(crop_px, dtype=np.float32) - np.float32(middle)
    y = cosine * steps[:, None] - sine * steps[None, :] + np.float32(start_px[0] + middle)
    x = sine * steps[:, None] + cosine * steps[None, :] + np.float32(start_px[1] + middle)
    if bend_px > 0:
        y += _bend(crop_px, bend_px, rng)
        x += _bend(crop_px, bend_px, rng)
    floor_y, floor_x = np.floor(y), np.floor(x)
    part_y, part_x = y - floor_y, x - floor_x
    rows, columns = floor_y.astype(np.int64), floor_x.astype(np.int64)
    height, width = image.shape[1:]
    top, bottom = (_indices(rows + step, height, wrap) * width for step in (0, 1))
    left, right = (_indices(columns + step, width, wrap) for step in (0, 1))
    pixels = image.reshape(len(image), -1)
    upper = pixels.take(top + left, axis=1) * (1 - part_x) + pixels.take(top + right, axis=1) * part_x
    lower = pixels.take(bottom + left, axis=1) * (1 - part_x) + pixels.take(bottom + right, axis=1) * part_x
    nearest = np.where(part_y < 0.5, top, bottom) + np.where(part_x < 0.5, left, right)
    bent = upper * (1 - part_y) + lower * part_y
    return bent.astype(np.float32, copy=False), labels.ravel().take(nearest)


def _bend(crop_px: int, bend_px: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth field of displacements: random at coarse points, linear between them."""
    points = crop_px // _BEND_SPACING_PX + 2
    coarse = rng.normal(0, bend_px, (points, points)).astype(np.float32)
    at = np.linspace(0, points - 1, crop_px, dtype=np.float32)
    first = np.minimum(at.astype(np.int64), points - 2)
    part = at - first
    weights = np.zeros((crop_px, points), np.float32)
    weights[np.arange(crop_px), first] = 1 - part
    weights[np.arange(crop_px), first + 1] += part
    return weights @ coarse @ weights.T


def _exposed(
    image: np.ndarray,
    rng: np.random.Generator,
    blur_px: float,
    shading_fraction: float,
    bleached_fraction: float,
    shot_noise: float,
) -> np.ndarray:
    """Another focus, evenness and amount of light, and its noise, a channel at a time."""
    exposed = np.empty_like(image, dtype=np.float32)
    for channel, plane in enumerate(image):
        if blur_px > 0 and rng.random() < 0.5:
            plane = ndimage.gaussian_filter(plane, rng.uniform(0, blur_px), truncate=3.0)
        light = np.float32(1 - rng.uniform(0, bleached_fraction))
        exposed[channel] = plane * (light * _shading(plane.shape, shading_fraction, rng))
        if shot_noise > 0:
            deviation = np.sqrt(np.maximum(exposed[channel], 0)) * np.float32(rng.uniform(0, shot_noise))
            exposed[channel] += rng.standard_normal(plane.shape, np.float32) * deviation
    return exposed


def _shading(shape: tuple[int, int], shading_fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Light that changes along a random direction, 1 in the middle: (y, x)."""
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, shading_fraction)
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape)
    return 1 + np.float32(slope / np.sqrt(2)) * (np.sin(angle) * y[:, None] + np.cos(angle) * x[None, :])


def _relit(
    image: np.ndarray,
    rng: np.random.Generator,
    gain_fraction: float,
    offset: float,
    gamma_fraction: float,
    noise: float,
) -> np.ndarray:
    """Another contrast, brightness, gamma and noise, a channel at a time."""
    lit = np.empty_like(image, dtype=np.float32)
    for channel, plane in enumerate(image):
        if gamma_fraction > 0:
            gamma = np.float32((1 + gamma_fraction) ** rng.uniform(-1, 1))
            plane = np.where(plane > 0, np.maximum(plane, 1e-6) ** gamma, plane)
        gain = np.float32((1 + gain_fraction) ** rng.uniform(-1, 1))
        lit[channel] = gain * plane + np.float32(rng.uniform(-offset, offset))
        if noise > 0:
            lit[channel] += rng.standard_normal(plane.shape, np.float32) * np.float32(rng.uniform(0, noise))
    return lit
