import numpy as np
import pytest
from recorded import accepted, ome_movie, read_all, refusal, stack, write_tiff

from cytolapse.movies import frame_times_h, open_movie


def test_a_plain_stack_is_read_by_the_axes_of_the_sheet(tmp_path):
    truth = stack(3, 2)
    write_tiff(tmp_path / "m.tif", truth.reshape(6, 24, 40), metadata=None)

    by_frame = accepted(tmp_path / "m.tif", ("a", "b"), axes="TCYX")
    by_channel = accepted(tmp_path / "m.tif", ("a", "b"), axes="CTYX")

    with open_movie(by_frame) as movie:
        np.testing.assert_array_equal(movie.read(1, "b"), truth.reshape(6, 24, 40)[3])
    with open_movie(by_channel) as movie:
        np.testing.assert_array_equal(movie.read(1, "b"), truth.reshape(6, 24, 40)[4])


def test_the_axes_of_the_sheet_win_over_z_in_the_file(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(6), imagej=True, metadata={"axes": "ZYX"})

    np.testing.assert_array_equal(read_all(accepted(tmp_path / "m.tif", axes="TYX")), stack(6))
    np.testing.assert_array_equal(read_all(accepted(tmp_path / "m.tif", axes="TZCYX")), stack(6))


def test_a_movie_of_one_frame_needs_only_its_axes_stated(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(1)[0])

    info = accepted(tmp_path / "m.tif", axes="TYX", stated=("pixel_size_um",))

    assert info["frames"] == 1
    assert frame_times_h(info, None).tolist() == [0]


def test_a_stack_that_says_z_is_refused_with_the_reading_as_time(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(6), imagej=True, metadata={"axes": "ZYX"})

    reason = refusal(tmp_path / "m.tif")

    assert "its planes are ambiguous, shape (6, 24, 40) with axes ZYX (ImageJ): no time axis, but Z" in reason
    assert "It could be read as TYX (6 frames): name the axes in config/experiments.tsv (column axes)" in reason
    assert "where they are Z slices of one frame, it is no movie" in reason


def test_a_plain_stack_of_two_channels_is_refused_with_both_readings(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(6), metadata=None)

    reason = refusal(tmp_path / "m.tif", ("a", "b"))

    assert "shape (6, 24, 40) with axes IYX (plain): they do not say what they are" in reason
    assert "It could be read as TCYX (3 frames) or CTYX (3 frames)" in reason


def test_channels_that_are_frames_are_refused_with_the_reading_as_time(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(6), imagej=True, metadata={"axes": "CYX"})

    reason = refusal(tmp_path / "m.tif")

    assert "has 6 channels, config/experiments.tsv names 1 (a), shape (6, 24, 40) with axes CYX (ImageJ)" in reason
    assert "It could be read as TYX (6 frames)" in reason


def test_a_wrong_number_of_channels_is_refused(tmp_path):
    reason = refusal(ome_movie(tmp_path / "m.ome.tif", 4, 2), ("a", "b", "c"))

    assert (
        "has 2 channels, config/experiments.tsv names 3 (a, b, c), shape (4, 2, 24, 40) with axes TCYX (OME)" in reason
    )
    assert "No reading fits 3 channels: correct config/experiments.tsv (column channels)" in reason


def test_time_and_channel_exchanged_are_refused_with_the_other_reading(tmp_path):
    write_tiff(tmp_path / "m.ome.tif", stack(2, 5), metadata={"axes": "TCYX"})

    assert "It could be read as CTYX (5 frames)" in refusal(tmp_path / "m.ome.tif", ("a", "b"))
    assert accepted(tmp_path / "m.ome.tif", ("a", "b"), axes="CTYX")["frames"] == 5


def test_a_z_stack_over_time_is_refused_with_the_remedy(tmp_path):
    write_tiff(tmp_path / "m.ome.tif", stack(3, 5), metadata={"axes": "TZYX"})

    reason = refusal(tmp_path / "m.ome.tif")

    assert "has 5 Z slices a frame, shape (3, 5, 24, 40) with axes TZYX (OME); choose what is made of them" in reason
    assert "(inspect.z_projection: max, mean or focus)" in reason
    assert "has 5 Z slices a frame" in refusal(tmp_path / "m.ome.tif", axes="TZYX")


def z_movie(frames=3, slices=5, channels=2):
    """Frames, channels, slices (t, c, z, y, x): sharp in slice frame + 1, brightest in the last slice."""
    rng = np.random.default_rng(4)
    data = np.zeros((frames, channels, slices, 24, 40), np.uint16)
    for t, c, z in np.ndindex(frames, channels, slices):
        detail = rng.integers(0, 60, (24, 40)) if z == t + 1 else 30
        data[t, c, z] = 100 + 50 * c + 20 * z + detail
    return data


@pytest.mark.parametrize("axes", ["TCZYX", "TZCYX", "ZTCYX", "CZTYX"])
def test_z_slices_are_projected_whatever_the_order_of_the_axes(tmp_path, axes):
    truth = z_movie()
    stored = np.moveaxis(truth, range(5), [axes.index(letter) for letter in "TCZYX"])
    write_tiff(tmp_path / "m.ome.tif", stored, metadata={"axes": axes})

    largest = read_all(accepted(tmp_path / "m.ome.tif", ("a", "b"), z="max"), squeeze=False)
    mean = read_all(accepted(tmp_path / "m.ome.tif", ("a", "b"), z="mean"), squeeze=False)
    sharp = accepted(tmp_path / "m.ome.tif", ("a", "b"), z="focus")

    np.testing.assert_array_equal(largest, truth.max(axis=2))
    np.testing.assert_array_equal(mean, truth.mean(axis=2).round())
    assert sharp["focus_slices"] == [1, 2, 3]
    np.testing.assert_array_equal(read_all(sharp, squeeze=False), np.array([truth[t, :, t + 1] for t in range(3)]))


def test_the_axes_of_the_sheet_say_which_axis_is_z(tmp_path):
    truth = z_movie(3, 5, 1)[:, 0]
    write_tiff(tmp_path / "m.ome.tif", truth, metadata={"axes": "ZTYX"})

    info = accepted(tmp_path / "m.ome.tif", axes="TZYX", z="max")

    np.testing.assert_array_equal(read_all(info), truth.max(axis=1))


def test_a_projection_changes_nothing_where_there_is_one_slice(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(4), metadata={"axes": "TYX"})

    for z in ("max", "mean", "focus"):
        info = accepted(tmp_path / "m.tif", z=z)
        assert info["focus_slices"] is None
        np.testing.assert_array_equal(read_all(info), stack(4))


def test_stacks_of_a_channel_with_different_numbers_of_slices_are_refused(tmp_path):
    for name, slices in (("phase", 2), ("gfp", 3)):
        write_tiff(tmp_path / f"{name}.ome.tif", z_movie(3, slices, 1)[:, 0], metadata={"axes": "TZYX"})

    reason = refusal(tmp_path, ("phase", "gfp"), z="max")

    assert "its stacks have different numbers of Z slices: phase.ome.tif 2, gfp.ome.tif 3; project them" in reason


def test_a_single_image_is_refused_with_the_axes_that_mend_it(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(1)[0])
    write_tiff(tmp_path / "c.ome.tif", stack(1, 2)[0], metadata={"axes": "CYX"})

    assert "is one image without a time axis" in refusal(tmp_path / "m.tif")
    assert "a movie of one frame needs the axes TCYX" in refusal(tmp_path / "c.ome.tif", ("a", "b"))


@pytest.mark.parametrize(
    ("axes", "channels", "finding"),
    [
        ("TXY", ("a",), "wanted letters of T, C, Y, X, each once, ending in YX"),
        ("TTYX", ("a",), "wanted letters of T, C, Y, X, each once, ending in YX"),
        ("ZYX", ("a",), "axes are 'ZYX' in config/experiments.tsv, a movie needs a time axis T"),
        ("TYX", ("a", "b"), "without a channel axis C, but 2 channels are named (a, b)"),
        ("TCYX", ("a", "b", "c", "d", "e"), "does not fit the axes 'TCYX' of config/experiments.tsv with 5 channels"),
    ],
)
def test_axes_of_the_sheet_that_cannot_be_are_refused(tmp_path, axes, channels, finding):
    write_tiff(tmp_path / "m.tif", stack(6), metadata=None)

    assert finding in refusal(tmp_path / "m.tif", channels, axes=axes)


def test_axes_of_the_sheet_that_contradict_two_known_sizes_are_refused(tmp_path):
    reason = refusal(ome_movie(tmp_path / "m.ome.tif", 6, 2), ("a", "b"), axes="CTYX")

    assert "does not fit the axes 'CTYX'" in reason
    assert "shape (6, 2, 24, 40) with axes TCYX (OME)" in reason
