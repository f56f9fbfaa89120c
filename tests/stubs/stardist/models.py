"""StarDist that calls bright pixels objects: one large, and one of a single pixel."""

import os

import numpy as np


class StarDist2D:
    def __init__(self, config, name=None, basedir="."):
        print("Loading network weights from", os.path.join(basedir, name))

    @classmethod
    def from_pretrained(cls, name_or_alias=None):
        if name_or_alias == "2D_demo":
            raise Exception("URL fetch failure: no network in tests")
        if name_or_alias != "2D_versatile_fluo":
            print("There are 2 registered models: 2D_versatile_fluo, 2D_demo")
            return None
        return cls(None, name_or_alias)

    def predict_instances(
        self,
        img,
        axes=None,
        normalizer=None,
        sparse=True,
        prob_thresh=None,
        nms_thresh=None,
        scale=None,
        n_tiles=None,
        show_tile_progress=True,
        verbose=False,
        return_labels=True,
        predict_kwargs=None,
        nms_kwargs=None,
        overlap_label=None,
        return_predict=False,
    ):
        print("predict", {"axes": axes, "prob": prob_thresh, "nms": nms_thresh, "n_tiles": n_tiles})
        labels = np.where(img > 0.5, 2, 0).astype(np.int32)
        labels[0, 0] = 1
        return labels, {"prob": np.array([0.9, 0.7], np.float32), "points": None, "coord": None}
