"""agent.toml → ``Settings``: every problem of the file in one ConfigError, each with its fix.

Importing this must stay cheap: the supervisor does it, so no numpy, zmq, nacl or SDK.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import NODEFAULT, structs

from xmesh_mesh.errors import ConfigError
from xmesh_mesh.paths import check_group, check_name
from xmesh_mesh.relay_address import RELAY_FIX, relay_objection
from xmesh_peer import roles
from xmesh_peer.settings import SECRET_KEYS, SECTIONS, WEIGHT_FIELDS, Settings

__all__ = ["MAX_BYTES", "Settings", "load", "parse", "read"]

MAX_BYTES = 32_768  # the plan made of it must fit one environment variable (128 KiB on Linux)
GATE_FIELDS = (*WEIGHT_FIELDS, "any")

_VENDOR_KEYS = ("model_name", "api_key", "api_key_env", "base_url", "price")
_EXPECTED = re.compile(r"Expected `(?P<type>[^`]+)`(?: (?P<rule>[<>]=? \S+))?")
_INSIDE = re.compile(r" - at `\$\.?(.+)`\Z")
_TOML_TYPES = {"str": "text in quotes", "int": "a whole number", "float": "a number"}
_TOML_TYPES |= {"bool": "true or false", "object": "a table", "array": "a list in brackets"}


@dataclass(frozen=True, slots=True)
class _Problem:
    where: str
    what: str
    fix: str


Values = Mapping[str, Any]
Tables = dict[str, dict[str, Any]]


def load(path: Path) -> Settings:
    """Read, check and complete the file; raise ConfigError that names file, key and fix."""
    path = Path(path).absolute()
    return parse(read(path), path)


def read(path: Path) -> dict[str, Any]:
    """Return the file's TOML, unchecked; raise ConfigError where it is no readable TOML."""
    try:
        data = _bytes(path)
    except OSError as error:
        raise ConfigError(
            f"the file cannot be read: {error.strerror}",
            where=str(path),
            fix="name an agent.toml that exists and that you may read",
        ) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(
            f"the file is larger than {MAX_BYTES} bytes",
            where=str(path),
            fix="name an agent.toml; shorten its charter and comments",
        )
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"this is not TOML: {error}",
            where=str(path),
            fix="correct the line; texts need quotes, tables look like [model]",
        ) from error


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def parse(document: Mapping[str, Any], path: Path) -> Settings:
    """Return the settings that ``document``, read from ``path``, stands for.

    Defaults that depend on other values are filled in: role, charter, missing weights, and a log
    file's path, which becomes absolute (from the file's own directory).
    """
    problems, tables = _check_sections(document)
    for section, values in tables.items():
        problems += _check_values(section, values)
    if not problems:
        problems = [problem for rule in _RULES for problem in rule(tables)]
    if problems:
        raise _error(path, problems)
    return _settings(tables, path)


def _settings(tables: Tables, path: Path) -> Settings:
    sections: dict[str, Any] = {
        name: msgspec.convert(tables.get(name, {}), type_) for name, type_ in SECTIONS.items()
    }
    identity, logging = sections["identity"], sections["logging"]
    role = identity.role or identity.name
    charter = identity.charter or roles.charter(role)
    sections["identity"] = structs.replace(identity, role=role, charter=charter)
    sections["role_weights"] = structs.asdict(sections["role_weights"])
    if logging.file_path:
        absolute = path.parent / Path(logging.file_path).expanduser()
        sections["logging"] = structs.replace(logging, file_path=str(absolute))
    return Settings(**sections)


# --- single values -------------------------------------------------------------------------------


def _check_sections(document: Values) -> tuple[list[_Problem], Tables]:
    problems: list[_Problem] = []
    tables: Tables = {}
    for name, value in document.items():
        if name not in SECTIONS:
            problems.append(_unknown(f"[{name}]", "section", name, SECTIONS))
        elif not isinstance(value, dict):
            problems.append(_Problem(name, "this is a section", f"write it as a table: [{name}]"))
        else:
            tables[name] = value
    problems += _missing_sections(document)
    return problems, tables


def _missing_sections(document: Values) -> list[_Problem]:
    return [
        _Problem(f"[{section}] {field.name}", "this key is required", f"add {_example(field.name)}")
        for section, type_ in SECTIONS.items()
        if section not in document
        for field in structs.fields(type_)
        if field.required
    ]


def _example(key: str) -> str:
    return {"name": 'name = "writer-01"', "adapter": 'adapter = "auto"'}.get(key, f"{key} = …")


def _check_values(section: str, values: Values) -> list[_Problem]:
    fields = {field.name: field for field in structs.fields(SECTIONS[section])}
    problems = [
        _Problem(f"[{section}] {name}", "this key is required", f"add {_example(name)}")
        for name, field in fields.items()
        if field.required and name not in values
    ]
    for key, value in values.items():
        where = f"[{section}] {key}"
        if key not in fields:
            problems.append(_unknown(where, "key", key, fields))
        else:
            problems += _check_value(where, key, value, fields[key])
    return problems


def _check_value(where: str, key: str, value: object, field: structs.FieldInfo) -> list[_Problem]:
    if isinstance(value, str) and not value.strip():
        return [_Problem(where, "the text is empty", f"give {key} a value, or leave the key out")]
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        return [_bad_value(where, key, value, str(error), field)]
    return []


def _bad_value(
    where: str, key: str, value: object, error: str, field: structs.FieldInfo
) -> _Problem:
    shown = "this value" if key in SECRET_KEYS else _shown(value)
    usual = f"; {_shown(field.default)} is usual" if _is_shown(field.default) else ""
    return _Problem(where, f"{shown} will not do", f"{_wanted(error, value, field.type)}{usual}")


def _is_shown(default: object) -> bool:
    return default is not NODEFAULT and default not in ("", None, ())


def _wanted(error: str, value: object, type_: object) -> str:
    """Turn msgspec's ``error`` about ``value`` into what a person should write instead."""
    choices = _choices(msgspec.json.schema(type_))
    if error.startswith("Invalid enum value"):
        return f"use one of {', '.join(map(_shown, choices))}{_close(value, choices)}"
    expected = _EXPECTED.match(error)
    if expected is None:
        return f"correct it: {error[0].lower()}{error[1:]}"
    kinds = [_TOML_TYPES.get(kind, kind) for kind in expected["type"].split(" | ")]
    wanted = " or ".join(kind for kind in kinds if kind != "null")
    among = f", one of {', '.join(map(_shown, choices))}" if choices else ""
    inside = _INSIDE.search(error)
    place = f" for {inside[1]}" if inside else ""
    return f"use {wanted}{' ' + expected['rule'] if expected['rule'] else ''}{place}{among}"


def _choices(schema: object) -> list[str]:
    """Return the words that a JSON Schema allows, wherever in it they stand."""
    if isinstance(schema, dict):
        own = [word for word in schema.get("enum", ()) if isinstance(word, str)]
        return own + [word for part in schema.values() for word in _choices(part)]
    if isinstance(schema, list):
        return [word for part in schema if isinstance(part, dict) for word in _choices(part)]
    return []


def _unknown(where: str, kind: str, name: str, known: Iterable[str]) -> _Problem:
    home = [section for section, type_ in SECTIONS.items() if name in type_.__struct_fields__]
    hint = f"; {name} belongs in [{home[0]}]" if home else _close(name, known)
    return _Problem(where, f"there is no such {kind}", f"known here: {', '.join(known)}{hint}")


def _close(word: object, known: Iterable[str]) -> str:
    """Return a hint at the known word that ``word`` was probably meant to be, or ""."""
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _shown(value: object) -> str:
    """Return ``value`` much as TOML writes it, cut to what fits a message."""
    text = str(value)
    if isinstance(value, str):
        text = f'"{value}"'
    elif isinstance(value, bool):
        text = text.lower()
    return text if len(text) <= 60 else f"{text[:59]}…"


# --- values that must fit a rule or each other --------------------------------------------------


def _name_and_group(tables: Tables) -> list[_Problem]:
    name = tables["identity"]["name"]
    group = tables.get("mesh", {}).get("group", "default")
    checks = (("[identity] name", check_name, name), ("[mesh] group", check_group, group))
    problems = []
    for where, check, value in checks:
        try:
            check(value)
        except ConfigError as error:
            problems.append(_Problem(where, error.what, error.fix))
    return problems


def _relay(tables: Tables) -> list[_Problem]:
    relay = tables.get("mesh", {}).get("relay", "")
    objection = relay_objection(relay) if relay else ""
    return (
        [_Problem("[mesh] relay", f"{_shown(relay)} {objection}", RELAY_FIX)] if objection else []
    )


_ADDRESSES = (
    ("model", "base_url", "http://127.0.0.1:8080/v1"),
    ("admission", "encoder_url", "http://127.0.0.1:11434"),
)


def _addresses(tables: Tables) -> list[_Problem]:
    return [
        _Problem(f"[{section}] {key}", f"{_shown(value)} is no address", f"write it like {example}")
        for section, key, example in _ADDRESSES
        if (value := tables.get(section, {}).get(key)) and not _is_web_address(value)
    ]


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _weights(tables: Tables) -> list[_Problem]:
    given = tables.get("role_weights", {})
    if any(given.get(field, 1.0) for field in WEIGHT_FIELDS):
        return []
    return [_Problem("[role_weights]", "all seven weights are 0", "give at least one field weight")]


def _vendor(tables: Tables) -> list[_Problem]:
    model = tables["model"]
    problems = []
    if model["adapter"] == "auto":
        problems = [
            _Problem(
                f"[model] {key}",
                'with adapter = "auto" nobody knows yet which vendor this is for',
                f"name the adapter, or leave {key} out",
            )
            for key in _VENDOR_KEYS
            if key in model
        ]
    if "api_key" in model and "api_key_env" in model:
        problems.append(_Problem("[model] api_key_env", "there is an api_key too", "keep one"))
    return problems


def _gates(tables: Tables) -> list[_Problem]:
    gates = tables.get("safety", {}).get("approval_gates")
    if not isinstance(gates, dict):
        return []
    problems = []
    for field, patterns in gates.items():
        where = f"[safety] approval_gates.{field}"
        if field not in GATE_FIELDS:
            problems.append(_unknown(where, "field", field, GATE_FIELDS))
        problems += [problem for pattern in patterns for problem in _pattern(where, pattern)]
    return problems


def _pattern(where: str, pattern: str) -> list[_Problem]:
    if not pattern.strip():
        return [_Problem(where, "a pattern is empty", "write a regular expression, or remove it")]
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        fix = "correct it; TOML's 'single quotes' keep backslashes as they are"
        return [_Problem(where, f"{_shown(pattern)} is no regular expression: {error}", fix)]
    return []


def _encoder(tables: Tables) -> list[_Problem]:
    admission = tables.get("admission", {})
    served = admission.get("encoder") in {"ollama", "openai"}
    return [
        _Problem(
            f"[admission] {key}",
            "an encoder that a server runs needs it" if served else "no server runs this encoder",
            f"add {key}" if served else f"leave {key} out, or name ollama or openai as encoder",
        )
        for key in ("encoder_url", "encoder_model")
        if (key in admission) != served
    ]


def _log_file(tables: Tables) -> list[_Problem]:
    path = tables.get("logging", {}).get("file_path", "")
    try:
        Path(path).expanduser()
    except RuntimeError as error:
        return [_Problem("[logging] file_path", str(error), "write the whole path")]
    return []


_RULES: tuple[Callable[[Tables], list[_Problem]], ...] = (
    _name_and_group,
    _relay,
    _addresses,
    _weights,
    _vendor,
    _gates,
    _encoder,
    _log_file,
)


def _error(path: Path, problems: list[_Problem]) -> ConfigError:
    """Return one error for all of ``problems``; with one, its parts are the error's own."""
    if len(problems) == 1:
        (only,) = problems
        return ConfigError(only.what, where=f"{path}: {only.where}", fix=only.fix)
    lines = "".join(f"\n  {p.where}: {p.what} — {p.fix}" for p in problems)
    return ConfigError(
        f"{len(problems)} problems{lines}", where=str(path), fix="correct each of them as it says"
    )
