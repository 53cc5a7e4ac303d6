"""The JSON Schema of agent.toml, made from the types that check it."""

from typing import Any

import msgspec

from xmesh_peer.config import GATE_FIELDS
from xmesh_peer.settings import SECTIONS


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of a whole agent.toml, for editors."""
    shapes, definitions = msgspec.json.schema_components(
        SECTIONS.values(), ref_template="#/$defs/{name}"
    )
    for definition in definitions.values():
        _describe_table(definition)
    gates = definitions["Safety"]["properties"]["approval_gates"]
    for branch in gates["anyOf"]:
        if branch.get("type") == "object":
            branch["propertyNames"] = {"enum": list(GATE_FIELDS)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "agent.toml",
        "type": "object",
        "properties": dict(zip(SECTIONS, shapes, strict=True)),
        "required": [name for name, type_ in SECTIONS.items() if _is_needed(definitions, type_)],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _is_needed(definitions: dict[str, Any], section: type) -> bool:
    return bool(definitions[section.__name__]["required"])


def _describe_table(definition: dict[str, Any]) -> None:
    """Say what a file may hold: TOML has no null, and a text that is there is not empty."""
    for shape in definition["properties"].values():
        if shape.get("type") == "string":
            shape["minLength"] = 1
        if shape.get("default") in ("", None):
            shape.pop("default", None)
        if "anyOf" in shape:
            shape["anyOf"] = [part for part in shape["anyOf"] if part != {"type": "null"}]
        _lift_single(shape)


def _lift_single(shape: dict[str, Any]) -> None:
    branches = shape.get("anyOf", [])
    if len(branches) == 1:
        del shape["anyOf"]
        shape.update(branches[0])
