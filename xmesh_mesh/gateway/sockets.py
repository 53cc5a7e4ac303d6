"""How many may connect: a cap for the gateway, and one on strangers of one address.

Two hosts with fifty peers each have more than a thousand links with each other; so an address is
held to a few only as long as nobody knows who is there.
"""

from collections import Counter
from typing import Final

__all__ = ["MAX_SOCKETS", "Seat", "Sockets"]

MAX_SOCKETS: Final = 4_096
MAX_STRANGERS: Final = 128  # of one address


class Sockets:
    """Connections that others have opened, counted by where they come from."""

    def __init__(self, total: int = MAX_SOCKETS, strangers: int = MAX_STRANGERS) -> None:
        self._max_total = total
        self._max_strangers = strangers
        self._total = 0
        self._strangers: Counter[str] = Counter()

    def enter(self, address: str) -> "Seat | None":
        """Count one more; None, and nothing is counted, where it is one too many."""
        if self._total >= self._max_total or self._strangers[address] >= self._max_strangers:
            return None
        self._total += 1
        self._strangers[address] += 1
        return Seat(self, address)

    def settled(self, address: str) -> None:
        self._strangers[address] -= 1
        if not self._strangers[address]:
            del self._strangers[address]

    def left(self) -> None:
        self._total -= 1


class Seat:
    """One connection's place, until ``leave``."""

    def __init__(self, sockets: Sockets, address: str) -> None:
        self._sockets = sockets
        self._address = address
        self._is_stranger = True

    def settle(self) -> None:
        """It is known who is there."""
        if self._is_stranger:
            self._is_stranger = False
            self._sockets.settled(self._address)

    def leave(self) -> None:
        self.settle()
        self._sockets.left()
