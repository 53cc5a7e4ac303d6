"""How a message lies to what a peer cares for and knows, as numbers from 0 to about 1.

``values`` are about the message before all that is known; ``pairs`` hold a row for each thing
known. A score of *concern* reads the values and the row of the nearest anchor. A score of
*novelty* reads the values that are not about likeness, and each row by itself: what counts is the
anchor before which the message is least new. With the signs that ``RISING`` and ``FALLING`` hold,
more memory never makes a known thing new again. A field that says nothing (empty, "neutral")
carries no weight anywhere. Pure; a ``Space`` brings the vectors.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import log, log1p
from typing import Final, Protocol

import numpy as np

from xmesh_mesh.encoding.kernels import Vectors, unit
from xmesh_mesh.judging.cues import Cues, cues
from xmesh_mesh.judging.everyday import EVERYDAY
from xmesh_mesh.judging.pairs import PAIR, Rows, rows
from xmesh_mesh.judging.rarity import rarity, weight_of
from xmesh_mesh.relevance import affinity, terms

__all__ = [
    "FALLING",
    "NAMES",
    "OF_CONCERN",
    "OF_NOVELTY",
    "RISING",
    "Anchor",
    "FieldView",
    "Message",
    "Peer",
    "Standing",
    "Thread",
    "View",
    "clauses",
    "look",
    "whole",
]

# What more memory can only raise or only lower, of all that novelty reads beside the rows.
RISING: Final = ("thread", "answers_own")
FALLING: Final = (
    "words_new", "stems_new", "numbers_new", "digits_new", "names_new", "polarity_new",
)  # fmt: skip

# How a message looks: it says much of whether it is news, nothing of whose business it is.
_SURFACE = (
    "short", "length", "issue", "intent", "commitment", "perspective", "motivation", "focus",
    "fields", "negated", "change", "delivering", "courtesy", "restating", "question", "numbers",
    "names", "repeats",
)  # fmt: skip

# What each score is learnt from.
OF_NOVELTY: Final = (
    *_SURFACE, *RISING, *FALLING, *PAIR, "news", "foreigner", "other_language", "long",
)  # fmt: skip
OF_CONCERN: Final[tuple[str, ...]] = (
    "charter_sim", "charter_whole", "charter_field", "charter_words", "charter_rare",
    "excluded_sim", "excludes", "everyday", "charter_memory", "memory_sim", "memory_field",
    "memory_few", "memory_mean", "memory_centre", "memory_words", "memory_rare", "memory_best",
    "memory_rarest", "thread_sim", "thread_centre", "thread_rare", "parent_sim", "exact", "rare",
    "words_new", "words_far", "numbers_new", "names_new", "thread", "answers_own",
    "answers_foreign", "news", "foreigner", "names_me", "names_another", "other_language", "long",
    "near_charter", *(f"near_{name}" for name in PAIR),
)  # fmt: skip
# All that a view's values are called; what is in none of the above steers bars and emphasis.
NAMES: Final = frozenset({*OF_CONCERN, *OF_NOVELTY, "alone", "emphasis", "weight_share"})

# Beyond so many words a text grows a little like everything.
_LONG = 12

_EXCLUDES = re.compile(r"\b(?:not|no|never|themselves|elsewhere|others?)\b", re.IGNORECASE)
_CLAUSE = re.compile(r"[.;:]\s+")
_NAME = re.compile(r"[^\W\d_]+")
_JOINTS = re.compile(r"[-_]")


class Space(Protocol):
    """Texts to vectors of one kernel; rows are of norm 1 or 0."""

    def __call__(self, texts: Sequence[str]) -> Vectors: ...


@dataclass(frozen=True, slots=True)
class Peer:
    """Who judges: its charter, the weights of the fields, and its name, which tells its role."""

    charter: str
    weights: Mapping[str, float] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Anchor:
    """Something that the peer knows; ``name`` says which, for people. ``author`` is a name too."""

    name: str
    texts: Mapping[str, str]
    thread: bool = False
    parent: bool = False
    author: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the newest records of an author were to this peer: news, repeats, or foreign."""

    news: int = 0
    repeats: int = 0
    foreign: int = 0


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


@dataclass(frozen=True, slots=True)
class FieldView:
    """One field: similarity to the charter and to the nearest anchor (its index, -1 for none)."""

    name: str
    charter: float
    nearest: float
    index: int
    weight: float


@dataclass(frozen=True, slots=True)
class View:
    """The numbers by name, a row of ``PAIR`` for each anchor, and what explanations need."""

    values: Mapping[str, float]
    pairs: Rows
    fields: tuple[FieldView, ...]
    nearest: int
    repeats: bool
    shared: frozenset[str]

    def before(self, anchor: int) -> dict[str, float]:
        """Return all values of the message before one anchor; those of all where it is -1."""
        row = self.pairs[anchor] if anchor >= 0 else np.zeros(len(PAIR))
        return {**self.values, **dict(zip(PAIR, map(float, row), strict=True))}


def whole(texts: Mapping[str, str]) -> str:
    """Return all that a record says as one text; its mood only where it says nothing else."""
    said = [text for name, text in texts.items() if name != "mood"]
    return ". ".join(said or texts.values())


def clauses(charter: str) -> tuple[list[str], list[str]]:
    """Split a charter into what it wants and what it excludes ("other depots are not ...")."""
    parts = [part.strip() for part in _CLAUSE.split(charter) if part.strip()]
    out = [part for part in parts if _EXCLUDES.search(part)]
    wanted = [part for part in parts if part not in out]
    return wanted or parts, out


def look(
    message: Message, peer: Peer, anchors: Sequence[Anchor], thread: Thread, space: Space
) -> View:
    """Return the view of a message that says something."""
    weights = peer.weights
    names = [name for name in message.texts if name != "mood"] or list(message.texts)
    spoken = {name: message.texts[name] for name in names}
    share = np.array([weights.get(name, 1.0) for name in names])
    share = share / share.sum() if share.sum() > 0 else share
    size = np.array([len(text) for text in spoken.values()], dtype=float)
    size = size / max(1.0, size.sum())
    wholes = [whole(anchor.texts) for anchor in anchors]
    text, known = cues(whole(message.texts)), [cues(one) for one in wholes]
    vectors = _vectors(space, message, names, share, peer.charter, wholes)
    pairs = rows(
        text,
        known,
        vectors.anchors @ vectors.whole,
        size @ np.maximum(vectors.fields @ vectors.anchors.T, 0.0),
        [(anchor.thread, anchor.parent, "intent" in anchor.texts) for anchor in anchors],
    )
    nearest = int((pairs[:, _COSINE] + pairs[:, _COVERED]).argmax()) if len(pairs) else -1
    charter = cues(peer.charter)
    # All that is said in memory, and of that in the thread.
    interest = frozenset[str]().union(*(one.stems for one in known))
    inside = frozenset[str]().union(
        *(one.stems for one, anchor in zip(known, anchors, strict=True) if anchor.thread)
    )
    values = {
        **_similar(vectors, share, anchors),
        **_lexical(text, known, interest, charter.stems),
        **_rare(spoken, share, charter.stems, interest, inside),
        **_surface(message, names, weights, text, charter.language),
        **_names(whole(message.texts), peer.name, anchors),
        **_near(pairs, nearest, vectors),
        "thread": float(thread.known),
        "answers_own": float(thread.answers_own),
        "answers_foreign": float(thread.answers_foreign),
        "alone": float(not anchors),
    }
    values["charter_words"], _, shared = affinity(spoken, charter.stems, weights)
    values["memory_words"], _, also = affinity(spoken, interest, weights)
    return View(
        values=values,
        pairs=pairs,
        fields=tuple(_field(n, vectors, i, weights) for i, n in enumerate(names)),
        nearest=nearest,
        repeats=any(_adds_nothing(text, one) for one in known),
        shared=shared | also,
    )


_COSINE, _COVERED = PAIR.index("cosine"), PAIR.index("covered")


def _adds_nothing(text: Cues, known: Cues) -> bool:
    """Tell whether all words and numbers stand in one anchor, of the same polarity."""
    said = text.stems | text.names
    return (
        bool(said or text.numbers)
        and said <= known.stems | known.names
        and text.numbers <= known.numbers
        and text.negated == known.negated
        and not text.question
    )


@dataclass(frozen=True, slots=True)
class _Vectors:
    """``heard`` is the whole as the weights have it: what a heavy field says, it says louder."""

    whole: Vectors
    heard: Vectors
    fields: Vectors
    charter: Vectors
    wanted: Vectors
    excluded: Vectors
    everyday: Vectors
    anchors: Vectors


def _vectors(
    space: Space,
    message: Message,
    names: Sequence[str],
    share: Vectors,
    charter: str,
    anchors: Sequence[str],
) -> _Vectors:
    texts = [message.texts[name] for name in names]
    wanted, excluded = clauses(charter)
    parts = ([whole(message.texts)], texts, [charter], wanted, excluded, EVERYDAY, anchors)
    found = space([text for part in parts for text in part])
    ends = np.cumsum([len(part) for part in parts])[:-1]
    first, fields, all_, good, bad, everyday, known = np.split(found, ends)
    loud = (share * [len(text) for text in texts]).astype(np.float32)
    heard = unit((loud @ fields)[None, :])[0]
    return _Vectors(first[0], heard, fields, all_[0], good, bad, everyday, known)


def _best(rows: Vectors, vector: Vectors) -> float:
    return max(0.0, float((rows @ vector).max())) if len(rows) else 0.0


def _mean(rows: Vectors) -> Vectors:
    """Return the direction of the rows' mean, zeros where there are none."""
    total: Vectors = rows.sum(axis=0, keepdims=True)
    direction: Vectors = unit(total)[0]
    return direction


def _similar(vectors: _Vectors, share: Vectors, anchors: Sequence[Anchor]) -> dict[str, float]:
    thread = vectors.anchors[[i for i, anchor in enumerate(anchors) if anchor.thread]]
    parent = vectors.anchors[[i for i, anchor in enumerate(anchors) if anchor.parent]]
    near = vectors.anchors @ vectors.heard
    centre = _mean(vectors.anchors)
    return {
        "charter_sim": _best(vectors.wanted, vectors.heard),
        "charter_whole": float(vectors.charter @ vectors.heard),
        "charter_field": _by_field(vectors.fields, vectors.wanted, share),
        "charter_memory": float(vectors.charter @ centre),
        "excluded_sim": _best(vectors.excluded, vectors.heard),
        "excludes": float(len(vectors.excluded) > 0),
        "everyday": _best(vectors.everyday, vectors.heard),
        "memory_sim": _best(vectors.anchors, vectors.heard),
        "memory_field": _by_field(vectors.fields, vectors.anchors, share),
        "memory_few": float(np.sort(near)[-_FEW:].mean()) if len(near) else 0.0,
        "memory_mean": float(near.mean()) if len(near) else 0.0,
        "memory_centre": float(centre @ vectors.heard),
        "thread_sim": _best(thread, vectors.heard),
        "thread_centre": float(_mean(thread) @ vectors.heard),
        "parent_sim": _best(parent, vectors.heard),
    }


_FEW = 3


def _by_field(fields: Vectors, rows: Vectors, share: Vectors) -> float:
    if not len(rows):
        return 0.0
    return float(share @ np.maximum((fields @ rows.T).max(axis=1), 0.0))


def _near(pairs: Rows, nearest: int, vectors: _Vectors) -> dict[str, float]:
    """Return the row of the nearest anchor, and how that one lies to the charter."""
    row = pairs[nearest] if nearest >= 0 else np.zeros(len(PAIR))
    anchor = vectors.anchors[nearest] if nearest >= 0 else np.zeros(len(vectors.charter))
    return {
        **{f"near_{name}": float(value) for name, value in zip(PAIR, row, strict=True)},
        "near_charter": float(vectors.charter @ anchor),
    }


def _lexical(
    text: Cues, known: Sequence[Cues], stems: frozenset[str], charter: frozenset[str]
) -> dict[str, float]:
    size = max(1, len(text.stems))
    numbers = frozenset[float]().union(*(one.numbers for one in known))
    names = text.names & stems.union(*(one.names for one in known))
    shared = [text.stems & one.stems for one in known]
    common = max(map(len, shared), default=0)
    exact = len(names) + sum(number > 3 for number in text.numbers & numbers)
    new = len(text.stems - stems)
    says = weight_of(text.stems) or 1.0
    return {
        "exact": min(3, exact) / 3,
        "memory_rarest": max((rarity(one) for one in text.stems & (stems | charter)), default=0.0),
        "memory_best": max(map(weight_of, shared), default=0.0) / says**0.5,
        "rare": says / size,
        "words_new": new / size,
        "words_far": 1.0 - common / size,
        "stems_new": log1p(new) / 3,
        "numbers_new": float(bool(text.numbers - numbers)),
        "digits_new": float(bool(text.digits - numbers)),
        "names_new": float(names != text.names),
        "polarity_new": float(
            all(
                one.negated != text.negated
                for one, both in zip(known, shared, strict=True)
                if len(both) >= 2
            )
        ),
    }


def _rare(
    spoken: Mapping[str, str],
    share: Vectors,
    charter: frozenset[str],
    memory: frozenset[str],
    thread: frozenset[str],
) -> dict[str, float]:
    """Return how much of what each field says is said there too, heard by the fields' weights."""
    there = {"charter_rare": charter, "memory_rare": memory, "thread_rare": thread}
    stems = [terms(text) for text in spoken.values()]
    says = [weight_of(one) or 1.0 for one in stems]
    return {
        name: float(share @ [weight_of(s & held) / w for s, w in zip(stems, says, strict=True)])
        for name, held in there.items()
    }


def _names(text: str, name: str, anchors: Sequence[Anchor]) -> dict[str, float]:
    """Tell whether a message names the peer's role ("for reviewers"), or that of one it knows."""
    said = _JOINTS.sub(" ", text.casefold())
    mine = _role(name)
    others = {_role(anchor.author) for anchor in anchors} - {mine, ""}
    return {
        "names_me": float(bool(mine) and _is_in(mine, said)),
        "names_another": float(any(_is_in(other, said) for other in others)),
    }


@lru_cache(maxsize=1_024)
def _role(name: str) -> str:
    return " ".join(_NAME.findall(name.casefold()))


def _is_in(role: str, text: str) -> bool:
    return role in text and bool(re.search(rf"\b{re.escape(role)}s?\b", text))


def _surface(
    message: Message,
    names: Sequence[str],
    weights: Mapping[str, float],
    text: Cues,
    language: str,
) -> dict[str, float]:
    total = sum(weights.get(name, 1.0) for name in _SPEAKING)
    heavy = sum(weights.get(n, 1.0) * len(message.texts[n]) for n in names)
    heavy /= max(1, sum(len(message.texts[n]) for n in names))
    return {
        "short": float(text.words <= 6),
        "length": log1p(text.words) / 4,
        "long": log(max(text.words, _LONG) / _LONG) / 2,
        "weight_share": sum(weights.get(name, 1.0) for name in names) / max(total, 1e-9),
        "emphasis": log(max(heavy, 0.1) / max(total / len(_SPEAKING), 0.1)),
        **{name: float(name in names) for name in _SPEAKING},
        "fields": len(names) / 3,
        "other_language": float(text.language not in {language, "", "en"}),
        "negated": float(text.negated),
        "change": min(3, text.change) / 3,
        "delivering": min(2, text.delivering) / 2,
        "restating": min(2, text.restating) / 2,
        "courtesy": min(2, text.courtesy) / 2,
        "question": float(text.question),
        "numbers": float(bool(text.numbers)),
        "names": float(bool(text.names)),
        "news": min(1.0, log1p(message.standing.news) / 3),
        "repeats": min(1.0, log1p(message.standing.repeats) / 3),
        "foreigner": min(1.0, log1p(message.standing.foreign) / 3),
    }


_SPEAKING = ("focus", "issue", "intent", "motivation", "commitment", "perspective")


def _field(name: str, vectors: _Vectors, index: int, weights: Mapping[str, float]) -> FieldView:
    row = vectors.fields[index]
    near = vectors.anchors @ row
    return FieldView(
        name=name,
        charter=_best(vectors.wanted, row),
        nearest=max(0.0, float(near.max())) if len(near) else 0.0,
        index=int(near.argmax()) if len(near) else -1,
        weight=weights.get(name, 1.0),
    )
