"""Which sleeping nodes can be woken, and how. Pure; each channel has a directory of its own.

A node's own word stands above what others say of it: gossip never replaces a declaration, and is
the first to go when the directory is full. An entry is kept for a stated time after its node was
last there.
"""

from collections.abc import Container
from dataclasses import dataclass

from xmesh_mesh.relay.frames import Listed, WakeChannel

__all__ = ["Directory"]


@dataclass(slots=True)
class _Entry:
    name: str
    wake: WakeChannel
    own: bool
    seen_ms: int


class Directory:
    """At most ``most`` entries, each kept ``keep_ms`` after its node was last seen."""

    def __init__(self, most: int, keep_ms: int) -> None:
        self._most = most
        self._keep_ms = keep_ms
        self._entries: dict[str, _Entry] = {}

    def declare(self, node_id: str, name: str, wake: WakeChannel, now_ms: int) -> None:
        """Take a node's own word; the oldest gossip, else the oldest entry, makes room for it."""
        self._entries.pop(node_id, None)
        if len(self._entries) >= self._most:
            del self._entries[self._oldest_gossip() or next(iter(self._entries))]
        self._entries[node_id] = _Entry(name, wake, own=True, seen_ms=now_ms)

    def hear(self, node_id: str, name: str, wake: WakeChannel, now_ms: int) -> None:
        """Take what another node says, unless the node has spoken for itself."""
        known = self._entries.get(node_id)
        if known is not None and known.own:
            return
        self._entries.pop(node_id, None)
        if len(self._entries) >= self._most:
            gossip = self._oldest_gossip()
            if gossip is None:
                return
            del self._entries[gossip]
        self._entries[node_id] = _Entry(name, wake, own=False, seen_ms=now_ms)

    def left(self, node_id: str, now_ms: int) -> None:
        """Count the time that the node's own entry is kept from now."""
        entry = self._entries.get(node_id)
        if entry is not None and entry.own:
            entry.seen_ms = now_ms

    def own(self, node_id: str) -> WakeChannel | None:
        """Return what the node itself declared."""
        entry = self._entries.get(node_id)
        return entry.wake if entry is not None and entry.own else None

    def offline(self, present: Container[str], now_ms: int) -> list[Listed]:
        """Forget what is too old; return the nodes that are not there and could be woken."""
        absent = {key: entry for key, entry in self._entries.items() if key not in present}
        for node_id, entry in list(absent.items()):
            if now_ms - entry.seen_ms > self._keep_ms:
                del self._entries[node_id], absent[node_id]
        return [Listed(key, each.name, each.wake, offline=True) for key, each in absent.items()]

    def _oldest_gossip(self) -> str | None:
        return next((key for key, entry in self._entries.items() if not entry.own), None)
