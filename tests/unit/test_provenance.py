import subprocess

import cytolapse
from cytolapse.provenance import commit, packages_digest, stage_record


def git(folder, *command):
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", str(folder), *identity, *command], check=True, capture_output=True)


def test_the_commit_is_marked_dirty_when_a_tracked_file_changed(tmp_path):
    (tmp_path / "a").write_text("1")
    git(tmp_path, "init")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "first")
    clean = commit(tmp_path)
    (tmp_path / "a").write_text("2")

    assert len(clean) == 12
    assert commit(tmp_path) == f"{clean}-dirty"


def test_outside_of_git_there_is_no_commit(tmp_path):
    assert commit(tmp_path) is None


def test_a_record_holds_settings_code_and_software(tmp_path):
    record = stage_record({"threshold": 0.5}, "abc", tmp_path)

    assert record["settings"] == {"threshold": 0.5}
    assert record["code"] == "abc"
    assert record["version"] == cytolapse.__version__
    assert record["packages_digest"] == packages_digest()
