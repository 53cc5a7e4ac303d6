"""One local peer on the LAN: two listeners, the dials that are due, and the same-host registry."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final

from xmesh_mesh.gateway.clock import now_ms, wall_ms
from xmesh_mesh.gateway.dialling import STABLE_MS, Prospects
from xmesh_mesh.gateway.endpoint import Endpoint, Say
from xmesh_mesh.gateway.link import Link
from xmesh_mesh.gateway.registry import EVERY_MS, Entry, Registry, is_alive, is_current, sighting_of
from xmesh_mesh.gateway.services import Sighting, group_type
from xmesh_mesh.gateway.sockets import Sockets
from xmesh_mesh.gateway.talk import Talk
from xmesh_mesh.gateway.talks import Talks
from xmesh_mesh.gateway.tcp import TcpWire

__all__ = ["Lan"]

CONNECT_S: Final = 10.0
SCANS_MS: Final = (0, 300, 1_200, 3_000)  # after the start; then every ``EVERY_MS``


class Lan:
    """``addresses``: where to listen; none is every address of the host, by IPv4."""

    def __init__(
        self,
        endpoint: Endpoint,
        talks: Talks,
        registry: Registry,
        sockets: Sockets,
        say: Say,
        local: Callable[[], frozenset[str]],
    ) -> None:
        self.port = 0
        self.secure_port = 0
        self._endpoint = endpoint
        self._talks = talks
        self._registry = registry
        self._sockets = sockets
        self._say = say
        self._local = local
        self._prospects = Prospects(endpoint.own.node_id)
        self._announced: dict[str, Sighting] = {}
        self._registered: dict[str, Sighting] = {}
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._scans = [now_ms() + after for after in SCANS_MS]
        self._told = False
        endpoint.on_lan = self._changed

    async def start(self, addresses: tuple[str, ...]) -> None:
        """Listen, and tell the registry; OSError where the ports cannot be had."""
        try:
            self.port = await self._listen(addresses, self._plain)
            self.secure_port = await self._listen(addresses, self._secure)
        except OSError:
            await self.stop()
            raise
        self._write_entry()

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        self._registry.remove(self._endpoint.own.node_id)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def tick(self) -> None:
        """Do what is due: the registry, and dials."""
        now = now_ms()
        if self._scans and now >= self._scans[0]:
            del self._scans[0]
            # All peers look at the same moment, so that the files are read once.
            self._scans = self._scans or [now - now % EVERY_MS + EVERY_MS]
            self._write_entry()
            self._scan()
        for sighting in self._prospects.due(now):
            self._spawn(self._dial(sighting))

    def announced(self, sighting: Sighting) -> None:
        """Multicast DNS has shown a node of the group."""
        self._announced[sighting.node_id] = sighting
        self._look_at(sighting.node_id)

    def withdrawn(self, node_id: str) -> None:
        self._announced.pop(node_id, None)
        self._look_at(node_id)

    def rivalled(self, sighting: Sighting) -> None:
        """Somebody announces our own node id. Only a proof of our key makes that a collision."""
        if sighting.secure_port not in {None, self.secure_port}:
            self._spawn(self._dial(sighting))

    # The registry

    def _write_entry(self) -> None:
        own = self._endpoint.own
        entry = Entry(
            node_id=own.node_id,
            name=own.name,
            port=self.port,
            pid=os.getpid(),
            service_type=group_type(own.group),
            ts=wall_ms(),
            secure_port=self.secure_port,
        )
        try:
            self._registry.write(entry)
        except OSError as error:
            if not self._told:
                self._say("warning", "registry", f"The same-host registry is of no use: {error}")
            self._told = True

    def _scan(self) -> None:
        entries = self._registry.entries(now_ms())
        group, now = self._endpoint.own.group, wall_ms()
        found = {e.node_id: sighting_of(e) for e in entries if is_current(e, group, now, is_alive)}
        changed = set(found) | set(self._registered)
        self._registered = found
        for node_id in changed:
            self._look_at(node_id)

    def _look_at(self, node_id: str) -> None:
        """Take up what is known of a node now; its own host's word comes first."""
        sighting = self._registered.get(node_id) or self._announced.get(node_id)
        if sighting is None:
            self._prospects.gone(node_id)
        elif node_id not in self._local():
            self._prospects.seen(sighting, now_ms())

    # Being dialled

    async def _listen(self, addresses: tuple[str, ...], talk: Callable[[], Talk]) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(TcpWire(reader, writer, outbound=False), talk())

        server = await asyncio.start_server(serve, addresses or ("0.0.0.0",), 0)  # noqa: S104
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def _plain(self) -> Talk:
        return self._talks.plain("lan", now_ms(), dialled=False)

    def _secure(self) -> Talk:
        return self._talks.secure("server", now_ms())

    async def _serve(self, wire: TcpWire, talk: Talk) -> None:
        seat = self._sockets.enter(wire.address.rpartition(":")[0])
        if seat is None:
            wire.close()
            return
        link = Link(wire, talk, self._endpoint, on_opened=seat.settle)
        try:
            await self._endpoint.run(link, wire.payloads())
        finally:
            seat.leave()

    # Dialling

    async def _dial(self, sighting: Sighting) -> None:
        node_id = sighting.node_id
        wire = await self._connect(sighting)
        if wire is None:
            self._prospects.dialled(node_id, now_ms(), failed=True)
            return
        link = Link(wire, self._talk_to(sighting), self._endpoint)
        try:
            await self._endpoint.run(link, wire.payloads())
        finally:
            self._prospects.dialled(node_id, now_ms(), failed=not _was_stable(link))

    def _talk_to(self, sighting: Sighting) -> Talk:
        if sighting.secure_port is not None:
            return self._talks.secure("client", now_ms(), expected=sighting.node_id)
        return self._talks.plain("lan", now_ms(), dialled=True, expected=sighting.node_id)

    async def _connect(self, sighting: Sighting) -> TcpWire | None:
        port = sighting.secure_port or sighting.port
        for address in sighting.addresses:
            try:
                async with asyncio.timeout(CONNECT_S):
                    reader, writer = await asyncio.open_connection(address, port)
            except (OSError, TimeoutError):
                continue
            return TcpWire(reader, writer, outbound=True)
        return None

    def _changed(self, node_id: str, has_link: bool, mute: bool) -> None:
        if has_link:
            self._prospects.linked(node_id)
        else:
            self._prospects.lost(node_id, now_ms(), mute=mute)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _was_stable(link: Link) -> bool:
    return link.opened_ms is not None and now_ms() - link.opened_ms >= STABLE_MS
