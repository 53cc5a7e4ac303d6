"""Multicast DNS: every local peer is a service, and the services of its group are looked for.

python-zeroconf does the work. It is begun anew when the host's addresses change, since it binds to
them; services and searches are made again then.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, NonUniqueNameException, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from xmesh_mesh.gateway.addresses import lan_addresses
from xmesh_mesh.gateway.endpoint import Say
from xmesh_mesh.gateway.services import Sighting, read_txt, service_type, txt
from xmesh_mesh.wire.trust import Self

__all__ = ["Discovery", "Service"]

LOOK_S: Final = 5.0  # how often the host's addresses are compared
RESOLVE_MS: Final = 3_000
MAX_RESOLVING: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """A local peer to announce, and who wants to know of the others of its group."""

    own: Self
    port: int
    secure_port: int
    seen: Callable[[Sighting], None]
    gone: Callable[[str], None]

    @property
    def type(self) -> str:
        return service_type(self.own.group)


class Discovery:
    """``run`` keeps it going; services come and go meanwhile."""

    def __init__(self, chosen: tuple[str, ...], say: Say) -> None:
        self._chosen = chosen
        self._say = say
        self._addresses: tuple[str, ...] = ()
        self._services: dict[str, Service] = {}
        self._zeroconf: AsyncZeroconf | None = None
        self._browsers: dict[str, AsyncServiceBrowser] = {}
        self._resolving: set[asyncio.Task[None]] = set()
        self._trouble = ""

    async def run(self) -> None:
        """Follow the host's network until cancelled."""
        try:
            while True:
                addresses = lan_addresses(self._chosen)
                if addresses != self._addresses or (addresses and self._zeroconf is None):
                    await self._begin(addresses)
                await asyncio.sleep(LOOK_S)
        finally:
            await self._end()

    async def add(self, service: Service) -> None:
        self._services[service.own.node_id] = service
        await self._announce(service)

    async def remove(self, service: Service) -> None:
        """Say goodbye for a service."""
        self._services.pop(service.own.node_id, None)
        if self._zeroconf is not None:
            with contextlib.suppress(ZeroconfError, OSError, KeyError):
                await self._zeroconf.async_unregister_service(self._info(service))
        if service.type not in {each.type for each in self._services.values()}:
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
        for service in list(self._services.values()):
            await self._announce(service)

    async def _end(self) -> None:
        zeroconf, self._zeroconf = self._zeroconf, None
        for task in self._resolving:
            task.cancel()
        browsers, self._browsers = list(self._browsers.values()), {}
        if zeroconf is None:
            return
        with contextlib.suppress(ZeroconfError, OSError):
            for browser in browsers:
                await browser.async_cancel()
            await zeroconf.async_unregister_all_services()
        await zeroconf.async_close()

    async def _announce(self, service: Service) -> None:
        zeroconf = self._zeroconf
        if zeroconf is None:
            return
        if service.type not in self._browsers:
            self._browsers[service.type] = AsyncServiceBrowser(
                zeroconf.zeroconf, service.type, handlers=[self._changed]
            )
        try:
            # Groups have longer names than a service may have; deployed nodes do not mind.
            await (await zeroconf.async_register_service(self._info(service), strict=False))
        except NonUniqueNameException:
            who = f"{service.own.name} ({service.own.node_id})"
            self._complain(f"Somebody announces the node id of {who} already.")
        except (ZeroconfError, OSError) as error:
            self._complain(f"{service.own.name} cannot be announced: {error!r}")

    def _info(self, service: Service) -> AsyncServiceInfo:
        own = service.own
        return AsyncServiceInfo(
            service.type,
            f"{own.node_id}.{service.type}",
            port=service.port,
            properties=txt(own, socket.gethostname(), service.secure_port),
            # A name of its own, which nobody else on the network answers for.
            server=f"{own.node_id}.local.",
            addresses=[socket.inet_aton(address) for address in self._addresses],
        )

    def _changed(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        node_id = name.removesuffix(f".{service_type}")
        if state_change is ServiceStateChange.Removed:
            for service in self._of(service_type):
                service.gone(node_id)
        elif node_id not in self._services and len(self._resolving) < MAX_RESOLVING:
            task = asyncio.create_task(self._resolve(zeroconf, service_type, name))
            self._resolving.add(task)
            task.add_done_callback(self._resolving.discard)

    async def _resolve(self, zeroconf: Zeroconf, service_type: str, name: str) -> None:
        info = AsyncServiceInfo(service_type, name)
        try:
            found = await info.async_request(zeroconf, RESOLVE_MS)
        except (ZeroconfError, OSError):
            return
        sighting = _sighting(info) if found else None
        for service in self._of(service_type):
            if sighting is not None and sighting.node_id != service.own.node_id:
                service.seen(sighting)

    def _of(self, service_type: str) -> list[Service]:
        return [each for each in self._services.values() if each.type == service_type]

    def _complain(self, text: str) -> None:
        if text != self._trouble:
            self._say("warning", "discovery", text)
        self._trouble = text


def _sighting(info: AsyncServiceInfo) -> Sighting | None:
    properties: dict[Any, Any] = dict(info.properties)
    return read_txt(properties, info.parsed_addresses(IPVersion.V4Only), info.port or 0)
