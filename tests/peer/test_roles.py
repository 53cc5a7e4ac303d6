"""The usual roles: their weights, charters, and when their weights make no sense."""

from typing import Any

import pytest

from xmesh_peer import roles

PRESETS = {
    "writer": [2, 1, 2.5, 1.5, 1, 0.5, 0.6],
    "reviewer": [1, 2.5, 1.2, 0.8, 2, 0.5, 0.6],
    "test-writer": [1.2, 2, 1, 0.8, 2.5, 0.5, 0.6],
    "auditor": [1, 2, 0.8, 0.8, 1.5, 2.5, 0.6],
    "generator": [2.5, 1, 2, 1.2, 1, 0.5, 0.6],
    "spec": [2, 1, 2.5, 1.5, 1.2, 0.5, 0.6],
    "poet": [1, 1, 1, 1, 1, 1, 1],
}
LIVES_BY = {
    "writer": {"intent", "focus"},
    "spec": {"intent", "focus"},
    "generator": {"intent", "focus"},
    "reviewer": {"issue", "commitment"},
    "test-writer": {"issue", "commitment"},
    "auditor": {"perspective", "issue"},
    "mood": {"mood", "perspective"},
    "poet": set(),
}


@pytest.mark.parametrize(("role", "expected"), PRESETS.items())
def test_a_role_has_its_weights_in_the_order_of_the_record(role: str, expected: Any) -> None:
    given = roles.weights(role)
    assert list(given) == [
        "focus", "issue", "intent", "motivation", "commitment", "perspective", "mood",
    ]  # fmt: skip
    assert list(given.values()) == expected


@pytest.mark.parametrize("role", [role for role in PRESETS if role != "poet"])
def test_a_usual_role_has_a_charter_of_its_own_and_sane_weights(role: str) -> None:
    assert len(roles.charter(role)) > 80
    assert len(set(roles.CHARTERS.values())) == len(roles.CHARTERS)
    assert roles.doubts(role, roles.weights(role)) == []


def test_an_unknown_role_has_no_charter() -> None:
    assert roles.charter("poet") == ""


@pytest.mark.parametrize(("role", "fields"), LIVES_BY.items())
def test_a_field_that_the_role_lives_by_is_doubted_below_one_and_a_half(
    role: str, fields: Any
) -> None:
    even = dict.fromkeys(roles.weights("poet"), 1.5)
    assert roles.doubts(role, even) == []
    for field in even:
        doubts = roles.doubts(role, {**even, field: 1.49})
        assert len(doubts) == (field in fields)
        assert all(role in doubt and field in doubt and "1.49" in doubt for doubt in doubts)
    assert len(roles.doubts(role, dict.fromkeys(even, 1.0))) == len(fields)
