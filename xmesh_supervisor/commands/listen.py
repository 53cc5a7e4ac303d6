"""xmesh-sup listen"""

import argparse
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xmesh_mesh.errors import RecordError, SignatureError, UsageError
from xmesh_mesh.paths import RuntimeDir, check_group
from xmesh_supervisor.output import short, write

if TYPE_CHECKING:
    from pathlib import Path

    from xmesh_mesh.bus.inbox import Delivery
    from xmesh_mesh.introduction import Introduction
    from xmesh_mesh.pins import Pins
    from xmesh_mesh.record import Record

HELP = """\
Shows what is said in a group, as it is said: every record, those for one peer included, each
verified with its author's key before it is shown, or marked as unsigned where a node of another
host speaks without a key. Without --group: all groups that there are.
Where no bus runs, listen brings one of its own for as long as it lasts, so that two terminals are
enough to try the wire: listen in one, observe in the other. Ctrl-C ends it."""
EXAMPLE = "xmesh-sup listen --since 0 -n 10"
EXITS = "0 ended by Ctrl-C or -n; 1 it failed; 2 wrong usage"

_CONNECT_S = 10.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--group", metavar="G", action="append", help="a group; may be repeated")
    parser.add_argument(
        "--since", metavar="SEQ", type=int, help="begin after this place in the journal (0: all)"
    )
    parser.add_argument("-n", "--count", metavar="N", type=int, help="end after N records")
    parser.add_argument("--json", action="store_true", help="JSON lines")


def run(args: argparse.Namespace) -> int:
    import asyncio

    from xmesh_supervisor.operator import bus_status, groups_here

    if (args.since or 0) < 0 or (args.count is not None and args.count < 1):
        raise UsageError("--since takes a number from 0 on, -n one from 1 on")
    root = RuntimeDir.from_env().ensure()
    named = [check_group(group, where="--group") for group in args.group or []]
    bus = bus_status(root)
    groups = list(dict.fromkeys(named)) or groups_here(root, bus)
    with contextlib.suppress(KeyboardInterrupt), _own_bus(root, wanted=bus is None):
        sys.stderr.write(f"listening to {', '.join(groups)}; Ctrl-C ends\n")
        asyncio.run(_listen(root, groups, args.since, Printer(args.count, as_json=args.json)))
    return 0


@contextlib.contextmanager
def _own_bus(root: RuntimeDir, *, wanted: bool) -> Iterator[None]:
    """Have a bus for as long as this lasts; a supervisor that comes up later replaces it."""
    if not wanted:
        yield
        return
    process = _start_bus(root)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _start_bus(root: RuntimeDir) -> subprocess.Popen[bytes]:
    """Start a bus that dies with this process and carries the root's tag; wait for neither."""
    import os

    from xmesh_mesh.child import PARENT
    from xmesh_supervisor.infrastructure import BUS, COMMANDS
    from xmesh_supervisor.processes import child_environment

    sys.stderr.write("no bus runs here, so listen brings one; it ends with listen\n")
    env = child_environment(os.environ, root=root.root, name=BUS, keys=frozenset(), own={})
    log = root.log(BUS)
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            COMMANDS[BUS],
            env={**env, PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


async def _listen(
    root: RuntimeDir, groups: list[str], since: int | None, printer: "Printer"
) -> None:
    import asyncio

    tasks = [asyncio.create_task(_follow(root, group, since, printer)) for group in groups]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(root: RuntimeDir, group: str, since: int | None, printer: "Printer") -> None:
    """Print what is said in one group until the printer has enough."""
    from xmesh_mesh.bus.tail import tail
    from xmesh_mesh.introduction import Introduction

    checker = Checker(group, root.pins(group) / "pins.json")
    stream = tail(root.bus_socket, group, since=since, timeout_s=_CONNECT_S)
    async with contextlib.aclosing(stream) as items:
        async for item in items:
            if isinstance(item, Introduction):
                checker.meet(item)
            elif printer.show(group, item, checker):
                return


@dataclass
class Checker:
    """Believes a record of ``group`` only when its introduced author has signed it.

    A key that differs from the one that this host's peers have pinned is refused as they do.
    """

    group: str
    pins_path: "Path"
    _known: "dict[str, tuple[Introduction, bytes | None]]" = field(default_factory=dict)

    def meet(self, introduction: "Introduction") -> None:
        from xmesh_mesh.introduction import check_introduction, check_remote

        check = check_remote if introduction.origin == "remote" else check_introduction
        with contextlib.suppress(RecordError):
            self._known[introduction.node_id] = (introduction, check(introduction))

    def check(self, delivery: "Delivery") -> "Record":
        """Return the record; RecordError says what is wrong with it."""
        from xmesh_mesh.record import decode
        from xmesh_mesh.signing import assertion_id

        if delivery.author not in self._known:
            raise SignatureError("unknown-author", "its author has not been introduced")
        introduction, key = self._known[delivery.author]
        record = decode(delivery.record)
        self._verify(record, introduction, key)
        if (record.created_by, record.group) != (introduction.name, self.group):
            raise SignatureError("wrong-author", "its author or group is not the introduced one")
        if assertion_id(record) != delivery.assertion:
            raise SignatureError("wrong-assertion", "it is not the record that the bus names")
        return record

    def _verify(self, record: "Record", introduction: "Introduction", key: bytes | None) -> None:
        from xmesh_mesh.signing import check_unsigned, verify

        pins, author = self._pins(), introduction.node_id
        pinned = pins.key(author)
        if pinned is not None and key not in {None, pinned}:
            raise SignatureError("key-changed", "its author's key is not the pinned one")
        known = key or pinned
        silent = introduction.origin == "remote" and not pins.has_signed(author)
        if known is None or (record.sig is None and silent):
            check_unsigned(record)
        else:
            verify(record, known)

    def author(self, node_id: str) -> str:
        """Return how an author is shown."""
        from xmesh_supervisor.operator import author_shown, visible

        if node_id not in self._known:
            return visible(node_id)
        introduction, _ = self._known[node_id]
        home = node_id if introduction.origin == "local" else ""
        return author_shown(introduction.name, node_id, home)

    def _pins(self) -> "Pins":
        from xmesh_mesh.pins import Pins

        return Pins(self.pins_path)


@dataclass
class Printer:
    """Shows records, as text or as JSON lines, and counts them; ``limit`` None is no limit."""

    limit: int | None
    as_json: bool
    _shown: int = 0

    def show(self, group: str, delivery: "Delivery", checker: Checker) -> bool:
        """Print one delivery; return whether that was the last one wanted."""
        try:
            record, refused = checker.check(delivery), ""
        except RecordError as error:
            record, refused = None, f"{error.code}: {error}"
        if self.as_json:
            self._as_json(group, delivery, record, refused)
        elif record is None:
            self._refused(delivery, checker, refused)
        else:
            self._as_text(delivery, record, checker)
        self._shown += 1
        return self._shown == self.limit

    def _as_json(
        self, group: str, delivery: "Delivery", record: "Record | None", refused: str
    ) -> None:
        from xmesh_supervisor.operator import record_json, write_json

        signed = {"signed": record.sig is not None, **record_json(record)} if record else {}
        value: dict[str, Any] = {
            "seq": delivery.seq,
            "group": group,
            "node_id": delivery.author,
            "assertion": delivery.assertion,
            "accepted_ms": delivery.accepted_ms,
            "refused": refused or None,
        }
        write_json({**value, **signed}, one_line=True)

    def _refused(self, delivery: "Delivery", checker: Checker, refused: str) -> None:
        from xmesh_supervisor.operator import clock, visible

        who = checker.author(delivery.author)
        head = f"{clock(delivery.accepted_ms)}  #{delivery.seq}  {who}"
        write(f"{head}  REFUSED, not shown: {visible(refused)}")

    def _as_text(self, delivery: "Delivery", record: "Record", checker: Checker) -> None:
        from xmesh_supervisor.operator import clock, visible

        parents = ", ".join(short(key) for key in record.all_parents()[:3])
        answers = f"  answers {parents}" if parents else ""
        to = f"  to {visible(record.to)[:13]}" if record.to else ""
        who = f"{checker.author(delivery.author)}  {short(record.key)}"
        mark = "" if record.sig else "  UNSIGNED"
        write(f"{clock(delivery.accepted_ms)}  #{delivery.seq}  {who}{answers}{to}{mark}")
        for name, text in record.spoken().items():
            write(f"    {name:<11} {visible(text)}")
