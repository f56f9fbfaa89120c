import json

import numpy as np
import pytest
import tifffile
from drawn import a_movie, disks

from cytolapse.labelimages import LabelImages, import_labels
from cytolapse.movies import StackReader
from cytolapse.tables import read_metadata, read_table

CELLS = np.stack([disks((40, 50), (10, 10, 6), (28, 36, 8)), np.zeros((40, 50), int)])


def imported(folder, images):
    """Labels of a movie of the size of CELLS, taken from these images."""
    movie_json = a_movie(folder, np.full(CELLS.shape, 7, np.uint16))
    paths = folder / "labels.tif", folder / "confidence.parquet"
    import_labels(images, movie_json, *paths, pixel_size_um=None, frame_interval_min=None, provenance={"code": "abc"})
    with StackReader(paths[0]) as stack:
        assert stack.dtype == np.uint16
        return np.stack([stack.read(frame) for frame in range(stack.shape[0])])


def stack_of(folder, labels, **options):
    tifffile.imwrite(folder / "masks.tif", labels, photometric="minisblack", **options)
    return folder / "masks.tif"


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_a_stack_is_taken_as_it_is_whatever_whole_numbers_it_holds(tmp_path, dtype):
    numbered = np.where(CELLS == 2, 77, CELLS).astype(dtype)

    np.testing.assert_array_equal(imported(tmp_path, stack_of(tmp_path, numbered)), numbered)

    confidence = read_table("confidence", tmp_path / "confidence.parquet")
    assert confidence[["frame", "label"]].to_numpy().tolist() == [[0, 1], [0, 77]]
    assert confidence["mask_confidence"].isna().all()
    record = json.loads(read_metadata(tmp_path / "confidence.parquet")["provenance"])["label"]
    assert record == {"code": "abc", "mask_source": "given", "images": str(tmp_path / "masks.tif")}


@pytest.mark.parametrize("metadata", [None, {"axes": "ZYX"}, {"axes": "TYX"}], ids=str)
def test_a_stack_is_taken_whatever_it_calls_its_axes(tmp_path, metadata):
    np.testing.assert_array_equal(
        imported(tmp_path, stack_of(tmp_path, CELLS.astype(np.uint16), metadata=metadata)), CELLS
    )


@pytest.mark.parametrize("ending", ["tif", "png"])
def test_a_folder_of_a_file_a_frame_is_taken_in_the_order_of_its_numbers(tmp_path, ending):
    from PIL import Image

    (tmp_path / "masks").mkdir()
    for number, labels in zip((9, 10), CELLS.astype(np.uint16), strict=True):
        if ending == "tif":
            tifffile.imwrite(tmp_path / f"masks/t{number}.tif", labels)
        else:
            Image.fromarray(labels).save(tmp_path / f"masks/t{number}.png")

    np.testing.assert_array_equal(imported(tmp_path, tmp_path / "masks"), CELLS)


def test_a_folder_with_one_stack_is_that_stack(tmp_path):
    (tmp_path / "masks").mkdir()
    stack_of(tmp_path / "masks", CELLS.astype(np.uint16))

    np.testing.assert_array_equal(imported(tmp_path, tmp_path / "masks"), CELLS)


def test_numbers_beyond_16_bits_become_1_to_n(tmp_path):
    large = np.where(CELLS > 0, 100_000 * CELLS, 0).astype(np.uint32)

    np.testing.assert_array_equal(imported(tmp_path, stack_of(tmp_path, large)), CELLS)


def test_numbers_beyond_16_bits_without_any_background_become_1_to_n(tmp_path):
    full = np.stack([np.where(CELLS[0] == 1, 70_000, 80_000)] * 2).astype(np.uint32)

    found = imported(tmp_path, stack_of(tmp_path, full))

    np.testing.assert_array_equal(found, np.stack([np.where(CELLS[0] == 1, 1, 2)] * 2))


def test_a_movie_of_a_single_cell_in_pieces_beside_others_is_taken(tmp_path):
    pieces = np.stack([4 * (disks((40, 50), (8, 8, 3), (8, 30, 3), (30, 30, 3)) > 0), CELLS[0]])

    np.testing.assert_array_equal(imported(tmp_path, stack_of(tmp_path, pieces.astype(np.uint16))), pieces)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (CELLS[:1].astype(np.uint16), "are 1 frames, movie .*movie.tif has 2; wanted one for each"),
        (CELLS[:, 1:].astype(np.uint16), "frame 0: are 39 x 50 px, movie .* is 40 x 50; wanted labels of the movie"),
        (CELLS.astype(np.float32), "pixels are float32, wanted uint8, uint16"),
        (np.where(CELLS > 0, CELLS, -1).astype(np.int16), "frame 0: hold the number -1; wanted 0 for background"),
        (
            np.stack([255 * (disks((40, 50), (8, 8, 3), (8, 30, 3), (30, 30, 3)) > 0)] * 2).astype(np.uint8),
            "up to 3 separate pieces of a frame have the one number 255: masks of cell and background",
        ),
    ],
    ids=["frames", "size", "type", "negative", "mask"],
)
def test_images_that_are_no_labels_of_this_movie_are_refused_and_nothing_is_written(tmp_path, labels, said):
    with pytest.raises(ValueError, match=rf"label images .*masks.tif.*{said}"):
        imported(tmp_path, stack_of(tmp_path, labels))

    assert not (tmp_path / "labels.tif").exists()


def test_too_many_cells_are_refused(tmp_path):
    movie_json = a_movie(tmp_path, np.full((1, 260, 260), 7, np.uint16))
    each_a_pixel = stack_of(tmp_path, np.arange(260 * 260, dtype=np.uint32).reshape(1, 260, 260))
    paths = tmp_path / "labels.tif", tmp_path / "confidence.parquet"

    with pytest.raises(
        ValueError, match="frame 0: cells are numbered up to 67599, .*remove specks from the label images"
    ):
        import_labels(each_a_pixel, movie_json, *paths, pixel_size_um=None, frame_interval_min=None, provenance={})


def test_a_file_of_a_folder_with_several_pages_is_refused_by_name(tmp_path):
    (tmp_path / "masks").mkdir()
    for number in (0, 1):
        tifffile.imwrite(tmp_path / f"masks/t{number}.tif", CELLS.astype(np.uint16), photometric="minisblack")

    with pytest.raises(ValueError, match=r"label images .*t0.tif: hold 2 pages; wanted one a file"):
        imported(tmp_path, tmp_path / "masks")


def test_a_stack_that_is_cut_off_is_refused(tmp_path):
    path = stack_of(tmp_path, CELLS.astype(np.uint16))
    path.write_bytes(path.read_bytes()[:-3000])

    with pytest.raises(ValueError, match="masks.tif"), LabelImages(path) as images:
        images.read(1)


def test_a_refused_movie_gives_one_empty_page_and_no_rows(tmp_path):
    (tmp_path / "movie.json").write_text(json.dumps({"status": "refused", "reason": "cut off"}))
    paths = [tmp_path / name for name in ("movie.json", "labels.tif", "confidence.parquet")]

    import_labels(tmp_path, *paths, pixel_size_um=None, frame_interval_min=None, provenance={})

    assert read_table("confidence", paths[2]).empty


def test_label_images_of_several_slices_are_refused(tmp_path):
    for t in range(2):
        for z in range(3):
            tifffile.imwrite(tmp_path / f"t{t}_z{z}.tif", np.ones((8, 8), np.uint16))

    with pytest.raises(ValueError, match="are 3 Z slices a frame; wanted one image a frame"):
        LabelImages(tmp_path)
