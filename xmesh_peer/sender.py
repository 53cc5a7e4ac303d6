"""What goes out: the outbox is sent to the bus, in order, until the bus has it on disk."""

import asyncio

from xmesh_mesh.bus.client import BusClient
from xmesh_mesh.errors import PublishRefused, StoreError
from xmesh_mesh.memory import Memory, Outgoing
from xmesh_peer.presence import Presence


class Sender:
    def __init__(self, memory: Memory, client: BusClient, presence: Presence) -> None:
        self._ready = asyncio.Event()
        self._empty = asyncio.Event()
        self._ready.set()
        self._memory = memory
        self._client = client
        self._presence = presence

    def notice(self) -> None:
        """Something was put into the outbox."""
        self._empty.clear()
        self._ready.set()

    async def drained(self) -> None:
        """Return once the outbox is empty."""
        await self._empty.wait()

    async def run(self) -> None:
        while True:
            await self._ready.wait()
            self._ready.clear()
            for outgoing in self._memory.outbox():
                await self._publish(outgoing)
            if not self._ready.is_set():
                self._empty.set()

    async def _publish(self, outgoing: Outgoing) -> None:
        try:
            seq = await self._client.publish(outgoing.assertion, outgoing.wire, outgoing.recipient)
        except PublishRefused as refusal:
            self._presence.log.error("unsendable", f"the bus refuses a record for good: {refusal}")
            seq = 0
        while True:
            try:
                self._memory.sent(outgoing.assertion, seq)
                return
            except StoreError as error:
                await self._presence.wait_out(error.what)
