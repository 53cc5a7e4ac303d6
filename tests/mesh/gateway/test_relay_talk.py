"""Two talks through a relay, without the relay: ours end up secure, whatever is put in between."""

import pytest
from helpers.gateway import identity_between

from xmesh_mesh.canonical import b64u
from xmesh_mesh.gateway.relay_talk import AGAIN_MS, RelayTalk
from xmesh_mesh.gateway.talk import Turn
from xmesh_mesh.gateway.talks import Handshakes, Talks
from xmesh_mesh.gateway.trust import Gatekeeper
from xmesh_mesh.identity import Identity
from xmesh_mesh.introduction import introduce
from xmesh_mesh.pins import Pins
from xmesh_mesh.record import Record, compose
from xmesh_mesh.signing import sign, sign_bytes
from xmesh_mesh.wire import frames, records
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import Frame
from xmesh_mesh.wire.secure import proof_payload
from xmesh_mesh.wire.secure_terms import TIMEOUT_MS
from xmesh_mesh.wire.trust import Self


class Side:
    """One node with its talk to another; ``out`` is what it wants sent."""

    def __init__(self, identity: Identity, pins: Pins) -> None:
        self.identity = identity
        own = Self(identity.node_id, identity.name, "lab", identity.public_key, bytes(range(32)))
        self.pins = pins
        self.talks = Talks(own, Gatekeeper(pins, "tofu", own.node_id), Handshakes())
        self.out: list[Frame] = []
        self.opened = 0

    def begin(self, other: "Side") -> None:
        self.talk: RelayTalk = self.talks.relay(other.identity.node_id, 0)
        self.follow(self.talk.start())

    def receive(self, frame: Frame, now_ms: int = 0) -> Turn:
        turn = self.talk.receive(frame, now_ms)
        self.follow(turn)
        request = self.talk.proof_request
        if request is not None:
            payload = proof_payload(request.role, request.transcript)
            self.follow(self.talk.proved(b64u(sign_bytes(payload, self.identity.seed))))
        return turn

    def follow(self, turn: Turn) -> None:
        self.out += turn.send
        self.opened += turn.opened

    def pack(self, record: Record) -> Frame:
        return self.talk.pack(record, self.identity.node_id)

    def record(self, focus: str) -> Record:
        unsigned = compose(
            {"focus": focus}, created_by=self.identity.name, created_ms=1, group="lab"
        )
        return sign(unsigned, self.identity.seed)


@pytest.fixture
def low(tmp_path_factory: pytest.TempPathFactory) -> Side:
    path = tmp_path_factory.mktemp("low") / "pins.json"
    return Side(identity_between("low", "0"), Pins(path))


@pytest.fixture
def high(tmp_path_factory: pytest.TempPathFactory) -> Side:
    path = tmp_path_factory.mktemp("high") / "pins.json"
    return Side(identity_between("high", "f"), Pins(path))


def exchange(low: Side, high: Side, now_ms: int = 0) -> list[Frame]:
    """Carry frames both ways until nobody has more to say; return them all."""
    carried: list[Frame] = []
    while low.out or high.out:
        for one, other in ((low, high), (high, low)):
            for frame in one.out[:]:
                one.out.remove(frame)
                carried.append(frame)
                other.receive(frame, now_ms)
    return carried


def linked(low: Side, high: Side) -> list[Frame]:
    low.begin(high)
    high.begin(low)
    return exchange(low, high)


def heard(side: Side, frame: Frame) -> str:
    turn = side.receive(frame)
    assert isinstance(turn.deliver, frames.Frame)
    brought = side.talk.unpack(turn.deliver)
    assert brought is not None
    return brought.record.text("focus")


def test_two_of_ours_begin_plain_and_go_on_secure(low: Side, high: Side) -> None:
    carried = [type(frame) for frame in linked(low, high)]
    assert carried.count(frames.ClientHello) == 1
    for side, other in ((low, high), (high, low)):
        assert side.talk.counterpart is not None
        assert side.talk.counterpart.secure
        assert side.talk.counterpart.node_id == other.identity.node_id
        assert side.opened == 1
    assert heard(high, low.pack(low.record("a word"))) == "a word"
    assert heard(low, high.pack(high.record("another"))) == "another"


def test_a_record_in_clear_is_dropped_on_a_secure_link_and_ends_nothing(
    low: Side, high: Side
) -> None:
    linked(low, high)
    with pytest.raises(WireError) as caught:
        high.receive(records.cmb(low.record("forged by the relay")))
    assert not caught.value.fatal
    assert heard(high, low.pack(low.record("a word"))) == "a word"


def test_nothing_is_delivered_before_a_handshake(low: Side, high: Side) -> None:
    high.begin(low)
    for frame in (frames.Ping(), records.cmb(low.record("too early"))):
        with pytest.raises(WireError) as caught:
            high.receive(frame)
        assert not caught.value.fatal


def test_a_side_that_begins_anew_is_met_again(low: Side, high: Side) -> None:
    for anew, other in ((low, high), (high, low)):
        linked(low, high)
        anew.begin(other)
        exchange(low, high, AGAIN_MS)
        assert other.opened >= 2
        assert heard(other, anew.pack(anew.record("back"))) == "back"
        low.opened = high.opened = 0


def test_a_session_stands_until_another_is_proven(low: Side, high: Side) -> None:
    linked(low, high)
    hello = low.talks.secure("client", AGAIN_MS).start().send[0]
    high.receive(hello, AGAIN_MS)
    high.out.clear()
    assert heard(high, low.pack(low.record("still"))) == "still"
    assert high.talk.tick(2 * TIMEOUT_MS) == Turn(), "the half of a handshake is given up"
    assert heard(high, low.pack(low.record("and still"))) == "and still"


def test_a_relay_that_leaves_out_what_we_can_do_gets_no_plain_words_of_a_secure_node(
    low: Side, high: Side
) -> None:
    linked(low, high)
    low.pins.note_secure(high.identity.node_id)
    low.begin(high)
    (announced,) = [frame for frame in low.out if isinstance(frame, frames.Handshake)]
    stripped = frames.Handshake(
        node_id=high.identity.node_id,
        name="high",
        room="lab",
        public_key=b64u(high.identity.public_key),
        e2e_public_key=announced.e2e_public_key,
    )
    with pytest.raises(WireError) as caught:
        low.receive(stripped)
    assert caught.value.code == "downgrade"


def test_the_words_to_a_deployed_node_are_hidden_from_the_relay_or_not_said(
    low: Side, high: Side
) -> None:
    low.begin(high)
    bare = frames.Handshake(
        node_id=high.identity.node_id,
        name="high",
        room="lab",
        public_key=b64u(high.identity.public_key),
    )
    low.receive(bare)
    with pytest.raises(WireError) as caught:
        low.pack(low.record("a secret"))
    assert caught.value.code == "no-secret"
    (announced,) = low.out
    assert isinstance(announced, frames.Handshake)
    low.receive(frames.Handshake(
        node_id=bare.node_id, name="high", room="lab", public_key=bare.public_key,
        e2e_public_key=announced.e2e_public_key,
    ))  # fmt: skip
    packed = low.pack(low.record("a secret"))
    assert isinstance(packed, frames.Cmb)
    assert packed.cmb.sealing is not None
    assert b"a secret" not in bytes(packed.cmb.categories)


def test_a_sealed_record_names_its_author(low: Side, high: Side) -> None:
    linked(low, high)
    frame = low.talk.pack(low.record("for another"), high.identity.node_id)
    high.receive(frame)
    brought = high.talk.unpack(frame)
    assert brought is not None
    assert brought.author == high.identity.node_id


def test_an_operator_is_presented_once_in_each_session(low: Side, high: Side) -> None:
    operator = introduce(
        identity_between("operator"), "lab", implementation="xmesh", now_ms=1_800_000_000_000
    )
    linked(low, high)
    presented = low.talk.present(operator)
    assert isinstance(presented, frames.Operator)
    assert high.talk.presented(presented) == operator
    assert low.talk.present(operator) is None
    high.begin(low)
    exchange(low, high, AGAIN_MS)
    with pytest.raises(WireError):
        high.talk.presented(presented)
    again = low.talk.present(operator)
    assert isinstance(again, frames.Operator)
    assert high.talk.presented(again) == operator


def test_a_node_that_turns_out_to_be_ours_is_told_nothing_in_between(low: Side, high: Side) -> None:
    low.begin(high)
    (announced,) = low.out
    assert isinstance(announced, frames.Handshake)
    plain = {
        "node_id": high.identity.node_id, "name": "high", "room": "lab",
        "public_key": b64u(high.identity.public_key),
        "e2e_public_key": announced.e2e_public_key,
    }  # fmt: skip
    low.receive(frames.Handshake(**plain))
    low.pack(low.record("to a deployed node"))
    low.receive(frames.Handshake(**plain, extensions=["cmb-encrypted-v2"]))
    with pytest.raises(WireError) as caught:
        low.pack(low.record("to one of ours"))
    assert caught.value.code == "no-secret"


def test_a_proof_that_comes_too_late_is_refused(low: Side, high: Side) -> None:
    high.begin(low)
    hello = low.talks.secure("client", 0).start().send[0]
    high.talk.receive(hello, 0)
    with pytest.raises(WireError):
        high.talk.tick(TIMEOUT_MS)
    with pytest.raises(WireError) as caught:
        high.talk.proved("")
    assert caught.value.code == "handshake-timeout"
