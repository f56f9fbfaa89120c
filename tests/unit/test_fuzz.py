"""Files of every shape, and damaged ones: each ends in its pixels or in a verdict."""

import random

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded import accepted, frames_folder, inspect, picture, read_all, stack, write_tiff
from test_omezarr import write_image

from cytolapse.formats import look_inside

SIDES = st.sampled_from([1, 2, 3, 7, 16, 17, 31, 64, 97])
FEW = st.integers(1, 5)
RELAXED = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture], "derandomize": True}


@settings(max_examples=60, **RELAXED)
@given(
    axes=st.permutations("TCZ").map("".join),
    sizes=st.tuples(st.integers(2, 5), FEW, FEW),
    sides=st.tuples(SIDES, SIDES),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    byteorder=st.sampled_from("<>"),
    bigtiff=st.booleans(),
    compression=st.sampled_from([None, "zlib", "lzw", "packbits"]),
    z=st.sampled_from(["max", "mean"]),
)
def test_a_tiff_of_any_shape_type_order_and_packing_gives_its_pixels_back(
    tmp_path, axes, sizes, sides, dtype, byteorder, bigtiff, compression, z
):
    truth = np.random.default_rng(1).integers(1, 250, (*sizes, *sides)).astype(dtype)
    stored = np.moveaxis(truth, range(3), [axes.index(letter) for letter in "TCZ"])
    path = tmp_path / "m.ome.tif"
    packed = {"compression": compression, "byteorder": byteorder, "bigtiff": bigtiff}
    write_tiff(path, stored, metadata={"axes": f"{axes}YX"}, ome=True, **packed)

    info = accepted(path, [f"c{number}" for number in range(sizes[1])], z=z)

    projected = truth.max(axis=2) if z == "max" else truth.mean(axis=2, dtype=np.float64)
    if dtype != "float32" and z == "mean":
        projected = projected.round()
    np.testing.assert_array_equal(read_all(info, squeeze=False), projected.astype(dtype))


@settings(max_examples=25, **RELAXED)
@given(
    frames=st.integers(2, 12),
    start=st.sampled_from([0, 1, 9, 98]),
    digits=st.integers(1, 9),
    channels=st.integers(1, 3),
    sides=st.tuples(SIDES, SIDES),
    ending=st.sampled_from([".tif", ".TIF", ".png"]),
)
def test_a_folder_of_any_numbering_gives_its_pixels_back(
    tmp_path_factory, frames, start, digits, channels, sides, ending
):
    folder = tmp_path_factory.mktemp("m")
    names = ["phase", "gfp", "rfp"][:channels]
    frames_folder(
        folder,
        {
            f"pos7_{name}_t{start + t:0{digits}d}{ending}": picture(t, c, shape=sides)
            for t in range(frames)
            for c, name in enumerate(names)
        },
    )

    truth = stack(frames, channels, shape=sides).reshape(frames, channels, *sides)
    np.testing.assert_array_equal(read_all(accepted(folder, names), squeeze=False), truth)


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """A copy with a few bytes overwritten, or cut, or with a part repeated."""
    data = bytearray(whole)
    kind = chance.randrange(4)
    if kind == 0:
        return bytes(data[: chance.randrange(len(data))])
    if kind == 1:
        place = chance.randrange(len(data))
        return bytes(data[:place] + data[max(0, place - 64) : place] + data[place:])
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(max(1, len(data) - 8))
        patch = chance.choice([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", chance.randbytes(2), chance.randbytes(8)])
        data[place : place + len(patch)] = patch
    return bytes(data)


def test_damaged_tiffs_of_every_kind_end_in_a_verdict(tmp_path):
    chance = random.Random(6)
    write_tiff(tmp_path / "a.ome.tif", stack(3, 2), metadata={"axes": "TCYX"}, compression="lzw")
    write_tiff(tmp_path / "b.tif", stack(3, 2), imagej=True, metadata={"axes": "TCYX"})
    write_tiff(tmp_path / "c.tif", stack(3, 2), bigtiff=True, tile=(16, 16), metadata={"axes": "TCYX"})
    for name in ("a.ome.tif", "b.tif", "c.tif"):
        whole = (tmp_path / name).read_bytes()
        for _ in range(70):
            (tmp_path / f"x_{name}").write_bytes(damaged(whole, chance))
            assert inspect(tmp_path / f"x_{name}", ("a", "b"), z="max")["status"] in ("ok", "refused")
            look_inside(tmp_path / f"x_{name}")


def test_damaged_pngs_end_in_a_verdict(tmp_path):
    chance = random.Random(7)
    folder = frames_folder(tmp_path / "m", {f"t{t}.png": picture(t) for t in range(2)})
    whole = (folder / "t1.png").read_bytes()
    for _ in range(100):
        (folder / "t1.png").write_bytes(damaged(whole, chance))
        assert inspect(folder)["status"] in ("ok", "refused")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_damaged_zarrs_end_in_a_verdict(tmp_path, version):
    chance = random.Random(8)
    folder = write_image(tmp_path / "m.ome.zarr", stack(2), "tyx", version)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for _ in range(60):
        path = chance.choice(files)
        whole = path.read_bytes()
        path.write_bytes(damaged(whole, chance))
        assert inspect(folder)["status"] in ("ok", "refused")
        look_inside(folder)
        path.write_bytes(whole)


def test_a_description_of_anything_at_all_ends_in_a_verdict(tmp_path):
    chance = random.Random(9)
    words = [
        "ImageJ=1.5\n",
        "frames=",
        "slices=-3\n",
        "channels=1e400\n",
        "\n",
        "{",
        '"shape": ',
        "[0]",
        "NaN",
        "\u00b5",
    ]
    words += ["<OME>", "<Image>", "<Pixels SizeT='9'>", "</OME>", "images=99999999999999999999\n", "unit=\n"]
    for _ in range(100):
        description = "".join(chance.choices(words, k=chance.randrange(1, 12)))
        with tifffile.TiffWriter(tmp_path / "m.tif") as tif:
            tif.write(stack(3), metadata=None, photometric="minisblack", description=description.encode())
        assert inspect(tmp_path / "m.tif")["status"] in ("ok", "refused")
        look_inside(tmp_path / "m.tif")
