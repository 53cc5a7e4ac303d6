"""``xmesh-bus``: the host's local fan-out, one process on one ROUTER socket.

Everything readable is read (within bounds), handled, committed once and then answered. The process
never waits for a client.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import zmq

from xmesh_mesh import child
from xmesh_mesh.bus.frames import MAX_FRAME_BYTES, MAX_WINDOW
from xmesh_mesh.bus.journal import JournalDamaged, JournalUnavailable, open_journal
from xmesh_mesh.bus.service import Now, Service
from xmesh_mesh.errors import CollisionError, ExitCode, StoreError, XmeshError
from xmesh_mesh.paths import FileLock, RuntimeDir

__all__ = ["main"]

# A client's pipe holds a full window of deliveries and what else may be said meanwhile.
PIPE_FRAMES = 2 * MAX_WINDOW
READ_FRAMES = 512
READ_BYTES = 4_194_304
REOPEN_MS = 250


class Broker:
    """The socket and the loop around a Service."""

    def __init__(self, runtime: RuntimeDir) -> None:
        self._runtime = runtime
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._waker, self._wakened = socket.socketpair()
        self._running = True
        self._service: Service | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._service is not None:
            with contextlib.suppress(StoreError):
                self._service.close()
            self._journal.close()
        self._router.close(linger=0)
        self._context.term()
        self._runtime.bus_socket.unlink(missing_ok=True)
        self._waker.close()
        self._wakened.close()

    def start(self) -> None:
        """Open the journal, bind, and listen to signals."""
        self._open()
        for option, value in _OPTIONS.items():
            self._router.setsockopt(option, value)
        before = os.umask(0o177)
        try:
            self._router.bind(f"ipc://{self._runtime.bus_socket}")
        finally:
            os.umask(before)
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def run(self) -> None:
        """Serve until a signal says otherwise."""
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._wakened.fileno(), zmq.POLLIN)
        while self._running:
            poller.poll(self._current().wait_ms(_now()))
            try:
                self._turn()
            except (JournalDamaged, JournalUnavailable) as error:
                _log("error", "journal-lost", str(error))
                self._reopen(poller)

    def send(self, route: bytes, data: bytes) -> bool:
        """Give a frame to ZeroMQ without waiting; False: nobody is there, or nobody reads."""
        try:
            self._router.send_multipart((route, data), zmq.DONTWAIT)
        except zmq.ZMQError as error:
            if error.errno in {zmq.EHOSTUNREACH, zmq.EAGAIN}:
                return False
            raise
        return True

    def _turn(self) -> None:
        service = self._current()
        batch = self._read()
        if batch:
            service.handle(batch, _now())
        if not batch or service.wait_ms(_now()) == 0:
            service.tick(_now())

    def _read(self) -> list[tuple[bytes, bytes]]:
        batch: list[tuple[bytes, bytes]] = []
        size = 0
        while len(batch) < READ_FRAMES and size < READ_BYTES:
            try:
                parts = self._router.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            # Two parts or it is nobody of ours; an empty frame is refused as malformed.
            data = parts[1] if len(parts) == 2 else b""
            batch.append((parts[0], data))
            size += len(data)
        return batch

    def _current(self) -> Service:
        assert self._service is not None
        return self._service

    def _open(self) -> None:
        now = _now()
        journal, aside = open_journal(self._runtime.bus_db, now.wall_ms)
        if aside is not None:
            text = f"The journal could not be read; it is kept as {aside}, and a new one begins."
            _log("error", "journal-damaged", text)
        self._journal = journal
        self._service = Service(journal, self, _log, os.getpid(), now)

    def _reopen(self, poller: zmq.Poller) -> None:
        """Take a journal anew, for as long as it needs; everybody says Hello again."""
        self._current().dismiss()
        self._journal.close()
        while self._running:
            try:
                self._open()
                break
            except (JournalDamaged, JournalUnavailable, OSError):
                poller.unregister(self._router)
                poller.poll(REOPEN_MS)
                poller.register(self._router, zmq.POLLIN)

    def _stop(self, *_: object) -> None:
        self._running = False


_OPTIONS = {
    zmq.ROUTER_MANDATORY: 1,
    zmq.LINGER: 0,
    zmq.SNDHWM: PIPE_FRAMES,
    zmq.RCVHWM: PIPE_FRAMES,
    zmq.MAXMSGSIZE: MAX_FRAME_BYTES,
    zmq.BACKLOG: 256,
}


def main() -> int:
    """Run the bus of ``$XMESH_RUNTIME_DIR`` until SIGTERM; return an ExitCode."""
    child.die_with_parent()
    try:
        return _serve(RuntimeDir.from_env().ensure())
    except XmeshError as error:
        _log("error", "failed", str(error))
        return error.exit_code
    except (OSError, zmq.ZMQError) as error:
        _log("error", "failed", f"The bus cannot run: {error}")
        return ExitCode.FAILURE


def _serve(runtime: RuntimeDir) -> int:
    lock = FileLock(runtime.bus_lock)
    if not lock.acquire(what="xmesh-bus"):
        raise CollisionError(
            f"a bus runs here already, as process {lock.holder().get('pid', 'unknown')}",
            where=str(runtime.root),
            fix="use that one, or set XMESH_RUNTIME_DIR to another directory",
        )
    try:
        with Broker(runtime) as broker:
            broker.start()
            child.announce_ready()
            _log("info", "ready", f"The bus listens on {runtime.bus_socket}.")
            broker.run()
        _log("info", "stopped", "The bus has stopped.")
    finally:
        lock.release()
    return ExitCode.OK


def _now() -> Now:
    return Now(time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000)


def _log(level: str, event: str, text: str) -> None:
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"ts": stamp, "level": level, "event": event, "peer": "bus", "text": text}
    # The log may lie on the very disk that is full; that must not end the bus.
    with contextlib.suppress(OSError):
        os.write(2, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
