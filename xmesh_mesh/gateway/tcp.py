"""One TCP connection of the LAN: frames in and out, and bounds on what a slow reader can cost."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from typing import Final

from xmesh_mesh.wire.codec import FrameReader, pack
from xmesh_mesh.wire.frames import Frame
from xmesh_mesh.wire.sending import encode
from xmesh_mesh.wire.types import Transport

__all__ = ["TcpWire"]

CHUNK: Final = 65_536
HIGH_WATER: Final = 262_144  # bytes unsent, from which on records wait
MAX_UNSENT: Final = 4_194_304  # bytes unsent, answers to pings and the like: the other side is cut


class TcpWire:
    """``outbound``: we have dialled."""

    transport: Transport = "lan"

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, outbound: bool
    ) -> None:
        self.outbound = outbound
        self.address = _address(writer)
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader()
        writer.transport.set_write_buffer_limits(high=HIGH_WATER)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    async def payloads(self) -> AsyncGenerator[bytes, None]:
        """Yield what comes until the other side ends; OSError, or WireError ``bad-length``."""
        while data := await self._reader.read(CHUNK):
            for payload in self._frames.receive(data):
                yield payload
            if self._frames.error is not None:
                raise self._frames.error

    def send(self, frame: Frame) -> None:
        """Give a frame to the kernel, sooner or later; WireError where it may not leave."""
        self._writer.write(pack(encode(frame, "lan")))
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT:
            self.close()

    async def drained(self) -> None:
        """Wait until there is room for more; OSError where the connection is gone."""
        await self._writer.drain()

    def close(self) -> None:
        """Cut the connection once what can be sent at once is sent."""
        if self._writer.transport.get_write_buffer_size():
            self._writer.transport.abort()
        else:
            self._writer.close()


def _address(writer: asyncio.StreamWriter) -> str:
    host, port, *_ = writer.get_extra_info("peername") or ("?", 0)
    return f"{host}:{port}"
