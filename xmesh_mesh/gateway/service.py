"""The gateway without its process: from the plan and the bus's news to peers on the wire."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Final

from xmesh_mesh.errors import StoreError, XmeshError
from xmesh_mesh.gateway.clock import wall_ms
from xmesh_mesh.gateway.discovery import Discovery
from xmesh_mesh.gateway.endpoint import Say
from xmesh_mesh.gateway.hub import Hub
from xmesh_mesh.gateway.plan import PeerPlan, read_plan
from xmesh_mesh.gateway.remote import Remote
from xmesh_mesh.gateway.store import Store
from xmesh_mesh.gateway.wired import Surroundings, Wired
from xmesh_mesh.paths import RuntimeDir
from xmesh_mesh.pins import Pins

__all__ = ["Gateway"]

TICK_S: Final = 0.25
AGAIN_S: Final = 5.0
PRUNE_EVERY: Final = 2_400  # ticks
SAVE_EVERY: Final = 4
LINKS_EVERY: Final = 4


class Gateway:
    """``apply`` says what should be; ``run`` makes it so, until cancelled."""

    def __init__(
        self,
        runtime: RuntimeDir,
        store: Store,
        say: Say,
        *,
        home: Path,
        addresses: tuple[str, ...] = (),
        plain_relays: bool = False,
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._say = say
        self._plan: dict[str, PeerPlan] = {}
        self._hubs: dict[str, Hub] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._pins: dict[str, Pins] = {}
        self._wired: dict[str, Wired] = {}
        self._moved: dict[int, Remote] = {}
        self._changed = asyncio.Event()
        self._ending: list[asyncio.Task[None]] = []
        self._discovery = Discovery(addresses, say)
        self._around = Surroundings(
            store,
            say,
            self._discovery,
            home=home,
            addresses=addresses,
            plain_relays=plain_relays,
            local=self._local,
            moved=self._has_moved,
        )

    def apply(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take a new plan; ConfigError where it is none, and the old one stays."""
        self._plan = read_plan(request)
        self._changed.set()
        return {"ok": True}

    def status(self) -> dict[str, Any]:
        """Return what ``ps`` and ``peers`` show."""
        wired = list(self._wired.values())
        return {
            "endpoints": [each.status() for each in wired],
            "peers": [row for each in wired for row in each.endpoint.status()],
            "quarantine": [row for group in self._hubs for row in self._quarantine(group)],
            "groups": {group: self._group_status(group) for group in self._hubs},
        }

    async def run(self) -> None:
        """Work until cancelled; then leave in good order."""
        discovering = asyncio.create_task(self._discovery.run())
        ticking = asyncio.create_task(self._tick())
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self._reconcile()
        finally:
            ticking.cancel()
            await self._stop_all()
            discovering.cancel()
            await asyncio.gather(ticking, discovering, return_exceptions=True)
            with contextlib.suppress(StoreError):
                self._save()

    async def _reconcile(self) -> None:
        """Make the wire what the plan and the bus say."""
        self._follow({peer.group for peer in self._plan.values()})
        fallen = [name for name, each in self._wired.items() if not self._stands(each)]
        await asyncio.gather(*(self._wired.pop(name).stop() for name in fallen))
        for name in self._plan:
            if name not in self._wired:
                await self._wire(name)

    def _follow(self, groups: set[str]) -> None:
        for group in groups - set(self._hubs):
            hub = Hub(self._runtime.bus_socket, group, self._store, self._say, self._changed.set)
            self._hubs[group] = hub
            self._following[group] = asyncio.create_task(hub.run())
        for group in set(self._hubs) - groups:
            self._following.pop(group).cancel()
            del self._hubs[group]

    def _stands(self, wired: Wired) -> bool:
        """Return whether a peer on the wire is there as it should be."""
        name = wired.plan.name
        hub = self._hubs.get(wired.plan.group)
        member = hub.member(name) if hub else None
        if wired.stopped and member != wired.introduction:
            return False  # it has ended in a collision, and was started again
        return self._plan.get(name) == wired.plan and _same(member, wired.introduction)

    async def _wire(self, name: str) -> None:
        plan = self._plan[name]
        hub = self._hubs[plan.group]
        member = hub.member(name)
        if member is None:
            return  # not up yet; its introduction comes by the bus
        try:
            wired = Wired(plan, member, self._group_pins(plan.group), hub, self._around)
            self._wired[name] = wired
            await wired.start()
        except (OSError, XmeshError) as error:
            self._say("error", "wire", f"{name} cannot be put on the wire: {error}")
            await self._take_back(name)

    async def _take_back(self, name: str) -> None:
        """Try again a little later: an address may come, a file be mended."""
        wired = self._wired.pop(name, None)
        if wired is not None:
            await wired.stop()
        asyncio.get_running_loop().call_later(AGAIN_S, self._changed.set)

    async def _stop_all(self) -> None:
        await asyncio.gather(*(each.stop() for each in self._wired.values()))
        for task in self._following.values():
            task.cancel()
        await asyncio.gather(*self._following.values(), return_exceptions=True)

    async def _tick(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(TICK_S)
            count += 1
            try:
                self._tick_once(count)
            except XmeshError as error:
                self._say("error", "tick", str(error))

    def _tick_once(self, count: int) -> None:
        for wired in list(self._wired.values()):
            wired.tick(links=count % LINKS_EVERY == 0)
            if wired.endpoint.collision and not wired.stopped:
                self._ending.append(asyncio.create_task(wired.stop()))
        if count % SAVE_EVERY == 0:
            self._save()
        if count % PRUNE_EVERY == 0:
            self._store.prune(wall_ms())

    def _has_moved(self, remote: Remote) -> None:
        self._moved[id(remote)] = remote

    def _save(self) -> None:
        """Write how far everybody is. What is lost of that costs duplicates, and no record."""
        for hub in self._hubs.values():
            hub.save()
        if self._moved:
            moved = [(each.pair, each.conversation.feed.cursor) for each in self._moved.values()]
            self._store.move(moved, wall_ms())
            self._moved.clear()

    def _local(self) -> frozenset[str]:
        """Return the node ids of this host's peers, of every group."""
        return frozenset(node_id for hub in self._hubs.values() for node_id in hub.local())

    def _group_pins(self, group: str) -> Pins:
        if group not in self._pins:
            self._pins[group] = Pins(self._runtime.pins(group) / "pins.json")
        return self._pins[group]

    def _quarantine(self, group: str) -> list[dict[str, Any]]:
        return [
            {
                "group": group,
                "node_id": held.node_id,
                "name": held.name,
                "public_key": held.public_key,
                "seen_ms": held.seen_ms,
                "why": held.why,
            }
            for held in self._group_pins(group).quarantined()
        ]

    def _group_status(self, group: str) -> dict[str, Any]:
        return {"position": self._store.position(group), "stored": self._store.stored(group)}


def _same(one: Any, other: Any) -> bool:
    """Return whether two introductions are of one node under one key."""
    return one is not None and (one.node_id, one.public_key) == (other.node_id, other.public_key)
