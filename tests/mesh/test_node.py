"""The membrane: what is checked, in which order, and what may wake."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from helpers.nodes import GROUP, NOW, Author, deliver, node
from helpers.records import KEY_A
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replace_struct

from xmesh_mesh.admission import ANCHORS, Candidate, Surroundings, Verdict
from xmesh_mesh.admission import judge as the_judge
from xmesh_mesh.anchors import THREAD_VIEW
from xmesh_mesh.canonical import b64u
from xmesh_mesh.errors import RecordError
from xmesh_mesh.introduction import introduce
from xmesh_mesh.node import UNSIGNED, Node
from xmesh_mesh.pins import PinResult, Pins, Trust
from xmesh_mesh.record import FIELDS, SUITE_PUBLISHED, Category, Record, compose, encode, to_wire
from xmesh_mesh.signing import assertion_id, sign

WRITER = Author("writer-01")
TESTER = Author("test-writer-01")
STRANGER = Author("stranger-01")

RELEVANT = "a draft of the specification of the login limits, ready for review of its risks"
FOREIGN = "bake sourdough bread on sunday"


@pytest.fixture
def me(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path, WRITER, TESTER) as made:
        yield made


# What is refused, and in which order


def refused(me: Node, author: Author, record: Record | bytes) -> str:
    """Return the code; nothing of what is refused may be stored, and none of it wakes."""
    before = me.memory.counts()
    received = deliver(me, author, record)
    assert received.wake is None
    assert received.verdict is None
    assert me.memory.counts() == before
    return received.refused


def test_a_record_of_an_unknown_author_is_refused_before_it_is_read(me: Node) -> None:
    assert refused(me, STRANGER, STRANGER.says(RELEVANT)) == "unknown-author"
    assert refused(me, STRANGER, b"nonsense") == "unknown-author"


def test_bytes_that_are_no_record_are_refused(me: Node) -> None:
    assert refused(me, WRITER, b"nonsense") == "malformed"
    assert refused(me, WRITER, b"x" * 300_000) == "too-large"


def test_an_unsigned_record_is_refused(me: Node) -> None:
    assert refused(me, WRITER, replace(WRITER.says(RELEVANT), sig=None)) == "unsigned"


def test_a_record_signed_with_another_key_is_refused_before_its_audience_is_looked_at(
    me: Node,
) -> None:
    forged = compose(
        {"focus": RELEVANT}, created_by="writer-01", created_ms=NOW, group="elsewhere", to="x"
    )
    assert refused(me, WRITER, sign(forged, STRANGER.identity.seed)) == "bad-signature"
    assert refused(me, TESTER, WRITER.says(RELEVANT)) == "bad-signature"


def test_a_record_under_another_name_is_refused_before_its_audience_is_looked_at(me: Node) -> None:
    assert refused(me, WRITER, WRITER.says(RELEVANT, created_by="boss")) == "wrong-author"
    both = WRITER.says(RELEVANT, created_by="boss", group="elsewhere")
    assert refused(me, WRITER, both) == "wrong-author"


def test_a_record_that_names_another_node_is_refused(me: Node) -> None:
    plain = replace(WRITER.says(RELEVANT), sig=None, suite=SUITE_PUBLISHED)
    for node_id, code in ((TESTER.node_id, "wrong-author"), (WRITER.node_id, "")):
        record = sign(replace(plain, created_by_node_id=node_id), WRITER.identity.seed)
        assert deliver(me, WRITER, record).refused == code


@pytest.mark.parametrize("group", ["elsewhere", None, ""])
def test_a_record_for_another_group_is_refused(me: Node, group: str | None) -> None:
    assert refused(me, WRITER, WRITER.says(RELEVANT, group=group, to="x")) == "wrong-audience"


@pytest.mark.parametrize("to", [TESTER.node_id, "reviewer-01", ""])
def test_a_record_for_another_recipient_is_refused(me: Node, to: str) -> None:
    assert refused(me, WRITER, WRITER.says(RELEVANT, to=to)) == "wrong-recipient"


def test_words_that_are_not_those_of_the_address_are_refused(me: Node) -> None:
    record = WRITER.says(RELEVANT)
    changed = replace(record, categories={**record.categories, "focus": Category(FOREIGN)})
    assert refused(me, WRITER, changed) == "content-mismatch"


_PLAIN = encode(WRITER.says({"focus": RELEVANT, "intent": "review it"}, parents=[KEY_A]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.integers(0, len(_PLAIN) * 8 - 1))
def test_no_flipped_bit_changes_what_is_believed(me: Node, bit: int) -> None:
    data = bytearray(_PLAIN)
    data[bit // 8] ^= 1 << bit % 8
    received = deliver(me, WRITER, bytes(data))
    if not received.refused or received.refused == "duplicate":
        # Only what no signature binds may differ: a field's own key, lineage's method.
        honest = WRITER.says({"focus": RELEVANT, "intent": "review it"}, parents=[KEY_A])
        assert received.assertion == assertion_id(honest)
        assert received.record is not None
        assert received.record.texts() == honest.texts()


def test_a_second_delivery_is_a_duplicate_and_changes_nothing(me: Node) -> None:
    record = WRITER.says(RELEVANT)
    first = deliver(me, WRITER, record)
    assert first.wake is not None
    again = deliver(me, WRITER, record)
    assert (again.refused, again.wake, again.verdict) == ("duplicate", None, None)
    assert (again.assertion, again.record) == (first.assertion, record)
    assert me.memory.counts()["records"] == 1
    assert me.memory.wake_counts() == {"queued": 1}


def test_a_record_that_grows_when_it_is_written_anew_is_taken_in_as_it_came(me: Node) -> None:
    big = dict.fromkeys(["issue", "intent", "motivation", "commitment"], "x" * 65_000)
    record = WRITER.says({"focus": RELEVANT, **big, "mood": "y" * 1_400})
    wire = to_wire(record)
    wire["categories"] = record.texts()
    slim = json.dumps(wire).encode()
    with pytest.raises(RecordError, match="bytes of JSON"):
        encode(record)
    received = deliver(me, WRITER, slim)
    assert received.refused == ""
    entry = me.memory.by_assertion(received.assertion)
    assert entry is not None
    assert entry.record == received.record


# What is stored, and what wakes


def test_a_relevant_record_is_stored_with_its_verdict_and_wakes(me: Node) -> None:
    record = WRITER.says({"focus": RELEVANT, "mood": "glad"})
    received = deliver(me, WRITER, record, seq=9, now_ms=NOW + 60_000)
    assert received.refused == ""
    assert received.assertion == assertion_id(record)
    assert received.verdict is not None
    assert received.wake is not None
    assert received.wake == me.memory.next_wake()
    entry = me.memory.by_assertion(received.assertion)
    assert entry is not None
    assert (entry.author, entry.seq, entry.received_ms) == (WRITER.node_id, 9, NOW + 60_000)
    assert (entry.own, entry.directed, entry.admitted, entry.mood) == (False, False, True, "")
    assert (entry.verdict, entry.drift) == (received.verdict.decision, received.verdict.drift)
    assert entry.reasons == received.verdict.reasons
    fields = json.loads(entry.fields)
    silent = {"verdict": "silent", "drift": None, "affinity": 0.0, "weight": 1.0, "nearest": ""}
    near = round(received.verdict.per_field["focus"], 4)
    assert near > 0
    assert fields == {**dict.fromkeys(FIELDS, silent), "focus": {**silent, "affinity": near}}


def test_a_foreign_record_is_stored_wakes_nobody_and_leaves_its_mood(me: Node) -> None:
    received = deliver(me, WRITER, WRITER.says({"focus": FOREIGN, "mood": "exhausted"}))
    assert received.verdict is not None
    assert not received.verdict.admitted
    assert received.wake is None
    assert [entry.mood for entry in me.memory.moods(5)] == ["exhausted"]
    assert me.memory.counts()["rejected"] == 1


def test_a_record_addressed_to_this_node_wakes_it_however_foreign(me: Node) -> None:
    record = WRITER.says(FOREIGN, to=me.identity.node_id)
    received = deliver(me, WRITER, record)
    assert received.wake is not None
    assert received.wake.directed
    entry = me.memory.by_assertion(received.assertion)
    assert entry is not None
    assert (entry.directed, entry.admitted, entry.verdict) == (True, True, "rejected")


def test_old_news_is_remembered_and_wakes_nobody(me: Node) -> None:
    for record in (WRITER.says(RELEVANT), WRITER.says(FOREIGN, to=me.identity.node_id)):
        received = deliver(me, WRITER, record, may_wake=False)
        assert received.verdict is not None
        assert received.verdict.admitted
        assert received.wake is None
        assert me.memory.knows(received.assertion)
    assert me.memory.next_wake() is None


@pytest.mark.parametrize("text", [RELEVANT, FOREIGN])
@pytest.mark.parametrize("directed", [False, True])
def test_an_own_record_that_comes_back_is_remembered_as_own_and_never_wakes(
    me: Node, text: str, directed: bool
) -> None:
    to = me.identity.node_id if directed else None
    record, assertion = me.compose({"focus": text}, now_ms=NOW, to=to)
    with me.memory.transaction():
        received = me.receive(me.identity.node_id, encode(record), seq=1, now_ms=NOW)
    assert received.wake is None
    entry = me.memory.by_assertion(assertion)
    assert entry is not None
    assert (entry.own, entry.admitted) == (True, True)


def test_age_is_counted_in_seconds_and_a_record_from_the_future_is_as_one_from_now(
    me: Node,
) -> None:
    ages = []

    def judge(candidate: Candidate, surroundings: Surroundings) -> Verdict:
        ages.append(candidate.age_s)
        return the_judge(candidate, surroundings)

    me.judge = judge
    subjects = ["caching", "billing", "search", "logins"]
    for subject, now_ms in zip(subjects, [NOW + 1_500, NOW, NOW - 1, NOW - 10**12], strict=True):
        record = WRITER.says(
            f"the draft specification of {subject}, version 4{len(ages)}, for review"
        )
        assert deliver(me, WRITER, record, now_ms=now_ms).wake is not None
    assert ages == [1.5, 0, 0, 0]


# What it is judged against


def surroundings_of(me: Node, record: Record) -> Surroundings:
    seen = []

    def judge(candidate: Candidate, surroundings: Surroundings) -> Verdict:
        seen.append(surroundings)
        assert candidate.record == record
        return the_judge(candidate, surroundings)

    me.judge = judge
    assert deliver(me, WRITER, record).refused == ""
    me.judge = the_judge
    return seen[0]


def test_a_first_message_is_held_against_charter_weights_and_the_newest_admitted(
    tmp_path: Path,
) -> None:
    with node(tmp_path, WRITER, charter="Bakes bread.", weights={"focus": 2.0}) as me:
        kept = [WRITER.says(f"bread {n} of the {n}th kind, order {n * 7}") for n in range(7)]
        for record in kept:
            assert deliver(me, WRITER, record).wake is not None
        deliver(me, WRITER, WRITER.says("rocket science"))
        seen = surroundings_of(me, WRITER.says("more bread"))
        assert (seen.charter, seen.weights) == ("Bakes bread.", {"focus": 2.0})
        assert seen.anchors == kept[: -ANCHORS - 1 : -1]
        assert len(seen.anchors) == ANCHORS
        assert seen.thread == []


def test_a_reply_is_held_against_the_newest_of_its_thread(me: Node) -> None:
    task = WRITER.says(RELEVANT)
    deliver(me, WRITER, task)
    replies = [
        WRITER.says(f"draft {n} of specification {n * 31}", parents=[task.key])
        for n in range(THREAD_VIEW)
    ]
    for record in replies:
        assert deliver(me, WRITER, record).wake is not None
    seen = surroundings_of(me, WRITER.says("what about bread", parents=[KEY_A, replies[3].key]))
    assert [anchor.name for anchor in seen.thread] == [record.key for record in replies]
    assert surroundings_of(me, WRITER.says("and bread", parents=[KEY_A])).thread == []


def test_a_thread_of_rejected_records_carries_nothing_in(me: Node) -> None:
    first = WRITER.says(FOREIGN)
    assert deliver(me, WRITER, first).wake is None
    second = deliver(me, WRITER, WRITER.says(f"{FOREIGN} again", parents=[first.key]))
    assert second.wake is None
    assert second.verdict is not None
    assert not any("thread" in reason for reason in second.verdict.reasons)


def test_rejected_records_do_not_push_a_known_thread_out_of_view(me: Node) -> None:
    task = WRITER.says(RELEVANT)
    deliver(me, WRITER, task)
    for _ in range(THREAD_VIEW + 1):
        again = compose(
            {"focus": RELEVANT}, created_by="writer-01", created_ms=NOW + _, group=GROUP,
            parents=(task.key,),
        )  # fmt: skip
        assert deliver(me, WRITER, sign(again, WRITER.identity.seed)).wake is None
    reply = WRITER.says("the specification wants 30 quick brown foxes", parents=[task.key])
    received = deliver(me, WRITER, reply)
    assert received.verdict is not None
    assert "in a thread that this peer knows" in received.verdict.reasons
    assert received.wake is not None


# Meeting, and speaking


def test_meeting_pins_the_first_key_and_keeps_another_one_out(me: Node) -> None:
    assert me.meet(WRITER.introduction()) is PinResult.SAME
    assert me.meet(STRANGER.introduction()) is PinResult.FIRST
    assert deliver(me, STRANGER, STRANGER.says(RELEVANT)).wake is not None
    thief = replace(Author("writer-01").identity, node_id=WRITER.node_id)
    stolen = introduce(thief, GROUP, implementation="test", now_ms=NOW)
    assert me.meet(stolen) is PinResult.CHANGED
    forged = compose({"focus": RELEVANT}, created_by="writer-01", created_ms=NOW, group=GROUP)
    assert refused(me, WRITER, sign(forged, thief.seed)) == "bad-signature"
    assert deliver(me, WRITER, WRITER.says(f"caching: {RELEVANT}")).refused == ""


def test_an_introduction_to_another_group_or_with_a_broken_signature_pins_nothing(me: Node) -> None:
    with pytest.raises(RecordError, match="elsewhere") as caught:
        me.meet(STRANGER.introduction("elsewhere"))
    assert caught.value.code == "wrong-group"
    forged = msgspec.structs.replace(STRANGER.introduction(), sig=b64u(bytes(64)))
    with pytest.raises(RecordError):
        me.meet(forged)
    assert me.pins.key(STRANGER.node_id) is None


def test_an_own_record_is_signed_for_its_group_and_recipient_and_not_yet_stored(
    me: Node, tmp_path: Path
) -> None:
    record, assertion = me.compose({"focus": "x"}, now_ms=NOW, parents=(KEY_A,), to=WRITER.node_id)
    assert assertion == assertion_id(record)
    assert (record.created_by, record.created_ms, record.group) == ("reviewer-01", NOW, GROUP)
    assert (record.to, record.parents, record.method) == (WRITER.node_id, (KEY_A,), "SVAF-v2")
    assert me.memory.counts()["records"] == 0
    first, _ = me.compose({"focus": "x"}, now_ms=NOW)
    assert (first.to, first.parents, first.method) == (None, (), None)
    other = tmp_path / "other"
    other.mkdir()
    with node(other) as listener:
        listener.meet(introduce(me.identity, GROUP, implementation="test", now_ms=NOW))
        with listener.memory.transaction():
            received = listener.receive(me.identity.node_id, encode(first), seq=1, now_ms=NOW)
        assert received.refused == ""


# Whom it trusts

FARAWAY = Author("faraway-01")
UNSIGNED_WORDS = replace(FARAWAY.says(RELEVANT), sig=None)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path, WRITER, trust="open") as made:
        yield made


def test_tofu_takes_a_remote_node_by_its_first_key_and_holds_it_to_that(me: Node) -> None:
    assert me.meet(FARAWAY.from_afar()) is PinResult.FIRST
    assert deliver(me, FARAWAY, FARAWAY.says(RELEVANT)).refused == ""
    assert me.meet(FARAWAY.from_afar(public_key=b64u(bytes(32)))) is PinResult.CHANGED
    assert deliver(me, FARAWAY, FARAWAY.says("a draft of the tests")).refused == ""
    assert me.meet(STRANGER.from_afar(public_key="")) is PinResult.UNKNOWN
    assert refused(me, STRANGER, STRANGER.says(RELEVANT)) == "unknown-author"


def test_strict_hears_a_remote_node_once_a_person_has_pinned_it(tmp_path: Path) -> None:
    with node(tmp_path, WRITER, trust="strict") as me:
        assert deliver(me, WRITER, WRITER.says(RELEVANT)).refused == ""
        assert me.meet(FARAWAY.from_afar()) is PinResult.UNKNOWN
        assert refused(me, FARAWAY, FARAWAY.says(RELEVANT)) == "unknown-author"
        person = Pins(tmp_path / "pins.json")
        assert [held.why for held in person.quarantined()] == ["not-pinned"]
        person.accept(FARAWAY.node_id)
        assert deliver(me, FARAWAY, FARAWAY.says("a draft of the tests")).refused == ""


@pytest.mark.parametrize("trust", ["tofu", "strict"])
def test_unsigned_words_are_taken_in_open_only(tmp_path: Path, trust: Trust) -> None:
    with node(tmp_path, trust=trust) as me:
        me.pins.add(FARAWAY.node_id, FARAWAY.identity.public_key, "faraway-01")
        me.meet(FARAWAY.from_afar())
        assert refused(me, FARAWAY, UNSIGNED_WORDS) == "unsigned"


@pytest.mark.parametrize("changes", [{}, {"public_key": ""}], ids=["with key", "without"])
def test_open_takes_unsigned_words_of_remote_nodes_and_says_what_they_are(
    opened: Node, changes: dict[str, str]
) -> None:
    assert opened.meet(FARAWAY.from_afar(**changes)) in {PinResult.FIRST, PinResult.SAME}
    received = deliver(opened, FARAWAY, UNSIGNED_WORDS)
    assert (received.refused, received.wake is not None) == ("", True)
    entry = opened.memory.by_assertion(received.assertion)
    assert entry is not None
    assert entry.record == UNSIGNED_WORDS
    assert entry.reasons[-1] == UNSIGNED
    assert deliver(opened, FARAWAY, UNSIGNED_WORDS).refused == "duplicate"


def test_open_takes_no_unsigned_words_of_this_host(opened: Node) -> None:
    assert refused(opened, WRITER, replace(WRITER.says(RELEVANT), sig=None)) == "unsigned"


def test_who_has_signed_once_is_never_heard_unsigned_again(opened: Node, tmp_path: Path) -> None:
    opened.meet(FARAWAY.from_afar())
    assert deliver(opened, FARAWAY, FARAWAY.says(RELEVANT)).refused == ""
    assert refused(opened, FARAWAY, UNSIGNED_WORDS) == "unsigned"
    opened.meet(FARAWAY.from_afar(public_key=""))
    assert refused(opened, FARAWAY, UNSIGNED_WORDS) == "unsigned"
    assert Pins(tmp_path / "pins.json").has_signed(FARAWAY.node_id)


def test_unsigned_words_are_held_to_their_address_author_and_group(opened: Node) -> None:
    opened.meet(FARAWAY.from_afar(public_key=""))
    changed = {**UNSIGNED_WORDS.categories, "focus": Category(FOREIGN)}
    for record, code in (
        (replace(UNSIGNED_WORDS, categories=changed), "content-mismatch"),
        (replace(UNSIGNED_WORDS, key="cmb1-" + "a" * 32), "legacy-key-rejected"),
        (replace(UNSIGNED_WORDS, created_by="boss"), "wrong-author"),
        (replace(UNSIGNED_WORDS, group="elsewhere"), "wrong-audience"),
        (FARAWAY.says(RELEVANT), "bad-signature"),
    ):
        assert refused(opened, FARAWAY, record) == code


def test_a_node_that_moves_to_this_host_must_sign_its_introduction(opened: Node) -> None:
    opened.meet(FARAWAY.from_afar())
    opened.meet(FARAWAY.introduction())
    assert not opened.is_remote(FARAWAY.node_id)
    with pytest.raises(RecordError):
        opened.meet(replace_struct(FARAWAY.introduction(), sig=""))


def test_a_proof_is_given_for_ones_own_handshake_only(me: Node) -> None:
    with pytest.raises(ValueError, match="no handshake transcript"):
        me.prove("client", encode(WRITER.says(RELEVANT)))
