"""One client's socket: a WebSocket connection that is counted, and kept from filling memory."""

from asyncio import BaseTransport
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.frames import CTRL_OPCODES, Frame
from websockets.http11 import Request
from websockets.protocol import Event

from xmesh_mesh.relay.door import Door, party
from xmesh_mesh.relay.limits import Limits
from xmesh_mesh.relay.throttle import Bucket, now_ms

__all__ = ["Gate", "Socket"]


class Gate:
    """What all sockets of a relay share."""

    def __init__(self, door: Door, limits: Limits) -> None:
        self.door = door
        self.limits = limits
        self.sockets: set[Socket] = set()


class Socket(ServerConnection):
    """Cuts itself off where it is one too many, or where control frames are a flood.

    Data frames are not its business: they are read one by one, and put off where there are many.
    """

    def __init__(self, gate: Gate, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        limits = gate.limits
        self._gate = gate
        self._party: str | None = None
        self._control = Bucket(limits.control_per_s, limits.control_burst, now_ms())
        # The writer waits for one message to go before it gives the next; what is above that
        # are answers to pings that the client does not read.
        self._most_unread = 2 * limits.message_bytes

    @property
    def address(self) -> str:
        """Return the other end's IP address."""
        return str((self.remote_address or ("",))[0])

    def is_welcome(self, request: Request) -> bool:
        """Count a connection that came through a proxy; False: its party has too many."""
        return self._party is not None or self._enter(
            party(self.address, ",".join(request.headers.get_all("X-Forwarded-For")))
        )

    def allow(self, message_bytes: int) -> None:
        """Take messages of up to this size from now on."""
        self.protocol.max_message_size = message_bytes

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._gate.sockets.add(self)
        direct = not self._gate.door.is_proxy(self.address)
        if not self._gate.door.open() or (direct and not self._enter(party(self.address))):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._gate.sockets.discard(self)
        self._gate.door.shut()
        if self._party is not None:
            self._gate.door.leave(self._party)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_write_buffer_size() > self._most_unread:
            self.transport.abort()

    def process_event(self, event: Event) -> None:
        super().process_event(event)
        is_control = isinstance(event, Frame) and event.opcode in CTRL_OPCODES
        if is_control and self._control.spend(1, now_ms()):
            self.transport.abort()

    def _enter(self, who: str) -> bool:
        if self._gate.door.enter(who):
            self._party = who
        return self._party is not None
