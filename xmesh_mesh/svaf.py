"""Admission arithmetic: how far is what comes in from what is known, field by field.

Pure functions on vectors, the reference arithmetic of deployed nodes (MMP section 9.2). Age in
seconds, drift from 0 (the same) to 1 and, against opposed vectors, up to 2.

    per field   w = weight * max(cos, 0) for every anchor; a field whose w sum to nothing is
                silent. drift = 1 - cos(mean of the anchors by w, incoming);
                nearest = 1 - max(best cos, 0)
    in all      total = (1 - lambda) * weighted mean of the drifts + lambda * temporal, where
                temporal = 1 - exp(-age / freshness); with every field silent (a cold start),
                total = lambda * temporal
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from xmesh_mesh.canonical import FIELDS
from xmesh_mesh.encoder import Vector

__all__ = [
    "Decision",
    "Drift",
    "FieldDrift",
    "Thresholds",
    "Vector",
    "Verdict",
    "evaluate",
    "temporal_drift",
    "weight_of",
]

Verdict: TypeAlias = Literal["redundant", "admit", "guard", "reject", "silent"]
Decision: TypeAlias = Literal["aligned", "guarded", "redundant", "rejected"]

_NOTHING = 1e-8


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where the bands lie. ``redundant`` is fixed in deployed nodes, the rest are their options."""

    stable: float = 0.25
    guarded: float = 0.5
    temporal_lambda: float = 0.3
    freshness_s: float = 1800.0
    redundant: float = 0.10


@dataclass(frozen=True, slots=True)
class FieldDrift:
    """One field's judgement. A silent field has no drift, no nearest and no nearest_index."""

    field: str
    verdict: Verdict
    drift: float | None
    nearest: float | None
    nearest_index: int | None  # into the anchors
    weight: float


@dataclass(frozen=True, slots=True)
class Drift:
    """The whole judgement; ``max_nearest`` is None on a cold start. All seven fields, in order."""

    decision: Decision
    total: float
    max_nearest: float | None
    fields: tuple[FieldDrift, ...]


_DEFAULTS = Thresholds()


def evaluate(
    incoming: Mapping[str, Vector],
    anchors: Sequence[Mapping[str, Vector]],
    weights: Mapping[str, float],
    age_s: float,
    thresholds: Thresholds = _DEFAULTS,
    *,
    grounded: bool = False,
) -> Drift:
    """Judge ``incoming`` against ``anchors``; all vectors are of one kernel.

    ``grounded`` lets a repetition pass that reports what became of a claim.
    """
    fields = tuple(_judge_field(f, incoming, anchors, weights, thresholds) for f in FIELDS)
    drifts = [(field.weight, field.drift) for field in fields if field.drift is not None]
    nearest = [field.nearest for field in fields if field.nearest is not None]
    max_nearest = max(nearest) if nearest else None
    total = _total(drifts, age_s, thresholds)
    repeats = max_nearest is not None and max_nearest < thresholds.redundant
    decision = "redundant" if repeats and not grounded else _band(total, thresholds)
    return Drift(decision, total, max_nearest, fields)


def weight_of(weights: Mapping[str, float], field: str) -> float:
    """Return the field's weight. Deployed nodes take 0 for "not set", which is 1."""
    return weights.get(field) or 1.0


def temporal_drift(age_s: float, freshness_s: float) -> float:
    """Return how far age alone has carried a record off: 0 when new, towards 1 with time."""
    return 1.0 - math.exp(-max(age_s, 0.0) / freshness_s)


def _judge_field(
    field: str,
    incoming: Mapping[str, Vector],
    anchors: Sequence[Mapping[str, Vector]],
    weights: Mapping[str, float],
    thresholds: Thresholds,
) -> FieldDrift:
    weight = weight_of(weights, field)
    vector = incoming.get(field)
    known = [] if vector is None else _comparable(field, vector, anchors)
    if vector is None or not known:
        return FieldDrift(field, "silent", None, None, None, weight)
    matrix = np.stack([anchor for _, anchor in known])
    cosines = np.maximum(_cosines(matrix, vector), 0.0)
    pull = weight * cosines
    if pull.sum() < _NOTHING:
        return FieldDrift(field, "silent", None, None, None, weight)
    # The sum points where the mean does, and only the direction counts.
    fused = pull @ matrix
    drift = max(0.0, 1.0 - _cosines(fused[np.newaxis], vector).item())
    best = int(np.argmax(cosines))
    nearest = max(0.0, 1.0 - float(cosines[best]))
    verdict = _verdict(drift, nearest, thresholds)
    return FieldDrift(field, verdict, drift, nearest, known[best][0], weight)


def _comparable(
    field: str, vector: Vector, anchors: Sequence[Mapping[str, Vector]]
) -> list[tuple[int, Vector]]:
    """Return the anchors' vectors for the field that have the vector's shape, with their index."""
    found = ((index, anchor.get(field)) for index, anchor in enumerate(anchors))
    return [(i, known) for i, known in found if known is not None and known.shape == vector.shape]


def _cosines(matrix: Vector, vector: Vector) -> Vector:
    """Return the cosine of every row with ``vector``; a zero vector's is 0."""
    norms = np.linalg.norm(matrix, axis=1) * np.linalg.norm(vector)
    norms[norms == 0.0] = np.inf
    cosines: Vector = matrix @ vector / norms
    return cosines


def _verdict(drift: float, nearest: float, thresholds: Thresholds) -> Verdict:
    if nearest < thresholds.redundant:
        return "redundant"
    if drift <= thresholds.stable:
        return "admit"
    return "guard" if drift <= thresholds.guarded else "reject"


def _total(drifts: list[tuple[float, float]], age_s: float, thresholds: Thresholds) -> float:
    aged = thresholds.temporal_lambda * temporal_drift(age_s, thresholds.freshness_s)
    if not drifts:
        return aged
    mean = sum(weight * drift for weight, drift in drifts) / sum(weight for weight, _ in drifts)
    return (1.0 - thresholds.temporal_lambda) * mean + aged


def _band(total: float, thresholds: Thresholds) -> Decision:
    if total > thresholds.guarded:
        return "rejected"
    return "aligned" if total <= thresholds.stable else "guarded"
