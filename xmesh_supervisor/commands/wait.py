"""xmesh-sup wait"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xmesh_mesh.errors import UsageError
from xmesh_mesh.paths import RESERVED_NAMES, RuntimeDir
from xmesh_supervisor.output import duration, write

if TYPE_CHECKING:
    from xmesh_mesh.bus.frames import StatusReply
    from xmesh_supervisor.census import Census

HELP = """\
Returns when the mesh is quiet: every running peer has received all that was said, no wake is queued
or acted on, no call is in flight and nothing waits to be sent, twice in a row. Peers that are
stopped, killed, parked or ended don't count. One that waits for money (its cap a run, an hour or a
day) counts as quiet, and is named: no work goes on until the money is there."""
EXAMPLE = 'xmesh-sup observe "…" && xmesh-sup wait --timeout 60'
EXITS = "0 quiet; 1 not within --timeout; 2 wrong usage; 3 nothing runs here"

GAP_S = 0.15
_UNDER_WAY = frozenset({"starting", "stopping", "backoff"})
_ENDED_BADLY = frozenset({"parked", "final"})


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the mesh: what goes on, what is worth a word, and where the journal ends."""

    busy: tuple[str, ...]
    notes: tuple[str, ...]
    head: tuple[str, int] | None


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", metavar="S", type=float, help="seconds to wait at most (no limit)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    if args.timeout is not None and not 0 <= args.timeout < float("inf"):
        raise UsageError("--timeout takes seconds, from 0 on")
    root = RuntimeDir.from_env()
    begun_s = time.monotonic()
    before: Look | None = None
    while True:
        now = look(root)
        waited_s = time.monotonic() - begun_s
        if before is not None and is_quiet(before, now):
            return _report(now, waited_s, quiet=True, as_json=args.json)
        if args.timeout is not None and waited_s >= args.timeout:
            return _report(now, waited_s, quiet=False, as_json=args.json)
        _progress(now, waited_s)
        before = now
        time.sleep(GAP_S)


def is_quiet(before: Look, now: Look) -> bool:
    """Two looks in a row with nothing going on, and nothing said between them."""
    return not before.busy and not now.busy and before.head == now.head


def look(root: RuntimeDir) -> Look:
    """Look at the bus first and at the peers then: what the bus has delivered shows there.

    SupervisorAway where neither a bus nor a peer runs.
    """
    from xmesh_supervisor import census, client
    from xmesh_supervisor.operator import bus_status

    bus = bus_status(root)
    taken = census.take(root)
    if taken.supervised:
        return assess(_states(taken), bus)
    sockets = {path.stem: path for path in root.root.glob("*.sock")}
    peers = {name: path for name, path in sockets.items() if name not in RESERVED_NAMES}
    answers = client.ask_peers(peers, "status")
    if bus is None and not answers:
        raise client.away(root)
    return assess({name: ("running", status) for name, status in answers.items()}, bus)


def _states(taken: "Census") -> dict[str, tuple[str, Mapping[str, Any]]]:
    return {entry.name: (entry.state, entry.status) for entry in taken.entries}


def assess(peers: Mapping[str, tuple[str, Mapping[str, Any]]], bus: "StatusReply | None") -> Look:
    """Return what goes on, from every peer's (state, own status) and the bus's status."""
    pending = {m.node_id: m.pending for m in bus.members} if bus else {}
    busy: list[str] = [] if bus else ["the bus does not answer"]
    notes: list[str] = []
    for name, (state, status) in peers.items():
        if state in _UNDER_WAY:
            busy.append(f"{name} is {state}")
        elif state in _ENDED_BADLY:
            notes.append(f"{name} is {state} (xmesh-sup why {name})")
        elif state == "running" and not status:
            busy.append(f"{name} does not answer")
        elif state == "running":
            busy += _work(name, status, pending.get(status.get("node_id", "")))
            notes += _remarks(name, status)
    return Look(tuple(busy), tuple(notes), (bus.epoch, bus.head) if bus else None)


def _work(name: str, status: Mapping[str, Any], pending: int | None) -> Iterator[str]:
    wakes = status.get("wakes") or {}
    if _waits_for_budget(status):
        wakes = {}
    elif status.get("state") != "asleep":
        yield f"{name} is {status.get('state')}" + _because(status)
    if wakes.get("queued") or wakes.get("running"):
        yield f"{name} has {wakes.get('queued', 0) + wakes.get('running', 0)} wakes to act on"
    if status.get("outbox"):
        yield f"{name} has {status['outbox']} records to send"
    if pending is None:
        yield f"{name} has not joined the bus"
    elif pending:
        yield f"{name} has {pending} records to receive"


def _remarks(name: str, status: Mapping[str, Any]) -> Iterator[str]:
    if _waits_for_budget(status):
        yield f"{name} waits for its budget, not for work: {status['note']}"
    if status.get("held"):
        yield f"{name} has {status['held']} records that wait for a person"


def _waits_for_budget(status: Mapping[str, Any]) -> bool:
    return status.get("state") == "deferred" and status.get("waits_for") == "budget"


def _because(status: Mapping[str, Any]) -> str:
    return f" ({status['note']})" if status.get("note") else ""


def _progress(now: Look, waited_s: float) -> None:
    """Keep one line of a terminal up to date."""
    from xmesh_supervisor.operator import brief

    if sys.stderr.isatty():
        text = brief("; ".join(now.busy) or "looking a second time", 100)
        sys.stderr.write(f"\r\x1b[K{duration(waited_s)}  {text}")
        sys.stderr.flush()


def _report(now: Look, waited_s: float, *, quiet: bool, as_json: bool) -> int:
    from xmesh_supervisor.operator import visible, write_json

    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    if as_json:
        rounded = round(waited_s, 3)
        write_json({"quiet": quiet, "waited_s": rounded, "busy": now.busy, "notes": now.notes})
        return 0 if quiet else 1
    goes_on = "; ".join(now.busy) or "it was quiet only once"
    head = "quiet" if quiet else f"not quiet: {visible(goes_on)}"
    write(f"{head}  (after {duration(waited_s)})")
    for note in now.notes:
        write(f"  {visible(note)}")
    return 0 if quiet else 1
