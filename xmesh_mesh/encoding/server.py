"""``xmesh-encoder``: the one process of a host that turns texts into vectors, for all its peers.

A Unix socket (0600 in the 0700 runtime directory), requests answered in order of arrival for each
client. A text is encoded once: the newest stay cached, whoever asks. Local encoders run in the
loop, at 0.1 ms a text; those that take longer run in one thread, so that they hold up nobody else.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from xmesh_mesh import child
from xmesh_mesh.encoding.frames import MAX_FRAME_BYTES, Ask, Told, framed, told
from xmesh_mesh.encoding.kernels import NGRAM, Choice, Encoder, EncoderAway, Vectors
from xmesh_mesh.errors import CollisionError, ExitCode, XmeshError
from xmesh_mesh.paths import FileLock, RuntimeDir

__all__ = ["EncoderServer", "Shelf", "main", "open_encoder"]

CACHED_BYTES = 4 * 1_048_576


def open_encoder(choice: Choice) -> Encoder:
    """Open what ``choice`` names. Raises EncoderAway where it cannot be had."""
    match choice.kind:
        case "ngram":
            return NGRAM
        case "static":
            from xmesh_mesh.encoding.static import StaticEncoder

            return StaticEncoder()
        case "minilm":
            from xmesh_mesh.encoding.minilm import MiniLMEncoder

            return MiniLMEncoder()
        case "ollama" | "openai":
            from xmesh_mesh.encoding.served import ServedEncoder

            return ServedEncoder(choice)


class Shelf:
    """One encoder and the newest texts that it has encoded, bounded in bytes. Not thread-safe."""

    def __init__(self, encoder: Encoder, limit: int = CACHED_BYTES) -> None:
        self.encoder = encoder
        self._limit = limit
        self._size = 0
        self._held: OrderedDict[str, Vectors] = OrderedDict()

    def encode(self, texts: list[str]) -> Vectors:
        missing = [text for text in dict.fromkeys(texts) if text not in self._held]
        fresh = dict(zip(missing, self.encoder.encode(missing), strict=True)) if missing else {}
        found = np.array([fresh[text] if text in fresh else self._hit(text) for text in texts])
        for text, row in fresh.items():
            self._put(text, row.copy())
        return found

    def _hit(self, text: str) -> Vectors:
        self._held.move_to_end(text)
        return self._held[text]

    def _put(self, text: str, row: Vectors) -> None:
        self._held[text] = row
        self._size += row.nbytes + len(text)
        while self._size > self._limit:
            old, gone = self._held.popitem(last=False)
            self._size -= gone.nbytes + len(old)


class EncoderServer:
    """Serves ``path`` until it is closed; nothing that a client sends can end it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shelves: dict[Choice, Shelf] = {}
        self._slow = asyncio.Lock()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        # Whoever starts holds the encoder's lock, so a socket that lies here is a dead one's.
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, self._path)
        finally:
            os.umask(before)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                if size > MAX_FRAME_BYTES:
                    return
                writer.write(framed(await self._answer(await reader.readexactly(size))))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client has gone
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, data: bytes) -> Told:
        try:
            ask = msgspec.msgpack.decode(data, type=Ask)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Told("", 0, b"", f"no request of ours: {error}")
        try:
            return await self._encoded(Choice(ask.kind, ask.url, ask.model), ask.texts)
        except EncoderAway as error:
            return Told("", 0, b"", str(error))

    async def _encoded(self, choice: Choice, texts: list[str]) -> Told:
        if choice.kind in {"ngram", "static"}:
            return self._at_once(choice, texts)
        async with self._slow:
            return await asyncio.to_thread(self._at_once, choice, texts)

    def _at_once(self, choice: Choice, texts: list[str]) -> Told:
        shelf = self._shelves.get(choice)
        if shelf is None:
            shelf = self._shelves[choice] = Shelf(open_encoder(choice))
        return told(shelf.encoder.kernel, shelf.encode(texts))


def main() -> int:
    """Run the encoder of ``$XMESH_RUNTIME_DIR`` until SIGTERM; return an ExitCode."""
    child.die_with_parent()
    try:
        return asyncio.run(_run(RuntimeDir.from_env().ensure()))
    except XmeshError as error:
        _log("error", "failed", str(error))
        return error.exit_code


async def _run(runtime: RuntimeDir) -> int:
    lock = FileLock(runtime.encoder_lock)
    if not lock.acquire(what="xmesh-encoder"):
        raise CollisionError(
            f"an encoder runs here already, as process {lock.holder().get('pid', 'unknown')}",
            where=str(runtime.root),
            fix="use that one, or set XMESH_RUNTIME_DIR to another directory",
        )
    server = EncoderServer(runtime.encoder_socket)
    try:
        await server.start()
        stopping = _on_signals()
        child.announce_ready()
        _log("info", "ready", f"the encoder listens on {runtime.encoder_socket}")
        await stopping.wait()
    finally:
        server.close()
        lock.release()
    _log("info", "stopped", "the encoder has stopped")
    return ExitCode.OK


def _on_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


def _log(level: str, event: str, text: str) -> None:
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"ts": stamp, "level": level, "event": event, "peer": "encoder", "text": text}
    with contextlib.suppress(OSError):
        os.write(2, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
