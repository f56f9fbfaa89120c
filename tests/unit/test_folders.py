import re

import numpy as np
import pytest
from recorded import accepted, frames_folder, inspect, picture, read_all, refusal, stack, write_tiff

from cytolapse.folders import is_regular
from cytolapse.movies import open_movie


def test_a_folder_of_a_file_a_frame_is_read_in_the_order_of_its_numbers(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in range(12)})

    np.testing.assert_array_equal(read_all(accepted(folder)), stack(12))


NAMES = [
    "img_{t:09d}_{c}_000.tif",
    "exp1_w{w}{c}_s1_t{t}.TIF",
    "{c}_{t:03d}.tif",
    "{c}{t:03d}.tif",
    "pos3-t{t:02d}-{c}.tif",
]


@pytest.mark.parametrize("pattern", NAMES)
def test_frame_and_channel_are_found_in_the_names_of_files(tmp_path, pattern):
    names = {
        pattern.format(t=t + 1, c=c, w=w + 1): picture(t, w) for t in range(11) for w, c in enumerate(("GFP", "Phase"))
    }

    info = accepted(frames_folder(tmp_path / "m", names), ("gfp", "phase"))

    with open_movie(info) as movie:
        np.testing.assert_array_equal(movie.read(10, "phase"), picture(10, 1))
        np.testing.assert_array_equal(movie.read(1, "gfp"), picture(1, 0))


def test_a_channel_whose_name_begins_anothers_is_told_apart(tmp_path):
    names = {f"{c}_t{t}.tif": picture(t, w) for t in range(3) for w, c in enumerate(("GFP", "GFP2"))}

    with open_movie(accepted(frames_folder(tmp_path / "m", names), ("GFP", "GFP2"))) as movie:
        np.testing.assert_array_equal(movie.read(1, "GFP"), picture(1, 0))
        np.testing.assert_array_equal(movie.read(1, "GFP2"), picture(1, 1))


def test_a_counter_is_told_from_the_clock_beside_it(tmp_path):
    names = {f"img_{t:03d}_{90000 + 317 * t}.tif": picture(t) for t in range(4)}

    np.testing.assert_array_equal(read_all(accepted(frames_folder(tmp_path / "m", names))), stack(4))


def test_a_folder_of_one_stack_a_channel_is_read(tmp_path):
    for channel, name in enumerate(("phase", "gfp")):
        write_tiff(tmp_path / f"{name}.tif", stack(4, 2)[:, channel], metadata={"axes": "TYX"})
    write_tiff(tmp_path / "labels_tracked.tif", stack(4), metadata={"axes": "TYX"})

    info = accepted(tmp_path, ("gfp", "phase"))

    assert info["warnings"] == ["images that belong to no channel were left out: labels_tracked.tif"]
    with open_movie(info) as movie:
        np.testing.assert_array_equal(movie.read(3, "gfp"), picture(3, 1))
        np.testing.assert_array_equal(movie.read(3, "phase"), picture(3, 0))


def test_a_file_a_frame_may_hold_a_page_for_each_channel(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": stack(3, 2)[t] for t in range(3)})

    with open_movie(accepted(folder, ("a1", "b1"))) as movie:
        np.testing.assert_array_equal(movie.read(2, "b1"), picture(2, 1))


def test_a_channel_taken_at_every_third_frame_is_null_in_between(tmp_path):
    names = {f"phase_{t:02d}.tif": picture(t) for t in range(7)}
    names |= {f"gfp_{t:02d}.tif": picture(t, 1) for t in (0, 3, 6)}

    info = accepted(frames_folder(tmp_path / "m", names), ("phase", "gfp"))

    assert info["acquired"]["gfp"] == [True, False, False, True, False, False, True]
    assert info["acquired"]["phase"] == [True] * 7
    assert info["warnings"] == []
    with open_movie(info) as movie:
        assert movie.read(1, "gfp") is None
        np.testing.assert_array_equal(movie.read(3, "gfp"), picture(3, 1))


@pytest.mark.parametrize("name", ["dna.tif", "exp12_dna_t0.tif"])
def test_a_channel_taken_once_at_the_beginning_is_null_afterwards(tmp_path, name):
    names = {f"exp12_phase_t{t}.tif": picture(t) for t in range(4)} | {name: picture(0, 1)}

    info = accepted(frames_folder(tmp_path / "m", names), ("phase", "dna"))

    assert info["acquired"]["dna"] == [True, False, False, False]


def test_a_folder_with_a_single_stack_is_read_whatever_its_name(tmp_path):
    write_tiff(tmp_path / "stack7.tif", stack(4), metadata={"axes": "TYX"})

    np.testing.assert_array_equal(read_all(accepted(tmp_path, ("phase",))), stack(4))


def test_frames_numbered_in_equal_steps_are_taken_as_consecutive_and_said(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t:03d}.tif": picture(t // 5) for t in range(0, 20, 5)})

    info = accepted(folder)

    assert info["warnings"] == ["frames are numbered in steps of 5 and were taken as consecutive"]
    np.testing.assert_array_equal(read_all(info), stack(4))


def test_an_image_without_a_number_is_left_out_and_said(tmp_path):
    names = {f"t{t}.tif": picture(t) for t in range(3)} | {"mean.tif": picture(9)}

    info = accepted(frames_folder(tmp_path / "m", names))

    assert info["frames"] == 3
    assert info["warnings"] == ["images that belong to no channel were left out: mean.tif"]


def test_hidden_and_other_files_of_a_folder_are_none_of_the_movie(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in range(3)})
    (folder / "._t0.tif").write_bytes(b"resource fork")
    (folder / "notes.txt").write_text("day 3")

    assert accepted(folder)["frames"] == 3


def test_frames_that_land_after_the_inspection_do_not_move_the_others(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in range(1, 4)})
    info = accepted(folder)
    frames_folder(folder, {"t0.tif": picture(50), "t4.tif": picture(4)})

    np.testing.assert_array_equal(read_all(info), stack(4)[1:])


def test_a_frame_that_is_missing_in_a_folder_is_named(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t:03d}.tif": picture(t) for t in range(20) if t not in (7, 11, 12)})

    assert "the frames 7, 11, 12 are missing; copy them again" in refusal(folder)


def test_many_missing_frames_are_counted(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t:03d}.tif": picture(t) for t in (0, 1, 30)})

    assert "the frames 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 18 more are missing" in refusal(folder)


def test_a_reporter_that_misses_files_without_rhythm_is_null_there_and_said(tmp_path):
    names = {f"phase_{t}.tif": picture(t) for t in range(6)} | {f"gfp_{t}.tif": picture(t, 1) for t in (0, 1, 3, 5)}

    info = accepted(frames_folder(tmp_path / "m", names), ("phase", "gfp"))

    assert info["acquired"]["gfp"] == [True, True, False, True, False, True]
    assert info["warnings"] == [
        "channel 'gfp' has no file of the frames numbered 2, 4, which follow no rhythm: taken as not acquired"
    ]
    with open_movie(info) as movie:
        assert movie.read(4, "gfp") is None
        np.testing.assert_array_equal(movie.read(5, "gfp"), picture(5, 1))


def test_a_frame_missing_of_the_segmented_channel_is_refused_though_others_have_it(tmp_path):
    names = {f"phase_{t}.tif": picture(t) for t in range(6) if t != 3} | {f"gfp_{t}.tif": picture(t) for t in range(6)}

    assert "the frames 3 are missing" in refusal(frames_folder(tmp_path / "m", names), ("phase", "gfp"))


def test_a_position_of_a_folder_is_laid_out_alone(tmp_path):
    names = {
        f"t{t:02d}xy{p:04d}c{c + 1}.tif": picture(t, c) + 1000 * p for t in range(3) for p in (3, 11) for c in (0, 1)
    }
    folder = frames_folder(tmp_path / "m", names | {"overview.tif": picture(0)})

    info = accepted(folder, ("c1", "c2"), position="xy0011")

    assert info["warnings"] == ["images that belong to no position were left out: overview.tif"]
    with open_movie(info) as movie:
        np.testing.assert_array_equal(movie.read(2, "c2"), picture(2, 1) + 11000)
    assert "no file is of the position 'xy0012' any more (there are xy0003, xy0011)" in refusal(
        folder, ("c1", "c2"), position="xy0012"
    )
    assert "the files are of several positions (xy0003, xy0011); run again where some came during the run" in refusal(
        folder, ("c1", "c2")
    )


TIMES_H = (0, 2, 4.5, 30)
ELAPSED = ("00d00h00m", "00d02h00m", "00d04h30m", "01d06h00m")
DATED = ("2024y02m28d_23h00m", "2024y02m29d_01h00m", "2024y02m29d_03h30m", "2024y03m01d_05h00m")


@pytest.mark.parametrize("times", [ELAPSED, DATED])
def test_times_in_the_names_of_incucyte_are_the_movies_times(tmp_path, times):
    names = {f"Phase_exp7_B3_1_{time}.tif": picture(t) for t, time in enumerate(times)}
    names |= {f"Green_exp7_B3_1_{times[t]}.tif": picture(t, 1) for t in (0, 2)}
    folder = frames_folder(tmp_path / "m", names)

    info = accepted(folder, ("Phase", "Green"), stated=("pixel_size_um",))

    assert info["time_h"] == list(TIMES_H)
    assert info["frame_interval_min"] == 150
    assert info["acquired"]["Green"] == [True, False, True, False]
    assert info["warnings"] == [
        "the times in the names are uneven, 120 to 1530 min apart: taken as they are; where files are missing, copy "
        "them again"
    ]
    with open_movie(info) as movie:
        np.testing.assert_array_equal(movie.read(2, "Green"), picture(2, 1))


def test_even_times_in_names_are_an_interval(tmp_path):
    names = {f"B3_1_00d{h:02d}h30m.tif": picture(h) for h in range(4)}

    info = accepted(frames_folder(tmp_path / "m", names), stated=("pixel_size_um",))

    assert (info["time_h"], info["frame_interval_min"], info["warnings"]) == ([0, 1, 2, 3], 60, [])


def test_a_reporter_at_times_of_its_own_is_refused_with_the_times(tmp_path):
    names = {f"phase_{h:02d}h00m.tif": picture(h) for h in range(3)}
    names |= {f"gfp_{h:02d}h05m.tif": picture(h) for h in range(3)}

    reason = refusal(frames_folder(tmp_path / "m", names), ("phase", "gfp"))

    assert "'gfp' has files for the frames 0 d 0 h 5 min, 0 d 1 h 5 min, 0 d 2 h 5 min, the segmented" in reason


def test_a_time_in_a_name_beside_the_number_of_the_frame_is_none_where_it_stays(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"begun_12h30m_t{t}.tif": picture(t) for t in range(3)})

    info = accepted(folder)

    assert info["time_h"] is None
    np.testing.assert_array_equal(read_all(info), stack(3))


def test_a_folder_a_frame_of_metaxpress_is_read_without_its_thumbnails(tmp_path):
    guid = "E6F03D5B-5C60-45F2-B3B8-A2D2E9E7{:04X}"
    names = {
        f"TimePoint_{t + 1}/p_B03_s1_w{c + 1}{guid.format(7 * t + c)}.tif": picture(t, c)
        for t in range(11)
        for c in (0, 1)
    }
    names |= {f"TimePoint_{t + 1}/p_B03_s1_w1_thumb{guid.format(90 + t)}.tif": picture(0) for t in range(11)}
    folder = frames_folder(tmp_path / "m", names)
    (folder / "TimePoint_3/notes").mkdir()

    info = accepted(folder, ("w1", "w2"))

    assert (info["frames"], info["warnings"]) == (11, [])
    with open_movie(info) as movie:
        np.testing.assert_array_equal(movie.read(10, "w2"), picture(10, 1))
        np.testing.assert_array_equal(movie.read(1, "w1"), picture(1))


def test_a_frame_counted_by_its_folder_and_its_name_is_the_same(tmp_path):
    names = {f"timepoint{t}/proto_t{t}_C05_s0_w0_z0.tif": picture(t) for t in range(3)}

    np.testing.assert_array_equal(read_all(accepted(frames_folder(tmp_path / "m", names), ("w0",))), stack(3))


def test_a_reporter_that_goes_on_longer_is_refused(tmp_path):
    names = {f"phase_{t}.tif": picture(t) for t in range(3)} | {f"gfp_{t}.tif": picture(t) for t in range(5)}

    reason = refusal(frames_folder(tmp_path / "m", names), ("phase", "gfp"))

    assert "channel 'gfp' has files for the frames 3, 4, the segmented channel 'phase' has none there" in reason


def test_a_frame_that_is_there_twice_is_refused(tmp_path):
    folder = frames_folder(tmp_path / "m", {"t1.tif": picture(1), "t01.tif": picture(1), "t2.tif": picture(2)})

    assert re.search(r"frame 1 is there twice, t0?1.tif and t0?1.tif; move one of them out", refusal(folder))


def test_an_empty_folder_is_refused(tmp_path):
    assert "is a folder without images; wanted files that end in .tif, .tiff, .png" in refusal(tmp_path)


def test_a_channel_without_files_is_refused_by_name(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"phase_{t}.tif": picture(t) for t in range(3)})

    assert "no file name holds the channel 'gfp' (there are phase_0.tif, phase_1.tif" in refusal(
        folder, ("phase", "gfp")
    )


def test_a_name_with_two_channels_is_refused(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"gfp_rfp_{t}.tif": picture(t) for t in range(3)})

    assert "gfp_rfp_0.tif holds two channels, 'gfp' and 'rfp'" in refusal(folder, ("gfp", "rfp"))


def test_names_of_two_patterns_are_refused(tmp_path):
    folder = frames_folder(tmp_path / "m", {"a_1.tif": picture(1), "a_2.tif": picture(2), "b_1.tif": picture(3)})

    assert "the file names follow more than one pattern (a_1.tif, b_1.tif)" in refusal(folder, ("phase",))


def test_names_without_numbers_are_refused(tmp_path):
    folder = frames_folder(tmp_path / "m", {"first.tif": picture(1), "second.tif": picture(2)})

    assert "the file names hold no number of a frame (first.tif, second.tif)" in refusal(folder)


@pytest.mark.parametrize(
    ("pattern", "finding"),
    [
        ("z{a}_s{b}.tif", "are of several positions (as in z0_s0.tif); put each position into a folder of its own"),
        (
            "t{a}_c{b}.tif",
            "are of several channels (as in t0_c0.tif); name the channels in config/experiments.tsv as the files do",
        ),
        ("{a}_{b}.tif", "have 2 numbers that change in their names (as in 0_0.tif); put t before the frame's number"),
    ],
)
def test_a_second_number_that_changes_is_refused(tmp_path, pattern, finding):
    names = {pattern.format(a=a, b=b): picture(a, b) for a in range(3) for b in range(2)}

    assert finding in refusal(frames_folder(tmp_path / "m", names), ("phase",))


def test_frame_files_that_are_stacks_are_refused(tmp_path):
    folder = frames_folder(tmp_path / "m", {f"t{t}.tif": stack(3) for t in range(3)})

    assert "a file of one frame holds 3 planes, wanted 1 (channels: a1)" in refusal(folder, ("a1",))


def test_stacks_of_different_lengths_are_refused(tmp_path):
    write_tiff(tmp_path / "phase.tif", stack(4), metadata={"axes": "TYX"})
    write_tiff(tmp_path / "gfp.tif", stack(3), metadata={"axes": "TYX"})

    assert "gfp.tif has 3 frames, phase.tif has 4" in refusal(tmp_path, ("phase", "gfp"))


def test_a_single_png_beside_a_stack_is_refused(tmp_path):
    frames_folder(tmp_path, {"phase.tif": stack(3), "gfp.png": picture(0)})

    reason = inspect(tmp_path, ("phase", "gfp"), axes="TYX")["reason"]

    assert "gfp.png: is one PNG image; a channel needs a file a frame, or a TIFF stack" in reason


def test_a_frame_of_another_size_is_refused_by_number(tmp_path):
    names = {f"t{t}.tif": picture(t, shape=(24, 40) if t != 2 else (24, 41)) for t in range(4)}

    reason = refusal(frames_folder(tmp_path / "m", names))

    assert "frame 2 of channel 'a' is 24 x 41 px uint16, the first is 24 x 40 px uint16" in reason


def test_channels_of_different_types_are_refused(tmp_path):
    names = {f"phase_{t}.tif": picture(t, dtype="uint8") for t in range(2)}
    names |= {f"gfp_{t}.tif": picture(t) for t in range(2)}

    reason = refusal(frames_folder(tmp_path / "m", names), ("phase", "gfp"))

    assert "channel 'gfp' is 24 x 40 px uint16, channel 'phase' is 24 x 40 px uint8" in reason


@pytest.mark.parametrize(
    ("acquired", "regular"),
    [
        ([0, 1, 2, 3, 4, 5], True),
        ([0, 3], True),
        ([2, 4], True),
        ([0], True),
        ([5], True),
        ([2], False),
        ([], False),
        ([0, 1, 2, 3], False),
        ([0, 1, 3, 5], False),
    ],
)
def test_planes_at_every_nth_frame_to_the_end_are_regular(acquired, regular):
    assert is_regular(acquired, 6) is regular


def test_a_folder_with_one_png_is_a_movie_of_one_frame(tmp_path):
    folder = frames_folder(tmp_path / "m", {"t000.png": picture(0)})

    assert inspect(folder)["frames"] == 1
