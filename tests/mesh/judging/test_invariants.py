"""What holds for every message and memory: the promises of the judge's interface."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmesh_mesh.encoding.kernels import NGRAM
from xmesh_mesh.encoding.static import StaticEncoder
from xmesh_mesh.judging.calibrations import SHIPPED, shipped
from xmesh_mesh.judging.decision import novelty_of, opine
from xmesh_mesh.judging.features import OF_CONCERN, OF_NOVELTY, View, look
from xmesh_mesh.judging.fit import sign
from xmesh_mesh.judging.pairs import PAIR
from xmesh_mesh.judging.situation import Anchor, Message, Peer, Space, Standing, Thread
from xmesh_mesh.record import FIELDS

STATIC = StaticEncoder()
SPACES: Mapping[str, Space] = {NGRAM.kernel: NGRAM.encode, STATIC.kernel: STATIC.encode}
CHARTER = "Reviews drafts of the booking service; other services are not its concern."

_VOCABULARY = (
    "seat hold eight minutes 12 30 not booking draft Hinrichs queue bread lease now the is"
)
WORDS = st.sampled_from(_VOCABULARY.split())
TEXTS = st.lists(WORDS, min_size=1, max_size=7).map(" ".join)
SPOKEN = st.dictionaries(st.sampled_from(FIELDS), TEXTS, min_size=1, max_size=4)
MEMORY = st.lists(SPOKEN, max_size=4)
SOMETHING = st.lists(SPOKEN, min_size=1, max_size=4)


def seen(
    kernel: str, texts: Mapping[str, str], memory: list[Mapping[str, str]], *, thread: bool = False,
    weights: Mapping[str, float] | None = None,
) -> View:  # fmt: skip
    anchors = [Anchor(str(n), held, thread=thread) for n, held in enumerate(memory)]
    message = Message(texts, Standing(2, 1))
    peer = Peer(CHARTER, weights or {}, "reviewer-01")
    return look(message, peer, anchors, Thread(thread), SPACES[kernel])


@pytest.mark.parametrize("kernel", SPACES)
@settings(max_examples=60)
@given(texts=SPOKEN, memory=SOMETHING, more=SPOKEN, thread=st.booleans())
def test_with_more_memory_novelty_never_rises(
    kernel: str, texts: dict[str, str], memory: list[dict[str, str]], more: dict[str, str],
    thread: bool,
) -> None:  # fmt: skip
    calibration = shipped(kernel)
    before = seen(kernel, texts, list(memory), thread=thread)
    after = seen(kernel, texts, [*memory, more], thread=thread)
    slack = 1e-6
    assert novelty_of(after, calibration)[0] <= novelty_of(before, calibration)[0] + slack
    if opine(before, calibration).label == "redundant":
        assert opine(after, calibration).label != "relevant"


@pytest.mark.parametrize("kernel", SPACES)
@settings(max_examples=40)
@given(texts=SPOKEN, memory=MEMORY, blank=st.sampled_from(["", " ", "neutral", "Neutral"]))
def test_a_field_that_says_nothing_carries_no_weight(
    kernel: str, texts: dict[str, str], memory: list[dict[str, str]], blank: str
) -> None:
    from helpers.nodes import Author

    from xmesh_mesh.admission import Candidate, Judge, Surroundings

    author = Author("x")
    encoder = NGRAM if kernel == NGRAM.kernel else STATIC
    held = Surroundings(CHARTER, {"mood": 5.0}, [author.says(one) for one in memory], ())
    padded = {**dict.fromkeys(FIELDS, blank), **texts}
    judge = Judge(encoder)
    plain = judge(Candidate(author.says(texts), 0.0, False), held)
    other = judge(Candidate(author.says(padded), 0.0, False), held)
    assert replace(other, reference=plain.reference) == plain


@pytest.mark.parametrize("kernel", SPACES)
@settings(max_examples=40)
@given(texts=SPOKEN, memory=MEMORY)
def test_what_one_anchor_says_already_is_redundant_whatever_else_is_known(
    kernel: str, texts: dict[str, str], memory: list[dict[str, str]]
) -> None:
    known = {name: text for name, text in texts.items() if name != "mood"} or texts
    view = seen(kernel, known, [*memory, known])
    if view.repeats:
        assert opine(view, shipped(kernel)).label == "redundant"
    else:
        assert not any(char.isalnum() for text in known.values() for char in text) or all(
            word in {"the", "is", "now", "not"} for t in known.values() for word in t.split()
        )


@pytest.mark.parametrize("kernel", SPACES)
@settings(max_examples=40)
@given(texts=SPOKEN, memory=MEMORY)
def test_a_number_that_nobody_has_named_is_never_redundant(
    kernel: str, texts: dict[str, str], memory: list[dict[str, str]]
) -> None:
    view = seen(kernel, {**texts, "focus": "the hold is 977 minutes"}, list(memory))
    assert opine(view, shipped(kernel)).label != "redundant"


@pytest.mark.parametrize("kernel", SPACES)
def test_only_anchors_are_held_against_a_message(kernel: str) -> None:
    memory = [{"focus": "a seat is held eight minutes"}]
    view = seen(kernel, {"focus": "the hold of a seat"}, memory)
    assert view.nearest == 0
    assert all(entry.index in {-1, 0} for entry in view.fields)
    assert seen(kernel, {"focus": "the hold of a seat"}, []).nearest == -1


@pytest.mark.parametrize("kernel", SHIPPED)
@settings(max_examples=60)
@given(data=st.data())
def test_what_has_a_sign_moves_each_shipped_score_one_way_only(
    kernel: str, data: st.DataObject
) -> None:
    calibration = shipped(kernel)
    scales = (
        ("concern", calibration.alone),
        ("concern", calibration.concern),
        ("novelty", calibration.novelty),
    )
    for kind, scale in scales:
        names = scale.trees.names
        view = {name: data.draw(st.sampled_from(_NUMBERS), label=name) for name in names}
        held = [name for name in names if sign(name, kind)]  # type: ignore[arg-type]
        name = data.draw(st.sampled_from(held))
        more = {**view, name: view[name] + data.draw(st.sampled_from(_NUMBERS))}
        moved = scale.trees.exponent(more) - scale.trees.exponent(view)
        assert moved * sign(name, kind) >= -1e-9  # type: ignore[arg-type]


_NUMBERS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


@pytest.mark.parametrize("kernel", SHIPPED)
def test_the_shipped_scores_read_what_they_should_and_their_bands_lie_around_bars(
    kernel: str,
) -> None:
    calibration = shipped(kernel)
    assert calibration.kernel == kernel
    assert calibration.concern.trees.names == list(OF_CONCERN)
    assert calibration.novelty.trees.names == list(OF_NOVELTY)
    assert not any(name.startswith(("memory", "near")) for name in calibration.alone.trees.names)
    for scale in (calibration.alone, calibration.concern, calibration.novelty):
        for bars in (scale.first, scale.reply):
            assert 0 <= bars.low <= bars.bar <= bars.high <= 1


@settings(max_examples=60)
@given(texts=SPOKEN, memory=MEMORY, more=SPOKEN)
def test_what_novelty_reads_beside_the_rows_changes_with_memory_as_its_sign_says(
    texts: dict[str, str], memory: list[dict[str, str]], more: dict[str, str]
) -> None:
    before = seen(NGRAM.kernel, texts, list(memory)).values
    after = seen(NGRAM.kernel, texts, [*memory, more]).values
    for name in set(OF_NOVELTY) - set(PAIR):
        assert (after[name] - before[name]) * sign(name, "novelty") <= 1e-9, name
        assert after[name] == before[name] or sign(name, "novelty"), name


REVIEWER = {"focus": 1.0, "issue": 2.5, "intent": 1.2, "motivation": 0.8, "commitment": 2.0}
WRITER = {"focus": 2.0, "issue": 1.0, "intent": 2.5, "motivation": 1.5, "commitment": 1.0}
STREAMS = Path(__file__).parents[2] / "admission" / "stream"


def test_the_same_streams_wake_a_reviewer_and_a_writer_differently() -> None:
    calibration = shipped(STATIC.kernel)

    def wakes(message: Mapping[str, str], charter: str, weights: Mapping[str, float]) -> bool:
        view = look(Message(message), Peer(charter, weights), [], Thread(), STATIC.encode)
        return opine(view, calibration).label == "relevant"

    only_reviewer: list[Mapping[str, str]] = []
    only_writer: list[Mapping[str, str]] = []
    heard = 0
    for path in STREAMS.glob("*.jsonl"):
        head, *rows = (json.loads(line) for line in path.read_text().splitlines())
        charter = head["peers"][1]["charter"]
        for row in rows:
            heard += 1
            reviewer, writer = (wakes(row["message"], charter, w) for w in (REVIEWER, WRITER))
            if reviewer != writer:
                (only_reviewer if reviewer else only_writer).append(row["message"])
    print(f"of {heard}: {len(only_reviewer)} the reviewer only, {len(only_writer)} the writer only")
    assert heard / 50 <= len(only_reviewer) + len(only_writer) < heard / 2
    # What only one of them woke for speaks in the fields that it listens to.
    for woken, mine, other in (
        (only_reviewer, "issue", "intent"),
        (only_writer, "intent", "issue"),
    ):
        assert sum(mine in one for one in woken) > sum(other in one for one in woken)
