"""One local peer's connection to a relay, and the links to those who are there too."""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final, Literal

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from xmesh_mesh.errors import StoreError
from xmesh_mesh.gateway.clock import now_ms
from xmesh_mesh.gateway.endpoint import Endpoint, Say
from xmesh_mesh.gateway.relay_peer import RelayPeers
from xmesh_mesh.gateway.store import Store
from xmesh_mesh.gateway.talks import Talks
from xmesh_mesh.wire import relay
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import Frame
from xmesh_mesh.wire.relay import RelayClient
from xmesh_mesh.wire.relay_retry import GHOST_MS, Retry

__all__ = ["Uplink"]

OPEN_S: Final = 10.0
CLOSE_S: Final = 3.0
STORE_AGAIN_MS: Final = 10_000
HIGH_WATER: Final = 262_144  # bytes unsent, from which on records wait
MAX_UNSENT: Final = 8_388_608  # bytes unsent: the relay does not read, and is left


class Uplink:
    """``run`` comes back to the relay for as long as that makes sense."""

    def __init__(
        self,
        url: str,
        token: str,
        endpoint: Endpoint,
        talks: Talks,
        say: Say,
        local: Callable[[], frozenset[str]],
        store: Store,
    ) -> None:
        self._store = store
        self.state = "connecting"
        self.reason = ""
        self._url = url
        self._token = token
        self._endpoint = endpoint
        self._say = say
        self._peers = RelayPeers(endpoint, talks, self, local)
        self._client: RelayClient | None = None
        self._socket: ClientConnection | None = None
        self._unsent: asyncio.Queue[bytes] = asyncio.Queue()
        self._unsent_bytes = 0
        self._room = asyncio.Event()
        self._turn = asyncio.Lock()
        # The environment's proxy leads away from this host, where a plain relay is.
        self._proxy: Literal[True] | None = True if url.startswith("wss:") else None

    def status(self) -> dict[str, Any]:
        return {"url": self._url, "state": self.state, "reason": self.reason}

    async def run(self) -> None:
        """Connect, and again after each loss by the rules of ``wire.relay_retry``."""
        retry = Retry()
        await self._outlive_ghost()
        while True:
            try:
                at_ms = await self._once(retry)
            except StoreError as error:
                # What is not noted is not done: a login that a crash would make a ghost of.
                self._note(str(error))
                at_ms = now_ms() + STORE_AGAIN_MS
            if at_ms is None:
                self.state = "stopped"
                self._endpoint.collide(
                    f"{self._endpoint.own.name} runs somewhere else too: "
                    f"the relay {self._url} says so ({self.reason})"
                )
                return
            self.state = "waiting"
            await asyncio.sleep((at_ms - now_ms()) / 1_000)

    def tick(self) -> None:
        """Do what is due: a relay that is silent is left, links that ended begin anew."""
        client = self._client
        if client is not None:
            self._follow_all(client.tick(now_ms()))
            self._peers.tick()

    def send(self, node_id: str, frame: Frame) -> None:
        """Send a frame to one node; WireError where it may not, or cannot, leave now."""
        if self._client is None:
            raise WireError("not-sendable", "there is no connection to the relay")
        self._put(self._client.send(node_id, frame).text)

    async def drained(self) -> None:
        """Wait until there is room for more; OSError where the connection is gone.

        Who waits takes turns: one socket carries the records of all remotes.
        """
        async with self._turn:
            while self._unsent_bytes > HIGH_WATER:
                self._room.clear()
                await self._room.wait()
        if self._client is None:
            raise ConnectionResetError("the relay is gone")

    async def _outlive_ghost(self) -> None:
        """Wait until the relay has noticed that an earlier session of ours is dead.

        Whoever was killed together with its network, and logged in again at once, would throw out
        a session that nobody uses; the news of that ends stock nodes.
        """
        if self._store.may_be_logged_in(self._endpoint.own.node_id, self._url):
            self.state, self.reason = "waiting", "an earlier session may be open there still"
            await asyncio.sleep(GHOST_MS / 1_000)

    async def _once(self, retry: Retry) -> int | None:
        """Live through one connection; return when to make the next one."""
        client = RelayClient(
            self._endpoint.own.node_id, self._endpoint.own.name, self._token or None, now_ms()
        )
        self.state = "connecting"
        code, clean = await self._connected(client, retry)
        registered = client.registered
        client.closed()
        return retry.lost(
            code,
            clean=clean,
            registered=registered,
            now_ms=now_ms(),
            jitter=random.random(),  # noqa: S311 - it spreads load and hides nothing
        )

    async def _connected(self, client: RelayClient, retry: Retry) -> tuple[int | None, bool]:
        """Return the close code, if any, and whether the relay knows that we are gone."""
        socket: ClientConnection | None = None
        try:
            async with connect(self._url, proxy=self._proxy, **_OPTIONS) as socket:
                await self._live(client, socket, retry)
        except (OSError, TimeoutError, WebSocketException) as error:
            self._note(str(error) or type(error).__name__)
        finally:
            self._leave()
            clean = socket is None or _is_clean(socket)
            if socket is not None and clean:
                self._store.logged_out(self._endpoint.own.node_id, self._url)
        if socket is None:
            return None, True
        if socket.close_code not in {None, 1006}:
            self._note(f"closed with {socket.close_code} {socket.close_reason or ''}".strip())
        return socket.close_code, clean

    async def _live(self, client: RelayClient, socket: ClientConnection, retry: Retry) -> None:
        self._client, self._socket = client, socket
        self._store.logs_in(self._endpoint.own.node_id, self._url)
        self._put(client.opened(now_ms()).text)
        writer = asyncio.create_task(self._write(socket))
        try:
            async for message in socket:
                text = message.encode() if isinstance(message, str) else message
                self._received(client, text, retry)
        finally:
            writer.cancel()

    def _received(self, client: RelayClient, text: bytes, retry: Retry) -> None:
        was_joined = client.phase is relay.Phase.JOINED
        try:
            events = client.receive(text, now_ms())
        except WireError:
            return  # a relay's nonsense is dropped
        if client.phase is relay.Phase.JOINED and not was_joined:
            retry.joined(now_ms())
            self.state, self.reason = "joined", ""
            self._say("info", "relay-joined", f"{self._endpoint.own.name} is on {self._url}.")
        self._follow_all(events)

    def _follow_all(self, events: list[relay.Event]) -> None:
        for event in events:
            match event:
                case relay.Send():
                    self._put(event.text)
                case relay.Report():
                    self._note(event.text)
                case relay.Leave():
                    self._note(event.reason)
                    self._hang_up()
                case _:
                    self._peers.follow(event)

    async def _write(self, socket: ClientConnection) -> None:
        try:
            while True:
                text = await self._unsent.get()
                await socket.send(text, text=True)
                self._unsent_bytes -= len(text)
                self._room.set()
        except ConnectionClosed:
            pass  # the reader sees it too

    def _put(self, text: bytes) -> None:
        self._unsent.put_nowait(text)
        self._unsent_bytes += len(text)
        if self._unsent_bytes > MAX_UNSENT:
            self._note("the relay does not read")
            self._hang_up()

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close_timeout = CLOSE_S
            self._closing = asyncio.create_task(self._socket.close())

    def _leave(self) -> None:
        self._client = self._socket = None
        self._unsent = asyncio.Queue()
        self._unsent_bytes = 0
        self._room.set()
        self._peers.clear()

    def _note(self, reason: str) -> None:
        """Keep a reason for people, and log it where it is a new one."""
        if reason != self.reason:
            self._say("warning", "relay", f"{self._endpoint.own.name} at {self._url}: {reason}")
        self.reason = reason


def _is_clean(socket: ClientConnection) -> bool:
    """Return whether the close handshake was completed, so that the relay knows."""
    return socket.protocol.close_rcvd is not None and socket.protocol.close_sent is not None


_OPTIONS: Final[dict[str, Any]] = {
    "compression": None,
    "max_size": relay.MAX_MESSAGE,
    "ping_interval": None,  # the relay has a keepalive of its own
    "open_timeout": OPEN_S,
    "close_timeout": CLOSE_S,
    "user_agent_header": None,
}
