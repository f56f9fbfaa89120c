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


def condensing(at_um, sizes_um2, *, number=0):
    """A nucleus of 100 um2 at a height that condenses to 40 and divides in frame 5 into two of these sizes."""
    labels = 20 + 3 * number, 21 + 3 * number
    before = [(frame, labels[0], at_um, 50.0, 100.0 if frame < 4 else 40.0) for frame in range(5)]
    after = [
        (5 + later, label, at_um, x, size)
        for later, size in enumerate(sizes_um2)
        for label, x in zip(labels, (46.0, 54.0), strict=True)
    ]
    return before + after


UNFOLDING, PIECES, SWELLING = (
    (20.0, 30.0, 40.0, 50.0, 55.0, 60.0),
    (20.0,) * 6,
    (20.0, 50.0, 100.0, 120.0, 130.0, 140.0),
)


def score_among(tmp_path, others, sizes_um2, *, count):
    """Score of one division among some others of the same movie."""
    cells = [cell for n in range(count) for cell in condensing(200.0 + 60.0 * n, others, number=n + 1)]
    # most cells are whole, whatever the divisions do
    whole = [(frame, 200 + n, 60.0 * n, 150.0, 90.0) for frame in range(5 + len(sizes_um2)) for n in range(30)]
    objects = drawn(*cells, *condensing(50.0, sizes_um2), *whole)
    tracks, lineage, _ = linked(tmp_path, objects, frames=5 + len(sizes_um2), min_division_score=0.0)
    return lineage.loc[tracks[4, 20], "division_score"]


@pytest.mark.parametrize("unlike", [PIECES, SWELLING], ids=["pieces that hardly grow", "masks that become whole ones"])
def test_daughters_that_grow_unlike_those_of_the_other_divisions_are_doubted(tmp_path, unlike):
    alone = score_among(tmp_path, UNFOLDING, unlike, count=0)

    assert score_among(tmp_path, UNFOLDING, unlike, count=12) < 0.6 * alone
    # too few to tell
    assert score_among(tmp_path, UNFOLDING, unlike, count=6) == pytest.approx(alone, rel=0.05)
    # all of them do so: a matter of the cells, or of the interval
    assert score_among(tmp_path, unlike, unlike, count=12) == pytest.approx(alone, rel=0.05)


def test_daughters_at_the_end_of_the_movie_are_held_against_others_of_their_age(tmp_path):
    # two frames after the division the others have not unfolded either
    others = [cell for n in range(12) for cell in condensing(200.0 + 60.0 * n, UNFOLDING, number=n + 1)]
    whole = [(frame, 200 + n, 60.0 * n, 150.0, 90.0) for frame in range(11) for n in range(30)]
    late = [(frame + 4, *rest) for frame, *rest in condensing(50.0, UNFOLDING[:2])]
    early = [(frame, late[0][1], 50.0, 50.0, 100.0) for frame in range(4)]

    tracks, lineage, _ = linked(tmp_path, drawn(*others, *early, *late, *whole), frames=11)

    score = lineage["division_score"]
    assert score[tracks[8, 20]] == pytest.approx(score[tracks[4, 23]], rel=0.1)
