"""The supervisor's socket: one JSON object a line in, some lines out, from a closed table.

Each answer is any number of ``{"peer", "state", "text"}`` lines (progress) and one last line with
``"ok"``: true with the result, or false with ``error`` and ``fix``. Whatever is sent, and however
slowly, ends that connection at most. Only the own user is listened to.
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from xmesh_mesh.errors import SupervisorError, XmeshError
from xmesh_supervisor.child import Child
from xmesh_supervisor.events import FleetEvent
from xmesh_supervisor.fleet import Fleet
from xmesh_supervisor.infrastructure import settled
from xmesh_supervisor.lifecycle import ALIVE, State
from xmesh_supervisor.spec import Spec

__all__ = ["Control", "Host"]

MAX_LINE = 8 * 1024 * 1024
MAX_CLIENTS = 64
PATIENCE_S = 10.0
SETTLE_S = 60.0
_MAX_PEERS = 1_000
_QUEUE = 1_000

Lines = AsyncGenerator[dict[str, Any], None]


class _Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="cmd"):
    pass


class Apply(_Command, frozen=True, tag="apply"):
    """``keys``: peer → variable → value. ``wait``: answer when all have come up, or have not."""

    specs: list[Spec]
    keys: dict[str, dict[str, str]] = {}
    replace: bool = True
    wait: bool = False


class Start(_Command, frozen=True, tag="start"):
    names: list[str]


class Stop(_Command, frozen=True, tag="stop"):
    names: list[str]


class Restart(_Command, frozen=True, tag="restart"):
    names: list[str]


class Buried(_Command, frozen=True, tag="buried"):
    """A tombstone was written for these."""

    names: list[str]


class Down(_Command, frozen=True, tag="down"):
    pass


class Status(_Command, frozen=True, tag="status"):
    pass


class Events(_Command, frozen=True, tag="events"):
    pass


_Any = Apply | Start | Stop | Restart | Buried | Down | Status | Events
_DECODER = msgspec.json.Decoder(_Any)


class Host(Protocol):
    """The process around the fleet."""

    fleet: Fleet
    closed: asyncio.Event

    def shut(self, *, end_run: bool) -> None:
        """Begin to end everything; ``closed`` is set when that is done."""

    def about(self) -> dict[str, Any]:
        """Return what ``status`` says of the supervisor itself."""


class Control:
    """Serves ``host`` on a Unix socket. Whoever opens it holds the root's lock."""

    def __init__(self, host: Host, path: Path) -> None:
        self._host = host
        self._path = path
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, self._path, limit=MAX_LINE)
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Let those finish who wait for this very end, then hang up on everybody."""
        if self._server is None:
            return
        self._server.close()
        if self._clients:
            await asyncio.wait(self._clients, timeout=0.2)
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if _is_own_user(writer) and len(self._clients) <= MAX_CLIENTS:
                await self._serve(reader, writer)
        except (TimeoutError, ConnectionError, ValueError, asyncio.CancelledError):
            pass  # too slow, gone, a line over the limit, or we are closing: hang up
        finally:
            self._clients.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(PATIENCE_S):
            line = await reader.readline()
        if not line.endswith(b"\n"):
            return
        async with contextlib.aclosing(self._answer(line)) as answer:
            async for item in answer:
                writer.write(json.dumps(item, ensure_ascii=False).encode() + b"\n")
                async with asyncio.timeout(PATIENCE_S):
                    await writer.drain()

    async def _answer(self, line: bytes) -> Lines:
        try:
            command = _DECODER.decode(line)
            async for item in _TABLE[type(command)](self._host, command):
                yield item
        except (msgspec.DecodeError, RecursionError) as error:
            # No part of the line is quoted: it may carry keys.
            kind = "not what this supervisor understands"
            detail = str(error) if isinstance(error, msgspec.ValidationError) else "no JSON"
            yield {"ok": False, "error": f"{kind}: {detail}", "fix": "use the xmesh-sup it is of"}
        except XmeshError as error:
            yield {"ok": False, "error": error.what, "where": error.where, "fix": error.fix}


def _is_own_user(writer: asyncio.StreamWriter) -> bool:
    """Ask the kernel who is at the other end, where it tells (Linux); else trust the modes."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    peer = writer.get_extra_info("socket")
    data = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", data)[1]
    return uid in {os.getuid(), 0}


async def _apply(host: Host, command: Apply) -> Lines:
    if len(command.specs) > _MAX_PEERS:
        raise SupervisorError(f"more than {_MAX_PEERS} peers on one host")
    done = await host.fleet.apply(command.specs, command.keys, replace=command.replace)
    for name, change in done.items():
        text = change
        if change == "killed":
            text = host.fleet.sentence(host.fleet.peer(name).child)
        yield {"peer": name, "state": change, "text": text}
    ok = True
    if command.wait:
        children = [host.fleet.peer(spec.name).child for spec in command.specs]
        async for line in _settling(children, settled, {State.RUNNING}):
            ok = ok and line["good"]
            yield line
    yield {"ok": True, "all": ok, "done": done}


async def _start(host: Host, command: Start) -> Lines:
    children = _children(host, command.names, host.fleet.start)
    async for line in _finish(children, settled, {State.RUNNING}):
        yield line


async def _restart(host: Host, command: Restart) -> Lines:
    children = _children(host, command.names, host.fleet.restart)
    async for line in _finish(children, settled, {State.RUNNING}):
        yield line


async def _stop(host: Host, command: Stop) -> Lines:
    children = _children(host, command.names, host.fleet.stop)
    resting = {State.STOPPED, State.KILLED}
    async for line in _finish(children, _at_rest, resting):
        yield line


async def _buried(host: Host, command: Buried) -> Lines:
    children = _children(host, command.names, host.fleet.bury)
    async for line in _finish(children, _at_rest, {State.KILLED}):
        yield line


async def _down(host: Host, command: Down) -> Lines:  # noqa: ARG001 - as all in the table
    with _listening(host) as queue:
        host.shut(end_run=True)
        while not (host.closed.is_set() and queue.empty()):
            event = await _next_of(queue)
            if event is not None:
                yield _progress(event)
    yield {"ok": True}


async def _status(host: Host, command: Status) -> Lines:  # noqa: ARG001 - as all in the table
    yield {"ok": True, **host.about()}


async def _events(host: Host, command: Events) -> Lines:  # noqa: ARG001 - as all in the table
    with _listening(host) as queue:
        while True:
            yield _progress(await queue.get())


_TABLE: dict[type[_Command], Callable[[Host, Any], Lines]] = {
    Apply: _apply,
    Start: _start,
    Stop: _stop,
    Restart: _restart,
    Buried: _buried,
    Down: _down,
    Status: _status,
    Events: _events,
}


def _children(host: Host, names: Iterable[str], act: Callable[[str], Child]) -> list[Child]:
    """Act on all of ``names``, or on none where one is unknown."""
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        host.fleet.peer(name)
    return [act(name) for name in wanted]


def _at_rest(child: Child) -> bool:
    return child.state not in ALIVE


async def _finish(
    children: list[Child],
    reached: Callable[[Child], bool],
    good: set[State],
) -> Lines:
    ok = True
    async for line in _settling(children, reached, good):
        ok = ok and line["good"]
        yield line
    yield {"ok": True, "all": ok}


async def _settling(
    children: list[Child],
    reached: Callable[[Child], bool],
    good: set[State],
) -> Lines:
    """Yield a line for each child as it arrives; what has not within a minute, as it is."""
    waiting = {asyncio.ensure_future(_arrive(child, reached)) for child in children}
    try:
        for next_one in asyncio.as_completed(waiting):
            child = await next_one
            yield {
                "peer": child.name,
                "state": str(child.state),
                "text": child.env.sentence(child),
                "good": child.state in good,
            }
    finally:
        for task in waiting:
            task.cancel()


async def _arrive(child: Child, reached: Callable[[Child], bool]) -> Child:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_S + child.limits.stop_s):
            await child.until(reached)
    return child


@contextlib.contextmanager
def _listening(host: Host) -> "Iterator[asyncio.Queue[FleetEvent]]":
    """Give a queue of what happens from now on; it forgets the oldest when nobody reads."""
    queue: asyncio.Queue[FleetEvent] = asyncio.Queue(_QUEUE)

    def put(event: FleetEvent) -> None:
        if queue.full():
            queue.get_nowait()
        queue.put_nowait(event)

    host.fleet.listeners.add(put)
    try:
        yield queue
    finally:
        host.fleet.listeners.remove(put)


async def _next_of(queue: "asyncio.Queue[FleetEvent]") -> FleetEvent | None:
    try:
        async with asyncio.timeout(0.02):
            return await queue.get()
    except TimeoutError:
        return None


def _progress(event: FleetEvent) -> dict[str, Any]:
    return {"peer": event.peer, "state": event.kind, "text": event.text, "at_ms": event.at_ms}
