"""Operators: those of this host in the store, and those whom a remote node has presented.

An operator says something now and then and has no link, so the links of its host's peers carry its
records. They are believed as far as its own key goes; the node that brings them says only whence.
"""

from typing import Any, Final

import msgspec

from xmesh_mesh.canonical import nfc
from xmesh_mesh.errors import RecordError
from xmesh_mesh.gateway.clock import wall_ms
from xmesh_mesh.gateway.talk import Counterpart
from xmesh_mesh.introduction import Introduction, check_introduction
from xmesh_mesh.paths import OPERATOR

__all__ = ["MAX_OPERATORS", "Presented", "as_bytes", "check_operator", "from_bytes"]

MAX_OPERATORS: Final = 8  # of one remote node: a root has one, and another one with new keys

_decoder = msgspec.json.Decoder(Introduction)


def as_bytes(introduction: Introduction) -> bytes:
    return msgspec.json.encode(introduction)


def from_bytes(data: bytes) -> Introduction:
    """Return what ``as_bytes`` was given."""
    return _decoder.decode(data)


def check_operator(introduction: Introduction, group: str) -> Counterpart:
    """Return whom a remote node presents as an operator.

    RecordError as ``check_introduction`` says; ``wrong-audience``, ``wrong-author``.
    """
    key = check_introduction(introduction)
    if nfc(introduction.group) != nfc(group):
        raise RecordError("wrong-audience", f"the operator is one of {introduction.group}")
    if introduction.name != OPERATOR:
        raise RecordError("wrong-author", f"{introduction.name} is presented as an operator")
    return Counterpart(introduction.node_id, OPERATOR, key, secure=True)


class Presented:
    """The operators whom one remote node has presented, whether or not their keys are trusted."""

    def __init__(self) -> None:
        self._known: dict[str, Counterpart] = {}
        self._ever: set[Counterpart] = set()
        self._heard: dict[str, tuple[int, int]] = {}  # how many records, and when

    def add(self, operator: Counterpart) -> None:
        """RecordError ``too-many-operators``: keys under one node id count each by itself."""
        if operator not in self._ever and len(self._ever) >= MAX_OPERATORS:
            raise RecordError("too-many-operators", f"it has presented {MAX_OPERATORS} already")
        self._ever.add(operator)
        self._known[operator.node_id] = operator
        self._heard.setdefault(operator.node_id, (0, wall_ms()))

    def get(self, node_id: str) -> Counterpart | None:
        return self._known.get(node_id)

    def heard(self, node_id: str) -> None:
        """A record of this one has come."""
        self._heard[node_id] = (self._heard[node_id][0] + 1, wall_ms())

    def status(self, group: str, via: str) -> list[dict[str, Any]]:
        """Return the rows of ``peers``; ``via`` is the name of the node that brings the records."""
        return [
            {
                "node_id": node_id,
                "name": operator.name,
                "group": group,
                "implementation": operator.implementation,
                "via": via,
                "preferred": None,
                "transports": [],
                "last_seen_ms": self._heard[node_id][1],
                "sent": 0,
                "received": self._heard[node_id][0],
                "waiting": 0,
                "refused": {},
            }
            for node_id, operator in self._known.items()
        ]
