"""Which words of an emission a person has to approve first.

A gate reads what is about to be said, not what is meant: it holds text that asks for, or
commits to, something that cannot be taken back. It is a net under an honest model, not a wall
against one that wants through.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from xmesh_mesh.errors import ConfigError
from xmesh_peer.safety.gate_patterns import DESTRUCTIVE, SEED

__all__ = ["Gates", "Hit", "normalise"]

EVERY_FIELD = "any"
_EXCERPT_MARGIN = 40
# Letters that are drawn as nothing: Hangul fillers and the blank Braille cell.
_BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_INVISIBLE_MARKS = frozenset("\u034f\u17b4\u17b5\u180b\u180c\u180d\u180f") | {
    chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
}
_QUOTES = str.maketrans(dict.fromkeys("\\'\"`\u2018\u2019\u201c\u201d", ""))
_SHELL_SPACE = re.compile(r"\$(?:IFS\b|\{IFS\})")


@dataclass(frozen=True, slots=True)
class Hit:
    """One gate that holds: ``pattern`` is its name (or the user's pattern), for people."""

    field: str
    pattern: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class _Gate:
    name: str
    expression: re.Pattern[str]


class Gates:
    """The gates of one peer, compiled once."""

    __slots__ = ("_everywhere", "_per_field")

    def __init__(
        self, per_field: Mapping[str, Sequence[_Gate]], everywhere: Sequence[_Gate]
    ) -> None:
        self._per_field = per_field
        self._everywhere = everywhere

    @classmethod
    def from_setting(cls, setting: str | Mapping[str, Sequence[str]]) -> Self:
        """Build from ``[safety] approval_gates``: "default", "none", or own patterns per field.

        Own patterns take the place of the default ones. They are regular expressions, looked
        for anywhere in the field ("any": in every field), whatever the case. ConfigError where
        one does not compile.
        """
        if setting == "none":
            return cls({}, ())
        if setting == "default":
            seed = {field: _compiled(named) for field, named in SEED.items()}
            return cls(seed, _compiled(DESTRUCTIVE))
        if isinstance(setting, str):
            raise ConfigError(
                f"{setting!r} names no gates",
                where="safety.approval_gates",
                fix='write "default", "none", or a table of patterns per field',
            )
        own = {field: _own(field, patterns) for field, patterns in setting.items()}
        return cls(own, own.pop(EVERY_FIELD, ()))

    def check(self, texts: Mapping[str, str]) -> list[Hit]:
        """Return what holds these fields back, in the fields' order; empty means free to go."""
        return [hit for field, text in texts.items() for hit in self._check_field(field, text)]

    def _check_field(self, field: str, text: str) -> Iterable[Hit]:
        readings = _readings(text)
        for gate in (*self._per_field.get(field, ()), *self._everywhere):
            hit = _first_hit(field, gate, readings)
            if hit is not None:
                yield hit


def normalise(text: str) -> str:
    """Return the text as a reader sees it: NFKC, nothing invisible, plain dashes, single spaces."""
    plain = unicodedata.normalize("NFKC", text)
    table = {ord(char): _seen(char) for char in set(plain)}
    return " ".join(plain.translate(table).split())


def _seen(char: str) -> str:
    category = unicodedata.category(char)
    if char.isspace() or char in _BLANKS:
        return " "
    if category in {"Cf", "Cc"} or char in _INVISIBLE_MARKS:
        return ""
    return "-" if category == "Pd" or char == "\u2212" else char


def _readings(text: str) -> tuple[str, ...]:
    """Return the text as people read it, and, where that differs, as a shell would."""
    plain = normalise(text)
    shell = " ".join(_SHELL_SPACE.sub(" ", plain).translate(_QUOTES).split())
    return (plain,) if shell == plain else (plain, shell)


def _first_hit(field: str, gate: _Gate, readings: Iterable[str]) -> Hit | None:
    for reading in readings:
        match = gate.expression.search(reading)
        if match:
            return Hit(field, gate.name, _excerpt(reading, match))
    return None


def _excerpt(text: str, match: re.Match[str]) -> str:
    start = max(0, match.start() - _EXCERPT_MARGIN)
    end = match.start() + 2 * _EXCERPT_MARGIN
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def _compiled(named: Mapping[str, str]) -> tuple[_Gate, ...]:
    return tuple(_Gate(name, re.compile(found, re.IGNORECASE)) for name, found in named.items())


def _own(field: str, patterns: Sequence[str]) -> tuple[_Gate, ...]:
    try:
        return _compiled({pattern: pattern for pattern in patterns})
    except re.error as error:
        raise ConfigError(
            f"{error.pattern!r} is no regular expression: {error.msg}",
            where=f"safety.approval_gates.{field}",
            fix="correct the pattern, or put a backslash before characters meant as themselves",
        ) from error
