"""Probabilities of a movie -> its labels, and how sure each mask is."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from cytolapse import movies
from cytolapse.labeling import label_cells, least_area_px
from cytolapse.movies import StackReader, write_stack
from cytolapse.tables import empty_table, write_table

logger = logging.getLogger(__name__)

MOST_LABELS = np.iinfo(np.uint16).max


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
    split_depth: float,
    split_neck: float,
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
        What is known of the model, with the threshold that suited it best on
        images left out of training.
    labels_path : path
        Stack (t, y, x), uint16, to write.
    confidence_path : path
        Table `confidence` to write: mean probability of cell inside each mask.
    method, seed_threshold, split_depth, split_neck, fill_holes
        As in `label_cells`.
    threshold : float or None
        Probability of cell above which a pixel is cell; None takes the model's.
    min_area_px : int or None
        Fewest pixels of a cell; None takes a tenth of the area of the cells
        that the model learned from, at the scale that it was shown the movie.
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
        _write_nothing(labels_path, confidence_path, {"label": provenance} if provenance else {})
        return
    card = json.loads(Path(model_json).read_text())
    rows = []
    with StackReader(probability_path) as stack:
        shown = stack.description["segment"]
        usual_area_px = card["cell_area_px"] / shown["scale"] ** 2
        settings = {
            "method": method,
            "threshold": card["threshold"] if threshold is None else threshold,
            "seed_threshold": seed_threshold,
            "split_depth": split_depth,
            "split_neck": split_neck,
            "min_area_px": least_area_px(usual_area_px) if min_area_px is None else min_area_px,
            "fill_holes": fill_holes,
            "network_scale": shown["network_scale"],
        }
        # With what was used, also where it is the model's.
        own = {"label": {**provenance, "settings": settings}} if provenance else {}
        records = {**stack.description, **own}
        frames, *_, height_px, width_px = stack.shape
        write_stack(
            labels_path,
            _labelled(stack, rows, settings, info["path"]),
            shape=(frames, height_px, width_px),
            dtype=np.uint16,
            pixel_size_um=movies.pixel_size_um(info, pixel_size_um),
            frame_interval_min=info["frame_interval_min"] if frame_interval_min is None else frame_interval_min,
            axes="TYX",
            description=records,
        )
    confidence = pd.concat(rows, ignore_index=True)
    text = "%s: %d cells of %d px or more in %d frames"
    logger.info(text, info["path"], len(confidence), settings["min_area_px"], frames)
    write_table("confidence", confidence, confidence_path, metadata={"provenance": json.dumps(records)})


def _labelled(stack: StackReader, rows: list[pd.DataFrame], settings: dict, movie: str) -> Iterator[np.ndarray]:
    """Labels frame by frame; what is known of each mask goes to `rows`."""
    classes = stack.shape[1] if len(stack.shape) == 4 else 1
    for frame in tqdm(range(stack.shape[0]), desc="label", unit="frame", mininterval=10):
        probability = np.stack([stack.read(frame, each) for each in range(classes)]).astype(np.float32) / 255
        labels = label_cells(probability, **settings)
        cells = int(labels.max())
        if cells > MOST_LABELS:
            raise ValueError(
                f"movie {movie}, frame {frame}: {cells} cells found, labels.tif numbers at most {MOST_LABELS}; "
                "these are specks: raise min_area_px or threshold of label"
            )
        rows.append(_confidence(frame, labels, probability[0]))
        yield labels.astype(np.uint16)


def _confidence(frame: int, labels: np.ndarray, cell: np.ndarray) -> pd.DataFrame:
    area_px = np.bincount(labels.ravel())
    total = np.bincount(labels.ravel(), weights=cell.ravel())
    return pd.DataFrame(
        {
            "frame": frame,
            "label": np.arange(1, len(area_px)),
            "mask_confidence": total[1:] / area_px[1:],
        }
    )


def _write_nothing(labels_path: str | os.PathLike, confidence_path: str | os.PathLike, records: dict) -> None:
    write_stack(
        labels_path,
        [np.zeros((1, 1), np.uint16)],
        shape=(1, 1, 1),
        dtype=np.uint16,
        pixel_size_um=None,
        frame_interval_min=None,
        axes="TYX",
        description=records,
    )
    write_table("confidence", empty_table("confidence"), confidence_path, metadata={"provenance": json.dumps(records)})
