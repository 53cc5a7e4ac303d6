"""A bus process, and members of it that are processes of their own."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from bench_parts.figures import BenchError
from bench_parts.speaker import introduction, node, now_ms
from xmesh_mesh import child
from xmesh_mesh.bus.client import BusClient, Delivery
from xmesh_mesh.node import Node
from xmesh_mesh.paths import RuntimeDir

_BUS = (sys.executable, "-m", "xmesh_mesh.bus.broker")
_ANSWERS_WITHIN_S = 60


@contextmanager
def bus(root: RuntimeDir) -> Iterator[None]:
    """Run a bus that is ready; it dies with the bench."""
    reader, writer = os.pipe()
    own = {"XMESH_RUNTIME_DIR": str(root.root), child.READY_FD: str(writer)}
    process = subprocess.Popen(
        _BUS,
        env={**os.environ, **own, child.PARENT: str(os.getpid())},
        pass_fds=(writer,),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as pipe:
            if not pipe.readline():
                raise BenchError(f"the bus did not come up: exit {process.wait()}")
        yield
    finally:
        process.kill()
        process.wait()


class Member:
    """A member in a process. ``stored`` says when (wall, ns) it was done with each record."""

    def __init__(self, root: RuntimeDir, name: str, count: int, *, stores: bool) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawning.Pipe()
        self._process = spawning.Process(
            target=_member_main,
            args=(theirs, str(root.root), name, count, stores, os.getpid()),
            daemon=True,
        )
        self._process.start()
        theirs.close()

    def joined(self) -> None:
        self._receive()

    def stored(self) -> list[int]:
        return self._receive()

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _receive(self) -> list[int]:
        if not self._pipe.poll(_ANSWERS_WITHIN_S):
            raise BenchError(f"a member of the bus said nothing for {_ANSWERS_WITHIN_S} s")
        try:
            found: list[int] = self._pipe.recv()
        except EOFError:
            raise BenchError("a member of the bus ended early") from None
        return found


@contextmanager
def members(
    root: RuntimeDir, how_many: int, records: int, *, stores: bool
) -> Iterator[list[Member]]:
    """Yield members that have joined and expect so many records each."""
    with ExitStack() as stack:
        found = []
        for number in range(how_many):
            member = Member(root, f"member-{number}", records, stores=stores)
            stack.callback(member.close)
            found.append(member)
        for member in found:
            member.joined()
        yield found


def _member_main(
    pipe: "Connection[list[int], list[int]]",
    root: str,
    name: str,
    count: int,
    stores: bool,
    parent: int,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the bench itself ends its members
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ[child.PARENT] = str(parent)
    child.die_with_parent()
    with node(Path(root) / "bench", name) as own:
        asyncio.run(_live(pipe, RuntimeDir(Path(root)), own, count, stores))


async def _live(
    pipe: "Connection[list[int], list[int]]",
    root: RuntimeDir,
    own: Node,
    count: int,
    stores: bool,
) -> None:
    client = BusClient(root.bus_socket, introduction(own.identity), on_introduced=own.meet)
    use = _storing(own) if stores else _nothing
    await client.connect()
    pipe.send([])
    stored = []
    async for delivery in client.deliveries():
        use(delivery)
        stored.append(time.time_ns())
        client.ack(delivery.seq)
        if len(stored) == count:
            break
    pipe.send(stored)
    await client.close()


def _nothing(_delivery: Delivery) -> None:
    """A member that keeps nothing: what the bus alone can do."""


def _storing(own: Node) -> Callable[[Delivery], None]:
    def store(delivery: Delivery) -> None:
        with own.memory.transaction():
            own.receive(delivery.author, delivery.record, seq=delivery.seq, now_ms=now_ms())
            own.memory.advance(delivery.epoch, delivery.seq)

    return store
