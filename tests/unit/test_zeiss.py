import random

import numpy as np
import pytest
from recorded import accepted, inspect, picture, read_all, real, refusal

from cytolapse.formats import look_inside
from cytolapse.movies import open_movie
from cytolapse.zeiss import ZeissPlanes


def write_czi(path, *, frames=3, channels=2, slices=1, scenes=(None,), dtype="uint16", left_out=(), size_m=2e-7):
    """A CZI by Zeiss's own writer; plane (t, c, z, scene) tells where it belongs."""
    from pylibCZIrw import czi

    with czi.create_czi(str(path)) as file:
        for number, scene in enumerate(scenes):
            for t, c, z in np.ndindex(frames, channels, slices):
                if (t, c) in left_out:
                    continue
                image = picture(t + 3 * z + 40 * number, c, dtype=dtype)[..., None]
                place = {} if scene is None else {"scene": scene, "location": (1000 * number, 500 * number)}
                file.write(image, plane={"T": t, "C": c, "Z": z}, **place)
        names = {c: name for c, name in enumerate(("phase", "gfp")[:channels])}
        file.write_metadata("drawn", channel_names=names, scale_x=size_m, scale_y=size_m)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_czi_gives_its_pixels_back(tmp_path, dtype):
    path = write_czi(tmp_path / "m.czi", dtype=dtype)

    info = accepted(path, ("phase", "gfp"), stated=("frame_interval_min",))

    assert (info["frames"], info["dtype"]) == (3, dtype)
    assert info["pixel_size_um"] == pytest.approx(0.2)
    truth = np.array([[picture(t, c, dtype=dtype) for c in range(2)] for t in range(3)])
    np.testing.assert_array_equal(read_all(info, squeeze=False), truth)


def test_the_scenes_of_a_czi_are_movies_of_their_own(tmp_path):
    path = write_czi(tmp_path / "m.czi", scenes=(0, 1, 2))

    info = accepted(path, ("phase", "gfp"), position=2)

    assert look_inside(path) == (3, [])
    with open_movie(info) as movie:
        np.testing.assert_array_equal(movie.read(1, "gfp"), picture(81, 1))


def test_z_slices_of_a_czi_are_projected(tmp_path):
    path = write_czi(tmp_path / "m.czi", slices=3)

    with open_movie(accepted(path, ("phase", "gfp"), z="max")) as movie:
        np.testing.assert_array_equal(movie.read(1, "gfp"), picture(7, 1))


def test_planes_that_a_czi_does_not_hold_were_not_acquired(tmp_path):
    path = write_czi(tmp_path / "m.czi", left_out={(1, 1)})

    info = accepted(path, ("phase", "gfp"))

    assert info["acquired"] == {"phase": [True] * 3, "gfp": [True, False, True]}
    assert info["warnings"] == []


def test_channels_in_another_order_than_the_sheets_are_said(tmp_path):
    (warning,) = accepted(write_czi(tmp_path / "m.czi"), ("gfp", "phase"))["warnings"]

    assert warning.startswith("the file names its channels phase, gfp, ")


def test_a_czi_without_an_interval_is_refused_with_the_column(tmp_path):
    assert "(column frame_interval_min)" in refusal(write_czi(tmp_path / "m.czi"), ("phase", "gfp"), stated=())


def test_a_czi_of_colours_is_refused(tmp_path):
    from pylibCZIrw import czi

    with czi.create_czi(str(tmp_path / "m.czi")) as file:
        for t in range(2):
            file.write(np.ones((24, 40, 3), np.uint8), plane={"T": t, "C": 0})

    assert "holds colour images (Bgr24); split the colours" in refusal(tmp_path / "m.czi")


def test_channels_of_different_types_are_refused(tmp_path):
    from pylibCZIrw import czi

    with czi.create_czi(str(tmp_path / "m.czi")) as file:
        for t in range(2):
            file.write(picture(t)[..., None], plane={"T": t, "C": 0})
            file.write(picture(t, dtype="uint8")[..., None], plane={"T": t, "C": 1})

    reason = refusal(tmp_path / "m.czi", ("phase", "gfp"))

    assert "its channels are of different types (Gray16, Gray8); export them as one" in reason


def test_a_czi_of_views_is_refused(tmp_path, monkeypatch):
    from pylibCZIrw import czi

    path = write_czi(tmp_path / "m.czi")
    box = {"T": (0, 3), "V": (0, 2), "X": (0, 40), "Y": (0, 24)}
    monkeypatch.setattr(czi.CziReader, "total_bounding_box_no_pyramid", box)

    assert "has the axes V beside time, Z and channel" in refusal(path, ("phase", "gfp"))


def test_metadata_of_a_czi_that_make_no_sense_are_refused(tmp_path, monkeypatch):
    from pylibCZIrw import czi

    path = write_czi(tmp_path / "m.czi")
    broken = property(lambda self: {}["ImageDocument"])
    monkeypatch.setattr(czi.CziReader, "metadata", broken)

    assert "cannot be read as CZI (KeyError" in refusal(path, ("phase", "gfp"))


def test_a_plane_of_a_czi_that_does_not_decode_is_refused(tmp_path):
    with ZeissPlanes(write_czi(tmp_path / "m.czi")) as planes, pytest.raises(ValueError, match="cannot be decoded"):
        planes.read((7, 0, 0, 0))


def test_a_damaged_czi_ends_in_a_verdict(tmp_path):
    whole = write_czi(tmp_path / "m.czi").read_bytes()
    chance = random.Random(3)
    for share in (0.02, 0.3, 0.6, 0.9):
        (tmp_path / "cut.czi").write_bytes(whole[: int(share * len(whole))])
        assert inspect(tmp_path / "cut.czi", ("phase", "gfp"))["status"] == "refused"
    for _ in range(40):
        data = bytearray(whole)
        place = chance.randrange(len(data) - 4)
        data[place : place + 4] = chance.choice([b"\0" * 4, b"\xff" * 4, chance.randbytes(4)])
        (tmp_path / "x.czi").write_bytes(data)
        assert inspect(tmp_path / "x.czi", ("phase", "gfp"))["status"] in ("ok", "refused")


def test_a_real_czi_is_read_with_its_times_and_exposures():
    path = real("reader-files/CD_s_1_t_3_c_2_z_5.czi")

    info = accepted(path, ("LED555", "LED470"), stated=(), z="focus")

    assert (info["frames"], info["height_px"], info["width_px"]) == (3, 170, 240)
    assert info["pixel_size_um"] == pytest.approx(0.09058, abs=1e-5)
    assert info["time_h"] == pytest.approx([0, 60.075 / 3600, 120.15 / 3600])
    assert info["exposure_ms"] == {"LED555": 100, "LED470": 200}
