import json
import os

import numpy as np
import pytest
import tifffile
from recorded import (
    Hiccup,
    accepted,
    frames_folder,
    inspect,
    ome_movie,
    picture,
    read_all,
    real,
    refusal,
    stack,
    write_tiff,
)

from cytolapse.discovery import find_movies
from cytolapse.formats import look_inside
from cytolapse.inspection import inspect_movie, write_info
from cytolapse.movies import frame_times_h, open_movie


def test_a_pixel_size_that_nobody_states_is_refused_with_the_column(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(), metadata={"axes": "TYX"})

    reason = refusal(tmp_path / "m.tif", stated=("frame_interval_min",))

    assert reason.endswith(
        "does not say the size of a pixel; state it in config/experiments.tsv (column pixel_size_um)"
    )


def test_pixel_size_and_interval_that_nobody_states_are_said_at_once(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(), imagej=True, metadata={"axes": "TYX"})

    assert (
        "does not say the size of a pixel nor the time between frames; state both in config/experiments.tsv (columns "
        "pixel_size_um and frame_interval_min)" in refusal(tmp_path / "m.tif", stated=[])
    )


def test_an_interval_that_nobody_states_is_refused_with_the_column(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(), metadata={"axes": "TYX"})

    reason = refusal(tmp_path / "m.tif", stated=("pixel_size_um",))

    assert "does not say the time between frames; state it in config/experiments.tsv" in reason
    assert "(column frame_interval_min)" in reason


@pytest.mark.parametrize(("largest", "saturation"), [(4095, 4095), (16383, 16383), (4094, 65535), (5000, 65535)])
def test_a_camera_of_fewer_bits_shows_by_its_largest_value(tmp_path, largest, saturation):
    data = stack()
    data[1, 3, 3] = largest
    write_tiff(tmp_path / "m.tif", data, metadata={"axes": "TYX"})

    assert accepted(tmp_path / "m.tif")["saturation_au"] == saturation


def test_a_float_movie_has_no_largest_value(tmp_path):
    write_tiff(tmp_path / "m.tif", stack(dtype="float32"), metadata={"axes": "TYX"})

    assert accepted(tmp_path / "m.tif")["saturation_au"] is None


def test_zeros_at_every_third_frame_of_a_reporter_are_planes_not_acquired(tmp_path):
    data = stack(7, 2)
    data[[1, 2, 4, 5], 1] = 0
    write_tiff(tmp_path / "m.ome.tif", data, metadata={"axes": "TCYX"})

    info = accepted(tmp_path / "m.ome.tif", ("phase", "gfp"))

    assert info["acquired"] == {"phase": [True] * 7, "gfp": [True, False, False, True, False, False, True]}
    assert info["warnings"] == []
    with open_movie(info) as movie:
        assert movie.read(2, "gfp") is None
        np.testing.assert_array_equal(movie.read(3, "gfp"), data[3, 1])


def test_zeros_without_rhythm_in_a_reporter_are_not_acquired_and_said(tmp_path):
    data = stack(7, 2)
    data[[1, 4, 5, 6], 1] = 0
    write_tiff(tmp_path / "m.ome.tif", data, metadata={"axes": "TCYX"})

    info = accepted(tmp_path / "m.ome.tif", ("phase", "gfp"))

    assert info["acquired"]["gfp"] == [True, False, True, True, False, False, False]
    assert info["warnings"] == [
        "channel 'gfp' is all zeros at the frames 1, 4 to 6, which follow no rhythm: taken as not acquired"
    ]


def test_zeros_in_the_segmented_channel_are_refused_by_frame(tmp_path):
    data = stack(9)
    data[[2, 6, 7, 8]] = 0
    write_tiff(tmp_path / "m.tif", data, metadata={"axes": "TYX"})

    reason = refusal(tmp_path / "m.tif")

    assert "the segmented channel 'a' is all zeros at the frames 2, 6 to 8 of 9" in reason
    assert "the acquisition was stopped early" in reason


def test_a_file_that_may_not_be_opened_is_refused(tmp_path, monkeypatch):
    write_tiff(tmp_path / "m.tif", stack())

    def denied(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os.path, "getsize", denied)

    assert "cannot be opened (Permission denied)" in refusal(tmp_path / "m.tif")


def test_values_that_are_no_numbers_are_refused(tmp_path):
    data = stack(dtype="float32")
    data[2, 5, 5] = np.nan
    write_tiff(tmp_path / "m.tif", data, metadata={"axes": "TYX"})

    assert "frame 2 of channel 'a' holds values that are no numbers" in refusal(tmp_path / "m.tif")


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("m.nd2", "cannot be read as ND2 ("),
        ("m.czi", "is no CZI file, by its first bytes; copy it again"),
        ("m.lif", "cannot be read as LIF ("),
        ("m.ome.zarr", "is no movie that can be read, by the ending of its name"),
        ("m.lsm", "Zeiss LSM is not read; export it as OME-TIFF"),
        ("m.stk", "MetaMorph STK is not read; export it as OME-TIFF"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, name, finding):
    (tmp_path / name).write_bytes(b"anything, but long enough to be read as a header of some format or other")

    assert finding in refusal(tmp_path / name)
    assert look_inside(tmp_path / name) in (None, (1, []))


def test_a_link_that_leads_nowhere_is_refused_with_where_it_led(tmp_path):
    (tmp_path / "m.tif").symlink_to("/gone/m.tif")

    assert "is a link to /gone/m.tif, where there is nothing; restore that" in refusal(tmp_path / "m.tif")


def test_a_name_that_the_file_system_does_not_take_is_refused(tmp_path):
    assert "cannot be opened (File name too long); correct its rights, or its name" in refusal(
        tmp_path / f"{'x' * 300}.tif"
    )


@pytest.mark.parametrize("name", ["night 3 (copy) [1]", "Zellen-übernacht", "日曜日", "/".join(["deep" * 10] * 7)])
def test_names_with_spaces_brackets_umlauts_and_long_paths_are_read(tmp_path, name):
    path = tmp_path / f"{name}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tiff(path, stack(3), metadata={"axes": "TYX"})

    np.testing.assert_array_equal(read_all(accepted(path)), stack(3))
    assert [source.path for source in find_movies("**/*.tif", tmp_path, []).values()] == [f"{name}.tif"]


def test_a_movie_that_is_not_there_is_refused(tmp_path):
    assert "there is no such file or folder" in refusal(tmp_path / "m.tif")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "m.avi").write_bytes(b"RIFF")

    assert "wanted TIFF (.tif), Nikon ND2 (.nd2), Zeiss CZI (.czi), Leica LIF (.lif), OME-Zarr (.zarr)" in refusal(
        tmp_path / "m.avi"
    )


def test_a_segmented_channel_that_is_none_is_refused(tmp_path):
    write_tiff(tmp_path / "m.tif", stack())

    assert "the segmented channel 'fase' is none of its channels phase" in refusal(
        tmp_path / "m.tif", ("phase",), segment="fase"
    )


def test_a_refused_movie_stops_the_run_where_that_is_asked_for(tmp_path):
    with pytest.raises(ValueError, match="there is no such file or folder"):
        inspect(tmp_path / "m.tif", on_bad_movie="stop")


def test_a_verdict_survives_as_movie_json(tmp_path):
    info = accepted(ome_movie(tmp_path / "m.ome.tif"))

    write_info(info, tmp_path / "movie.json")

    assert json.loads((tmp_path / "movie.json").read_text()) == info


@pytest.mark.parametrize(
    ("name", "size_um", "shape"),
    [("Fluo-N2DH-GOWT1/01", 0.2405, (1024, 1024)), ("Fluo-N2DL-HeLa/01", 0.645, (700, 1100))],
)
def test_movies_of_the_cell_tracking_challenge_are_read(name, size_um, shape):
    info = accepted(real(name), ("nuclei",), stated=("frame_interval_min",))

    assert info["frames"] == 92
    assert info["pixel_size_um"] == pytest.approx(size_um, rel=1e-4)
    with open_movie(info) as movie:
        assert movie.shape == shape
        np.testing.assert_array_equal(movie.read(91, "nuclei"), tifffile.imread(real(name) / "t091.tif"))


def test_supersegger_stacks_are_read_as_a_stack_a_channel(tmp_path):
    for channel in ("phase", "fluor1"):
        (tmp_path / f"{channel}.tif").symlink_to((real("SuperSegger-Ecoli") / f"{channel}.tif").resolve())

    info = accepted(tmp_path, ("phase", "fluor1"))

    assert (info["layout"], info["frames"], info["height_px"], info["width_px"]) == ("channel_stacks", 60, 334, 366)
    with open_movie(info) as movie:
        np.testing.assert_array_equal(
            movie.read(17, "fluor1"), tifffile.imread(real("SuperSegger-Ecoli") / "fluor1.tif", key=17)
        )


def test_celltk_frames_are_read_as_a_file_a_frame_and_channel():
    folder = real("CellTK-il1b-3channel/testimages1")

    info = accepted(folder, ("DAPI", "TRITC", "YFP"))

    assert (info["layout"], info["frames"], info["dtype"]) == ("channel_files", 4, "uint16")
    assert info["files"]["YFP"][2] == ["img_000000002_YFP_000.png"]


def test_yeast_stacks_are_read():
    info = accepted(real("yeastvision-yeast"), ("phase", "fluor"))

    assert (info["frames"], info["height_px"], info["width_px"]) == (10, 520, 692)
    assert info["warnings"] == ["images that belong to no channel were left out: masks_tracked.tif"]


def test_a_real_ome_tiff_of_signed_bytes_is_refused():
    assert "pixels are int8" in refusal(real("reader-files") / "multi-channel.ome.tif", ("a", "b", "c"))


def test_an_error_that_may_pass_kills_the_job_and_refuses_no_movie(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "m.tif", np.ones((2, 8, 8), np.uint16))
    monkeypatch.setattr(tifffile, "TiffFile", Hiccup)

    with pytest.raises(OSError, match="Input/output error"):
        inspect_movie(
            str(tmp_path / "m.tif"),
            position=None,
            axes="TYX",
            channels=["gfp"],
            segment_channel="gfp",
            stated=["pixel_size_um", "frame_interval_min"],
            z_projection="none",
            on_bad_movie="continue",
        )


def test_channels_that_the_file_names_otherwise_are_in_the_log_and_a_moved_one_is_a_warning(tmp_path, caplog):
    caplog.set_level("INFO", logger="cytolapse")
    ome_movie(tmp_path / "m.ome.tif", 3, 2, Channel={"Name": ["DAPI", "GFP"]})

    own = accepted(tmp_path / "m.ome.tif", ("nucleus", "reporter"))
    (record,) = caplog.records
    moved = accepted(tmp_path / "m.ome.tif", ("gfp", "other"))
    accepted(tmp_path / "m.ome.tif", ("dapi", "gfp"))

    said = (
        "the file names its channels DAPI, GFP, config/experiments.tsv says nucleus, reporter: the sheet was followed"
    )
    assert record.getMessage().endswith(said)
    assert own["warnings"] == []
    assert moved["warnings"] == [said.replace("nucleus, reporter", "gfp, other")]
    assert len(caplog.records) == 1


def test_uneven_times_of_a_folder_of_micromanager_become_the_movies_times(tmp_path):
    names = {f"img_{t:09d}_{c}_000.tif": picture(t) for t in range(3) for c in ("DAPI", "GFP") if (t, c) != (1, "GFP")}
    folder = frames_folder(tmp_path / "Pos0", names)
    times_ms = {"DAPI": [5000, 65000, 605000], "GFP": [7000, 67000, 607000]}
    notes = {"Summary": {"PixelSize_um": 0.2, "Interval_ms": 300000, "ChNames": ["DAPI", "GFP"]}}
    for number, name in enumerate(names):
        t, c = int(name[4:13]), name[14:-8]
        notes[f"FrameKey-{number}-0-0"] = {"FileName": name, "ElapsedTime-ms": times_ms[c][t], "Exposure-ms": 50}
    (folder / "metadata.txt").write_text(json.dumps(notes))

    info = accepted(folder, ("GFP", "DAPI"), segment="DAPI", stated=())

    assert frame_times_h(info, None) == pytest.approx([0, 60 / 3600, 600 / 3600])
    assert info["acquired"]["GFP"] == [True, False, True]
    assert (info["pixel_size_um"], info["exposure_ms"]) == (0.2, {"GFP": 50, "DAPI": 50})


@pytest.mark.parametrize("elapsed", ["soon", float("nan"), None])
def test_a_time_of_micromanager_that_is_none_leaves_the_interval(tmp_path, elapsed):
    folder = frames_folder(tmp_path / "Pos0", {f"img_{t:09d}_DAPI_000.tif": picture(t) for t in range(3)})
    notes = {"Summary": {"PixelSize_um": 0.2, "Interval_ms": 300000}}
    notes |= {f"Metadata-Default/img_{t:09d}_DAPI_000.tif": {"ElapsedTimeMs": elapsed if t else 0} for t in range(3)}
    (folder / "metadata.txt").write_text(json.dumps(notes))

    info = accepted(folder, ("DAPI",), stated=())

    assert info["time_h"] is None
    assert info["warnings"] == ["time stamps are missing or do not rise: not used"]
    assert frame_times_h(info, None) == pytest.approx([0, 5 / 60, 10 / 60])
