"""The sheets experiments.tsv, movies.tsv and events.tsv, read and checked."""

import csv
import math
from pathlib import Path

from planning.checks import did_you_mean, problems, read_schema, with_defaults


def read_sheet(path: str | Path, name: str) -> list[dict]:
    """The rows of a sheet, empty cells left out and numbers as numbers.

    Parameters
    ----------
    path : path
        Text table, columns separated by tabs, names in the first line; lines
        that start with # are comments.
    name : {'experiments', 'movies', 'events'}
        Which sheet, and so which schema.

    Raises
    ------
    ValueError
        If the file is missing, cannot be read, is no text, or has a column, a cell or a row
        that the schema does not allow: all that is wrong, a line each.
    """
    schema = read_schema(name)
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise ValueError(f"{path}: not found; name the sheet in config.yaml (key {name})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no UTF-8 text ({error.reason}); save it as tab-separated text") from None
    # A folder, a name that no file can have, a file that may not be read.
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{str(path)[:200]!r}: cannot be read ({why}); name a file of text in config.yaml (key {name})"
        ) from None
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not numbered:
        raise ValueError(f"{path}: is empty; the first line names the columns {', '.join(schema['properties'])}")
    (_, header), *body = numbered
    columns = [column.strip() for column in header.split("\t")]
    wrong = _header_problems(path, columns, schema)
    rows = []
    for (n, _), cells in zip(
        body, csv.reader((line for _, line in body), delimiter="\t", quoting=csv.QUOTE_NONE), strict=True
    ):
        if wrong:
            break
        place = f"{path}, line {n}"
        if len(cells) > len(columns):
            wrong.append(f"{place}: has {len(cells)} cells, the first line names {len(columns)} columns")
            continue
        row = {c: _number(cell.strip(), schema, c) for c, cell in zip(columns, cells, strict=False) if cell.strip()}
        wrong += problems(schema, row, place)
        rows.append({**with_defaults(schema, row), "line": n})
    if wrong:
        raise ValueError("\n".join(wrong))
    return rows


def _header_problems(path: str | Path, columns: list[str], schema: dict) -> list[str]:
    known = list(schema["properties"])
    if len(columns) == 1 and columns[0] not in known:
        return [f"{path}: the first line holds no tab; separate the columns {', '.join(known)} by tabs"]
    extra = "; a column of your own starts with x_" if "patternProperties" in schema else ""
    wrong = [
        f"{path}: {column!r} is not a known column{did_you_mean(column, known)}; known are {', '.join(known)}{extra}"
        for column in columns
        if column not in known and not (extra and column.startswith("x_") and column[2:].replace("_", "a").isalnum())
    ]
    wrong += [
        f"{path}: the column {c!r} stands there twice" for c in sorted({c for c in columns if columns.count(c) > 1})
    ]
    wrong += [
        f"{path}: the column {column!r} is missing ({schema['properties'][column]['description']})"
        for column in schema["required"]
        if column not in columns
    ]
    return wrong


def _number(text: str, schema: dict, column: str) -> str | float:
    if schema["properties"].get(column, {}).get("type") == "number":
        try:
            return float(text) if math.isfinite(float(text)) else text
        except ValueError:
            return text
    return text
