"""What is not a peer: the guard, the bus, and encoder and gateway where a peer asks for one."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xmesh_mesh.errors import SupervisorError
from xmesh_mesh.paths import GATEWAY, RuntimeDir
from xmesh_supervisor import guard, tree
from xmesh_supervisor.child import Child, Environment, Limits
from xmesh_supervisor.lifecycle import ALIVE, Desired, State
from xmesh_supervisor.restarts import NEVER_PARKED

__all__ = ["BUS", "COMMANDS", "ENCODER", "Infrastructure", "settled"]

BUS = "bus"
ENCODER = "encoder"
COMMANDS: Mapping[str, Sequence[str]] = {
    guard.NAME: (sys.executable, "-m", "xmesh_supervisor.guard"),
    BUS: (sys.executable, "-m", "xmesh_mesh.bus.broker"),
    ENCODER: (sys.executable, "-m", "xmesh_mesh.encoding.server"),
    GATEWAY: (sys.executable, "-m", "xmesh_mesh.gateway.main"),
    "peer": (sys.executable, "-m", "xmesh_peer.main"),
}
"""What is started for each kind of child."""

_STOP_S = 5.0


def settled(child: Child) -> bool:
    """Whether a start has come to its end, good or bad."""
    if child.ending:
        return False
    return child.state not in {State.STARTING, State.STOPPING, State.BACKOFF}


@dataclass(slots=True)
class Infrastructure:
    """Children that are revived for ever. ``env`` is their fleet."""

    root: RuntimeDir
    env: Environment
    ready_s: float
    children: dict[str, Child] = field(default_factory=dict)
    guard_pipe: tuple[int, int] = (-1, -1)

    def shown(self) -> list[Child]:
        """Return those that run, or should."""
        return [
            child for child in self.children.values()
            if child.desired is Desired.RUN or child.state in ALIVE
        ]  # fmt: skip

    async def open(self) -> None:
        """End what an earlier supervisor left behind, bring up the guard, and start the bus.

        Raises SupervisorError where the guard does not come up.
        """
        await asyncio.to_thread(self._clear_root)
        self.guard_pipe = os.pipe()
        for name in (guard.NAME, BUS):
            self._child(name).start()
        await self._require(self.children[guard.NAME])

    async def bus_ready(self) -> None:
        """Return once the bus is up; peers may start meanwhile, since they wait for it too.

        Raises SupervisorError where it does not come up.
        """
        await self._require(self.children[BUS])

    def optional(self, name: str, *, wanted: bool, retry: bool = False) -> None:
        """Start or stop encoder or gateway as it is ``wanted``; nobody waits for it.

        ``retry`` starts one that has ended for good as well.
        """
        child = self.children.get(name)
        if not wanted:
            if child is not None and child.desired is Desired.RUN:
                child.stop()
            return
        child = child or self._child(name)
        over = retry and child.state is State.FINAL
        if over or child.desired is not Desired.RUN:
            child.start()

    async def close(self) -> None:
        """Stop everything: who speaks through the bus before the bus, the guard last."""
        await self._stop(GATEWAY)
        await self._stop(ENCODER)
        await self._stop(BUS)
        for end in self.guard_pipe:
            if end >= 0:
                os.close(end)
        await self._stop(guard.NAME)

    def _child(self, name: str) -> Child:
        child = Child(name, NEVER_PARKED, Limits(self.ready_s, _STOP_S), self.env)
        self.children[name] = child
        return child

    async def _require(self, child: Child) -> None:
        try:
            async with asyncio.timeout(self.ready_s):
                await child.until(lambda it: it.state is State.RUNNING or settled(it))
        except TimeoutError:
            pass
        if child.state is not State.RUNNING:
            raise SupervisorError(
                f"the {child.name} did not come up: {child.reason or child.last_exit}",
                fix=f"read {self.root.log(child.name)}",
            )

    async def _stop(self, name: str) -> None:
        child = self.children.get(name)
        if child is not None:
            child.stop()
            await child.until(lambda it: it.state not in ALIVE)

    def _clear_root(self) -> None:
        prefix = tree.root_tag(self.root.root) + ":"
        guard.sweep(self.root.root)
        tree.end_all(lambda tag: tag.startswith(prefix))
