"""How a message lies to what a peer cares for and knows, as numbers from 0 to about 1.

``values`` are about the message before all that is known; ``pairs`` hold a row for each thing
known. A score of *concern* reads the values and the row of the nearest anchor. A score of
*novelty* reads the values that are not about likeness, and each row by itself: what counts is the
anchor before which the message is least new. With the signs that ``RISING`` and ``FALLING`` hold,
more memory never makes a known thing new again. A field that says nothing (empty, "neutral")
carries no weight anywhere. Pure; a ``Space`` brings the vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from xmesh_mesh.judging.cues import cues
from xmesh_mesh.judging.likeness import FieldView, encode, field_views, likeness, near
from xmesh_mesh.judging.pairs import PAIR, Rows, rows
from xmesh_mesh.judging.situation import Anchor, Message, Peer, Space, Thread, whole
from xmesh_mesh.judging.wording import Known, adds_nothing, overlap, roles, surface
from xmesh_mesh.relevance import affinity

__all__ = ["FALLING", "NAMES", "OF_CONCERN", "OF_NOVELTY", "RISING", "View", "look"]

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
    "near_charter", *(f"near_{name}" for name in PAIR), "vouched_sim", "vouched_centre",
    "vouched_rare", "vouched_rarest", "thread_vouched", "near_vouched", "answered",
)  # fmt: skip
# All that a view's values are called; what is in none of the above steers bars and emphasis.
NAMES: Final = frozenset({*OF_CONCERN, *OF_NOVELTY, "alone", "emphasis", "weight_share"})

_COSINE, _COVERED = PAIR.index("cosine"), PAIR.index("covered")


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
    charter = cues(peer.charter)
    said = Known.of(known, charter, peer, anchors)
    vectors = encode(space, message, names, share, peer.charter, wholes)
    pairs = rows(
        text,
        known,
        vectors.anchors @ vectors.whole,
        size @ np.maximum(vectors.fields @ vectors.anchors.T, 0.0),
        [(anchor.thread, anchor.parent, "intent" in anchor.texts) for anchor in anchors],
    )
    nearest = int((pairs[:, _COSINE] + pairs[:, _COVERED]).argmax()) if len(pairs) else -1
    values = {
        **likeness(vectors, share, peer, anchors),
        **overlap(text, spoken, share, said),
        **surface(message, names, weights, text, charter.language),
        **roles(whole(message.texts), peer.name, anchors),
        **near(pairs, nearest, vectors),
        "near_vouched": float(nearest >= 0 and peer.vouches_for(anchors[nearest])),
        "thread_vouched": float(any(one.thread and peer.vouches_for(one) for one in anchors)),
        "thread": float(thread.known),
        "answers_own": float(thread.answers_own),
        "answers_foreign": float(thread.answers_foreign),
        "alone": float(not anchors),
    }
    values["charter_words"], _, shared = affinity(spoken, said.charter, weights)
    values["memory_words"], _, also = affinity(spoken, said.memory, weights)
    return View(
        values=values,
        pairs=pairs,
        fields=field_views(names, vectors, weights),
        nearest=nearest,
        repeats=any(adds_nothing(text, one) for one in known),
        shared=shared | also,
    )
