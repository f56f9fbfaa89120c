"""Files of every shape, and damaged ones: each ends in its pixels or in a verdict."""

import os
import pickle
import random
from pathlib import Path

import mutation
import numpy as np
import pytest
import tifffile
from fuzztargets import all_targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import MOST_MEMORY_MB, fuzz
from recorded import accepted, frames_folder, inspect, picture, read_all, stack, write_tiff

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


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    """What reads files that users bring, by name."""
    return {target.name: target for target in all_targets(tmp_path_factory.mktemp("whole"))}


ROUNDS = {
    **dict.fromkeys(["OME-TIFF", "ImageJ TIFF", "BigTIFF in tiles", "plain TIFF, deflated", "PNG"], 60),
    **dict.fromkeys(["OME-Zarr 0.4", "OME-Zarr 0.5"], 30),
    **dict.fromkeys(["model file", "metadata of the model file", "model.json", "model.json, planned"], 30),
    **dict.fromkeys(["config.yaml", "config.yaml, values"], 60),
    **dict.fromkeys(["experiments.tsv", "movies.tsv", "events.tsv", "list.txt"], 30),
}


def test_everything_that_is_fuzzed_is_fuzzed_here(targets):
    assert set(targets) == set(ROUNDS)


@pytest.mark.parametrize("name", ROUNDS)
def test_damaged_files_are_accepted_or_refused_in_words(targets, name):
    outcome = fuzz(targets[name], ROUNDS[name], seed=6)

    assert [raised for raised, _ in outcome.crashes] == []
    assert outcome.counts["refused"] > 0
    assert outcome.memory_mb < MOST_MEMORY_MB


def _raises() -> bool:
    raise KeyError("scale")


def _unpickles() -> bool:
    return pickle.loads(pickle.dumps(Path)) is Path


def _runs_a_command() -> bool:
    return os.system("true") == 0


def _evaluates() -> bool:
    return eval("1 + 1") == 2


def _never_ends() -> bool:
    while True:
        pass


@pytest.mark.parametrize(
    ("does", "said"),
    [
        (_raises, "KeyError: 'scale'"),
        (_unpickles, "a file was executed: pickle.find_class"),
        (_runs_a_command, "a file was executed: os.system"),
        (_evaluates, "a file was executed: exec"),
        (_never_ends, "TimeoutError: not done after 0.1 s of work"),
    ],
)
def test_what_no_file_may_bring_its_reader_to_is_seen(tmp_path, monkeypatch, does, said):
    monkeypatch.setattr(mutation, "MOST_SECONDS", 0.1)
    (tmp_path / "whole").write_bytes(b"whole")

    def look() -> bool:
        return (tmp_path / "whole").read_bytes() == b"whole" or does()

    target = mutation.Target("a", [tmp_path / "whole"], lambda whole, chance: whole + b"!", look)
    outcome = fuzz(target, 2, seed=1)

    assert outcome.counts == {"crashed": 2}
    assert all(said in raised for raised, _ in outcome.crashes)
    assert outcome.crashes[0][1] == b"whole!"
    assert (tmp_path / "whole").read_bytes() == b"whole"


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
