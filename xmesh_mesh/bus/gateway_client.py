"""The gateway's side of the bus: one client a group, which reads along and speaks for remotes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xmesh_mesh.bus import edge_frames, frames
from xmesh_mesh.bus.client import BusClient, Position
from xmesh_mesh.bus.inbox import Attested
from xmesh_mesh.errors import ProofRefused
from xmesh_mesh.introduction import Introduction

__all__ = ["Attested", "GatewayClient"]

# The outbox counts from 1.
_NOBODY_WAITS = 0
# The bus waits 5 s for a member; it may be restarted meanwhile, and is then asked again.
PROOF_WITHIN_S = 8.0


@dataclass(frozen=True, slots=True)
class _Proof:
    frame: bytes
    answer: "asyncio.Future[str]"


class GatewayClient(BusClient):
    """Reads everything said in ``group``, directed records included, and never ends its stream.

    ``position`` is the (epoch, seq) up to which the caller's own store has everything: of another
    epoch, the journal is read from its beginning; None reads on from ``since``, or from now. What
    is taken from ``stream`` must be acknowledged (``ack``), or the bus stops after ``window``. A
    newer gateway of the same group ends this client with a BusError. ``stream`` yields Delivery,
    Introduction (of everybody in the group, before what they say) and Attested.
    """

    def __init__(
        self,
        socket: Path,
        group: str,
        *,
        position: Callable[[], Position | None] = lambda: None,
        since: int | None = None,
        window: int = 64,
        on_introduced: Callable[[Introduction], None] = lambda _: None,
    ) -> None:
        super().__init__(
            socket,
            None,
            role="gateway",
            group=group,
            position=position,
            since=since,
            window=window,
            on_introduced=on_introduced,
        )
        self._remotes: dict[str, Introduction] = {}
        self._forgotten: set[str] = set()
        self._proofs: dict[int, _Proof] = {}
        self._collisions: dict[str, bytes] = {}
        self._last_proof = 0

    async def introduce(self, introduction: Introduction) -> None:
        """Introduce a remote node to the group; return when that is in the journal.

        PublishRefused: ``own-node`` (a local peer has this id), ``too-many-remotes``,
        ``bad-introduction``. After a journal was lost, what was introduced here is again.
        """
        await self._request(lambda number: edge_frames.Introduce(number, introduction))
        self._remotes[introduction.node_id] = introduction

    async def publish_for(
        self,
        author: str,
        assertion: str,
        record: bytes,
        to: str | None = None,
        *,
        history: bool = False,
    ) -> int:
        """Publish what an introduced remote has said; return its seq once it is on disk.

        ``history``: old news, which is remembered and wakes nobody. PublishRefused:
        ``unknown-author``, ``unknown-recipient``, ``too-large``.
        """
        return await self._request(
            lambda number: frames.Publish(number, assertion, record, to, author, history)
        )

    async def prove(self, node_id: str, role: edge_frames.ProofRole, transcript: bytes) -> str:
        """Return the member's signature (base64url) of ``wire.secure.proof_payload``.

        ProofRefused where it gives none; BusError where this client has ended.
        """
        if len(transcript) > edge_frames.MAX_TRANSCRIPT_BYTES:
            raise ProofRefused("too-large", f"the transcript has {len(transcript)} bytes")
        if self._ended is not None:
            raise self._ended
        self._last_proof += 1
        number = self._last_proof
        frame = frames.encode(edge_frames.Prove(number, node_id, role, transcript))
        proof = self._proofs[number] = _Proof(frame, asyncio.get_running_loop().create_future())
        if self._joined:
            self._send(frame)
        try:
            async with asyncio.timeout(PROOF_WITHIN_S):
                return await proof.answer
        except TimeoutError:
            raise ProofRefused("timeout", f"{node_id} gives no proof") from None
        finally:
            del self._proofs[number]

    def collide(self, node_id: str, text: str) -> None:
        """Tell a member that its identity lives elsewhere: it ends with its collision code.

        While the bus is away the word is kept for it; a member that is away is not told.
        """
        frame = frames.encode(edge_frames.Collide(node_id, text[: edge_frames.MAX_TEXT]))
        if self._joined:
            self._send(frame)
        else:
            self._collisions[node_id] = frame

    def _begin(self, welcome: frames.Welcome) -> None:
        self._forgotten = set(self._remotes) - {each.node_id for each in welcome.members}
        super()._begin(welcome)

    def _send_unanswered(self) -> None:
        """What a lost journal no longer knows comes first: the rest may build on it."""
        for node_id in self._forgotten:
            again = edge_frames.Introduce(_NOBODY_WAITS, self._remotes[node_id])
            self._send(frames.encode(again))
        super()._send_unanswered()
        for frame in self._collisions.values():
            self._send(frame)
        self._collisions.clear()
        for proof in self._proofs.values():
            self._send(proof.frame)

    def _meet(self, introduction: Introduction) -> None:
        self._forgotten.discard(introduction.node_id)
        super()._meet(introduction)

    def _received_else(self, answer: frames.Answer) -> None:
        match answer:
            case edge_frames.Proved(number, sig):
                if (proof := self._proofs.get(number)) and not proof.answer.done():
                    proof.answer.set_result(sig)
            case edge_frames.Unproved(number, code):
                if (proof := self._proofs.get(number)) and not proof.answer.done():
                    proof.answer.set_exception(ProofRefused(code))
            case edge_frames.Attested(node_id, statement):
                self._inbox.put_aside(Attested(node_id, statement))
                self._arrived.set()

    def _end(self, error: Exception) -> None:
        super()._end(error)
        for proof in self._proofs.values():
            if not proof.answer.done():
                proof.answer.set_exception(error)
