"""Outlines that lie off by a width, drawn."""

import numpy as np
import pandas as pd
import pytest

from cytolapse.outlines import log_size_slopes, outline_offset_px

# Cells of 20 au a pixel above a background of 100 au; outlines 30 px long.
ROW = {
    **{"frame": 0, "channel": "marker", "compartment": "whole", "mean_raw_au": 120.0, "background_au": 100.0},
    **{"spread_pixels": 0, "spread_raw_au": np.nan, "left_out_au": 0.0},
}


def offset_of(*rows, channel="marker", unusable=False):
    intensities = pd.DataFrame([{**ROW, "label": label, **row} for label, row in enumerate(rows, 1)])
    cells = intensities[["frame", "label"]].drop_duplicates().assign(perimeter_px=30.0, unusable=unusable)
    return outline_offset_px(intensities, cells, channel=channel)


def test_a_rim_of_half_a_pixel_would_hold_the_light_beside_masks():
    # a rim of one pixel holds 30 * 20 = 600 au
    assert offset_of({"left_out_au": 200.0}, {"left_out_au": 400.0}) == pytest.approx(0.5)


def test_light_that_counts_for_the_total_lies_beside_the_mask_all_the_same():
    assert offset_of({"spread_pixels": 40, "spread_raw_au": 115.0}) == pytest.approx(1.0)


def test_the_bright_halo_of_a_dark_cell_says_nothing_of_its_outline():
    assert offset_of({"mean_raw_au": 80.0, "left_out_au": 600.0}) == 0


def test_other_channels_parts_of_cells_and_frames_of_no_use_say_nothing():
    bright = {"left_out_au": 600.0}

    assert offset_of(bright, channel="gfp") == 0
    assert offset_of({**bright, "compartment": "ring"}) == 0
    assert offset_of(bright, unusable=True) == 0


def test_a_disc_drawn_wider_grows_by_its_rim_in_area_and_volume_and_by_its_ends_in_length():
    radius_um, width_um = 5.0, 1e-6
    wider = radius_um + width_um
    disc = pd.DataFrame(
        {"perimeter_um": [2 * np.pi * radius_um], "area_um2": [np.pi * radius_um**2], "length_um": [2 * radius_um]}
    )

    for quantity, power in (("length", 1), ("area", 2), ("volume", 3)):
        expected = power * np.log(wider / radius_um) / width_um
        assert log_size_slopes(disc, size_quantity=quantity) == pytest.approx([expected], rel=1e-5)
