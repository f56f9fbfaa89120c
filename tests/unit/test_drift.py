import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from drawn import field

from cytolapse.drift import StageDrift

DATA = Path(os.environ.get("CYTOLAPSE_DATA", "../shared/data"))


def test_a_jump_of_the_stage_is_found_to_half_a_pixel_and_stays():
    drift = StageDrift(0.4)

    found = [drift.follow(field(shift=shift)) for shift in [(0, 0), (0, 0), (7.3, -4.2), (7.3, -4.2)]]

    assert found[:2] == [(0, 0), (0, 0)]
    assert found[2] == pytest.approx((7.3, -4.2), abs=0.5)
    assert found[3] == pytest.approx(found[2], abs=0.1)


def test_a_slow_drift_adds_up():
    drift = StageDrift(0.4)

    for frame in range(41):
        found = drift.follow(field(shift=(0.5 * frame, 0)))

    assert found == pytest.approx((20, 0), abs=3)


def test_cells_that_move_each_its_own_way_do_not_move_the_stage():
    rng = np.random.default_rng(0)
    places = rng.uniform(40, 216, (25, 2))
    y, x = np.indices((256, 256))
    drift = StageDrift(0.4)

    for _ in range(15):
        image = sum(300 / (1 + np.exp(np.hypot(y - cy, x - cx) - 9)) for cy, cx in places)
        found = drift.follow((image + rng.normal(100, 3, image.shape)).astype(np.uint16))
        places += rng.normal(0, 1.5, places.shape)

    assert found == (0, 0)


@pytest.mark.skipif(not (DATA / "Fluo-N2DH-GOWT1").exists(), reason="needs the data in CYTOLAPSE_DATA")
@pytest.mark.parametrize("movie", ["Fluo-N2DH-GOWT1", "Fluo-N2DL-HeLa"])
def test_on_real_movies_of_a_stage_that_stands_still_the_drift_is_nought(movie):
    drift = StageDrift(0.4)
    for path in sorted((DATA / movie / "01").glob("t*.tif"))[:16]:
        found = drift.follow(tifffile.imread(path))

    assert np.abs(found).max() < 2
