"""What waits to be sent, within bounds: one queue a client, and one bound on all. Pure.

A message for many is one object in many queues; each queue counts it in full, so that the bounds
hold whatever is shared.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["ITEM_BYTES", "Closing", "Outboxes"]

# What an item costs beside its bytes, so that many small ones count as well.
ITEM_BYTES = 64


class Closing(NamedTuple):
    """The last item of a queue: close the connection with this."""

    code: int
    reason: str


@dataclass(slots=True)
class _Queue:
    items: deque[bytes | Closing] = field(default_factory=deque)
    size: int = 0
    shut: bool = False


class Outboxes:
    """``most`` bytes may wait for one client and ``most_in_all`` for all together."""

    def __init__(self, most: int, most_in_all: int) -> None:
        self._most = most
        self._most_in_all = most_in_all
        self._queues: dict[int, _Queue] = {}
        self._size = 0

    @property
    def size(self) -> int:
        return self._size

    def open(self, conn: int) -> None:
        self._queues[conn] = _Queue()

    def put(self, conn: int, data: bytes) -> int | None:
        """Queue ``data``; return the connection that is too far behind now, if one is.

        That one's queue is empty then, and takes nothing more but a Closing. Where all queues
        together are too big, it is the one with the longest.
        """
        queue = self._queues.get(conn)
        if queue is None or queue.shut:
            return None
        queue.items.append(data)
        self._grow(queue, len(data) + ITEM_BYTES)
        if queue.size > self._most:
            return self._give_up(conn)
        if self._size > self._most_in_all:
            return self._give_up(max(self._queues, key=lambda each: self._queues[each].size))
        return None

    def close(self, conn: int, closing: Closing) -> None:
        """Queue the end: what waits already is sent before, nothing after."""
        queue = self._queues.get(conn)
        if queue is not None:
            queue.shut = True
            queue.items.append(closing)

    def take(self, conn: int) -> bytes | Closing | None:
        """Return the next item to send, or None where nothing waits."""
        queue = self._queues.get(conn)
        if queue is None or not queue.items:
            return None
        item = queue.items.popleft()
        if isinstance(item, bytes):
            self._grow(queue, -len(item) - ITEM_BYTES)
        return item

    def drop(self, conn: int) -> None:
        """Forget the connection and what waits for it."""
        queue = self._queues.pop(conn, None)
        if queue is not None:
            self._size -= queue.size

    def _grow(self, queue: _Queue, by: int) -> None:
        queue.size += by
        self._size += by

    def _give_up(self, conn: int) -> int:
        queue = self._queues[conn]
        queue.items.clear()
        queue.shut = True
        self._grow(queue, -queue.size)
        return conn
