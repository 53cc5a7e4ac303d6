"""Frames on a byte stream: four bytes of big-endian length, then that many bytes of payload."""

from xmesh_mesh.wire.errors import WireError

MAX_PAYLOAD = 1_048_576  # bytes, MMP section 4.1

_HEADER = 4


def pack(payload: bytes) -> bytes:
    """Return the payload with its length before it; WireError ``too-large`` over the limit."""
    if len(payload) > MAX_PAYLOAD:
        raise WireError("too-large", f"a frame of {len(payload)} bytes is over the limit")
    return len(payload).to_bytes(_HEADER) + payload


class FrameReader:
    """Eats a stream and yields its payloads, the same ones however the stream was cut.

    It holds at most one unfinished frame. A length of zero or over the limit ends the stream:
    ``error`` (code ``bad-length``) is set, and whatever comes after it is thrown away.
    """

    def __init__(self) -> None:
        self.error: WireError | None = None
        self._buffer = bytearray()

    def receive(self, data: bytes) -> list[bytes]:
        """Return the payloads that ``data`` completes, those before an error included."""
        if self.error:
            return []
        self._buffer += data
        payloads: list[bytes] = []
        start = 0
        while (size := self._size_at(start)) is not None:
            end = start + _HEADER + size
            payloads.append(bytes(self._buffer[start + _HEADER : end]))
            start = end
        del self._buffer[:start]
        return payloads

    @property
    def pending(self) -> int:
        """How many bytes are held back for an unfinished frame."""
        return len(self._buffer)

    def _size_at(self, start: int) -> int | None:
        """Return the payload size of the complete frame at ``start``, None if there is none."""
        if self.error or len(self._buffer) - start < _HEADER:
            return None
        size = int.from_bytes(self._buffer[start : start + _HEADER])
        if not 0 < size <= MAX_PAYLOAD:
            self.error = WireError("bad-length", f"a frame announces {size} bytes")
            self._buffer.clear()
            return None
        return size if len(self._buffer) - start - _HEADER >= size else None
