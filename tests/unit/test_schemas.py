"""The schemas themselves: closed, described, with defaults that they allow."""

import re
from pathlib import Path

import pytest

from cytolapse.columns import EXPERIMENT_TABLES
from cytolapse.tables import schema
from planning.checks import problems, read_schema, with_defaults
from planning.settings import BY_EXPERIMENT


@pytest.mark.parametrize("sheet", ["experiments", "movies", "events"])
def test_every_column_of_a_sheet_is_described_and_others_are_refused(sheet):
    schema = read_schema(sheet)

    assert schema["additionalProperties"] is False
    assert all(column["description"] for column in schema["properties"].values())


def parts(schema: dict, place: str = "config"):
    yield place, schema
    for name, part in schema.get("properties", {}).items():
        yield from parts(part, f"{place}.{name}")


def test_every_knob_has_a_description_a_default_and_a_range():
    for place, part in parts(read_schema("config")):
        if place == "config" or place.startswith("config.models"):
            continue
        assert part.get("description"), place
        assert "default" in part, place
        if "properties" in part:
            assert part["additionalProperties"] is False, place
        if {"integer", "number"} & set([part["type"]] if isinstance(part["type"], str) else part["type"]):
            assert {"minimum", "exclusiveMinimum"} & part.keys(), place


def test_the_defaults_are_allowed_by_their_own_schema():
    schema = read_schema("config")

    assert problems(schema, with_defaults(schema, {}), "defaults") == []


def test_a_key_written_out_at_its_default_changes_nothing_not_even_the_order():
    schema = read_schema("config")
    label = with_defaults(schema, {})["label"]

    stated = with_defaults(schema, {"label": {"fill_holes": True, "method": "watershed"}, "threads": 4})

    assert list(stated["label"].items()) == list(label.items())
    assert list(stated) == list(with_defaults(schema, {}))


def test_the_blocks_of_an_experiment_are_those_of_the_schema():
    assert set(BY_EXPERIMENT) <= set(read_schema("config")["properties"])


def test_a_list_and_a_pattern_are_refused_in_words():
    schema = {"properties": {"names": {"type": "array", "minItems": 2}, "code": {"type": "string", "const": "a"}}}

    said = problems(schema, {"names": [], "code": "b"}, "place")

    assert "place: names: found [], wanted a list of at least 2" in said
    assert any(sentence.startswith("place: code: 'a' was expected") for sentence in said)


def test_every_flag_of_the_tables_has_its_knob_in_the_docs():
    text = (Path(__file__).parents[2] / "docs/tables.head.md").read_text()
    rows = re.findall(r"^\| ([a-z, ]+) \| (`flag_.*?) \| (.*) \|$", text, flags=re.MULTILINE)
    named = {
        (table.strip(), flag): re.findall(r"`(\w+)\.(\w+)`", knobs)
        for tables, flags, knobs in rows
        for table in tables.split(",")
        for flag in re.findall(r"flag_\w+", flags)
    }
    of_tables = {
        (table, column.name)
        for table in EXPERIMENT_TABLES
        for column in schema(table)
        if column.name.startswith("flag_")
    }
    knobs = with_defaults(read_schema("config"), {})

    assert set(named) == of_tables
    assert all(key in knobs[block] for stated in named.values() for block, key in stated)
