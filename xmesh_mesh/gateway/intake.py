"""What remotes of a local peer say, on its way to the bus: introduced, checked, published once."""

from collections.abc import Mapping
from typing import Protocol

from xmesh_mesh.canonical import b64u
from xmesh_mesh.errors import PublishRefused
from xmesh_mesh.gateway.arrivals import Arrival, Author, check_arrival
from xmesh_mesh.gateway.clock import now_ms, wall_ms
from xmesh_mesh.gateway.remote import Remote
from xmesh_mesh.gateway.talk import Counterpart
from xmesh_mesh.gateway.trust import Gatekeeper
from xmesh_mesh.introduction import Introduction
from xmesh_mesh.record import Record
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.recent import Recent
from xmesh_mesh.wire.secure import Role
from xmesh_mesh.wire.trust import Self

__all__ = ["Bus", "Intake"]


class Bus(Protocol):
    """The group's session on the bus; as ``bus.gateway_client`` says."""

    def local(self) -> Mapping[str, str]:
        """Return the names of this host's peers in the group, by node id."""

    async def introduce(self, introduction: Introduction) -> None: ...

    async def publish_for(
        self, author: str, assertion: str, record: bytes, to: str | None, *, history: bool
    ) -> int: ...

    async def prove(self, node_id: str, role: Role, transcript: bytes) -> str: ...

    def collide(self, node_id: str, text: str) -> None: ...


class Intake:
    def __init__(self, own: Self, gatekeeper: Gatekeeper, bus: Bus) -> None:
        self._own = own
        self._gatekeeper = gatekeeper
        self._bus = bus
        self._introduced: dict[str, Counterpart] = {}
        self._recent = Recent()

    async def introduce(self, counterpart: Counterpart) -> None:
        """Introduce a remote to the group, if that is news; WireError where the bus refuses it."""
        if self._introduced.get(counterpart.node_id) == counterpart:
            return
        try:
            await self._bus.introduce(self._introduction(counterpart))
        except PublishRefused as error:
            raise WireError("not-trusted", f"the bus refuses it: {error}") from None
        self._introduced[counterpart.node_id] = counterpart

    async def take(self, remote: Remote, record: Record, *, anchor: bool) -> None:
        """Return when the record is in the journal; RecordError where it will never be.

        What a remote shows at the first contact ever is old news.
        """
        arrival = check_arrival(
            record, self._author(remote), group=self._own.group, own_id=self._own.node_id
        )
        if arrival.signed:
            self._gatekeeper.signed(remote.pair.remote)
        ident = f"{remote.pair.remote}/{arrival.assertion}"
        if not self._recent.known(ident, now_ms()):
            await self._publish(remote, arrival, history=anchor and remote.first)
            remote.received += 1
        self._recent.add(ident, now_ms())

    async def _publish(self, remote: Remote, arrival: Arrival, *, history: bool) -> None:
        what = (remote.pair.remote, arrival.assertion, arrival.data, arrival.to)
        try:
            await self._bus.publish_for(*what, history=history)
        except PublishRefused as error:
            if error.code != "unknown-author":
                raise
            # The bus has forgotten it, with its journal.
            del self._introduced[remote.pair.remote]
            await self.introduce(remote.counterpart)
            await self._bus.publish_for(*what, history=history)

    def _author(self, remote: Remote) -> Author:
        node_id = remote.pair.remote
        return Author(
            node_id,
            remote.counterpart.name,
            self._gatekeeper.key(node_id) or remote.counterpart.public_key,
            self._gatekeeper.may_be_unsigned(node_id),
        )

    def _introduction(self, counterpart: Counterpart) -> Introduction:
        key = self._gatekeeper.key(counterpart.node_id) or counterpart.public_key
        return Introduction(
            node_id=counterpart.node_id,
            name=counterpart.name,
            group=self._own.group,
            public_key=b64u(key) if key else "",
            implementation=counterpart.implementation,
            origin="remote",
            issued_ms=wall_ms(),
            sig="",
        )
