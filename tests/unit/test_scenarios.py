"""Parameters of a simulation: what they name and what they refuse."""

import math

import pytest

from cytolapse.scenarios import Simulation


def test_the_channel_to_segment_is_named_by_its_modality():
    assert Simulation(modality="phase").channels == ("phase", "reporter")
    assert Simulation(modality="fluorescence").channels == ("marker", "reporter")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "spiral"}, "kind is 'spiral'; wanted one of rod, nucleus, yeast"),
        ({"modality": "dic"}, "modality is 'dic'; wanted one of fluorescence, phase"),
        ({"grows": "mass"}, "grows is 'mass'; wanted one of length, area, volume"),
        ({"bits": 14}, "bits is 14; wanted one of 12, 16"),
        ({"division_rule": "mood"}, "division_rule is 'mood'; wanted one of adder, sizer, timer"),
        ({"growth_trend": 1.5}, "growth_trend is 1.5; it must lie in -0.5 to 1"),
        ({"background_drift_per_h": math.inf}, "background_drift_per_h is inf; it must be a number"),
        ({"kind": "nucleus"}, "grows is 'length', which a nucleus cannot share out"),
        ({"kind": "yeast"}, "grows is 'length', which a yeast cannot share out"),
        ({"kind": "yeast", "grows": "area", "growth_trend": 0.2}, "growth_trend is 0.2; yeast grows at one rate"),
        ({"kind": "yeast", "grows": "area", "bud_width": 0.7}, "bud_width is 0.7 and bud_share 0.6; a bud emerges"),
        ({"nuclear_ratio": 2.0}, "nuclear_ratio is 2, but a rod has no nucleus; it must be 0"),
        ({"frames": 0}, "frames is 0; it must be above 0"),
        ({"pixel_size_um": -0.1}, "pixel_size_um is -0.1; it must be above 0"),
        ({"founders": -1}, "founders is -1; it must not be below 0"),
        ({"read_noise_e": math.nan}, "read_noise_e is nan; it must not be below 0"),
        ({"haze_fraction": 1.0}, "haze_fraction is 1; it must lie in 0 to 1, 1 not included"),
        ({"birth_length_um": 1.0}, "birth_length_um is 1 um; a rod 0.9 um wide must be born at least 1.35 um long"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        Simulation(**change)
