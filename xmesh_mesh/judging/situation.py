"""What a judgement is about: the message, the peer that judges, and what it knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from xmesh_mesh.encoding.kernels import Vectors

__all__ = ["Anchor", "Message", "Peer", "Space", "Standing", "Thread", "whole"]


class Space(Protocol):
    """Texts to vectors of one kernel; rows are of norm 1 or 0."""

    def __call__(self, texts: Sequence[str]) -> Vectors: ...


@dataclass(frozen=True, slots=True)
class Anchor:
    """Something that the peer knows; ``name`` says which, for people. ``author`` is a name too.

    ``answered``: the peer has spoken because of it.
    """

    name: str
    texts: Mapping[str, str]
    thread: bool = False
    parent: bool = False
    author: str = ""
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """Who judges: its charter, the weights of the fields, and its name, which tells its role."""

    charter: str
    weights: Mapping[str, float] = field(default_factory=dict)
    name: str = ""

    def vouches_for(self, anchor: Anchor) -> bool:
        """Tell whether the peer said or answered it. What it only let in may be a mistake."""
        return anchor.answered or (bool(self.name) and anchor.author == self.name)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the newest records of an author were to this peer: news, repeats, or foreign; and how
    many of them it ``answered``."""

    news: int = 0
    repeats: int = 0
    foreign: int = 0
    answered: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """What is judged: the fields that say anything, and who says it."""

    texts: Mapping[str, str]
    standing: Standing = field(default_factory=Standing)


@dataclass(frozen=True, slots=True)
class Thread:
    """Where the message stands: in a thread that the peer knows, under a record of its own, or
    only under records that were foreign to it."""

    known: bool = False
    answers_own: bool = False
    answers_foreign: bool = False


def whole(texts: Mapping[str, str]) -> str:
    """Return all that a record says as one text; its mood only where it says nothing else."""
    said = [text for name, text in texts.items() if name != "mood"]
    return ". ".join(said or texts.values())
