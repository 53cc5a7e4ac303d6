"""How many may connect: a cap for the gateway, and one for each address."""

from collections import Counter
from typing import Final

__all__ = ["Sockets"]

MAX_SOCKETS: Final = 1_024
MAX_OF_ADDRESS: Final = 128


class Sockets:
    """Connections that others have opened, counted by where they come from."""

    def __init__(self, total: int = MAX_SOCKETS, of_address: int = MAX_OF_ADDRESS) -> None:
        self._total = total
        self._of_address = of_address
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count one more; False, and nothing is counted, where it is one too many."""
        if self._open.total() >= self._total or self._open[address] >= self._of_address:
            return False
        self._open[address] += 1
        return True

    def leave(self, address: str) -> None:
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]
