"""Figures, how they come out of samples, and the table that shows them."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Unit = Literal["ms", "records/s", "MB", "% of a core"]

TO_BEAT: Mapping[str, float] = {
    "one peer: up typed to ready": 177,
    "one peer: process start to ready": 177,
    "one peer: SIGTERM to exit": 16,
    "triad: first process start to all ready": 580,
    "triad: up typed to all ready": 580,
    "message out to model request, p50": 18,
    "message out to model request, p99": 35,
    "message out to model request, first one": 138,
    "model answer to admitted at another peer, p50": 46,
    "model answer to admitted at another peer, p99": 60,
    "flood, verified and stored by 1": 176,
    "flood, verified and stored by 2": 97,
    "20/s, verified and stored by 1, p50": 15,
    "20/s, verified and stored by 1, p99": 26,
    "flood, LAN 1 to 1, verified and stored": 176,
    "flood, relay 1 to 1, verified and stored": 163,
    "20/s, LAN 1 to 1, verified and stored, p50": 15,
    "20/s, LAN 1 to 1, verified and stored, p99": 26,
    "emit: sign, store, send, p50": 3.7,
    "receive path, 1,000 in memory": 2.9,
    "judge alone, 1,000 in memory": 0.49,
    "context with 10,000 in memory": 38,
    "1 peer: sum of PSS": 50,
    "3 peers: sum of PSS": 58,
    "8 peers: sum of PSS": 133,
    "1 peer: sum of RSS": 52,
    "3 peers: sum of RSS": 162,
    "8 peers: sum of RSS": 425,
    "peer with the openai SDK after 60 wakes: RSS": 82,
    "1 peer, idle": 0.1,
    "3 peers, idle": 0.1,
}
"""xmesh-agent 0.1.10 on sym (Node.js), medians on two cores; of a range, its better end."""

MORE_IS_BETTER: frozenset[Unit] = frozenset({"records/s"})


class BenchError(Exception):
    """What was to be measured did not happen."""


@dataclass(frozen=True, slots=True)
class Figure:
    """``low`` and ``high`` are the extremes of ``samples`` measurements behind ``value``."""

    what: str
    value: float
    unit: Unit
    low: float
    high: float
    samples: int

    @property
    def to_beat(self) -> float | None:
        return TO_BEAT.get(self.what)

    @property
    def ratio(self) -> float | None:
        """How many times better than the figure to beat; below 1 it is not beaten."""
        if self.to_beat is None or not self.value:
            return None
        ahead = self.to_beat / self.value
        return 1 / ahead if self.unit in MORE_IS_BETTER else ahead


def median(what: str, samples: Sequence[float], unit: Unit = "ms") -> Figure:
    return _figure(what, statistics.median(samples), samples, unit)


def total(what: str, samples: Sequence[float], unit: Unit) -> Figure:
    """Return the sum of what was measured once for each of several processes."""
    return _figure(what, sum(samples), samples, unit)


def p50_p99(what: str, samples: Sequence[float], unit: Unit = "ms") -> list[Figure]:
    worst = sorted(samples)[-1 - len(samples) // 100]
    return [
        median(f"{what}, p50", samples, unit),
        _figure(f"{what}, p99", worst, samples, unit),
    ]


def _figure(what: str, value: float, samples: Sequence[float], unit: Unit) -> Figure:
    return Figure(what, value, unit, min(samples), max(samples), len(samples))


def table(parts: Mapping[str, Sequence[Figure]]) -> str:
    """Return all figures in aligned columns."""
    rows = [("PART", "WHAT", "HERE", "LOWEST", "HIGHEST", "TO BEAT", "")]
    for part, figures in parts.items():
        names = [part, *[""] * len(figures)]
        rows += [_row(name, figure) for name, figure in zip(names, figures, strict=False)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _row(part: str, figure: Figure) -> tuple[str, ...]:
    to_beat = "-" if figure.to_beat is None else f"{_number(figure.to_beat)} {figure.unit}"
    here = f"{_number(figure.value)} {figure.unit}"
    spread = (_number(figure.low), _number(figure.high)) if figure.samples > 1 else ("", "")
    return (part, figure.what, here, *spread, to_beat, _verdict(figure.ratio))


def _verdict(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.1f}x better" if ratio >= 1 else f"{1 / ratio:.1f}x behind"


def _number(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    part, what, *numbers, verdict = row
    head = f"{part:<{widths[0]}}  {what:<{widths[1]}}"
    cells = (f"{cell:>{width}}" for cell, width in zip(numbers, widths[2:-1], strict=True))
    return f"{head}  {'  '.join(cells)}  {verdict}".rstrip()
