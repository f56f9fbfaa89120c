"""Cells of annotated images set beside others, so that a network sees many that touch."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from cytolapse.annotations import IGNORE

# How far around its mask the light of a cell is taken along.
_REACH_PX = 5
# Donors of one view: more would take longer than the network.
_MOST_DONORS = 8
# Overlap with the cell that it is set against, in steps of a pixel.
_DEEPEST_PX = 2


class Donor(NamedTuple):
    """A cell that can be set elsewhere.

    Attributes
    ----------
    light : float32 array of shape (channels, y, x)
        What the cell adds to the background, falling to 0 around it.
    mask : bool array of shape (y, x)
    """

    light: np.ndarray
    mask: np.ndarray


def cut_donors(image: np.ndarray, labels: np.ndarray) -> list[Donor]:
    """The cells of an annotated image that can be set elsewhere.

    They lie whole inside it, touch no other, and are brighter than what
    surrounds them: light adds up, the shadows and halos of phase contrast do
    not.

    Parameters
    ----------
    image : float array of shape (channels, y, x)
        Linear in light.
    labels : int array of shape (y, x)
        0 background, above 0 cells, `annotations.IGNORE` not judged.

    Returns
    -------
    list of Donor
    """
    donors = []
    height, width = labels.shape
    for number, box in enumerate(ndimage.find_objects(np.maximum(labels, 0)), start=1):
        if box is None:
            continue
        rows, columns = (slice(side.start - _REACH_PX, side.stop + _REACH_PX) for side in box)
        if min(rows.start, columns.start) < 0 or rows.stop > height or columns.stop > width:
            continue
        around = labels[rows, columns]
        mask = around == number
        distance_px = ndimage.distance_transform_edt(~mask)
        if ((around != 0) & ~mask & (distance_px <= _REACH_PX)).any():
            continue
        rim = (distance_px > _REACH_PX - 1) & (distance_px <= _REACH_PX)
        share = np.clip((_REACH_PX - distance_px) / (_REACH_PX - 1), 0, 1).astype(np.float32)
        patch = image[:, rows, columns]
        background = np.median(patch[:, rim], axis=1)[:, None, None]
        light = (patch - background) * share
        if light[:, mask].mean() > 0:
            donors.append(Donor(light.astype(np.float32), mask))
    return donors


def crowd(
    image: np.ndarray, labels: np.ndarray, donors: Sequence[Donor], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Set donors against the cells of a view, one to as many as it has cells, eight at most.

    The light of a donor is added to what is there, as it is where cells lie
    side by side under a microscope. Pixels that both masks want stay with the
    cell that was there. A donor that finds no free place is left out.

    Parameters
    ----------
    image : float32 array of shape (channels, y, x)
        Linear in light.
    labels : int array of shape (y, x)
    donors : sequence of Donor
    rng : numpy Generator

    Returns
    -------
    image, labels
        Copies, of the types given.
    """
    image, labels = image.copy(), labels.copy()
    hosts = np.unique(labels[labels > 0])
    if not len(hosts) or not donors:
        return image, labels
    fresh = int(labels.max()) + 1
    for _ in range(int(rng.integers(1, min(len(hosts), _MOST_DONORS) + 1))):
        donor = _turned(donors[rng.integers(len(donors))], rng)
        place = _place_beside(labels, int(rng.choice(hosts)), donor.mask, rng)
        if place is None:
            continue
        there, part = place
        image[:, *there] += donor.light[:, *part]
        own = donor.mask[part] & (labels[there] == 0)
        labels[there][own] = fresh
        fresh += 1
    return image, labels


def _turned(donor: Donor, rng: np.random.Generator) -> Donor:
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    light, mask = (np.rot90(each, turns, axes=(-2, -1)) for each in donor)
    return Donor(light[..., ::-1], mask[:, ::-1]) if flip else Donor(light, mask)


def _place_beside(
    labels: np.ndarray, host: int, mask: np.ndarray, rng: np.random.Generator
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Where in the view the donor goes, and which part of it, so that it just touches the host."""
    rows, columns = np.nonzero(labels == host)
    middle = np.array([rows.mean(), columns.mean()])
    angle = rng.uniform(0, 2 * np.pi)
    direction = np.array([np.sin(angle), np.cos(angle)])
    half = np.array(mask.shape) / 2
    nearest, met = None, False
    farthest_px = np.hypot(np.ptp(rows) + 1, np.ptp(columns) + 1) / 2 + np.hypot(*half)
    for distance_px in np.arange(np.ceil(farthest_px), 0, -1):
        there, part = _overlap(np.rint(middle + distance_px * direction - half).astype(int), mask.shape, labels.shape)
        met = bool((mask[part] & (labels[there] == host)).any())
        if met:
            break
        nearest = distance_px
    # A host in two pieces, as mirrored views have them, may never be met.
    if nearest is None or not met:
        return None
    deep_px = nearest - rng.integers(0, _DEEPEST_PX + 1)
    there, part = _overlap(np.rint(middle + deep_px * direction - half).astype(int), mask.shape, labels.shape)
    wanted = mask[part]
    under = labels[there][wanted]
    blocked = (under == IGNORE) | ((under > 0) & (under != host))
    # Half of the donor inside the view, and nothing in its way but a rim of its host.
    if wanted.sum() < 0.5 * mask.sum() or blocked.any() or (under == host).mean() > 0.25:
        return None
    return there, part


def _overlap(
    corner: np.ndarray, size: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The pixels of an image that a patch at `corner` covers, in the image and in the patch."""
    first = np.clip(corner, 0, shape)
    last = np.clip(corner + size, 0, shape)
    there = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    part = tuple(slice(int(a - c), int(b - c)) for a, b, c in zip(first, last, corner, strict=True))
    return there, part
