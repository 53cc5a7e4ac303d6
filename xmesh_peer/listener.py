"""What comes in: members are met, deliveries are taken in, and what matters wakes the thinker."""

from collections.abc import Callable

from xmesh_mesh.bus.client import BusClient, Delivery
from xmesh_mesh.bus.edge_frames import ProofRole
from xmesh_mesh.errors import RecordError, StoreError
from xmesh_mesh.introduction import Introduction
from xmesh_mesh.node import Node, Received
from xmesh_mesh.pins import PinResult
from xmesh_peer.presence import Presence, now_ms

_KEPT_OUT = {
    PinResult.CHANGED: ("key-changed", "came with another key than the pinned one"),
    PinResult.UNKNOWN: ("not-trusted", "came with a key that is not pinned, or with none"),
}


class Listener:
    """``floor``: records up to this bus sequence are remembered but wake nobody."""

    def __init__(
        self, node: Node, client: BusClient, presence: Presence, woken: Callable[[], None]
    ) -> None:
        self.floor = -1
        self.refused = 0
        self._node = node
        self._client = client
        self._presence = presence
        self._log = presence.log
        self._woken = woken

    def meet(self, introduction: Introduction) -> None:
        """Pin a member, or say loudly why not."""
        try:
            result = self._node.meet(introduction)
        except RecordError as error:
            self._log.warning("introduction-refused", f"an introduction was refused: {error}")
            return
        if result in _KEPT_OUT:
            event, why = _KEPT_OUT[result]
            self._log.warning(
                event,
                f"{introduction.name} ({introduction.node_id}) {why}; its records are refused:"
                f" xmesh-sup trust list --group {introduction.group}",
            )

    def prove(self, role: ProofRole, transcript: bytes) -> str:
        """Give the proof of a handshake of this peer's own; refuse anything else, loudly."""
        try:
            return self._node.prove(role, transcript)
        except ValueError as error:
            self._log.warning("proof-declined", f"did not sign what the gateway asked for: {error}")
            raise

    async def run(self) -> None:
        async for delivery in self._client.deliveries():
            received, statement = await self._take_in(delivery)
            self._client.ack(delivery.seq)
            if statement is not None:
                self._client.attest(statement)
            self._tell(delivery, received)
            if received.wake is not None:
                self._woken()

    async def _take_in(self, delivery: Delivery) -> tuple[Received, bytes | None]:
        """Store one delivery; return what to attest of it, if anything.

        A store that cannot be written is tried until it can.
        """
        memory = self._node.memory
        while True:
            try:
                with memory.transaction():
                    received = self._node.receive(
                        delivery.author,
                        delivery.record,
                        seq=delivery.seq,
                        now_ms=now_ms(),
                        may_wake=delivery.seq > self.floor and not delivery.history,
                    )
                    statement = self._node.attest(delivery.author, received, now_ms())
                    memory.advance(delivery.epoch, delivery.seq)
                return received, statement
            except StoreError as error:
                await self._presence.wait_out(f"cannot remember what arrives: {error.what}")

    def _tell(self, delivery: Delivery, received: Received) -> None:
        if received.refused:
            self._tell_refused(delivery, received.refused)
        if received.verdict is None or received.record is None:
            return
        verdict, record = received.verdict, received.record
        what = f"{record.key[:12]} from {record.created_by}"
        why = "; ".join(verdict.reasons)
        if received.wake is not None:
            self._log.info("admitted", f"lets in {what}: {why}", key=record.key)
        elif verdict.admitted:
            self._log.info("remembered", f"{what} is old news: remembered, not acted on")
        else:
            self._log.info("asleep", f"sleeps through {what}: {why}", key=record.key)
        if verdict.mood:
            self._log.info("mood", f"{record.created_by} feels: {verdict.mood}")

    def _tell_refused(self, delivery: Delivery, code: str) -> None:
        if code == "duplicate":
            self._log.debug("duplicate", f"{delivery.assertion[:12]} is here already")
            return
        self.refused += 1
        self._log.warning("refused", f"refused a record from {delivery.author}: {code}")
