"""Checks of config and sheets against closed schemas, in words that help.

JSON Schema says what is allowed; this module says what was found, where, and
what to write instead.
"""

import copy
import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parent.parent / "schemas"

_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "object": "a block of keys",
    "array": "a list",
    "null": "nothing",
}


@cache
def read_schema(name: str) -> dict:
    """The JSON schema workflow/schemas/{name}.schema.yaml; the same object each time, not to be changed."""
    return yaml.safe_load((SCHEMAS / f"{name}.schema.yaml").read_text())


def problems(schema: Mapping, value: object, place: str) -> list[str]:
    """Everything that is wrong with a value, a sentence each.

    Parameters
    ----------
    schema : mapping
        Closed JSON schema, with a description a key.
    value : object
        What the user wrote.
    place : str
        What the messages name as the file or row that the value stands in.
    """
    errors = sorted(Draft202012Validator(schema).iter_errors(value), key=lambda error: list(map(str, error.path)))
    return [f"{place}: {sentence}" for error in errors for sentence in _sentences(error)]


def _sentences(error) -> Iterator[str]:
    key = ".".join(str(part) for part in error.absolute_path)
    found = _shown(error.instance)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        for unknown in error.instance:
            if unknown not in known:
                name = f"{key}.{unknown}" if key else str(unknown)
                yield f"{name} is not a known key{did_you_mean(str(unknown), known)}; known here are {', '.join(known)}"
    elif error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        named = f"{key}.{missing}" if key else missing
        yield f"{named} is missing{_described(error.schema['properties'][missing])}"
    elif error.validator == "type":
        wanted = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        hint = ""
        if isinstance(error.instance, str) and {"number", "integer"} & set(wanted):
            hint = "; write it as a plain number, with a point in front of an exponent (3.0e-4)"
        types = " or ".join(_TYPES[each] for each in wanted)
        yield f"{key}: found {found}, wanted {types}{_described(error.schema)}{hint}"
    elif error.validator == "enum":
        allowed = [str(each) for each in error.validator_value]
        near = did_you_mean(str(error.instance), allowed)
        yield f"{key}: found {found}, wanted one of {', '.join(allowed)}{near}{_described(error.schema)}"
    elif error.validator in _LIMITS:
        limit = _LIMITS[error.validator]
        yield f"{key}: found {found}, wanted {limit} {error.validator_value}{_described(error.schema)}"
    elif error.validator == "pattern":
        words = error.schema.get("x-pattern", error.validator_value)
        yield f"{key}: found {found}, wanted {words}{_described(error.schema)}"
    else:
        yield f"{key}: {error.message}{_described(error.schema)}"


_LIMITS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
    "multipleOf": "a multiple of",
    "minItems": "a list of at least",
    "maxItems": "a list of at most",
}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """' (did you mean NEAR?)', or nothing where no known name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _described(schema: Mapping) -> str:
    text = schema.get("description") if isinstance(schema, Mapping) else None
    return f" ({text[0].lower()}{text[1:].rstrip('.')})" if text else ""


def with_defaults(schema: Mapping, value: Mapping) -> dict:
    """The value with every absent key set to its default, at every depth.

    Keys come in the order of the schema: one that is written out at its
    default, or in another place, is no change to the rules that take it.
    """
    filled = {}
    for name, part in schema.get("properties", {}).items():
        if name in value:
            filled[name] = value[name]
        elif "default" in part:
            filled[name] = copy.deepcopy(part["default"])
        if isinstance(filled.get(name), Mapping) and "properties" in part:
            filled[name] = with_defaults(part, filled[name])
    return filled | {name: each for name, each in value.items() if name not in filled}
