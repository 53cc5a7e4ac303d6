"""One connection to the bus for an asyncio program.

A plain ZeroMQ socket on the loop's own selector: everything that has come is read in one go, which
is several times faster than one awaited message at a time.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path

import zmq

from xmesh_mesh.bus.frames import MAX_FRAME_BYTES, MAX_WINDOW

__all__ = ["Link"]

_READ_AT_ONCE = 256
_OPTIONS = {
    zmq.LINGER: 0,
    zmq.SNDHWM: 2 * MAX_WINDOW,
    zmq.RCVHWM: 2 * MAX_WINDOW,
    zmq.MAXMSGSIZE: MAX_FRAME_BYTES,
    # While no bus is there: first soon again, then ten times a second.
    zmq.RECONNECT_IVL: 10,
    zmq.RECONNECT_IVL_MAX: 100,
}


class Link:
    """A DEALER. ``received`` is called for each frame, ``lost`` once when the connection breaks.

    What is sent before there is a bus waits for it. After ``lost`` the link is of no more use.
    """

    def __init__(
        self, path: Path, received: Callable[[bytes], None], lost: Callable[[], None]
    ) -> None:
        self._received = received
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._outgoing: deque[bytes] = deque()
        self._scheduled = False
        self._closed = False
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        for option, value in _OPTIONS.items():
            self._socket.setsockopt(option, value)
        self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._monitor.setsockopt(zmq.LINGER, 0)
        self._socket.connect(f"ipc://{path}")
        self._descriptors: tuple[int, int] = (self._socket.fileno(), self._monitor.fileno())
        self._loop.add_reader(self._descriptors[0], self._turn)
        self._loop.add_reader(self._descriptors[1], self._turn)
        self._schedule()

    def send(self, data: bytes) -> None:
        """Hand over a frame; it goes out in order, as soon as the pipe has room."""
        self._outgoing.append(data)
        self._schedule()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._descriptors[0])
        self._loop.remove_reader(self._descriptors[1])
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()

    def _schedule(self) -> None:
        # ZeroMQ's descriptor tells of changes only, so each use is followed by a look.
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        self._write()
        if self._read():
            self._schedule()
        elif self._is_broken():
            self.close()
            self._lost()

    def _write(self) -> None:
        while self._outgoing:
            try:
                self._socket.send(self._outgoing[0], zmq.DONTWAIT)
            except zmq.Again:
                return
            self._outgoing.popleft()

    def _read(self) -> bool:
        """Take in what has come; return whether more may be waiting."""
        for _ in range(_READ_AT_ONCE):
            try:
                parts = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return False
            self._received(parts[0])
            if self._closed:
                return False
        return True

    def _is_broken(self) -> bool:
        return not self._closed and bool(int(self._monitor.getsockopt(zmq.EVENTS)) & zmq.POLLIN)
