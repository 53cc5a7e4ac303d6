"""Proofs that the gateway has asked for and members have not given yet. No socket, no clock."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["MAX_PROOFS", "PROOF_MS", "Asked", "Proofs"]

PROOF_MS = 5_000
MAX_PROOFS = 256


@dataclass(frozen=True, slots=True)
class Asked:
    """``gateway`` and ``member`` are routes, ``proof`` is the gateway's number for it."""

    gateway: bytes
    proof: int
    member: bytes
    deadline_ms: int


class Proofs:
    """Bounded; each is answered once, by the member that was asked, or not at all."""

    def __init__(self) -> None:
        self._asked: dict[str, Asked] = {}

    def ask(self, gateway: bytes, proof: int, member: bytes, mono_ms: int) -> str | None:
        """Return the token under which the member answers; None where too many are under way."""
        if len(self._asked) >= MAX_PROOFS:
            return None
        token = secrets.token_hex(16)
        self._asked[token] = Asked(gateway, proof, member, mono_ms + PROOF_MS)
        return token

    def answered(self, token: str, member: bytes) -> Asked | None:
        """Return what this member was asked under this token, and forget it; None otherwise."""
        asked = self._asked.get(token)
        if asked is None or asked.member != member:
            return None
        return self._asked.pop(token)

    def overdue(self, mono_ms: int, lives: Callable[[bytes], bool]) -> list[tuple[Asked, str]]:
        """Return and forget what will not be answered, each with why; ``lives``: of a route."""
        found: list[tuple[Asked, str]] = []
        for token, asked in list(self._asked.items()):
            late = mono_ms >= asked.deadline_ms
            if late or not lives(asked.member):
                found.append((asked, "timeout" if late else "not-connected"))
                del self._asked[token]
        return found

    def wait_ms(self, mono_ms: int) -> int | None:
        """Return how long until one is overdue; None where none is asked."""
        deadlines = [asked.deadline_ms for asked in self._asked.values()]
        return max(0, min(deadlines) - mono_ms) if deadlines else None
