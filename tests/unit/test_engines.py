"""The engines' own programs, run in a process of their own with stubs of their libraries.

Where the real libraries are installed (`make env-cellpose`, `make env-stardist`,
or the Python that CYTOLAPSE_CELLPOSE or CYTOLAPSE_STARDIST names) they are tried too.
"""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from drawn import a_movie

from cytolapse.engines import Engine, label_by_engine
from cytolapse.exchange import receive, send
from cytolapse.movies import StackReader
from cytolapse.tables import read_metadata, read_table
from planning.checks import read_schema, with_defaults

REPOSITORY = Path(__file__).parents[2]
STUBS = REPOSITORY / "tests/stubs"
DEFAULTS = with_defaults(read_schema("config"), {})
BRIGHT = 5000


@pytest.fixture
def python(tmp_path):
    """A Python whose environment has the stubs."""
    return a_python(tmp_path, f'PYTHONPATH="{STUBS}:$PYTHONPATH" exec {sys.executable} "$@"')


def a_python(folder: Path, command: str) -> Path:
    """An interpreter that is this shell command."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)
    return path


def two_cells(frames=3):
    """A bright bar across the middle of every frame; the stub of Cellpose calls it two cells."""
    movie = np.full((frames, 24, 40), 100, np.uint16)
    movie[:, 8:16, 5:35] = BRIGHT
    return movie


def labelled(folder, engine, python, movie=None, *, device="auto", own_weights=None, **settings):
    """Labels of a movie by an engine; the table of confidence lies beside it."""
    movie_json = a_movie(folder, two_cells() if movie is None else movie)
    paths = folder / "labels.tif", folder / "confidence.parquet"
    label_by_engine(
        engine,
        movie_json,
        *paths,
        python=python,
        device=device,
        settings={**DEFAULTS[engine], **settings},
        own_weights=own_weights,
        threads=2,
        pixel_size_um=None,
        frame_interval_min=None,
        provenance={"code": "abc"},
    )
    with StackReader(paths[0]) as stack:
        return np.stack([stack.read(frame) for frame in range(stack.shape[0])])


def test_cellpose_labels_every_frame_and_gives_the_mean_probability_of_each_cell(tmp_path, python, capsys):
    labels = labelled(tmp_path, "cellpose", python)

    expected = np.zeros((24, 40), int)
    expected[8:16, 5:20], expected[8:16, 20:35] = 1, 2
    for frame in labels:
        np.testing.assert_array_equal(frame, expected)
    confidence = read_table("confidence", tmp_path / "confidence.parquet")
    assert confidence["label"].tolist() == [1, 2] * 3
    assert confidence["mask_confidence"].to_numpy() == pytest.approx(1 / (1 + np.exp(-2)))
    said = capsys.readouterr().err
    assert "'diameter': None, 'flow': 0.4, 'min_size': 15, 'normalize': False" in said


def test_what_the_engine_is_stands_in_the_record(tmp_path, python):
    labelled(tmp_path, "cellpose", python, own_weights="0123")

    record = json.loads(read_metadata(tmp_path / "confidence.parquet")["provenance"])["label"]
    assert record == {
        "code": "abc",
        "segmenter_version": "cellpose 4.2.1, torch 0.stub",
        "device": "cpu",
        "model_digest": "0123",
    }


def test_the_settings_reach_cellpose(tmp_path, python, capsys):
    labels = labelled(tmp_path, "cellpose", python, diameter_px=25, flow_threshold=0, min_area_px=121)

    assert not labels.any()
    assert "'diameter': 25, 'flow': 0, 'min_size': 121" in capsys.readouterr().err


def test_stardist_labels_every_frame_with_the_probability_of_each_object(tmp_path, python, capsys):
    labels = labelled(tmp_path, "stardist", python, nms_threshold=0.3, tile_px=16)

    assert set(np.unique(labels)) == {0, 1, 2}
    confidence = read_table("confidence", tmp_path / "confidence.parquet")
    assert confidence["mask_confidence"].to_numpy() == pytest.approx([0.9, 0.7] * 3)
    assert "'axes': 'YX', 'prob': None, 'nms': 0.3, 'n_tiles': (2, 3)" in capsys.readouterr().err


def test_objects_of_stardist_that_are_too_small_go_and_the_others_keep_their_own_probability(tmp_path, python):
    labels = labelled(tmp_path, "stardist", python, min_area_px=2)

    assert set(np.unique(labels)) == {0, 2}
    confidence = read_table("confidence", tmp_path / "confidence.parquet")
    assert confidence["label"].tolist() == [2] * 3
    assert confidence["mask_confidence"].to_numpy() == pytest.approx(0.7)


def test_grey_values_are_scaled_by_the_movie_so_that_a_dark_frame_stays_dark_or_by_the_frame(tmp_path, python):
    movie = two_cells()
    movie[1] = 100 + (movie[1] - 100) // 10

    assert [frame.any() for frame in labelled(tmp_path, "cellpose", python, movie)] == [True, False, True]
    assert all(frame.any() for frame in labelled(tmp_path, "cellpose", python, movie, normalise="frame"))


def test_a_movie_of_one_grey_value_has_no_cell(tmp_path, python):
    assert not labelled(tmp_path, "cellpose", python, np.full((2, 8, 8), 7, np.uint16)).any()


def test_a_frame_that_was_not_acquired_is_not_asked_about(tmp_path, python, capsys):
    movie_json = a_movie(tmp_path, two_cells(), acquired=[True, False, True])
    label_by_engine(
        "cellpose",
        movie_json,
        tmp_path / "labels.tif",
        tmp_path / "confidence.parquet",
        **{"python": python, "device": "cpu", "settings": DEFAULTS["cellpose"], "own_weights": None, "threads": 1},
        **{"pixel_size_um": None, "frame_interval_min": None, "provenance": {}},
    )

    assert set(read_table("confidence", tmp_path / "confidence.parquet")["frame"]) == {0, 2}
    assert capsys.readouterr().err.count("'normalize': False") == 2


@pytest.mark.parametrize("engine", ["cellpose", "stardist"])
def test_a_gpu_that_is_asked_for_or_given_and_absent_ends_the_job_at_once(tmp_path, python, engine, monkeypatch):
    with pytest.raises(RuntimeError, match=rf"(?s){engine} ended at its start .*device is cuda, and .* finds no GPU"):
        labelled(tmp_path, engine, python, device="cuda")

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(RuntimeError, match=r"(?s)this job was given a GPU \(CUDA_VISIBLE_DEVICES 0\), and .* finds no"):
        labelled(tmp_path, engine, python)
    assert labelled(tmp_path, engine, python, device="cpu").any()


@pytest.mark.parametrize(
    ("engine", "model", "said"),
    [
        ("cellpose", "cyto9", "cellpose.model is cyto9, which Cellpose does not know; it knows cpsam_v2, cpsam"),
        ("cellpose", "mine", "cellpose.model is mine, weights of your own in models: give their path"),
        ("cellpose", "cpsam", r"the weights of cpsam are not in models and cannot be fetched (.|\n)*run .*python"),
        ("cellpose", "./weights/none", "cellpose.model is ./weights/none, and there is no such file"),
        ("stardist", "2D_other", "stardist.model is 2D_other, which StarDist does not know"),
        (
            "stardist",
            "2D_demo",
            r"the model 2D_demo is not there and cannot be fetched (.|\n)*StarDist2D.from_pretrained",
        ),
    ],
)
def test_weights_that_are_not_there_are_named_with_what_to_do(tmp_path, python, engine, model, said):
    with pytest.raises(RuntimeError, match=said):
        labelled(tmp_path, engine, python, model=model)

    assert not (tmp_path / "labels.tif").exists()


def test_weights_of_ones_own_are_taken_and_files_that_are_none_refused(tmp_path, python):
    (tmp_path / "mine").write_text("weights")
    assert labelled(tmp_path, "cellpose", python, model=str(tmp_path / "mine")).any()

    (tmp_path / "mine").write_text("a letter")
    with pytest.raises(RuntimeError, match="mine does not hold weights of Cellpose 4: no zip archive"):
        labelled(tmp_path, "cellpose", python, model=str(tmp_path / "mine"))


def test_a_folder_of_a_model_of_ones_own_is_taken_and_one_without_weights_refused(tmp_path, python, capsys):
    (tmp_path / "mine").mkdir()
    with pytest.raises(RuntimeError, match=r"the folder .*mine holds no weights \(.h5\)"):
        labelled(tmp_path, "stardist", python, model=str(tmp_path / "mine"))

    (tmp_path / "mine/weights_best.h5").write_bytes(b"")
    assert labelled(tmp_path, "stardist", python, model=str(tmp_path / "mine")).any()
    assert f"Loading network weights from {tmp_path}/mine" in capsys.readouterr().err


@pytest.mark.parametrize(("engine", "name"), [("cellpose", "Cellpose"), ("stardist", "StarDist")])
def test_a_python_without_the_library_is_named_with_the_command_that_makes_one(tmp_path, engine, name):
    # -S: without any installed package but numpy, which is put on the path
    numpy_only = tmp_path / "site"
    numpy_only.mkdir()
    for package in Path(np.__file__).parents[1].glob("numpy*"):
        (numpy_only / package.name).symlink_to(package)
    python = a_python(tmp_path, f'PYTHONPATH="{numpy_only}:$PYTHONPATH" exec {sys.executable} -S "$@"')

    with pytest.raises(RuntimeError, match=rf"has no {name} \(No module named .*\): run `make env-{engine}`"):
        labelled(tmp_path, engine, python)


def test_another_generation_of_cellpose_is_refused(tmp_path):
    for stub in STUBS.iterdir():
        (tmp_path / stub.name).symlink_to(stub)
    (tmp_path / "cellpose-4.2.1.dist-info").unlink()
    (tmp_path / "cellpose-3.1.1.dist-info").mkdir()
    (tmp_path / "cellpose-3.1.1.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: cellpose\nVersion: 3.1.1\n"
    )
    python = a_python(tmp_path, f'PYTHONPATH="{tmp_path}:$PYTHONPATH" exec {sys.executable} "$@"')

    with pytest.raises(RuntimeError, match="has cellpose 3.1.1, wanted 4: run `make env-cellpose`"):
        labelled(tmp_path, "cellpose", python)


def test_a_python_that_is_not_there_is_named_with_what_to_do(tmp_path):
    with pytest.raises(
        RuntimeError, match=r"cannot be started by /nowhere/python .*: run `make env-stardist`, or name"
    ):
        labelled(tmp_path, "stardist", "/nowhere/python")


def test_an_engine_that_dies_is_named_with_the_frame_and_its_last_words(tmp_path, python):
    engine = Engine("cellpose", python, {**DEFAULTS["cellpose"], "device": "cpu", "threads": 1})

    with (
        engine,
        pytest.raises(
            RuntimeError,
            match=r"(?s)cellpose ended at frame 7 with exit code 1; its last words:.*MemoryError: far too bright",
        ),
    ):
        engine.segment(np.full((4, 4), 1000, np.float32), "frame 7")


def test_an_engine_that_breaks_off_in_the_middle_of_an_answer_is_an_error(tmp_path):
    python = a_python(
        tmp_path, r"""read line; printf '{"facts": {}, "arrays": [{"shape": [9], "dtype": "<f8"}]}\nxx'"""
    )

    with pytest.raises(RuntimeError, match="stardist ended at its start with exit code 0; its last words:\nnothing"):
        labelled(tmp_path, "stardist", python)


def test_an_engine_of_another_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no engine is called 'omnipose'; there are cellpose, stardist"):
        label_by_engine(
            "omnipose",
            *["movie.json", "labels.tif", "confidence.parquet"],
            **{"python": "python", "device": "cpu", "settings": {}, "own_weights": None, "threads": 1},
            **{"pixel_size_um": None, "frame_interval_min": None, "provenance": {}},
        )


def test_a_refused_movie_starts_no_engine(tmp_path):
    (tmp_path / "movie.json").write_text(json.dumps({"status": "refused", "reason": "cut off"}))

    label_by_engine(
        "cellpose",
        *[tmp_path / name for name in ("movie.json", "labels.tif", "confidence.parquet")],
        **{"python": "/nowhere", "device": "cpu", "settings": {}, "own_weights": None, "threads": 1},
        **{"pixel_size_um": None, "frame_interval_min": None, "provenance": {}},
    )

    assert read_table("confidence", tmp_path / "confidence.parquet").empty


@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3), np.zeros((0, 4), np.int32), np.eye(3)[:, ::2]], ids=str
)
def test_an_array_arrives_as_it_was_sent(array):
    pipe = io.BytesIO()
    send(pipe, {"word": "ä"}, [array, array])
    pipe.seek(0)

    facts, received = receive(pipe)

    assert facts == {"word": "ä"}
    for each in received:
        np.testing.assert_array_equal(each, array)
        assert each.dtype == array.dtype
    assert receive(pipe) is None


def wrapped(folder: Path, python: Path, before: str) -> Path:
    """A Python that runs a line of shell first."""
    wrapper = folder / "wrapped-python"
    wrapper.write_text(f'#!/bin/sh\n{before}\nexec {python} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def test_an_environment_that_prints_to_standard_output_is_named(tmp_path, python):
    said = "cellpose answered at its start with what is no message .*something in the environment of .*wrapped-python"
    with pytest.raises(RuntimeError, match=said):
        labelled(tmp_path, "cellpose", wrapped(tmp_path, python, "echo module loaded"))


def test_what_an_engine_has_started_ends_with_it(tmp_path, python):
    begun = time.monotonic()

    labelled(tmp_path, "cellpose", wrapped(tmp_path, python, "sleep 300 &"))

    assert time.monotonic() - begun < 60


def test_a_message_that_is_cut_off_is_an_error():
    pipe = io.BytesIO()
    send(pipe, {}, [np.zeros(9)])
    for bytes_left, said in ((5, "inside of a message"), (len(pipe.getvalue()) - 1, "inside of an array")):
        with pytest.raises(EOFError, match=said):
            receive(io.BytesIO(pipe.getvalue()[:bytes_left]))


def the_real(engine: str) -> Path:
    """The Python of an environment with the real library; skips where there is none."""
    path = Path(os.environ.get(f"CYTOLAPSE_{engine.upper()}", REPOSITORY / f".venv-{engine}/bin/python"))
    if not path.is_file():
        pytest.skip(f"no {engine} is installed: make env-{engine}")
    return path


PARAMETERS = """
import inspect, json, sys
from {module} import {name} as found
print(json.dumps({{m: list(inspect.signature(getattr(found, m)).parameters) for m in {methods!r}}}), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("engine", "module", "name", "methods"),
    [
        ("cellpose", "cellpose.models", "CellposeModel", ["__init__", "eval"]),
        ("stardist", "stardist.models", "StarDist2D", ["__init__", "from_pretrained", "predict_instances"]),
    ],
)
def test_the_stubs_take_what_the_real_libraries_take(python, engine, module, name, methods):
    program = PARAMETERS.format(module=module, name=name, methods=methods)
    parameters = []
    for each in (python, the_real(engine)):
        done = subprocess.run([each, "-c", program], capture_output=True, text=True, check=True)
        parameters.append(json.loads(done.stderr.splitlines()[-1]))

    assert parameters[0] == parameters[1]


def test_the_real_cellpose_says_which_models_it_knows(tmp_path):
    with pytest.raises(RuntimeError, match="cellpose.model is cyto9, which Cellpose does not know; it knows .*cpsam"):
        labelled(tmp_path, "cellpose", the_real("cellpose"), model="cyto9")


UNTRAINED_STARDIST = """
import sys
from stardist.models import Config2D, StarDist2D
model = StarDist2D(Config2D(n_rays=16, unet_n_depth=1, unet_n_filter_base=4), name="untrained", basedir=sys.argv[1])
model.keras_model.save_weights(sys.argv[1] + "/untrained/weights_best.h5")
"""


def test_the_real_stardist_runs_with_a_model_of_ones_own(tmp_path):
    python = the_real("stardist")
    subprocess.run([python, "-c", UNTRAINED_STARDIST, tmp_path], check=True, capture_output=True)

    labels = labelled(tmp_path, "stardist", python, model=f"{tmp_path}/untrained", probability_threshold=0.01)

    assert labels.shape == (3, 24, 40)
    assert labels.any()
    confidence = read_table("confidence", tmp_path / "confidence.parquet")
    assert confidence["mask_confidence"].between(0.01, 1).all()
    record = json.loads(read_metadata(tmp_path / "confidence.parquet")["provenance"])["label"]
    assert record["segmenter_version"].startswith("stardist 0.")
