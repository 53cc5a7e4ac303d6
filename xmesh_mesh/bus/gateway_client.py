"""The gateway's side of the bus: one client a group, which reads along and speaks for remotes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from xmesh_mesh.bus import edge_frames
from xmesh_mesh.bus.client import BusClient, Position
from xmesh_mesh.bus.inbox import Attested
from xmesh_mesh.introduction import Introduction

__all__ = ["Attested", "GatewayClient"]

# The bus waits 5 s for a member; it may be restarted meanwhile, and is then asked again.
PROOF_WITHIN_S = 8.0


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
        self._proofs: dict[int, tuple[bytes, asyncio.Future[str]]] = {}
        self._last_proof = 0

    async def introduce(self, introduction: Introduction) -> None:
        """Introduce a remote node to the group; return when that is in the journal.

        PublishRefused: ``own-node`` (a local peer has this id), ``too-many-remotes``,
        ``bad-introduction``. After a journal was lost, what was introduced here is again.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    async def prove(self, node_id: str, role: edge_frames.ProofRole, transcript: bytes) -> str:
        """Return the member's signature (base64url) of ``wire.secure.proof_payload``.

        ProofRefused where it gives none; BusError where this client has ended.
        """
        raise NotImplementedError

    def collide(self, node_id: str, text: str) -> None:
        """Tell a member that its identity lives elsewhere: it ends with its collision code."""
        raise NotImplementedError
