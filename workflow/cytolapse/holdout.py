"""Which annotated images a training leaves out, to judge it by."""

from collections.abc import Sequence

import numpy as np

from cytolapse.annotations import Annotation


def split_held_out(
    annotations: Sequence[Annotation], hold_out: float, seed: int
) -> tuple[list[Annotation], list[Annotation]]:
    """Set aside what the network shall not see, to judge it by.

    Of three or more images whole ones are set aside, drawn by the seed among
    those with cells. Of one or two images a quarter is cut off instead, from
    the first side where both parts keep cells.

    Parameters
    ----------
    annotations : sequence of Annotation
    hold_out : float
        Below 1 the share of the images, at least one of them; from 1 on their
        number; 0 sets nothing aside.
    seed : int

    Returns
    -------
    rest, held_out : lists of Annotation
        `held_out` is empty where nothing can be spared.

    Raises
    ------
    ValueError
        If no image would be left to learn from.
    """
    if hold_out == 0:
        return list(annotations), []
    total = len(annotations)
    with_cells = [index for index, each in enumerate(annotations) if (each.labels > 0).any()]
    if total < 3 or len(with_cells) < 2:
        return _split_stripes(annotations)
    count = int(hold_out) if hold_out >= 1 else max(1, round(hold_out * total))
    if count >= total:
        raise ValueError(f"hold_out is {hold_out}: of {total} annotated images none is left to train on")
    order = np.random.default_rng(seed).permutation(with_cells)
    chosen = set(order[: min(count, len(with_cells) - 1)].tolist())
    rest = [each for index, each in enumerate(annotations) if index not in chosen]
    return rest, [annotations[index] for index in sorted(chosen)]


def _split_stripes(annotations: Sequence[Annotation]) -> tuple[list[Annotation], list[Annotation]]:
    rest, held_out = [], []
    for each in annotations:
        height, width = each.labels.shape
        quarter_y, quarter_x = height // 4, width // 4
        cuts = (
            (np.s_[..., : width - quarter_x], np.s_[..., width - quarter_x :]),
            (np.s_[..., : height - quarter_y, :], np.s_[..., height - quarter_y :, :]),
            (np.s_[..., quarter_x:], np.s_[..., :quarter_x]),
            (np.s_[..., quarter_y:, :], np.s_[..., :quarter_y, :]),
        )
        for kept, cut in cuts:
            if (each.labels[kept] > 0).any() and (each.labels[cut] > 0).any():
                rest.append(Annotation(each.name, each.image[kept], each.labels[kept]))
                held_out.append(Annotation(f"{each.name} (a quarter)", each.image[cut], each.labels[cut]))
                break
        else:
            rest.append(each)
    return rest, held_out


def split_folds(
    annotations: Sequence[Annotation], folds: int, seed: int
) -> list[tuple[list[Annotation], list[Annotation]]]:
    """Leave every image out once: which one in which fold is drawn by the seed, images with cells dealt out first.

    Parameters
    ----------
    annotations : sequence of Annotation
    folds : int
        Parts to leave out in turn, 2 to the number of images.
    seed : int

    Returns
    -------
    list of (rest, held_out)
        Lists of Annotation, of each fold.

    Raises
    ------
    ValueError
        If there are fewer than two folds, or more than images.
    """
    if not 2 <= folds <= len(annotations):
        raise ValueError(f"folds is {folds}; wanted 2 to {len(annotations)}, the number of annotated images")
    order = np.random.default_rng(seed).permutation(len(annotations)).tolist()
    order.sort(key=lambda index: not (annotations[index].labels > 0).any())
    fold_of = {index: place % folds for place, index in enumerate(order)}
    return [
        (
            [each for index, each in enumerate(annotations) if fold_of[index] != fold],
            [each for index, each in enumerate(annotations) if fold_of[index] == fold],
        )
        for fold in range(folds)
    ]


def held_out_phases(
    annotations: Sequence[Annotation], hold_out: float, folds: int | None, seed: int
) -> dict[str, tuple[list[Annotation], list[Annotation]]]:
    """What is learned from and what is left out, by name of the phase of a training.

    Parameters
    ----------
    annotations : sequence of Annotation
    hold_out, seed
        As for `split_held_out`.
    folds : int or None
        As for `split_folds`, at most one for each image with cells; None, or
        fewer than three images, leaves out once.

    Returns
    -------
    dict of str to (rest, held_out)
        `fold_1`, `fold_2`, ... or `held_out`; nothing where no image can be
        spared.

    Raises
    ------
    ValueError
        As for `split_held_out` and `split_folds`.
    """
    with_cells = sum(bool((each.labels > 0).any()) for each in annotations)
    if folds is not None and len(annotations) >= 3 and with_cells >= 2:
        splits = split_folds(annotations, min(folds, with_cells), seed)
        return {f"fold_{number}": split for number, split in enumerate(splits, start=1)}
    rest, held_out = split_held_out(annotations, hold_out, seed)
    return {"held_out": (rest, held_out)} if held_out else {}
