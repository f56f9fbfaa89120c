"""The cells that were drawn worst, as a picture."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
from matplotlib import pyplot
from skimage.segmentation import find_boundaries

SHOWN = 12


def draw_worst(cells: pd.DataFrame, judged: list[tuple], path: Path) -> None:
    """Crops around the cells of the lowest overlap, one a place: truth in green, what was found in magenta.

    Parameters
    ----------
    cells : DataFrame
        From `segmentation.compare`.
    judged : list of (stills.Judged, (labels, probability))
    path : Path
        PNG to write.
    """
    found_in = {each.still.name: (each.still, found) for each, (found, _) in judged}
    rows = cells[cells["still"].isin(found_in)].assign(iou=lambda rows: rows["iou"].fillna(0.0))
    # One a cell and one a still's mishap: the same cell fails on frame after frame.
    worst = rows.sort_values("iou").drop_duplicates(["label", "merged", "split"]).head(SHOWN // 2)
    vain = rows[rows["label"] == 0].drop_duplicates("still").head(SHOWN // 4)
    others = rows.drop(index=worst.index).sort_values("iou").drop_duplicates("still")
    chosen = pd.concat([worst, vain, others]).drop_duplicates(["still", "label", "found"]).head(SHOWN)
    figure, axes = pyplot.subplots(3, SHOWN // 3, figsize=(3 * SHOWN // 3, 9), layout="constrained", squeeze=False)
    for place in axes.flat:
        place.axis("off")
    for place, row in zip(axes.flat, chosen.itertuples(), strict=False):
        still, found = found_in[row.still]
        truth = still.labels
        mask = truth == row.label if row.label else found == row.found
        y, x = (int(axis.mean()) for axis in np.nonzero(mask))
        half = int(max(24, 1.2 * np.sqrt(mask.sum())))
        window = np.s_[max(y - half, 0) : y + half, max(x - half, 0) : x + half]
        plane = still.image[window].astype(float)
        low, high = np.percentile(plane, [1, 99.8])
        shown = np.repeat(np.clip((plane - low) / max(high - low, 1e-9), 0, 1)[..., None] ** 0.6, 3, axis=2)
        shown[find_boundaries(np.maximum(truth[window], 0), mode="inner")] = (0, 0.9, 0)
        shown[find_boundaries(found[window], mode="inner")] = (1, 0, 1)
        place.imshow(shown, interpolation="nearest")
        kind = "in vain" if not row.label else "merged" if row.merged else "split" if row.split else "missed, or off"
        place.set_title(f"{row.still[:12]}: {kind}, IoU {row.iou:.2f}", fontsize=8)
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
