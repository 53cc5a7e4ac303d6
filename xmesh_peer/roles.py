"""What xmesh knows about the usual roles: charter, weights, and the fields a role lives by."""

from collections.abc import Mapping
from typing import Final

from xmesh_peer.settings import WEIGHT_FIELDS

CHARTERS: Final[Mapping[str, str]] = {
    "writer": (
        "Writes: drafts the specification, design and code for a feature, task or API endpoint,"
        " and revises the draft when a review or a failing test reports a bug, a risk or a gap."
    ),
    "reviewer": (
        "Reviews: reads a specification, draft, design, code change or API endpoint, and names the"
        " bugs, risks, missing requirements and unhandled errors that block it, or approves it."
    ),
    "test-writer": (
        "Tests: turns a specification, draft, review finding, bug or API endpoint into test cases"
        " and regression tests that cover edge cases, errors and limits, and reports coverage."
    ),
    "auditor": (
        "Audits: follows every change, decision and commitment back to its origin, and reports"
        " what is undocumented, untraceable, against policy, licence or privacy, or left open."
    ),
    "generator": (
        "Generates: proposes ideas, variants, examples, names and alternatives for a topic, goal or"
        " draft, and develops the ones that others pick up."
    ),
    "spec": (
        "Specifies: turns a need, problem or idea into requirements, architecture, interfaces,"
        " constraints and acceptance criteria, and settles open questions about the design."
    ),
}

_WEIGHTS: Final[Mapping[str, tuple[float, ...]]] = {
    "writer": (2.0, 1.0, 2.5, 1.5, 1.0, 0.5, 0.6),
    "reviewer": (1.0, 2.5, 1.2, 0.8, 2.0, 0.5, 0.6),
    "test-writer": (1.2, 2.0, 1.0, 0.8, 2.5, 0.5, 0.6),
    "auditor": (1.0, 2.0, 0.8, 0.8, 1.5, 2.5, 0.6),
    "generator": (2.5, 1.0, 2.0, 1.2, 1.0, 0.5, 0.6),
    "spec": (2.0, 1.0, 2.5, 1.5, 1.2, 0.5, 0.6),
}

_LIVES_BY: Final[Mapping[str, tuple[str, str]]] = {
    "writer": ("intent", "focus"),
    "spec": ("intent", "focus"),
    "generator": ("intent", "focus"),
    "reviewer": ("issue", "commitment"),
    "test-writer": ("issue", "commitment"),
    "auditor": ("perspective", "issue"),
    "mood": ("mood", "perspective"),
}

SANE_WEIGHT: Final = 1.5


def charter(role: str) -> str:
    """Return the charter of a usual role, "" for any other."""
    return CHARTERS.get(role, "")


def weights(role: str) -> dict[str, float]:
    """Return the weights of a usual role for all seven fields, 1.0 each for any other."""
    preset = _WEIGHTS.get(role, (1.0,) * len(WEIGHT_FIELDS))
    return dict(zip(WEIGHT_FIELDS, preset, strict=True))


def doubts(role: str, given: Mapping[str, float]) -> list[str]:
    """Return a sentence for each field that ``role`` lives by and ``given`` weighs too low."""
    return [
        f"a {role} lives by {field}, but its weight is {given[field]:g}; give it {SANE_WEIGHT} or"
        " more"
        for field in _LIVES_BY.get(role, ())
        if given[field] < SANE_WEIGHT
    ]
