import os

import numpy as np
import pytest
import tifffile
from PIL import Image

from cytolapse.annotations import IGNORE, annotations_digest, find_pairs, read_pairs


def cells() -> np.ndarray:
    labels = np.zeros((12, 16), np.uint16)
    labels[2:6, 2:6] = 1
    labels[2:6, 6:9] = 2
    return labels


def picture() -> np.ndarray:
    return np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array)


def write_pair(folder, name="a", image=None, masks=None):
    write(folder / "images" / f"{name}.tif", picture() if image is None else image)
    write(folder / "masks" / f"{name}.tif", cells() if masks is None else masks)


def test_images_pair_with_masks_of_the_same_name_in_the_folder_beside(tmp_path):
    write_pair(tmp_path, "b")
    write_pair(tmp_path, "a")
    write(tmp_path / "images" / "._a.tif", picture())
    (tmp_path / "images" / "notes.txt").write_text("seven frames")

    pairs = find_pairs(tmp_path)

    assert [pair.name for pair in pairs] == ["a", "b"]
    assert pairs[0].masks == tmp_path / "masks" / "a.tif"


def test_images_pair_with_the_masks_that_cellpose_puts_beside_them(tmp_path):
    write(tmp_path / "a.tif", picture())
    Image.fromarray(cells().astype(np.uint8)).save(tmp_path / "a_masks.png")
    write(tmp_path / "b.TIF", picture())
    write(tmp_path / "b_masks.tif", cells())

    pairs = find_pairs(tmp_path)

    assert [(pair.name, pair.masks.name) for pair in pairs] == [("a", "a_masks.png"), ("b", "b_masks.tif")]
    assert (read_pairs(tmp_path)[0].labels == cells()).all()


@pytest.mark.parametrize("image", ["images/b.tif", "b.tif"])
def test_an_image_without_masks_is_refused_by_name(tmp_path, image):
    if image == "b.tif":
        write(tmp_path / "a.tif", picture())
        write(tmp_path / "a_masks.tif", cells())
    else:
        write_pair(tmp_path)
    write(tmp_path / image, picture())

    with pytest.raises(ValueError, match=r"image b.tif has no masks; wanted (masks/b.tif|b_masks.tif or b_masks.png)"):
        find_pairs(tmp_path)


def test_masks_without_an_image_are_refused_by_name(tmp_path):
    write_pair(tmp_path)
    write(tmp_path / "masks" / "c.tif", cells())

    with pytest.raises(ValueError, match="masks c.tif have no image called c"):
        find_pairs(tmp_path)


def test_two_layouts_in_one_folder_are_refused(tmp_path):
    write_pair(tmp_path)
    write(tmp_path / "d.tif", picture())

    with pytest.raises(ValueError, match="d.tif lies beside images/ and masks/"):
        find_pairs(tmp_path)


def test_two_images_of_one_name_are_refused(tmp_path):
    write_pair(tmp_path)
    write(tmp_path / "images" / "a.tiff", picture())

    with pytest.raises(ValueError, match=r"a.tif and .*a.tiff are both called a"):
        find_pairs(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no images found; wanted images/NAME.tif with masks/NAME.tif"):
        find_pairs(tmp_path)


@pytest.mark.parametrize("function", [find_pairs, lambda folder: annotations_digest(folder, {})])
def test_a_folder_that_does_not_exist_is_refused(tmp_path, function):
    with pytest.raises(ValueError, match="there is no such folder"):
        function(tmp_path / "missing")


def test_images_are_read_as_stored_and_masks_as_labels(tmp_path):
    masks = cells().astype(np.int16)
    masks[0, 0] = IGNORE
    write_pair(tmp_path, image=picture().astype(np.uint16) + 32768, masks=masks)

    (annotation,) = read_pairs(tmp_path)

    assert annotation.name == "a"
    assert annotation.image.dtype == np.uint16
    assert (annotation.image == picture().astype(np.uint16) + 32768).all()
    assert annotation.labels.dtype == np.int32
    assert (annotation.labels == masks).all()


def test_channels_come_first(tmp_path):
    write_pair(tmp_path, image=np.stack([picture(), picture()]))

    assert read_pairs(tmp_path)[0].image.shape == (2, 12, 16)


@pytest.mark.parametrize(
    ("image", "masks", "message"),
    [
        (picture()[:8], cells(), r"a.tif: masks of 12 x 16 px for an image of 8 x 16 px; wanted the same size"),
        (
            np.zeros((12, 16, 3), np.uint8),
            cells(),
            r"shape \(12, 16, 3\); wanted one plane \(y, x\), or channels first",
        ),
        (picture().astype(np.complex64), cells(), "pixels are complex64; wanted whole numbers or floats"),
        (np.full((12, 16), np.nan, np.float32), cells(), "192 pixels are not finite numbers"),
        (picture(), np.stack([cells(), cells()]), r"shape \(2, 12, 16\); wanted one label image"),
        (picture(), cells().astype(np.float32), "pixels are float32; wanted a label image of whole numbers"),
        (picture(), cells().astype(np.int16) - 5, "labels run from -5 to -3; wanted -1"),
        (picture(), np.zeros((12, 16), np.uint8), "no cell is drawn in any of the 1 masks"),
    ],
)
def test_a_pair_that_cannot_teach_is_refused_with_its_file(tmp_path, image, masks, message):
    write_pair(tmp_path, image=image, masks=masks)

    with pytest.raises(ValueError, match=message):
        read_pairs(tmp_path)


def test_a_file_that_is_no_image_is_refused_by_name(tmp_path):
    write_pair(tmp_path)
    (tmp_path / "images" / "a.tif").write_text("not a picture")

    with pytest.raises(ValueError, match=r"images/a.tif: cannot be read as an image"):
        read_pairs(tmp_path)


def test_images_of_different_numbers_of_channels_are_refused(tmp_path):
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "b", image=np.stack([picture(), picture()]))

    with pytest.raises(ValueError, match=r"b.tif: 2 channel\(s\), but a.tif has 1"):
        read_pairs(tmp_path)


def test_a_mask_of_cell_and_background_is_refused_because_touching_cells_are_one_in_it(tmp_path):
    masks = np.zeros((12, 16), np.uint8)
    masks[1:3, 1:3] = masks[5:7, 5:7] = masks[9:11, 9:11] = 255
    write_pair(tmp_path, masks=masks)

    with pytest.raises(ValueError, match="3 separate pieces have the one number 255"):
        read_pairs(tmp_path)


@pytest.mark.parametrize("kind", [np.uint16, np.uint32])
def test_the_largest_value_of_an_unsigned_mask_marks_what_nobody_has_judged(tmp_path, kind):
    masks = cells().astype(kind)
    masks[8:, :4] = np.iinfo(kind).max
    write_pair(tmp_path, masks=masks)

    labels = read_pairs(tmp_path)[0].labels

    assert (labels[8:, :4] == IGNORE).all()
    assert (labels[:8] == cells()[:8]).all()


def test_255_is_a_cell_in_8_bits(tmp_path):
    masks = cells().astype(np.uint8)
    masks[8:, :4] = 255
    write_pair(tmp_path, masks=masks)

    assert (read_pairs(tmp_path)[0].labels == masks).all()


def test_a_mask_of_nothing_but_the_mark_is_refused_because_it_may_be_meant_as_cells(tmp_path):
    masks = np.zeros((12, 16), np.uint16)
    masks[2:6, 2:6] = 65535
    write_pair(tmp_path, masks=masks)

    with pytest.raises(
        ValueError, match="a.tif: holds 0 and 65535 alone, which in 16 bits marks what nobody has judged"
    ):
        read_pairs(tmp_path)


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    write_pair(tmp_path, "a", masks=cells().astype(np.float32))
    write_pair(tmp_path, "b", image=picture()[:8])
    (tmp_path / "images" / "b.tif").write_text("not a picture")
    write_pair(tmp_path, "c", image=picture()[:8])
    write_pair(tmp_path, "d", image=np.stack([picture(), picture()]))

    with pytest.raises(ValueError, match="pixels are float32") as caught:
        read_pairs(tmp_path)

    assert [line.split(": ")[0].rsplit("/", 2)[-2:] for line in str(caught.value).splitlines()] == [
        ["masks", "a.tif"],
        ["images", "b.tif"],
        ["masks", "c.tif"],
        ["images", "d.tif"],
    ]


def test_all_images_without_masks_and_all_masks_without_images_are_named(tmp_path):
    write_pair(tmp_path)
    for name in ("b", "c"):
        write(tmp_path / "images" / f"{name}.tif", picture())
    write(tmp_path / "masks" / "d.tif", cells())

    with pytest.raises(
        ValueError, match=r"image b.tif has no masks.*\n.*image c.tif has no masks.*\n.*masks d.tif have no"
    ):
        find_pairs(tmp_path)


def test_one_cell_in_two_pieces_is_a_cell(tmp_path):
    masks = np.zeros((12, 16), np.uint8)
    masks[1:3, 1:3] = masks[5:7, 5:7] = 1
    write_pair(tmp_path, masks=masks)

    assert read_pairs(tmp_path)[0].labels.max() == 1


def test_an_image_without_cells_is_kept_beside_one_with_cells(tmp_path):
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "empty", masks=np.zeros((12, 16), np.uint8))

    assert [each.name for each in read_pairs(tmp_path)] == ["a", "empty"]


def test_a_touch_does_not_change_the_digest(tmp_path):
    write_pair(tmp_path)
    before = annotations_digest(tmp_path, {})
    os.utime(tmp_path / "masks" / "a.tif", (1, 1))

    assert annotations_digest(tmp_path, {}) == before


def test_an_edit_under_an_old_time_changes_the_digest_in_spite_of_the_cache(tmp_path):
    write_pair(tmp_path)
    cache = {}
    before = annotations_digest(tmp_path, cache)
    path = tmp_path / "masks" / "a.tif"
    times = path.stat()
    masks = cells()
    masks[2, 2] = 0
    write(path, masks)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert path.stat().st_size == times.st_size
    assert annotations_digest(tmp_path, cache) != before


def test_an_added_a_removed_and_a_renamed_file_change_the_digest(tmp_path):
    write_pair(tmp_path, "a")
    digests = [annotations_digest(tmp_path, {})]
    write_pair(tmp_path, "b")
    digests.append(annotations_digest(tmp_path, {}))
    (tmp_path / "masks" / "a.tif").unlink()
    digests.append(annotations_digest(tmp_path, {}))
    (tmp_path / "masks" / "b.tif").rename(tmp_path / "masks" / "a.tif")
    digests.append(annotations_digest(tmp_path, {}))

    assert len(set(digests)) == 4


def test_a_known_file_is_not_read_again(tmp_path):
    write_pair(tmp_path)
    cache = {}
    before = annotations_digest(tmp_path, cache)
    for entry in cache.values():
        entry["content"] = "remembered"

    assert annotations_digest(tmp_path, cache) != before


def test_a_note_in_the_folder_does_not_change_the_digest(tmp_path):
    write_pair(tmp_path)
    before = annotations_digest(tmp_path, {})
    (tmp_path / "images" / "notes.txt").write_text("drawn on Monday")

    assert annotations_digest(tmp_path, {}) == before


def test_annotations_moved_to_another_folder_keep_their_digest(tmp_path):
    write_pair(tmp_path / "here")
    write_pair(tmp_path / "there")

    assert annotations_digest(tmp_path / "here", {}) == annotations_digest(tmp_path / "there", {})
