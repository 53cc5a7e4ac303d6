"""What is pinned and what is in quarantine, and the rules of both. Pure: no file, no clock."""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

import msgspec
from msgspec.structs import replace

from xmesh_mesh.errors import UsageError

__all__ = [
    "KEY_BYTES",
    "MAX_PINS",
    "MAX_QUARANTINED",
    "Book",
    "Pin",
    "PinResult",
    "Quarantined",
    "Rule",
    "Trust",
    "Why",
]

KEY_BYTES = 32
MAX_QUARANTINED = 256
MAX_PINS = 4_096
"""Keys that are pinned at first sight; a person may add more."""

Trust = Literal["tofu", "strict", "open"]

Why = Literal["key-changed", "not-pinned", "our-name", "our-id", "pins-full"]
"""Another key than the pinned one; not pinned where only pinned ones count; a stranger under the
name of a local peer; a foreign key under a local peer's node id; no room for another pin."""


class Pin(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A key as it was seen for a node id; ``seen_ms`` is the wall clock's time of that.

    ``signed``: it has signed once, so nothing unsigned is taken from it. ``secure``: it has been
    Core Secure once, so nothing less is. ``by_hand``: a person has added or accepted it.
    """

    node_id: str
    public_key: str  # base64url of 32 bytes
    name: str
    seen_ms: int
    signed: bool = False
    secure: bool = False
    by_hand: bool = False


class Quarantined(msgspec.Struct, frozen=True, rename="camel"):
    """A node that is kept out until a person decides; ``public_key`` is "" where it named none."""

    node_id: str
    public_key: str
    name: str
    seen_ms: int
    why: Why = "key-changed"


class PinResult(Enum):
    FIRST = "first"
    SAME = "same"
    CHANGED = "changed"
    UNKNOWN = "unknown"  # not pinned, and not to be pinned by itself


@dataclass(frozen=True, slots=True)
class Rule:
    """Whether a key that was never seen is pinned; ``bounded``: only while there is room."""

    trust: Trust
    bounded: bool = True

    def objection(self, pins: int) -> Why | None:
        """Return what speaks against one more than ``pins``, if anything does."""
        if self.trust == "strict":
            return "not-pinned"
        return "pins-full" if self.bounded and pins >= MAX_PINS else None


class Book(msgspec.Struct):
    """One group's pins and quarantine. Older files know neither reasons nor what was shown."""

    pins: dict[str, Pin] = {}
    quarantine: list[Quarantined] = []

    def compare(self, seen: Pin, rule: Rule) -> PinResult | None:
        """Return how ``seen`` compares where nothing need be entered for it, else None."""
        pin = self.pins.get(seen.node_id)
        if pin is not None and pin.public_key == seen.public_key:
            return PinResult.SAME if pin.name == seen.name else None
        why = self._objection(pin, rule)
        if why is None or not self.is_settled(_held(seen, why)):
            return None
        return PinResult.UNKNOWN if pin is None else PinResult.CHANGED

    def enter(self, seen: Pin, rule: Rule) -> PinResult:
        """Enter ``seen`` where it belongs: among the pins, or in quarantine."""
        pin = self.pins.get(seen.node_id)
        if pin is not None and pin.public_key == seen.public_key:
            self.pins[seen.node_id] = replace(pin, name=seen.name)
            return PinResult.SAME
        why = self._objection(pin, rule)
        if why is None:
            self.pins[seen.node_id] = seen
            return PinResult.FIRST
        self.keep_apart(_held(seen, why))
        return PinResult.UNKNOWN if pin is None else PinResult.CHANGED

    def keep_apart(self, held: Quarantined) -> bool:
        """Keep each key of a node once for each reason; return whether this one is new."""
        if self.is_settled(held):
            return False
        self.quarantine.append(held)
        return True

    def is_settled(self, held: Quarantined) -> bool:
        """Return whether quarantine stays as it is: it holds this already, or has no room.

        The oldest stay: they are the first sign of a change, and a flood must not wash them out.
        """
        what = (held.node_id, held.public_key, held.why)
        is_held = any((e.node_id, e.public_key, e.why) == what for e in self.quarantine)
        return is_held or len(self.quarantine) >= MAX_QUARANTINED

    def settle(self, pin: Pin) -> Pin:
        """Make it the node's pin; nothing of the node is in question any more."""
        self.forget(pin.node_id)
        self.pins[pin.node_id] = pin
        return pin

    def forget(self, node_id: str) -> bool:
        """Forget all of a node; return whether there was anything."""
        before = len(self.pins) + len(self.quarantine)
        self.pins.pop(node_id, None)
        self.quarantine = [held for held in self.quarantine if held.node_id != node_id]
        return len(self.pins) + len(self.quarantine) < before

    def in_question(self, node_id: str, public_key: str) -> Quarantined:
        """Return what is held of the one key of a node; ``public_key`` "" where it has but one.

        UsageError where there is no such key, or more than one.
        """
        held = [
            each for each in self.quarantine
            if each.node_id == node_id and each.public_key and public_key in {"", each.public_key}
        ]  # fmt: skip
        keys = {each.public_key for each in held}
        if len(keys) == 1:
            return held[0]
        if keys:
            raise UsageError(
                f"{node_id} came with {len(keys)} different keys",
                fix="compare fingerprints (trust list), then name one: --public-key KEY",
            )
        raise UsageError(
            f"no key of {node_id} is in quarantine, or not this one",
            fix="trust list shows what is; trust add pins one",
        )

    def _objection(self, pin: Pin | None, rule: Rule) -> Why | None:
        """Return why a key that is not the node's ``pin`` does not become it, if it does not."""
        return rule.objection(len(self.pins)) if pin is None else "key-changed"


def _held(pin: Pin, why: Why) -> Quarantined:
    return Quarantined(pin.node_id, pin.public_key, pin.name, pin.seen_ms, why)
