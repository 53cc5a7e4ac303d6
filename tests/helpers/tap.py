"""Stands between a node and a relay and writes down every message that passes, word for word.

    python -m helpers.tap PORT UPSTREAM FILE     (with tests/ on the path)

FILE gets one JSON line a message: {"to": "relay" | "node", "text": "..."}. SIGUSR1 resets every
connection, as a network does that has lost its state.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from helpers.netns import Host
from helpers.stock import free_port
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

_RESET = struct.pack("ii", 1, 0)
_OPTIONS: dict[str, Any] = {"compression": None, "max_size": None, "ping_interval": None}


class Tap:
    """A tap as a process; ``url`` is what the node connects to."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, file: Path) -> None:
        self.url = f"ws://127.0.0.1:{port}"
        self._process = process
        self._file = file

    def messages(self, to: str) -> list[str]:
        """Return what has passed so far in one direction: to the ``relay`` or to the ``node``."""
        rows = (json.loads(line) for line in self._file.read_text().splitlines())
        return [row["text"] for row in rows if row["to"] == to]

    def reset(self) -> None:
        """Break every connection without a word."""
        self._process.send_signal(signal.SIGUSR1)


@contextmanager
def tap(root: Path, upstream: str, host: Host | None = None) -> Iterator[Tap]:
    root.mkdir(exist_ok=True)
    port, file = free_port(), root / "tap.jsonl"
    command = [sys.executable, "-m", "helpers.tap", str(port), upstream, str(file)]
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    process = subprocess.Popen(
        host.command(*command) if host else command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield Tap(process, port, file)
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


class _Service:
    def __init__(self, upstream: str, file: TextIO) -> None:
        self._upstream = upstream
        self._file = file
        self._open: set[ServerConnection | ClientConnection] = set()

    async def serve(self, node: ServerConnection) -> None:
        with contextlib.suppress(OSError, ConnectionClosed):
            async with connect(self._upstream, **_OPTIONS) as relay:
                both = {node, relay}
                self._open |= both
                try:
                    async with asyncio.TaskGroup() as pumps:
                        pumps.create_task(self._pump(node, relay, "relay"))
                        pumps.create_task(self._pump(relay, node, "node"))
                finally:
                    self._open -= both

    async def _pump(self, source: Any, sink: Any, to: str) -> None:
        """Pass messages on, and the code with which the source has closed."""
        with contextlib.suppress(ConnectionClosed):
            async for text in source:
                self._file.write(json.dumps({"to": to, "text": _text(text)}) + "\n")
                self._file.flush()
                await sink.send(text)
        await sink.close(source.close_code if (source.close_code or 0) >= 3000 else 1000)

    def reset(self) -> None:
        for connection in self._open:
            transport = connection.transport
            sock = transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()


def _text(message: str | bytes) -> str:
    return message if isinstance(message, str) else message.decode(errors="replace")


async def main(port: str, upstream: str, path: str) -> None:
    with Path(path).open("a") as file:  # noqa: ASYNC230 - a tap may wait for its disk
        service = _Service(upstream, file)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, service.reset)
        async with serve(service.serve, "127.0.0.1", int(port), **_OPTIONS) as server:
            print("ready", flush=True)
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
