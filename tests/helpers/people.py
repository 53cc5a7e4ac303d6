"""Somebody who speaks on a real bus, honestly or not, and a listener in a process of its own."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from helpers.bus import make_identity, wait_until
from helpers.mesh import TASK, Mesh, running, triad

from xmesh_mesh.bus.client import BusClient
from xmesh_mesh.identity import Identity
from xmesh_mesh.introduction import introduce
from xmesh_mesh.paths import RuntimeDir
from xmesh_mesh.record import Record, compose, encode
from xmesh_mesh.signing import assertion_id, sign

NOW_MS = 1_790_000_000_000


def signed(
    identity: Identity, texts: Mapping[str, str], *, group: str = "triad", **more: Any
) -> Record:
    """Return a record that ``identity`` has signed; ``more`` are arguments of ``compose``."""
    arguments = {"created_by": identity.name, "created_ms": NOW_MS, "group": group, **more}
    return sign(compose(texts, **arguments), identity.seed)


def speak(
    root: RuntimeDir,
    identity: Identity,
    *records: Record,
    group: str = "triad",
    role: str = "publisher",
    data: bytes | None = None,
) -> None:
    """Publish as ``identity``; ``data`` replaces the bytes of each record."""

    async def publish() -> None:
        introduction = introduce(identity, group, implementation="test", now_ms=NOW_MS)
        client = BusClient(root.bus_socket, introduction, role=role)  # type: ignore[arg-type]
        await client.connect(10)
        try:
            for record in records:
                await client.publish(assertion_id(record), data or encode(record), record.to)
        finally:
            await client.close()

    asyncio.run(publish())


def join(root: RuntimeDir, name: str, group: str = "triad") -> Identity:
    """Make somebody a member of a group, and leave at once."""
    identity = make_identity(name)
    speak(root, identity, group=group, role="member")
    return identity


class Listener:
    """``xmesh-sup listen --json`` in a process of its own."""

    def __init__(self, root: RuntimeDir, *arguments: str) -> None:
        self.lines: list[dict[str, Any]] = []
        self.told: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "xmesh_supervisor.cli", "listen", "--json", *arguments],
            env={**os.environ, "XMESH_RUNTIME_DIR": str(root.root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            threading.Thread(target=self._read_lines),
            threading.Thread(target=self._read_told),
        ]
        for reader in self._readers:
            reader.start()
        wait_until(lambda: any("listening" in line for line in self.told), "it listens")

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(json.loads(line) for line in self.process.stdout)

    def _read_told(self) -> None:
        assert self.process.stderr is not None
        self.told.extend(self.process.stderr)

    def hears(self, count: int) -> list[dict[str, Any]]:
        """Return what was heard, once that is at least ``count`` records."""
        wait_until(lambda: len(self.lines) >= count, f"{count} records; so far {self.lines}")
        return self.lines

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join(10)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


@contextmanager
def rested_triad() -> Iterator[Mesh]:
    """A rehearsing triad that has talked about a task and rests; one foreign message came last."""
    root = RuntimeDir(Path(tempfile.mkdtemp(prefix="xm-", dir="/tmp"))).ensure()
    try:
        with running(root, *triad(root, {"adapter": "rehearsal"})) as mesh:
            mesh.observe(*TASK)
            mesh.rest()
            mesh.observe("zebras graze at dawn near the river, and nobody counts them")
            mesh.rest()
            yield mesh
    finally:
        shutil.rmtree(root.root, ignore_errors=True)
