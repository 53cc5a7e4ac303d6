"""What was refused of one remote node: counted by code, and said once for each."""

from typing import Final

__all__ = ["Refusals"]

MAX_CODES: Final = 64
_OTHER: Final = "other"


class Refusals:
    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def note(self, code: str) -> bool:
        """Count a refusal; return whether it is the first of its kind, which is to be logged."""
        if code not in self._counts and len(self._counts) >= MAX_CODES:
            code = _OTHER
        self._counts[code] = self._counts.get(code, 0) + 1
        return self._counts[code] == 1

    def counts(self) -> dict[str, int]:
        return dict(self._counts)
