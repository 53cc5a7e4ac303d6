"""What a client wants written down and the bus has not answered yet."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from xmesh_mesh.bus import frames

__all__ = ["Outbox"]

# What one client may have on the way; further publishing waits its turn.
MAX_UNANSWERED = 256


@dataclass(frozen=True, slots=True)
class _Request:
    frame: bytes
    answer: asyncio.Future[int]


class Outbox:
    """Requests by number (from 1 on), in the order in which they were made."""

    def __init__(self) -> None:
        self.room = asyncio.Semaphore(MAX_UNANSWERED)
        self._last = 0
        self._requests: dict[int, _Request] = {}

    def add(self, build: Callable[[int], frames.Request]) -> tuple[int, bytes]:
        """Return the number of a new request, and the frame to send that ``build`` makes of it."""
        self._last += 1
        frame = frames.encode(build(self._last))
        answer = asyncio.get_running_loop().create_future()
        self._requests[self._last] = _Request(frame, answer)
        return self._last, frame

    async def answer(self, number: int) -> int:
        """Wait for the request's seq, or raise what ``refuse`` was given."""
        try:
            return await self._requests[number].answer
        finally:
            del self._requests[number]

    def frames(self) -> Iterator[bytes]:
        return (request.frame for request in self._requests.values())

    def accept(self, number: int, seq: int) -> None:
        request = self._requests.get(number)
        if request is not None and not request.answer.done():
            request.answer.set_result(seq)

    def refuse(self, number: int, error: Exception) -> None:
        request = self._requests.get(number)
        if request is not None and not request.answer.done():
            request.answer.set_exception(error)

    def refuse_all(self, error: Exception) -> None:
        for number in list(self._requests):
            self.refuse(number, error)
