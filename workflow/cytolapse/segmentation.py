"""A movie -> probabilities of cell and edge for every pixel of every frame.

Frames are read, computed and written at the same time, each in a thread of
its own and a few frames ahead at most: memory does not grow with the movie.
"""

import json
import logging
import math
import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch
from tqdm import tqdm

from cytolapse.arithmetic import choose_precision
from cytolapse.devices import choose_device, device_name
from cytolapse.diameters import AUTO, measure_diameter_px
from cytolapse.labeling import Cuts, find_cells
from cytolapse.models import Model, load_model, normalisation_limits, normalise, weights_digest
from cytolapse.movies import SAMPLED_FRAMES, Movie, open_movie, sampled_planes, write_stack
from cytolapse.prediction import Predictor
from cytolapse.scaling import SMALLEST, diameter_px, movie_scale

log = logging.getLogger(__name__)

T = TypeVar("T")

# Planes on which the diameter of cells is measured, where it is.
_PLANES = 3


def segment_movie(
    movie_json: str | os.PathLike,
    weights: str | os.PathLike,
    probability_path: str | os.PathLike,
    *,
    device: str,
    batch_frames: int,
    tile_px: int,
    overlap_px: int,
    views: int,
    precision: str,
    resample: bool,
    cell_diameter_px: float | Literal["auto"] | None,
    pixel_size_um: float | None,
    threads: int,
    provenance: dict | None,
) -> None:
    """Segment every frame of a movie: movie.json and model to probability.tif.

    A plane that was not acquired gives pages of 0. A refused movie gives one
    page of one pixel.

    Parameters
    ----------
    movie_json : path
        What inspect found.
    weights : path
        Model file.
    probability_path : path
        Stack (t, classes, y, x) to write, uint8, 255 is a probability of 1.
    device, precision, batch_frames, tile_px, overlap_px, views
        As in `Predictor`.
    resample : bool
        Show the network the movie at the pixel size that it was trained at,
        where that and the movie's are known; the probabilities are brought
        back to the movie's own pixels.
    cell_diameter_px : float or 'auto' or None
        Diameter of a usual cell of the movie, where it is to be shown at the
        size of the cells that the model learned from; wins over pixel sizes.
        'auto' measures it on some frames; where no cell is found there, as
        None.
    pixel_size_um : float or None
        As stated in experiments.tsv; None takes the file's.
    threads : int
        Threads that torch may use on a CPU.
    provenance : dict or None
        Record of this stage. Digest of the model, device, precision, seed,
        the diameter as given or measured, and the factors that frames were
        enlarged by are added: scale, to the size of the model's annotations,
        and network_scale, to that at which the network saw them. It is kept
        in the description of the stack.

    Raises
    ------
    ValueError
        If the model takes more than one channel, or cannot be read.
    RuntimeError
        If CUDA is asked for and cannot be used, or GPU memory does not
        suffice for a single tile.
    """
    with open(movie_json) as file:
        info = json.load(file)
    if info["status"] == "refused":
        _write_nothing(probability_path, provenance)
        return
    chosen = choose_device(device)
    model = load_model(weights)
    if model.channels != 1:
        raise ValueError(
            f"model {weights}: takes images of {model.channels} channels, a movie is segmented by one "
            "(segment_channel in config/experiments.tsv); train a model on images of one channel"
        )
    torch.set_num_threads(threads)
    size_um = info["pixel_size_um"] if pixel_size_um is None else pixel_size_um
    predictor = Predictor(
        model,
        device=chosen,
        precision=choose_precision(precision, chosen, float16=True),
        batch_frames=batch_frames,
        tile_px=tile_px,
        overlap_px=overlap_px,
        views=views,
        scale=model.scale,
    )
    if cell_diameter_px == AUTO:
        cell_diameter_px = _movie_diameter_px(info, model, predictor)
    scale = movie_scale(
        resample=resample,
        movie_um=size_um,
        model_um=model.pixel_size_um,
        movie_diameter_px=cell_diameter_px,
        model_area_px=model.cell_area_px,
    )
    predictor.scale = scale * model.scale
    facts = {
        "model_digest": weights_digest(model.network.state_dict()),
        "device": device_name(chosen),
        "precision": str(predictor.precision).removeprefix("torch."),
        "seed": model.trained.get("seed"),
        "scale": scale,
        "network_scale": scale * model.scale,
        "cell_diameter_px": cell_diameter_px,
    }
    log.info("%s: model %s, %s in %s", info["path"], facts["model_digest"], facts["device"], facts["precision"])
    clock = Clock()
    with open_movie(info) as movie:
        together, classes = predictor.frames_at_once(movie.shape), len(model.classes)
        batches = _read_batches(movie, info, model.normalisation, together)
        with (
            ahead(batches, depth=1) as images,
            ahead(_pages(images, predictor, movie, classes, clock), depth=2 * classes * together) as pages,
        ):
            write_stack(
                probability_path,
                pages,
                shape=(movie.frames, classes, *movie.shape),
                dtype=np.uint8,
                pixel_size_um=size_um,
                frame_interval_min=info["frame_interval_min"],
                axes="TCYX",
                description={"segment": {**provenance, **facts}} if provenance is not None else {"segment": facts},
            )
    clock.report(info["path"], movie.frames)


def measured_diameter_px(
    planes: Sequence[np.ndarray], model: Model, predictor: Predictor, *, name: str
) -> float | None:
    """As `diameters.measure_diameter_px`, by a model.

    Parameters
    ----------
    planes : sequence of float32 arrays of shape (y, x)
        Normalised.
    model : Model
    predictor : Predictor
        Of that model. Its scale is another one afterwards.
    name : str
        Of the movie or image, for the log.

    Returns
    -------
    float or None
    """

    def predict(images: np.ndarray, scale: float) -> np.ndarray:
        predictor.scale = scale
        return predictor(images)

    def label(probability: np.ndarray, scale: float, least_px: int) -> np.ndarray:
        cuts = Cuts(model.split_depth, model.split_neck)
        return find_cells(probability, model.threshold, least_px, scale, cuts, model.min_confidence)

    return measure_diameter_px(planes, predict, label, diameter_px(model.cell_area_px) * model.scale, name=name)


def _movie_diameter_px(info: Mapping, model: Model, predictor: Predictor) -> float | None:
    with open_movie(info) as movie:
        limits = movie_limits(movie, info, model.normalisation)
        sampled = list(sampled_planes(movie, info))[:: math.ceil(SAMPLED_FRAMES / _PLANES)]
        planes = [normalise(plane, limits, model.normalisation) for plane in sampled]
    found_px = measured_diameter_px(planes, model, predictor, name=info["path"])
    if found_px is None:
        text = "%s: no cell was found to measure cell_diameter_px by: frames are taken as they are; give a number"
        log.warning(text, info["path"])
    elif not SMALLEST <= diameter_px(model.cell_area_px) / found_px <= 1 / SMALLEST:
        text = (
            "%s: what was found to measure cell_diameter_px by is %.3g px wide, and cells of this model are %.3g px: "
            "that is nothing to go by, and frames are taken as they are; give a number"
        )
        log.warning(text, info["path"], found_px, diameter_px(model.cell_area_px))
        return None
    else:
        log.info("%s: cells are %.3g px wide", info["path"], found_px)
    return found_px


def _write_nothing(probability_path: str | os.PathLike, provenance: dict | None) -> None:
    write_stack(
        probability_path,
        [np.zeros((1, 1), np.uint8)],
        shape=(1, 1, 1),
        dtype=np.uint8,
        pixel_size_um=None,
        frame_interval_min=None,
        axes="TYX",
        description={"segment": provenance} if provenance is not None else None,
    )


@contextmanager
def ahead(items: Iterable[T], depth: int) -> Iterator[Iterator[T]]:
    """Run an iterator in a thread of its own, so that it works while its items are used.

    An error in it is raised where the next item is asked for. Leaving the
    block ends the thread, also where the items were not used up.

    Parameters
    ----------
    items : iterable
    depth : int
        Items that may lie ready; the thread waits when there are as many.

    Yields
    ------
    iterator
        The same items.
    """
    ready: queue.Queue = queue.Queue(maxsize=depth)
    left = threading.Event()

    def offer(entry: tuple) -> bool:
        while not left.is_set():
            try:
                ready.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not offer(("item", item)):
                    return
            offer(("end", None))
        except BaseException as error:
            offer(("error", error))

    def taken() -> Iterator[T]:
        while True:
            kind, value = ready.get()
            if kind == "item":
                yield value
            elif kind == "error":
                raise value
            else:
                return

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        left.set()
        thread.join()


class Batch(NamedTuple):
    """Frames read together: for each whether it was acquired; images (n, y, x) of those that were."""

    acquired: list[bool]
    images: np.ndarray


def _read_batches(movie: Movie, info: Mapping, normalisation: Mapping, size: int) -> Iterator[Batch]:
    channel = info["segment_channel"]
    limits = movie_limits(movie, info, normalisation)
    for start in range(0, movie.frames, size):
        planes = [movie.read(frame, channel) for frame in range(start, min(start + size, movie.frames))]
        images = [normalise(plane, limits, normalisation) for plane in planes if plane is not None]
        yield Batch(
            [plane is not None for plane in planes],
            np.stack(images) if images else np.empty((0, *movie.shape), np.float32),
        )


def movie_limits(movie: Movie, info: Mapping, normalisation: Mapping) -> tuple[float, float]:
    """The grey values of the segmented channel that become 0 and 1, the same for every frame.

    Parameters
    ----------
    movie : Movie
    info : mapping
        Content of movie.json.
    normalisation : mapping
        Of the model.

    Returns
    -------
    (float, float)
        From frames sampled evenly over those that were acquired.

    Raises
    ------
    ValueError
        If no plane of the channel was acquired.
    """
    return normalisation_limits(sampled_planes(movie, info), normalisation)


class Clock:
    """Where the time goes: waiting for frames, computing, waiting for the writer."""

    def __init__(self):
        self._start = self._last = time.perf_counter()
        self._spent = {"reading": 0.0, "computing": 0.0, "writing": 0.0}

    def spent(self, activity: str) -> None:
        """Book the time since the last call."""
        now = time.perf_counter()
        self._spent[activity] += now - self._last
        self._last = now

    def report(self, path: str, frames: int) -> None:
        """Log the speed and the shares."""
        whole = max(time.perf_counter() - self._start, 1e-9)
        shares = {activity: 100 * seconds / whole for activity, seconds in self._spent.items()}
        log.info(
            "%s: %d frames in %.1f s, %.2f frames/s; %.0f %% of the time computing, %.0f %% waiting for frames, "
            "%.0f %% waiting for the writer",
            *(path, frames, whole, frames / whole, shares["computing"], shares["reading"], shares["writing"]),
        )


def _pages(
    batches: Iterable[Batch], predictor: Predictor, movie: Movie, classes: int, clock: Clock
) -> Iterator[np.ndarray]:
    """Pages of probability.tif in order: every class of a frame, then the next frame."""
    nothing = np.zeros((classes, *movie.shape), np.uint8)
    with tqdm(total=movie.frames, unit="frame", mininterval=10) as progress:
        for batch in batches:
            clock.spent("reading")
            found = iter(predictor(batch.images) if len(batch.images) else [])
            clock.spent("computing")
            for acquired in batch.acquired:
                yield from next(found) if acquired else nothing
                progress.update()
            clock.spent("writing")
