"""The judge: what surfaces, what does not, what is said of it, and agreement with the reference."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from helpers.nodes import Author
from helpers.records import KEY_A
from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh import admission, svaf
from xmesh_mesh.admission import Candidate, Judge, Surroundings, Verdict, anchor_of
from xmesh_mesh.encoder import ngram
from xmesh_mesh.encoding.kernels import KERNEL_NGRAM, KERNEL_STATIC, EncoderAway, Vectors
from xmesh_mesh.encoding.static import StaticEncoder
from xmesh_mesh.judging.situation import Anchor, Standing
from xmesh_mesh.record import FIELDS, Record

AUTHOR = Author("writer-01")
CHARTER = "Reviews drafts of specifications and code for bugs, risks and missing tests."
JUDGE = Judge(StaticEncoder())


def says(texts: Any, **changes: Any) -> Record:
    return AUTHOR.says(texts, **changes)


def verdict(
    record: Record,
    *,
    charter: str = CHARTER,
    weights: dict[str, float] | None = None,
    anchors: tuple[Record, ...] = (),
    thread: tuple[Record, ...] = (),
    directed: bool = False,
    judge: Judge = JUDGE,
    **more: Any,
) -> Verdict:
    inside = [anchor_of(one, thread=True) for one in thread]
    held = Surroundings(charter, weights or {}, anchors, inside, **more)
    return judge(Candidate(record, 0.0, directed), held)


TASK = says(
    {"focus": "rate-limit the login endpoint", "intent": "draft a specification, review it"}
)
DISCUSSED = (
    {"focus": "draft of the limits", "intent": "five wrong passwords, then the address waits"},
    {"issue": "the draft says nothing of users behind one proxy"},
    {"intent": "count by address and account, and answer 429 with Retry-After"},
    {"commitment": "tests for the boundary at the fifth attempt come tomorrow"},
    {"issue": "a locked account tells an attacker that it exists"},
)
FOREIGN = {"focus": "bake sourdough bread on sunday", "mood": "hungry"}


def test_a_message_about_the_charter_is_admitted_and_says_why() -> None:
    found = verdict(TASK)
    assert (found.decision in {"aligned", "guarded"}, found.admitted, found.mood) == (
        True,
        True,
        "",
    )
    assert found.insight is not None
    assert (found.insight.label, found.insight.kernel) == ("relevant", KERNEL_STATIC)
    assert any(reason.startswith("relevant: concern") for reason in found.reasons)
    assert found.reasons[-1].startswith("in common: ")


def test_a_foreign_message_is_rejected_and_its_mood_is_surfaced() -> None:
    found = verdict(says(FOREIGN))
    assert (found.decision, found.admitted, found.mood) == ("rejected", False, "hungry")
    assert found.drift > found.bar
    assert found.reasons[-1] == "no word in common with what this peer cares for"


@pytest.mark.parametrize("mood", ["neutral", "Informational", " informational ", "", " Neutral"])
def test_a_mood_that_says_nothing_is_not_surfaced(mood: str) -> None:
    assert verdict(says({"focus": "bake bread on sunday", "mood": mood})).mood == ""


def test_a_record_that_is_addressed_is_admitted_whatever_the_verdict() -> None:
    found = verdict(says(FOREIGN), directed=True)
    assert (found.decision, found.admitted, found.mood) == ("rejected", True, "")
    assert found.reasons[0] == "addressed to this peer"


@pytest.mark.parametrize("texts", [{}, {"focus": "Neutral"}, dict.fromkeys(FIELDS, "neutral")])
@pytest.mark.parametrize("charter", [CHARTER, "neutral", ""])
@pytest.mark.parametrize("anchors", [(), (says("x"),), (says({}),)])
def test_a_record_that_says_nothing_is_rejected(texts: Any, charter: str, anchors: Any) -> None:
    found = verdict(says(texts), charter=charter, anchors=anchors, thread=anchors)
    assert (found.decision, found.admitted) == ("rejected", False)
    assert "it says nothing" in found.reasons


def test_a_peer_without_charter_and_memory_admits_and_says_why() -> None:
    found = verdict(says("anything at all: bread"), charter=" ")
    assert (found.decision, found.admitted) == ("aligned", True)
    assert any("no charter and no memory" in reason for reason in found.reasons)
    assert found.insight is None


def test_nothing_is_redundant_to_a_peer_that_knows_nothing() -> None:
    assert verdict(TASK).decision != "redundant"


def test_being_a_reply_in_a_known_thread_speaks_for_a_message_and_is_not_enough() -> None:
    reply = says("lock an account after 5 wrong passwords, counted by address", parents=[TASK.key])
    inside = verdict(reply, anchors=(TASK,), thread=(TASK,))
    outside = verdict(reply, anchors=(TASK,))
    assert inside.admitted
    assert inside.affinity > outside.affinity
    assert "in a thread that this peer knows" in inside.reasons
    thread = (TASK, *map(says, DISCUSSED))
    leave = "my sister's wedding is on Saturday, so I leave at noon"
    lunch = {
        "focus": "Lunch",
        "intent": "There is soup in the kitchen, help yourselves before two.",
    }
    for aside in (leave, lunch):
        private = says(aside, parents=[thread[-1].key])
        assert not verdict(private, anchors=thread[-5:], thread=thread).admitted
    more = says("answer 429 and say when to come back", parents=[thread[-1].key])
    assert verdict(more, anchors=thread[-5:], thread=thread).admitted


def test_who_was_foreign_before_and_answers_what_was_foreign_is_likelier_foreign() -> None:
    text = says("the limits of the login form are drafted, please review them")
    plain = verdict(text, anchors=(TASK,))
    stranger = verdict(text, anchors=(TASK,), standing=Standing(foreign=9), answers_foreign=True)
    assert plain.admitted
    assert stranger.affinity < plain.affinity


@pytest.mark.parametrize("thread", [(), (TASK,)])
def test_a_repetition_is_redundant_in_a_thread_too(thread: tuple[Record, ...]) -> None:
    texts = {**TASK.spoken(), "mood": "bored"}
    found = verdict(says(texts), anchors=(TASK,), thread=thread)
    assert (found.decision, found.admitted, found.mood) == ("redundant", False, "bored")
    assert "known already: it says nothing that one record does not say" in found.reasons
    assert verdict(says(texts), anchors=(TASK,), thread=thread, directed=True).admitted


@pytest.mark.parametrize(
    "more", ["with 977 attempts", "but never again after the release", "is that enough?"]
)
def test_the_same_topic_with_a_number_a_negation_or_a_question_is_no_repetition(more: str) -> None:
    found = verdict(says({"focus": f"rate-limit the login endpoint {more}"}), anchors=(TASK,))
    assert found.insight is not None
    assert not any("says nothing that one record" in reason for reason in found.reasons)


def test_other_scripts_are_redundant_when_all_their_words_are_known() -> None:
    known = says("\u8a2d\u8a08\u3092\u898b\u76f4\u3059")
    assert verdict(known, charter="", anchors=(known,)).decision == "redundant"


def test_anchors_beyond_the_newest_count_too() -> None:
    held = Anchor("cmb-old", {"focus": "the harbour crane needs a gearbox"})
    found = verdict(says("the harbour crane needs a gearbox"), known=(held,))
    assert found.decision == "redundant"
    assert found.insight is not None
    assert found.insight.nearest == "cmb-old"


def test_a_good_name_does_not_carry_in_what_shares_nothing_with_this_peer() -> None:
    stranger = verdict(says(FOREIGN), anchors=(TASK,))
    known = verdict(says(FOREIGN), anchors=(TASK,), standing=Standing(news=9))
    assert known.affinity == stranger.affinity


class Away:
    kernel = KERNEL_STATIC

    def encode(self, texts: Sequence[str]) -> Vectors:  # noqa: ARG002
        raise EncoderAway("the process is gone")


def test_without_its_encoder_a_peer_judges_with_ngrams_and_says_so() -> None:
    found = verdict(TASK, judge=Judge(Away()))
    assert found.insight is not None
    assert found.insight.kernel == KERNEL_NGRAM
    assert "judged with n-grams: the process is gone" in found.reasons
    assert found.affinity == verdict(TASK, judge=Judge()).affinity


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
    assert JUDGE(Candidate(record, 900.0, False), held).reference == found


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
    st.booleans(),
)
def test_any_record_gets_a_verdict_with_reasons(
    texts: dict[str, str], charter: str, directed: bool
) -> None:
    record = says(texts)
    for around in ((), (TASK,), (record,)):
        found = verdict(record, charter=charter, anchors=around, thread=around, directed=directed)
        assert found.reasons
        assert 0 <= found.drift <= 1
        assert found.admitted or found.decision in {"redundant", "rejected"}
