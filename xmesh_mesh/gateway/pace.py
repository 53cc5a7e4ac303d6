"""How fast one remote node may speak: what is over it is read later, so others are unharmed."""

from typing import Final

from xmesh_mesh.relay.throttle import Bucket

__all__ = ["Pace"]

FRAMES_PER_S: Final = 200
FRAMES_BURST: Final = 1_000
BYTES_PER_S: Final = 4 * 1_048_576
BYTES_BURST: Final = 8 * 1_048_576


class Pace:
    """Frames and bytes, of all links of one remote together."""

    def __init__(self, now_ms: int) -> None:
        self._frames = Bucket(FRAMES_PER_S, FRAMES_BURST, now_ms)
        self._bytes = Bucket(BYTES_PER_S, BYTES_BURST, now_ms)

    def spend(self, size: int, now_ms: int) -> int:
        """Count one frame; return how many milliseconds to wait before the next is read."""
        return max(self._frames.spend(1, now_ms), self._bytes.spend(size, now_ms))
