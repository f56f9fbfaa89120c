"""Movies that are hard to say anything of, each (t, c, y, x) with the labels that a good eye would give it."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

FRAMES, SIDE = 6, 96
BACKGROUND, BRIGHT, NOISE = 200, 900, 6.0


def scene(labels: np.ndarray, seed: int = 1) -> np.ndarray:
    """Both channels of a movie of bright cells, with noise, from its labels (t, y, x)."""
    rng = np.random.default_rng(seed)
    light = np.stack([ndimage.gaussian_filter((frame > 0).astype(float), 0.7) for frame in labels])
    planes = BACKGROUND + light[:, None] * np.array([BRIGHT, BRIGHT / 3])[:, None, None]
    return (planes + rng.normal(0, NOISE, planes.shape)).round().clip(0, 65535).astype(np.uint16)


def of_disks(*cells: tuple[float, float, float], growth: float = 1.02, frames: int = FRAMES) -> np.ndarray:
    """Labels of disks (y, x, radius) that stand still and grow."""
    y, x = np.indices((SIDE, SIDE))
    labels = np.zeros((frames, SIDE, SIDE), np.uint16)
    for frame in range(frames):
        for number, (cy, cx, radius) in enumerate(cells, 1):
            labels[frame][np.hypot(y - cy, x - cx) <= radius * growth**frame] = number
    return labels


SEVERAL = ((20, 20, 7), (24, 70, 8), (70, 30, 7), (66, 72, 9))


def no_cell() -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros((FRAMES, SIDE, SIDE), np.uint16)
    return scene(labels), labels


def one_cell() -> tuple[np.ndarray, np.ndarray]:
    labels = of_disks((48, 48, 9))
    return scene(labels), labels


def one_cell_once() -> tuple[np.ndarray, np.ndarray]:
    labels = of_disks((48, 48, 9))
    labels[[0, 1, 3, 4, 5]] = 0
    return scene(labels), labels


def one_clump() -> tuple[np.ndarray, np.ndarray]:
    """The whole field is one cell, from edge to edge."""
    labels = np.ones((FRAMES, SIDE, SIDE), np.uint16)
    return scene(labels), labels


def one_large_clump() -> tuple[np.ndarray, np.ndarray]:
    """All but a rim of the field is one mass."""
    labels = np.zeros((FRAMES, SIDE, SIDE), np.uint16)
    labels[:, 3:-3, 3:-3] = 1
    return scene(labels), labels


def specks() -> tuple[np.ndarray, np.ndarray]:
    """Cells of one pixel, some of them at the edge."""
    labels = np.zeros((FRAMES, SIDE, SIDE), np.uint16)
    places = [(y, x) for y in range(0, SIDE, 12) for x in range(0, SIDE, 12)]
    for number, (y, x) in enumerate(places, 1):
        labels[:, y, x] = number
    rng = np.random.default_rng(2)
    movie = np.full((FRAMES, 2, SIDE, SIDE), BACKGROUND) + rng.normal(0, NOISE, (FRAMES, 2, SIDE, SIDE))
    return (movie + 900 * (labels > 0)[:, None]).round().astype(np.uint16), labels


def blank_but_one() -> tuple[np.ndarray, np.ndarray]:
    labels = of_disks(*SEVERAL)
    labels[[0, 1, 2, 4, 5]] = 0
    return scene(labels), labels


def all_one_grey_value_but_one_frame() -> tuple[np.ndarray, np.ndarray]:
    """Planes of one and the same value, not a grain of noise."""
    movie, labels = blank_but_one()
    movie[[0, 1, 2, 4, 5]] = BACKGROUND
    return movie, labels


def dark_reporter() -> tuple[np.ndarray, np.ndarray]:
    """The reporter is zeros in every plane: a lamp that was off, or a channel that was never acquired."""
    labels = of_disks(*SEVERAL)
    movie = scene(labels)
    movie[:, 1] = 0
    return movie, labels


def saturated() -> tuple[np.ndarray, np.ndarray]:
    """Every pixel of every plane at the camera's largest value."""
    labels = of_disks(*SEVERAL)
    return np.full((FRAMES, 2, SIDE, SIDE), 65535, np.uint16), labels


def saturated_cells() -> tuple[np.ndarray, np.ndarray]:
    """Cells at the camera's largest value over an ordinary background."""
    labels = of_disks(*SEVERAL)
    movie = scene(labels)
    movie[np.broadcast_to((labels > 0)[:, None], movie.shape)] = 65535
    return movie, labels


def one_frame() -> tuple[np.ndarray, np.ndarray]:
    labels = of_disks(*SEVERAL, frames=1)
    return scene(labels), labels


def tiny_field() -> tuple[np.ndarray, np.ndarray]:
    """A field smaller than anything that is looked through it."""
    labels = np.ones((FRAMES, 5, 3), np.uint16)
    return scene(labels), labels


def large_cells() -> tuple[np.ndarray, np.ndarray]:
    labels = of_disks((48, 48, 36), growth=1.01)
    return scene(labels), labels


def same_size() -> tuple[np.ndarray, np.ndarray]:
    """Cells that do not change by a pixel: residuals of zero, intervals of no width."""
    labels = of_disks(*SEVERAL, growth=1.0, frames=12)
    movie = np.where(labels[:, None] > 0, 1100, BACKGROUND).astype(np.uint16)
    return np.repeat(movie, 2, axis=1), labels


def everything_at_once() -> tuple[np.ndarray, np.ndarray]:
    """Other cells in every frame: nobody can be followed."""
    rng = np.random.default_rng(4)
    labels = np.zeros((FRAMES, SIDE, SIDE), np.uint16)
    for frame in labels:
        y, x = np.indices(frame.shape)
        for number, (cy, cx) in enumerate(rng.uniform(0, SIDE, (9, 2)), 1):
            frame[np.hypot(y - cy, x - cx) <= rng.uniform(1, 9)] = number
    return scene(labels), labels


SCENES: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    each.__name__: each
    for each in (
        *(no_cell, one_cell, one_cell_once, one_clump, one_large_clump, specks, blank_but_one),
        *(all_one_grey_value_but_one_frame, dark_reporter, saturated, saturated_cells, one_frame, tiny_field),
        *(large_cells, same_size, everything_at_once),
    )
}
