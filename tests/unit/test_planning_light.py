"""What is said of channels, and of images that light is corrected by, before any job runs."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from planned import EXPERIMENTS, ROW, refusal

from planning.plan import Plan


def flat(name="flat.tif", level=7) -> str:
    tifffile.imwrite(name, np.full((8, 8), level, np.uint16))
    return name


def nuclei_of():
    Path("experiments.tsv").write_text(EXPERIMENTS.rstrip("\n") + "\tobject\n" + ROW.rstrip("\n") + "\tnucleus\n")


def test_images_of_the_experiments_channels_are_planned_with_their_fingerprints(project):
    measure = {"flat_field": {"gfp": flat()}, "dark": {"gfp": 100}}
    plan = Plan({**project, "measure": measure})
    plan.check_all()

    assert list(plan.light_fingerprints("night1")) == ["flat.tif"]


def test_an_image_that_was_replaced_has_another_fingerprint(project):
    config = {**project, "measure": {"blank": {"gfp": flat()}}}
    before = Plan(config).light_fingerprints("night1")
    flat(level=8)

    assert Plan(config).light_fingerprints("night1") != before


@pytest.mark.parametrize(
    ("block", "stated"),
    [
        ("measure", {"flat_field": {"gpf": "flat.tif"}}),
        ("analyse", {"autofluorescence_au": {"gpf": 3.0}}),
        ("analyse", {"crosstalk": {"phase": {"gpf": 0.1}}}),
    ],
)
def test_a_channel_that_no_experiment_has_is_refused_with_the_nearest(project, block, stated):
    flat()
    (key,) = stated

    said = refusal({**project, block: stated})

    assert f"config: {block}.{key}: 'gpf' is no channel of any experiment (did you mean gfp?)" in said


def test_a_channel_in_an_override_must_be_of_that_experiment(project):
    said = refusal({**project, "overrides": {"night1": {"analyse": {"bleached_per_exposure": {"rfp": 0.01}}}}})

    assert "overrides.night1.analyse.bleached_per_exposure: 'rfp' is no channel of the experiment night1" in said


def test_an_image_that_is_not_there_is_refused_also_in_an_override(project):
    said = refusal({**project, "overrides": {"night1": {"measure": {"dark": {"gfp": "dark.tif"}}}}})

    assert "config: overrides.night1.measure.dark.gfp: there is no file dark.tif; correct the name" in said


def test_a_nuclear_marker_that_is_no_channel_is_refused(project):
    said = refusal({**project, "measure": {"nucleus_channel": "h2b"}})

    assert "measure of experiment night1: nucleus_channel is 'h2b', and the channels are phase, gfp" in said


def test_a_nuclear_marker_where_masks_are_of_nuclei_is_refused(project):
    nuclei_of()

    assert "but the masks are of nuclei already" in refusal({**project, "measure": {"nucleus_channel": "gfp"}})


def test_a_ring_around_nuclei_that_would_count_as_background_is_refused(project):
    nuclei_of()
    ring = {"nuclear_ring_px": 5, "nuclear_ring_gap_px": 1}

    said = refusal({**project, "measure": ring})

    assert "reaches 6 px, and background is taken from 3 px on" in said
    for remedy in ({"background": "frame"}, {"ring_gap_px": 6}):
        Plan({**project, "measure": {**ring, **remedy}}).check_all()
