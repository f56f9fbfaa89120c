"""Label masks -> what a network has to say of every pixel, and what a mistake costs."""

import numpy as np
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from cytolapse.annotations import IGNORE


def make_targets(
    labels: np.ndarray, *, edge_px: int, edge_weight: float, gap_weight: float, gap_px: float
) -> np.ndarray:
    """What the network has to say about every pixel, and how much each counts.

    An edge is every pixel within `edge_px` of one that belongs to another
    cell or, from either side, across the outline of a cell. It is thin, so
    that small cells keep a middle that is cell and not edge. Background and
    edges in narrow gaps between two cells count more [1]_: there it is
    decided whether the two are told apart.

    Parameters
    ----------
    labels : int array of shape (y, x)
        0 is background, above 0 cells, `annotations.IGNORE` not judged.
    edge_px : int
        Reach of an edge to either side, 1 or more.
    edge_weight : float
        Weight of an edge pixel; all others have 1.
    gap_weight : float
        Weight added in a gap of no width; 0 for none.
    gap_px : float
        Width over which that falls off: at d1 + d2 px to the two nearest
        cells, exp(-(d1 + d2)^2 / (2 gap_px^2)) is left of it.

    Returns
    -------
    float32 array of shape (3, y, x)
        Cell (0 or 1), edge (0 or 1) and weight, which is 0 where nobody has
        judged.

    References
    ----------
    .. [1] O. Ronneberger et al., U-Net, MICCAI 2015, equation 2. There the
       weights also balance the classes; here they do not.
    """
    edge = _edges(labels, edge_px)
    weight = 1 + (edge_weight - 1) * edge.astype(np.float32)
    if gap_weight > 0:
        weight += np.float32(gap_weight) * _narrowness(labels, gap_px)
    weight[labels == IGNORE] = 0
    return np.stack([labels > 0, edge, weight]).astype(np.float32)


def _edges(labels: np.ndarray, edge_px: int) -> np.ndarray:
    edge = np.zeros(labels.shape, bool)
    height, width = labels.shape
    for dy in range(edge_px + 1):
        for dx in range(-edge_px, edge_px + 1):
            if (dy == 0 and dx <= 0) or dy**2 + dx**2 > edge_px**2:
                continue
            upper = slice(0, max(height - dy, 0)), slice(max(-dx, 0), max(width - max(dx, 0), 0))
            lower = slice(dy, height), slice(max(dx, 0), max(width + min(dx, 0), 0))
            one, other = labels[upper], labels[lower]
            differ = (one != other) & (one != IGNORE) & (other != IGNORE)
            edge[upper] |= differ
            edge[lower] |= differ
    return edge


def _narrowness(labels: np.ndarray, gap_px: float) -> np.ndarray:
    """1 where two cells touch, falling to 0 where the second nearest is far."""
    reach = int(np.ceil(4 * gap_px))
    nearest = np.full(labels.shape, np.inf, np.float32)
    second = nearest.copy()
    for number, box in enumerate(ndimage.find_objects(np.maximum(labels, 0)), start=1):
        if box is None:
            continue
        around = tuple(slice(max(side.start - reach, 0), side.stop + reach) for side in box)
        distance = ndimage.distance_transform_edt(labels[around] != number).astype(np.float32)
        second[around] = np.minimum(second[around], np.maximum(nearest[around], distance))
        nearest[around] = np.minimum(nearest[around], distance)
    return np.exp(-((nearest + second) ** 2) / np.float32(2 * gap_px**2))


def weighted_loss(logits: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """Mean binary cross-entropy over classes and pixels, each pixel by its weight.

    Parameters
    ----------
    logits, targets : tensors of shape (b, classes, y, x)
    weight : tensor of shape (b, 1, y, x)
        A pixel of weight 0 does not count.

    Returns
    -------
    tensor without dimensions
        0 where no pixel counts.
    """
    losses = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return (losses * weight).sum() / (weight.sum() * logits.shape[1]).clamp(min=1)
