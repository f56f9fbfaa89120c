"""What reads files that users bring, each with whole files to be damaged."""

import contextlib
import json
import re
from pathlib import Path

import numpy as np
import tifffile
from mutation import Target, damaged_bytes, damaged_json, damaged_text
from planned import EXPERIMENTS, ROW
from recorded import frames_folder, inspect, picture, stack, write_tiff
from test_omezarr import write_image

from cytolapse.formats import look_inside

MODEL = Path(__file__).parents[2] / "resources/models/demo"


def movie_targets(folder: Path) -> list[Target]:
    """TIFF of four kinds, PNG, and OME-Zarr of both versions."""
    tiffs = {
        "OME-TIFF": ("a.ome.tif", {"metadata": {"axes": "TCYX"}, "compression": "lzw"}),
        "ImageJ TIFF": ("b.tif", {"imagej": True, "metadata": {"axes": "TCYX"}}),
        "BigTIFF in tiles": ("c.tif", {"bigtiff": True, "tile": (16, 16), "metadata": {"axes": "TCYX"}}),
        "plain TIFF, deflated": ("d.tif", {"metadata": None, "compression": "zlib"}),
    }
    targets = []
    for name, (file, options) in tiffs.items():
        write_tiff(folder / file, stack(3, 2), **options)
        targets.append(_movie(name, folder / file, [folder / file], channels=("a", "b"), axes="TCYX"))
    pngs = frames_folder(folder / "pngs", {f"t{t}.png": picture(t) for t in range(2)})
    targets.append(_movie("PNG", pngs, sorted(pngs.glob("*.png"))))
    for version in ("0.4", "0.5"):
        zarr = write_image(folder / f"m{version}.ome.zarr", stack(2), "tyx", version)
        files = sorted(path for path in zarr.rglob("*") if path.is_file())
        targets.append(_movie(f"OME-Zarr {version}", zarr, files))
    return targets


def _movie(name: str, path: Path, files: list[Path], channels: tuple[str, ...] = ("a",), **options) -> Target:
    def look() -> bool:
        info = inspect(path, channels, z="max", **options)
        look_inside(path)
        if info["status"] == "refused":
            assert str(path) in info["reason"], info["reason"]
        return info["status"] == "ok"

    return Target(name, files, damaged_bytes, look)


def model_targets(folder: Path) -> list[Target]:
    """The model file, its entry of metadata, and model.json beside it."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    from cytolapse.models import compress, load_model, normalisation_limits, normalise

    weights, card, entry = folder / "weights.safetensors", folder / "model.json", folder / "entry.json"
    weights.write_bytes((MODEL / "weights.safetensors").read_bytes())
    card.write_bytes((MODEL / "model.json").read_bytes())
    with safe_open(weights, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        entry.write_text(file.metadata()["cytolapse"])
    plane = np.arange(64, dtype=np.uint16).reshape(8, 8)

    def load(path: Path) -> bool:
        import torch

        model = load_model(path)
        shown = normalise(plane, normalisation_limits([plane], model.normalisation), model.normalisation)
        assert torch.isfinite(compress(torch.from_numpy(shown), model.normalisation)).all()
        return True

    def load_entry() -> bool:
        save_file(tensors, folder / "other.safetensors", metadata={"cytolapse": _text(entry)})
        return load(folder / "other.safetensors")

    return [
        Target("model file", [weights], damaged_bytes, _or_refused(lambda: load(weights), "model ")),
        Target("metadata of the model file", [entry], damaged_json, _or_refused(load_entry, "model ")),
        Target("model.json", [card], damaged_json, _or_refused(_labels_by(card, folder), "model ")),
    ]


def _text(path: Path) -> str:
    """Of bytes that are no text, what a file of text could hold of them."""
    return path.read_text(encoding="utf-8", errors="replace")


def _labels_by(card: Path, folder: Path):
    from test_labels import SETTINGS, write_probability

    from cytolapse.labels import label_movie

    write_probability(folder)
    info = folder / "movie.json"
    info.write_text(json.dumps({"status": "ok", "path": "a.tif", "pixel_size_um": 0.2, "frame_interval_min": 5.0}))
    outputs = (folder / "labels.tif", folder / "confidence.parquet")

    def label() -> bool:
        label_movie(folder / "probability.tif", info, card, *outputs, **(SETTINGS | {"min_area_px": None}))
        return True

    return label


def plan_targets(folder: Path) -> list[Target]:
    """config.yaml as YAML and as JSON, the three sheets and a list of movies, each before any job runs."""
    from snakemake.common.configfile import load_configfile
    from snakemake.exceptions import WorkflowError

    from planning.plan import Plan

    (folder / "movies").mkdir()
    for name in ("a", "b"):
        tifffile.imwrite(folder / f"movies/{name}.tif", np.ones((2, 2, 8, 8), np.uint16), photometric="minisblack")
    (folder / "model").mkdir()
    (folder / "model/weights.safetensors").write_bytes(b"weights")
    (folder / "model/model.json").write_text("{}")
    config = {
        **{"experiments": "experiments.tsv", "movies": "movies.tsv", "events": "events.tsv", "device": "cpu"},
        "models": {"nuclei": {"weights": "model"}},
        "segment": {"tile_px": 512, "overlap_px": 64},
        "label": {"threshold": 0.4, "method": "watershed"},
        "measure": {"volume_model": "rod", "dark": {"gfp": 100}},
        "analyse": {"size_quantity": "length", "crosstalk": {"gfp": {"phase": 0.1}}},
        "overrides": {"night1": {"label": {"threshold": 0.3}, "link": {"memory_frames": 1}}},
    }
    texts = {
        "config.json": json.dumps(config),
        "config.yaml": _as_yaml(config),
        "experiments.tsv": EXPERIMENTS + ROW + ROW.replace("night1", "night2").replace("movies/*.tif", "list.txt"),
        "movies.tsv": "experiment\tmovie\tcondition\texclude\treason\tx_plate\nnight1\ta\tacid\tyes\tred\t7\n",
        "events.tsv": "experiment\tmovie\tevent\ttime_h\tdose\nnight1\t*\tdrug\t0.5\t2\n",
        "list.txt": "movies/a.tif\nmovies/b*.tif # the other\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)

    def planned(config_name: str) -> bool:
        try:
            settings = load_configfile(config_name)
        # Snakemake reads the file before anything of ours runs: what is no YAML, or no text, it refuses itself.
        except (WorkflowError, UnicodeDecodeError, RecursionError):
            return False
        plan = Plan(settings)
        plan.check_all()
        plan.remember_fingerprints()
        for experiment in plan.experiments:
            for movie in plan.movie_rows(experiment):
                plan.events(experiment, movie["movie"])
            for block in plan.used_blocks(experiment):
                json.dumps(plan.block(block, experiment))
            plan.stale_folders()
        for model in plan.settings["models"]:
            plan.models.pixel_size_um(model)
        return True

    def look(config_name: str) -> bool:
        with contextlib.chdir(folder):
            return planned(config_name)

    named = r"config|\.tsv|list of movies|movies? |model "
    as_yaml, as_json = (_or_refused(lambda name=name: look(name), named) for name in ("config.yaml", "config.json"))
    targets = [Target("config.yaml", [folder / "config.yaml"], damaged_text, as_yaml)]
    targets.append(Target("config.yaml, values", [folder / "config.json"], damaged_json, as_json))
    names = ("experiments.tsv", "movies.tsv", "events.tsv", "list.txt")
    targets += [Target(name, [folder / name], damaged_text, as_json) for name in names]
    return [*targets, Target("model.json, planned", [folder / "model/model.json"], damaged_json, as_json)]


def _as_yaml(value: object) -> str:
    import yaml

    return yaml.safe_dump(value)


def _or_refused(read, names: str):
    """What reads, with a ValueError for a refusal where its text says what it is about."""

    def look() -> bool:
        try:
            return read()
        except ValueError as error:
            # The errors of codecs and parsers are kinds of ValueError too, and no message.
            if type(error) is ValueError and re.search(names, str(error)):
                return False
            raise

    return look


def all_targets(folder: Path) -> list[Target]:
    """Every target, each kind with files in a folder of its own."""
    targets = []
    for name, make in (("movies", movie_targets), ("model", model_targets), ("plan", plan_targets)):
        (folder / name).mkdir()
        targets += make(folder / name)
    return targets
