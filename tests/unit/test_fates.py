import pytest
from celltables import drawn, linked, neighbours


def test_starts_and_ends_say_what_was_seen(tmp_path):
    objects = drawn(
        *((frame, 1, 10.0, 10.0, 80.0) for frame in range(8)),
        *((frame, 2, 50.0, 0.0, 80.0, "border") for frame in range(3, 6)),
        *((frame, 3, 90.0, 90.0, 80.0) for frame in range(2, 5)),
    )

    tracks, lineage, _ = linked(tmp_path, objects, frames=8)

    assert lineage.loc[tracks[0, 1], ["start", "end"]].tolist() == ["movie_start", "movie_end"]
    assert lineage.loc[tracks[3, 2], ["start", "end"]].tolist() == ["entered", "left"]
    assert lineage.loc[tracks[2, 3], ["start", "end"]].tolist() == ["appeared", "lost"]


@pytest.mark.parametrize(
    ("area_um2", "light_au", "end"),
    [(40.0, 300.0, "death"), (40.0, 200.0, "lost"), (90.0, 300.0, "lost"), (40.0, None, "lost")],
)
def test_a_nucleus_that_ends_small_and_bright_has_died(tmp_path, area_um2, light_au, end):
    usual_au = None if light_au is None else 200.0
    alive = [(frame, 1, 50.0, 50.0, 90.0, None, usual_au) for frame in range(7)]
    last = [(frame, 1, 50.0, 50.0, area_um2, None, light_au) for frame in (7, 8)]

    tracks, lineage, _ = linked(tmp_path, drawn(*alive, *last, *neighbours(14)), frames=14)

    assert lineage.loc[tracks[0, 1], "end"] == end
