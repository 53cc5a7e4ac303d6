"""One agent at work: a listener, a thinker and a sender around one memory.

    deliveries ──► listener ──► memory ──► thinker ──► memory ──► sender ──► bus

Each arrow into memory is one transaction, so a crash at any point loses nothing and repeats
nothing but, at most, a model call.
"""

import asyncio
import contextlib
from typing import Any

from xmesh_mesh.bus.client import BusClient
from xmesh_mesh.node import Node
from xmesh_peer.listener import Listener
from xmesh_peer.plan import PeerPlan
from xmesh_peer.presence import Presence
from xmesh_peer.sender import Sender
from xmesh_peer.thinker import Thinker

# The supervisor kills at the stop timeout; the peer is done a little before.
_MARGIN_S = 0.5

_OUTCOMES = ("emitted", "declined", "suppressed", "limited", "malformed", "failed")


class Agent:
    """``run`` returns after ``presence.stop``, or raises what ends the peer (see ``Thinker``)."""

    def __init__(
        self,
        node: Node,
        client: BusClient,
        listener: Listener,
        thinker: Thinker,
        sender: Sender,
        presence: Presence,
    ) -> None:
        self._node = node
        self._client = client
        self._listener = listener
        self._thinker = thinker
        self._sender = sender
        self._presence = presence

    async def run(self, stop_timeout_s: float) -> None:
        await self._thinker.settle_stored()
        thinking = asyncio.create_task(self._thinker.run())
        stopping = asyncio.create_task(self._presence.stopping.wait())
        tasks = {
            asyncio.create_task(self._listener.run()),
            asyncio.create_task(self._sender.run()),
            thinking,
            stopping,
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await self._drain(thinking, max(0.1, stop_timeout_s - _MARGIN_S))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _drain(self, thinking: asyncio.Task[None], patience_s: float) -> None:
        """Let a call that is paid for come home, and its record leave, within ``patience_s``."""
        self._thinker.woken.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await thinking
                await self._sender.drained()

    def status(self, plan: PeerPlan, run: str) -> dict[str, Any]:
        """Return what ``status`` shows, besides money and process."""
        wakes, stored = self._node.memory.wake_counts(), self._node.memory.counts()
        states = ("queued", "running", "done", "dropped")
        return {
            "name": self._node.identity.name,
            "node_id": self._node.identity.node_id,
            "group": self._node.group,
            "state": self._presence.state,
            "waits_for": self._presence.waits_for,
            "note": self._presence.note,
            "last_event": self._presence.log.last,
            "adapter": plan.adapter,
            "model": plan.model_name,
            "run": run,
            "wakes": {state: wakes.get(state, 0) for state in states},
            **{outcome: wakes.get(outcome, 0) for outcome in _OUTCOMES},
            **{name: stored[name] for name in ("held", "admitted", "rejected", "outbox")},
            "calls": self._thinker.calls,
            "refused": self._listener.refused,
            "breaker": self._thinker.breaker.value,
        }
