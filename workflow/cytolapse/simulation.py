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

from cytolapse.colony import Colony, Shapes, cell_shapes, production_rate
from cytolapse.files import atomic_path
from cytolapse.lifecycle import division_times, growth_rates
from cytolapse.optics import (
    camera_counts,
    draw_scene,
    frames_out_of_focus,
    image_scene,
    set_up_optics,
    stage_drift,
)
from cytolapse.scenarios import NUCLEI, Simulation

__all__ = [
    "NUCLEI",
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
    movie : array of shape (frames, 2, y, x), uint16
        What the camera saw: the channel to segment, then the reporter.
    labels : array of shape (frames, y, x), uint16
        The number of the cell that covers half of a pixel or more; 0 is
        background. A cell keeps its number.
    cells : DataFrame
        One row a cell and frame in which it is seen: frame, time_h, cell,
        parent, age_h, y_px, x_px, y_um, x_um, y_aligned_um, x_aligned_um,
        area_px (of the label), area_um2, length_um, width_um, orientation_rad,
        volume_um3, growth_rate_per_h, total_au, concentration_au_per_um3 and
        production_rate_au_per_h (of the reporter), flag_border. Shapes are
        those of the whole cell, also where the frame cuts it.
    lineage : DataFrame
        One row a cell that is seen in some frame: cell, parent, generation,
        first_frame, last_frame, start, end (as in the table lineage),
        birth_frame, division_frame (the first frames after these events),
        birth_time_h, division_time_h, cycle_time_h, growth_rate_per_h,
        size_birth, size_division, added_size, division_ratio, and length_um,
        area_um2 and volume_um3 at birth (`_birth_`) and division. Null where
        the event lies outside of the movie.
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
    frame and diluted by growth. Not in it: budding, dying cells, phases of the
    cell cycle, reporters that move within the cell, three dimensions.

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
    """
    life, glass, sensor = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    p = parameters
    times_h = np.arange(p.frames) * p.frame_interval_min / 60
    optics = set_up_optics(p, glass)
    drift_um = stage_drift(p, glass)
    blurred = frames_out_of_focus(p, glass)
    colony = Colony(p, life)
    numbers: dict[int, int] = {}
    movie = np.empty((p.frames, 2, p.height_px, p.width_px), np.uint16)
    labels = np.zeros((p.frames, p.height_px, p.width_px), np.uint16)
    seen = []
    for frame, time_h in enumerate(times_h):
        colony.advance(time_h, drift_um[frame])
        shape = cell_shapes(colony.cells, time_h, p)
        scene = draw_scene(colony.cells, shape, drift_um[frame], optics.pad_px, p)
        looked_at = (True, frame % p.reporter_every_frames == 0)
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
            "production_rate_au_per_h": production_rate(cells, shape, p),
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
    """Number cells from 1 as they come into sight; a mother that never did is unknown."""
    cells["cell"] = cells["cell"].map(numbers).astype("Int32")
    cells["parent"] = cells["parent"].map(numbers).astype("Int32")
    cells["flag_border"] = cells["flag_border"].astype("boolean")
    return cells.astype({"frame": "Int32", "area_px": "Int32"}).sort_values(["frame", "cell"], ignore_index=True)


def _lineage_of(
    cells: pd.DataFrame, colony: Colony, numbers: dict[int, int], times_h: np.ndarray, p: Simulation
) -> pd.DataFrame:
    born = np.concatenate(colony.born)
    born = born[np.isin(born["cell"], list(numbers))]
    number = np.array([numbers[cell] for cell in born["cell"].tolist()], int)
    born, number = born[np.argsort(number)], np.sort(number)
    seen = cells.groupby("cell")["frame"].agg(["min", "max"]).reindex(number)
    division_time_h = np.array([colony.division_time_h.get(cell, np.nan) for cell in born["cell"].tolist()])
    birth_time_h = np.where(born["parent"] > 0, born["birth_time_h"], np.nan)
    divided = ~np.isnan(division_time_h)
    first, last = seen["min"].to_numpy(int), seen["max"].to_numpy(int)
    birth_frame, division_frame = _next_frame(times_h, birth_time_h), _next_frame(times_h, division_time_h)
    sizes = _sizes_at(born, born["birth_time_h"], ~np.isnan(birth_time_h), "birth", p)
    sizes |= _sizes_at(born, division_times(born, p), divided, "division", p)
    size_birth = np.where(np.isnan(birth_time_h), np.nan, born["birth_size"])
    size_division = np.where(divided, born["division_size"], np.nan)
    # a division out of sight is not the end of what was seen
    in_sight = divided & (last + 1 == np.where(divided, division_frame, -1))
    born_in_sight = (birth_frame == first) & ~np.isnan(birth_time_h)
    return pd.DataFrame(
        {
            "cell": pd.array(number, "Int32"),
            "parent": pd.Series(born["parent"]).map(numbers).astype("Int32"),
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
            "growth_rate_per_h": born["growth_rate_per_h"],
            "size_birth": size_birth,
            "size_division": size_division,
            "added_size": size_division - size_birth,
            "division_ratio": np.where(np.isnan(birth_time_h), np.nan, born["birth_share"]),
            **sizes,
        }
    )


def _next_frame(times_h: np.ndarray, event_h: np.ndarray) -> np.ndarray:
    frame = np.searchsorted(times_h, event_h).astype(float)
    return np.where(np.isnan(event_h), np.nan, frame)


def _frames_or_null(frame: np.ndarray) -> pd.arrays.IntegerArray:
    return pd.array(pd.Series(frame).astype("Int32"))


def _sizes_at(cells: np.ndarray, time_h: np.ndarray, known: np.ndarray, event: str, p: Simulation) -> dict:
    shape = cell_shapes(cells, time_h, p)
    values = {"length_{}_um": shape.length_um, "area_{}_um2": shape.area_um2, "volume_{}_um3": shape.volume_um3}
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
