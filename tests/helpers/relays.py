"""``xmesh-relay`` as a process, on this machine's loopback or on a host of a LAN's."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from helpers.netns import Host
from helpers.stock import free_port


class OurRelay:
    """A relay that can be ended, and started again on the same port."""

    def __init__(self, root: Path, host: Host | None = None, *, token: str = "") -> None:
        self.port = free_port()
        self._host = host
        self._log = root / "relay.log"
        self._token = token
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def start(self) -> Self:
        reader, writer = os.pipe()
        command = [sys.executable, "-m", "xmesh_mesh.relay.server", *self._address()]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._host.command(*command) if self._host else command,
                env={**os.environ, "SYM_RELAY_TOKEN": self._token, "XMESH_READY_FD": str(writer)},
                pass_fds=(writer,), stdout=log, stderr=log,
            )  # fmt: skip
        os.close(writer)
        said = os.read(reader, 16)
        os.close(reader)
        assert said == b"ready\n", self._log.read_text()
        return self

    def _address(self) -> list[str]:
        """On a host of a LAN's, the others reach it too."""
        return ["--host", "0.0.0.0" if self._host else "127.0.0.1", "--port", str(self.port)]

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(15)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.end()
