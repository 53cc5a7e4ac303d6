"""Nodes with a memory of their own, and authors whose records reach them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from xmesh_mesh.admission import Judge
from xmesh_mesh.canonical import b64u
from xmesh_mesh.encoding.static import StaticEncoder
from xmesh_mesh.identity import Identity, create_identity
from xmesh_mesh.introduction import Introduction, introduce
from xmesh_mesh.memory import Judged, Memory
from xmesh_mesh.node import Node, Received
from xmesh_mesh.pins import Pins, Trust
from xmesh_mesh.record import Record, compose, encode
from xmesh_mesh.signing import assertion_id, sign

static_judge = Judge(StaticEncoder())

NOW = 1_800_000_000_000
GROUP = "lab"


class Author:
    """Somebody who signs records."""

    def __init__(self, name: str) -> None:
        self.identity: Identity = create_identity(name, NOW)
        self.node_id = self.identity.node_id

    def introduction(self, group: str = GROUP) -> Introduction:
        return introduce(self.identity, group, implementation="test", now_ms=NOW)

    def from_afar(self, **changes: Any) -> Introduction:
        """Return what a gateway says of this author, as of a deployed node on another host."""
        who = (self.node_id, self.identity.name, GROUP, b64u(self.identity.public_key))
        return replace(Introduction(*who, "mmp", "remote", NOW, ""), **changes)

    def says(self, texts: Mapping[str, str] | str, **changes: Any) -> Record:
        """Return a signed record; a plain text is its focus. ``changes`` go to ``compose``."""
        spoken = {"focus": texts} if isinstance(texts, str) else texts
        arguments: dict[str, Any] = {
            "created_by": self.identity.name,
            "created_ms": NOW,
            "group": GROUP,
            **changes,
        }
        return sign(compose(spoken, **arguments), self.identity.seed)


def judged(author: str = "somebody", **changes: Any) -> Judged:
    values: dict[str, Any] = {
        "author": author,
        "own": False,
        "directed": False,
        "admitted": True,
        "verdict": "aligned",
        "drift": 0.1,
        "reasons": ("it matters",),
        "fields": "{}",
        "mood": "",
        **changes,
    }
    return Judged(**values)


def store(memory: Memory, record: Record, *, wakes: bool = False, **changes: Any) -> str:
    """Store a record as admitted (or as ``changes`` of its verdict say); return its assertion."""
    assertion = assertion_id(record)
    with memory.transaction():
        memory.remember(
            record,
            assertion,
            judged(**changes),
            wire=encode(record),
            seq=1,
            now_ms=NOW,
            wakes=wakes,
        )
    return assertion


@contextmanager
def node(
    path: Path,
    *known: Author,
    name: str = "reviewer-01",
    charter: str = "Reviews drafts of specifications.",
    weights: Mapping[str, float] | None = None,
    judge: Judge = static_judge,
    trust: Trust = "tofu",
) -> Iterator[Node]:
    """A node in ``path`` that has met itself and ``known``, and judges as peers do by default."""
    identity = create_identity(name, NOW)
    memory = Memory.open(path / "memory.db")
    try:
        made = Node(
            identity=identity,
            group=GROUP,
            memory=memory,
            pins=Pins(path / "pins.json"),
            charter=charter,
            weights=weights or {},
            judge=judge,
            trust=trust,
        )
        made.meet(introduce(identity, GROUP, implementation="test", now_ms=NOW))
        for author in known:
            made.meet(author.introduction())
        yield made
    finally:
        memory.close()


def deliver(made: Node, author: Author, record: Record | bytes, **changes: Any) -> Received:
    """Deliver one record as the bus would."""
    data = encode(record) if isinstance(record, Record) else record
    arguments: dict[str, Any] = {"seq": 1, "now_ms": NOW, **changes}
    with made.memory.transaction():
        return made.receive(author.node_id, data, **arguments)
