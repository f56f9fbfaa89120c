import numpy as np
import pandas as pd
from celltables import drawn, linked, neighbours

from cytolapse.repairs import repaired_labels
from cytolapse.tables import typed


def disk(shape, y, x, radius):
    rows, columns = np.indices(shape)
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def repairs_of(*rows):
    """From (track, label, kind, repaired[, y, x, radius])."""
    table = []
    for track, label, kind, repaired, *ellipse in rows:
        row = {"frame": 0, "track": track, "label": label, "kind": kind, "repaired": repaired}
        if ellipse:
            y_px, x_px, radius_px = ellipse
            row |= {"y_px": y_px, "x_px": x_px, "orientation_rad": 0.0}
            row |= {"major_axis_px": 2 * radius_px, "minor_axis_px": 2 * radius_px}
        table.append(row)
    return typed("repairs", pd.DataFrame(table))


def test_a_mask_of_two_cells_is_cut_between_them_wherever_it_lies():
    small, large = disk((40, 60), 20, 18, 8), disk((40, 60), 20, 34, 12)
    labels = np.where(small | large, 5, 0)
    # both were a few pixels to the left before
    repairs = repairs_of((1, 5, "merged", True, 19.0, 14.0, 8.0), (2, 5, "merged", True, 19.0, 30.0, 12.0))

    mended = repaired_labels(labels, np.where(labels == 5, 2, 0), repairs)

    assert (mended > 0).sum() == (labels > 0).sum()
    assert (mended[small & ~large] == 1).mean() > 0.95
    assert (mended[large & ~small] == 2).mean() > 0.95


def test_a_piece_gets_the_number_of_its_cell():
    labels = np.zeros((10, 10), int)
    labels[2:5, 2:5], labels[5:8, 2:5] = 1, 2

    mended = repaired_labels(labels, np.where(labels == 1, 9, 0), repairs_of((9, 2, "split", True)))

    assert (mended == 9).sum() == 18


def test_a_missed_cell_is_drawn_on_background_alone_and_within_the_frame():
    labels = np.zeros((20, 20), int)
    labels[:, 12:] = 4

    mended = repaired_labels(labels, np.where(labels == 4, 7, 0), repairs_of((3, None, "missed", True, 2.0, 9.0, 5.0)))

    assert (mended[:, 12:] == 7).all()
    assert np.array_equal(mended == 3, disk((20, 20), 2, 9, 5) & (labels == 0))


def test_what_is_only_noted_stays_as_it_is():
    labels = np.ones((6, 6), int)
    repairs = repairs_of((1, 1, "merged", False, 2.0, 1.0, 2.0), (2, 1, "merged", False, 2.0, 4.0, 2.0))

    assert np.array_equal(repaired_labels(labels, labels, repairs), labels)


def test_a_cell_missed_once_is_drawn_between_its_places_before_and_after(tmp_path):
    cell = [(frame, 1, 50.0, 40.0 + frame, 90.0) for frame in range(9) if frame != 4]

    tracks, _, repairs = linked(tmp_path, drawn(*cell, *neighbours(9)), frames=9)

    assert tracks[0, 1] == tracks[8, 1]
    (row,) = repairs.itertuples()
    assert (row.frame, row.track, row.kind, row.repaired) == (4, tracks[0, 1], "missed", True)
    assert (row.y_px, row.x_px) == (50.0, 44.0)
    assert row.label is pd.NA


def test_a_blank_frame_in_the_middle_is_bridged_and_no_cell_is_drawn_into_it(tmp_path):
    rows = [row for row in neighbours(9) if row[0] != 4]

    tracks, lineage, repairs = linked(tmp_path, drawn(*rows), frames=9)

    assert len(lineage) == 4
    assert lineage["end"].eq("movie_end").all()
    assert repairs.empty


def test_a_cell_that_comes_back_elsewhere_or_in_another_size_is_not_drawn(tmp_path):
    jumps = [(frame, 1, 50.0, 40.0 if frame < 4 else 49.0, 90.0) for frame in range(9) if frame != 4]
    swells = [(frame, 2, 20.0, 20.0, 60.0 if frame < 4 else 90.0) for frame in range(9) if frame != 4]

    tracks, _, repairs = linked(tmp_path, drawn(*jumps, *swells, *neighbours(9)), frames=9)

    assert tracks[0, 1] == tracks[8, 1]
    assert repairs.empty
