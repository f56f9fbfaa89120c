"""Digests of the code that a rule runs."""

from planning import digests
from planning.digests import code_digest


def forget_code() -> None:
    """Look at the code anew, as another run does."""
    digests._imports.cache_clear()
    digests._bare_syntax.cache_clear()


def library(tmp_path, monkeypatch, text: str) -> str:
    """Digest of a script that reaches a library module with this text."""
    monkeypatch.setattr("planning.digests.WORKFLOW", tmp_path)
    forget_code()
    (tmp_path / "scripts").mkdir(exist_ok=True)
    (tmp_path / "cytolapse").mkdir(exist_ok=True)
    (tmp_path / "scripts/link.py").write_text("from cytolapse.linking import link\nlink()\n")
    (tmp_path / "cytolapse/linking.py").write_text("from cytolapse import tables\nfrom cytolapse.tables import read\n")
    (tmp_path / "cytolapse/tables.py").write_text(text)
    return code_digest("link")


def test_a_comment_or_docstring_keeps_the_digest_and_a_line_reached_by_imports_changes_it(tmp_path, monkeypatch):
    bare = library(tmp_path, monkeypatch, "def read():\n    return 1\n")
    commented = library(tmp_path, monkeypatch, '"""Tables."""\n\n# why\ndef read():\n    """Read."""\n    return 1\n')
    changed = library(tmp_path, monkeypatch, "def read():\n    return 2\n")

    assert commented == bare
    assert changed != bare


def test_a_template_counts_with_all_its_text(tmp_path, monkeypatch):
    library(tmp_path, monkeypatch, "")
    (tmp_path / "page.j2").write_text("a")
    before = code_digest("link", "page.j2")
    (tmp_path / "page.j2").write_text("b")

    assert code_digest("link", "page.j2") != before


def test_a_program_counts_by_what_it_says_and_reaches(tmp_path, monkeypatch):
    library(tmp_path, monkeypatch, "def read():\n    return 1\n")
    (tmp_path / "engine.py").write_text('"""An engine."""\n')
    (tmp_path / "scripts/bare.py").write_text("")
    before = code_digest("bare", "engine.py")
    forget_code()
    (tmp_path / "engine.py").write_text('"""Said otherwise."""\n# a comment\n')

    assert code_digest("bare", "engine.py") == before
    forget_code()
    (tmp_path / "engine.py").write_text("from cytolapse.tables import read\n")
    with_library = code_digest("bare", "engine.py")
    assert with_library != before
    library(tmp_path, monkeypatch, "def read():\n    return 2\n")
    assert code_digest("bare", "engine.py") != with_library
