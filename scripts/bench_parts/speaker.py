"""A signing member of the bench's own, and the records that it says."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from bench_parts.mesh import GROUP
from xmesh_mesh.identity import Identity, create_identity
from xmesh_mesh.introduction import Introduction, introduce
from xmesh_mesh.memory import Memory
from xmesh_mesh.node import Node
from xmesh_mesh.pins import Pins

WEIGHTS = dict.fromkeys(
    ("focus", "issue", "intent", "motivation", "commitment", "perspective", "mood"), 1.0
)
CHARTER = "Drafts and reviews the specification, design, code and tests of an endpoint."

_SYLLABLES = [a + b for a in "bdfgklmnprst" for b in ("a", "e", "i", "or", "us")]
_VOCABULARY = [
    "".join(found) for found in product(_SYLLABLES[::4], _SYLLABLES[1::3], _SYLLABLES[::9])
]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def identity(name: str) -> Identity:
    return create_identity(name, now_ms())


def introduction(who: Identity) -> Introduction:
    return introduce(who, GROUP, implementation="xmesh-bench", now_ms=now_ms())


@contextmanager
def node(directory: Path, name: str) -> Iterator[Node]:
    """Yield a node with a store of its own in ``directory``, as a peer has it."""
    memory = Memory.open(directory / name / "memory.db")
    try:
        yield Node(
            identity=identity(name),
            group=GROUP,
            memory=memory,
            pins=Pins(directory / name / "pins.json"),
            charter=CHARTER,
            weights=WEIGHTS,
        )
    finally:
        memory.close()


def short_texts() -> dict[str, str]:
    """Return what a person types: it concerns every peer of the bench, and is never the same.

    Its number makes it new beyond doubt; words without any meaning may pass for a restatement.
    """
    return {
        "focus": f"draft the specification of endpoint {random.randrange(10**9)}",
        "intent": f"review the design and the code of {words(4)}",
    }


def long_texts() -> dict[str, str]:
    """Return texts that make a record of about 1.5 kB."""
    return {"focus": f"the design of endpoint {words(75)}", "issue": f"a feature {words(75)}"}


def words(count: int) -> str:
    """Return words that share letters as a language's do, picked anew with each call."""
    return " ".join(random.choices(_VOCABULARY, k=count))
