"""The children's log files: kept below a size while somebody writes to them, and their last words.

A child holds its log open for appending, so a full one is copied away and cut to nothing where it
lies; what is written in the instant between the two is lost.
"""

import json
import os
import shutil
from pathlib import Path

__all__ = ["last_words", "rotate"]

_TAIL = 8_192
_LONGEST = 240


def rotate(path: Path, max_bytes: int, keep: int) -> bool:
    """Where ``path`` is larger than ``max_bytes``, move its content to ``path.1`` and the older
    ones on, so that ``keep`` are left; return whether it was. Raises OSError."""
    try:
        if path.stat().st_size <= max_bytes:
            return False
    except FileNotFoundError:
        return False
    for number in range(keep - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)
    return True


def last_words(path: Path) -> str:
    """Return the last sentence in a log, shortened: a JSON line's ``text``, or the line itself."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return _sentence(last)


def _sentence(line: str) -> str:
    try:
        value = json.loads(line)
        text = str(value["text"])
    except (ValueError, KeyError, TypeError, RecursionError):
        text = line
    text = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
