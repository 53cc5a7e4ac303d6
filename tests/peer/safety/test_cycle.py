"""When a peer's own words come back to it."""

# ruff: noqa: RUF001 - letters that look like others are what some of these are about

import pytest

from xmesh_peer.safety.cycle import (
    Ancestor,
    cycle_check,
    is_real,
    is_repeat,
    thread_check,
)

TEN = "one two three four five six seven eight nine ten"


def others(*depths: int) -> list[Ancestor]:
    return [Ancestor(depth, own=False) for depth in depths]


def test_no_own_ancestor_lets_anything_pass() -> None:
    assert not cycle_check(others(1, 2, 3), 5, "", "same").suppress
    assert not cycle_check([], 5, "", None).suppress
    assert cycle_check([], 5, "", None).reason == ""


@pytest.mark.parametrize(("depth", "suppressed"), [(1, True), (4, True), (5, True), (6, False)])
def test_an_own_record_counts_up_to_the_depth_itself(depth: int, suppressed: bool) -> None:
    ancestry = [*others(1, 2), Ancestor(depth, own=True)]
    assert cycle_check(ancestry, 5, "none", None).suppress is suppressed


def test_a_first_real_commitment_closes_the_matter() -> None:
    verdict = cycle_check([Ancestor(2, own=True)], 5, "I merge it on Friday", None)
    assert not verdict.suppress
    assert "new commitment" in verdict.reason


def test_the_same_commitment_again_is_suppressed() -> None:
    own = [Ancestor(2, own=True)]
    assert cycle_check(own, 5, "I merge it on Friday.", "i MERGE it, on friday").suppress
    assert not cycle_check(own, 5, "I revert it on Monday", "I merge it on Friday").suppress


def test_the_reason_names_the_nearest_own_record() -> None:
    verdict = cycle_check([Ancestor(4, own=True), Ancestor(2, own=True)], 5, "", None)
    assert "2 above" in verdict.reason


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n a", "na", "neutral", "nil", "no", "no commitment", "no commitments",
        "no new commitment", "no new commitments", "none", "none at this time", "none yet",
        "not applicable", "not yet determined", "nothing", "nothing new", "null", "pending",
        "tba", "tbc", "tbd", "to be announced", "to be confirmed", "to be decided",
        "to be determined", "todo", "undecided", "undefined", "unknown", "unspecified",
        "N/A", "n.a.", " None. ", "—", "…", "NEUTRAL", "to-be-decided!", "no\u200bne", "ｎｏｎｅ",
    ],
)  # fmt: skip
def test_what_fills_a_field_is_no_commitment(text: str) -> None:
    assert not is_real(text)


@pytest.mark.parametrize(
    "text", ["none of the tests may fail", "ship it", "я проверю", "承诺", "42"]
)
def test_words_with_content_are_a_commitment(text: str) -> None:
    assert is_real(text)


def test_nine_words_in_ten_are_a_repeat_and_fewer_are_not() -> None:
    assert is_repeat(TEN, TEN.replace(" ten", ""))
    assert is_repeat(TEN, TEN)
    assert not is_repeat(TEN, TEN.replace(" ten", " other"))
    assert not is_repeat(TEN, TEN.replace(" nine ten", ""))


def test_order_case_and_punctuation_do_not_make_it_new() -> None:
    assert is_repeat("Tests: added, all green", "all GREEN -- tests added!")


def test_a_thread_takes_exactly_as_many_own_records_as_allowed() -> None:
    assert not thread_check(2, 3).suppress
    assert thread_check(3, 3).suppress
    assert thread_check(4, 3).suppress
    assert "3" in thread_check(3, 3).reason
