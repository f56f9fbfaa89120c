"""Cellpose 4 that calls bright pixels cells, a cell in each half of the image."""

import urllib.error
from collections import namedtuple
from pathlib import Path

import numpy as np

MODEL_DIR = "models"
MODEL_NAMES = ["cpsam_v2", "cpsam"]
Device = namedtuple("Device", "type")


def get_user_models():
    return ["mine"]


class CellposeModel:
    def __init__(
        self,
        gpu=False,
        pretrained_model="cpsam_v2",
        model_type=None,
        diam_mean=None,
        device=None,
        nchan=None,
        use_bfloat16=True,
    ):
        if pretrained_model == "cpsam":
            raise urllib.error.URLError("no network in tests")
        own = Path(pretrained_model)
        if own.is_file() and own.read_text() != "weights":
            raise RuntimeError("no zip archive")
        print(">>>> loading model", pretrained_model)
        self.device = Device("cuda" if gpu else "cpu")

    def eval(
        self,
        x,
        batch_size=8,
        resample=True,
        channels=None,
        channel_axis=None,
        z_axis=None,
        normalize=True,
        rescale=None,
        diameter=None,
        flow_threshold=0.4,
        cellprob_threshold=0.0,
        do_3D=False,
        anisotropy=None,
        flow3D_smooth=0,
        stitch_threshold=0.0,
        min_size=15,
        max_size_fraction=0.4,
        niter=None,
        augment=False,
        tile_overlap=0.1,
        bsize=None,
        compute_masks=True,
        progress=None,
    ):
        print("eval", {"diameter": diameter, "flow": flow_threshold, "min_size": min_size, "normalize": normalize})
        if x.max() > 100:
            raise MemoryError("far too bright")
        score = np.where(x > 0.5, 2.0, -2.0).astype(np.float32)
        labels = np.where(score > cellprob_threshold, 1 + (np.arange(x.shape[1]) >= x.shape[1] // 2), 0)
        for label in (1, 2):
            if np.count_nonzero(labels == label) < min_size:
                labels[labels == label] = 0
        return labels.astype(np.uint16), [None, None, score], np.zeros(256)
