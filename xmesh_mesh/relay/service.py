"""The sockets and the clock around the relay's core: one asyncio server, two tasks a client."""

import asyncio
import contextlib
import itertools
import json
from collections import deque
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Protocol, Self, cast

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from xmesh_mesh.relay.access import Access
from xmesh_mesh.relay.client_socket import Gate, Socket
from xmesh_mesh.relay.core import Relay
from xmesh_mesh.relay.door import Door
from xmesh_mesh.relay.effects import Abort, Close, Effect, Note, Send
from xmesh_mesh.relay.limits import Limits
from xmesh_mesh.relay.outbox import Closing, Outboxes
from xmesh_mesh.relay.throttle import now_ms

__all__ = ["RelayServer"]

# How many frames of a message, or small messages, are read ahead of their turn.
READ_AHEAD = 4


class Say(Protocol):
    """Writes a line to the log."""

    def __call__(self, level: str, event: str, text: str) -> None: ...


class RelayServer:
    """A relay on one TCP port. Used with ``async with``: leaving it drains and closes."""

    def __init__(
        self,
        access: Access,
        say: Say,
        *,
        limits: Limits | None = None,
        proxies: AbstractSet[str] = frozenset(),
    ) -> None:
        self._limits = limits = limits or Limits()
        self._say = say
        self._relay = Relay(access, limits)
        self._outboxes = Outboxes(limits.queue_bytes, limits.queues_bytes)
        door = Door(limits.connections, limits.per_address, proxies)
        self._gate = Gate(door, limits)
        self._numbers = itertools.count(1)
        self._links: dict[int, _Link] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._draining = False
        self._started_ms = now_ms()
        self._server: Server | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.drain()

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which is a free one where 0 was asked for. Raises OSError."""
        self._server = await serve(
            self._handle,
            host,
            port,
            process_request=self._answer,
            create_connection=cast("type[ServerConnection]", partial(Socket, self._gate)),
            # Deployed clients and relays do not compress; who cannot ask for it cannot bomb.
            compression=None,
            max_size=self._limits.login_bytes,
            max_queue=READ_AHEAD,
            open_timeout=self._limits.login_ms / 1_000,
            close_timeout=self._limits.closing_ms / 1_000,
            # The relay's own ping and pong are the keepalive of this protocol.
            ping_interval=None,
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def drain(self) -> None:
        """Let nobody in, send what waits, say goodbye, and end within ``closing_ms``."""
        if self._server is None:
            return
        self._draining = True
        self._server.close(close_connections=False)
        self._apply(self._relay.drain(now_ms()))
        linked = {link.socket for link in self._links.values()}
        for socket in self._gate.sockets - linked:
            socket.transport.abort()
        await self._server.wait_closed()
        if self._timer is not None:
            self._timer.cancel()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer plain HTTP; None goes on to a WebSocket, whatever the path."""
        if not cast("Socket", connection).is_welcome(request):
            return _response(HTTPStatus.TOO_MANY_REQUESTS, b"too many connections\n")
        if "Upgrade" in request.headers:
            return None
        if request.method == "GET" and request.path == "/health":
            return _response(HTTPStatus.OK, self._health(), "application/json")
        return _response(HTTPStatus.NOT_FOUND, b"nothing is here but /health and a WebSocket\n")

    def _health(self) -> bytes:
        uptime_s = (now_ms() - self._started_ms) // 1_000
        health = {"status": "ok", "connections": self._relay.connections, "uptime": uptime_s}
        return json.dumps(health).encode()

    async def _handle(self, connection: ServerConnection) -> None:
        if self._draining:
            return
        conn = next(self._numbers)
        link = self._links[conn] = _Link(cast("Socket", connection))
        self._outboxes.open(conn)
        self._relay.connected(conn, now_ms())
        self._arm()
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write(conn, link))
                await self._read(conn, link)
                writer.cancel()
        finally:
            del self._links[conn]
            self._outboxes.drop(conn)
            self._apply(self._relay.lost(conn, now_ms()))

    async def _read(self, conn: int, link: "_Link") -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                message = await link.socket.recv()
                self._apply(self._relay.received(conn, message, now_ms()))
                if not link.allowed and self._relay.is_member(conn):
                    link.allowed = True
                    link.socket.allow(self._limits.message_bytes)
                await self._put_off(conn, link)

    async def _put_off(self, conn: int, link: "_Link") -> None:
        wait_ms = self._relay.put_off_ms(conn, now_ms())
        if wait_ms:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(link.socket.wait_closed(), wait_ms / 1_000)

    async def _write(self, conn: int, link: "_Link") -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await link.ready.wait()
                link.ready.clear()
                while (item := self._outboxes.take(conn)) is not None:
                    if isinstance(item, Closing):
                        await link.socket.close(item.code, item.reason)
                        return
                    await link.socket.send(item, text=True)

    def _apply(self, effects: Sequence[Effect]) -> None:
        todo = deque(effects)
        while todo:
            match todo.popleft():
                case Send(to, data):
                    for conn in to:
                        todo.extend(self._put(conn, data))
                case Close(conn, code, reason):
                    self._outboxes.close(conn, Closing(code, reason))
                    self._wake(conn)
                case Abort(conn):
                    self._links[conn].socket.transport.abort()
                case Note(level, event, text):
                    self._say(level, event, text)
        self._arm()

    def _put(self, conn: int, data: bytes) -> list[Effect]:
        behind = self._outboxes.put(conn, data)
        self._wake(conn)
        return [] if behind is None else self._relay.slow(behind, now_ms())

    def _wake(self, conn: int) -> None:
        link = self._links.get(conn)
        if link is not None:
            link.ready.set()

    def _arm(self) -> None:
        """See to it that ``_tick`` comes when something is due."""
        due_ms = self._relay.due_ms
        if due_ms is None:
            return
        loop = asyncio.get_running_loop()
        due_s = loop.time() + (due_ms - now_ms()) / 1_000
        if self._timer is not None:
            if self._timer.when() <= due_s:
                return
            self._timer.cancel()
        self._timer = loop.call_at(due_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._apply(self._relay.tick(now_ms()))


class _Link:
    """A connection, and the bell for its writer."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.ready = asyncio.Event()
        self.allowed = False


def _response(status: HTTPStatus, body: bytes, kind: str = "text/plain") -> Response:
    headers = Headers(
        {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Connection": "close",
            # As deployed: a page elsewhere may show whether the relay is up.
            "Access-Control-Allow-Origin": "*",
        }
    )
    return Response(status, status.phrase, headers, body)
