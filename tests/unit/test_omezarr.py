import json
from pathlib import Path

import numpy as np
import pytest
from recorded import accepted, picture, read_all, real, refusal, stack

from cytolapse.discovery import MovieSource, find_movies, fingerprint
from cytolapse.formats import look_inside
from cytolapse.movies import open_movie

AXES = {
    "t": {"name": "t", "type": "time", "unit": "second"},
    "c": {"name": "c", "type": "channel"},
    "z": {"name": "z", "type": "space", "unit": "micrometer"},
    "y": {"name": "y", "type": "space", "unit": "micrometer"},
    "x": {"name": "x", "type": "space", "unit": "micrometer"},
}
STEPS = {"t": 120.0, "c": 1.0, "z": 1.0, "y": 0.2, "x": 0.2}


def notes(axes: str, version: str, **changes) -> dict:
    """What the specification wants of an image, with the channels' names as viewers write them."""
    scale = [{"type": "scale", "scale": [STEPS[axis] for axis in axes]}]
    multiscale = {
        "axes": [AXES[axis] for axis in axes],
        "datasets": [{"path": "0", "coordinateTransformations": scale}],
        **changes,
    }
    channels = {"channels": [{"label": "phase"}, {"label": "gfp"}]}
    if version == "0.5":
        return {"ome": {"version": "0.5", "multiscales": [multiscale], "omero": channels}}
    return {"multiscales": [{"version": "0.4", **multiscale}], "omero": channels}


def write_group(folder: Path, attributes: dict, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if version == "0.5":
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        (folder / "zarr.json").write_text(json.dumps(group))
    else:
        (folder / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
        (folder / ".zattrs").write_text(json.dumps(attributes))
    return folder


def write_image(folder: Path, data: np.ndarray, axes: str, version: str = "0.4", **changes) -> Path:
    """An image whose pixels TensorStore writes, which shares no code with the library that reads them."""
    import tensorstore

    write_group(folder, notes(axes, version, **changes), version)
    chunks = [1] * (data.ndim - 2) + [16, 16]
    if version == "0.5":
        grid = {"name": "regular", "configuration": {"chunk_shape": chunks}}
        spec = {"driver": "zarr3", "metadata": {"chunk_grid": grid, "codecs": [{"name": "gzip"}]}}
    else:
        packed = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}
        spec = {"driver": "zarr", "metadata": {"chunks": chunks, "compressor": packed, "dimension_separator": "/"}}
    spec["kvstore"] = {"driver": "file", "path": str(folder / "0")}
    array = tensorstore.open(spec, create=True, dtype=data.dtype.name, shape=data.shape).result()
    array.write(data).result()
    return folder


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_an_ome_zarr_gives_its_pixels_and_scales_back(tmp_path, version, dtype):
    truth = stack(3, 2, dtype=dtype)
    write_image(tmp_path / "m.ome.zarr", truth, "tcyx", version)

    info = accepted(tmp_path / "m.ome.zarr", ("phase", "gfp"), stated=())

    assert (info["frames"], info["dtype"], info["kind"]) == (3, dtype, "file")
    assert info["pixel_size_um"] == pytest.approx(0.2)
    assert info["frame_interval_min"] == pytest.approx(2)
    assert info["warnings"] == []
    np.testing.assert_array_equal(read_all(info, squeeze=False), truth)


def test_a_zarr_is_known_by_its_notes_whatever_its_name(tmp_path):
    write_image(tmp_path / "m", stack(3), "tyx")

    np.testing.assert_array_equal(read_all(accepted(tmp_path / "m")), stack(3))


def test_z_slices_of_a_zarr_are_projected(tmp_path):
    data = np.array([[[picture(t + 3 * z, c) for z in range(3)] for c in range(2)] for t in range(2)])
    write_image(tmp_path / "m.ome.zarr", data, "tczyx")

    with open_movie(accepted(tmp_path / "m.ome.zarr", ("phase", "gfp"), z="max")) as movie:
        np.testing.assert_array_equal(movie.read(1, "gfp"), picture(7, 1))


def test_the_scale_of_all_levels_counts_too(tmp_path):
    all_levels = [{"type": "scale", "scale": [0.5, 2.0, 2.0]}]
    write_image(tmp_path / "m.ome.zarr", stack(3), "tyx", coordinateTransformations=all_levels)

    info = accepted(tmp_path / "m.ome.zarr", stated=())

    assert (info["pixel_size_um"], info["frame_interval_min"]) == pytest.approx((0.4, 1))


def test_the_images_of_a_set_are_positions(tmp_path):
    write_group(tmp_path / "m.zarr", {"bioformats2raw.layout": 3}, "0.4")
    for number in range(11):
        write_image(tmp_path / "m.zarr" / str(number), stack(3) + 50 * number, "tyx")

    assert look_inside(tmp_path / "m.zarr") == (11, [])
    assert list(find_movies("*.zarr", tmp_path, []).values())[10] == MovieSource("m.zarr", 10)
    np.testing.assert_array_equal(read_all(accepted(tmp_path / "m.zarr", position=10)), stack(3) + 500)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_fields_of_a_plate_are_positions(tmp_path, version):
    def noted(name, content):
        return {"ome": {name: content}} if version == "0.5" else {name: content}

    wells = ["A/1", "B/2"]
    write_group(tmp_path / "m.zarr", noted("plate", {"wells": [{"path": well} for well in wells]}), version)
    for number, well in enumerate(wells):
        images = [{"path": str(field)} for field in range(2)]
        write_group(tmp_path / "m.zarr" / well, noted("well", {"images": images}), version)
        for field in range(2):
            write_image(tmp_path / "m.zarr" / well / str(field), stack(3) + 20 * number + 5 * field, "tyx", version)

    assert look_inside(tmp_path / "m.zarr") == (4, [])
    np.testing.assert_array_equal(read_all(accepted(tmp_path / "m.zarr", position=3)), stack(3) + 25)


def change(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("break_it", "finding"),
    [
        (lambda m: change(m / ".zattrs", multiscales=[]), "cannot be read as OME-Zarr (IndexError"),
        (lambda m: (m / ".zattrs").write_text('{"multiscales"'), "cannot be read as OME-Zarr (JSONDecodeError"),
        (lambda m: (m / ".zattrs").write_text("{}"), "is no OME-Zarr image: neither it nor a folder in it has"),
        (lambda m: (m / "0/.zarray").unlink(), "its notes name the array 0, which is not there; copy it again"),
        (lambda m: change(m / "0/.zarray", filters=[{"id": "pickle"}]), "its pixels are packed by pickle"),
        (lambda m: change(m / "0/.zarray", dtype="|O"), "pixels are object, wanted uint8"),
        (lambda m: change(m / "0/.zarray", dtype=[["a", "<u2"]]), "pixels are "),
        (lambda m: change(m / "0/.zarray", chunks=[3, 100_000, 100_000]), "lie in chunks of 60.0 GB; write it again"),
        (lambda m: change(m / "0/.zarray", shape=[3, 10**6, 10**6]), "its planes of 1000000 x 1000000 px"),
    ],
)
def test_a_zarr_that_cannot_be_used_is_refused(tmp_path, break_it, finding):
    write_image(tmp_path / "m.zarr", stack(3), "tyx")
    break_it(tmp_path / "m.zarr")

    assert finding in refusal(tmp_path / "m.zarr")


def test_axes_of_another_order_are_refused(tmp_path):
    write_image(tmp_path / "m.zarr", stack(3), "tyx")
    multiscale = {**notes("tyx", "0.4")["multiscales"][0], "axes": ["t", "x", "y"]}
    change(tmp_path / "m.zarr/.zattrs", multiscales=[multiscale])

    assert "its axes are t, x, y for the shape (3, 24, 40); wanted those of OME-Zarr" in refusal(tmp_path / "m.zarr")


@pytest.mark.parametrize("path", ["../other/0", "/etc"])
def test_notes_that_point_out_of_the_movie_are_refused(tmp_path, path):
    write_image(tmp_path / "m.zarr", stack(3), "tyx", datasets=[{"path": path, "coordinateTransformations": []}])

    assert f"its notes point out of its folder, to {path}; export it again" in refusal(tmp_path / "m.zarr")


def test_a_note_of_absurd_size_is_not_read(tmp_path):
    write_image(tmp_path / "m.zarr", stack(3), "tyx")
    with (tmp_path / "m.zarr/.zattrs").open("ab") as file:
        file.truncate(2**31)

    assert ".zattrs has 2147483648 bytes, which is no note" in refusal(tmp_path / "m.zarr")


def test_a_damaged_chunk_is_refused(tmp_path):
    write_image(tmp_path / "m.zarr", stack(3), "tyx")
    (chunk,) = (tmp_path / "m.zarr/0/1/0").glob("0")
    chunk.write_bytes(b"no blosc")

    assert "page (0, (1,)) cannot be decoded (" in refusal(tmp_path / "m.zarr")


def test_chunks_that_are_missing_are_zeros_and_refused_in_the_segmented_channel(tmp_path):
    write_image(tmp_path / "m.zarr", stack(4), "tyx")
    for chunk in (tmp_path / "m.zarr/0/3").rglob("[0-9]"):
        if chunk.is_file():
            chunk.unlink()

    assert "is all zeros at the frames 3 of 4" in refusal(tmp_path / "m.zarr")


def test_an_overwritten_chunk_changes_the_fingerprint_and_a_touch_does_not(tmp_path):
    folder = write_image(tmp_path / "m.zarr", stack(4), "tyx")
    cache = {}
    before = fingerprint(folder, cache)
    (chunk,) = (folder / "0/3/0").glob("1")
    chunk.touch()
    assert fingerprint(folder, cache) == before

    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\xff")

    assert fingerprint(folder, cache) != before


def test_a_zarr_that_another_program_made_of_a_real_nd2_is_read_as_the_nd2(tmp_path):
    import nd2

    path = real("reader-files/cluster.nd2")
    with nd2.ND2File(path) as file:
        file.write_ome_zarr(tmp_path / "m.ome.zarr")

    converted = accepted(tmp_path / "m.ome.zarr", ("a", "b"), z="max")
    original = accepted(path, ("a", "b"), z="max")

    assert converted["pixel_size_um"] == pytest.approx(original["pixel_size_um"])
    np.testing.assert_array_equal(read_all(converted, squeeze=False), read_all(original, squeeze=False))


def test_real_zarrs_are_refused_by_their_type_alone():
    assert "pixels are float64" in refusal(real("reader-files/blobs_image_v04.ome.zarr"))
    assert "pixels are int8" in refusal(real("reader-files/bioformats-data.zarr"))
