from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planning.naming import name_pattern, read_name


@pytest.mark.parametrize(
    ("pattern", "path", "said"),
    [
        ("{well}_s{position}", "plate/B03_s2.tif", {"well": "B03", "position": "2"}),
        ("{well}_*", "B03_anything_at_all.ome.tif", {"well": "B03"}),
        ("*_{well}*", "exp7_AA12-left.nd2", {"well": "AA12"}),
        (
            "{condition}/{well}_s{position}",
            "a/LB + ara/H12_s4",
            {"condition": "LB + ara", "well": "H12", "position": "4"},
        ),
        ("{condition}_rep{replicate}/*", "/data/night3/M9_glc_rep2/Pos0/", {"condition": "M9_glc", "replicate": "2"}),
        ("xy{position}", "data/exp/xy0401", {"position": "0401"}),
        ("{x_strain}-{condition}.tif", "wt-low.tif", {"x_strain": "wt", "condition": "low"}),
        ("{condition}", "exp.LB", {"condition": "exp.LB"}),
        ("s{position}_*", "s12_40", {"position": "12"}),
        ("s{position}*", "s120", {"position": "120"}),
        ("[{condition}] (a+b).?", "[low] (a+b).?.tif", {"condition": "low"}),
    ],
)
def test_a_name_is_read_by_its_pattern(pattern, path, said):
    assert read_name(name_pattern(pattern), path) == said


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("{well}_s{position}", "B03_2.tif"),
        ("{well}_s{position}", "B03_s2_copy.tif"),
        ("{well}_s{position}", "33_s2.tif"),
        ("{condition}/{well}", "B03.tif"),
        ("S{position}", "s2.tif"),
    ],
)
def test_a_name_that_does_not_fit_is_said_with_the_pattern(pattern, path):
    with pytest.raises(ValueError, match="does not fit the pattern") as caught:
        read_name(name_pattern(pattern), path)

    assert str(caught.value) == f"the name {path!r} does not fit the pattern {pattern!r}"


def test_a_name_that_can_be_read_in_two_ways_is_said():
    with pytest.raises(ValueError, match="in more than one way") as caught:
        read_name(name_pattern("{condition}_{x_strain}"), "LB_high_wt.tif")

    assert str(caught.value).endswith("by the pattern '{condition}_{x_strain}': condition is 'LB' or 'LB_high'")


@pytest.mark.parametrize(
    ("pattern", "finding"),
    [
        (
            "{wel}_s{position}",
            "{wel} is not a field (did you mean well?); known are well, position, replicate, condition",
        ),
        ("{site}", "{site} is not a field"),
        ("{x-strain}", "{x-strain} is not a field"),
        ("{well}_{well}", "{well} stands there twice"),
        ("{well}_s{position", "a brace '{' or '}' has no partner"),
        ("well}", "a brace '{' or '}' has no partner"),
        ("*_*", "holds no field; known are well"),
    ],
)
def test_a_pattern_that_cannot_be_is_refused(pattern, finding):
    with pytest.raises(ValueError, match="field|twice|brace") as caught:
        name_pattern(pattern)

    assert finding in str(caught.value)


VALUES = {
    "well": st.from_regex(r"[A-P][0-9]{1,2}", fullmatch=True),
    "position": st.from_regex(r"[0-9]{1,4}", fullmatch=True),
    "replicate": st.from_regex(r"[a-z0-9]{1,3}", fullmatch=True),
    "condition": st.text("LBmM9 +-_.µ", min_size=1, max_size=8),
}


@contextmanager
def suppress_ambiguity():
    try:
        yield
    except ValueError as error:
        if "more than one way" not in str(error):
            raise


@settings(deadline=None)
@given(
    values=st.fixed_dictionaries(VALUES),
    order=st.permutations(list(VALUES)),
    between=st.lists(st.sampled_from(["_", "__", "-", "/", " s", "_r"]), min_size=3, max_size=3),
)
def test_what_a_name_was_made_of_is_what_is_read_or_nothing_is(values, order, between):
    pattern = "".join(f"{{{field}}}{gap}" for field, gap in zip(order, [*between, ""], strict=True))

    # Never that it does not fit: it may be that other parts fit as well.
    with suppress_ambiguity():
        assert read_name(name_pattern(pattern), pattern.format(**values)) == values
