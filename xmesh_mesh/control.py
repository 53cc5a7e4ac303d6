"""A process's own socket: one line of JSON in, one line of JSON out, from a closed table.

``<runtime>/<name>.sock`` (0600 in a 0700 directory). Whatever is sent can't end the process.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xmesh_mesh.errors import XmeshError

MAX_LINE = 4_096
_PATIENCE_S = 5.0

Request = dict[str, Any]
Command = Callable[[Request], dict[str, Any]]


class ControlServer:
    """Serves a table of commands; each takes the request and returns a JSON-able object.

    ``max_line``: the longest request in bytes; who sends a longer one is hung up on.
    """

    def __init__(
        self, path: Path, commands: Mapping[str, Command], *, max_line: int = MAX_LINE
    ) -> None:
        self._path = path
        self._commands = commands
        self._max_line = max_line
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        # Whoever starts holds the process's lock, so a socket that lies here is a dead one's.
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(
            self._serve, self._path, limit=self._max_line
        )
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Take no more clients; those that are connected are hung up on within their patience."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while line := await reader.readline():
                    writer.write(json.dumps(self._answer(line)).encode() + b"\n")
                    await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            # Too slow, gone, or a line over the limit: hang up. What is unsent stays unsent, or a
            # client that never reads would keep the connection for ever.
            writer.transport.abort()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            name = request["cmd"]
            command = self._commands[name]
        except (ValueError, KeyError, TypeError, RecursionError):
            known = ", ".join(sorted(self._commands))
            return {"error": f"send one JSON object a line with cmd out of: {known}"}
        try:
            return command(request)
        except XmeshError as error:
            return {"error": str(error)}
