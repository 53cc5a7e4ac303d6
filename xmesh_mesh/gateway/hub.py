"""One group's session on the bus: what local peers say is stored, what remotes say comes in."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from xmesh_mesh.bus.gateway_client import Attested, GatewayClient
from xmesh_mesh.bus.inbox import Delivery
from xmesh_mesh.errors import BusError, RecordError, StoreError
from xmesh_mesh.gateway.clock import wall_ms
from xmesh_mesh.gateway.endpoint import Endpoint, Say
from xmesh_mesh.gateway.operators import as_bytes
from xmesh_mesh.gateway.store import Outgoing, Position, Store
from xmesh_mesh.introduction import Introduction
from xmesh_mesh.paths import OPERATOR
from xmesh_mesh.record import decode
from xmesh_mesh.wire.attestation import Attestation
from xmesh_mesh.wire.frames import AttestationFrame
from xmesh_mesh.wire.secure import Role

__all__ = ["Hub"]

AGAIN_S: Final = 1.0

_attestation = msgspec.json.Decoder(Attestation)


class Hub:
    """``changed`` is called when somebody is introduced. ``endpoints``: by node id."""

    def __init__(
        self, socket: Path, group: str, store: Store, say: Say, changed: Callable[[], None]
    ) -> None:
        self.group = group
        self.endpoints: dict[str, Endpoint] = {}
        self._socket = socket
        self._store = store
        self._say = say
        self._changed = changed
        self._client: GatewayClient | None = None
        self._members: dict[str, Introduction] = {}
        self._unsaved: Position | None = None

    async def run(self) -> None:
        """Follow the group until cancelled, whatever becomes of the bus meanwhile."""
        while True:
            client = GatewayClient(
                self._socket, self.group, position=self._position, on_introduced=self._meet
            )
            try:
                welcome = await client.connect()
                self._client = client
                await self._follow(client, welcome.head)
            except (BusError, StoreError) as error:
                self._say("warning", "bus", f"The bus cannot be followed in {self.group}: {error}")
            finally:
                self._client = None
                await client.close()
            await asyncio.sleep(AGAIN_S)

    def local(self) -> Mapping[str, str]:
        """Return the names of this host's nodes in the group, by node id."""
        return {
            node_id: each.name
            for node_id, each in self._members.items()
            if each.origin == "local" and each.name != OPERATOR
        }

    def operators(self) -> Mapping[str, Introduction]:
        """Return the operators of this host that have spoken in the group, by node id."""
        return {
            node_id: each
            for node_id, each in self._members.items()
            if each.origin == "local" and each.name == OPERATOR
        }

    def own_keys(self) -> Mapping[str, str]:
        """Return the public keys of this host's peers and operators in the group, by node id."""
        return {
            node_id: each.public_key
            for node_id, each in self._members.items()
            if each.origin == "local"
        }

    def member(self, name: str) -> Introduction | None:
        """Return the local peer of this name, its newest introduction where there were several."""
        found = [
            each for each in self._members.values() if (each.name, each.origin) == (name, "local")
        ]
        return max(found, key=lambda each: each.issued_ms, default=None)

    async def introduce(self, introduction: Introduction) -> None:
        await self._bus().introduce(introduction)

    async def publish_for(
        self, author: str, assertion: str, record: bytes, to: str | None, *, history: bool
    ) -> int:
        return await self._bus().publish_for(author, assertion, record, to, history=history)

    async def prove(self, node_id: str, role: Role, transcript: bytes) -> str:
        return await self._bus().prove(node_id, role, transcript)

    def collide(self, node_id: str, text: str) -> None:
        if self._client is not None:
            self._client.collide(node_id, text)

    def save(self) -> None:
        """Note how far the journal was read where nothing was to be kept."""
        if self._unsaved is not None:
            self._store.advance(self.group, self._unsaved)
            self._unsaved = None

    def _bus(self) -> GatewayClient:
        if self._client is None:
            raise BusError("there is no connection to the bus now")
        return self._client

    def _position(self) -> Position | None:
        self.save()
        return self._store.position(self.group)

    def _meet(self, introduction: Introduction) -> None:
        self._members[introduction.node_id] = introduction
        self._changed()

    async def _follow(self, client: GatewayClient, head: int) -> None:
        if self._store.position(self.group) is None:
            # What was said before anybody was on the wire is nobody's news.
            self._store.advance(self.group, (client.epoch, head))
        async for item in client.stream():
            match item:
                case Delivery():
                    self._keep(item)
                    client.ack(item.seq)
                case Attested():
                    self._attest(item)
                case _:
                    pass

    def _keep(self, delivery: Delivery) -> None:
        """Store what a local peer or operator says, before the bus may forget it."""
        said, position = self._outgoing(delivery), (delivery.epoch, delivery.seq)
        if said is None:
            self._unsaved = position
            return
        self._store.advance(self.group, position, [said])
        self._unsaved = None
        for node_id, endpoint in self.endpoints.items():
            if said.introduction is not None or node_id == said.author:
                endpoint.said()

    def _outgoing(self, delivery: Delivery) -> Outgoing | None:
        operator = self.operators().get(delivery.author)
        if operator is None and delivery.author not in self.local():
            return None
        try:
            record = decode(delivery.record)
        except RecordError:
            return None  # a peer's own nonsense is no business of the world
        if record.to in self.local():
            return None
        return Outgoing(
            seq=0,
            group=self.group,
            author=delivery.author,
            recipient=record.to,
            assertion=delivery.assertion,
            key=record.key,
            record=delivery.record,
            at_ms=wall_ms(),
            introduction=as_bytes(operator) if operator is not None else None,
        )

    def _attest(self, attested: Attested) -> None:
        endpoint = self.endpoints.get(attested.node_id)
        if endpoint is None:
            return
        try:
            statement = _attestation.decode(attested.statement)
        except (msgspec.MsgspecError, ValueError):
            return
        if statement.by == attested.node_id:
            endpoint.attest(AttestationFrame(attestation=statement))
