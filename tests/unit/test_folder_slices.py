"""Z slices in the names of a folder's files, or in the files."""

import numpy as np
import pytest
from recorded import accepted, frames_folder, picture, read_all, refusal, stack, write_tiff

from cytolapse.movies import open_movie


def z_names(pattern: str, frames=3, slices=4, channels=("GFP", "Phase")) -> tuple[dict, np.ndarray]:
    """Images by their names, and the same as an array (t, c, z, y, x)."""
    truth = np.random.default_rng(5).integers(1, 4000, (frames, len(channels), slices, 24, 40)).astype("uint16")
    return {
        pattern.format(t=t, z=z, c=name, w=c + 1): truth[t, c, z]
        for t in range(frames)
        for c, name in enumerate(channels)
        for z in range(slices)
    }, truth


@pytest.mark.parametrize(
    "pattern",
    [
        "img_{t:09d}_{c}_{z:03d}.tif",
        "t{t:02d}z{z:02d}{c}.tif",
        "{c}_slice{z}_frame{t}.tif",
        "a_w{w}{c}_s3_z{z}_t{t}.TIF",
    ],
)
def test_slices_in_the_names_are_projected_one_by_one(tmp_path, pattern):
    names, truth = z_names(pattern)
    folder = frames_folder(tmp_path / "m", names)

    largest = read_all(accepted(folder, ("GFP", "Phase"), z="max"), squeeze=False)
    mean = read_all(accepted(folder, ("GFP", "Phase"), z="mean"), squeeze=False)
    sharp = accepted(folder, ("GFP", "Phase"), z="focus")

    np.testing.assert_array_equal(largest, truth.max(axis=2))
    np.testing.assert_array_equal(mean, truth.mean(axis=2).round())
    chosen = [truth[t, :, sharp["focus_slices"][t]] for t in range(3)]
    np.testing.assert_array_equal(read_all(sharp, squeeze=False), np.array(chosen))
    assert "has 4 Z slices a frame, by the names of the files; choose what is made of them" in refusal(
        folder, ("GFP", "Phase")
    )


def test_a_folder_of_a_file_a_frame_and_slice_is_projected(tmp_path):
    names, truth = z_names("t{t}z{z}.tif", channels=("a",))

    info = accepted(frames_folder(tmp_path / "m", names), z="max")

    assert info["layout"] == "frame_files"
    np.testing.assert_array_equal(read_all(info), truth[:, 0].max(axis=1))


@pytest.mark.parametrize("axes", ["ZCYX", "CZYX"])
def test_slices_in_the_file_of_a_frame_are_projected(tmp_path, axes):
    _, truth = z_names("")
    for t, frame in enumerate(truth):
        path = tmp_path / f"t{t}.ome.tif"
        write_tiff(path, np.moveaxis(frame, (0, 1), (axes.index("C"), axes.index("Z"))), metadata={"axes": axes})

    with open_movie(accepted(tmp_path, ("a1", "b1"), z="max")) as movie:
        np.testing.assert_array_equal(movie.read(2, "b1"), truth[2, 1].max(axis=0))


def test_the_order_of_slices_and_channels_that_a_file_does_not_say_is_the_sheets(tmp_path):
    _, truth = z_names("")
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": frame.reshape(8, 24, 40) for t, frame in enumerate(truth)})

    info = accepted(folder, ("a1", "b1"), z="max", axes="TCZYX")

    with open_movie(info) as movie:
        np.testing.assert_array_equal(movie.read(2, "b1"), truth[2, 1].max(axis=0))
    assert "a file of one frame holds 8 planes, wanted 2" in refusal(folder, ("a1", "b1"), z="max")


def test_metamorphs_z_stack_of_a_frame_and_channel_is_projected(tmp_path):
    _, truth = z_names("")
    names = {f"a_w{c + 1}{n}_t{t}.TIF": truth[t, c] for t in range(3) for c, n in enumerate(("GFP", "Phase"))}

    info = accepted(frames_folder(tmp_path / "m", names), ("Phase", "GFP"), z="max")

    with open_movie(info) as movie:
        np.testing.assert_array_equal(movie.read(1, "GFP"), truth[1, 0].max(axis=0))


def test_a_channel_with_one_slice_is_that_whatever_the_projection(tmp_path):
    names, truth = z_names("img_{t:09d}_{c}_{z:03d}.tif")
    kept = {name: image for name, image in names.items() if "Phase" in name or "_002" in name}
    folder = frames_folder(tmp_path / "m", kept)

    for z in ("max", "mean", "focus"):
        with open_movie(accepted(folder, ("Phase", "GFP"), z=z)) as movie:
            np.testing.assert_array_equal(movie.read(1, "GFP"), truth[1, 0, 2])


def test_a_slice_that_is_missing_in_one_frame_is_refused(tmp_path):
    names, _ = z_names("img_{t:09d}_{c}_{z:03d}.tif")
    del names["img_000000001_GFP_002.tif"]

    reason = refusal(frames_folder(tmp_path / "m", names), ("Phase", "GFP"), z="max")

    assert "slice 2 of frame 1 of channel 'GFP' is missing; copy the files again" in reason


def test_a_slice_that_is_there_twice_is_refused(tmp_path):
    names, _ = z_names("t{t}z{z}.tif", channels=("a",))
    folder = frames_folder(tmp_path / "m", names | {"t1z02.tif": picture(1)})

    assert "frame 1, slice 2 is there twice, t1z02.tif and t1z2.tif" in refusal(folder, z="max")


def test_slices_without_a_number_of_a_frame_are_no_movie(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"z{z}.tif": picture(z) for z in range(5)})

    assert "are Z slices without a number of a frame (as in z0.tif): one Z stack is no movie" in refusal(
        folder, z="max"
    )
    timed = frames_folder(tmp_path / "timed", {f"t0z{z}.tif": picture(z) for z in range(5)})
    assert accepted(timed, z="max")["frames"] == 1


def test_slices_in_names_and_in_files_are_refused(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t}z{z}.tif": stack(3) for t in range(2) for z in range(2)})

    assert "has Z slices in the names (2) and in the files (3 in t0z0.tif)" in refusal(folder, z="max")


def test_a_file_of_a_frame_with_more_planes_than_the_others_is_refused(tmp_path):
    names = {f"t{t}.tif": stack(3) for t in range(3)} | {"t3.tif": stack(5)}

    reason = refusal(frames_folder(tmp_path / "m", names), z="max")

    assert "t3.tif: a file of one frame holds 5 planes, wanted 3 as in the others" in reason


def test_folders_of_slices_in_folders_of_frames_are_projected(tmp_path):
    names, truth = z_names("TimePoint_{t}/ZStep_{z}/p_B03_s1_w{w}.TIF")
    folder = frames_folder(tmp_path / "m", names)

    np.testing.assert_array_equal(read_all(accepted(folder, ("w1", "w2"), z="max"), squeeze=False), truth.max(axis=2))
