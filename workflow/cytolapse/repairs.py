"""Segmentation errors seen through time: what is wrong with a mask, and how the tracked labels mend it.

labels.tif stays as it was segmented. The table `repairs` says which masks hold
two cells, which are pieces of one, and where a cell was missed; where the
frames around leave no doubt it also says where the cells lie, and
`repaired_labels` draws them so.
"""

import numpy as np
import pandas as pd

from cytolapse.linkedcells import Cells
from cytolapse.merging import Merged, Threads
from cytolapse.tables import empty_table, typed

ELLIPSE_COLUMNS = ["y_px", "x_px", "major_axis_px", "minor_axis_px", "orientation_rad"]

# A frame in which fewer of the cells are seen that are there before and after has no masks to be trusted.
_SEEN_SHARE = 0.5
# A cell that was missed moved no further than this part of its length meanwhile, and kept its size to this ln ratio.
_STAYED_LENGTHS = 0.5
_KEPT_SIZE = 0.25


def find_repairs(
    objects: pd.DataFrame,
    threaded: Cells,
    threads: Threads,
    row_of: np.ndarray,
    cells: Cells,
    *,
    max_repair_frames: int,
) -> pd.DataFrame:
    """Masks that are wrong, and where the cells in them lie.

    Parameters
    ----------
    objects : DataFrame
        Table `objects`.
    threaded : Cells
        As the linker left them, pieces included.
    threads : Threads
        As followed through these.
    row_of : int array
        Row of `cells` of each row of `threaded`, -1 for pieces.
    cells : Cells
        With the final tracks, cut at divisions.
    max_repair_frames : int
        Longest error that is mended, in frames; a longer one is noted only.

    Returns
    -------
    DataFrame
        Table `repairs`.
    """
    shapes = _Shapes(objects, cells)
    rows = [row for each in threads.merged for row in _merged(cells, shapes, row_of, each, max_repair_frames)]
    rows += [
        {
            "frame": threaded.frame[piece],
            "label": threaded.label[piece],
            "track": cells.track[row_of[owner]],
            "kind": "split",
            "repaired": True,
        }
        for piece, owner in threads.pieces.tolist()
    ]
    hidden = {(row["frame"], row["track"]) for row in rows}
    rows += [row for row in _missed(cells, shapes, max_repair_frames) if (row["frame"], row["track"]) not in hidden]
    if not rows:
        return empty_table("repairs")
    table = pd.DataFrame(rows).drop_duplicates(["frame", "track", "label"])
    # A mask is cut between all cells in it or not at all.
    whole = table["kind"].ne("merged") | table["repaired"].groupby([table["frame"], table["label"]]).transform("all")
    table["repaired"] &= whole
    return typed("repairs", table.sort_values(["frame", "track", "label"], ignore_index=True))


class _Shapes:
    """Ellipses of the cells by row of `Cells`, and of cells between two rows."""

    def __init__(self, objects: pd.DataFrame, cells: Cells) -> None:
        key = pd.DataFrame({"frame": cells.frame, "label": cells.label})
        at = key.merge(objects.astype({"frame": np.int64, "label": np.int64}), on=["frame", "label"], how="left")
        number = lambda column: at[column].to_numpy(np.float64, na_value=np.nan)  # noqa: E731
        self.um = float(np.sqrt(np.nansum(number("area_um2")) / max(np.nansum(number("area_px")), 1)))
        drift_um = np.column_stack([number("y_um") - number("y_aligned_um"), number("x_um") - number("x_aligned_um")])
        frames = int(cells.frame.max(initial=0)) + 1
        self.drift_um = np.zeros((frames, 2))
        self.drift_um[cells.frame] = drift_um
        self.place_um = cells.position_um
        long, short = (number("major_axis_um") / 4) ** 2, (number("minor_axis_um") / 4) ** 2
        angle = number("orientation_rad")
        cos, sin = np.cos(angle), np.sin(angle)
        self.yy, self.xx = long * cos**2 + short * sin**2, long * sin**2 + short * cos**2
        self.yx = (long - short) * sin * cos
        self.frame = cells.frame

    def between(self, before: int, after: int, frame: int) -> dict[str, float]:
        """The ellipse of a cell in a frame between two rows, in pixels."""
        share = (frame - self.frame[before]) / (self.frame[after] - self.frame[before])
        mixed = lambda values: (1 - share) * values[before] + share * values[after]  # noqa: E731
        yy, xx, yx = mixed(self.yy), mixed(self.xx), mixed(self.yx)
        middle, half = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
        place_px = (mixed(self.place_um) + self.drift_um[frame]) / self.um
        return {
            "y_px": place_px[0],
            "x_px": place_px[1],
            "major_axis_px": 4 * np.sqrt(middle + half) / self.um,
            "minor_axis_px": 4 * np.sqrt(max(middle - half, 0)) / self.um,
            "orientation_rad": np.arctan2(2 * yx, yy - xx) / 2,
        }


def _merged(cells: Cells, shapes: _Shapes, row_of: np.ndarray, merged: Merged, max_repair_frames: int) -> list[dict]:
    """Both cells of a mask in every frame that it holds them."""
    if merged.hidden_after < 0 or min(row_of[list(merged)]) < 0:
        return []
    hidden, other, hidden_after, other_after = (int(row) for row in row_of[list(merged)])
    first, last = cells.frame[hidden] + 1, cells.frame[hidden_after] - 1
    known = cells.track[hidden] == cells.track[hidden_after] and cells.track[other] == cells.track[other_after]
    rows = []
    for row in range(min(other, other_after) + 1, max(other, other_after)) if known else ():
        if first <= cells.frame[row] <= last:
            frame = int(cells.frame[row])
            of_mask = {"frame": frame, "label": cells.label[row], "kind": "merged"}
            of_mask["repaired"] = bool(last - first < max_repair_frames)
            rows.append({**of_mask, "track": cells.track[row], **shapes.between(other, other_after, frame)})
            rows.append({**of_mask, "track": cells.track[hidden], **shapes.between(hidden, hidden_after, frame)})
    return rows


def _missed(cells: Cells, shapes: _Shapes, max_repair_frames: int) -> list[dict]:
    """Cells that stay where they are and are not seen for a moment."""
    gap = np.diff(cells.frame) - 1
    before = np.flatnonzero((np.diff(cells.track) == 0) & (gap > 0) & (gap <= max_repair_frames))
    after = before + 1
    moved_um = np.linalg.norm(cells.position_um[after] - cells.position_um[before], axis=1)
    stayed = moved_um < _STAYED_LENGTHS * cells.half_length_um[before]
    stayed &= np.abs(np.log(cells.area_um2[after] / cells.area_um2[before])) < _KEPT_SIZE
    there, seen = _census(cells)
    rows = []
    for one, other in zip(before[stayed].tolist(), after[stayed].tolist(), strict=True):
        for frame in range(int(cells.frame[one]) + 1, int(cells.frame[other])):
            if seen[frame] >= _SEEN_SHARE * there[frame]:
                ellipse = shapes.between(one, other, frame)
                row = {"frame": frame, "label": None, "track": cells.track[one], "kind": "missed", "repaired": True}
                rows.append({**row, **ellipse})
    return rows


def _census(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """Of each frame, the tracks that pass through it and those that have a mask in it."""
    frames = int(cells.frame.max(initial=0)) + 1
    through = np.bincount(cells.frame[cells.first], minlength=frames + 1)
    through = np.cumsum(through - np.bincount(cells.frame[cells.last] + 1, minlength=frames + 1))
    return through[:frames], np.bincount(cells.frame, minlength=frames)


def repaired_labels(labels: np.ndarray, tracked: np.ndarray, repairs: pd.DataFrame) -> np.ndarray:
    """The tracked labels of one frame with its repairs.

    A mask that holds several cells is cut where their ellipses, shifted
    together onto the mask, are equally far in units of their axes. Pieces take
    the number of their cell. A missed cell is drawn as its ellipse, on
    background alone.

    Parameters
    ----------
    labels : int array of shape (y, x)
        The frame as segmented.
    tracked : int array of shape (y, x)
        The same under the numbers of the tracks.
    repairs : DataFrame
        Rows of the table `repairs` of this frame.

    Returns
    -------
    int array of shape (y, x)
    """
    repairs = repairs[repairs["repaired"].astype(bool)]
    out = tracked.copy()
    for row in repairs[repairs["kind"] == "split"].itertuples():
        out[labels == row.label] = row.track
    for label, rows in repairs[repairs["kind"] == "merged"].groupby("label"):
        y, x = np.nonzero(labels == label)
        ellipses = rows[ELLIPSE_COLUMNS].to_numpy(np.float64, copy=True)
        weight = ellipses[:, 2] * ellipses[:, 3]
        middle = weight @ ellipses[:, :2] / weight.sum()
        ellipses[:, :2] += np.array([y.mean(), x.mean()]) - middle
        far = np.stack([_far(y, x, ellipse) for ellipse in ellipses])
        out[y, x] = rows["track"].to_numpy(np.int64)[far.argmin(axis=0)]
    for row in repairs[repairs["kind"] == "missed"].itertuples():
        ellipse = [getattr(row, column) for column in ELLIPSE_COLUMNS]
        reach = int(np.ceil(row.major_axis_px / 2)) + 1
        top, left = max(int(row.y_px) - reach, 0), max(int(row.x_px) - reach, 0)
        part = out[top : int(row.y_px) + reach + 1, left : int(row.x_px) + reach + 1]
        y, x = np.indices(part.shape)
        part[(_far(y + top, x + left, ellipse) <= 1) & (part == 0)] = row.track
    return out


def _far(y: np.ndarray, x: np.ndarray, ellipse: np.ndarray) -> np.ndarray:
    """Squared distance from an ellipse's centre in units of its half axes."""
    y_px, x_px, major_px, minor_px, angle = ellipse
    along = (y - y_px) * np.cos(angle) + (x - x_px) * np.sin(angle)
    across = -(y - y_px) * np.sin(angle) + (x - x_px) * np.cos(angle)
    return (2 * along / major_px) ** 2 + (2 * across / max(minor_px, 1.0)) ** 2
