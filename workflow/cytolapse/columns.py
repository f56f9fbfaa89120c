"""The declared tables: every column with its type, unit and meaning.

`cytolapse.tables` reads and writes files under them, and docs/tables.md is
generated from here.
"""

from typing import NamedTuple

import pyarrow as pa

SIZE_UNITS = {"area": "um2", "length": "um", "volume": "um3"}


class Column(NamedTuple):
    """One declared column.

    `unit` is 'size' where it depends on the size that the experiment is
    measured by, and '' where there is none.
    """

    name: str
    type: pa.DataType
    unit: str
    description: str


TEXT, INT, REAL, FLAG = pa.string(), pa.int32(), pa.float64(), pa.bool_()

_FRAME = Column("frame", INT, "", "frame, from 0")
_LABEL = Column("label", INT, "", "number of the cell in labels.tif of this frame")
_CELL_ID = Column("cell_id", TEXT, "", "movie:track, unique in the experiment")
_CHANNEL = Column("channel", TEXT, "", "channel")
_CONFIDENCE = Column(
    "mask_confidence",
    REAL,
    "",
    "mean probability of cell inside the mask, 0 to 1; with StarDist that of the object; "
    "null where the segmenter gives none",
)
_SHEET_KEYS = [
    Column("experiment", TEXT, "", "experiment, as in experiments.tsv"),
    Column("movie", TEXT, "", "movie, unique in its experiment"),
    Column("condition", TEXT, "", "condition, as in movies.tsv; null where not given"),
    Column("replicate", TEXT, "", "biological replicate, as in movies.tsv; null where not given"),
]
_SHAPE = [
    Column("y_px", REAL, "px", "centroid, downwards from the centre of the first row"),
    Column("x_px", REAL, "px", "centroid, rightwards from the centre of the first column"),
    Column("y_um", REAL, "um", "y_px times the pixel size"),
    Column("x_um", REAL, "um", "x_px times the pixel size"),
    Column("y_aligned_um", REAL, "um", "y_um with the drift of the stage removed"),
    Column("x_aligned_um", REAL, "um", "x_um with the drift of the stage removed"),
    Column("area_um2", REAL, "um2", "number of pixels times the area of one"),
    Column("perimeter_um", REAL, "um", "length of the outline (Crofton, four directions)"),
    Column("length_um", REAL, "um", "length along the midline, tips included, also of a bent cell"),
    Column("width_um", REAL, "um", "width of the spherocylinder of this area and length"),
    Column("major_axis_um", REAL, "um", "long axis of the ellipse of equal second moments"),
    Column("minor_axis_um", REAL, "um", "short axis of the ellipse of equal second moments"),
    Column("eccentricity", REAL, "", "of that ellipse, 0 for a circle"),
    Column("solidity", REAL, "", "area over area of the convex hull"),
    Column(
        "orientation_rad",
        REAL,
        "rad",
        "angle from the y axis (rows) to the long axis, counter-clockwise on screen, -pi/2 to pi/2",
    ),
    Column("volume_um3", REAL, "um3", "volume by volume_model; null without one; 1 um3 = 1 fL"),
    Column("volume_model", TEXT, "", "rod (spherocylinder), ellipsoid (of revolution about the long axis) or none"),
]

TABLES: dict[str, tuple[str, list[Column]]] = {
    # of one movie, between the stages
    "confidence": (
        "one row a cell and frame as labelled",
        [
            _FRAME,
            _LABEL,
            _CONFIDENCE,
        ],
    ),
    "objects": (
        "one row a cell and frame: position and shape",
        [
            _FRAME,
            _LABEL,
            Column("area_px", INT, "px2", "number of pixels"),
            *_SHAPE,
            Column(
                "intensity_au", REAL, "au", "mean over the mask of the channel that was segmented, background included"
            ),
            Column(
                "background_au", REAL, "au", "background per pixel under this cell in the channel that was segmented"
            ),
            _CONFIDENCE,
            Column("flag_border", FLAG, "", "the mask touches the edge of the frame"),
        ],
    ),
    "intensities": (
        "one row a cell, frame, channel and compartment; null where the plane was not acquired",
        [
            _FRAME,
            _LABEL,
            _CHANNEL,
            Column("compartment", TEXT, "", "whole, nucleus or ring"),
            Column("pixels", INT, "px2", "number of pixels measured"),
            Column("background_au", REAL, "au", "background per pixel under this cell"),
            Column("background_se_au", REAL, "au", "standard error of background_au"),
            Column(
                "background_method",
                TEXT,
                "",
                "local (ring around the cell), frame, or blank (a position without cells)",
            ),
            Column("mean_raw_au", REAL, "au", "mean over the mask, background included"),
            Column("median_raw_au", REAL, "au", "median over the mask, background included"),
            Column("sd_au", REAL, "au", "standard deviation over the mask"),
            Column("saturated_fraction", REAL, "", "share of the pixels at the camera's largest value"),
            Column("spread_pixels", INT, "px2", "number of pixels beside the mask that blur has spread its light to"),
            Column("spread_raw_au", REAL, "au", "mean over these, background included"),
            Column(
                "left_out_au",
                REAL,
                "au",
                "light above the frame's background in mask, gap and ring that is not counted; null for parts of cells",
            ),
        ],
    ),
    "planes": (
        "one row a frame and channel: what the plane is worth",
        [
            _FRAME,
            _CHANNEL,
            Column("acquired", FLAG, "", "false where the microscope took no picture here"),
            Column("exposure_ms", REAL, "ms", "exposure; null where the file does not say"),
            Column("background_au", REAL, "au", "background of the frame per pixel, outside of all cells"),
            Column("background_sd_au", REAL, "au", "robust standard deviation of the background"),
            Column("saturated_fraction", REAL, "", "share of the pixels at the camera's largest value"),
            Column(
                "focus_score",
                REAL,
                "",
                "variance of the Laplacian over squared mean above background; larger is sharper",
            ),
            Column("drift_y_px", REAL, "px", "drift of the stage since frame 0; null outside the segmented channel"),
            Column("drift_x_px", REAL, "px", "drift of the stage since frame 0; null outside the segmented channel"),
            Column("flag_blank", FLAG, "", "no contrast above camera noise in this plane"),
            Column("flag_out_of_focus", FLAG, "", "focus score far below that of the neighbouring frames"),
            Column("flag_saturated", FLAG, "", "more pixels at the camera's largest value than allowed"),
        ],
    ),
    "tracks": (
        "one row a cell and frame: who is who over time",
        [
            _FRAME,
            _LABEL,
            Column("track", INT, "", "number of the track, from 1; ends at a division"),
        ],
    ),
    "repairs": (
        "one row a cell and frame whose mask is wrong, as the frames around say",
        [
            _FRAME,
            Column("track", INT, "", "number of the track of the cell"),
            Column("label", INT, "", "number of the mask in labels.tif of this frame; null where the cell was missed"),
            Column("kind", TEXT, "", "merged (the mask holds other cells too), split (a piece of the cell) or missed"),
            Column("repaired", FLAG, "", "mended in the tracked labels; otherwise noted only"),
            Column("y_px", REAL, "px", "where the cell is expected: centre of its ellipse; null for a piece"),
            Column("x_px", REAL, "px", "where the cell is expected: centre of its ellipse; null for a piece"),
            Column("major_axis_px", REAL, "px", "long axis of that ellipse"),
            Column("minor_axis_px", REAL, "px", "short axis of that ellipse"),
            Column("orientation_rad", REAL, "rad", "angle from the y axis (rows) to the long axis"),
        ],
    ),
    "lineage": (
        "one row a track: where it comes from and how it ends",
        [
            Column("track", INT, "", "number of the track, from 1"),
            Column("parent", INT, "", "track of the mother; null where there is none or it was not seen"),
            Column("first_frame", INT, "", "first frame with this cell"),
            Column("last_frame", INT, "", "last frame with this cell"),
            Column("start", TEXT, "", "division, entered, movie_start or appeared"),
            Column("end", TEXT, "", "division, left, movie_end, lost, death or merged"),
            Column(
                "division_score",
                REAL,
                "",
                "score of the division that the track ends in, 0 to 1; null where it ends otherwise",
            ),
            Column(
                "division_frame",
                INT,
                "",
                "first frame in which daughters are seen apart, of the division that the track ends in",
            ),
        ],
    ),
    # of an experiment, for the user
    "movies": (
        "one row a movie, also one that could not be processed",
        [
            *_SHEET_KEYS[:2],
            Column(
                "position",
                TEXT,
                "",
                "stage position (site): as in movies.tsv, else by the movie's name, else its number within the file or "
                "its mark in the names of a folder's files; null where there is none",
            ),
            Column(
                "well", TEXT, "", "well of the plate, as in movies.tsv, else by the movie's name; null where not given"
            ),
            *_SHEET_KEYS[2:],
            Column("path", TEXT, "", "where the movie was read from"),
            Column("status", TEXT, "", "done, refused, excluded or failed"),
            Column("reason", TEXT, "", "why it is not done"),
            Column("frames", INT, "", "number of frames"),
            Column("height_px", INT, "px", "rows of a frame"),
            Column("width_px", INT, "px", "columns of a frame"),
            Column("channels", TEXT, "", "channels in order, separated by commas"),
            Column("object", TEXT, "", "cell or nucleus: what the masks outline"),
            Column("size_quantity", TEXT, "", "area, length or volume: what is meant by size"),
            Column("pixel_size_um", REAL, "um", "side of a pixel"),
            Column("frame_interval_min", REAL, "min", "median time between frames"),
            Column("interval_even", FLAG, "", "no interval differs by more than 5 % from the median"),
            Column("warnings", TEXT, "", "what was found odd in the file, separated by '; '"),
            Column("version", TEXT, "", "version of Cytolapse that segmented the movie"),
            Column(
                "commit",
                TEXT,
                "",
                "commit of Cytolapse that segmented the movie, with '-dirty' where files were changed",
            ),
            Column("packages_digest", TEXT, "", "digest of the packages installed where the movie was segmented"),
            Column("settings", TEXT, "", "settings of every stage, as JSON"),
            Column("code_digests", TEXT, "", "digest of the code of every stage, as JSON"),
            Column("segmenter", TEXT, "", "what found the cells: cytolapse, cellpose, stardist, threshold or labels"),
            Column("segmenter_version", TEXT, "", "version of Cellpose or StarDist and what it runs on; else null"),
            Column("model", TEXT, "", "model, as in config.yaml; null where the segmenter needs none"),
            Column("model_digest", TEXT, "", "digest of the weights used; null where an engine fetched its own"),
            Column("device", TEXT, "", "device that segmented the movie; null where no network did"),
            Column("precision", TEXT, "", "arithmetic that the network ran in"),
            Column("seed", INT, "", "seed that the model was trained with"),
        ],
    ),
    "frames": (
        "one row a movie and frame",
        [
            *_SHEET_KEYS,
            _FRAME,
            Column("time_h", REAL, "h", "time since the movie's first frame"),
            Column("drift_y_um", REAL, "um", "drift of the stage since frame 0"),
            Column("drift_x_um", REAL, "um", "drift of the stage since frame 0"),
            Column("focus_score", REAL, "", "of the segmented channel; larger is sharper"),
            Column("cells", INT, "", "number of cells"),
            Column("background_{channel}_au", REAL, "au", "background of the frame per pixel; null where not acquired"),
            Column("exposure_{channel}_ms", REAL, "ms", "exposure; null where the file does not say"),
            Column("flag_blank", FLAG, "", "no contrast above camera noise in the segmented channel"),
            Column("flag_out_of_focus", FLAG, "", "focus score far below that of the neighbouring frames"),
            Column("flag_saturated", FLAG, "", "too many pixels at the camera's largest value in some channel"),
        ],
    ),
    "cells": (
        "one row a cell and frame",
        [
            *_SHEET_KEYS,
            _FRAME,
            Column("time_h", REAL, "h", "time since the movie's first frame"),
            Column(
                "time_since_event_h",
                REAL,
                "h",
                "time since the last event (treatment); negative before the first; null where no event is given",
            ),
            _LABEL,
            Column("track", INT, "", "number of the track, one a segment between divisions"),
            _CELL_ID,
            *_SHAPE,
            Column("age_h", REAL, "h", "time since birth; null if the birth was not seen"),
            Column(
                "growth_rate_per_h",
                REAL,
                "1/h",
                "d ln(size)/dt at this frame, by a Gaussian process learned from the movie; null where the frame is "
                "left out of fits",
            ),
            Column("growth_rate_se_per_h", REAL, "1/h", "its standard error"),
            Column(
                "growth_window_h",
                REAL,
                "h",
                "width of a moving window in which a straight line would draw on frames as far away",
            ),
            _CONFIDENCE,
            Column("mask_source", TEXT, "", "predicted, given (label images of the user's own), repaired or corrected"),
            Column("flag_border", FLAG, "", "the mask touches the edge of the frame"),
            Column("flag_area_jump", FLAG, "", "area far from that of the same track one frame before or after"),
            Column("flag_mitotic", FLAG, "", "the nucleus condenses to divide, or has not unfolded since"),
            Column("flag_merged", FLAG, "", "the mask holds another cell too, as the frames before and after say"),
            Column("flag_split", FLAG, "", "the mask holds a part of a cell, as the frames before and after say"),
            Column("flag_out_of_focus", FLAG, "", "the frame is out of focus"),
        ],
    ),
    "growth": (
        "one row a cell cycle, from birth to division",
        [
            *_SHEET_KEYS,
            _CELL_ID,
            Column("track", INT, "", "number of the track"),
            Column("cycle", INT, "", "number of the cycle within the track; always 0 in fission"),
            Column("parent_id", TEXT, "", "cell_id of the mother; null where there is none or it was not seen"),
            Column("sister_id", TEXT, "", "cell_id of the other daughter"),
            Column("root_id", TEXT, "", "cell_id of the founder seen"),
            Column("generation", INT, "", "divisions since the founder seen"),
            Column("history_known", FLAG, "", "the birth of this cell was seen"),
            Column("division_kind", TEXT, "", "fission or budding"),
            Column("first_frame", INT, "", "first frame with this cell"),
            Column("last_frame", INT, "", "last frame with this cell"),
            Column("frames_observed", INT, "", "number of frames with this cell, gaps not counted"),
            Column("start", TEXT, "", "division, entered, movie_start or appeared"),
            Column("end", TEXT, "", "division, left, movie_end, lost, death or merged"),
            Column("birth_time_h", REAL, "h", "middle of the interval between the frames around birth"),
            Column("birth_halfwidth_h", REAL, "h", "half of that interval"),
            Column("division_time_h", REAL, "h", "middle of the interval between the frames around division"),
            Column("division_halfwidth_h", REAL, "h", "half of that interval"),
            Column("cycle_time_h", REAL, "h", "birth to division; null unless both were seen"),
            Column("cycle_observed", FLAG, "", "birth and division were both seen"),
            Column("time_at_risk_h", REAL, "h", "time under observation since birth, or since first seen"),
            Column("size_birth", REAL, "size", "fitted size at birth; null if the birth was not seen"),
            Column("size_birth_se", REAL, "size", "its standard error, the uncertain time of birth allowed for"),
            Column(
                "size_division", REAL, "size", "fitted size at division (the mother's last, not the daughters' sum)"
            ),
            Column("size_division_se", REAL, "size", "its standard error, the uncertain time of division allowed for"),
            Column("added_size", REAL, "size", "size_division - size_birth"),
            Column("added_size_se", REAL, "size", "its standard error"),
            Column("division_ratio", REAL, "", "own size at birth over that of both sisters"),
            Column(
                "growth_rate_per_h",
                REAL,
                "1/h",
                "d ln(size)/dt over the track; for nuclei the rate of nuclear size, not of the cell",
            ),
            Column("growth_rate_se_per_h", REAL, "1/h", "its standard error, correlated residuals allowed for"),
            Column("growth_rate_lo95_per_h", REAL, "1/h", "lower end of its 95 % interval"),
            Column("growth_rate_hi95_per_h", REAL, "1/h", "upper end of its 95 % interval"),
            Column("fit_frames", INT, "", "frames in the fit"),
            Column("fit_span_h", REAL, "h", "time from the first to the last of them"),
            Column("r2", REAL, "", "share of the variance of ln(size) that the fit explains"),
            Column("doubling_time_h", REAL, "h", "ln 2 / growth rate; null where the interval holds 0"),
            Column("doubling_time_lo95_h", REAL, "h", "lower end of its 95 % interval"),
            Column("doubling_time_hi95_h", REAL, "h", "upper end of its 95 % interval"),
            Column("division_score", REAL, "", "score of the division at the end, 0 to 1"),
            Column("flag_short", FLAG, "", "too few frames for a fit to mean much"),
            Column("flag_poor_fit", FLAG, "", "residuals of the fit larger than allowed"),
        ],
    ),
    "fits": (
        "one row a cycle and part between events",
        [
            *_SHEET_KEYS,
            _CELL_ID,
            Column("cycle", INT, "", "number of the cycle within the track"),
            Column("segment", INT, "", "part of the cycle between events, from 0"),
            Column("event", TEXT, "", "the event before this part; null where there is none"),
            Column("growth_rate_per_h", REAL, "1/h", "d ln(size)/dt over the part"),
            Column("growth_rate_se_per_h", REAL, "1/h", "its standard error, correlated residuals allowed for"),
            Column("growth_rate_lo95_per_h", REAL, "1/h", "lower end of its 95 % interval"),
            Column("growth_rate_hi95_per_h", REAL, "1/h", "upper end of its 95 % interval"),
            Column("fit_frames", INT, "", "frames in the fit"),
            Column("fit_span_h", REAL, "h", "time from the first to the last of them"),
            Column("r2", REAL, "", "share of the variance of ln(size) that the fit explains"),
            Column("residual_sd", REAL, "", "standard deviation of ln(size) about the fit"),
            Column("residual_lag1", REAL, "", "correlation of neighbouring residuals"),
            Column(
                "growth_model", TEXT, "", "exponential or linear, whichever has the lower corrected Akaike criterion"
            ),
        ],
    ),
    "expression": (
        "one row a cell, frame, channel and compartment",
        [
            *_SHEET_KEYS,
            _CELL_ID,
            _FRAME,
            _LABEL,
            _CHANNEL,
            Column("compartment", TEXT, "", "whole, nucleus or ring"),
            Column("time_h", REAL, "h", "time of the frame since the movie's first frame"),
            Column("exposure_ms", REAL, "ms", "exposure; null where the file does not say"),
            Column("background_au", REAL, "au", "background per pixel under this cell"),
            Column("background_se_au", REAL, "au", "standard error of background_au"),
            Column(
                "background_method",
                TEXT,
                "",
                "local (ring around the cell), frame, or blank (a position without cells)",
            ),
            Column("mean_raw_au", REAL, "au", "mean over the mask, background included"),
            Column(
                "mean_au",
                REAL,
                "au",
                "mean above background, light that blur has spread beside the mask included: total_au over the mask's "
                "pixels; corrected as the columns below say; negatives are kept",
            ),
            Column("median_au", REAL, "au", "median of the mask above background, corrected likewise"),
            Column("sd_au", REAL, "au", "standard deviation over the mask"),
            Column(
                "total_au",
                REAL,
                "au",
                "sum of (pixel - background) over the mask and the pixels beside it that blur has spread its light to, "
                "corrected likewise",
            ),
            Column(
                "total_se_au",
                REAL,
                "au",
                "standard error of total_au: of background and pixels, or its scatter along tracks if that is larger, "
                "and of light beside the mask, which may be the cell's or not",
            ),
            Column("concentration_au_per_um3", REAL, "au/um3", "total_au / volume; null without a volume model"),
            Column("autofluorescence_au", REAL, "au", "taken off per pixel; null where not corrected"),
            Column("bleach_factor", REAL, "", "mean, median and total are divided by it; null where not corrected"),
            Column("crosstalk_applied", FLAG, "", "light of other channels was taken off; null where not corrected"),
            Column(
                "production_rate_au_per_h",
                REAL,
                "au/h",
                "d total / dt along the track, what bleaching takes meanwhile added where it is corrected; null where "
                "the frame is left out of fits or saturated",
            ),
            Column("production_rate_se_au_per_h", REAL, "au/h", "its standard error"),
            Column(
                "promoter_activity_au_per_um2_per_h",
                REAL,
                "au/um2/h",
                "(1/area) d total / dt: that of the promoter if the reporter is stable and matures at once",
            ),
            Column(
                "promoter_activity_se_au_per_um2_per_h", REAL, "au/um2/h", "its standard error, that of total alone"
            ),
            Column("saturated_fraction", REAL, "", "share of the cell's pixels at the camera's largest value"),
            Column("flag_negative", FLAG, "", "total_au is below 0 by more standard errors than allowed"),
            Column("flag_saturated", FLAG, "", "more of the cell's pixels are saturated than allowed"),
        ],
    ),
    "population": (
        "one row a condition, replicate and window of time",
        [
            Column("experiment", TEXT, "", "experiment, as in experiments.tsv"),
            *_SHEET_KEYS[2:],
            Column("window_start_h", REAL, "h", "start of the window"),
            Column("window_end_h", REAL, "h", "end of the window"),
            Column("movies", INT, "", "movies with a frame in the window"),
            Column("cells_start", INT, "", "cells in the first frame of the window, over all movies"),
            Column("cells_end", INT, "", "cells in the last frame of the window, over all movies"),
            Column(
                "number_rate_per_h", REAL, "1/h", "d ln(number of cells)/dt, mean over movies weighted by their cells"
            ),
            Column(
                "number_rate_se_per_h",
                REAL,
                "1/h",
                "its standard error, between families of founders and between movies; null with one family alone",
            ),
            Column("number_rate_lo95_per_h", REAL, "1/h", "lower end of its 95 % interval (Student's t)"),
            Column("number_rate_hi95_per_h", REAL, "1/h", "upper end of its 95 % interval"),
            Column("size_rate_per_h", REAL, "1/h", "d ln(total size)/dt, likewise"),
            Column(
                "size_rate_se_per_h",
                REAL,
                "1/h",
                "its standard error, between families of founders and between movies; null with one family alone",
            ),
            Column("size_rate_lo95_per_h", REAL, "1/h", "lower end of its 95 % interval (Student's t)"),
            Column("size_rate_hi95_per_h", REAL, "1/h", "upper end of its 95 % interval"),
            Column("divisions", INT, "", "divisions in the window"),
            Column(
                "cycle_time_median_h",
                REAL,
                "h",
                "median cycle time by Kaplan-Meier, exits and losses censored, of cells born in the window",
            ),
            Column("cycle_time_lo95_h", REAL, "h", "lower end of its 95 % interval"),
            Column(
                "cycle_time_hi95_h",
                REAL,
                "h",
                "upper end of its 95 % interval; null where the curve does not fall that far",
            ),
            Column("complete_cycle_time_median_h", REAL, "h", "median over cycles seen whole: biased short"),
            Column("cycles_born", INT, "", "cells born in the window"),
            Column("cycles_complete", INT, "", "of these, seen until they divide"),
        ],
    ),
}

MOVIE_TABLES = ("confidence", "objects", "intensities", "planes", "tracks", "repairs", "lineage")
EXPERIMENT_TABLES = ("movies", "frames", "cells", "growth", "fits", "expression", "population")
