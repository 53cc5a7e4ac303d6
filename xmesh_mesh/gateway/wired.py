"""Everything that puts one local peer on the wire, begun and ended together."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xmesh_mesh.canonical import unb64u
from xmesh_mesh.gateway.discovery import Discovery, Service
from xmesh_mesh.gateway.endpoint import Endpoint, Say
from xmesh_mesh.gateway.hub import Hub
from xmesh_mesh.gateway.lan import Lan
from xmesh_mesh.gateway.plan import PeerPlan
from xmesh_mesh.gateway.registry import Registry
from xmesh_mesh.gateway.remote import Remote
from xmesh_mesh.gateway.sockets import Sockets
from xmesh_mesh.gateway.store import Store
from xmesh_mesh.gateway.talks import Handshakes, Talks
from xmesh_mesh.gateway.trust import Gatekeeper
from xmesh_mesh.gateway.uplink import Uplink
from xmesh_mesh.introduction import Introduction
from xmesh_mesh.pins import Pins
from xmesh_mesh.relay_address import RELAY_FIX, relay_objection
from xmesh_mesh.wire.trust import Self

__all__ = ["Surroundings", "Wired"]


class Surroundings:
    """What all local peers of the gateway share."""

    def __init__(
        self,
        store: Store,
        say: Say,
        discovery: Discovery,
        *,
        home: Path,
        addresses: tuple[str, ...],
        plain_relays: bool,
        local: Callable[[], frozenset[str]],
        moved: Callable[[Remote], None],
    ) -> None:
        self.store = store
        self.say = say
        self.discovery = discovery
        self.registry = Registry(home)
        self.addresses = addresses
        self.plain_relays = plain_relays
        self.local = local
        self.moved = moved
        self.sockets = Sockets()
        self.handshakes = Handshakes()


class Wired:
    """A local peer as the plan wants it; another plan or introduction needs another one."""

    def __init__(
        self, plan: PeerPlan, introduction: Introduction, pins: Pins, hub: Hub, around: Surroundings
    ) -> None:
        self.plan = plan
        self.introduction = introduction
        self._hub = hub
        self._around = around
        own = Self(
            introduction.node_id,
            introduction.name,
            introduction.group,
            unb64u(introduction.public_key, 32),
            around.store.sealing_key(introduction.node_id),
        )
        gatekeeper = Gatekeeper(pins, plan.trust, own.node_id)
        self.endpoint = Endpoint(own, gatekeeper, around.store, hub, around.say, around.moved)
        self._talks = Talks(own, gatekeeper, around.handshakes)
        self._lan: Lan | None = None
        self._service: Service | None = None
        self._uplink: Uplink | None = None
        self._relay: asyncio.Task[None] | None = None
        self._objection = ""
        self.stopped = False

    async def start(self) -> None:
        """OSError where no port can be had."""
        self._hub.endpoints[self.endpoint.own.node_id] = self.endpoint
        if self.plan.lan:
            await self._start_lan()
        if self.plan.relay:
            self._start_relay()

    async def stop(self) -> None:
        """Say goodbye on every way, and end; what it was remains to be shown."""
        if self.stopped:
            return
        self.stopped = True
        self._hub.endpoints.pop(self.endpoint.own.node_id, None)
        if self._relay is not None:
            self._relay.cancel()
            await asyncio.gather(self._relay, return_exceptions=True)
        if self._service is not None:
            await self._around.discovery.remove(self._service)
        self.endpoint.stop()
        if self._lan is not None:
            await self._lan.stop()

    def tick(self, *, links: bool) -> None:
        """Do what is due; ``links``: look at every link too, which need not be so often."""
        if self.stopped:
            return
        if links:
            self.endpoint.tick()
        if self._lan is not None:
            self._lan.tick()
        if self._uplink is not None:
            self._uplink.tick()

    def status(self) -> dict[str, Any]:
        own = self.endpoint.own
        return {
            "name": own.name,
            "node_id": own.node_id,
            "group": own.group,
            "lan_port": self._lan.port if self._lan else None,
            "secure_port": self._lan.secure_port if self._lan else None,
            "relay": self._relay_status(),
            "collision": self.endpoint.collision,
        }

    async def _start_lan(self) -> None:
        around, own = self._around, self.endpoint.own
        lan = Lan(
            self.endpoint,
            self._talks,
            around.registry,
            around.sockets,
            around.say,
            around.local,
        )
        await lan.start(around.addresses)
        self._lan = lan
        self._service = Service(own, lan.port, lan.secure_port, lan)
        around.discovery.add(self._service)

    def _start_relay(self) -> None:
        around, plan = self._around, self.plan
        objection = relay_objection(plan.relay, plain_allowed=around.plain_relays)
        if objection:
            self._objection = f"it {objection}; {RELAY_FIX}"
            text = f"{plan.name} does not use {plan.relay}: {self._objection}."
            around.say("error", "relay", text)
            return
        self._uplink = Uplink(
            plan.relay,
            plan.relay_token,
            self.endpoint,
            self._talks,
            around.say,
            around.local,
            around.store,
        )
        self._relay = asyncio.create_task(self._uplink.run())

    def _relay_status(self) -> dict[str, Any] | None:
        if self._uplink is not None:
            return self._uplink.status()
        if self._objection:
            return {"url": self.plan.relay, "state": "refused", "reason": self._objection}
        return None
