"""xmesh-sup status"""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from xmesh_mesh.errors import UsageError
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor.census import Census, Entry, take
from xmesh_supervisor.console import safe
from xmesh_supervisor.kill import nearest
from xmesh_supervisor.output import duration, money, print_json, write

HELP = """\
Everything that is known about one peer, or about all: process, run, model, wakes, calls, what was
emitted, declined, suppressed and held for a person, money against its caps, breaker, last event."""
EXAMPLE = "xmesh-sup status reviewer-01"
EXITS = "0 done; 1 no supervisor runs (what was last recorded is shown); 2 unknown name"

_COUNTS = (
    *("calls", "emitted", "declined", "suppressed", "held", "failed", "admitted", "rejected"),
    "outbox",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="a peer; all where none is named")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    census = take(RuntimeDir.from_env())
    entries = [e for e in census.entries if args.name in {None, e.name}]
    if args.name and not entries:
        known = [entry.name for entry in census.entries]
        raise UsageError(f"there is no peer {args.name!r}", fix=nearest(args.name, known))
    if args.json:
        document = census.as_json()
        shown = {entry.name for entry in entries}
        document["peers"] = [peer for peer in document["peers"] if peer["name"] in shown]
        print_json(document)
    else:
        _show(census, entries)
    return 0 if census.supervised else 1


def _show(census: Census, entries: list[Entry]) -> None:
    if census.trouble:
        write(census.trouble)
    else:
        up = duration(census.supervisor["uptime_s"])
        write(f"supervisor  pid {census.supervisor['pid']}, up {up}, {census.supervisor['root']}")
        for child in census.infrastructure:
            reason = f", {safe(child['reason'])}" if child["reason"] else ""
            write(f"{child['name']:<11} {child['state']}, pid {child['pid'] or '-'}{reason}")
    for entry in entries:
        write("\n" + "\n".join(safe(line) for line in _lines(entry)))


def _lines(entry: Entry) -> Iterator[str]:
    yield f"{entry.name}  {entry.shown_state}"
    if entry.note:
        yield f"  note        {entry.note}"
    if entry.pid:
        yield f"  process     pid {entry.pid}, up {duration(entry.uptime_s or 0)}"
    yield f"  run         {entry.run}, {entry.restarts} restarts"
    if entry.model:
        yield f"  model       {entry.model}"
    if entry.status:
        yield from _own_lines(entry.status)


def _own_lines(status: Mapping[str, Any]) -> Iterator[str]:
    yield f"  group       {status.get('group', '-')}"
    wakes = status.get("wakes") or {}
    yield f"  wakes       {_counts(wakes, tuple(wakes))}"
    yield f"  records     {_counts(status, _COUNTS)}"
    if status.get("held"):
        yield f"  held        {status['held']} wait for a person's yes or no"
    yield f"  cost        {_cost(status.get('cost') or {})}"
    yield f"  breaker     {status.get('breaker', '-')}"
    if status.get("last_event"):
        yield f"  last event  {status['last_event']}"


def _counts(source: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return ", ".join(f"{source[key]} {key}" for key in keys if key in source)


def _cost(cost: Mapping[str, Any]) -> str:
    caps = cost.get("caps_nano") or {}
    parts = []
    for span in ("run", "hour", "day"):
        spent, cap = cost.get(f"{span}_nano"), caps.get(span)
        if isinstance(spent, int):
            of = f" of {money(cap)}" if isinstance(cap, int) else ""
            parts.append(f"{money(spent)}{of} this {span}")
    return ", ".join(parts) or "-"
