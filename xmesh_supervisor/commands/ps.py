"""xmesh-sup ps"""

import argparse

from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor.census import Census, Entry, take
from xmesh_supervisor.console import safe
from xmesh_supervisor.output import duration, money, print_json, table, write
from xmesh_supervisor.world import World

HELP = """\
One line for each peer. WAKES are the messages that it woke for (+ those that wait), CALLS its model
calls, HELD what a gate keeps back for a person, LINKS the nodes of other hosts that it reaches now.
Figures are asked of the peers themselves; one that does not answer within 0.3 s is shown without.
Without a supervisor: what was last recorded."""
EXAMPLE = "xmesh-sup ps"
EXITS = "0 done; 1 no supervisor runs (what was last recorded is shown); 2 wrong usage"

_HEADER = (
    *("NAME", "STATE", "PID", "UPTIME", "MODEL", "WAKES", "CALLS", "EMITTED", "HELD", "COST"),
    *("LINKS", "RESTARTS", "NOTE"),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    census = take(RuntimeDir.from_env())
    if args.json:
        print_json(census.as_json())
    else:
        _show(census)
    return 0 if census.supervised else 1


def _show(census: Census) -> None:
    if census.trouble:
        write(census.trouble)
    if census.entries:
        write(table([_HEADER, *(_row(entry, census.world) for entry in census.entries)]))
    else:
        write("no peers; xmesh-sup up FILES… starts some")
    if census.gateway_trouble:
        write(f"the gateway to other hosts is {safe(census.gateway_trouble)}")


def _row(entry: Entry, world: World | None) -> list[str]:
    status = entry.status
    wakes = status.get("wakes") or {}
    waiting = wakes.get("queued", 0)
    cost = (status.get("cost") or {}).get("run_nano")
    cells = [
        entry.name,
        entry.shown_state,
        str(entry.pid or "-"),
        duration(entry.uptime_s) if entry.uptime_s is not None else "-",
        entry.model or "-",
        _figure(wakes.get("done")) + (f"+{waiting}" if waiting else ""),
        *(_figure(status.get(key)) for key in ("calls", "emitted", "held")),
        money(cost) if isinstance(cost, int) else "-",
        _links(world, entry.name),
        str(entry.restarts),
        "; ".join(part for part in (entry.note, _relay_trouble(world, entry.name)) if part),
    ]
    return [safe(cell) for cell in cells]


def _links(world: World | None, name: str) -> str:
    if world is None or world.endpoint(name) is None:
        return "-"
    links = world.links(name)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(links.items())) or "0"


def _relay_trouble(world: World | None, name: str) -> str:
    endpoint = world.endpoint(name) if world else None
    relay = endpoint.relay if endpoint else None
    return f"relay {relay.state}: {relay.reason}" if relay and relay.reason else ""


def _figure(value: object) -> str:
    return str(value) if isinstance(value, int) else "-"
