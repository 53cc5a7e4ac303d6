"""Who may be at the other end: what both handshakes ask before they let a node in."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from xmesh_mesh.canonical import nfc, unb64u
from xmesh_mesh.introduction import MAX_NAME
from xmesh_mesh.wire.errors import WireError

KEY_BYTES: Final = 32


class KeyVerdict(Enum):
    """What the pins say of a key that a node presents."""

    TRUSTED = "trusted"
    CHANGED = "changed"
    UNKNOWN = "unknown"  # not pinned, where only pinned ones are let in


_REFUSED: Final = {KeyVerdict.CHANGED: "key-changed", KeyVerdict.UNKNOWN: "not-trusted"}

# Asked with node id, public key (None where a plain handshake names none) and name.
KeyCheck = Callable[[str, bytes | None, str], KeyVerdict]


@dataclass(frozen=True, slots=True)
class Self:
    """The local peer that a handshake is for; its signing key is elsewhere."""

    node_id: str
    name: str
    group: str
    public_key: bytes
    e2e_private: bytes | None = field(default=None, repr=False)  # X25519; None: no encryption


@dataclass(frozen=True, slots=True)
class Floor:
    """The nodes that have once been secure. Nothing less is taken from them again."""

    node_ids: AbstractSet[str] = frozenset()

    def check(self, node_id: str, *, secure: bool) -> None:
        """WireError ``downgrade`` where a node of the floor comes without Core Secure."""
        if not secure and node_id in self.node_ids:
            raise WireError("downgrade", f"{node_id} was secure once and now is not")

    def raised(self, node_id: str) -> "Floor":
        """Return the floor with one more node; it goes down by an operator's hand only."""
        return Floor(self.node_ids | {node_id})


def check_group(own: str, theirs: str | None) -> None:
    """WireError ``group-mismatch`` unless both say the same; deployed nodes don't look."""
    if theirs is None or nfc(own) != nfc(theirs):
        raise WireError("group-mismatch", f"it is of group {theirs!r}, this peer of {own!r}"[:200])


def check_name(name: str) -> None:
    """WireError ``malformed`` for a name of too many bytes; the type counts characters."""
    if len(name.encode()) > MAX_NAME:
        raise WireError("malformed", f"a name has at most {MAX_NAME} bytes")


def check_key(check: KeyCheck, node_id: str, key: bytes | None, name: str) -> None:
    """WireError ``key-changed`` or ``not-trusted`` as the pins say."""
    code = _REFUSED.get(check(node_id, key, name))
    if code:
        raise WireError(code, f"the key of {node_id} is refused: {code}")


def read_key(text: str) -> bytes:
    """Return 32 bytes from base64url; WireError ``malformed``."""
    try:
        return unb64u(text, KEY_BYTES)
    except ValueError as error:
        raise WireError("malformed", f"a key: {error}") from None
