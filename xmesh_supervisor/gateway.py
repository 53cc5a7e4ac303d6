"""What the gateway is told: which local peers are on the wire. Its plan is kept true over restarts.

The plan goes over the gateway's own socket, since it carries relay tokens: they touch no disk, no
environment and no command line of ours.
"""

import asyncio
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xmesh_mesh.relay_address import PLAIN_RELAYS
from xmesh_supervisor.peer import Peer
from xmesh_supervisor.processes import RELAY_TOKEN
from xmesh_supervisor.spec import Edge

__all__ = ["PlanKeeper", "gateway_variables", "plan_of"]

ANSWER_WITHIN_S = 5.0
RETRY_S = 0.5

_VARIABLES = frozenset({"XMESH_LAN_ADDRESSES", PLAIN_RELAYS})

Plan = list[dict[str, Any]]


def gateway_variables() -> dict[str, str]:
    """Return what the gateway is told by our own environment."""
    return {name: os.environ[name] for name in _VARIABLES & os.environ.keys()}


def plan_of(peers: Iterable[Peer], keys: Mapping[str, Mapping[str, str]]) -> Plan:
    """Return the gateway's plan: the peers that are up and ask for other hosts.

    ``keys``: peer → variable → value; a relay's token is among them, or in our environment.
    """
    return [
        _row(peer.spec.name, peer.spec.edge, keys.get(peer.spec.name, {}))
        for peer in peers
        if peer.is_up and peer.spec.edge is not None and peer.spec.edge.goes_out
    ]


def _row(name: str, edge: Edge, keys: Mapping[str, str]) -> dict[str, Any]:
    token = keys.get(RELAY_TOKEN) or os.environ.get(RELAY_TOKEN, "")
    return {
        "name": name,
        "group": edge.group,
        "lan": edge.lan,
        "relay": edge.relay,
        "relay_token": token if edge.relay else "",
        "trust": edge.trust,
    }


@dataclass(slots=True)
class PlanKeeper:
    """Sends the plan to each gateway process that runs, and again whenever it changes."""

    socket: Path
    tell: Callable[[str], None]
    _plan: Plan = field(default_factory=list)
    _pid: int | None = None
    _sent: tuple[int, Plan] | None = None
    _trouble: str = ""
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    def see(self, plan: Plan, pid: int | None) -> None:
        """Take note of what the plan is, and which gateway is ready for it, if any."""
        if (plan, pid) != (self._plan, self._pid):
            self._plan, self._pid = plan, pid
            self._moved.set()

    async def run(self) -> None:
        """Keep the gateway to its plan, for ever."""
        while True:
            self._moved.clear()
            wanted = None if self._pid is None else (self._pid, self._plan)
            if wanted is None or wanted == self._sent or await self._send(wanted):
                await self._moved.wait()
            else:
                await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(RETRY_S):
                await self._moved.wait()
        except TimeoutError:
            pass

    async def _send(self, wanted: tuple[int, Plan]) -> bool:
        """Send the plan; return whether it was taken. What hinders is told once."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                trouble = await self._ask({"cmd": "plan", "peers": wanted[1]})
        except (OSError, TimeoutError, ValueError) as error:
            trouble = f"it does not answer: {str(error) or 'too slow'}"
        if trouble and trouble != self._trouble:
            self.tell(f"the gateway does not take its plan: {trouble}")
        self._trouble = trouble
        self._sent = None if trouble else wanted
        return not trouble

    async def _ask(self, request: dict[str, Any]) -> str:
        """Return what the gateway objects, empty where it agrees."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            await writer.drain()
            answer = json.loads(await reader.readline())
        finally:
            writer.close()
        if not isinstance(answer, dict) or answer.get("ok") is not True:
            return str(answer.get("error", answer) if isinstance(answer, dict) else answer)
        return ""
