"""What annotators get wrong most often: found, and named with file, cell, place and remedy.

Nothing here ends a training. A slip of the brush is left out of it, the rest
is for a person to look at.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from cytolapse.annotations import IGNORE, Annotation

_EIGHT = ndimage.generate_binary_structure(2, 2)

# A slip of the brush has up to this many pixels, if that is less than this part of the cell;
_SPECK_PX = 4
_SMALL_PART = 0.1
# or, as a piece of a cell, up to this part of the cell's largest piece.
_SPECK_PART = 0.05
# or, as a whole cell, up to this part of a usual cell of its image.
_TINY_PART = 0.01
# A ring encloses this many times the pixels of its own line, and more.
_HOLLOW_RATIO = 0.5
# Of one image and kind, this many are named; the others are counted.
_MOST_NAMED = 5

# What a network sees, or not, is worth a look where it is this sure, over this part of a usual cell.
_SURE = 0.8
_UNSEEN = 0.2
_LEAST_PART = 0.4
# Share of a region on drawn cells, or on what was not judged, below which nobody has drawn it.
_DRAWN_SHARE = 0.1
# Share of the drawn cells that a network has to see, for its word to count.
_TRUSTED_RECALL = 0.7
# Cells that nobody drew, over those drawn, from which on an image looks annotated in part.
_PARTLY = 0.25


def check_masks(annotation: Annotation, file: str) -> tuple[Annotation, list[str]]:
    """Look for slips in the masks of one image, and leave specks out of it.

    A speck is a piece of a cell of at most 4 px or 5 % of the cell's largest
    piece, or a whole cell, off the border, of at most 4 px or 1 % of the
    image's median cell (where 4 px are more than a tenth of that, a tenth
    counts): its pixels become `annotations.IGNORE`. Other cells
    in several pieces, cells of which only the outline is drawn, a lone label
    255, and masks without a cell are named and stay as they are.

    Parameters
    ----------
    annotation : Annotation
    file : str
        What the warnings name as the file.

    Returns
    -------
    annotation : Annotation
        Without specks.
    warnings : list of str
        A sentence each: file, cell, row and column, what was found, what to do.
    """
    labels = annotation.labels.copy()
    numbers, areas_px = np.unique(labels[labels > 0], return_counts=True)
    if not len(numbers):
        return annotation, [f"{file}: no cell is drawn; remove image and masks, unless there is none to be seen"]
    tiny_px = _speck_px(float(np.median(areas_px)), _TINY_PART)
    found: dict[str, list[str]] = {"specks": [], "pieces": [], "rings": []}
    for number, box in _boxes(labels):
        mask = labels[box] == number
        pieces, count = ndimage.label(mask, _EIGHT)
        areas = np.bincount(pieces.ravel())[1:]
        main = int(areas.argmax()) + 1
        specks = np.flatnonzero(areas <= _speck_px(areas[main - 1], _SPECK_PART)) + 1
        if areas[main - 1] <= tiny_px and not _on_border(box, labels.shape):
            found["specks"].append(
                f"cell {number} has {int(areas.sum())} px {_place(mask, box)}, a usual one "
                f"{np.median(areas_px):.0f}: left out of the training; remove it, or draw the cell"
            )
            labels[box][mask] = IGNORE
            continue
        for piece in specks:
            found["specks"].append(
                f"cell {number} has a speck of {areas[piece - 1]} px {_place(pieces == piece, box)}, off its "
                f"{areas[main - 1]} px: left out of the training; remove it"
            )
            labels[box][pieces == piece] = IGNORE
        if count - len(specks) > 1:
            found["pieces"].append(_several_pieces(number, pieces, areas, main, specks, box))
        inside = ndimage.binary_fill_holes(mask) & (labels[box] == 0)
        if inside.sum() > _HOLLOW_RATIO * mask.sum():
            found["rings"].append(
                f"cell {number} is a ring of {int(mask.sum())} px around {int(inside.sum())} px of background "
                f"{_place(mask, box)}: fill it, if only the outline was drawn"
            )
    warnings = [f"{file}: {sentence}" for kind, each in found.items() for sentence in _shortened(each, kind)]
    if numbers[-1] == 255 and len(numbers) > 1 and numbers[-2] == len(numbers) - 1:
        warnings.append(
            f"{file}: cell 255 stands alone beside cells 1 to {numbers[-2]}; if it marks what nobody has judged, "
            "save the masks with 16 bits and give these pixels 65535"
        )
    return annotation._replace(labels=labels), warnings


def _speck_px(area_px: float, part: float) -> float:
    """Most pixels of a speck beside something of this area."""
    return max(min(_SPECK_PX, _SMALL_PART * area_px), part * area_px)


def _boxes(labels: np.ndarray) -> list[tuple[int, tuple[slice, slice]]]:
    """Number and box of every cell: numbers may be as large as colours, and time goes with the largest."""
    numbers, inverse = np.unique(np.maximum(labels, 0), return_inverse=True)
    order = inverse.reshape(labels.shape) + (0 if numbers[0] == 0 else 1)
    return list(zip(numbers[numbers > 0].tolist(), ndimage.find_objects(order), strict=True))


def _several_pieces(
    number: int, pieces: np.ndarray, areas: np.ndarray, main: int, specks: np.ndarray, box: tuple[slice, slice]
) -> str:
    distance_px = ndimage.distance_transform_edt(pieces != main)
    others = [piece for piece in range(1, len(areas) + 1) if piece != main and piece not in specks]
    gaps_px = {piece: float(distance_px[pieces == piece].min()) - 1 for piece in others}
    farthest = max(others, key=gaps_px.get)
    sizes = " and ".join(str(areas[piece - 1]) for piece in (main, *others))
    # A gap much thinner than the pieces is one that the brush has left.
    narrow = gaps_px[farthest] <= 0.25 * np.sqrt(areas[farthest - 1])
    remedy = (
        "draw what joins them, or give one of them a number of its own"
        if narrow
        else "two cells with one number? give one of them a number of its own"
    )
    return (
        f"cell {number} is in {len(others) + 1} pieces of {sizes} px, {gaps_px[farthest]:.0f} px apart, "
        f"{_place(pieces == main, box)} and {_place(pieces == farthest, box)}: {remedy}"
    )


def _on_border(box: tuple[slice, slice], shape: tuple[int, ...]) -> bool:
    return any(side.start == 0 or side.stop == length for side, length in zip(box, shape, strict=True))


def _place(mask: np.ndarray, box: tuple[slice, slice] | None = None) -> str:
    """Row and column of the pixel of a mask that is nearest to its middle."""
    rows, columns = np.nonzero(mask)
    nearest = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    row, column = (0, 0) if box is None else (box[0].start, box[1].start)
    return f"at row {row + rows[nearest]}, column {column + columns[nearest]}"


def _shortened(sentences: Sequence[str], kind: str) -> list[str]:
    if len(sentences) <= _MOST_NAMED:
        return list(sentences)
    return [*sentences[:_MOST_NAMED], f"and {len(sentences) - _MOST_NAMED} more {kind} like these"]


class Comparison(NamedTuple):
    """What a network makes of one image: cells drawn, how many of them it sees, and what is worth a look."""

    drawn: int
    seen: int
    doubts: list[str]


def compare_cells(
    annotation: Annotation, found: np.ndarray, probability: np.ndarray, usual_area_px: float
) -> Comparison:
    """Where a network and the annotator of an image disagree about whole cells.

    A region that the network is sure of (mean probability of 0.8), at least
    0.4 of a usual cell and not drawn, may have been forgotten; a drawn cell of
    that size that it does not see at all (0.2) may be none, or lie elsewhere.
    Where many were forgotten, the image is said to be annotated in part.

    Parameters
    ----------
    annotation : Annotation
        Best one that the network has not learned from.
    found : int array of shape (y, x)
        Labels of the network's cells.
    probability : uint8 array of shape (classes, y, x)
        Cell comes first; 255 is a probability of 1.
    usual_area_px : float
        Median area of the drawn cells of all images.
    """
    labels = annotation.labels
    means = _mean_by_cell(labels, probability[0])
    drawn = _mean_by_cell(found, np.where(labels != 0, 255, 0))
    least_px = _LEAST_PART * usual_area_px
    places = [
        _place(found == number)
        for number, mean in _mean_by_cell(found, probability[0]).items()
        if mean >= _SURE and drawn[number] < _DRAWN_SHARE and (found == number).sum() >= least_px
    ]
    if len(places) > max(2, _PARTLY * len(means)):
        doubts = [
            f"perhaps annotated in part: {len(means)} cells are drawn, and the network sees {len(places)} others, the "
            f"first {places[0]}; draw them, or mark what nobody has judged"
        ]
    else:
        doubts = _shortened(
            [f"perhaps a cell that nobody drew {place}; draw it, or mark it as not judged" for place in places], "cells"
        )
    unseen = [number for number, mean in means.items() if mean < _UNSEEN and (labels == number).sum() >= least_px]
    doubts += _shortened(
        [
            f"the network sees nothing where cell {number} is drawn {_place(labels == number)}; see whether it is one, "
            "and in its place"
            for number in unseen
        ],
        "cells",
    )
    seen = sum(mean > 0.5 for mean in means.values())
    return Comparison(len(means), seen, [f"image {annotation.name}: {doubt}" for doubt in doubts])


def trusted_doubts(comparisons: Sequence[Comparison]) -> list[str]:
    """The doubts of all images; none where the network sees less than 0.7 of all drawn cells: it is no judge then."""
    drawn, seen = (sum(getattr(each, name) for each in comparisons) for name in ("drawn", "seen"))
    if seen < _TRUSTED_RECALL * drawn:
        return []
    return [doubt for each in comparisons for doubt in each.doubts]


def _mean_by_cell(labels: np.ndarray, values: np.ndarray) -> dict[int, float]:
    """Mean of values of 0 to 255 over each label, as 0 to 1."""
    numbers = np.unique(labels[labels > 0])
    means = ndimage.mean(values, labels, numbers) / 255 if len(numbers) else []
    return dict(zip(numbers.tolist(), map(float, means), strict=True))
