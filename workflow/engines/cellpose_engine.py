"""Cellpose 4 as an engine: run by the Python of its own environment, with cytolapse.exchange on the path."""

import os
import sys
from importlib.metadata import version

import numpy as np

from cytolapse.exchange import serve, why_gpu

WANTED = "4"


def start(settings):
    """Load the model; give facts, and a function from image to labels."""
    try:
        import torch
        from cellpose import models
    except ImportError as error:
        raise SystemExit(f"{sys.executable} has no Cellpose ({error}): run `make env-cellpose`") from error
    found = version("cellpose")
    if found.split(".")[0] != WANTED:
        raise SystemExit(f"{sys.executable} has cellpose {found}, wanted {WANTED}: run `make env-cellpose`")
    torch.set_num_threads(settings["threads"])
    has_gpu = torch.cuda.is_available()
    reason = why_gpu(settings["device"])
    if reason and not has_gpu:
        raise SystemExit(
            f"{reason}, and torch {torch.__version__} of {sys.executable} finds no GPU; "
            "have the driver looked at, or set device to cpu in config.yaml"
        )
    model = load(models, settings["model"], gpu=has_gpu and settings["device"] != "cpu")
    facts = {
        "segmenter_version": f"cellpose {found}, torch {torch.__version__}",
        "device": f"cuda ({torch.cuda.get_device_name()})" if model.device.type == "cuda" else model.device.type,
    }

    def segment(image):
        labels, flows, _ = model.eval(
            image,
            normalize=False,
            diameter=settings["diameter_px"],
            flow_threshold=settings["flow_threshold"],
            cellprob_threshold=settings["cellprob_threshold"],
            min_size=settings["min_area_px"],
        )
        return labels, mean_probability(labels, flows[2])

    return facts, segment


def load(models, name, gpu):
    """The model of this name; Cellpose itself would take another one in place of one that it does not know."""
    if "/" in name:
        if not os.path.isfile(name):
            raise SystemExit(f"cellpose.model is {name}, and there is no such file")
        try:
            return models.CellposeModel(gpu=gpu, pretrained_model=name, use_bfloat16=gpu)
        except Exception as error:  # whatever torch meets in a file that is none of its own
            raise SystemExit(f"cellpose.model: {name} does not hold weights of Cellpose {WANTED}: {error}") from error
    known = models.MODEL_NAMES
    if name in models.get_user_models():
        raise SystemExit(
            f"cellpose.model is {name}, weights of your own in {models.MODEL_DIR}: give their path, "
            "so that other weights under this name are noticed"
        )
    if name not in known:
        raise SystemExit(f"cellpose.model is {name}, which Cellpose does not know; it knows {', '.join(known)}")
    try:
        return models.CellposeModel(gpu=gpu, pretrained_model=name, use_bfloat16=gpu)
    except OSError as error:
        raise SystemExit(
            f"the weights of {name} are not in {models.MODEL_DIR} and cannot be fetched ({error}): on a machine with "
            f"a network and the same home folder, run {sys.executable} -c "
            f"\"from cellpose import models; models.CellposeModel(pretrained_model='{name}')\", "
            "or name a file of your own (cellpose.model)"
        ) from error


def mean_probability(labels, score):
    """Mean over each cell of the probability that Cellpose's score, a logit, stands for."""
    probability = 1 / (1 + np.exp(-np.asarray(score, np.float64)))
    owner = np.asarray(labels).astype(np.int64).ravel()
    area_px = np.maximum(np.bincount(owner), 1)
    return (np.bincount(owner, probability.ravel()) / area_px)[1:]


if __name__ == "__main__":
    os.environ.setdefault("KMP_WARNINGS", "0")
    serve(start)
