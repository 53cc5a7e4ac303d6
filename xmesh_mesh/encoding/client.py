"""A peer's side of the encoder process: texts in, vectors out, within a bounded time.

The judge is synchronous, so this is too: one connection, kept open, a deadline for each request,
and after a failure a pause in which nobody is asked. The newest vectors stay here, at half their
size, bounded in number.
"""

import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np

from xmesh_mesh.encoding.frames import MAX_FRAME_BYTES, MAX_TEXTS, Ask, Told, framed, rows
from xmesh_mesh.encoding.kernels import MAX_CHARACTERS, Choice, EncoderAway, Vectors

__all__ = ["HostEncoder"]

PAUSE_S = 10.0
TIMEOUT_S = 1.0
CACHED_TEXTS = 1_000
_Row: TypeAlias = np.ndarray[Any, np.dtype[np.float16]]


class HostEncoder:
    """What ``choice`` names, as the encoder process at ``path`` runs it.

    ``kernel`` is "" until it has answered once. ``clock`` counts seconds.
    """

    def __init__(
        self,
        path: Path,
        choice: Choice,
        *,
        clock: Callable[[], float] = time.monotonic,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.kernel = ""
        self._path = path
        self._choice = choice
        self._clock = clock
        self._timeout_s = timeout_s
        self._quiet_until = 0.0
        self._why = ""
        self._connection: socket.socket | None = None
        self._held: OrderedDict[str, _Row] = OrderedDict()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See ``kernels.Encoder``; EncoderAway during the pause after a failure, too."""
        cut = [text[:MAX_CHARACTERS] for text in texts]
        missing = [text for text in dict.fromkeys(cut) if text not in self._held]
        fresh: dict[str, _Row] = {}
        for start in range(0, len(missing), MAX_TEXTS):
            batch = missing[start : start + MAX_TEXTS]
            # Halved at once, so that a text has the same vector the first time and ever after.
            fresh.update(zip(batch, self._asked(batch).astype(np.float16), strict=True))
        if not cut:
            return np.zeros((0, 0), dtype=np.float32)
        found = np.array([fresh[text] if text in fresh else self._hit(text) for text in cut])
        self._keep(fresh)
        return found.astype(np.float32)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _hit(self, text: str) -> _Row:
        self._held.move_to_end(text)
        return self._held[text]

    def _keep(self, fresh: dict[str, _Row]) -> None:
        self._held.update(fresh)
        while len(self._held) > CACHED_TEXTS:
            self._held.popitem(last=False)

    def _asked(self, texts: list[str]) -> Vectors:
        if self._clock() < self._quiet_until:
            raise EncoderAway(self._why)
        try:
            return self._checked(self._exchange(texts), len(texts))
        except (OSError, ValueError, msgspec.DecodeError, EncoderAway) as error:
            self.close()
            self._quiet_until = self._clock() + PAUSE_S
            self._why = error.what if isinstance(error, EncoderAway) else f"no encoder: {error}"
            raise EncoderAway(self._why) from error

    def _checked(self, answer: Told, count: int) -> Vectors:
        if answer.refused:
            raise EncoderAway(answer.refused)
        if self.kernel not in {"", answer.kernel}:
            self._held.clear()
            self.kernel = ""
            raise EncoderAway("another model answers under the same name: nothing is compared")
        self.kernel = answer.kernel
        return rows(answer, count)

    def _exchange(self, texts: list[str]) -> Told:
        ask = Ask(self._choice.kind, self._choice.url, self._choice.model, texts)
        deadline = self._clock() + self._timeout_s
        connection = self._connected()
        connection.sendall(framed(ask))
        size = int.from_bytes(self._read(connection, 4, deadline), "big")
        if size > MAX_FRAME_BYTES:
            raise ValueError("the encoder's answer is too large")
        return msgspec.msgpack.decode(self._read(connection, size, deadline), type=Told)

    def _connected(self) -> socket.socket:
        if self._connection is None:
            self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._connection.settimeout(self._timeout_s)
            self._connection.connect(str(self._path))
        return self._connection

    def _read(self, connection: socket.socket, size: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            connection.settimeout(max(0.001, deadline - self._clock()))
            part = connection.recv(size - len(data))
            if not part:
                raise ConnectionResetError("the encoder hung up")
            data += part
        return bytes(data)
