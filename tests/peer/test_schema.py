"""The JSON Schema says what config.load enforces."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from xmesh_peer.schema import json_schema
from xmesh_peer.settings import SECTIONS


def section(name: str) -> Any:
    schema = json_schema()
    return schema["$defs"][schema["properties"][name]["$ref"].removeprefix("#/$defs/")]


def test_it_is_json_and_names_every_section_and_no_other() -> None:
    schema = json.loads(msgspec.json.encode(json_schema()))
    assert list(schema["properties"]) == list(SECTIONS)
    assert schema["required"] == ["identity", "model"]
    assert schema["additionalProperties"] is False
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_key_is_described_and_unknown_ones_are_refused() -> None:
    for name, type_ in SECTIONS.items():
        shape = section(name)
        assert list(shape["properties"]) == list(type_.__struct_fields__)
        assert shape["additionalProperties"] is False
        for key, value in shape["properties"].items():
            assert value.get("description"), f"[{name}] {key}"


def test_required_keys_are_required() -> None:
    assert section("identity")["required"] == ["name"]
    assert section("model")["required"] == ["adapter"]
    assert section("budget")["required"] == []


def test_defaults_are_told_where_there_are_any() -> None:
    for name, type_ in SECTIONS.items():
        for field in structs.fields(type_):
            shape = section(name)["properties"][field.name]
            if field.required or field.default in ("", None):
                assert "default" not in shape
            else:
                assert shape["default"] == field.default


def test_bounds_and_words_are_told() -> None:
    safety, model = section("safety")["properties"], section("model")["properties"]
    assert (safety["cycle_depth"]["minimum"], safety["cycle_depth"]["maximum"]) == (1, 1000)
    assert "auto" in model["adapter"]["enum"]
    assert model["timeout_s"]["exclusiveMinimum"] == 0


def test_a_text_is_not_empty_and_nothing_is_null() -> None:
    schema = json_schema()
    assert '"null"' not in json.dumps(schema, default=list)
    for definition in schema["$defs"].values():
        for shape in definition["properties"].values():
            assert (shape.get("minLength") == 1) == (shape.get("type") == "string")
    model = section("model")["properties"]
    assert model["temperature"] == {
        "description": "sent only where it is set", "type": "number", "minimum": 0, "maximum": 2,
    }  # fmt: skip
    assert model["price"]["$ref"] == "#/$defs/UsdPerMillion"


def test_own_gates_are_by_field_or_for_any() -> None:
    branches = section("safety")["properties"]["approval_gates"]["anyOf"]
    assert branches[0] == {"enum": ["default", "none"]}
    assert branches[1]["propertyNames"]["enum"][-1] == "any"
    assert len(branches[1]["propertyNames"]["enum"]) == 8


def test_the_document_names_every_key_with_its_default() -> None:
    text = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    for name, type_ in SECTIONS.items():
        for field in structs.fields(type_):
            if name == "role_weights":
                assert f"`{field.name}`" in text
                continue
            rows = re.findall(rf"^\| `(?:{name}\.)?{field.name}` \| (.*?) \|", text, re.MULTILINE)
            assert len(rows) == 1, f"[{name}] {field.name}"
            if not field.required and field.default not in ("", None):
                told = rows[0].strip("`")
                assert json.loads(told) == json.loads(msgspec.json.encode(field.default))
