"""What remotes of a local peer say, on its way to the bus: introduced, checked, published once."""

from collections.abc import Mapping
from typing import Protocol

from xmesh_mesh.canonical import b64u
from xmesh_mesh.errors import PublishRefused, RecordError
from xmesh_mesh.gateway.arrivals import Arrival, Author, check_arrival
from xmesh_mesh.gateway.clock import now_ms, wall_ms
from xmesh_mesh.gateway.operators import check_operator
from xmesh_mesh.gateway.remote import Remote
from xmesh_mesh.gateway.talk import Brought, Counterpart
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

    def own_keys(self) -> Mapping[str, str]:
        """Return the public keys (base64url) of this host's peers and operators, by node id."""

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

    async def present(self, remote: Remote, introduction: Introduction) -> None:
        """A remote node presents the operator of its host; RecordError where that is not to be.

        One whose key is not trusted yet is kept in mind: a person may accept it.
        """
        operator = check_operator(introduction, self._own.group)
        remote.operators.add(operator)
        await self._admit(operator)

    async def take(self, remote: Remote, brought: Brought, *, anchor: bool) -> None:
        """Return when the record is in the journal; RecordError where it will never be.

        What a remote shows at the first contact ever is old news. It speaks for itself, and for
        the operators that it has presented.
        """
        if brought.author == remote.pair.remote:
            old = anchor and remote.first
            remote.received += await self._take(remote.counterpart, brought.record, history=old)
            return
        operator = remote.operators.get(brought.author)
        if operator is None:
            text = f"{remote.counterpart.name} brings a record of {brought.author}"
            raise RecordError("wrong-author", text)
        await self._admit(operator)
        if await self._take(operator, brought.record, history=False):
            remote.operators.heard(operator.node_id)

    async def _admit(self, operator: Counterpart) -> None:
        """Let an operator of another host in; what a person has decided meanwhile counts."""
        self._gatekeeper.admit_operator(operator, self._bus.own_keys())
        await self.introduce(operator)

    async def _take(self, author: Counterpart, record: Record, *, history: bool) -> bool:
        """Return whether the record was news here."""
        arrival = check_arrival(
            record, self._author(author), group=self._own.group, own_id=self._own.node_id
        )
        if arrival.signed:
            self._gatekeeper.signed(author.node_id)
        ident = f"{author.node_id}/{arrival.assertion}"
        is_new = not self._recent.known(ident, now_ms())
        if is_new:
            await self._publish(author, arrival, history=history)
        self._recent.add(ident, now_ms())
        return is_new

    async def _publish(self, author: Counterpart, arrival: Arrival, *, history: bool) -> None:
        what = (author.node_id, arrival.assertion, arrival.data, arrival.to)
        try:
            await self._bus.publish_for(*what, history=history)
        except PublishRefused as error:
            if error.code != "unknown-author":
                raise
            # The bus has forgotten it, with its journal.
            self._introduced.pop(author.node_id, None)
            await self.introduce(author)
            await self._bus.publish_for(*what, history=history)

    def _author(self, author: Counterpart) -> Author:
        return Author(
            author.node_id,
            author.name,
            self._gatekeeper.key(author.node_id) or author.public_key,
            self._gatekeeper.may_be_unsigned(author.node_id),
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
