"""Core Secure, the handshake: both prove their keys, and no byte of it can be changed."""

from collections.abc import Callable
from dataclasses import replace as with_values
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from xmesh_mesh.canonical import b64u, unb64u
from xmesh_mesh.record import Record
from xmesh_mesh.wire import e2e, frames, secure, sending
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import ClientFinish, Ping, ServerHello, Unknown
from xmesh_mesh.wire.secure_handshake import EXPECTED, Phase, SecureHandshake
from xmesh_mesh.wire.trust import KeyVerdict

LOW = "01930f1e-0000-7000-8000-00000000000a"
HIGH = "01930f1e-0000-7000-8000-00000000000b"
SEALED = "cmb-encrypted-v2"


def client_of(node: Any, **changes: Any) -> SecureHandshake:
    return SecureHandshake("client", node.terms(**changes), now_ms=0)


def server_of(node: Any, **changes: Any) -> SecureHandshake:
    return SecureHandshake("server", node.terms(**changes), now_ms=0)


def greet(client: SecureHandshake, server: SecureHandshake, node: Any) -> ServerHello:
    """Return the server's hello to the client's."""
    server.receive(client.start())
    answer = server.proved(node.prove(server.proof_request))
    assert isinstance(answer, ServerHello)
    return answer


def refused(machine: SecureHandshake, frame: Any) -> str:
    with pytest.raises(WireError) as error:
        machine.receive(frame)
    assert error.value.fatal
    assert machine.phase is Phase.CLOSED
    assert machine.session is machine.peer is machine.proof_request is None
    return error.value.code


def test_both_end_with_one_session_and_a_proven_peer(
    opened: tuple[SecureHandshake, SecureHandshake], alice: Any, bob: Any, record: Record
) -> None:
    client, server = opened
    assert client.peer is not None
    assert server.peer is not None
    assert (client.peer.node_id, client.peer.public_key) == (HIGH, bob.own.public_key)
    assert (server.peer.node_id, server.peer.public_key) == (LOW, alice.own.public_key)
    assert client.peer.extensions == server.peer.extensions == (SEALED,)
    assert client.session is not None
    assert server.session is not None
    assert server.session.open(client.session.seal(record, LOW)).record == record
    assert client.session.open(server.session.seal(record, LOW)).record == record


def test_no_session_before_the_other_side_is_proven(alice: Any, bob: Any) -> None:
    client, server = client_of(alice), server_of(bob)
    hello = greet(client, server, bob)
    assert server.session is server.peer is None
    client.receive(hello)
    assert client.session is None  # nor before our own proof is made
    assert client.peer is not None


def flips(frame: Any) -> list[bytes]:
    """Return the frame's payload with each of its bytes changed in turn."""
    payload = sending.encode(frame, "lan")
    return [payload[:i] + bytes([payload[i] ^ 1]) + payload[i + 1 :] for i in range(len(payload))]


def parsed(payload: bytes) -> Any:
    try:
        return frames.decode(payload)
    except WireError:
        return None


def test_every_byte_changed_in_the_server_hello_is_refused(alice: Any, bob: Any) -> None:
    answer = greet(client_of(alice), server_of(bob), bob)
    for payload in flips(answer):
        client = client_of(alice)
        client.start()
        frame = parsed(payload)
        assert frame is None or refused(client, frame), payload


def test_every_byte_changed_in_the_client_finish_is_refused(alice: Any, bob: Any) -> None:
    client, server = client_of(alice), server_of(bob)
    client.receive(greet(client, server, bob))
    for payload in flips(client.proved(alice.prove(client.proof_request))):
        again = server_of(bob)
        greet(client_of(alice), again, bob)
        frame = parsed(payload)
        assert frame is None or refused(again, frame), payload


def test_every_byte_changed_in_the_client_hello_ends_in_a_refusal(alice: Any, bob: Any) -> None:
    """The server cannot see it yet; the client does, as the transcript is another one."""
    accepted = 0
    for payload in flips(client_of(alice).start()):
        frame = parsed(payload)
        if frame is None:
            continue
        client, server = client_of(alice), server_of(bob)
        client.start()
        if _code(partial(server.receive, frame)):
            continue
        accepted += 1
        assert refused(client, server.proved(bob.prove(server.proof_request)))
    assert accepted > 100


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"protocol_version": "2.1"}, "version-mismatch"),
        ({"room": "other"}, "group-mismatch"),
        ({"nonce": "short"}, "bad-handshake"),
        ({"name": "é" * 33}, "bad-handshake"),
        ({"identity_public_key": "short"}, "bad-handshake"),
        ({"e2e_public_key": "short"}, "bad-handshake"),
        ({"e2e_public_key": b64u(bytes(32))}, "weak-key"),
        ({"extensions": []}, "downgrade"),
        ({"extensions": ["other"]}, "downgrade"),
        ({"node_id": HIGH}, "own-node-id"),
    ],
)
def test_a_server_refuses_a_wrong_hello(
    alice: Any, bob: Any, changes: dict[str, Any], code: str
) -> None:
    assert refused(server_of(bob), replace(client_of(alice).start(), **changes)) == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"client_nonce": b64u(bytes(32))}, "nonce-mismatch"),
        ({"protocol_version": "1.0"}, "version-mismatch"),
        ({"room": "other"}, "group-mismatch"),
        ({"selected_extensions": []}, "downgrade"),
        ({"selected_extensions": [SEALED, "invented"]}, "downgrade"),
        ({"extensions": [], "selected_extensions": [SEALED]}, "downgrade"),
        ({"proof": b64u(bytes(64))}, "bad-proof"),
        ({"proof": ""}, "bad-proof"),
        ({"key_confirmation": b64u(bytes(32))}, "bad-confirmation"),
        ({"key_confirmation": ""}, "bad-confirmation"),
        ({"key_confirmation": "é"}, "bad-confirmation"),
        ({"name": "mallory"}, "bad-proof"),
        ({"nonce": b64u(bytes(32))}, "bad-proof"),
    ],
)
def test_a_client_refuses_a_wrong_answer(
    alice: Any, bob: Any, changes: dict[str, Any], code: str
) -> None:
    client = client_of(alice)
    answer = greet(client, server_of(bob), bob)
    assert refused(client, replace(answer, **changes)) == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"transcript_hash": "0" * 64}, "transcript-mismatch"),
        ({"proof": b64u(bytes(64))}, "bad-proof"),
        ({"key_confirmation": b64u(bytes(32))}, "bad-confirmation"),
    ],
)
def test_a_server_refuses_a_wrong_finish(
    alice: Any, bob: Any, changes: dict[str, Any], code: str
) -> None:
    client, server = client_of(alice), server_of(bob)
    client.receive(greet(client, server, bob))
    finish = client.proved(alice.prove(client.proof_request))
    assert refused(server, msgspec.structs.replace(finish, **changes)) == code


def test_a_proof_of_the_other_role_is_no_proof(alice: Any, bob: Any) -> None:
    client, server = client_of(alice), server_of(bob)
    client.receive(greet(client, server, bob))
    assert client.proof_request is not None
    mirrored = with_values(client.proof_request, role="server")
    with pytest.raises(WireError) as error:
        client.proved(alice.prove(mirrored))
    assert error.value.code == "bad-proof"
    assert client.session is None


def test_a_proof_by_another_key_never_leaves(alice: Any, bob: Any) -> None:
    server = server_of(bob)
    server.receive(client_of(alice).start())
    with pytest.raises(WireError) as error:
        server.proved(alice.prove(server.proof_request))
    assert error.value.code == "bad-proof"


def test_a_replayed_hello_makes_another_session(alice: Any, bob: Any) -> None:
    """A recorded client hello gets a fresh server nonce: the recorded finish fits no more."""
    client, server = client_of(alice), server_of(bob)
    client.receive(greet(client, server, bob))
    finish = client.proved(alice.prove(client.proof_request))
    later = server_of(bob, nonce=bytes(32))
    greet(client_of(alice), later, bob)
    assert refused(later, finish) == "transcript-mismatch"


def test_who_was_dialled_is_who_must_answer(alice: Any, bob: Any) -> None:
    client = client_of(alice, expected=LOW[:-1] + "c")
    assert refused(client, greet(client, server_of(bob), bob)) == "node-changed"
    fitting = client_of(alice, expected=HIGH)
    fitting.receive(greet(fitting, server_of(bob), bob))
    assert fitting.phase is Phase.PROVING


@pytest.mark.parametrize(
    ("verdict", "code"),
    [(KeyVerdict.CHANGED, "key-changed"), (KeyVerdict.UNKNOWN, "not-trusted")],
)
def test_the_pins_decide_once_the_key_is_proven(
    alice: Any, bob: Any, verdict: KeyVerdict, code: str
) -> None:
    asked: list[tuple[Any, ...]] = []

    def check(*args: Any) -> KeyVerdict:
        asked.append(args)
        return verdict

    client = client_of(alice, check=check)
    answer = greet(client, server_of(bob), bob)
    unproven = client_of(alice, check=check)
    unproven.start()
    assert refused(unproven, replace(answer, proof=b64u(bytes(64)))) == "bad-proof"
    assert asked == []
    assert refused(client, answer) == code
    assert asked == [(HIGH, bob.own.public_key, "bob")]


@pytest.mark.parametrize("node_id", [LOW, HIGH])
def test_our_own_key_proven_elsewhere_is_a_collision(alice: Any, node_id: str) -> None:
    """Under our node id or another: who proves to hold the key has it."""
    twin = with_values(
        alice,
        own=with_values(alice.own, node_id=node_id, e2e_private=bytes([99]) * 32),
        nonce=bytes(32),
    )
    client, server = client_of(alice), server_of(twin)
    answer = greet(client, server, twin)
    assert refused(client, answer) == "collision"
    listening = server_of(alice)
    listening.receive(client_of(twin).start())
    request, keys = listening.proof_request, listening._keys
    assert request is not None
    listening.proved(alice.prove(request))  # not refused before it is proven
    finish = ClientFinish(
        transcript_hash=secure.transcript_hash(request.transcript).hex(),
        proof=twin.prove(with_values(request, role="client")),
        key_confirmation=b64u(secure.confirmation("client", keys, request.transcript)),
    )
    assert refused(listening, finish) == "collision"


def test_our_key_is_no_collision_until_it_is_proven(alice: Any, bob: Any) -> None:
    hello = client_of(bob).start()
    claimed = replace(
        hello, node_id=LOW, identity_public_key=b64u(alice.own.public_key), name="alice"
    )
    server = server_of(alice)
    server.receive(claimed)
    server.proved(alice.prove(server.proof_request))
    finish = frames.ClientFinish(transcript_hash="", proof="", key_confirmation="")
    assert refused(server, finish) == "transcript-mismatch"


def test_a_stranger_who_joins_our_two_ends_makes_no_collision(alice: Any) -> None:
    """Whoever passes our own hello on to our own listener proves nothing but that we are here."""
    ours = {e2e.public_key(alice.own.e2e_private)}
    hello = client_of(alice).start()
    assert refused(server_of(alice, is_ours=ours.__contains__), hello) == "self-loop"


def test_a_foreign_key_under_our_node_id_is_named_as_that(alice: Any, bob: Any) -> None:
    hello = replace(client_of(bob).start(), node_id=LOW)
    assert refused(server_of(alice), hello) == "own-node-id"


def test_frames_have_their_place_and_no_other(alice: Any, bob: Any) -> None:
    hello, answer = client_of(alice).start(), greet(client_of(alice), server_of(bob), bob)
    for frame in (Ping(), Unknown("x"), answer, frames.ClientFinish(
        transcript_hash="", proof="", key_confirmation="")):  # fmt: skip
        assert refused(server_of(bob), frame) == "out-of-order"
    for frame in (Ping(), hello):
        client = client_of(alice)
        client.start()
        assert refused(client, frame) == "out-of-order"
    proving = server_of(bob)
    proving.receive(hello)
    assert refused(proving, hello) == "out-of-order"
    assert refused(client_of(alice), answer) == "out-of-order"  # not started


def test_a_handshake_is_started_and_proven_once(alice: Any, bob: Any) -> None:
    client = client_of(alice)
    client.start()
    server = server_of(bob)
    for call in (client.start, server.start, lambda: server_of(bob).proved("x")):
        with pytest.raises(WireError) as error:
            call()
        assert error.value.code == "out-of-order"


def test_after_the_handshake_it_takes_no_more(
    opened: tuple[SecureHandshake, SecureHandshake], alice: Any
) -> None:
    for side in opened:
        with pytest.raises(WireError):
            side.receive(client_of(alice).start())


def test_the_table_names_three_frames() -> None:
    assert {(role, phase.value): t.__name__ for (role, phase), t in EXPECTED.items()} == {
        ("client", "await-hello"): "ServerHello",
        ("server", "await-hello"): "ClientHello",
        ("server", "await-finish"): "ClientFinish",
    }


def test_it_has_ten_seconds(alice: Any, opened: tuple[SecureHandshake, SecureHandshake]) -> None:
    for machine in (client_of(alice), server_of(alice)):
        machine.tick(9_999)
        with pytest.raises(WireError) as error:
            machine.tick(10_000)
        assert error.value.code == "handshake-timeout"
        machine.tick(10_001)  # closed
    opened[0].tick(10**9)


def test_selected_is_what_both_offer_in_one_order(alice: Any, bob: Any) -> None:
    client = client_of(alice, offered=("z", SEALED, "a"))
    answer = greet(client, server_of(bob, offered=(SEALED, "a", "b", "z")), bob)
    assert answer.selected_extensions == ["a", SEALED, "z"]
    client.receive(answer)
    assert client.peer is not None
    assert client.peer.extensions == ("a", SEALED, "z")


def test_secrets_are_not_in_any_repr(
    opened: tuple[SecureHandshake, SecureHandshake], alice: Any
) -> None:
    shown = repr(alice.terms()) + repr(alice.own) + repr(opened[0]._keys)
    keys = opened[0]._keys
    secrets = {keys.client_to_server, keys.server_to_client, keys.client_finished}
    secrets |= {keys.server_finished, alice.own.e2e_private}
    assert not any(repr(secret) in shown for secret in secrets)


@settings(max_examples=200)
@given(data=st.data())
def test_any_hello_is_taken_or_refused_as_documented(data: st.DataObject) -> None:
    from_any = st.text(max_size=50) | st.binary(min_size=32, max_size=32).map(b64u)
    changes = data.draw(
        st.dictionaries(
            st.sampled_from(["room", "name", "nonce", "identity_public_key", "e2e_public_key"]),
            from_any,
        )
    )
    node = _node()
    hello = replace(client_of(node).start(), node_id=HIGH, **changes)
    server = server_of(node)
    if code := _code(partial(server.receive, hello)):
        assert WireError(code).fatal
    else:
        unb64u(hello.nonce, 32)


def _code(call: Callable[[], None]) -> str:
    try:
        call()
    except WireError as error:
        return error.code
    return ""


def _node() -> Any:
    from dataclasses import dataclass

    from nacl.bindings import crypto_sign_seed_keypair

    from xmesh_mesh.wire.frames import Implementation
    from xmesh_mesh.wire.secure_terms import Terms
    from xmesh_mesh.wire.trust import Self

    @dataclass
    class Plain:
        def terms(self, **changes: Any) -> Terms:
            public, _ = crypto_sign_seed_keypair(bytes(32))
            own = Self(LOW, "a", "lab", public, bytes([5]) * 32)
            values: dict[str, Any] = {"own": own, "e2e_private": bytes([5]) * 32}
            values |= {"nonce": bytes(32), "implementation": Implementation("i", "1")}
            values |= {"check": lambda *_: KeyVerdict.TRUSTED, "is_ours": lambda _: False}
            return Terms(**(values | changes))

    return Plain()
