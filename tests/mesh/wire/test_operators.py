"""An operator is presented with its own signature, and by nobody but the node at the other end."""

import dataclasses
from typing import Any

import msgspec
import pytest

from xmesh_mesh.identity import Identity, create_identity
from xmesh_mesh.introduction import Introduction, introduce
from xmesh_mesh.wire import frames, sending
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.operators import introduction_of, operator_frame
from xmesh_mesh.wire.sealed import SecureSession


@pytest.fixture
def identity() -> Identity:
    return create_identity("operator", 1_800_000_000_000)


@pytest.fixture
def operator(identity: Identity) -> Introduction:
    return introduce(identity, "lab", implementation="xmesh", now_ms=1_800_000_000_000)


def sessions(opened: Any) -> tuple[SecureSession, SecureSession]:
    return opened[0].session, opened[1].session


def test_an_introduction_arrives_as_it_was_signed(operator: Introduction, opened: Any) -> None:
    client, server = sessions(opened)
    for sender, receiver in ((client, server), (server, client)):
        frame = frames.decode(sending.encode(operator_frame(operator, sender), "relay"))
        assert isinstance(frame, frames.Operator)
        assert introduction_of(frame, receiver) == operator


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("node_id", "01930f1e-0000-7000-8000-00000000000c"),
        ("name", "bob"),
        ("room", "other"),
        ("public_key", "another"),
        ("implementation", "other"),
        ("issued_ms", 1),
        ("sig", "another"),
        ("voucher", "another"),
        ("voucher", "ä"),
    ],
)
def test_a_changed_introduction_is_not_vouched_for(
    operator: Introduction, opened: Any, key: str, value: object
) -> None:
    client, server = sessions(opened)
    frame = msgspec.structs.replace(operator_frame(operator, client), **{key: value})
    assert refusal(frame, server) == "malformed"


def test_a_voucher_counts_in_its_session_and_direction_only(
    operator: Introduction, opened: Any
) -> None:
    client, server = sessions(opened)
    frame = operator_frame(operator, client)
    assert refusal(frame, client) == "malformed", "sent back to where it came from"
    keys = dict(server._keys)
    server._keys = dict.fromkeys(keys, bytes(32))
    assert refusal(frame, server) == "malformed", "another session"


def test_a_voucher_takes_no_place_among_sealed_records(
    operator: Introduction, opened: Any, record: Any, alice: Any
) -> None:
    client, server = sessions(opened)
    operator_frame(operator, client)
    sealed = client.seal(record, alice.own.node_id)
    assert sealed.sequence == "0"
    assert server.open(sealed).record == dataclasses.replace(record)


def refusal(frame: frames.Operator, session: SecureSession) -> str:
    with pytest.raises(WireError) as caught:
        introduction_of(frame, session)
    assert not caught.value.fatal
    return caught.value.code
