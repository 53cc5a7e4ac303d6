"""A real bus process, real introductions, and clients to talk to it."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from xmesh_mesh.bus.client import BusClient
from xmesh_mesh.bus.query import status
from xmesh_mesh.canonical import b64u
from xmesh_mesh.errors import BusUnavailable
from xmesh_mesh.identity import Identity, create_identity
from xmesh_mesh.introduction import Introduction, introduce
from xmesh_mesh.paths import RuntimeDir

GROUP = "triad"
DEADLINE_S = 10.0


def make_identity(name: str) -> Identity:
    return create_identity(name, time.time_ns() // 1_000_000)


def make_introduction(
    name: str, group: str = GROUP, identity: Identity | None = None
) -> Introduction:
    return introduce(
        identity or make_identity(name),
        group,
        implementation="xmesh-test",
        now_ms=1_700_000_000_000,
    )


def make_remote(name: str, group: str = GROUP, **changes: Any) -> Introduction:
    """Return what a gateway says of a node of another host."""
    identity = make_identity(name)
    told = Introduction(
        node_id=identity.node_id,
        name=name,
        group=group,
        public_key=b64u(identity.public_key),
        implementation="mmp",
        origin="remote",
        issued_ms=1_700_000_000_000,
        sig="",
    )
    return msgspec.structs.replace(told, **changes)


def new_assertion() -> str:
    return secrets.token_hex(32)


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
    """Poll ``condition`` until it holds; AssertionError naming ``what`` otherwise."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.005)


class BusProcess:
    """``xmesh-bus`` on a root of its own; a context manager that leaves no process behind."""

    def __init__(self, runtime: RuntimeDir) -> None:
        self.runtime = runtime
        self.process: subprocess.Popen[bytes] | None = None
        self.ready_s = 0.0

    @property
    def socket(self) -> Path:
        return self.runtime.bus_socket

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def _log(self) -> Path:
        return self.runtime.root / "bus-stderr.log"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *, wait: bool = True) -> Self:
        """Start the bus; with ``wait``, return once it has announced that it is ready."""
        reader, writer = os.pipe()
        environment = os.environ | {
            "XMESH_RUNTIME_DIR": str(self.runtime.root),
            "XMESH_READY_FD": str(writer),
        }
        began = time.monotonic()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "xmesh_mesh.bus.broker"],
                env=environment,
                pass_fds=(writer,),
                stderr=log,
            )
        os.close(writer)
        if wait:
            said = os.read(reader, 16)
            self.ready_s = time.monotonic() - began
            assert said == b"ready\n", self.log
        os.close(reader)
        return self

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def answers(self) -> bool:
        try:
            status(self.socket, 0.2)
        except BusUnavailable:
            return False
        return True

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def client(
    bus: BusProcess, name: str = "writer-01", group: str = GROUP, **options: Any
) -> BusClient:
    """Return a client that has not connected yet."""
    return BusClient(bus.socket, make_introduction(name, group), **options)
