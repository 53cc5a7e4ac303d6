"""How a message's vectors lie to those of the charter, of everyday talk and of what is known."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xmesh_mesh.encoding.kernels import Vectors, unit
from xmesh_mesh.judging.everyday import EVERYDAY
from xmesh_mesh.judging.pairs import PAIR, Rows
from xmesh_mesh.judging.situation import Anchor, Message, Peer, Space, whole

__all__ = ["Encoded", "FieldView", "clauses", "encode", "field_views", "likeness", "near"]

_EXCLUDES = re.compile(r"\b(?:not|no|never|themselves|elsewhere|others?)\b", re.IGNORECASE)
_CLAUSE = re.compile(r"[.;:]\s+")
_FEW = 3


@dataclass(frozen=True, slots=True)
class FieldView:
    """One field: similarity to the charter and to the nearest anchor (its index, -1 for none)."""

    name: str
    charter: float
    nearest: float
    index: int
    weight: float


@dataclass(frozen=True, slots=True)
class Encoded:
    """Vectors, of norm 1 or 0. ``whole`` is the message, ``fields`` a row for each of its fields;
    ``heard`` is the whole as the weights have it: what a heavy field says, it says louder."""

    whole: Vectors
    heard: Vectors
    fields: Vectors
    charter: Vectors
    wanted: Vectors
    excluded: Vectors
    everyday: Vectors
    anchors: Vectors


def clauses(charter: str) -> tuple[list[str], list[str]]:
    """Split a charter into what it wants and what it excludes ("other depots are not ...")."""
    parts = [part.strip() for part in _CLAUSE.split(charter) if part.strip()]
    out = [part for part in parts if _EXCLUDES.search(part)]
    wanted = [part for part in parts if part not in out]
    return wanted or parts, out


def encode(
    space: Space,
    message: Message,
    names: Sequence[str],
    share: Vectors,
    charter: str,
    anchors: Sequence[str],
) -> Encoded:
    """Encode everything at once; ``share`` holds the weights of the fields ``names``."""
    texts = [message.texts[name] for name in names]
    wanted, excluded = clauses(charter)
    parts = ([whole(message.texts)], texts, [charter], wanted, excluded, EVERYDAY, anchors)
    found = space([text for part in parts for text in part])
    ends = np.cumsum([len(part) for part in parts])[:-1]
    first, fields, all_, good, bad, everyday, known = np.split(found, ends)
    loud = (share * [len(text) for text in texts]).astype(np.float32)
    heard = unit((loud @ fields)[None, :])[0]
    return Encoded(first[0], heard, fields, all_[0], good, bad, everyday, known)


def likeness(
    vectors: Encoded, share: Vectors, peer: Peer, anchors: Sequence[Anchor]
) -> dict[str, float]:
    thread = vectors.anchors[[i for i, anchor in enumerate(anchors) if anchor.thread]]
    parent = vectors.anchors[[i for i, anchor in enumerate(anchors) if anchor.parent]]
    vouched = vectors.anchors[[i for i, anchor in enumerate(anchors) if peer.vouches_for(anchor)]]
    to_each = vectors.anchors @ vectors.heard
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
        "memory_few": float(np.sort(to_each)[-_FEW:].mean()) if len(to_each) else 0.0,
        "memory_mean": float(to_each.mean()) if len(to_each) else 0.0,
        "memory_centre": float(centre @ vectors.heard),
        "vouched_sim": _best(vouched, vectors.heard),
        "vouched_centre": float(_mean(vouched) @ vectors.heard),
        "thread_sim": _best(thread, vectors.heard),
        "thread_centre": float(_mean(thread) @ vectors.heard),
        "parent_sim": _best(parent, vectors.heard),
    }


def near(pairs: Rows, nearest: int, vectors: Encoded) -> dict[str, float]:
    """Return the row of the nearest anchor, and how that one lies to the charter."""
    row = pairs[nearest] if nearest >= 0 else np.zeros(len(PAIR))
    anchor = vectors.anchors[nearest] if nearest >= 0 else np.zeros(len(vectors.charter))
    return {
        **{f"near_{name}": float(value) for name, value in zip(PAIR, row, strict=True)},
        "near_charter": float(vectors.charter @ anchor),
    }


def field_views(
    names: Sequence[str], vectors: Encoded, weights: Mapping[str, float]
) -> tuple[FieldView, ...]:
    return tuple(
        _field(name, vectors, row, weights.get(name, 1.0))
        for name, row in zip(names, vectors.fields, strict=True)
    )


def _field(name: str, vectors: Encoded, row: Vectors, weight: float) -> FieldView:
    to_each = vectors.anchors @ row
    return FieldView(
        name=name,
        charter=_best(vectors.wanted, row),
        nearest=max(0.0, float(to_each.max())) if len(to_each) else 0.0,
        index=int(to_each.argmax()) if len(to_each) else -1,
        weight=weight,
    )


def _best(rows: Vectors, vector: Vectors) -> float:
    return max(0.0, float((rows @ vector).max())) if len(rows) else 0.0


def _mean(rows: Vectors) -> Vectors:
    """Return the direction of the rows' mean, zeros where there are none."""
    total: Vectors = rows.sum(axis=0, keepdims=True)
    direction: Vectors = unit(total)[0]
    return direction


def _by_field(fields: Vectors, rows: Vectors, share: Vectors) -> float:
    if not len(rows):
        return 0.0
    return float(share @ np.maximum((fields @ rows.T).max(axis=1), 0.0))
