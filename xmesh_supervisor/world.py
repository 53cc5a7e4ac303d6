"""What the gateway says of other hosts, as ``ps`` and ``peers`` show it."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["Endpoint", "Relay", "Remote", "Transport", "World", "read"]


class Transport(msgspec.Struct, frozen=True):
    kind: str
    secure: bool = False
    address: str = ""
    since_s: float | None = None
    heard_s_ago: float | None = None
    healthy: bool = False


class Remote(msgspec.Struct, frozen=True, kw_only=True):
    """A node of another host, as one local peer meets it."""

    local: str
    node_id: str
    name: str
    group: str
    implementation: str = ""
    trust: str = ""
    preferred: str | None = None
    transports: list[Transport] = []
    last_seen_ms: int = 0
    sent: int = 0
    received: int = 0
    waiting: int = 0
    refused: dict[str, int] = {}

    @property
    def links(self) -> list[Transport]:
        return [transport for transport in self.transports if transport.healthy]


class Relay(msgspec.Struct, frozen=True):
    url: str = ""
    state: str = ""
    reason: str = ""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One local peer on the wire; a port is None where it does not listen."""

    name: str
    node_id: str = ""
    group: str = ""
    lan_port: int | None = None
    secure_port: int | None = None
    relay: Relay | None = None


class World(msgspec.Struct, frozen=True):
    endpoints: list[Endpoint]
    peers: list[Remote]

    def endpoint(self, name: str) -> Endpoint | None:
        return next((each for each in self.endpoints if each.name == name), None)

    def links(self, name: str) -> dict[str, int]:
        """Return how many remote nodes the local peer reaches, by the kind of the link."""
        linked = [remote.links for remote in self.peers if remote.local == name]
        return dict(Counter(kind for links in linked for kind in {link.kind for link in links}))


def read(answer: Mapping[str, Any]) -> World | None:
    """Return what the gateway's ``status`` says; None where it is not that."""
    try:
        return msgspec.convert(answer, World)
    except msgspec.ValidationError:
        return None
