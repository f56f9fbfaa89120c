import json

import numpy as np
import pytest

from cytolapse.masks import LabelledFrame, write_labels, write_no_labels
from cytolapse.movies import StackReader
from cytolapse.tables import read_metadata, read_table

INFO = {"path": "a.tif", "pixel_size_um": 0.2, "frame_interval_min": 5.0}


def written(folder, frames, **changes):
    """The table of these frames; labels.tif lies beside it."""
    settings = {"info": INFO, "pixel_size_um": None, "frame_interval_min": None, "records": {"label": {}}}
    shape = (len(frames), *frames[0].labels.shape)
    paths = folder / "labels.tif", folder / "confidence.parquet"
    cells = write_labels(*paths, frames, **{**settings, "shape": shape, "remedy": "remove specks", **changes})
    table = read_table("confidence", paths[1])
    assert cells == len(table)
    return table


def labels(*numbers, shape=(8, 10)):
    """One pixel for each number."""
    image = np.zeros(shape, np.int32)
    image.ravel()[: len(numbers)] = numbers
    return image


def test_each_cell_of_each_frame_has_a_row_also_where_numbers_are_left_out(tmp_path):
    frames = [LabelledFrame(labels(2, 5), np.array([0.0, 0.6, 0.0, 0.0, 0.9])), LabelledFrame(labels(), np.zeros(0))]

    table = written(tmp_path, frames)

    assert table[["frame", "label"]].to_numpy().tolist() == [[0, 2], [0, 5]]
    assert table["mask_confidence"].tolist() == [0.6, 0.9]
    with StackReader(tmp_path / "labels.tif") as stack:
        assert (stack.shape, stack.dtype) == ((2, 8, 10), np.uint16)
        np.testing.assert_array_equal(stack.read(0), labels(2, 5))


def test_a_segmenter_that_does_not_say_how_sure_it_is_leaves_null(tmp_path):
    assert written(tmp_path, [LabelledFrame(labels(1), None)])["mask_confidence"].isna().all()


def test_the_records_stand_in_both_files(tmp_path):
    written(tmp_path, [LabelledFrame(labels(1), None)], records={"label": {"code": "abc"}})

    assert json.loads(read_metadata(tmp_path / "confidence.parquet")["provenance"]) == {"label": {"code": "abc"}}
    with StackReader(tmp_path / "labels.tif") as stack:
        assert stack.description == {"label": {"code": "abc"}}


def test_too_many_cells_are_refused_with_the_frame_and_what_to_do(tmp_path):
    many = LabelledFrame(labels(*range(1, 65537), shape=(256, 257)), None)

    with pytest.raises(
        ValueError, match="movie a.tif, frame 1: cells are numbered up to 65536, labels.tif holds 65535; remove specks"
    ):
        written(tmp_path, [LabelledFrame(labels(shape=(256, 257)), None), many])
    assert not list(tmp_path.iterdir())


def test_a_refused_movie_gives_one_empty_page_and_no_rows(tmp_path):
    write_no_labels(tmp_path / "labels.tif", tmp_path / "confidence.parquet", {"label": {"code": "abc"}})

    with StackReader(tmp_path / "labels.tif") as stack:
        assert stack.shape == (1, 1, 1)
        assert stack.description == {"label": {"code": "abc"}}
    assert read_table("confidence", tmp_path / "confidence.parquet").empty
