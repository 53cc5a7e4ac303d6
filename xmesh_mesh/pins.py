"""Which key a node id belongs to, as this host saw it first, in one file a group.

The first key seen for a node id stays. Another one is kept apart, in quarantine, for a person to
look at. The peers of a group and the gateway share the file: it is replaced as a whole, under a
lock, and whoever holds it open notices what others, a person included, have changed.
"""

import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from xmesh_mesh.canonical import b64u, unb64u
from xmesh_mesh.errors import UsageError
from xmesh_mesh.pins_file import KEY_BYTES, MAX_QUARANTINED, Book, Pin, PinFile, Quarantined, Why

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

MAX_PINS = 4_096
"""Keys that are pinned at first sight; an operator may add more."""

Trust = Literal["tofu", "strict", "open"]


class PinResult(Enum):
    FIRST = "first"
    SAME = "same"
    CHANGED = "changed"
    UNKNOWN = "unknown"  # not pinned, and not to be pinned by itself


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
        return self._enter(_seen(node_id, public_key, name), _Rule("tofu", bounded=False))

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
        return self._enter(_seen(node_id, public_key, name), _Rule(trust))

    def _enter(self, seen: Pin, rule: "_Rule") -> PinResult:
        """Enter what was seen; the file is written only where that changes it."""
        known = _as_known(self._file.book(), seen, rule)
        if known is not None:
            return known
        with self._file.changing() as book:
            return _place(book, seen, rule)

    def quarantine(self, node_id: str, public_key: bytes | None, name: str, why: Why) -> bool:
        """Keep a node apart for a person to look at; return whether that is news."""
        held = Quarantined(node_id, _text(public_key), name, _now_ms(), why)
        if _is_settled(self._file.book(), held):
            return False
        with self._file.changing() as book:
            return _keep_apart(book, held)

    def note_signed(self, node_id: str) -> None:
        """The node has shown a valid signature: from here on it is not heard without one."""
        self._note(node_id, signed=True)

    def note_secure(self, node_id: str) -> None:
        """The node has spoken Core Secure: from here on it is not heard over less."""
        self._note(node_id, secure=True)

    def has_signed(self, node_id: str) -> bool:
        pin = self._file.book().pins.get(node_id)
        return pin is not None and pin.signed

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
            return _settle(book, made)

    def remove(self, node_id: str) -> bool:
        """Forget a node: its pin, what it has shown, and its quarantine; return whether it was
        known. It is met anew when it comes again."""
        with self._file.changing() as book:
            before = len(book.pins) + len(book.quarantine)
            book.pins.pop(node_id, None)
            book.quarantine = [held for held in book.quarantine if held.node_id != node_id]
            return len(book.pins) + len(book.quarantine) < before

    def accept(self, node_id: str, public_key: bytes | None = None) -> Pin:
        """Pin the key of a node in quarantine, instead of its present pin, if any.

        What an old key had shown counts no more. ``public_key`` says which, where several are
        held. UsageError where none or no single one is.
        """
        with self._file.changing() as book:
            wanted = _text(public_key)
            held = [
                each for each in book.quarantine
                if each.node_id == node_id and each.public_key and wanted in {"", each.public_key}
            ]  # fmt: skip
            if len({each.public_key for each in held}) != 1:
                raise _no_single(node_id, len(held))
            chosen = held[0]
            old = book.pins.get(node_id)
            same = old is not None and old.public_key == chosen.public_key
            fresh = Pin(node_id, chosen.public_key, chosen.name, _now_ms(), by_hand=True)
            return _settle(book, replace(old, by_hand=True) if old and same else fresh)

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


@dataclass(frozen=True, slots=True)
class _Rule:
    """Whether a key that was never seen is pinned, and why not."""

    trust: Trust
    bounded: bool = True

    def objection(self, book: Book) -> Why | None:
        if self.trust == "strict":
            return "not-pinned"
        return "pins-full" if self.bounded and len(book.pins) >= MAX_PINS else None


def _as_known(book: Book, seen: Pin, rule: _Rule) -> PinResult | None:
    """Return how ``seen`` compares where the book need not change for it, else None."""
    pin = book.pins.get(seen.node_id)
    if pin is not None and pin.public_key == seen.public_key:
        return PinResult.SAME if pin.name == seen.name else None
    why = rule.objection(book) if pin is None else "key-changed"
    if why is None or not _is_settled(book, _held(seen, why)):
        return None
    return PinResult.UNKNOWN if pin is None else PinResult.CHANGED


def _place(book: Book, seen: Pin, rule: _Rule) -> PinResult:
    """Enter ``seen`` where it belongs."""
    pin = book.pins.get(seen.node_id)
    if pin is not None and pin.public_key == seen.public_key:
        book.pins[seen.node_id] = replace(pin, name=seen.name)
        return PinResult.SAME
    why = rule.objection(book) if pin is None else "key-changed"
    if why is None:
        book.pins[seen.node_id] = seen
        return PinResult.FIRST
    _keep_apart(book, _held(seen, why))
    return PinResult.UNKNOWN if pin is None else PinResult.CHANGED


def _settle(book: Book, pin: Pin) -> Pin:
    """Make it the node's pin; nothing of the node is in question any more."""
    book.pins[pin.node_id] = pin
    book.quarantine = [held for held in book.quarantine if held.node_id != pin.node_id]
    return pin


def _keep_apart(book: Book, held: Quarantined) -> bool:
    """Keep each key of a node once for each reason, and no more than the bound in all."""
    if _is_settled(book, held):
        return False
    book.quarantine.append(held)
    return True


def _is_settled(book: Book, held: Quarantined) -> bool:
    """Return whether quarantine stays as it is: it holds this already, or has no room.

    The oldest stay: they are the first sign of a change, and a flood must not wash them out.
    """
    what = (held.node_id, held.public_key, held.why)
    is_held = any((each.node_id, each.public_key, each.why) == what for each in book.quarantine)
    return is_held or len(book.quarantine) >= MAX_QUARANTINED


def _held(pin: Pin, why: Why) -> Quarantined:
    return Quarantined(pin.node_id, pin.public_key, pin.name, pin.seen_ms, why)


def _no_single(node_id: str, keys: int) -> UsageError:
    if keys:
        return UsageError(
            f"{node_id} came with {keys} different keys",
            fix="compare fingerprints (trust list), then name one: --public-key KEY",
        )
    return UsageError(
        f"no key of {node_id} is in quarantine", fix="trust list shows what is; trust add pins one"
    )


def _text(public_key: bytes | None) -> str:
    return b64u(public_key) if public_key is not None else ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
