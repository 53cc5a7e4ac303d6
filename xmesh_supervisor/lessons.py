"""What a person says that a peer should have done, kept as labelled data beside its memory.

A file of its own, one JSON object a line: the peer's memory is written by the peer alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from xmesh_mesh.errors import StoreError

if TYPE_CHECKING:
    from xmesh_mesh.judging.decision import Label

__all__ = ["Lesson", "read", "teach"]

MAX_LESSONS = 10_000


@dataclass(frozen=True, slots=True)
class Lesson:
    """``values`` is what the judge saw, under ``kernel``."""

    assertion: str
    label: "Label"
    kernel: str
    values: Mapping[str, float]
    at_ms: int


class _Line(msgspec.Struct, frozen=True):
    assertion: str
    label: str
    kernel: str
    values: dict[str, float]
    at_ms: int


def teach(path: Path, lesson: Lesson) -> None:
    """Add a lesson; of several about one record the last counts."""
    line = msgspec.json.encode(
        _Line(lesson.assertion, lesson.label, lesson.kernel, dict(lesson.values), lesson.at_ms)
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    with path.open("ab") as file:
        file.write(line + b"\n")


def read(path: Path) -> list[Lesson]:
    """Return the lessons, the last of each record; StoreError where the file makes no sense."""
    if not path.exists():
        return []
    found: dict[str, Lesson] = {}
    for number, line in enumerate(path.read_bytes().splitlines()[-MAX_LESSONS:], 1):
        try:
            one = msgspec.json.decode(line, type=_Line)
            label = _label(one.label)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise StoreError(
                f"line {number} is no lesson: {error}", where=str(path), fix="remove that line"
            ) from error
        found[one.assertion] = Lesson(one.assertion, label, one.kernel, one.values, one.at_ms)
    return list(found.values())


def _label(text: str) -> "Label":
    match text:
        case "relevant" | "redundant" | "foreign":
            return text
        case _:
            raise ValueError(f"{json.dumps(text)} is no label")
