"""Z slices of a frame to one plane."""

from collections.abc import Iterable

import numpy as np


def project(slices: Iterable[np.ndarray | None], z_projection: str) -> np.ndarray | None:
    """The largest or the mean value over the slices, one slice at a time in memory.

    The largest value keeps what is bright in any slice, and its noise too: the
    more slices, the higher the background. The mean is what a quantity is
    measured on.

    Parameters
    ----------
    slices : iterable of array of shape (y, x), or None
        None for a slice that was not acquired, which counts for nothing.
    z_projection : {'max', 'mean'}

    Returns
    -------
    array of shape (y, x), or None
        Of the type of the slices, a mean rounded to it; None where no slice
        was acquired.

    Raises
    ------
    ValueError
        If the projection is another.
    """
    there = (plane for plane in slices if plane is not None)
    first = next(there, None)
    if first is None:
        return None
    if z_projection == "max":
        result = first
        for plane in there:
            result = np.maximum(result, plane)
        return result
    if z_projection == "mean":
        total, count = first.astype(np.float64), 1
        for plane in there:
            total += plane
            count += 1
        mean = total / count
        return (mean.round() if first.dtype.kind == "u" else mean).astype(first.dtype)
    raise ValueError(f"projection {z_projection!r} is none of slices to one plane; wanted max or mean")


def sharpest(slices: Iterable[np.ndarray | None]) -> int:
    """Number of the slice with the most fine detail.

    That with the largest mean squared difference between pixels two apart, of
    pixels averaged 2 by 2 [1]_. What is out of focus keeps its light and loses
    its edges. Phase contrast inverts through focus: the slice with the
    sharpest edges need not be the one that a model was trained on.

    Parameters
    ----------
    slices : iterable of array of shape (y, x), or None
        None for a slice that was not acquired, which is never chosen.

    Returns
    -------
    int
        0 where no slice was acquired.

    References
    ----------
    .. [1] J. F. Brenner et al., "An automated microscope for cytologic
       research", Journal of Histochemistry and Cytochemistry 24 (1976) 100-111.
    """
    details = {number: _detail(plane) for number, plane in enumerate(slices) if plane is not None}
    return max(details, key=details.get, default=0)


def _detail(plane: np.ndarray) -> float:
    image = plane.astype(np.float32)
    if min(image.shape) >= 6:
        image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        image = (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4
    apart = ((image[2:], image[:-2]), (image[:, 2:], image[:, :-2]))
    return sum(float(np.mean(np.square(here - there))) for here, there in apart if here.size)
