"""What the gateway says of other hosts, as ``ps`` and ``peers`` show it.

``ps`` is asked for often, so nothing heavy is imported here, and the types read themselves.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

__all__ = ["Endpoint", "Relay", "Remote", "Transport", "World", "read"]

Kinds = Mapping[str, type | tuple[type, ...]]

_NUMBER = (int, float, type(None))


class _Told:
    """A value that a gateway tells as a JSON object; what is not known here is passed over."""

    KINDS: ClassVar[Kinds] = {}

    @classmethod
    def read(cls, told: object) -> Self:
        """Return the value, nested ones unread; TypeError where the object is of another shape."""
        if not isinstance(told, dict):
            raise TypeError("no object")
        given = {key: value for key, value in told.items() if key in cls.KINDS}
        if not all(isinstance(value, cls.KINDS[key]) for key, value in given.items()):
            raise TypeError("a value of another kind")
        return cls(**given)


@dataclass(frozen=True)
class Transport(_Told):
    kind: str
    secure: bool = False
    address: str = ""
    since_s: float | None = None
    heard_s_ago: float | None = None
    healthy: bool = False

    KINDS: ClassVar[Kinds] = {
        **dict.fromkeys(("kind", "address"), str),
        **dict.fromkeys(("secure", "healthy"), bool),
        **dict.fromkeys(("since_s", "heard_s_ago"), _NUMBER),
    }


@dataclass(frozen=True)
class Remote(_Told):
    """A node of another host, as one local peer meets it.

    ``via`` is set for an operator: the name of the peer that brings its words.
    """

    local: str
    node_id: str
    name: str
    group: str
    implementation: str = ""
    trust: str = ""
    via: str = ""
    preferred: str | None = None
    transports: list[Transport] = field(default_factory=list)
    last_seen_ms: int = 0
    sent: int = 0
    received: int = 0
    waiting: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    KINDS: ClassVar[Kinds] = {
        **dict.fromkeys(("local", "node_id", "name", "group", "implementation", "trust"), str),
        "via": str,
        **dict.fromkeys(("last_seen_ms", "sent", "received", "waiting"), int),
        "preferred": (str, type(None)),
        "transports": list,
        "refused": dict,
    }

    @property
    def links(self) -> list[Transport]:
        """Return the links that work now."""
        return [link for link in self.transports if link.healthy]


@dataclass(frozen=True)
class Relay(_Told):
    url: str = ""
    state: str = ""
    reason: str = ""

    KINDS: ClassVar[Kinds] = dict.fromkeys(("url", "state", "reason"), str)


@dataclass(frozen=True)
class Endpoint(_Told):
    """One local peer on the wire; a port is None where it does not listen."""

    name: str
    node_id: str = ""
    group: str = ""
    lan_port: int | None = None
    secure_port: int | None = None
    relay: Relay | None = None

    KINDS: ClassVar[Kinds] = {
        **dict.fromkeys(("name", "node_id", "group"), str),
        **dict.fromkeys(("lan_port", "secure_port"), (int, type(None))),
        "relay": (dict, type(None)),
    }


@dataclass(frozen=True)
class World:
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
        endpoints = [_endpoint(told) for told in answer["endpoints"]]
        return World(endpoints, [_remote(told) for told in answer["peers"]])
    except (KeyError, TypeError):
        return None


def _endpoint(told: object) -> Endpoint:
    endpoint = Endpoint.read(told)
    relay = endpoint.relay
    return endpoint if relay is None else replace(endpoint, relay=Relay.read(relay))


def _remote(told: object) -> Remote:
    remote = Remote.read(told)
    return replace(remote, transports=[Transport.read(link) for link in remote.transports])
