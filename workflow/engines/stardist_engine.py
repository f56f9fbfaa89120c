"""StarDist as an engine: run by the Python of its own environment, with cytolapse.exchange on the path."""

import math
import os
import sys
from importlib.metadata import version

import numpy as np

from cytolapse.exchange import serve, why_gpu


def start(settings):
    """Load the model; give facts, and a function from image to labels."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow as tf
        from stardist.models import StarDist2D
    except ImportError as error:
        raise SystemExit(f"{sys.executable} has no StarDist ({error}): run `make env-stardist`") from error
    tf.config.threading.set_intra_op_parallelism_threads(settings["threads"])
    if settings["device"] == "cpu":
        tf.config.set_visible_devices([], "GPU")
    gpus = tf.config.get_visible_devices("GPU")
    reason = why_gpu(settings["device"])
    if reason and not gpus:
        raise SystemExit(
            f"{reason}, and tensorflow {tf.__version__} of {sys.executable} finds no GPU; "
            "have the driver looked at, or set device to cpu in config.yaml"
        )
    model = load(StarDist2D, settings["model"])
    facts = {
        "segmenter_version": f"stardist {version('stardist')}, tensorflow {tf.__version__}",
        "device": "cuda" if gpus else "cpu",
    }

    def segment(image):
        labels, found = model.predict_instances(
            image,
            axes="YX",
            prob_thresh=settings["probability_threshold"],
            nms_thresh=settings["nms_threshold"],
            n_tiles=tuple(math.ceil(side / settings["tile_px"]) for side in image.shape),
            show_tile_progress=False,
        )
        return without_specks(labels, settings["min_area_px"]), found["prob"]

    return facts, segment


def load(network, name):
    """The model of this name, or in this folder."""
    if "/" in name:
        folder, own = os.path.split(os.path.abspath(name))
        if not any(each.endswith(".h5") for each in os.listdir(name)):
            raise SystemExit(f"stardist.model: the folder {name} holds no weights (.h5)")
        return network(None, name=own, basedir=folder)
    try:
        model = network.from_pretrained(name)
    except Exception as error:  # keras passes on whatever its download meets
        raise SystemExit(
            f"the model {name} is not there and cannot be fetched ({error}): on a machine with a network and the same "
            f"home folder, run {sys.executable} -c "
            f"\"from stardist.models import StarDist2D; StarDist2D.from_pretrained('{name}')\", "
            "or name a folder of your own (stardist.model)"
        ) from error
    if model is None:
        raise SystemExit(f"stardist.model is {name}, which StarDist does not know; those that it knows stand above")
    return model


def without_specks(labels, min_area_px):
    """The labels without those of too few pixels; the others keep their numbers."""
    kept = np.bincount(labels.ravel()) >= min_area_px
    return np.where(kept[labels], labels, 0)


if __name__ == "__main__":
    serve(start)
