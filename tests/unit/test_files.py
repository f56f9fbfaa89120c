import pytest

from cytolapse.files import atomic_path


def test_a_file_appears_only_when_the_block_ended_well(tmp_path):
    target = tmp_path / "table.parquet"

    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()

    assert target.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [target]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    target = tmp_path / "table.parquet"
    target.write_text("old")

    def write_half_and_fail():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half_and_fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
