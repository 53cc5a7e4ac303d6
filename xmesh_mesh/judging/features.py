"""How a message lies to what a peer cares for and knows, as a handful of numbers from 0 to about 1.

Two groups. ``concern`` says how far it is this peer's business: what comes from anchors can only
grow with them. ``novelty`` says how far it is new: what comes from anchors can only shrink. With
the signs that ``RISING`` and ``FALLING`` hold, more memory never makes a known thing new again.
A field that says nothing (empty, "neutral") carries no weight anywhere. Pure; a ``Space`` brings
the vectors.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log, log1p
from typing import Final, Protocol

import numpy as np

from xmesh_mesh.encoding.kernels import Vectors, unit
from xmesh_mesh.judging.cues import Cues, cues
from xmesh_mesh.relevance import affinity

__all__ = [
    "FALLING",
    "NOT_LEARNT",
    "RISING",
    "SURFACE",
    "Anchor",
    "FieldView",
    "Message",
    "Standing",
    "Thread",
    "View",
    "clauses",
    "look",
    "whole",
]

# With these, signs are held: see the module's docstring.
RISING: Final = (
    "memory_sim", "memory_field", "memory_words", "memory_best", "exact", "thread",
    "thread_sim", "thread_words", "answers_own",
)  # fmt: skip
FALLING: Final = (
    "far", "far_field", "far_thread", "far_parent", "words_new", "words_far", "stems_new",
    "numbers_new", "digits_new", "names_new", "polarity_new",
)  # fmt: skip

# What a message looks like: it says much of whether it is news, nothing of whose business it is.
SURFACE: Final = (
    "short", "length", "issue", "intent", "commitment", "perspective", "motivation", "focus",
    "fields", "negated", "change", "courtesy", "restating", "question", "numbers", "names",
    "repeats",
)  # fmt: skip

# Beyond so many words a text grows a little like everything.
_LONG = 12

# These steer the bars and the weights' say; a score learns nothing of them.
NOT_LEARNT: Final = frozenset({"alone", "emphasis", "weight_share"})

_EXCLUDES = re.compile(r"\b(?:not|no|never|themselves|elsewhere|others?)\b", re.IGNORECASE)
_CLAUSE = re.compile(r"[.;:]\s+")


class Space(Protocol):
    """Texts to vectors of one kernel; rows are of norm 1 or 0."""

    def __call__(self, texts: Sequence[str]) -> Vectors: ...


@dataclass(frozen=True, slots=True)
class Anchor:
    """Something that the peer knows; ``name`` says which, for people."""

    name: str
    texts: Mapping[str, str]
    thread: bool = False
    parent: bool = False
    own: bool = False


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
class FieldView:
    """One field: similarity to the charter and to the nearest anchor (its index, -1 for none)."""

    name: str
    charter: float
    nearest: float
    index: int
    weight: float


@dataclass(frozen=True, slots=True)
class View:
    """The numbers by name, and what they were read off, for explanations."""

    values: Mapping[str, float]
    fields: tuple[FieldView, ...]
    nearest: int
    repeats: bool
    shared: frozenset[str]


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


@dataclass(frozen=True, slots=True)
class Thread:
    """Where the message stands: in a thread that the peer knows, under a record of its own, or
    only under records that were foreign to it."""

    known: bool = False
    answers_own: bool = False
    answers_foreign: bool = False


def look(
    message: Message,
    charter: str,
    weights: Mapping[str, float],
    anchors: Sequence[Anchor],
    thread: Thread,
    space: Space,
) -> View:
    """Return the view of a message that says something."""
    names = [name for name in message.texts if name != "mood"] or list(message.texts)
    share = np.array([weights.get(name, 1.0) for name in names])
    share = share / share.sum() if share.sum() > 0 else share
    wanted, excluded = clauses(charter)
    texts = [whole(message.texts), *(message.texts[name] for name in names)]
    loud = share * [len(text) for text in texts[1:]]
    vectors = _vectors(space, texts, loud, wanted, excluded, [whole(a.texts) for a in anchors])
    text_cues = cues(texts[0])
    known = [cues(whole(anchor.texts)) for anchor in anchors]
    spoken = {name: message.texts[name] for name in names}
    values = {
        **_similar(vectors, share, anchors),
        **_lexical(text_cues, known, anchors),
        **_surface(message, names, weights, text_cues, cues(charter).language),
        "thread": float(thread.known),
        "answers_own": float(thread.answers_own),
        "answers_foreign": float(thread.answers_foreign),
        "alone": float(not anchors),
    }
    interest = frozenset[str]().union(*(one.stems for one in known))
    charter_stems = cues(charter).stems
    values["charter_words"], _, shared = affinity(spoken, charter_stems, weights)
    values["memory_words"], _, also = affinity(spoken, interest, weights)
    fields = tuple(_field(n, vectors, i, weights) for i, n in enumerate(names))
    near = vectors.anchors @ vectors.whole
    repeats = any(_adds_nothing(text_cues, one) for one in known)
    return View(values, fields, int(near.argmax()) if anchors else -1, repeats, shared | also)


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
    wanted: Vectors
    excluded: Vectors
    anchors: Vectors


def _vectors(
    space: Space,
    texts: list[str],
    loud: Vectors,
    wanted: list[str],
    excluded: list[str],
    anchors: list[str],
) -> _Vectors:
    rows = space([*texts, *wanted, *excluded, *anchors])
    ends = np.cumsum([1, len(texts) - 1, len(wanted), len(excluded)])
    first, fields, good, bad, known = np.split(rows, ends)
    return _Vectors(first[0], unit((loud @ fields)[None, :])[0], fields, good, bad, known)


def _best(rows: Vectors, vector: Vectors) -> float:
    return max(0.0, float((rows @ vector).max())) if len(rows) else 0.0


def _similar(vectors: _Vectors, share: Vectors, anchors: Sequence[Anchor]) -> dict[str, float]:
    thread = vectors.anchors[[i for i, anchor in enumerate(anchors) if anchor.thread]]
    parent = vectors.anchors[[i for i, anchor in enumerate(anchors) if anchor.parent]]
    memory_field = _by_field(vectors.fields, vectors.anchors, share)
    return {
        "charter_sim": _best(vectors.wanted, vectors.heard),
        "charter_field": _by_field(vectors.fields, vectors.wanted, share),
        "excluded_sim": _best(vectors.excluded, vectors.heard),
        "excludes": float(len(vectors.excluded) > 0),
        "memory_sim": _best(vectors.anchors, vectors.heard),
        "memory_field": memory_field,
        "thread_sim": _best(thread, vectors.heard),
        "far": 1.0 - _best(vectors.anchors, vectors.whole),
        "far_field": 1.0 - memory_field,
        "far_thread": 1.0 - _best(thread, vectors.whole),
        "far_parent": 1.0 - _best(parent, vectors.whole),
    }


def _by_field(fields: Vectors, rows: Vectors, share: Vectors) -> float:
    if not len(rows):
        return 0.0
    return float(share @ np.maximum((fields @ rows.T).max(axis=1), 0.0))


def _lexical(text: Cues, known: Sequence[Cues], anchors: Sequence[Anchor]) -> dict[str, float]:
    size = max(1, len(text.stems))
    stems = frozenset[str]().union(*(one.stems for one in known))
    numbers = frozenset[float]().union(*(one.numbers for one in known))
    names = stems.union(*(one.names for one in known))
    thread = frozenset[str]().union(
        *(one.stems for one, anchor in zip(known, anchors, strict=True) if anchor.thread)
    )
    common = max((len(text.stems & one.stems) for one in known), default=0)
    exact = len(text.names & names) + sum(number > 3 for number in text.numbers & numbers)
    new = len(text.stems - stems)
    return {
        "memory_best": min(1.0, common / size**0.5),
        "exact": min(3, exact) / 3,
        "thread_words": min(1.0, len(text.stems & thread) / size**0.5),
        "words_new": new / size,
        "words_far": 1.0 - common / size,
        "stems_new": log1p(new) / 3,
        "numbers_new": float(bool(text.numbers - numbers)),
        "digits_new": float(bool(text.digits - numbers)),
        "names_new": float(bool(text.names - names)),
        "polarity_new": float(
            all(one.negated != text.negated for one in known if len(one.stems & text.stems) >= 2)
        ),
    }


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
