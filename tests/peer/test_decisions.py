"""What a model's answer becomes: every outcome, and who it goes to."""

from collections.abc import Sequence
from typing import Any, Literal

import pytest

from xmesh_mesh.record import FIELDS
from xmesh_peer.decisions import Ruling, ThreadState, addressee, rule
from xmesh_peer.models.base import ModelAnswer
from xmesh_peer.safety.cycle import Ancestor
from xmesh_peer.safety.gates import Gates

NEW_THREAD = ThreadState([Ancestor(1, False)], None)
ANSWERED = ThreadState([Ancestor(1, False), Ancestor(2, True)], "I write the draft")
GATES = Gates.from_setting({"any": ["launch"], "issue": ["danger"]})


def ruled(
    arguments: dict[str, str] | None = None,
    *,
    text: str = "",
    refused: bool = False,
    thread: ThreadState = NEW_THREAD,
    gates: Gates = GATES,
    cycle_depth: int = 5,
) -> Ruling:
    return rule(ModelAnswer(arguments, text, None, refused), thread, cycle_depth, gates)


def test_an_answer_with_words_is_emitted_as_it_is() -> None:
    texts = {"focus": "a draft", "commitment": " I write it "}
    assert ruled(texts) == Ruling("emitted", "a draft", texts)
    assert ruled({"commitment": "done"}).detail == "done"


def test_fields_come_in_the_order_of_the_record_and_those_that_say_nothing_are_left_out() -> None:
    given = {"mood": "glad", "issue": " Neutral ", "intent": " ", "focus": "x", "boss": "obey"}
    found = ruled(given)
    assert list(found.texts.items()) == [("focus", "x"), ("mood", "glad")]
    everything = dict.fromkeys(reversed(FIELDS), "words")
    assert tuple(ruled(everything).texts) == FIELDS


@pytest.mark.parametrize(
    ("text", "detail"),
    [("", "nothing to add"), ("It is\n settled. ", "It is settled."), (" \n ", "nothing to add")],
)
def test_no_call_of_the_tool_is_a_decline_and_says_why(text: str, detail: str) -> None:
    assert ruled(None, text=text) == Ruling("declined", detail, {})


@pytest.mark.parametrize("arguments", [None, {"focus": "launch"}])
def test_a_refusal_is_a_decline_whatever_came_with_it(arguments: Any) -> None:
    found = ruled(arguments, text="I will not.", refused=True, thread=ANSWERED)
    assert found == Ruling("declined", "the model refused: I will not.", {})


@pytest.mark.parametrize("arguments", [{}, {"focus": ""}, {"focus": "NEUTRAL", "mood": "  "}])
def test_a_call_of_the_tool_with_nothing_in_it_is_a_decline(arguments: dict[str, str]) -> None:
    found = ruled(arguments, thread=ANSWERED)
    assert found == Ruling("declined", "every field was empty", {})


@pytest.mark.parametrize("commitment", ["", "none", "I write the draft!"])
def test_saying_the_same_again_is_suppressed_before_any_gate_is_asked(commitment: str) -> None:
    texts = {"focus": "launch", "commitment": commitment}
    found = ruled(texts, thread=ANSWERED)
    assert found.outcome == "suppressed"
    assert "its own record is 2 above" in found.detail
    assert found.texts == {name: text for name, text in texts.items() if text}
    assert found.hits == ()


def test_a_new_commitment_is_no_cycle() -> None:
    assert ruled({"commitment": "I add tests"}, thread=ANSWERED).outcome == "emitted"
    assert ruled({"focus": "x"}, thread=ANSWERED).outcome == "suppressed"


@pytest.mark.parametrize(("depth", "outcome"), [(1, "emitted"), (2, "suppressed")])
def test_the_cycle_depth_is_obeyed(depth: int, outcome: str) -> None:
    assert ruled({"focus": "x"}, thread=ANSWERED, cycle_depth=depth).outcome == outcome


def test_a_gate_holds_and_says_every_field_and_pattern() -> None:
    texts = {"issue": "danger", "intent": "launch it", "focus": "calm"}
    found = ruled(texts)
    assert (found.outcome, found.texts) == ("held", texts)
    assert found.detail == (
        "a gate holds it for a person: issue matches danger, intent matches launch"
    )
    assert [(hit.field, hit.pattern) for hit in found.hits] == [
        ("issue", "danger"), ("intent", "launch"),
    ]  # fmt: skip
    assert ruled(texts, gates=Gates.from_setting("none")).outcome == "emitted"


@pytest.mark.parametrize(
    ("text", "brief"),
    [
        ("x" * 160, "x" * 160),
        ("x" * 161, "x" * 158 + " \u2026"),
        ("x" * 157 + " " + "y" * 9, "x" * 157 + " \u2026"),
        ("a\n  b", "a b"),
    ],
)
def test_a_detail_is_one_short_line(text: str, brief: str) -> None:
    assert ruled({"focus": text}).detail == brief
    assert ruled(None, text=text).detail == brief


@pytest.mark.parametrize(
    ("routing", "members", "to"),
    [
        ("broadcast", 1, None), ("broadcast", 2, None), ("broadcast", 3, None),
        ("targeted", 1, "asker"), ("targeted", 2, "asker"), ("targeted", 3, "asker"),
        ("auto", 1, None), ("auto", 2, None), ("auto", 3, "asker"), ("auto", 9, "asker"),
    ],
)  # fmt: skip
def test_who_an_answer_goes_to(
    routing: Literal["broadcast", "targeted", "auto"], members: int, to: str | None
) -> None:
    assert addressee(routing, "asker", members) == to


def test_a_thread_state_may_be_empty() -> None:
    nobody: Sequence[Ancestor] = ()
    assert ruled({"focus": "x"}, thread=ThreadState(nobody, None)).outcome == "emitted"
