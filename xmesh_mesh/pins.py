"""Which key a node id belongs to, as this host saw it first, in one file a group.

The first key seen for a node id stays. Another one is kept apart, in quarantine, for a person to
look at. The peers of a group and the gateway share the file: it is replaced as a whole, under a
lock, and whoever holds it open notices what others, a person included, have changed.
"""

import time
from pathlib import Path

from msgspec.structs import replace

from xmesh_mesh.canonical import b64u, unb64u
from xmesh_mesh.errors import UsageError
from xmesh_mesh.pins_book import (
    KEY_BYTES,
    MAX_PINS,
    MAX_QUARANTINED,
    Pin,
    PinResult,
    Quarantined,
    Rule,
    Trust,
    Why,
)
from xmesh_mesh.pins_file import PinFile

__all__ = [
    "MAX_PINS",
    "MAX_QUARANTINED",
    "Pin",
    "PinResult",
    "Pins",
    "Quarantined",
    "Trust",
    "Why",
]


class Pins:
    """The pins in ``path``. StoreError where the file or its directory cannot be used."""

    def __init__(self, path: Path) -> None:
        self._file = PinFile(path)
        self._file.book()

    # What programs ask

    def pin(self, node_id: str, public_key: bytes, name: str) -> PinResult:
        """Pin the key if it is the node's first one; say how it compares to the pinned one.

        A changed key does not become the pin but goes into quarantine (``key-changed``). A known
        node that calls itself differently now (under the same key) is known by its new name from
        here on. For nodes of this host: there is always room for one more.
        """
        return self._enter(_seen(node_id, public_key, name), Rule("tofu", bounded=False))

    def admit(self, node_id: str, public_key: bytes | None, name: str, trust: Trust) -> PinResult:
        """Say whether a node that presents this key is let in, and pin it where ``trust`` does.

        FIRST and SAME are let in. CHANGED: another key is pinned. UNKNOWN: not pinned where only
        pinned keys count (``strict``: quarantined as ``not-pinned``) or where ``MAX_PINS`` are
        pinned (``pins-full``), or no key (None) where one is needed. Without a key a pinned node
        is held to its pin; in ``open``, a node that was never seen with a key is let in, as SAME,
        and nothing is pinned.
        """
        if public_key is None:
            known = self.key(node_id) is not None
            return PinResult.SAME if known or trust == "open" else PinResult.UNKNOWN
        return self._enter(_seen(node_id, public_key, name), Rule(trust))

    def _enter(self, seen: Pin, rule: Rule) -> PinResult:
        """Enter what was seen; the file is written only where that changes it."""
        known = self._file.book().compare(seen, rule)
        if known is not None:
            return known
        with self._file.changing() as book:
            return book.enter(seen, rule)

    def quarantine(self, node_id: str, public_key: bytes | None, name: str, why: Why) -> bool:
        """Keep a node apart for a person to look at; return whether that is news."""
        held = Quarantined(node_id, _text(public_key), name, _now_ms(), why)
        if self._file.book().is_settled(held):
            return False
        with self._file.changing() as book:
            return book.keep_apart(held)

    def note_signed(self, node_id: str) -> None:
        """The node has shown a valid signature: from here on it is not heard without one."""
        self._note(node_id, signed=True)

    def note_secure(self, node_id: str) -> None:
        """The node has spoken Core Secure: from here on it is not heard over less."""
        self._note(node_id, secure=True)

    def has_signed(self, node_id: str) -> bool:
        pin = self._file.book().pins.get(node_id)
        return pin is not None and pin.signed

    def is_by_hand(self, node_id: str) -> bool:
        """Return whether a person has added or accepted the node's pinned key."""
        pin = self._file.book().pins.get(node_id)
        return pin is not None and pin.by_hand

    def secure_nodes(self) -> frozenset[str]:
        """Return the nodes that have been Core Secure once (see ``wire.trust.Floor``)."""
        return frozenset(pin.node_id for pin in self._file.book().pins.values() if pin.secure)

    def key(self, node_id: str) -> bytes | None:
        """Return the pinned public key (32 bytes), None for an unknown node."""
        pin = self._file.book().pins.get(node_id)
        return unb64u(pin.public_key, KEY_BYTES) if pin else None

    def name(self, node_id: str) -> str | None:
        pin = self._file.book().pins.get(node_id)
        return pin.name if pin else None

    def pinned(self) -> list[Pin]:
        """Return all pins, in the order in which they were made."""
        return list(self._file.book().pins.values())

    def quarantined(self) -> list[Quarantined]:
        """Return what is kept apart, oldest first."""
        return list(self._file.book().quarantine)

    # What a person decides

    def add(self, node_id: str, public_key: bytes, name: str) -> Pin:
        """Pin a key by hand; UsageError where the node has another one already."""
        seen = replace(_seen(node_id, public_key, name), by_hand=True)
        with self._file.changing() as book:
            pin = book.pins.get(node_id)
            if pin is not None and pin.public_key != seen.public_key:
                raise UsageError(
                    f"{node_id} has another key pinned",
                    fix="trust list shows it; trust remove forgets it, then add yours",
                )
            made = replace(pin, name=name or pin.name, by_hand=True) if pin else seen
            return book.settle(made)

    def remove(self, node_id: str) -> bool:
        """Forget a node: its pin, what it has shown, and its quarantine; return whether it was
        known. It is met anew when it comes again."""
        with self._file.changing() as book:
            return book.forget(node_id)

    def accept(self, node_id: str, public_key: bytes | None = None) -> Pin:
        """Pin the key of a node in quarantine, instead of its present pin, if any.

        What an old key had shown counts no more. ``public_key`` says which, where several are
        held. UsageError where none or no single one is.
        """
        with self._file.changing() as book:
            held = book.in_question(node_id, _text(public_key))
            pin = book.pins.get(node_id)
            if pin is not None and pin.public_key == held.public_key:
                return book.settle(replace(pin, by_hand=True))
            return book.settle(Pin(node_id, held.public_key, held.name, _now_ms(), by_hand=True))

    def _note(self, node_id: str, *, signed: bool = False, secure: bool = False) -> None:
        pin = self._file.book().pins.get(node_id)
        if pin is None or (pin.signed >= signed and pin.secure >= secure):
            return
        with self._file.changing() as book:
            pin = book.pins.get(node_id)
            if pin is not None:
                shown = replace(pin, signed=pin.signed or signed, secure=pin.secure or secure)
                book.pins[node_id] = shown


def _seen(node_id: str, public_key: bytes, name: str) -> Pin:
    return Pin(node_id, b64u(public_key), name, _now_ms())


def _text(public_key: bytes | None) -> str:
    return b64u(public_key) if public_key is not None else ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
