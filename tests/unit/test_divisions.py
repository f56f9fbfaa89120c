import pytest
from celltables import drawn, linked, neighbours


def a_division(mother=100.0, daughters=50.0, *, later=None, border=None, light_au=(None, None)):
    """(frame, label, y, x, area, at the border, light) of a nucleus that divides in frame 5."""
    before = [(frame, 1, 50.0, 50.0, mother, border, light_au[0]) for frame in range(5)]
    after = [
        (frame, label, 50.0, x, daughters if frame < 7 or later is None else later, None, light_au[1])
        for frame in range(5, 11)
        for label, x in ((1, 45.0), (2, 55.0))
    ]
    return before + after


def best_score(tmp_path, cells):
    objects = drawn(*cells, *neighbours(11))
    _, lineage, _ = linked(tmp_path, objects, frames=11, min_division_score=0.0)
    return lineage["division_score"].max()


def test_daughters_that_condense_are_believed_where_they_keep_the_light_of_their_mother(tmp_path):
    kept, dimmed, unknown = (
        best_score(tmp_path, a_division(daughters=20.0, later=50.0, light_au=light_au))
        for light_au in ((100.0, 250.0), (100.0, 100.0), (None, None))
    )

    assert kept > 0.5
    assert dimmed == unknown < 0.5 * kept


@pytest.mark.parametrize(
    "doubtful",
    [
        a_division(mother=30.0, daughters=15.0),
        a_division(border="border"),
        a_division(later=30.0),
    ],
    ids=["a fragment that falls apart", "a mother at the edge of the frame", "daughters that shrink"],
)
def test_what_speaks_against_a_division_lowers_its_score(tmp_path, doubtful):
    assert best_score(tmp_path, doubtful) < 0.8 * best_score(tmp_path, a_division())


def test_daughters_that_are_badly_drawn_at_first_are_judged_a_frame_later_at_half_the_score(tmp_path):
    well = a_division()
    badly = [cell for cell in well if cell[0] != 5]
    # a speck beside the mother, who keeps nearly all of her area for one more frame
    badly += [(5, 1, 50.0, 49.0, 95.0), (5, 2, 50.0, 57.0, 8.0)]

    scores = [best_score(tmp_path, cells) for cells in (well, badly)]

    assert 0.4 * scores[0] < scores[1] <= 0.5 * scores[0]
