from types import SimpleNamespace

import numpy as np
import pytest
from recorded import accepted, picture, real, refusal

from cytolapse.formats import look_inside
from cytolapse.movies import open_movie


class DrawnImage:
    """What the documented interface of liffile.LifImage gives of a drawn series: no library writes LIF."""

    is_flim = False
    timestamps = None

    def __init__(self, number=0, sizes=None, dtype="uint16", **changes):
        self.number, self.name = number, f"Position {number + 1}"
        self.sizes = sizes or {"T": 3, "C": 2, "Y": 24, "X": 40}
        self.dtype = np.dtype(dtype)
        self.coords = {
            "T": np.arange(self.sizes.get("T", 0)) * 120.0,
            "Y": 3e-5 + np.arange(24) * 2e-7,
            "X": 1e-5 + np.arange(40) * 2e-7,
        }
        vars(self).update(changes)

    @property
    def dims(self):
        return tuple(self.sizes)

    @property
    def size(self):
        return int(np.prod([*self.sizes.values()]))

    def frame(self, **at):
        assert set(at) == set(self.sizes) - {"Y", "X"}
        return picture(at.get("T", 0) + 3 * at.get("Z", 0) + 40 * self.number + 9 * at.get("M", 0), at.get("C", 0))


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Put drawn series in place of the library's file."""

    def put(*images):
        file = SimpleNamespace(images=list(images), close=lambda: None)
        monkeypatch.setattr("liffile.LifFile", lambda path: file)
        (tmp_path / "m.lif").write_bytes(b"drawn")
        return tmp_path / "m.lif"

    return put


def test_the_series_of_a_lif_are_movies_of_their_own_and_an_overview_is_none(drawn):
    path = drawn(DrawnImage(0, {"Y": 24, "X": 40}), DrawnImage(1), DrawnImage(2))

    info = accepted(path, ("phase", "gfp"), position=1, stated=())

    assert look_inside(path) == (2, [])
    assert info["frames"] == 3
    assert info["pixel_size_um"] == pytest.approx(0.2)
    assert info["frame_interval_min"] == pytest.approx(2)
    with open_movie(info) as movie:
        np.testing.assert_array_equal(movie.read(2, "gfp"), picture(82, 1))


def test_the_tiles_of_a_lif_are_positions(drawn):
    path = drawn(DrawnImage(0, {"M": 4, "T": 3, "C": 2, "Y": 24, "X": 40}))

    assert look_inside(path) == (4, [])
    with open_movie(accepted(path, ("phase", "gfp"), position=3)) as movie:
        np.testing.assert_array_equal(movie.read(1, "phase"), picture(28, 0))


def test_z_slices_of_a_lif_are_projected_and_its_time_stamps_used(drawn):
    sizes = {"T": 2, "Z": 3, "C": 2, "Y": 24, "X": 40}
    stamps = np.datetime64("2024-01-01T10:00:00.000") + np.arange(12) * np.timedelta64(5000, "ms")
    path = drawn(DrawnImage(0, sizes, timestamps=stamps))

    info = accepted(path, ("phase", "gfp"), stated=(), z="max")

    assert info["time_h"] == pytest.approx([0, 30 / 3600])
    with open_movie(info) as movie:
        np.testing.assert_array_equal(movie.read(1, "gfp"), picture(7, 1))


@pytest.mark.parametrize(
    ("images", "finding"),
    [
        (
            [DrawnImage(0, {"Y": 24, "C": 2, "Z": 24, "X": 40})],
            "is a series of xy planes; it holds P",
        ),
        ([], "is a series of xy planes; it holds none"),
        ([DrawnImage(0, {"T": 3, "Y": 24, "X": 40, "S": 3})], "holds colour images (RGB)"),
        ([DrawnImage(dtype="int32")], "pixels are int32, wanted uint8, uint16 or float32"),
        ([DrawnImage(0, {"T": 3, "λ": 8, "Y": 24, "X": 40})], "image Position 1 has the axes TλYX; wanted none but T"),
        ([DrawnImage(coords=None)], "cannot be read as LIF (AttributeError"),
        ([SimpleNamespace(sizes=None)], "cannot be read as LIF (AttributeError"),
    ],
)
def test_a_lif_that_cannot_be_used_is_refused(drawn, images, finding):
    assert finding in refusal(drawn(*images), ("phase", "gfp"))


def test_a_plane_of_a_lif_that_does_not_decode_is_refused(drawn):
    path = drawn(DrawnImage(frame=lambda **at: np.zeros(3)))

    assert "page Position 1 {'T': 0, 'C': 0} cannot be decoded (" in refusal(path, ("phase", "gfp"))


def test_the_library_gives_what_is_asked_of_it_for_a_real_lif():
    import liffile

    path = real("reader-files/testdata_2channel_xz.lif")

    reason = refusal(path, ("a", "b"))

    assert "it holds xzt (TCZX), xzy (YCZX), xz (CZX)" in reason
    with liffile.LifFile(path) as file:
        series = file.images[0]
        assert not series.is_flim
        assert series.sizes == {"T": 20, "C": 2, "Z": 128, "X": 128}
        assert len(series.timestamps) == 40
        assert np.diff(series.coords["T"]) == pytest.approx([0.53] * 19, abs=0.01)
        np.testing.assert_array_equal(series.frame(T=7, C=1), series.asarray()[7, 1])


def test_a_truncated_lif_is_refused(tmp_path):
    content = real("reader-files/testdata_2channel_xz.lif").read_bytes()

    for share in (0.001, 0.3, 0.9):
        (tmp_path / "m.lif").write_bytes(content[: int(share * len(content))])
        assert "m.lif: " in refusal(tmp_path / "m.lif", ("a", "b"), axes="TCYX")
