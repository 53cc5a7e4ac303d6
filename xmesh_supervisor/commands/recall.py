"""xmesh-sup recall"""

import argparse
import sys
import time
from typing import TYPE_CHECKING

from xmesh_mesh.errors import BusError, RecordError, StoreError, UsageError
from xmesh_mesh.paths import OPERATOR, FileLock, RuntimeDir
from xmesh_supervisor.output import short, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xmesh_mesh.admission import Candidate, Surroundings, Verdict
    from xmesh_mesh.bus.client import BusClient
    from xmesh_mesh.bus.frames import StatusReply
    from xmesh_mesh.identity import Identity
    from xmesh_mesh.introduction import Introduction
    from xmesh_mesh.memory import Memory, Remembered
    from xmesh_mesh.node import Node

HELP = """\
Searches for records in which every word of TEXT occurs, best first. With --peer: in that peer's
memory, which is only read. Else in the operator's own memory, after it has caught up with what was
said to the group since the last recall; the first recall begins with all that the bus still has
(a week, or 200,000 records). What was said to one peer only is in that peer's memory alone."""
EXAMPLE = 'xmesh-sup recall "rate limit" --peer reviewer-01'
EXITS = "0 something was found; 1 nothing was, or it failed; 2 wrong usage"

LOCK_S = 10.0
IDLE_S = 10.0
_PROGRESS_S = 1.0
_ANEW = ("anew", 0)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", help="words to look for")
    parser.add_argument("--peer", metavar="NAME", help="search this peer's memory instead")
    parser.add_argument("--limit", metavar="N", type=int, default=20, help="at most so many (20)")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    import contextlib

    from xmesh_supervisor.operator import memory_of

    if args.limit < 1 or not args.text.strip():
        raise UsageError("recall takes at least one word, and --limit a number from 1 on")
    root = RuntimeDir.from_env().ensure()
    if args.peer in {None, OPERATOR}:
        found = _from_own(root, args.text, args.limit)
    else:
        with contextlib.closing(memory_of(root, args.peer)) as memory:
            found = memory.recall(args.text, args.limit)
    _show(found, as_json=args.json)
    return 0 if found else 1


def _from_own(root: RuntimeDir, text: str, limit: int) -> "list[Remembered]":
    """Bring the operator's memory up to date, as far as a bus lets it, and search it."""
    import contextlib

    from xmesh_mesh.memory import Memory
    from xmesh_supervisor.operator import bus_status, groups_here

    lock = FileLock(root.node_lock(OPERATOR))
    _acquire(lock)
    try:
        with contextlib.closing(Memory.open(root.memory(OPERATOR))) as memory:
            bus = bus_status(root)
            if bus is None:
                sys.stderr.write("no bus answers: this is what the operator has heard before\n")
            for group in groups_here(root, bus) if bus else []:
                _catch_up(root, memory, group)
            return memory.recall(text, limit)
    finally:
        lock.release()


def _acquire(lock: FileLock) -> None:
    deadline = time.monotonic() + LOCK_S
    while not lock.acquire(name=OPERATOR):
        if time.monotonic() > deadline:
            raise StoreError(
                f"another recall has been at work for {LOCK_S:g} s, pid {lock.holder().get('pid')}",
                where=str(lock.path),
                fix="wait for it, or end that process",
            )
        time.sleep(0.02)


def _catch_up(root: RuntimeDir, memory: "Memory", group: str) -> None:
    import asyncio

    try:
        asyncio.run(CatchUp(root, memory, group).run())
    except BusError as error:
        sys.stderr.write(f"not up to date with {group}: {error}\n")


class CatchUp:
    """The operator as a member of one group for a moment: it takes in what it has missed."""

    def __init__(self, root: RuntimeDir, memory: "Memory", group: str) -> None:
        from xmesh_mesh.identity import load_or_create

        self._root = root
        self._memory = memory
        self._group = group
        self._identity: Identity = load_or_create(root.identity(OPERATOR), OPERATOR)
        self._node: Node = _node(root, self._identity, group, memory)

    async def run(self) -> None:
        """Join, take in everything up to now, leave. BusError where that does not work out."""
        from xmesh_mesh.bus.client import BusClient
        from xmesh_mesh.introduction import introduce
        from xmesh_supervisor.operator import IMPLEMENTATION, bus_status

        introduction = introduce(
            self._identity, self._group, implementation=IMPLEMENTATION, now_ms=_now_ms()
        )
        client = BusClient(
            self._root.bus_socket,
            introduction,
            position=self._position,
            own=True,
            on_introduced=self._meet,
        )
        welcome = await client.connect(IDLE_S)
        try:
            bus = bus_status(self._root)
            await self._take_in(client, _pending(bus, self._identity.node_id), welcome.head)
        finally:
            await client.close()

    def _position(self) -> tuple[str, int]:
        """Return where this group stands. The bus knows a node in one group at a time, so another
        group begins anew; what is here already is recognised."""
        same = self._memory.meta("group") == self._group
        return (self._memory.position() if same else None) or _ANEW

    def _meet(self, member: "Introduction") -> None:
        try:
            self._node.meet(member)
        except RecordError as error:
            sys.stderr.write(f"an introduction is refused: {error.code}\n")

    async def _take_in(self, client: "BusClient", pending: int, head: int) -> None:
        """Store ``pending`` deliveries, or those up to ``head``, whichever ends first."""
        import asyncio

        told_s = time.monotonic()
        for count in range(pending):
            try:
                async with asyncio.timeout(IDLE_S):
                    delivery = await anext(client.deliveries())
            except TimeoutError:
                raise BusError(f"the bus fell silent; {pending - count} are missing") from None
            with self._memory.transaction():
                self._node.receive(
                    delivery.author, delivery.record, seq=delivery.seq, now_ms=_now_ms(),
                    may_wake=False,
                )  # fmt: skip
                self._memory.advance(delivery.epoch, delivery.seq)
                self._memory.set_meta("group", self._group)
            client.ack(delivery.seq)
            if time.monotonic() - told_s > _PROGRESS_S:
                told_s = time.monotonic()
                sys.stderr.write(f"catching up with {self._group}: {count + 1} of {pending}\n")
            if delivery.seq >= head:
                return


def _pending(bus: "StatusReply | None", node_id: str) -> int:
    return next((m.pending for m in bus.members if m.node_id == node_id), 0) if bus else 0


def _node(root: RuntimeDir, identity: "Identity", group: str, memory: "Memory") -> "Node":
    from xmesh_mesh.node import Node
    from xmesh_mesh.pins import Pins
    from xmesh_mesh.record import FIELDS

    weights = dict.fromkeys(FIELDS, 1.0)
    pins = Pins(root.pins(group) / "pins.json")
    return Node(identity, group, memory, pins, "", weights, judge=hear_everything)


def hear_everything(_: "Candidate", __: "Surroundings") -> "Verdict":
    """Admit whatever is verified: a person judges for himself."""
    from xmesh_mesh.admission import Verdict
    from xmesh_mesh.svaf import Drift

    return Verdict(
        decision="aligned",
        admitted=True,
        drift=0.0,
        bar=1.0,
        affinity=1.0,
        per_field={},
        reference=Drift("aligned", 0.0, None, ()),
        reasons=("the operator hears everything",),
        mood="",
    )


def _show(found: "Sequence[Remembered]", *, as_json: bool) -> None:
    from xmesh_supervisor.operator import brief, clock, record_json, visible, write_json

    if as_json:
        write_json([
            {"assertion": entry.assertion, "thread": entry.thread, **record_json(entry.record)}
            for entry in found if entry.record
        ])  # fmt: skip
        return
    for entry in found:
        write(f"{clock(entry.created_ms)}  {visible(entry.created_by)}  {short(entry.key)}")
        for name, text in (entry.record.spoken() if entry.record else {}).items():
            write(f"    {name:<11} {brief(text)}")
    if not found:
        sys.stderr.write("nothing found\n")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
