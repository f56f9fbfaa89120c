"""The tables of one movie from what the earlier stages wrote."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cytolapse.analysis import analyse_movie
from cytolapse.tables import empty_table, read_metadata, read_table, typed, write_table

KNOBS = {
    "min_fit_frames": 5,
    "max_residual_sd": 0.1,
    "residual_lag1": 0.5,
    "area_jump": 0.2,
    "mitotic_errors": 3.0,
    "max_saturated_fraction": 0.01,
    "negative_errors": 2.0,
    "crosstalk": {},
    "autofluorescence_au": {},
    "bleached_per_exposure": {},
}
OUTPUTS = ("frames", "cells", "growth", "fits", "expression")
INFO = {
    **{"status": "ok", "reason": None, "warnings": [], "path": "pad.tif", "kind": "file", "position": None},
    **{"frames": 12, "channels": ["phase", "gfp"], "segment_channel": "phase", "height_px": 64, "width_px": 64},
    **{"dtype": "uint16", "pixel_size_um": 0.5, "frame_interval_min": 10.0, "time_h": None, "acquired": None},
}
TIME_H = np.arange(12) / 6


def objects_of_two_cells():
    """Labels 1 and 2 in 12 frames; both double every hour, from areas of 10 and 20 um2."""
    rows = [
        {
            **{"frame": frame, "label": label, "area_px": 40 * label, "area_um2": 10 * label * 2 ** TIME_H[frame]},
            **{"y_px": 5.0 * label, "x_px": 7.0, "volume_um3": 4.0, "volume_model": "rod", "mask_confidence": 0.9},
            **{"intensity_au": 500.0, "flag_border": False},
        }
        for frame in range(12)
        for label in (1, 2)
    ]
    return pd.DataFrame(rows)


def planes_of(channels=("phase", "gfp")):
    rows = [
        {
            **{"frame": frame, "channel": channel, "acquired": channel == "phase" or frame % 3 == 0},
            **{"exposure_ms": 20.0, "background_au": 100.0, "background_sd_au": 3.0, "focus_score": 1.0},
            **{"drift_y_px": 2.0 * frame if channel == "phase" else None, "drift_x_px": 0.0},
            **{"flag_blank": False, "flag_out_of_focus": False, "flag_saturated": False},
        }
        for frame in range(12)
        for channel in channels
    ]
    return pd.DataFrame(rows)


def intensities_of(objects):
    rows = objects[["frame", "label"]].assign(
        channel="gfp", compartment="whole", pixels=40, background_au=100.0, background_se_au=0.1
    )
    return rows.assign(mean_raw_au=(130.0 + objects["label"]).where(objects["frame"] % 3 == 0))


LINEAGE = pd.DataFrame(
    {
        **{"track": [1, 2], "parent": [None, None], "first_frame": [0, 0], "last_frame": [11, 11]},
        **{"start": ["movie_start", "movie_start"], "end": ["movie_end", "movie_end"]},
    }
)


@pytest.fixture
def analyse(tmp_path):
    def run(objects=None, planes=None, tracks=None, lineage=LINEAGE, info=INFO, events=(), repairs=None, **changes):
        objects = objects_of_two_cells() if objects is None else objects
        tracks = objects[["frame", "label"]].assign(track=objects["label"]) if tracks is None else tracks
        tables = {
            **{"objects": objects, "intensities": intensities_of(objects), "tracks": tracks, "lineage": lineage},
            "planes": planes_of() if planes is None else planes,
            "repairs": empty_table("repairs") if repairs is None else repairs,
        }
        if info["status"] == "refused":
            tables = {name: empty_table(name) for name in tables}
        for name, table in tables.items():
            metadata = {"provenance": json.dumps({"link": {"code": "abc"}})} if name == "tracks" else {}
            if name == "planes":
                metadata["flags"] = json.dumps({"flag_blank": "nothing to be seen"})
            write_table(name, typed(name, table), tmp_path / f"{name}.parquet", metadata=metadata)
        (tmp_path / "movie.json").write_text(json.dumps(info))
        settings = {
            **{"experiment": "drug", "movie": "pad", "pixel_size_um": None, "frame_interval_min": None},
            **{"division": "fission", "size_quantity": "area", "object": "cell", "events": list(events)},
            **{"provenance": {"code": "def"}, **KNOBS},
        }
        inputs = ("objects", "intensities", "planes", "tracks", "lineage", "repairs")
        outputs = {name: tmp_path / f"out_{name}.parquet" for name in OUTPUTS}
        analyse_movie(
            tmp_path / "movie.json",
            *(tmp_path / f"{name}.parquet" for name in inputs),
            outputs,
            **{**settings, **changes},
        )
        read = {name: read_table(name, path) for name, path in outputs.items()}
        return SimpleNamespace(**read, metadata={name: read_metadata(path) for name, path in outputs.items()})

    return run


def test_two_cells_that_double_every_hour_come_out_in_five_tables(analyse):
    tables = analyse()

    assert tables.growth["growth_rate_per_h"].tolist() == pytest.approx([math.log(2)] * 2)
    assert tables.growth["doubling_time_h"].tolist() == pytest.approx([1, 1])
    assert len(tables.cells) == len(tables.expression) == 24
    assert len(tables.frames) == 12
    assert tables.fits["growth_model"].tolist() == ["exponential"] * 2
    assert set(tables.cells["cell_id"]) == {"pad:1", "pad:2"}
    for table in (tables.frames, tables.cells, tables.growth, tables.fits, tables.expression):
        assert (table["experiment"] == "drug").all()
        assert (table["movie"] == "pad").all()
        assert table[["condition", "replicate"]].isna().all(axis=None)


def test_frames_hold_time_drift_in_um_and_one_background_a_channel(analyse):
    frames = analyse(pixel_size_um=0.25).frames

    assert frames["time_h"].tolist() == pytest.approx(TIME_H)
    assert frames.loc[4, "drift_y_um"] == 2.0
    assert (frames["cells"] == 2).all()
    assert frames["background_phase_au"].notna().all()
    assert frames["background_gfp_au"].notna().tolist() == [True, False, False] * 4
    assert frames["exposure_gfp_ms"].notna().tolist() == [True, False, False] * 4


def test_the_interval_of_the_sheet_wins_over_that_of_the_file(analyse):
    assert analyse(frame_interval_min=5).growth["doubling_time_h"].tolist() == pytest.approx([0.5, 0.5])


def test_size_means_what_the_experiment_says(analyse):
    objects = objects_of_two_cells()
    objects["length_um"] = 3 * 2 ** (2 * TIME_H[objects["frame"]])

    tables = analyse(objects, size_quantity="length")

    assert tables.growth["growth_rate_per_h"].tolist() == pytest.approx([2 * math.log(2)] * 2)
    assert tables.metadata["growth"]["size_quantity"] == "length"


def test_a_size_that_is_null_throughout_is_said_in_the_log_and_gives_no_rate(analyse, caplog):
    tables = analyse(size_quantity="length")

    assert "length_um is null for every cell: no growth rate can be fitted" in caplog.text
    assert tables.growth["growth_rate_per_h"].isna().all()


def test_one_mask_half_too_large_is_flagged_and_changes_no_rate(analyse):
    objects = objects_of_two_cells()
    objects.loc[(objects["frame"] == 2) & (objects["label"] == 1), "area_um2"] *= 1.5

    tables = analyse(objects)

    jumps = tables.cells[tables.cells["flag_area_jump"]]
    assert jumps[["track", "frame"]].to_numpy().tolist() == [[1, 1], [1, 2], [1, 3]]
    assert tables.growth["growth_rate_per_h"].tolist() == pytest.approx([math.log(2)] * 2)
    assert tables.growth["fit_frames"].tolist() == [11, 12]


@pytest.mark.parametrize("flag", ["flag_out_of_focus", "flag_blank"])
def test_a_bad_frame_is_left_out_of_fits_and_kept_in_the_tables(analyse, flag):
    planes = planes_of()
    planes.loc[planes["frame"] == 5, flag] = True
    objects = objects_of_two_cells()
    objects.loc[objects["frame"] == 5, "area_um2"] *= 1.15

    tables = analyse(objects, planes)

    assert tables.growth["growth_rate_per_h"].tolist() == pytest.approx([math.log(2)] * 2)
    assert tables.growth["frames_observed"].tolist() == [12, 12]
    assert tables.growth["fit_frames"].tolist() == [11, 11]
    assert tables.frames.loc[tables.frames[flag], "frame"].tolist() == [5]
    expected = [5] if flag == "flag_out_of_focus" else []
    assert sorted(set(tables.cells.loc[tables.cells["flag_out_of_focus"], "frame"])) == expected


def test_a_cell_that_leaves_over_the_edge_is_fitted_on_the_frames_before(analyse):
    objects = objects_of_two_cells()
    leaving = (objects["frame"] >= 9) & (objects["label"] == 2)
    objects.loc[leaving, ["flag_border", "area_um2"]] = [True, 5.0]

    tables = analyse(objects)

    assert tables.growth["growth_rate_per_h"].tolist() == pytest.approx([math.log(2)] * 2)
    assert tables.growth["fit_frames"].tolist() == [12, 9]


def test_a_cell_that_the_edge_cuts_for_some_frames_is_fitted_on_all_the_others(analyse):
    objects = objects_of_two_cells()
    for frame, left in {4: 0.85, 5: 0.72, 6: 0.6}.items():
        cut = (objects["label"] == 1) & (objects["frame"] == frame)
        objects.loc[cut, "area_um2"] *= left
        objects.loc[cut, "flag_border"] = True

    tables = analyse(objects)

    assert tables.growth["fit_frames"].tolist() == [9, 12]
    assert tables.growth["growth_rate_per_h"].tolist() == pytest.approx([math.log(2)] * 2)


def test_nuclei_that_unfold_after_every_division_are_flagged_and_cells_are_not(analyse):
    mothers, frames = 10, 12
    rows, lineage = [], []
    for k in range(mothers):
        mother, daughters = 1 + 3 * k, (2 + 3 * k, 3 + 3 * k)
        lineage.append({"track": mother, "first_frame": 0, "last_frame": 3, "start": "movie_start", "end": "division"})
        lineage += [
            {
                "track": each,
                "parent": mother,
                "first_frame": 4,
                "last_frame": 11,
                "start": "division",
                "end": "movie_end",
            }
            for each in daughters
        ]
        for frame in range(frames):
            for track in (mother,) if frame < 4 else daughters:
                area_um2 = 100 * (1 + 0.01 * (track % 7)) * 1.02**frame * {4: 0.7, 5: 0.9}.get(frame, 1.0)
                rows.append(
                    {"frame": frame, "label": track, "area_um2": area_um2, "area_px": 400, "flag_border": False}
                )
    lineage = pd.DataFrame(lineage).assign(division_frame=lambda table: np.where(table["parent"].isna(), 4, np.nan))

    found = {kind: analyse(pd.DataFrame(rows), lineage=lineage, object=kind) for kind in ("nucleus", "cell")}

    of_nuclei = found["nucleus"].cells
    assert sorted(of_nuclei.loc[of_nuclei["flag_mitotic"], "frame"].unique()) == [4, 5]
    assert of_nuclei["flag_mitotic"].sum() == 4 * mothers
    assert not found["cell"].cells["flag_mitotic"].any()
    born = found["nucleus"].growth["history_known"]
    assert found["nucleus"].growth.loc[born, "growth_rate_per_h"].tolist() == pytest.approx([6 * math.log(1.02)] * 20)
    assert "standard errors" in json.loads(found["nucleus"].metadata["cells"]["flags"])["flag_mitotic"]


def test_time_since_the_last_event_is_negative_before_the_first(analyse):
    events = [{"event": "wash", "time_h": 1.5, "dose": None}, {"event": "drug", "time_h": 0.5, "dose": "5 uM"}]

    cells = analyse(events=events).cells
    since_h = cells[cells["track"] == 1].set_index("frame")["time_since_event_h"]

    assert since_h[[0, 3, 8, 9, 10]].tolist() == pytest.approx([-0.5, 0, 5 / 6, 0, 1 / 6])
    assert analyse().cells["time_since_event_h"].isna().all()


def test_age_counts_from_the_birth_seen_and_is_null_for_a_founder(analyse):
    lineage = pd.DataFrame(
        {
            **{"track": [1, 2, 3], "parent": [None, 1, 1], "first_frame": [0, 6, 6], "last_frame": [5, 11, 11]},
            **{"start": ["movie_start", "division", "division"], "end": ["division", "movie_end", "movie_end"]},
            **{"division_frame": [6, None, None], "division_score": [0.9, None, None]},
        }
    )
    objects = objects_of_two_cells().query("label == 1 or frame >= 6")
    track = np.where(objects["frame"] < 6, 1, objects["label"] + 1)

    tables = analyse(objects, tracks=objects[["frame", "label"]].assign(track=track), lineage=lineage)

    age_h = tables.cells.set_index(["track", "frame"])["age_h"]
    assert age_h[1].isna().all()
    assert age_h[(2, 6)] == pytest.approx(0.5 / 6)
    assert age_h[(3, 11)] == pytest.approx(5.5 / 6)
    assert tables.growth["division_score"].fillna(-1).tolist() == [0.9, -1, -1]


def test_reporter_between_its_planes_is_null(analyse):
    expression = analyse().expression

    of_first = expression[expression["cell_id"] == "pad:1"]
    assert of_first["mean_au"].fillna(-1).tolist() == [31, -1, -1] * 4
    assert of_first["concentration_au_per_um3"].iloc[0] == 31 * 40 / 4


def test_a_cell_without_a_track_stays_in_the_table_with_a_null_cell_id(analyse):
    objects = objects_of_two_cells()
    tracks = objects[["frame", "label"]].assign(track=objects["label"]).query("not (frame == 4 and label == 2)")

    cells = analyse(objects, tracks=tracks).cells

    assert len(cells) == 24
    assert cells.loc[cells["cell_id"].isna(), ["frame", "label"]].to_numpy().tolist() == [[4, 2]]
    assert cells.loc[cells["cell_id"].isna(), "track"].isna().all()


def test_tracks_of_cells_that_objects_do_not_have_are_refused(analyse):
    objects = objects_of_two_cells()
    tracks = objects[["frame", "label"]].assign(track=objects["label"])

    with pytest.raises(ValueError, match=r"movie pad: tracks have label 2 of frame 11, objects have not \(1 such\)"):
        analyse(objects.iloc[:-1], tracks=tracks)


def test_metadata_hold_object_size_rules_of_flags_and_the_chain_of_stages(analyse):
    metadata = analyse(object="nucleus").metadata

    assert {of_table["object"] for of_table in metadata.values()} == {"nucleus"}
    assert {of_table["size_quantity"] for of_table in metadata.values()} == {"area"}
    assert json.loads(metadata["cells"]["provenance"]) == {"link": {"code": "abc"}, "analyse": {"code": "def"}}
    assert "by more than 0.2" in json.loads(metadata["cells"]["flags"])["flag_area_jump"]
    assert json.loads(metadata["frames"]["flags"])["flag_blank"] == "nothing to be seen"
    assert set(json.loads(metadata["growth"]["flags"])) == {"flag_short", "flag_poor_fit"}
    assert json.loads(metadata["fits"]["flags"]) == {}


def test_the_rule_of_saturation_of_a_cell_is_not_said_of_a_frame(analyse):
    metadata = analyse().metadata

    assert "flag_saturated" in json.loads(metadata["expression"]["flags"])
    assert "flag_saturated" not in json.loads(metadata["frames"]["flags"])


def test_a_refused_movie_has_typed_tables_without_rows(analyse):
    tables = analyse(info={"status": "refused", "reason": "unreadable"})

    for name in OUTPUTS:
        assert len(getattr(tables, name)) == 0
        assert json.loads(tables.metadata[name]["provenance"])["link"] == {"code": "abc"}


def test_a_movie_without_a_single_cell_has_frames_and_nothing_else(analyse):
    tables = analyse(objects_of_two_cells().iloc[:0], lineage=LINEAGE.iloc[:0])

    assert tables.frames["cells"].tolist() == [0] * 12
    assert len(tables.cells) == len(tables.growth) == len(tables.fits) == len(tables.expression) == 0


def test_where_planes_say_nothing_cells_are_fitted_and_their_focus_is_null(analyse):
    frame, label = (axis.ravel() for axis in np.mgrid[:100, 1:101])
    objects = pd.DataFrame({"frame": frame, "label": label, "area_um2": np.exp(0.01 * frame), "flag_border": False})
    lineage = pd.DataFrame(
        {"track": np.arange(1, 101), "first_frame": 0, "last_frame": 99, "start": "movie_start", "end": "movie_end"}
    )

    tables = analyse(objects, planes_of().iloc[:0], lineage=lineage, info={**INFO, "frames": 100})

    assert tables.growth["growth_rate_per_h"].to_numpy() == pytest.approx(np.full(100, 0.06))
    assert tables.frames["flag_out_of_focus"].isna().all()


def test_masks_that_hold_two_cells_or_a_part_of_one_are_flagged_and_left_out_of_fits(analyse):
    objects = objects_of_two_cells()
    piece = objects[(objects["frame"] == 7) & (objects["label"] == 2)].assign(label=3, area_um2=4.0)
    objects.loc[(objects["frame"] == 4) & (objects["label"] == 1), "area_um2"] *= 1.15
    objects = pd.concat([objects, piece], ignore_index=True)
    tracks = objects.loc[objects["label"] < 3, ["frame", "label"]].assign(track=lambda rows: rows["label"])
    repairs = pd.DataFrame(
        {"frame": [4, 7], "label": [1, 3], "track": [1, 2], "kind": ["merged", "split"], "repaired": [False, True]}
    )

    tables = analyse(objects, tracks=tracks, repairs=repairs)

    flagged = tables.cells.set_index(["frame", "label"])[["flag_merged", "flag_split"]].astype(bool)
    assert flagged.index[flagged["flag_merged"]].tolist() == [(4, 1)]
    assert flagged.index[flagged["flag_split"]].tolist() == [(7, 2), (7, 3)]
    assert tables.cells.set_index(["frame", "label"]).loc[(7, 3), "track"] is pd.NA
    assert tables.fits["fit_frames"].tolist() == [11, 11]
    assert tables.growth["growth_rate_per_h"].tolist() == pytest.approx([math.log(2)] * 2)
