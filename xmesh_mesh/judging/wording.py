"""How a message's words lie to those of the charter and of what is known, and how it is put."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log, log1p

from xmesh_mesh.encoding.kernels import Vectors
from xmesh_mesh.judging.cues import Cues
from xmesh_mesh.judging.rarity import rarity, weight_of
from xmesh_mesh.judging.situation import Anchor, Message, Peer
from xmesh_mesh.relevance import terms

__all__ = ["Known", "adds_nothing", "overlap", "roles", "surface"]

# Beyond so many words a text grows a little like everything.
_LONG = 12
_SPEAKING = ("focus", "issue", "intent", "motivation", "commitment", "perspective")
_NAME = re.compile(r"[^\W\d_]+")
_JOINTS = re.compile(r"[-_]")


@dataclass(frozen=True, slots=True)
class Known:
    """What is said where: in each anchor, and all stems of the charter, of memory, of the thread
    in it, and of what the peer vouches for."""

    anchors: Sequence[Cues]
    charter: frozenset[str]
    memory: frozenset[str]
    thread: frozenset[str]
    vouched: frozenset[str]

    @classmethod
    def of(
        cls, cues: Sequence[Cues], charter: Cues, peer: Peer, anchors: Sequence[Anchor]
    ) -> "Known":
        pairs = list(zip(cues, anchors, strict=True))
        return cls(
            cues,
            charter.stems,
            frozenset().union(*(one.stems for one in cues)),
            frozenset().union(*(one.stems for one, anchor in pairs if anchor.thread)),
            frozenset().union(*(one.stems for one, anchor in pairs if peer.vouches_for(anchor))),
        )


def adds_nothing(text: Cues, known: Cues) -> bool:
    """Tell whether all words and numbers stand in one anchor, of the same polarity."""
    said = text.stems | text.names
    return (
        bool(said or text.numbers)
        and said <= known.stems | known.names
        and text.numbers <= known.numbers
        and text.negated == known.negated
        and not text.question
    )


def overlap(
    text: Cues, spoken: Mapping[str, str], share: Vectors, known: Known
) -> dict[str, float]:
    """Return what of ``spoken`` is said before; ``share`` holds the weights of its fields."""
    size = max(1, len(text.stems))
    numbers = frozenset[float]().union(*(one.numbers for one in known.anchors))
    names = text.names & known.memory.union(*(one.names for one in known.anchors))
    shared = [text.stems & one.stems for one in known.anchors]
    common = max(map(len, shared), default=0)
    exact = len(names) + sum(number > 3 for number in text.numbers & numbers)
    new = len(text.stems - known.memory)
    says = weight_of(text.stems) or 1.0
    return {
        "exact": min(3, exact) / 3,
        "memory_rarest": _rarest(text.stems & (known.memory | known.charter)),
        "memory_best": max(map(weight_of, shared), default=0.0) / says**0.5,
        "vouched_rare": weight_of(text.stems & known.vouched) / says,
        "vouched_rarest": _rarest(text.stems & known.vouched),
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
                for one, both in zip(known.anchors, shared, strict=True)
                if len(both) >= 2
            )
        ),
        **_by_field(spoken, share, known),
    }


def _rarest(stems: frozenset[str]) -> float:
    return max(map(rarity, stems), default=0.0)


def _by_field(spoken: Mapping[str, str], share: Vectors, known: Known) -> dict[str, float]:
    """Return how much of what each field says is said there too, heard by the fields' weights."""
    there = {
        "charter_rare": known.charter,
        "memory_rare": known.memory,
        "thread_rare": known.thread,
    }
    stems = [terms(text) for text in spoken.values()]
    says = [weight_of(one) or 1.0 for one in stems]
    return {
        name: float(share @ [weight_of(s & held) / w for s, w in zip(stems, says, strict=True)])
        for name, held in there.items()
    }


def roles(text: str, name: str, anchors: Sequence[Anchor]) -> dict[str, float]:
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


def surface(
    message: Message,
    names: Sequence[str],
    weights: Mapping[str, float],
    text: Cues,
    language: str,
) -> dict[str, float]:
    """Return how the message is put and who says it; ``language`` is the charter's."""
    total = sum(weights.get(name, 1.0) for name in _SPEAKING)
    heavy = sum(weights.get(n, 1.0) * len(message.texts[n]) for n in names)
    heavy /= max(1, sum(len(message.texts[n]) for n in names))
    standing = message.standing
    counted = {
        "news": standing.news,
        "repeats": standing.repeats,
        "foreigner": standing.foreign,
        "answered": standing.answered,
    }
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
        **{name: min(1.0, log1p(count) / 3) for name, count in counted.items()},
    }
