"""The bench: how fast, how big and how idle xmesh is here, beside the figures to beat.

Everything runs in runtime directories of its own, which are removed with every process in them.
A model is never asked: where one is needed, a local server answers at once.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # hosts and stock nodes

from bench_parts import bus, conversation, fleet, node, resources, wire
from bench_parts.figures import BenchError, Figure, table
from bench_parts.mesh import clear_all

PARTS: Mapping[str, Callable[[], list[Figure]]] = {
    "ready": fleet.ready,
    "wake": conversation.wake,
    "answer": conversation.answer,
    "bus": bus.throughput,
    "emit": bus.emit,
    "admission": node.admission,
    "context": node.context,
    "memory": resources.memory,
    "cpu": resources.cpu,
    "wire": wire.wire,
    "gateway": wire.gateway,
    "ps": fleet.ps,
    "kill": fleet.kill,
}

_ENDING = (signal.SIGINT, signal.SIGTERM)


def main() -> int:
    arguments = _parse()
    for number in _ENDING:
        signal.signal(number, _interrupt)
    load = os.getloadavg()[0]
    figures: dict[str, list[Figure]] = {}
    failed: dict[str, str] = {}
    for name in arguments.part or PARTS:
        _measure(name, figures, failed)
    if arguments.json:
        print(json.dumps(_document(load, figures, failed), indent=1))
    else:
        print(table(figures))
        print(f"\n{os.cpu_count()} cores, load {load:.1f} before it began")
    return 1 if failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure xmesh on this machine (Linux). All of it takes about five minutes.",
        epilog="example: scripts/bench --part wake --part answer",
    )
    parser.add_argument(
        "--part", action="append", choices=list(PARTS), help="measure this only; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    return parser.parse_args()


def _measure(name: str, figures: dict[str, list[Figure]], failed: dict[str, str]) -> None:
    """Run one part; a part that fails is said, and the others go on."""
    _progress(f"{name} ...")
    began = time.monotonic()
    try:
        figures[name] = PARTS[name]()
    except BenchError as error:
        failed[name] = str(error)
        _progress(f"{name} failed: {error}")
        return
    _progress(f"{name} took {time.monotonic() - began:.0f} s")


def _document(
    load: float, figures: Mapping[str, list[Figure]], failed: Mapping[str, str]
) -> dict[str, object]:
    rows = [
        {"part": part, **asdict(figure), "to_beat": figure.to_beat, "ratio": figure.ratio}
        for part, found in figures.items()
        for figure in found
    ]
    return {"cores": os.cpu_count(), "load": load, "figures": rows, "failed": failed}


def _progress(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """End at once. An exception could get lost, or stuck, in whatever is under way."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    clear_all()
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
