"""Probabilities of a movie -> its labels, and how sure each mask is."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cytolapse.cards import CHOSEN, read_card
from cytolapse.labeling import area_limits_px, label_cells, mean_probability
from cytolapse.masks import LabelledFrame, write_labels, write_no_labels
from cytolapse.movies import StackReader

logger = logging.getLogger(__name__)


def label_movie(
    probability_path: str | os.PathLike,
    movie_json: str | os.PathLike,
    model_json: str | os.PathLike,
    labels_path: str | os.PathLike,
    confidence_path: str | os.PathLike,
    *,
    method: str,
    threshold: float | None,
    seed_threshold: float,
    split_depth: float | None,
    split_neck: float | None,
    min_confidence: float | None,
    min_area_px: int | None,
    fill_holes: bool,
    pixel_size_um: float | None,
    frame_interval_min: float | None,
    provenance: dict | None,
) -> None:
    """Label every frame of a movie: probability.tif to labels.tif and confidence.parquet.

    Frames are read, labelled and written one by one. A refused movie gives one
    page of one pixel and a table without rows.

    Parameters
    ----------
    probability_path : path
        Stack (t, classes, y, x), uint8, 255 = 1, with the record of its stage.
    movie_json : path
        What inspect found.
    model_json : path
        What is known of the model, with the threshold and the cuts between
        cells that suited it best on images left out of training.
    labels_path : path
        Stack (t, y, x), uint16, to write.
    confidence_path : path
        Table `confidence` to write: mean probability of cell inside each mask.
    method, seed_threshold, fill_holes
        As in `label_cells`.
    threshold, split_depth, split_neck, min_confidence : float or None
        As in `label_cells`; None takes the model's.
    min_area_px : int or None
        Fewest pixels of a cell; None takes a tenth of the area of the cells
        that the model learned from, at the scale that it was shown the movie,
        and calls a cell small below the model's `small_part`; a number calls none small.
    pixel_size_um, frame_interval_min : float or None
        As stated in experiments.tsv; None takes the file's.
    provenance : dict or None
        Record of this stage; it joins those of the stages before, which travel
        in the description of probability.tif.

    Raises
    ------
    ValueError
        If a frame holds more cells than 16 bits can number.
    """
    info = json.loads(Path(movie_json).read_text())
    if info["status"] == "refused":
        write_no_labels(labels_path, confidence_path, {"label": provenance} if provenance else {})
        return
    card = read_card(model_json, ("cell_area_px", "small_part", *CHOSEN))
    given = {
        "threshold": threshold,
        "split_depth": split_depth,
        "split_neck": split_neck,
        "min_confidence": min_confidence,
    }
    with StackReader(probability_path) as stack:
        shown = stack.description["segment"]
        limits = area_limits_px(card["cell_area_px"] / shown["scale"] ** 2, card["small_part"])
        settings = {
            "method": method,
            "seed_threshold": seed_threshold,
            **{name: card[name] if value is None else value for name, value in given.items()},
            **(limits if min_area_px is None else {"min_area_px": min_area_px, "small_area_px": 0}),
            "fill_holes": fill_holes,
            "network_scale": shown["network_scale"],
        }
        # With what was used, also where it is the model's.
        own = {"label": {**provenance, "settings": settings}} if provenance else {}
        records = {**stack.description, **own}
        frames, *_, height_px, width_px = stack.shape
        cells = write_labels(
            labels_path,
            confidence_path,
            _labelled(stack, settings),
            info=info,
            shape=(frames, height_px, width_px),
            pixel_size_um=pixel_size_um,
            frame_interval_min=frame_interval_min,
            records=records,
            remedy="these are specks: raise min_area_px or threshold of label",
        )
    text = "%s: %d cells of %d px or more in %d frames"
    logger.info(text, info["path"], cells, settings["min_area_px"], frames)
    if settings["small_area_px"] > settings["min_area_px"]:
        logger.info("%s: below %d px only cells of which the network is surer", info["path"], settings["small_area_px"])


def _labelled(stack: StackReader, settings: dict) -> Iterator[LabelledFrame]:
    classes = stack.shape[1] if len(stack.shape) == 4 else 1
    for frame in tqdm(range(stack.shape[0]), desc="label", unit="frame", mininterval=10):
        probability = np.stack([stack.read(frame, each) for each in range(classes)]).astype(np.float32) / 255
        labels = label_cells(probability, **settings)
        yield LabelledFrame(labels, mean_probability(labels, probability[0]))
