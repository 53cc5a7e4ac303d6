"""How far one remote node has come in what one local peer says to the world.

MMP acknowledges nothing. But a link keeps its order, and a ping is answered after what came before
it: its pong vouches for everything sent until then. No more than a window is sent beyond that, in
records and in bytes: on a relay the other side drops what it has no room for (``relay_peer``).
"""

from collections import deque
from typing import Final

__all__ = ["WINDOW", "WINDOW_BYTES", "Feed"]

WINDOW: Final = 64
WINDOW_BYTES: Final = 1_048_576  # of records; in a frame they take up to half as much again


class Feed:
    """``cursor``: the seq up to which the remote has certainly got everything."""

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor
        self._sent = cursor
        self._unvouched: deque[tuple[int, int]] = deque()  # seq, bytes
        self._unvouched_bytes = 0
        self._asked: int | None = None

    @property
    def sent(self) -> int:
        """The seq after which the next records are to be read."""
        return self._sent

    @property
    def room(self) -> int:
        """How many records may be sent before a pong comes; the last one may be a big one."""
        if self._unvouched_bytes >= WINDOW_BYTES:
            return 0
        return WINDOW - len(self._unvouched)

    @property
    def wants_ping(self) -> bool:
        """Whether something was sent that no ping of ours has come after yet."""
        return self._asked is None and self._sent > self.cursor

    def took(self, seq: int, size: int = 0) -> None:
        """A record of ``size`` bytes was given to the link."""
        self._unvouched.append((seq, size))
        self._unvouched_bytes += size
        self._sent = seq

    def passed(self, seq: int) -> None:
        """Up to ``seq`` there is nothing more for this remote."""
        self._sent = max(self._sent, seq)
        if not self._unvouched:
            self.cursor = self._sent

    def pinged(self) -> None:
        """A ping has gone out on the link that carries the records."""
        self._asked = self._sent

    def ponged(self) -> bool:
        """The ping was answered; return whether the cursor has moved."""
        asked, self._asked = self._asked, None
        if asked is None or asked <= self.cursor:
            return False
        self.cursor = asked
        self._sent = max(self._sent, asked)
        while self._unvouched and self._unvouched[0][0] <= asked:
            self._unvouched_bytes -= self._unvouched.popleft()[1]
        return True

    def rewind(self) -> None:
        """Another link carries on: what is not vouched for is sent again."""
        self._sent = self.cursor
        self._unvouched.clear()
        self._unvouched_bytes = 0
        self._asked = None
