import errno
from types import SimpleNamespace

import numpy as np
import pytest
from recorded import accepted, inspect, picture, real, refusal

from cytolapse.formats import describe, look_inside, open_planes
from cytolapse.movies import open_movie


class DrawnNd2:
    """What the documented interface of nd2.ND2File gives of a drawn acquisition: no library writes ND2."""

    sizes = {"T": 3, "P": 2, "C": 2, "Y": 24, "X": 40}
    held = 6
    period_ms = 300_000.0
    is_rgb = False
    dtype = np.dtype("uint16")

    def __init__(self, path):
        named = [SimpleNamespace(channel=SimpleNamespace(name=name)) for name in ("phase", "gfp")]
        self.metadata = SimpleNamespace(channels=named[: self.sizes.get("C", 1)])
        self.attributes = SimpleNamespace(sequenceCount=self.held, bitsPerComponentSignificant=12)
        parameters = SimpleNamespace(periodMs=self.period_ms)
        self.experiment = [SimpleNamespace(type="TimeLoop", parameters=parameters)]

    def voxel_size(self):
        return SimpleNamespace(x=0.11, y=0.11, z=1.0)

    def read_frame(self, exposure):
        planes = [picture(exposure, c) for c in range(self.sizes.get("C", 1))]
        return np.array(planes).squeeze()

    def frame_metadata(self, exposure):
        times = [SimpleNamespace(time=SimpleNamespace(relativeTimeMs=1000.0 * exposure + 100 * c)) for c in range(2)]
        return SimpleNamespace(channels=times)

    def close(self):
        pass


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Put a drawn acquisition in place of the library's files."""

    def put(**changes):
        monkeypatch.setattr("nd2.ND2File", type("Drawn", (DrawnNd2,), changes))
        (tmp_path / "m.nd2").write_bytes(b"drawn")
        return tmp_path / "m.nd2"

    return put


def test_the_positions_of_an_nd2_are_movies_of_their_own(drawn):
    path = drawn()

    info = accepted(path, ("phase", "gfp"), position=1, stated=())

    assert look_inside(path) == (2, [])
    assert info["frames"] == 3
    assert info["pixel_size_um"] == pytest.approx(0.11)
    assert info["frame_interval_min"] == pytest.approx(5)
    assert info["time_h"] == pytest.approx([0, 2 / 3600, 4 / 3600])
    assert info["saturation_au"] == 4095
    with open_movie(info) as movie:
        for frame in range(3):
            # Positions change faster than time: exposures 1, 3 and 5.
            np.testing.assert_array_equal(movie.read(frame, "gfp"), picture(2 * frame + 1, 1))
            np.testing.assert_array_equal(movie.read(frame, "phase"), picture(2 * frame + 1, 0))


def test_z_slices_of_an_nd2_are_projected(drawn):
    path = drawn(sizes={"T": 2, "Z": 3, "C": 2, "Y": 24, "X": 40}, period_ms=0.0)

    info = accepted(path, ("phase", "gfp"), stated=(), z="max")

    assert info["time_h"] == pytest.approx([0, 3 / 3600])
    assert info["frame_interval_min"] == pytest.approx(3 / 60)
    with open_movie(info) as movie:
        np.testing.assert_array_equal(movie.read(1, "gfp"), picture(5, 1))


def test_an_nd2_of_one_channel_is_read(drawn):
    path = drawn(sizes={"T": 3, "Y": 24, "X": 40})

    with open_movie(accepted(path, ("phase",))) as movie:
        np.testing.assert_array_equal(movie.read(2, "phase"), picture(2))


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"held": 5}, "its metadata claim 6 planes, the file holds 5: the acquisition was stopped early"),
        ({"is_rgb": True}, "holds colour images (RGB)"),
        ({"dtype": np.dtype("int32")}, "pixels are int32, wanted uint8, uint16 or float32"),
        ({"sizes": {"T": 6, "C": 2, "Y": 40_000, "X": 40_000}}, "its header claims planes of 40000 x 40000 x 2 px"),
        ({"attributes": 3, "__init__": lambda self, path: None}, "cannot be read as ND2 (AttributeError"),
        ({"frame_metadata": lambda self, exposure: None}, "cannot be read as ND2 (AttributeError"),
        ({"read_frame": lambda self, exposure: np.zeros(7)}, "page 0 cannot be decoded ("),
    ],
)
def test_an_nd2_that_cannot_be_used_is_refused(drawn, changes, finding):
    assert finding in refusal(drawn(**changes), ("phase", "gfp"))


def test_an_nd2_that_may_not_be_opened_is_refused_and_one_that_may_come_kills_the_job(drawn):
    def fail(error):
        def init(self, path):
            raise error

        return {"__init__": init}

    denied = PermissionError(errno.EACCES, "Permission denied")
    assert "cannot be opened (Permission denied)" in refusal(drawn(**fail(denied)), ("phase", "gfp"))
    with pytest.raises(OSError, match="Stale"):
        inspect(drawn(**fail(OSError(errno.ESTALE, "Stale file handle"))), ("phase", "gfp"))


def test_a_real_nd2_is_read_as_the_library_reads_it_whole():
    import nd2

    path = real("reader-files/cluster.nd2")
    whole = nd2.imread(path)

    info = accepted(path, ("green", "red"), stated=(), z="max")

    assert (info["frames"], info["height_px"], info["width_px"]) == (3, 31, 38)
    assert info["pixel_size_um"] == pytest.approx(0.1678, abs=1e-4)
    assert info["saturation_au"] == 4095
    assert np.diff(info["time_h"]) == pytest.approx([10.64 / 3600] * 2, rel=0.01)
    with open_planes(path) as planes:
        assert describe(planes)[0].channel_names[0] == "5-FAM/pH 9.0"
    with open_movie(info) as movie:
        for frame, c in np.ndindex(3, 2):
            np.testing.assert_array_equal(movie.read(frame, movie.channels[c]), whole[frame, :, c].max(axis=0))


def test_a_truncated_nd2_is_refused(tmp_path):
    content = real("reader-files/cluster.nd2").read_bytes()

    for share in (0.1, 0.5, 0.95):
        (tmp_path / "m.nd2").write_bytes(content[: int(share * len(content))])
        assert "m.nd2: " in refusal(tmp_path / "m.nd2", ("a", "b"), z="max")
