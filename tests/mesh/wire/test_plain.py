"""The handshake of deployed nodes, rule by rule."""

from typing import Any

import pytest
from msgspec.structs import replace

from xmesh_mesh.canonical import b64u
from xmesh_mesh.wire import e2e
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import Cmb, Handshake, Ping, Pong, Unknown
from xmesh_mesh.wire.plain import RULES, Phase, PlainHandshake, Rule
from xmesh_mesh.wire.trust import Floor, KeyVerdict

LOW = "01930f1e-0000-7000-8000-00000000000a"
HIGH = "01930f1e-0000-7000-8000-00000000000b"


def make(node: Any, **changes: Any) -> PlainHandshake:
    values = {
        "transport": "lan",
        "dialled": False,
        "check": lambda *_: KeyVerdict.TRUSTED,
        "now_ms": 0,
    }
    return PlainHandshake(node.own, **(values | changes))


def hello(node: Any) -> Handshake:
    frame = make(node, dialled=True).start().send[0]
    assert isinstance(frame, Handshake)
    return frame


def refused(machine: PlainHandshake, frame: Any) -> str:
    with pytest.raises(WireError) as error:
        machine.receive(frame)
    return error.value.code


def test_the_table_is_complete() -> None:
    assert set(RULES) == {(p, t, h) for p in Phase for t in ("lan", "relay") for h in (True, False)}


def test_our_handshake_says_what_deployed_nodes_read(alice: Any) -> None:
    frame = hello(alice)
    assert frame.node_id == LOW
    assert (frame.name, frame.version, frame.extensions, frame.room) == (
        "alice",
        "0.2.3",
        [],
        "lab",
    )
    assert frame.public_key == b64u(alice.own.public_key)
    assert frame.lifecycle_role == "participant"
    if e2e.AVAILABLE:
        assert frame.e2e_public_key == e2e.to_spki(e2e.public_key(alice.own.e2e_private))


def test_two_nodes_meet_and_share_a_secret(alice: Any, bob: Any) -> None:
    dialler = make(alice, dialled=True, expected=HIGH)
    listener = make(bob)
    assert listener.start().send == ()  # shows itself only to who has come with a handshake
    (first,) = dialler.start().send
    (answer,) = listener.receive(first).send
    assert dialler.receive(answer).send == ()
    assert dialler.peer is not None
    assert listener.peer is not None
    assert (dialler.peer.node_id, listener.peer.node_id) == (HIGH, LOW)
    assert (dialler.peer.name, listener.peer.public_key) == ("bob", alice.own.public_key)
    assert dialler.peer.secret == listener.peer.secret
    assert (dialler.peer.secret is not None) == e2e.AVAILABLE
    assert dialler.phase is listener.phase is Phase.OPEN
    assert dialler.peer.extensions == ()


def test_extensions_are_told_and_read(alice: Any, bob: Any) -> None:
    (first,) = make(alice, dialled=True, extensions=("x", "y")).start().send
    listener = make(bob)
    listener.receive(first)
    assert listener.peer is not None
    assert listener.peer.extensions == ("x", "y")


def test_each_side_speaks_once(alice: Any, bob: Any) -> None:
    dialler = make(alice, dialled=True)
    assert len(dialler.start().send) == 1
    assert dialler.receive(hello(bob)).send == ()
    assert dialler.receive(hello(bob)).send == ()


@pytest.mark.parametrize("frame", [Ping(), Pong(), Unknown("client-hello")])
def test_on_the_lan_the_first_frame_is_the_handshake(bob: Any, frame: Any) -> None:
    machine = make(bob)
    assert refused(machine, frame) == "handshake-expected"
    assert machine.phase is Phase.CLOSED
    assert refused(machine, frame) == "out-of-order"


def test_after_the_handshake_frames_are_handed_on(alice: Any, bob: Any) -> None:
    machine = make(bob)
    machine.receive(hello(alice))
    assert machine.receive(Ping()).deliver == Ping()


def test_through_a_relay_frames_may_come_before_the_handshake(alice: Any, bob: Any) -> None:
    machine = make(bob, transport="relay", expected=LOW)
    assert len(machine.start().send) == 1
    assert machine.receive(Ping()).deliver == Ping()
    assert machine.peer is None
    assert machine.receive(hello(alice)).send == ()
    assert machine.peer is not None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"room": "other"}, "group-mismatch"),
        ({"room": None}, "group-mismatch"),
        ({"node_id": HIGH}, "own-node-id"),
        ({"name": "é" * 33}, "bad-handshake"),
        ({"public_key": "short"}, "bad-handshake"),
        ({"public_key": b64u(bytes(31))}, "bad-handshake"),
    ],
)
def test_a_wrong_handshake_ends_the_link(
    alice: Any, bob: Any, changes: dict[str, Any], code: str
) -> None:
    machine = make(bob)
    assert refused(machine, replace(hello(alice), **changes)) == code
    assert machine.phase is Phase.CLOSED
    assert machine.peer is None


@pytest.mark.skipif(not e2e.AVAILABLE, reason="this machine has no AES in hardware")
@pytest.mark.parametrize(
    ("key", "code"), [("short", "bad-handshake"), (e2e.to_spki(bytes(32)), "weak-key")]
)
def test_a_wrong_encryption_key_ends_the_link(alice: Any, bob: Any, key: str, code: str) -> None:
    assert refused(make(bob), replace(hello(alice), e2e_public_key=key)) == code


def test_group_names_are_compared_as_text_not_as_bytes(alice: Any, bob: Any) -> None:
    from dataclasses import replace as with_values

    machine = PlainHandshake(
        with_values(bob.own, group="caf\u00e9"),
        transport="lan",
        dialled=False,
        check=lambda *_: KeyVerdict.TRUSTED,
        now_ms=0,
    )
    machine.receive(replace(hello(alice), room="cafe\u0301"))
    assert machine.phase is Phase.OPEN


def test_a_name_of_64_bytes_is_one(alice: Any, bob: Any) -> None:
    make(bob).receive(replace(hello(alice), name="é" * 32))


def test_who_was_dialled_is_who_must_answer(alice: Any, bob: Any) -> None:
    assert (
        refused(make(bob, dialled=True, expected=HIGH[:-1] + "c"), hello(alice)) == "node-changed"
    )


@pytest.mark.parametrize(
    ("verdict", "code"),
    [(KeyVerdict.CHANGED, "key-changed"), (KeyVerdict.UNKNOWN, "not-trusted")],
)
def test_the_pins_decide(alice: Any, bob: Any, verdict: KeyVerdict, code: str) -> None:
    asked: list[tuple[object, ...]] = []

    def check(*args: object) -> KeyVerdict:
        asked.append(args)
        return verdict

    assert refused(make(bob, check=check), hello(alice)) == code
    assert asked == [(LOW, alice.own.public_key, "alice")]


def test_a_handshake_that_fails_is_never_pinned(alice: Any, bob: Any) -> None:
    asked: list[tuple[object, ...]] = []
    machine = make(bob, check=lambda *args: asked.append(args))
    assert refused(machine, replace(hello(alice), room="other")) == "group-mismatch"
    assert asked == []


def test_a_node_without_a_key_is_for_the_pins_to_judge(alice: Any, bob: Any) -> None:
    machine = make(bob)
    machine.receive(replace(hello(alice), public_key=None))
    assert machine.peer is not None
    assert machine.peer.public_key is None


def test_a_later_handshake_brings_a_new_key_and_leaving_it_out_changes_nothing(
    alice: Any, bob: Any
) -> None:
    machine = make(bob)
    first = hello(alice)
    machine.receive(first)
    assert machine.peer is not None
    secret = machine.peer.secret
    machine.receive(replace(first, e2e_public_key=None, public_key=None, lifecycle_role="anchor"))
    assert (machine.peer.secret, machine.peer.role) == (secret, "anchor")
    assert machine.peer.public_key == alice.own.public_key
    if e2e.AVAILABLE:
        machine.receive(replace(first, e2e_public_key=e2e.to_spki(e2e.public_key(bytes([9]) * 32))))
        assert machine.peer.secret not in {secret, None}


def test_a_later_handshake_is_not_another_node(alice: Any, bob: Any) -> None:
    machine = make(bob)
    machine.receive(hello(alice))
    assert refused(machine, replace(hello(alice), node_id=HIGH[:-1] + "c")) == "node-changed"


def test_without_a_key_of_ours_no_encryption_is_offered(alice: Any, bob: Any) -> None:
    from dataclasses import replace as with_values

    machine = PlainHandshake(
        with_values(bob.own, e2e_private=None),
        transport="lan",
        dialled=True,
        check=lambda *_: KeyVerdict.TRUSTED,
        now_ms=0,
    )
    (frame,) = machine.start().send
    assert isinstance(frame, Handshake)
    assert frame.e2e_public_key is None
    machine.receive(hello(alice))
    assert machine.peer is not None
    assert machine.peer.secret is None


def test_a_machine_that_cannot_encrypt_offers_nothing(
    alice: Any, bob: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = hello(alice)
    monkeypatch.setattr(e2e, "AVAILABLE", False)
    assert hello(bob).e2e_public_key is None
    machine = make(bob)
    machine.receive(theirs)
    assert machine.peer is not None
    assert machine.peer.secret is None


def test_there_is_no_way_back_for_a_node_that_was_secure(alice: Any, bob: Any) -> None:
    floor = Floor().raised(LOW)
    assert refused(make(bob, floor=floor), hello(alice)) == "downgrade"
    over_relay = make(bob, transport="relay", expected=LOW, floor=floor)
    body: Any = None
    assert refused(over_relay, Cmb(cmb=body)) == "downgrade"
    assert over_relay.phase is Phase.CLOSED
    floor.check(HIGH, secure=False)
    floor.check(LOW, secure=True)


def test_on_the_lan_a_handshake_has_ten_seconds(alice: Any, bob: Any) -> None:
    machine = make(bob, now_ms=5)
    machine.tick(10_004)
    with pytest.raises(WireError) as error:
        machine.tick(10_005)
    assert error.value.code == "handshake-timeout"
    assert machine.phase is Phase.CLOSED
    met = make(bob)
    met.receive(hello(alice))
    met.tick(10**9)
    make(bob, transport="relay").tick(10**9)


def test_the_rules_as_they_stand() -> None:
    open_or_waiting = [(p, t) for p in (Phase.WAITING, Phase.OPEN) for t in ("lan", "relay")]
    assert all(RULES[p, t, True] is Rule.ACCEPT for p, t in open_or_waiting)  # type: ignore[index]
    assert RULES[Phase.WAITING, "lan", False] is Rule.REFUSE
