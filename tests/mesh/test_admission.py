"""The judge: thresholds, threads, weights, repetition, and agreement with the reference."""

import math
from typing import Any

import numpy as np
import pytest
from helpers.nodes import Author
from helpers.records import KEY_A
from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh import admission, svaf
from xmesh_mesh.admission import FIRST_BAR, THREAD_BAR, Candidate, Surroundings, Verdict, judge
from xmesh_mesh.encoder import ngram
from xmesh_mesh.record import FIELDS, Record

AUTHOR = Author("writer-01")
CHARTER = "Reviews drafts of specifications for bugs and risks."


def says(texts: Any, **changes: Any) -> Record:
    return AUTHOR.says(texts, **changes)


def verdict(
    record: Record,
    *,
    charter: str = CHARTER,
    weights: dict[str, float] | None = None,
    anchors: tuple[Record, ...] = (),
    thread: tuple[Record, ...] = (),
    age_s: float = 0.0,
    directed: bool = False,
) -> Verdict:
    held = Surroundings(charter, weights or {}, anchors, thread)
    return judge(Candidate(record, age_s, directed), held)


def words(shared: int, other: int) -> str:
    """Return a text of ``shared`` stems that are of interest and ``other`` that are not."""
    return " ".join([f"word{n}x" for n in range(shared)] + [f"qq{n}zz" for n in range(other)])


INTEREST = words(40, 0)


def age_of(temporal: float) -> float:
    return -1800 * math.log(1 - temporal)


# The thresholds


def test_the_bars_are_what_the_documents_say() -> None:
    assert (FIRST_BAR, THREAD_BAR, admission.ANCHORS) == (0.56, 0.69, 5)
    rule = svaf.Thresholds()
    assert (rule.stable, rule.temporal_lambda, rule.freshness_s) == (0.25, 0.3, 1800.0)


@pytest.mark.parametrize(
    ("shared", "other", "drift"),
    [(1, 24, 0.56), (1, 0, 0.0), (1, 3, 0.35), (2, 14, 0.35), (0, 4, 0.7), (9, 0, 0.0)],
)
def test_drift_of_a_fresh_record_is_seven_tenths_of_what_it_does_not_share(
    shared: int, other: int, drift: float
) -> None:
    found = verdict(says(words(shared, other)), charter=INTEREST)
    assert found.drift == pytest.approx(drift, abs=1e-12)
    assert found.affinity == pytest.approx(1 - drift / 0.7)


def test_age_adds_three_tenths_at_most() -> None:
    text = says(words(1, 3))
    assert verdict(text, charter=INTEREST, age_s=1800).drift == pytest.approx(
        0.35 + 0.3 * (1 - 1 / math.e)
    )
    assert verdict(text, charter=INTEREST, age_s=1e9).drift == pytest.approx(0.65)


@pytest.mark.parametrize(
    ("bar", "thread"), [(FIRST_BAR, ()), (THREAD_BAR, (says("other things entirely"),))]
)
def test_a_bar_is_reached_exactly_and_not_passed(bar: float, thread: tuple[Record, ...]) -> None:
    record = says(words(1, 3))
    age_s = age_of((bar - 0.35) / 0.3) if bar < 0.65 else 1e9
    measured = verdict(record, charter=INTEREST, thread=thread, age_s=age_s)
    if bar < 0.65:
        assert measured.drift == pytest.approx(bar)
        within = verdict(record, charter=INTEREST, thread=thread, age_s=age_s - 0.01)
        beyond = verdict(record, charter=INTEREST, thread=thread, age_s=age_s + 0.01)
        assert (within.decision, beyond.decision) == ("guarded", "rejected")
    else:
        assert measured.decision == "guarded"
    assert measured.bar == bar


def test_a_drift_on_the_bar_itself_is_within(monkeypatch: pytest.MonkeyPatch) -> None:
    record, thread = says(words(1, 3)), (says("other things entirely"),)
    for name, around in (("FIRST_BAR", ()), ("THREAD_BAR", thread)):
        exact = verdict(record, charter=INTEREST, thread=around).drift
        monkeypatch.setattr(admission, name, exact)
        assert verdict(record, charter=INTEREST, thread=around).decision == "guarded"
        monkeypatch.setattr(admission, name, math.nextafter(exact, 0))
        assert verdict(record, charter=INTEREST, thread=around).decision == "rejected"


def test_a_drift_up_to_a_quarter_is_aligned() -> None:
    record = says(words(1, 0))
    edge = age_of(0.25 / 0.3)
    assert verdict(record, charter=INTEREST, age_s=edge - 0.01).decision == "aligned"
    assert verdict(record, charter=INTEREST, age_s=edge + 0.01).decision == "guarded"
    assert verdict(record, charter=INTEREST).decision == "aligned"


def test_a_drift_of_exactly_a_quarter_is_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    record = says(words(1, 3))
    exact = verdict(record, charter=INTEREST).drift
    for stable, decision in ((exact, "aligned"), (math.nextafter(exact, 0), "guarded")):
        rule = svaf.Thresholds(stable=stable)
        monkeypatch.setattr(svaf, "Thresholds", lambda rule=rule: rule)
        assert verdict(record, charter=INTEREST).decision == decision
        monkeypatch.undo()


# First messages


def test_a_message_about_the_charter_is_admitted_and_says_what_is_in_common() -> None:
    found = verdict(says("a draft of the login specification"))
    assert found.admitted
    assert found.decision == "aligned"
    assert "drift 0.00 is within the bar of 0.56" in found.reasons
    assert found.reasons[-1] == "in common: draft, specification"
    assert found.per_field == {"focus": 1.0}
    assert not any("thread" in reason for reason in found.reasons)


def test_no_more_than_six_words_in_common_are_told() -> None:
    told = verdict(says(words(12, 0)), charter=INTEREST).reasons[-1]
    assert told.count(",") == 5


def test_a_foreign_message_is_rejected_and_says_by_how_much() -> None:
    found = verdict(says({"focus": "bake sourdough bread", "mood": "hungry"}))
    assert (found.decision, found.admitted, found.mood) == ("rejected", False, "hungry")
    assert found.reasons == (
        f"foreign: drift 0.70 is over the bar of {FIRST_BAR:.2f}",
        "no word in common with what this peer cares for",
    )
    assert found.per_field == {"focus": 0.0, "mood": 0.0}


@pytest.mark.parametrize("mood", ["neutral", "Informational", " informational ", "", " Neutral"])
def test_a_mood_that_says_nothing_is_not_surfaced(mood: str) -> None:
    assert verdict(says({"focus": "bake bread", "mood": mood})).mood == ""


def test_no_mood_is_surfaced_from_what_is_admitted() -> None:
    assert verdict(says({"focus": "a draft", "mood": "glad"})).mood == ""


def test_a_record_that_is_addressed_is_admitted_whatever_the_verdict() -> None:
    found = verdict(says({"focus": "bake sourdough bread", "mood": "hungry"}), directed=True)
    assert (found.decision, found.admitted, found.mood) == ("rejected", True, "")
    assert found.reasons[0] == "addressed to this peer"


@pytest.mark.parametrize("texts", [{}, {"focus": "Neutral"}, dict.fromkeys(FIELDS, "neutral")])
@pytest.mark.parametrize("charter", [CHARTER, "neutral", ""])
@pytest.mark.parametrize("anchors", [(), (says("x"),), (says({}),)])
def test_a_record_that_says_nothing_is_rejected(texts: Any, charter: str, anchors: Any) -> None:
    found = verdict(says(texts), charter=charter, anchors=anchors, thread=anchors)
    assert (found.decision, found.admitted) == ("rejected", False)
    assert "it says nothing" in found.reasons


@pytest.mark.parametrize(("age_s", "decision"), [(0, "aligned"), (1e9, "guarded")])
def test_a_peer_without_charter_and_memory_admits_and_says_why(age_s: float, decision: str) -> None:
    found = verdict(says("anything at all: bread"), charter=" ", age_s=age_s)
    assert (found.decision, found.admitted) == (decision, True)
    assert any("no charter and no memory" in reason for reason in found.reasons)
    assert found.drift == pytest.approx(0.0 if age_s == 0 else 0.3)
    assert found.drift <= found.bar


def test_a_memory_of_empty_words_is_no_memory_to_judge_by() -> None:
    found = verdict(says("bake bread"), charter="", anchors=(says("so it is"),))
    assert found.admitted


def test_what_was_heard_lately_makes_its_subject_of_interest_but_its_mood_does_not() -> None:
    heard = (says({"focus": "bake sourdough bread", "mood": "hungry"}),)
    assert verdict(says("which flour for bread"), anchors=heard).admitted
    assert not verdict(says("hungry crowds gather"), anchors=heard).admitted


# Threads

TASK = says("rate-limit the login endpoint")


def test_a_reply_in_other_words_with_one_in_common_is_admitted() -> None:
    reply = says(
        "lock an account after five wrong passwords at login, counted by address, so that a"
        " guessing robot runs into a wall soon",
        parents=[TASK.key],
    )
    alone = verdict(reply, anchors=(TASK,))
    found = verdict(reply, anchors=(TASK,), thread=(TASK,))
    assert (found.decision, found.admitted) == ("guarded", True)
    assert found.drift == alone.drift
    assert (found.bar, alone.bar) == (THREAD_BAR, FIRST_BAR)
    assert "in a thread that this peer knows" in found.reasons


def test_a_thread_lowers_the_bar_for_what_a_first_message_would_not_pass() -> None:
    text = says(words(1, 40))
    anchor = says(words(1, 0))
    assert not verdict(text, anchors=(anchor,)).admitted
    assert verdict(text, anchors=(anchor,), thread=(anchor,)).admitted


def test_one_word_in_a_thousand_carries_a_fresh_reply_and_none_does_not() -> None:
    thread = (says(words(1, 0)),)
    assert verdict(says(words(1, 999)), thread=thread).admitted
    assert not verdict(says(words(0, 1)), thread=thread).admitted


def test_a_foreign_record_that_cites_a_known_parent_is_rejected() -> None:
    found = verdict(
        says("bake sourdough bread", parents=[TASK.key]), anchors=(TASK,), thread=(TASK,)
    )
    assert (found.decision, found.admitted) == ("rejected", False)


def test_a_stale_reply_in_other_words_is_rejected() -> None:
    reply = says("lock an account after five wrong passwords at login", parents=[TASK.key])
    assert verdict(reply, thread=(TASK,)).admitted
    assert not verdict(reply, thread=(TASK,), age_s=86_400).admitted


def test_words_of_the_thread_are_of_interest_though_they_are_not_among_the_newest() -> None:
    found = verdict(says("login, five attempts"), charter="Bakes.", thread=(TASK,))
    assert found.reasons[-1] == "in common: login"


# Repetition


@pytest.mark.parametrize("thread", [(), (TASK,)])
def test_a_repetition_is_redundant_in_a_thread_too(thread: tuple[Record, ...]) -> None:
    found = verdict(says({"focus": TASK.text("focus"), "mood": "bored"}), anchors=(TASK,),
                    thread=thread)  # fmt: skip
    assert (found.decision, found.admitted, found.mood) == ("redundant", False, "bored")
    same = verdict(says("Rate-limit the login endpoint!"), anchors=(TASK,), thread=thread)
    assert (same.decision, same.admitted) == ("redundant", False)
    assert "known already (nearest drift 0.00)" in same.reasons


def test_a_directed_repetition_is_admitted() -> None:
    found = verdict(TASK, anchors=(TASK,), directed=True)
    assert (found.decision, found.admitted) == ("redundant", True)


def opposed(text: str) -> str:
    """Return words whose vector looks away from that of ``text``."""
    vector = ngram(text)
    candidates = (f"specification {a}{b}" for a in "bcdfgklmnp" for b in "aeiou")
    return next(c for c in candidates if float(ngram(c) @ vector) < -0.05)


def test_a_field_that_the_reference_passes_over_is_not_taken_for_known() -> None:
    text = "zebra"
    new = opposed(text)
    found = verdict(says(new), anchors=(says(text),))
    assert found.reference.decision == "redundant"
    assert found.admitted
    assert verdict(says(text), anchors=(says(text),)).decision == "redundant"


JAPANESE = (
    "\u8a2d\u8a08\u3092\u898b\u76f4\u3059",
    "\u8a2d\u8a08\u306e\u8a66\u9a13\u3092\u66f8\u304f",
)
MIXED = ("API \u8a2d\u8a08", "API \u8a66\u9a13")
PROJECT = "\u043f\u0440\u043e\u0435\u043a\u0442"
PLAN, TESTS = "\u043f\u043b\u0430\u043d\u0430", "\u0442\u0435\u0441\u0442\u043e\u0432"
RUSSIAN = (f"{PROJECT} {PLAN}", f"{PROJECT} {TESTS}")


@pytest.mark.parametrize(("known", "new"), [JAPANESE, MIXED, RUSSIAN])
def test_other_scripts_are_new_when_their_words_are_and_redundant_when_not(
    known: str, new: str
) -> None:
    anchors = (says(known),)
    assert verdict(says(new), charter="", anchors=anchors).decision in {"aligned", "guarded"}
    assert verdict(says(known), charter="", anchors=anchors).decision == "redundant"
    assert verdict(says(known), charter=known).admitted


def test_words_of_other_scripts_are_known_only_from_the_same_field_of_one_record() -> None:
    one, other = PROJECT, PLAN
    both = says(f"{one} {other}")
    assert verdict(both, charter=one, anchors=(says(one), says(other))).admitted
    elsewhere = says({"focus": other, "issue": f"{one} {other}"})
    assert verdict(both, charter=one, anchors=(elsewhere,)).admitted
    assert verdict(both, charter=one, anchors=(says(one), both)).decision == "redundant"


LONG = " ".join(f"paragraph {n} of the specification of login limits" for n in range(40))


@pytest.mark.parametrize("sign", ["", " \u2014 ", " \u201cso\u201d "])
def test_what_the_reference_reads_is_known_by_its_vector_and_not_word_by_word(sign: str) -> None:
    found = verdict(says(f"{LONG}{sign} zebra"), anchors=(says(LONG),))
    assert found.decision == found.reference.decision == "redundant"


def test_signs_without_words_are_never_known() -> None:
    found = verdict(says("\U0001f44d"), anchors=(says("\U0001f44d"),))
    assert found.decision == "rejected"


# Weights


def test_weights_change_verdicts_on_one_record() -> None:
    record = says({
        "issue": "bug in the draft",
        "intent": "ask carpenters whether oak panels warp overnight",
        "focus": "furniture",
    })  # fmt: skip
    reviewer = {"issue": 2.5, "intent": 1.2, "focus": 1.0}
    writer = {"issue": 0.2, "intent": 2.5, "focus": 2.0}
    assert verdict(record, weights=reviewer).admitted
    assert not verdict(record, weights=writer).admitted


def test_without_a_weight_for_all_that_is_said_it_is_foreign() -> None:
    found = verdict(says("a draft of a specification"), weights={"focus": 0.0})
    assert (found.drift, found.admitted) == (0.7, False)


# The reference


def test_the_reference_is_the_deployed_arithmetic_on_the_same_vectors() -> None:
    record = says({"focus": "login limits", "issue": "none are there", "mood": "calm"})
    anchors = [
        says({"focus": "login form", "issue": "limits of the form", "intent": "review"}),
        says({"focus": "rate limits", "mood": "calm and happy"}),
    ]
    weights = {"focus": 2.0, "issue": 0.5}
    held = Surroundings(CHARTER, weights, anchors, ())
    found = admission.reference(Candidate(record, 900.0, False), held)
    vectors = [{f: ngram(one.text(f)) for f in FIELDS} for one in (record, *anchors)]
    assert found == svaf.evaluate(vectors[0], vectors[1:], weights, 900.0)
    assert found.total > 0
    assert judge(Candidate(record, 900.0, False), held).reference == found


def test_a_field_that_a_record_does_not_have_is_no_vector() -> None:
    without = Record({}, KEY_A, "x", 0, None, None)
    found = admission.reference(
        Candidate(without, 0.0, False), Surroundings("", {}, (says("x"),), ())
    )
    assert {entry.verdict for entry in found.fields} == {"silent"}
    assert np.count_nonzero(ngram("")) == 0


@given(
    st.dictionaries(st.sampled_from(FIELDS), st.text(st.characters(exclude_categories=["Cs"]))),
    st.text(),
    st.floats(0, 1e12),
    st.booleans(),
)
def test_any_record_gets_a_verdict_with_reasons(
    texts: dict[str, str], charter: str, age_s: float, directed: bool
) -> None:
    record = says(texts)
    for around in ((), (TASK,), (record,)):
        found = verdict(
            record, charter=charter, anchors=around, thread=around, age_s=age_s, directed=directed
        )
        assert len(found.reasons) >= 2
        assert 0 <= found.drift <= 1 + 1e-9
        assert found.admitted or found.decision in {"redundant", "rejected"}
