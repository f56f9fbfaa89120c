"""Tables of round cells, row by row, for tests of what happens over time."""

import json

import numpy as np
import pandas as pd

from cytolapse.lineage import link_movie
from cytolapse.tables import read_table, typed, write_table

LINK = {"search_range_um": 12.0, "memory_frames": 1, "shape_weight": 1.0}
DIVISION = {
    "division": "fission",
    "division_window_frames": 1,
    "min_daughter_frames": 3,
    "min_division_score": 0.25,
}
REPAIR = {"max_repair_frames": 5}


def drawn(*cells):
    """Objects from (frame, label, y_um, x_um, area_um2[, at the border[, light above background]]); 1 px is 1 um."""
    rows = []
    for frame, label, y_um, x_um, area_um2, *more in cells:
        axis_um = 2 * np.sqrt(area_um2 / np.pi)
        border, light_au = (*more, *(None, None)[len(more) :])
        rows.append(
            {
                **{"frame": frame, "label": label, "area_um2": area_um2, "area_px": round(area_um2)},
                **{"y_px": y_um, "x_px": x_um, "y_um": y_um, "x_um": x_um, "y_aligned_um": y_um, "x_aligned_um": x_um},
                **{"major_axis_um": axis_um, "minor_axis_um": axis_um, "orientation_rad": 0.0},
                **{"flag_border": bool(border), "background_au": None if light_au is None else 100.0},
                "intensity_au": None if light_au is None else 100.0 + light_au,
            }
        )
    return typed("objects", pd.DataFrame(rows))


def neighbours(frames):
    """Cells of ordinary size that only stand there."""
    return [
        (frame, 10 + each, 100.0 + 20 * each, 100.0 * (each % 2), 80.0) for frame in range(frames) for each in range(4)
    ]


def linked(tmp_path, objects, *, frames, **knobs):
    """Tracks by cell, the lineage by track, and the repairs."""
    movie = tmp_path / "movie.json"
    movie.write_text(json.dumps({"status": "ok", "frames": frames}))
    write_table("objects", objects, tmp_path / "objects.parquet")
    outputs = [tmp_path / f"{name}.parquet" for name in ("tracks", "lineage", "repairs")]
    settings = {**LINK, **DIVISION, **REPAIR, **knobs}
    link_movie(movie, tmp_path / "objects.parquet", *outputs, frame_interval_min=5.0, provenance=None, **settings)
    tracks, lineage, repairs = (read_table(path.stem, path) for path in outputs)
    return (
        {(int(f), int(la)): int(t) for f, la, t in tracks.itertuples(index=False)},
        lineage.set_index("track"),
        repairs,
    )
