"""Proxies between a gateway and the world: they keep what passes, and fail when told to."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any, Self

from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from xmesh_mesh.gateway.registry import Entry, Registry
from xmesh_mesh.identity import Identity
from xmesh_mesh.relay.access import Access
from xmesh_mesh.relay.service import RelayServer


class RelayTap:
    """A relay behind a proxy that keeps every message, and can cut all connections."""

    def __init__(self, token: str = "") -> None:
        self.relay = RelayServer(Access.from_env({"SYM_RELAY_TOKEN": token}), lambda *_, **__: None)
        self.messages: list[dict[str, Any]] = []
        self.sockets: set[ServerConnection] = set()
        self.url = ""
        self._server: Server | None = None

    async def __aenter__(self) -> Self:
        self._port = await self.relay.start("127.0.0.1", 0)
        self._server = await serve(self._proxy, "127.0.0.1", 0, compression=None, max_size=2**22)
        self.url = f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        await self.relay.drain()

    def cut(self) -> None:
        """End every connection without a word."""
        for socket in list(self.sockets):
            socket.transport.abort()

    def payloads(self, kind: str) -> list[dict[str, Any]]:
        found = (message.get("payload") for message in self.messages)
        return [each for each in found if each and each.get("type") == kind]

    async def _proxy(self, client: ServerConnection) -> None:
        self.sockets.add(client)
        try:
            async with connect(
                f"ws://127.0.0.1:{self._port}", compression=None, max_size=2**22
            ) as upstream:
                await asyncio.gather(self._pump(client, upstream), self._pump(upstream, client))
        except ConnectionClosed:
            pass
        finally:
            self.sockets.discard(client)

    async def _pump(self, one: Any, other: Any) -> None:
        try:
            async for text in one:
                self.messages.append(json.loads(text))
                await other.send(text)
        except ConnectionClosed:
            pass
        await other.close(one.close_code or 1000)


class TcpTap:
    """A cable to one port. ``freeze``: nothing passes any more, and nobody is told."""

    def __init__(self) -> None:
        self.port = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def to(self, port: int) -> Self:
        self._target = port
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def register(self, home: Path, identity: Identity, group: str = "lab") -> None:
        """Say in the registry of ``home`` that a node of ours is at the near end of the cable."""
        entry = Entry(
            node_id=identity.node_id,
            name=identity.name,
            port=self.port,
            secure_port=self.port,
            pid=os.getpid(),
            service_type=f"_{group}._tcp",
            ts=time.time() * 1_000,
        )
        Registry(home).write(entry)

    def freeze(self) -> None:
        self._flowing.clear()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, far_writer]
        for one, other in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(one, other))
            self._tasks.add(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()
