"""Movies whose every truth is known, simulated and written.

Four steps, each of which knows nothing of the next. A scenario says what to
simulate. Cells live in a colony, in micrometres and hours. The optics show
them to a camera, frame by frame. The truth about them goes into tables.
"""

import math
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cytolapse.bodies import Shapes, cell_shapes
from cytolapse.colony import Colony
from cytolapse.drawing import draw_scene
from cytolapse.files import atomic_path
from cytolapse.lifecycle import growth_rates, sizes
from cytolapse.optics import (
    camera_counts,
    frames_out_of_focus,
    image_scene,
    set_up_optics,
    stage_drift,
)
from cytolapse.reporters import compartments_of, production_rate
from cytolapse.scenarios import NUCLEI, YEAST, Simulation

__all__ = [
    "NUCLEI",
    "YEAST",
    "SimulatedMovie",
    "Simulation",
    "number_labels",
    "simulate_movie",
    "write_annotations",
    "write_movie",
]


@dataclass(frozen=True)
class SimulatedMovie:
    """A movie and everything that is true of it.

    Attributes
    ----------
    movie : array of shape (frames, channels, y, x), uint16
        What the camera saw: the channel to segment, the reporter, and the
        nuclei of yeast where the reporter knows them (`Simulation.channels`).
    labels : array of shape (frames, y, x), uint16
        The number of the cell that covers half of a pixel or more; 0 is
        background. A cell keeps its number.
    cells : DataFrame
        One row a cell and frame in which it is seen: frame, time_h, cell,
        parent, age_h, y_px, x_px, y_um, x_um, y_aligned_um, x_aligned_um,
        area_px (of the label), area_um2, length_um, width_um, orientation_rad,
        volume_um3, growth_rate_per_h, total_au, concentration_au_per_um3 and
        production_rate_au_per_h (of the reporter), nuclear_ratio,
        nucleus_au_per_px, cytoplasm_au_per_px and nucleus_total_au (of the
        reporter in nucleus and cytoplasm, null where it knows no nucleus or
        the bud has none yet), flag_border. Shapes are those of the whole cell,
        also where the frame cuts it. A cell of yeast is one from when it
        emerges as a bud.
    lineage : DataFrame
        One row a cell and cycle that is seen in some frame: cell, cycle,
        parent, generation, first_frame, last_frame, start, end (as in the
        table lineage), birth_frame, division_frame (the first frames after
        these events), birth_time_h, division_time_h, cycle_time_h,
        growth_rate_per_h, size_birth, size_division, added_size,
        division_ratio, and length_um, area_um2 and volume_um3 at birth
        (`_birth_`) and division. Null where the event lies outside of the
        movie. The cycle is 0, but a mother of yeast has one more with every
        bud: cycle k begins with the emergence of the kth. The rate of growth
        is the cell's own; in yeast, where it changes with the cycle, the mean
        over the frames in which she is seen.
    parameters : Simulation
    seed : int
    """

    movie: np.ndarray
    labels: np.ndarray
    cells: pd.DataFrame
    lineage: pd.DataFrame
    parameters: Simulation
    seed: int


def simulate_movie(parameters: Simulation, seed: int) -> SimulatedMovie:
    """Simulate one movie; the same parameters and seed give the same movie.

    Rods elongate exponentially and divide by a rule (adder [1]_, sizer or
    timer) with noise; their overlaps are removed by moving and turning them as
    rigid, straight bodies, so that bent ones touch a little. Nuclei follow a
    persistent random walk. A stable reporter is made at a rate proportional to
    volume, which fluctuates along the lineage, matures, is bleached by every
    frame and diluted by growth; it may move between nucleus and cytoplasm at a
    set time. Yeast buds: a mother keeps her size and her number while a bud
    grows out of her neck, by all that the two grow by [2]_; it leaves her at a
    share of her size, grows until it buds by itself, and she rests before she
    buds again. Not in it: dying cells, mating and sporulation, three
    dimensions.

    Parameters
    ----------
    parameters : Simulation
        What to simulate.
    seed : int
        Of the random numbers, not negative. Cells, optics and camera have
        streams of their own: another camera sees the same cells.

    Returns
    -------
    SimulatedMovie

    Raises
    ------
    ValueError
        If the founders do not fit into the field.
    OverflowError
        If more than 65,535 cells are seen, the most that labels can number.

    References
    ----------
    .. [1] Taheri-Araghi, S. et al. Cell-size control and homeostasis in
       bacteria. Current Biology 25, 385-391 (2015).
    .. [2] Hartwell, L. H. & Unger, M. W. Unequal division in Saccharomyces
       cerevisiae and its implications for the control of cell division.
       J. Cell Biol. 75, 422-435 (1977).
    """
    life, glass, sensor = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    p = parameters
    times_h = np.arange(p.frames) * p.frame_interval_min / 60
    optics = set_up_optics(p, glass)
    drift_um = stage_drift(p, glass)
    blurred = frames_out_of_focus(p, glass)
    colony = Colony(p, life)
    numbers: dict[int, int] = {}
    movie = np.empty((p.frames, len(p.channels), p.height_px, p.width_px), np.uint16)
    labels = np.zeros((p.frames, p.height_px, p.width_px), np.uint16)
    seen = []
    for frame, time_h in enumerate(times_h):
        colony.advance(time_h, drift_um[frame])
        shape = cell_shapes(colony.cells, time_h, p)
        scene = draw_scene(colony.cells, shape, time_h, drift_um[frame], optics.pad_px, p)
        looked_at = (True, *(frame % p.reporter_every_frames == 0,) * (len(p.channels) - 1))
        for channel, light_au in enumerate(image_scene(scene, optics, p, time_h, out_of_focus=blurred[frame])):
            counts = camera_counts(light_au, p, sensor)
            movie[frame, channel] = counts if looked_at[channel] else 0
        rows = _truth_of_frame(frame, time_h, colony.cells, shape, scene.labels, drift_um[frame], p)
        for cell in rows["cell"]:
            numbers.setdefault(cell, len(numbers) + 1)
        of_row = np.array([numbers.get(cell, 0) for cell in colony.cells["cell"].tolist()], int)
        labels[frame] = number_labels(scene.labels, of_row)
        seen.append(rows)
        colony.bleach()
    cells = _with_numbers(pd.concat(seen, ignore_index=True), numbers)
    lineage = _lineage_of(cells, colony, numbers, times_h, p)
    return SimulatedMovie(movie, labels, cells, lineage, parameters, seed)


_PARTS = ("nuclear_ratio", "nucleus_au_per_px", "cytoplasm_au_per_px", "nucleus_total_au")


def _truth_of_frame(
    frame: int,
    time_h: float,
    cells: np.ndarray,
    shape: Shapes,
    labels: np.ndarray,
    drift_um: np.ndarray,
    p: Simulation,
) -> pd.DataFrame:
    """One row for every cell with a pixel in the field."""
    area_px = np.bincount(labels.ravel(), minlength=len(cells) + 1)[1:]
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    age_h = np.where(cells["parent"] > 0, time_h - cells["birth_time_h"], np.nan)
    y_um, x_um = cells["y_um"] - drift_um[0], cells["x_um"] - drift_um[1]
    unknown = np.full(len(cells), np.nan)
    parts = compartments_of(cells, shape, time_h, p) if p.nuclear_ratio else (unknown,) * 4
    rows = pd.DataFrame(
        {
            "frame": frame,
            "time_h": time_h,
            "cell": cells["cell"],
            "parent": cells["parent"],
            "age_h": age_h,
            "y_px": y_um / p.pixel_size_um,
            "x_px": x_um / p.pixel_size_um,
            "y_um": y_um,
            "x_um": x_um,
            "y_aligned_um": cells["y_um"],
            "x_aligned_um": cells["x_um"],
            "area_px": area_px,
            "area_um2": shape.area_um2,
            "length_um": shape.length_um,
            "width_um": shape.width_um,
            "orientation_rad": (cells["angle_rad"] + math.pi / 2) % math.pi - math.pi / 2,
            "volume_um3": shape.volume_um3,
            "growth_rate_per_h": growth_rates(cells, time_h, p),
            "total_au": cells["total_au"],
            "concentration_au_per_um3": cells["total_au"] / shape.volume_um3,
            "production_rate_au_per_h": production_rate(cells, shape, time_h, p),
            **dict(zip(_PARTS, parts, strict=True)),
            "flag_border": np.isin(np.arange(1, len(cells) + 1), edge),
        }
    )
    return rows[area_px > 0]


def number_labels(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Labels with the number of the cell in place of its row.

    Parameters
    ----------
    labels : array of shape (y, x), int
        Row of the cell, from 1; 0 is background.
    numbers : array of shape (cells,), int
        Number of the cell of each row; 0 for one that is not seen.

    Returns
    -------
    array of shape (y, x), uint16

    Raises
    ------
    OverflowError
        If a number is above 65,535.
    """
    largest = numbers.max(initial=0)
    if largest > np.iinfo(np.uint16).max:
        raise OverflowError(f"{largest} cells are seen; labels of 16 bits can number 65535, simulate fewer frames")
    return np.concatenate([[0], numbers])[labels].astype(np.uint16)


def _with_numbers(cells: pd.DataFrame, numbers: dict[int, int]) -> pd.DataFrame:
    """Number cells from 1 as they come into sight; a mother that did not before her daughter is unknown."""
    cells["cell"] = cells["cell"].map(numbers).astype("Int32")
    parent = cells["parent"].map(numbers).astype("Int32")
    first = cells.groupby("cell")["frame"].min()
    before = parent.map(first) < cells["cell"].map(first)
    cells["parent"] = parent.where(before.fillna(False))
    cells["flag_border"] = cells["flag_border"].astype("boolean")
    return cells.astype({"frame": "Int32", "area_px": "Int32"}).sort_values(["frame", "cell"], ignore_index=True)


def _lineage_of(
    cells: pd.DataFrame, colony: Colony, numbers: dict[int, int], times_h: np.ndarray, p: Simulation
) -> pd.DataFrame:
    born = np.concatenate(colony.born)
    born = born[np.isin(born["cell"], list(numbers))]
    number = np.array([numbers[cell] for cell in born["cell"].tolist()], int)
    born, number = born[np.argsort(number)], np.sort(number)
    seen = _seen_cycles(cells, born, colony)
    born, number = born[seen["row"]], number[seen["row"]]
    first, last = seen["first"].to_numpy(int), seen["last"].to_numpy(int)
    begin_h, division_time_h = seen["begin_h"].to_numpy(float), seen["end_h"].to_numpy(float)
    birth_time_h = np.where((born["parent"] > 0) | (seen["cycle"] > 0), begin_h, np.nan)
    born_known, divided = ~np.isnan(birth_time_h), ~np.isnan(division_time_h)
    birth_frame, division_frame = _next_frame(times_h, birth_time_h), _next_frame(times_h, division_time_h)
    at_birth = _sizes_at(born, birth_time_h, "birth", p)
    at_division = _sizes_at(born, division_time_h, "division", p)
    # a division out of sight is not the end of what was seen
    in_sight = divided & (last + 1 == np.where(divided, division_frame, -1))
    born_in_sight = (birth_frame == first) & born_known
    rate_per_h = born["growth_rate_per_h"]
    if p.kind == "yeast":
        rate_per_h = _mean_rates(born, times_h[first], times_h[last], p)
    return pd.DataFrame(
        {
            "cell": pd.array(number, "Int32"),
            "cycle": pd.array(seen["cycle"], "Int32"),
            "parent": pd.array(pd.Series(number).map(cells.groupby("cell")["parent"].first()), "Int32"),
            "generation": pd.array(born["generation"], "Int32"),
            "first_frame": pd.array(first, "Int32"),
            "last_frame": pd.array(last, "Int32"),
            "start": np.select([first == 0, born_in_sight], ["movie_start", "division"], "entered"),
            "end": np.select([in_sight, last == p.frames - 1], ["division", "movie_end"], "left"),
            "birth_frame": _frames_or_null(birth_frame),
            "division_frame": _frames_or_null(division_frame),
            "birth_time_h": birth_time_h,
            "division_time_h": division_time_h,
            "cycle_time_h": division_time_h - birth_time_h,
            "growth_rate_per_h": rate_per_h,
            "size_birth": at_birth["size_birth"],
            "size_division": at_division["size_division"],
            "added_size": at_division["size_division"] - at_birth["size_birth"],
            "division_ratio": np.where(born_known, born["birth_share"], np.nan),
            **{name: value for name, value in (at_birth | at_division).items() if not name.startswith("size")},
        }
    )


def _seen_cycles(cells: pd.DataFrame, born: np.ndarray, colony: Colony) -> pd.DataFrame:
    """The cycles of cells that some frame shows: row of `born`, cycle, begin_h and end_h, first and last frame."""
    ends_h = [colony.division_times_h.get(cell, []) for cell in born["cell"].tolist()]
    cycles = pd.DataFrame(
        [
            (row, cycle, begin_h, end_h)
            for row, (birth_h, ends) in enumerate(zip(born["birth_time_h"].tolist(), ends_h, strict=True))
            for cycle, (begin_h, end_h) in enumerate(zip([birth_h, *ends], [*ends, np.nan], strict=True))
        ],
        columns=["row", "cycle", "begin_h", "end_h"],
    )
    # numbers count from 1 in the order of `born`; a daughter of a fission is another cell
    times_h = cells["time_h"].to_numpy(float)
    passed = [np.searchsorted(ends_h[row], h, side="right") for row, h in zip(cells["cell"] - 1, times_h, strict=True)]
    seen = cells[["frame"]].assign(row=cells["cell"].astype(int) - 1, cycle=np.array(passed, int))
    seen = seen.groupby(["row", "cycle"])["frame"].agg(first="min", last="max").reset_index()
    return cycles.merge(seen, on=["row", "cycle"]).sort_values(["row", "cycle"], ignore_index=True)


def _mean_rates(born: np.ndarray, first_h: np.ndarray, last_h: np.ndarray, p: Simulation) -> np.ndarray:
    span_h = last_h - first_h
    grown = np.log(sizes(born, last_h, p) / sizes(born, first_h, p))
    return np.where(span_h > 0, grown / np.where(span_h > 0, span_h, 1), growth_rates(born, first_h, p))


def _next_frame(times_h: np.ndarray, event_h: np.ndarray) -> np.ndarray:
    frame = np.searchsorted(times_h, event_h).astype(float)
    return np.where(np.isnan(event_h), np.nan, frame)


def _frames_or_null(frame: np.ndarray) -> pd.arrays.IntegerArray:
    return pd.array(pd.Series(frame).astype("Int32"))


def _sizes_at(cells: np.ndarray, time_h: np.ndarray, event: str, p: Simulation) -> dict:
    """Size, and length, area and volume, at the time of an event; NaN where that is not known."""
    known = ~np.isnan(time_h)
    shape = cell_shapes(cells, np.where(known, time_h, cells["birth_time_h"]), p)
    values = {"length_{}_um": shape.length_um, "area_{}_um2": shape.area_um2, "volume_{}_um3": shape.volume_um3}
    values["size_{}"] = sizes(cells, np.where(known, time_h, cells["birth_time_h"]), p)
    return {name.format(event): np.where(known, value, np.nan) for name, value in values.items()}


def write_movie(path: str | os.PathLike, simulated: SimulatedMovie) -> None:
    """Write the movie as an OME-TIFF, axes TCYX, with scale, times and names of channels.

    Parameters
    ----------
    path : path
        File to write; it appears only when it is complete.
    simulated : SimulatedMovie
        What to write.
    """
    import tifffile

    p = simulated.parameters
    frames, channels = simulated.movie.shape[:2]
    times_s = np.repeat(np.arange(frames) * p.frame_interval_min * 60, channels)
    metadata = {
        "axes": "TCYX",
        # of the content, so that the same movie is the same file
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"cytolapse {simulated.seed} {p}")),
        "Channel": {"Name": list(p.channels)},
        "PhysicalSizeX": p.pixel_size_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": p.pixel_size_um,
        "PhysicalSizeYUnit": "µm",
        "TimeIncrement": p.frame_interval_min,
        "TimeIncrementUnit": "min",
        "Plane": {"DeltaT": times_s.tolist(), "DeltaTUnit": ["s"] * len(times_s)},
    }
    pixels_a_cm = 1e4 / p.pixel_size_um
    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            simulated.movie,
            ome=True,
            photometric="minisblack",
            compression="deflate",
            resolution=(pixels_a_cm, pixels_a_cm),
            resolutionunit="CENTIMETER",
            metadata=metadata,
            software="Cytolapse",
        )


def write_annotations(folder: str | os.PathLike, simulated: SimulatedMovie, frames: Iterable[int]) -> list[Path]:
    """Write frames of the channel to segment with their true outlines, to train from.

    Parameters
    ----------
    folder : path
        Gets images/NAME.tif and masks/NAME.tif, where NAME says the seed and
        the frame.
    simulated : SimulatedMovie
        Where the frames are taken from.
    frames : iterable of int
        Frames to write.

    Returns
    -------
    list of Path
        The images.

    Raises
    ------
    ValueError
        If there is no such frame.
    """
    import tifffile

    images, masks = Path(folder) / "images", Path(folder) / "masks"
    written = []
    for frame in frames:
        if not 0 <= frame < len(simulated.movie):
            raise ValueError(
                f"there is no frame {frame}; the simulated movie has frames 0 to {len(simulated.movie) - 1}"
            )
        name = f"seed{simulated.seed:04d}_t{frame:03d}.tif"
        for place, image in ((images, simulated.movie[frame, 0]), (masks, simulated.labels[frame])):
            place.mkdir(parents=True, exist_ok=True)
            with atomic_path(place / name) as temporary:
                tifffile.imwrite(temporary, image, compression="deflate")
        written.append(images / name)
    return written
