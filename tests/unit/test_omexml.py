from pathlib import Path

import numpy as np
import pytest
import tifffile
from recorded import accepted, inspect, ome_movie, ome_xml, picture, read_all, refusal, stack, write_ome, write_tiff

from cytolapse.discovery import MovieSource, find_movies, fingerprint
from cytolapse.formats import look_inside
from cytolapse.movies import frame_times_h, open_movie


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_an_ome_tiff_gives_its_pixels_back(tmp_path, dtype, compression):
    truth = stack(3, 2, dtype=dtype)
    write_tiff(tmp_path / "m.ome.tif", truth, metadata={"axes": "TCYX"}, compression=compression)

    info = accepted(tmp_path / "m.ome.tif", ("a", "b"))

    assert (info["frames"], info["height_px"], info["width_px"], info["dtype"]) == (3, 24, 40, dtype)
    with open_movie(info) as movie:
        assert movie.shape == (24, 40)
        np.testing.assert_array_equal(movie.read(2, "b"), truth[2, 1])
        np.testing.assert_array_equal(movie.read(0, "a"), truth[0, 0])
        assert movie.read(1, "a").dtype == np.dtype(dtype)


def test_the_dimension_order_of_ome_is_followed(tmp_path):
    truth = stack(3, 2)
    write_tiff(tmp_path / "m.ome.tif", truth.swapaxes(0, 1), metadata={"axes": "CTYX"})

    with open_movie(accepted(tmp_path / "m.ome.tif", ("a", "b"))) as movie:
        np.testing.assert_array_equal(movie.read(2, "a"), truth[2, 0])
        np.testing.assert_array_equal(movie.read(0, "b"), truth[0, 1])


def test_positions_are_counted_named_and_read_apart(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.ome.tif", ome=True) as tif:
        for position in range(3):
            tif.write(stack() + 100 * position, metadata={"axes": "TYX"})

    found = find_movies("*.tif", tmp_path, [])
    info = accepted(tmp_path / "m.ome.tif", position=2)

    assert look_inside(tmp_path / "m.ome.tif")[0] == 3
    assert found == {f"m_p00{position}": MovieSource("m.ome.tif", position) for position in range(3)}
    np.testing.assert_array_equal(read_all(info), stack() + 200)


def test_a_position_that_is_not_there_is_refused(tmp_path):
    write_tiff(tmp_path / "m.ome.tif", stack(), metadata={"axes": "TYX"})

    assert "position 3 was asked for, the file holds 1" in refusal(tmp_path / "m.ome.tif", position=3)


@pytest.mark.parametrize(("size", "unit"), [(0.25, "µm"), (250, "nm"), (0.00025, "mm"), (2500, "Å")])
def test_pixel_size_is_read_from_ome_in_any_unit(tmp_path, size, unit):
    scales = {"PhysicalSizeX": size, "PhysicalSizeXUnit": unit, "PhysicalSizeY": size, "PhysicalSizeYUnit": unit}

    info = accepted(ome_movie(tmp_path / "m.ome.tif", **scales, TimeIncrement=2, TimeIncrementUnit="min"), stated=())

    assert info["pixel_size_um"] == pytest.approx(0.25)
    assert info["frame_interval_min"] == pytest.approx(2)
    assert frame_times_h(info, None) == pytest.approx([0, 2 / 60, 4 / 60])


def test_times_and_exposures_of_the_planes_are_read_from_ome(tmp_path):
    plane = {
        "DeltaT": [10.0, 11.0, 310.0, 311.0, 616.0, 617.0],
        "ExposureTime": [0.05, 0.2] * 3,
        "ExposureTimeUnit": ["s"] * 6,
    }

    info = accepted(ome_movie(tmp_path / "m.ome.tif", 3, 2, Plane=plane), ("a", "b"), stated=("pixel_size_um",))

    assert info["time_h"] == pytest.approx([0, 300 / 3600, 606 / 3600])
    assert info["frame_interval_min"] == pytest.approx(303 / 60)
    assert info["exposure_ms"] == pytest.approx({"a": 50, "b": 200})
    assert frame_times_h(info, None) == pytest.approx(info["time_h"])
    assert frame_times_h(info, 6.0) == pytest.approx([0, 0.1, 0.2])


def test_time_stamps_that_do_not_rise_are_not_used(tmp_path):
    path = ome_movie(tmp_path / "m.ome.tif", Plane={"DeltaT": [0.0, 0.0, 0.0]}, TimeIncrement=60)

    info = accepted(path, stated=("pixel_size_um",))

    assert info["time_h"] is None
    assert info["frame_interval_min"] == pytest.approx(1)
    assert info["warnings"] == ["time stamps are missing or do not rise: not used"]


def test_pixels_that_are_not_square_are_said_and_not_used(tmp_path):
    path = ome_movie(tmp_path / "m.ome.tif", PhysicalSizeX=0.2, PhysicalSizeY=0.3)

    assert accepted(path)["warnings"] == ["its metadata say pixels of 0.3 x 0.2 um, which are not square: not used"]
    assert "does not say the size of a pixel (its metadata say pixels of 0.3 x 0.2 um" in refusal(
        path, stated=("frame_interval_min",)
    )


def test_a_pixel_size_of_no_microscope_is_said_and_not_used(tmp_path):
    path = ome_movie(tmp_path / "m.ome.tif", PhysicalSizeX=352.8, PhysicalSizeY=352.8)

    (warning,) = accepted(path)["warnings"]

    assert warning == "its metadata say a pixel size of 352.8 um, outside of 0.005 to 50: not used"


def test_channels_named_in_another_order_than_the_sheets_are_said(tmp_path):
    path = ome_movie(tmp_path / "m.ome.tif", 3, 2, Channel={"Name": ["gfp", "phase"]})

    (warning,) = accepted(path, ("phase", "gfp"))["warnings"]

    assert warning == (
        "the file names its channels gfp, phase, config/experiments.tsv says phase, gfp: the sheet was followed"
    )


def test_significant_bits_of_ome_give_the_largest_value(tmp_path):
    assert accepted(ome_movie(tmp_path / "m.ome.tif", SignificantBits=12))["saturation_au"] == 4095


def test_planes_that_the_metadata_leave_out_were_not_acquired(tmp_path):
    blocks = [(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 2, 0), (4, 2, 1)]
    tiff_data = "".join(f'<TiffData IFD="{i}" FirstT="{t}" FirstC="{c}" PlaneCount="1"/>' for i, t, c in blocks)
    path = write_ome(tmp_path / "m.ome.tif", ome_xml(tiff_data), 5)

    info = accepted(path, ("phase", "gfp"))

    assert info["acquired"] == {"phase": [True] * 3, "gfp": [True, False, True]}
    assert info["warnings"] == []
    with open_movie(info) as movie:
        np.testing.assert_array_equal(movie.read(2, "gfp"), picture(4))
        assert movie.read(1, "gfp") is None
    reason = refusal(path, ("phase", "gfp"), segment="gfp")
    assert "the segmented channel 'gfp' was not acquired at the frames 1; segment a channel of every frame" in reason


def test_fewer_pages_than_ome_claims_are_refused(tmp_path):
    path = write_ome(tmp_path / "m.ome.tif", ome_xml("<TiffData/>"), 5)

    assert "its metadata claim 6 planes, the file holds 5: the acquisition was stopped early" in refusal(
        path, ("a", "b")
    )


def test_a_header_that_claims_absurdly_many_planes_costs_no_memory(tmp_path):
    blocks = '<TiffData IFD="0"/>'
    path = write_ome(tmp_path / "m.ome.tif", ome_xml(blocks, SizeT=10**12), 5)

    assert "its metadata claim 2000000000000 planes, the file holds 5" in refusal(path, ("a", "b"))


@pytest.mark.parametrize(
    ("xml", "finding"),
    [
        (ome_xml("<TiffData/>", SizeT="three"), "its OME-XML has a size that is no number"),
        (ome_xml("<TiffData/>", SizeT=0), "its OME-XML has the sizes {'Z': 1, 'C': 2, 'T': 0}"),
        (ome_xml('<TiffData IFD="first"/>'), "its metadata cannot be read (ValueError: invalid literal"),
        (ome_xml("<TiffData>").replace("</Pixels>", "</Pix>"), "its OME-XML cannot be read (mismatched tag"),
        ('<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"></OME>', "its OME-XML names no image"),
        (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><BinaryOnly MetadataFile="x.ome" /></OME>',
            "its OME metadata are in another file (x.ome), which is not beside it; copy that too",
        ),
        (
            ome_xml(
                '<TiffData IFD="0"><UUID FileName="a.tif">1</UUID></TiffData>'
                '<TiffData IFD="0"><UUID FileName="b.tif">2</UUID></TiffData>'
            ),
            "its OME metadata spread it over files of other names (a.tif, b.tif, ...); give the files the names",
        ),
    ],
)
def test_metadata_of_ome_that_cannot_be_used_are_refused(tmp_path, xml, finding):
    path = write_ome(tmp_path / "m.ome.tif", xml, 6)

    assert finding in refusal(path, ("a", "b"))


def test_a_file_of_an_ome_set_is_read_for_its_own_position_alone(tmp_path):
    xml = ome_xml('<TiffData IFD="0" PlaneCount="6"><UUID FileName="other.ome.tif">1</UUID></TiffData>')
    own = ome_xml('<TiffData IFD="0" PlaneCount="6"><UUID FileName="m.ome.tif">2</UUID></TiffData>')
    both = xml.replace("</OME>", "") + own[own.index("<Image") :]
    path = write_ome(tmp_path / "m.ome.tif", both, 6)

    assert look_inside(path)[0] == 1
    assert accepted(path, ("a", "b"))["frames"] == 3


def test_a_position_that_stopped_early_is_a_position_and_a_thumbnail_none(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.ome.tif", ome=True) as tif:
        tif.write(stack(3), metadata={"axes": "TYX"})
        tif.write(stack(2), metadata={"axes": "TYX"})
        tif.write(stack(1)[0, :8, :8], metadata={"axes": "YX"})

    assert look_inside(tmp_path / "m.ome.tif")[0] == 2
    assert accepted(tmp_path / "m.ome.tif", position=1)["frames"] == 2


def spread(folder: Path, blocks: list[tuple[str, int, int, int]], pages: dict[str, int], **sizes) -> None:
    """A movie over several files, each with all the metadata; blocks are (file, page, t, c)."""
    xml = ome_xml(
        "".join(
            f'<TiffData IFD="{page}" FirstT="{t}" FirstC="{c}"><UUID FileName="{name}">1</UUID></TiffData>'
            for name, page, t, c in blocks
        ),
        **sizes,
    )
    for name, count in pages.items():
        data = np.array([picture(t, c) for page in range(count) for n, p, t, c in blocks if (n, p) == (name, page)])
        write_tiff(folder / name, data, metadata=None, description=xml.encode())


BY_CHANNEL = [(name, t, t, c) for c, name in enumerate(("c1.ome.tif", "c2.ome.tif")) for t in range(3)]


def test_a_movie_over_several_files_is_one_movie_and_read_from_all_of_them(tmp_path):
    spread(tmp_path, BY_CHANNEL, {"c1.ome.tif": 3, "c2.ome.tif": 3})

    found = find_movies("*.tif", tmp_path, [])
    info = accepted(tmp_path / "c1.ome.tif", ("phase", "gfp"))

    assert found == {"c1": MovieSource("c1.ome.tif", None)}
    assert look_inside(tmp_path / "c1.ome.tif") == (1, ["c2.ome.tif"])
    np.testing.assert_array_equal(read_all(info, squeeze=False), stack(3, 2))
    reason = refusal(tmp_path / "c2.ome.tif", ("phase", "gfp"))
    assert "is a part of a movie that begins in another file, by its OME metadata" in reason


def test_a_file_a_plane_is_read_with_few_files_open(tmp_path):
    blocks = [(f"t{t:02d}.ome.tif", 0, t, 0) for t in range(40)]
    spread(tmp_path, blocks, {name: 1 for name, *_ in blocks}, SizeT=40, SizeC=1)

    assert list(find_movies("*.tif", tmp_path, [])) == ["t00"]
    np.testing.assert_array_equal(read_all(accepted(tmp_path / "t00.ome.tif")), stack(40))


def test_a_missing_file_of_a_set_is_refused_by_name(tmp_path):
    spread(tmp_path, BY_CHANNEL, {"c1.ome.tif": 3})

    reason = refusal(tmp_path / "c1.ome.tif", ("phase", "gfp"))

    assert "its metadata place planes in c2.ome.tif, and there is no such file beside it; copy all files" in reason


def test_a_file_of_a_set_with_too_few_pages_is_refused_by_name(tmp_path):
    spread(tmp_path, BY_CHANNEL, {"c1.ome.tif": 3, "c2.ome.tif": 2})

    reason = inspect(tmp_path / "c1.ome.tif", ("phase", "gfp"))["reason"]

    assert "c2.ome.tif: its metadata claim 3 planes, the file holds 2" in reason


def test_a_file_of_a_set_of_another_size_is_refused_by_name(tmp_path):
    spread(tmp_path, BY_CHANNEL, {"c1.ome.tif": 3})
    write_tiff(tmp_path / "c2.ome.tif", stack(3, shape=(20, 40)), metadata=None)

    reason = inspect(tmp_path / "c1.ome.tif", ("phase", "gfp"))["reason"]

    assert "c2.ome.tif: is 20 x 40 uint16, c1.ome.tif of the same movie is 24 x 40 uint16" in reason


def test_a_set_under_other_names_is_refused_with_the_names_it_had(tmp_path):
    spread(tmp_path, BY_CHANNEL, {"c1.ome.tif": 3})
    (tmp_path / "c1.ome.tif").rename(tmp_path / "copy.ome.tif")

    reason = refusal(tmp_path / "copy.ome.tif", ("phase", "gfp"))

    assert "its OME metadata spread it over files of other names (c1.ome.tif, c2.ome.tif, ...)" in reason


def test_a_single_file_that_was_renamed_is_read(tmp_path):
    spread(tmp_path, [("c1.ome.tif", t, t, 0) for t in range(3)], {"c1.ome.tif": 3}, SizeC=1)
    (tmp_path / "c1.ome.tif").rename(tmp_path / "copy.ome.tif")

    np.testing.assert_array_equal(read_all(accepted(tmp_path / "copy.ome.tif")), stack(3))


def test_another_content_in_the_second_file_of_a_set_changes_the_fingerprint(tmp_path):
    spread(tmp_path, BY_CHANNEL, {"c1.ome.tif": 3, "c2.ome.tif": 3})
    cache = {}
    before = fingerprint(tmp_path / "c1.ome.tif", cache)
    (tmp_path / "c2.ome.tif").touch()
    assert fingerprint(tmp_path / "c1.ome.tif", cache) == before

    content = bytearray((tmp_path / "c2.ome.tif").read_bytes())
    content[-1] ^= 255
    (tmp_path / "c2.ome.tif").write_bytes(content)

    assert fingerprint(tmp_path / "c1.ome.tif", cache) != before


BINARY_ONLY = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><BinaryOnly MetadataFile="{}" UUID="1"/></OME>'
)


def whole_xml(names: tuple[str, ...]) -> str:
    return ome_xml(
        "".join(
            f'<TiffData IFD="{t}" FirstT="{t}" FirstC="{c}"><UUID FileName="{name}">1</UUID></TiffData>'
            for c, name in enumerate(names)
            for t in range(3)
        )
    )


def test_metadata_in_a_companion_file_are_read(tmp_path):
    names = ("c1.ome.tif", "c2.ome.tif")
    (tmp_path / "m.companion.ome").write_text(whole_xml(names))
    for c, name in enumerate(names):
        xml = BINARY_ONLY.format("m.companion.ome").encode()
        write_tiff(tmp_path / name, stack(3, 2)[:, c], metadata=None, description=xml)

    assert look_inside(tmp_path / "c1.ome.tif") == (1, ["c2.ome.tif", "m.companion.ome"])
    assert list(find_movies("*.tif", tmp_path, [])) == ["c1"]
    info = accepted(tmp_path / "c1.ome.tif", ("phase", "gfp"))
    np.testing.assert_array_equal(read_all(info, squeeze=False), stack(3, 2))


def test_a_file_that_leaves_its_metadata_to_the_first_is_no_movie_of_its_own(tmp_path):
    names = ("m_MMStack.ome.tif", "m_MMStack_1.ome.tif")
    for c, (name, xml) in enumerate(zip(names, (whole_xml(names), BINARY_ONLY.format(names[0])), strict=True)):
        write_tiff(tmp_path / name, stack(3, 2)[:, c], metadata=None, description=xml.encode())

    assert list(find_movies("*.tif", tmp_path, [])) == ["m_MMStack"]
    info = accepted(tmp_path / names[0], ("phase", "gfp"))
    np.testing.assert_array_equal(read_all(info, squeeze=False), stack(3, 2))


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"no tiff", "its OME metadata in first.tif cannot be read (not a TIFF file"),
        (None, "its OME metadata should be in first.tif, which has none; copy it again"),
    ],
)
def test_a_first_file_without_metadata_is_refused(tmp_path, content, finding):
    write_tiff(tmp_path / "m.ome.tif", stack(3), metadata=None, description=BINARY_ONLY.format("first.tif").encode())
    write_tiff(tmp_path / "first.tif", stack(3), metadata=None)
    if content is not None:
        (tmp_path / "first.tif").write_bytes(content)

    assert finding in refusal(tmp_path / "m.ome.tif")


def test_metadata_elsewhere_that_do_not_name_a_file_make_it_no_movie(tmp_path):
    xml = BINARY_ONLY.format("other.ome.tif").encode()
    write_tiff(tmp_path / "m.ome.tif", stack(3), metadata=None, description=xml)
    write_tiff(tmp_path / "other.ome.tif", stack(3), metadata={"axes": "TYX"})

    assert list(find_movies("*.tif", tmp_path, [])) == ["other"]
