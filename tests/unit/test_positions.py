from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytolapse.positions import split_positions

CHANNELS = ("GFP", "Phase")

# Names as microscopes write them: t, c, p, z; w is the number of a channel, row and column are a well.
TEMPLATES = {
    "t{t:02d}xy{p:04d}c{w}.tif": "xy{p:04d}",
    "exp1_w{w}{c}_s{p}_t{t}.TIF": "s{p}",
    "exp1_w{w}{c}_s{p}_z{z}_t{t}.TIF": "s{p}",
    "img_channel{w:03d}_position{p:03d}_time{t:09d}_z{z:03d}.tif": "position{p:03d}",
    "Series{p:03d}_t{t:02d}_z{z}_ch{w:02d}.tif": "Series{p:03d}",
    "day2_s{p:02d}t{t:03d}c{w}_ORG.tif": "s{p:02d}",
    "Pos {p}_{c}_{t:04d}.png": "Pos {p}",
    "plate_{row}{p:02d}_w{w}_t{t}.tif": "{row}{p:02d}",
    "{row}{p}_s1_{c}_T{t}.tif": "{row}{p}_s1",
}


@settings(deadline=None)
@given(
    template=st.sampled_from(sorted(TEMPLATES)),
    times=st.sets(st.integers(0, 40), min_size=2, max_size=4),
    positions=st.sets(st.integers(1, 24), min_size=2, max_size=5),
    slices=st.integers(1, 3),
    row=st.sampled_from("ABH"),
)
def test_names_as_microscopes_write_them_are_parted_by_position(template, times, positions, slices, row):
    by_key = {}
    for t, p, z, (w, c) in product(times, positions, range(slices), enumerate(CHANNELS, 1)):
        key, name = (form.format(t=t, p=p, z=z, w=w, c=c, row=row) for form in (TEMPLATES[template], template))
        by_key.setdefault(key, set()).add(name)
    channels = ["c1", "c2"] if "c{w}" in template else CHANNELS

    found = split_positions(sorted(set().union(*by_key.values())), channels)

    assert {key: set(names) for key, names in found.items()} == by_key


@settings(deadline=None)
@given(
    names=st.lists(st.text("AB12sptxyz_c", min_size=1, max_size=8), unique=True), channel=st.sampled_from(["c", "s1"])
)
def test_whatever_the_names_each_is_in_one_part(names, channel):
    files = [f"{name}.tif" for name in names]

    assert sorted(name for part in split_positions(files, [channel]).values() for name in part) == sorted(files)


def test_wells_and_sites_together_mark_a_position():
    names = [f"x_{well}_s{s}_t{t}.tif" for well in ("A01", "B12") for s in (1, 2) for t in (0, 1)]

    assert list(split_positions(names, ["phase"])) == ["A01_s1", "A01_s2", "B12_s1", "B12_s2"]


def test_positions_are_in_natural_order_and_strangers_apart():
    names = [f"t{t}_s{s}.tif" for t in (1, 2) for s in (1, 2, 10)] + ["mean.tif"]

    found = split_positions(names, ["phase"])

    assert list(found) == [None, "s1", "s2", "s10"]
    assert found[None] == ["mean.tif"]


@pytest.mark.parametrize(
    ("names", "channels"),
    [
        # The only number that changes counts frames, whatever letter is before it.
        (["s001.tif", "s002.tif", "s003.tif"], ["phase"]),
        (["exp_P1.tif", "exp_P2.tif"], ["phase"]),
        (["B1.tif", "B2.tif"], ["phase"]),
        # What names a channel is no position.
        (["p53_t1.tif", "p65_t1.tif", "p53_t2.tif", "p65_t2.tif"], ["p53", "p65"]),
        (["t1_C1.tif", "t2_C1.tif", "t1_C2.tif", "t2_C2.tif"], ["phase", "gfp"]),
        # A letter inside of a word is no mark.
        (["maps1_t1.tif", "maps2_t2.tif"], ["phase"]),
        ([], ["phase"]),
    ],
)
def test_what_marks_no_position_stays_together(names, channels):
    assert split_positions(names, channels) == {None: names}


@pytest.mark.parametrize(
    ("pattern", "mark", "key", "other"),
    [
        ("t{t}_{mark}.tif", "xy01", "xy01", "xy02"),
        ("exp7_w1GFP_{mark}_t{t}.TIF", "s2", "s2", "s1"),
        ("plate_{mark}_t{t}.tif", "B03_s1", "B03_s1", "B03_s2"),
        ("plate_{mark}_t{t}.tif", "B03_s1", "B03_s1", "C05_s1"),
        ("x-{mark}_t{t}.tif", "P1-B03", "P1_B03", "P2-C04"),
        ("{mark}p01-ch1sk{t}fk1fl1.tiff", "r02c03f01", "r02c03f01", "r02c04f01"),
    ],
)
def test_a_single_position_is_named_as_it_will_be_when_another_comes(pattern, mark, key, other):
    names, others = ([pattern.format(t=t, mark=of) for t in (1, 2)] for of in (mark, other))

    assert split_positions(names, ["phase"]) == {key: names}
    assert split_positions([*names, *others], ["phase"])[key] == names


def test_what_has_no_mark_belongs_to_the_only_position():
    names = ["xy01_phase_t1.tif", "xy01_phase_t2.tif", "dna.tif"]

    assert split_positions(names, ["phase", "dna"]) == {"xy01": names}


def test_wells_of_row_c_are_told_from_channels_by_the_named_ones():
    names = [f"t{t}_C{n}_{c}.tif" for t in (1, 2) for n in (1, 2) for c in CHANNELS]

    assert list(split_positions(names, CHANNELS)) == ["C1", "C2"]
