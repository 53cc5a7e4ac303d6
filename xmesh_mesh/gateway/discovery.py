"""Multicast DNS: every local peer is a service, and the services of its group are looked for.

python-zeroconf does the work. It is begun anew when the host's addresses change, since it binds to
them; services and searches are made again then.
"""

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from typing import Any, Final, Protocol

from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, NonUniqueNameException, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from xmesh_mesh.gateway.addresses import lan_addresses
from xmesh_mesh.gateway.endpoint import Say
from xmesh_mesh.gateway.services import Sighting, read_txt, service_type, txt
from xmesh_mesh.wire.trust import Self

__all__ = ["Discovery", "Service", "Watcher"]

LOOK_S: Final = 5.0  # how often the host's addresses are compared
RESOLVE_MS: Final = 3_000
MAX_RESOLVING: Final = 64


class Watcher(Protocol):
    """Who wants to know of the nodes of a group."""

    def announced(self, sighting: Sighting) -> None: ...

    def withdrawn(self, node_id: str) -> None: ...

    def rivalled(self, sighting: Sighting) -> None:
        """Somebody else announces the local peer's own node id already."""


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """A local peer to announce."""

    own: Self
    port: int
    secure_port: int
    watcher: Watcher

    @property
    def type(self) -> str:
        return service_type(self.own.group)

    @property
    def name(self) -> str:
        return f"{self.own.node_id}.{self.type}"


class Discovery:
    """``run`` keeps it going; services come and go meanwhile."""

    def __init__(self, chosen: tuple[str, ...], say: Say) -> None:
        self._chosen = chosen
        self._say = say
        self._addresses: tuple[str, ...] = ()
        self._services: dict[str, Service] = {}
        self._announced: set[Service] = set()
        self._zeroconf: AsyncZeroconf | None = None
        self._browsers: dict[str, AsyncServiceBrowser] = {}
        self._resolving: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._trouble = ""

    async def run(self) -> None:
        """Follow the host's network until cancelled."""
        try:
            while True:
                addresses = lan_addresses(self._chosen)
                if addresses != self._addresses or (addresses and self._zeroconf is None):
                    await self._begin(addresses)
                await self._announce_all()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), LOOK_S)
                self._changed.clear()
        finally:
            await self._end()

    def add(self, service: Service) -> None:
        """Announce a service, as soon as the network lets us."""
        self._services[service.own.node_id] = service
        self._changed.set()

    async def remove(self, service: Service) -> None:
        """Say goodbye for a service."""
        if self._services.get(service.own.node_id) is service:
            del self._services[service.own.node_id]
        if service in self._announced and self._zeroconf is not None:
            self._announced.discard(service)
            with contextlib.suppress(ZeroconfError, OSError, KeyError):
                await (await self._zeroconf.async_unregister_service(self._info(service)))
        if not self._of(service.type):
            browser = self._browsers.pop(service.type, None)
            if browser is not None:
                await browser.async_cancel()

    async def _begin(self, addresses: tuple[str, ...]) -> None:
        await self._end()
        self._addresses = addresses
        if not addresses:
            return
        try:
            self._zeroconf = AsyncZeroconf(list(addresses), ip_version=IPVersion.V4Only)
        except OSError as error:
            self._complain(f"Multicast DNS cannot be used on {', '.join(addresses)}: {error}")
            return
        self._trouble = ""
        self._say("info", "discovery", f"Announced on {', '.join(addresses)}.")

    async def _end(self) -> None:
        zeroconf, self._zeroconf = self._zeroconf, None
        for task in self._resolving:
            task.cancel()
        browsers, self._browsers = list(self._browsers.values()), {}
        self._announced.clear()
        if zeroconf is None:
            return
        with contextlib.suppress(ZeroconfError, OSError):
            for browser in browsers:
                await browser.async_cancel()
            await zeroconf.async_unregister_all_services()
        await zeroconf.async_close()

    async def _announce_all(self) -> None:
        """Announce whoever is not yet; what fails is tried again at the next look."""
        zeroconf = self._zeroconf
        if zeroconf is None:
            return
        waiting = [each for each in self._services.values() if each not in self._announced]
        for service in waiting:
            self._browse(zeroconf, service.type)
        await asyncio.gather(*(self._announce(zeroconf, each) for each in waiting))

    def _browse(self, zeroconf: AsyncZeroconf, service_type: str) -> None:
        if service_type not in self._browsers:
            self._browsers[service_type] = AsyncServiceBrowser(
                zeroconf.zeroconf, service_type, handlers=[self._seen]
            )

    async def _announce(self, zeroconf: AsyncZeroconf, service: Service) -> None:
        try:
            # Groups have longer names than a service may have; deployed nodes do not mind.
            await (await zeroconf.async_register_service(self._info(service), strict=False))
            self._announced.add(service)
            self._say("info", "announced", f"{service.own.name} is announced as {service.type}")
        except NonUniqueNameException:
            await self._rival(zeroconf, service)
        except (ZeroconfError, OSError) as error:
            self._complain(f"{service.own.name} cannot be announced: {error!r}")

    async def _rival(self, zeroconf: AsyncZeroconf, service: Service) -> None:
        self._complain(f"Somebody announces the node id of {service.own.name} already.")
        sighting = await _resolved(zeroconf.zeroconf, service.type, service.name)
        if sighting is not None:
            service.watcher.rivalled(sighting)

    def _info(self, service: Service) -> AsyncServiceInfo:
        return AsyncServiceInfo(
            service.type,
            service.name,
            port=service.port,
            properties=txt(service.own, socket.gethostname(), service.secure_port),
            # A name of its own, which nobody else on the network answers for.
            server=f"{service.own.node_id}.local.",
            addresses=[socket.inet_aton(address) for address in self._addresses],
        )

    def _seen(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        node_id = name.removesuffix(f".{service_type}")
        if state_change is ServiceStateChange.Removed:
            for service in self._of(service_type):
                service.watcher.withdrawn(node_id)
        elif node_id not in self._services and len(self._resolving) < MAX_RESOLVING:
            task = asyncio.create_task(self._resolve(zeroconf, service_type, name))
            self._resolving.add(task)
            task.add_done_callback(self._resolving.discard)

    async def _resolve(self, zeroconf: Zeroconf, service_type: str, name: str) -> None:
        sighting = await _resolved(zeroconf, service_type, name)
        if sighting is None or sighting.node_id != name.removesuffix(f".{service_type}"):
            return
        for service in self._of(service_type):
            service.watcher.announced(sighting)

    def _of(self, service_type: str) -> list[Service]:
        return [each for each in self._services.values() if each.type == service_type]

    def _complain(self, text: str) -> None:
        if text != self._trouble:
            self._say("warning", "discovery", text)
        self._trouble = text


async def _resolved(zeroconf: Zeroconf, service_type: str, name: str) -> Sighting | None:
    """Ask for a service; None where nobody answers, or not properly."""
    info = AsyncServiceInfo(service_type, name)
    try:
        if not await info.async_request(zeroconf, RESOLVE_MS):
            return None
    except (ZeroconfError, OSError):
        return None
    properties: dict[Any, Any] = dict(info.properties)
    return read_txt(properties, info.parsed_addresses(IPVersion.V4Only), info.port or 0)
