"""Those who are on the relay with one local peer: a link to each, and a bounded queue before it.

One socket serves all. So each has a queue of its own, read at its own pace; who sends more than
fits there loses what is over it, and nobody else does.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final, Protocol

from xmesh_mesh.gateway.clock import now_ms
from xmesh_mesh.gateway.endpoint import Endpoint
from xmesh_mesh.gateway.link import Link
from xmesh_mesh.gateway.talks import Talks
from xmesh_mesh.wire import frames, relay
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import Frame
from xmesh_mesh.wire.recent import Recent
from xmesh_mesh.wire.types import Transport

__all__ = ["Outlet", "RelayPeers"]

MAX_PEERS: Final = 1_024
QUEUE_FRAMES: Final = 512
QUEUE_BYTES: Final = 4_194_304
AGAIN_MS: Final = 2_000  # after a link has ended while its node stayed; doubled each time
AGAIN_MAX_MS: Final = 30_000


class Outlet(Protocol):
    """The connection to the relay."""

    def send(self, node_id: str, frame: Frame) -> None: ...

    async def drained(self) -> None: ...


class RelayWire:
    """The way to one node through the relay; closing it leaves the connection alone."""

    transport: Transport = "relay"
    outbound = True

    def __init__(self, node_id: str, outlet: Outlet) -> None:
        self.address = "relay"
        self._node_id = node_id
        self._outlet = outlet
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_FRAMES)
        self._bytes = 0
        self._closed = False

    def send(self, frame: Frame) -> None:
        self._outlet.send(self._node_id, frame)

    async def drained(self) -> None:
        await self._outlet.drained()

    def put(self, payload: bytes) -> bool:
        """Queue a payload; False where there is no room for it."""
        if self._queue.full() or self._bytes + len(payload) > QUEUE_BYTES:
            return False
        self._queue.put_nowait(payload)
        self._bytes += len(payload)
        return True

    async def payloads(self) -> AsyncGenerator[bytes, None]:
        """Yield what comes, until ``close``."""
        while not self._closed and (payload := await self._queue.get()) is not None:
            self._bytes -= len(payload)
            yield payload

    def close(self) -> None:
        self._closed = True
        if self._queue.empty():
            self._queue.put_nowait(None)


class _Present:
    """A node on the relay, and the link to it."""

    def __init__(self, link: Link, wire: RelayWire, task: "asyncio.Task[None]") -> None:
        self.link = link
        self.wire = wire
        self.task = task


class RelayPeers:
    """``local`` names the nodes of this host, with whom nobody is joined through the world."""

    def __init__(
        self,
        endpoint: Endpoint,
        talks: Talks,
        outlet: Outlet,
        local: Callable[[], frozenset[str]],
    ) -> None:
        self._endpoint = endpoint
        self._talks = talks
        self._outlet = outlet
        self._local = local
        self._present: dict[str, _Present] = {}
        self._failures: dict[str, int] = {}
        self._again_ms: dict[str, int] = {}
        self._early = Recent(AGAIN_MS, MAX_PEERS)

    def follow(self, event: relay.Event) -> None:
        """Do what the relay's news about others ask for."""
        match event:
            case relay.Present(peers):
                for peer in peers:
                    self._join(peer.node_id)
            case relay.PeerJoined(peer):
                self._end(peer.node_id)
                self._join(peer.node_id)
            case relay.PeerLeft(node_id):
                self._end(node_id)
            case relay.Arrived(sender, payload):
                self._arrived(sender.node_id, payload)
            case _:
                pass

    def tick(self) -> None:
        """Begin anew with those who are there still, though the link to them has ended."""
        now = now_ms()
        for node_id, at_ms in list(self._again_ms.items()):
            if now >= at_ms:
                del self._again_ms[node_id]
                self._begin(node_id)

    def clear(self) -> None:
        """The connection to the relay is gone."""
        for node_id in list(self._present):
            self._end(node_id)
        self._again_ms.clear()
        self._failures.clear()

    def _join(self, node_id: str) -> None:
        self._failures.pop(node_id, None)
        self._again_ms.pop(node_id, None)
        if node_id not in self._present:
            self._begin(node_id)

    def _begin(self, node_id: str) -> None:
        if node_id in self._local() or len(self._present) >= MAX_PEERS:
            return
        wire = RelayWire(node_id, self._outlet)
        link = Link(wire, self._talks.relay(node_id, now_ms()), self._endpoint)
        task = asyncio.create_task(self._run(node_id, link, wire))
        self._present[node_id] = _Present(link, wire, task)

    async def _run(self, node_id: str, link: Link, wire: RelayWire) -> None:
        await self._endpoint.run(link, wire.payloads())
        present = self._present.get(node_id)
        if present is not None and present.link is link:
            # It has ended by itself, not because the node or the relay went.
            del self._present[node_id]
            self._later(node_id, opened=link.opened_ms is not None)

    def _may_begin(self, node_id: str, payload: bytes) -> bool:
        """A link that has failed is begun anew early only where the node wants to begin anew."""
        if node_id not in self._again_ms:
            return True
        try:
            frame = frames.decode(payload)
        except WireError:
            return False
        begins = isinstance(frame, frames.Handshake | frames.ClientHello)
        return begins and self._early.claim(node_id, now_ms())

    def _later(self, node_id: str, *, opened: bool) -> None:
        failures = 0 if opened else self._failures.get(node_id, 0)
        self._failures[node_id] = failures + 1
        self._again_ms[node_id] = now_ms() + min(AGAIN_MAX_MS, AGAIN_MS << min(failures, 16))

    def _end(self, node_id: str) -> None:
        present = self._present.pop(node_id, None)
        if present is not None:
            present.link.close()

    def _arrived(self, node_id: str, payload: bytes) -> None:
        """Hand a payload to its link; a relay may bring words of a node that it never named."""
        if node_id not in self._present and self._may_begin(node_id, payload):
            self._again_ms.pop(node_id, None)
            self._begin(node_id)
        present = self._present.get(node_id)
        if present is not None and not present.wire.put(payload):
            self._flooded(present.link)

    def _flooded(self, link: Link) -> None:
        """Drop what there is no room for.

        With one of ours the link begins anew: its pings would vouch for what was dropped.
        """
        text = "it sends faster than it is read; what is over that is dropped"
        self._endpoint.refused(link, "flood", text)
        if link.counterpart is not None and link.counterpart.secure:
            link.close()
