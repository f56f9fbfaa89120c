"""Digest of the code that a rule runs, blind to comments and docstrings.

A rule's script is followed through the library that it imports. The digest
is a plain param of the rule, so a changed line reruns the rules that reach
it and a changed comment reruns none.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

WORKFLOW = Path(__file__).parent.parent
LIBRARY = "cytolapse"


def code_digest(script: str, *others: str) -> str:
    """Digest of workflow/scripts/{script}.py and of the modules it reaches.

    Parameters
    ----------
    script : str
        Name of the script, which is that of its rule.
    *others : str
        Further files below workflow/ that the rule's result depends on: of a
        program what it says and reaches, of any other file the whole text.
    """
    digest = hashlib.sha256()
    programs = [WORKFLOW / other for other in others if other.endswith(".py")]
    for path in sorted(set().union(*map(_reached, [WORKFLOW / "scripts" / f"{script}.py", *programs]))):
        digest.update(f"{path.relative_to(WORKFLOW)}\n{_bare_syntax(path)}\n".encode())
    for other in others:
        if not other.endswith(".py"):
            digest.update((WORKFLOW / other).read_bytes())
    return digest.hexdigest()[:16]


def _reached(script: Path) -> set[Path]:
    reached, waiting = set(), [script]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += _imports(path)
    return reached


@cache
def _imports(path: Path) -> list[Path]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    files = [WORKFLOW / f"{name.replace('.', '/')}.py" for name in names if name.startswith(f"{LIBRARY}.")]
    return [file for file in files if file.is_file()]


@cache
def _bare_syntax(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return ast.dump(tree)
