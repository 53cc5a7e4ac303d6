"""How figures look on a terminal: tables, money, durations, keys."""

import json
import sys
from collections.abc import Sequence

__all__ = ["ago", "duration", "money", "print_json", "short", "table", "write"]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return ``rows`` (the first is the header) in columns two spaces apart, no trailing blanks."""
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(widths[i]) for i, cell in enumerate(row)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def money(nano: int) -> str:
    """Return nano-USD as dollars with four decimals, rounded up: a cost is never shown as less."""
    tenths_of_a_cent = -(-nano // 100_000)
    return f"${tenths_of_a_cent // 10_000}.{tenths_of_a_cent % 10_000:04d}"


def duration(seconds: float) -> str:
    """Return a span of time in its two largest units: 0.21 s, 42 s, 3m 05s, 2h 10m, 4d 3h."""
    if seconds < 10:
        return f"{max(seconds, 0):.2f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600}h"


def ago(then_ms: int, now_ms: int) -> str:
    return f"{duration((now_ms - then_ms) / 1000)} ago"


def short(key: str) -> str:
    """Return a key or an assertion id, shortened to what still names it in daily use."""
    prefix = "cmb-" if key.startswith("cmb-") else ""
    digits = key.removeprefix("cmb-")
    return f"{prefix}{digits[:8]}…" if len(digits) > 8 else key


def print_json(value: object) -> None:
    write(json.dumps(value, indent=2, default=str))


def write(text: str) -> None:
    """Print one line (or several) to standard output, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
