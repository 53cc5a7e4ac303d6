"""Core Secure, the session: in order, unaltered, each direction for itself, or not at all."""

from dataclasses import replace as with_values
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from xmesh_mesh.canonical import b64u
from xmesh_mesh.errors import RecordError
from xmesh_mesh.record import SUITE_PUBLISHED, Application, Record
from xmesh_mesh.signing import assertion_id, sign, verify
from xmesh_mesh.wire import frames, sealed, sending
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.sealed import SecureSession
from xmesh_mesh.wire.secure import Keys

LOW = "01930f1e-0000-7000-8000-00000000000a"
KEYS = Keys("5" * 32, bytes([1]) * 32, bytes([2]) * 32, b"", b"")


def pair() -> tuple[SecureSession, SecureSession]:
    return SecureSession("client", KEYS), SecureSession("server", KEYS)


def refused(session: SecureSession, frame: Any) -> str:
    with pytest.raises(WireError) as error:
        session.open(frame)
    assert error.value.fatal
    return error.value.code


def test_records_pass_in_order_both_ways(record: Record, to_bob: Record) -> None:
    client, server = pair()
    for number, sent in enumerate((record, to_bob, record)):
        frame = client.seal(sent, LOW)
        assert frame.sequence == str(number)
        read = frames.decode(sending.encode(frame, "relay"))
        assert isinstance(read, frames.CmbEncrypted)
        opened = server.open(read)
        assert opened.record == sent
        assert opened.node_id == LOW
        assert opened.assertion == assertion_id(sent)
        assert client.open(server.seal(sent, LOW)).record == sent


def test_words_are_hidden_and_metadata_are_not(record: Record) -> None:
    client, _ = pair()
    payload = sending.encode(client.seal(record, LOW), "lan")
    assert b"limit" not in payload
    assert record.key.encode() in payload


def test_replayed_skipped_and_reordered_frames_close_the_session(record: Record) -> None:
    client, server = pair()
    first, second, third = (client.seal(record, LOW) for _ in range(3))
    server.open(first)
    assert refused(server, first) == "bad-sequence"
    for wrong in (second, third):
        _, fresh = pair()
        assert refused(fresh, wrong) == "bad-sequence"
        assert refused(fresh, first) == "out-of-order"  # closed, even for the right one


def test_a_renumbered_frame_does_not_open(record: Record) -> None:
    client, server = pair()
    client.seal(record, LOW)
    assert refused(server, replace(client.seal(record, LOW), sequence="0")) == "bad-seal"


def test_a_frame_does_not_come_back_to_its_sender(record: Record) -> None:
    client, server = pair()
    frame = client.seal(record, LOW)
    assert refused(client, frame) == "wrong-session"
    turned = replace(frame, direction="server-to-client")
    assert refused(server, turned) == "wrong-session"
    other, _ = pair()
    assert refused(other, turned) == "bad-seal"


def test_a_frame_of_another_session_is_refused(record: Record) -> None:
    client, server = pair()
    frame = client.seal(record, LOW)
    assert refused(server, replace(frame, session_id="6" * 32)) == "wrong-session"
    _, other = pair()
    other.id = "6" * 32
    assert refused(other, replace(frame, session_id="6" * 32)) == "bad-seal"


@pytest.mark.parametrize("changes", [{"protocol_version": "1.0"}, {"suite": "none"}])
def test_another_version_or_suite_is_refused(record: Record, changes: dict[str, str]) -> None:
    client, server = pair()
    assert refused(server, replace(client.seal(record, LOW), **changes)) == "version-mismatch"


def test_every_byte_changed_is_refused(record: Record) -> None:
    """In the seal by the cipher; in the metadata by the seal, the assertion or the signature."""
    client, _ = pair()
    frame = client.seal(record, LOW)
    payload = sending.encode(frame, "lan")
    for at in range(len(payload)):
        changed = payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :]
        assert not survives(changed, record), changed[max(0, at - 20) : at + 20]


def survives(payload: bytes, record: Record) -> bool:
    """Return whether the altered frame opens as another record than the one that was sealed."""
    _, server = pair()
    try:
        frame = frames.decode(payload)
        if not isinstance(frame, frames.CmbEncrypted):
            return False
        opened = server.open(frame)
    except (WireError, RecordError):
        return False
    # The signature itself, and what no signature covers, are not part of the assertion.
    return with_values(opened.record, sig=None, method=None) != with_values(
        record, sig=None, method=None
    )


def test_metadata_of_another_record_do_not_fit(record: Record, to_bob: Record) -> None:
    client, server = pair()
    other = client.seal(to_bob, LOW)
    client, _ = pair()
    frame = replace(client.seal(record, LOW), metadata=other.metadata)
    assert refused(server, frame) == "bad-seal"


def test_a_seal_that_names_another_assertion_is_dropped(
    record: Record, to_bob: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair()
    with monkeypatch.context() as patch:
        patch.setattr(sealed, "assertion_id", lambda _: assertion_id(to_bob))
        frame = client.seal(record, LOW)
    with pytest.raises(RecordError):
        server.open(frame)
    assert server.open(client.seal(record, LOW)).record == record  # the session goes on


@pytest.mark.parametrize("metadata", [b"null", b"{}", b"[1]", b"\xff"])
def test_metadata_that_are_none_are_refused(record: Record, metadata: bytes) -> None:
    client, server = pair()
    frame = replace(client.seal(record, LOW), metadata=Raw(metadata))
    assert refused(server, frame) == "bad-seal"


@pytest.mark.parametrize("text", ["", "A", "!!!!", "AAAA="])
def test_a_seal_that_is_none_is_refused(record: Record, text: str) -> None:
    client, server = pair()
    assert refused(server, replace(client.seal(record, LOW), sealed=text)) == "bad-seal"


def test_a_payload_is_sealed_with_the_words_and_signed_for(record: Record, alice: Any) -> None:
    application = Application(
        "text/plain",
        "s",
        5,
        "sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        b64u(b"hello"),
    )
    values = {"suite": SUITE_PUBLISHED, "created_by_node_id": LOW, "application": application}
    signed = sign(with_values(record, **values), alice.seed)
    client, server = pair()
    frame = client.seal(signed, LOW)
    assert b64u(b"hello").encode() not in bytes(frame.metadata)
    opened = server.open(frame).record
    assert opened == signed
    verify(opened, alice.own.public_key)


def test_a_payload_without_its_descriptor_is_dropped(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair()
    parts = sealed._parts

    def with_data(*args: Any) -> tuple[bytes, bytes]:
        metadata, plain = parts(*args)
        return metadata, plain[:-1] + b',"applicationData":"aGk"}'

    monkeypatch.setattr(sealed, "_parts", with_data)
    with pytest.raises(RecordError):
        server.open(client.seal(record, LOW))


def test_a_secure_link_takes_no_record_in_clear(record: Record) -> None:
    client, _ = pair()
    allowed = {frames.type_of(f) for f in sealed.ALLOWED}
    assert allowed == {
        "cmb-encrypted", "ping", "pong", "error", "attestation", "checkpoint", "witness",
        "xmesh-operator",
    }  # fmt: skip
    client.check(frames.Ping())
    client.check(frames.Unknown("state-sync"))
    for frame in (frames.Message(content="x"), frames.CmbFetch(req_id="1", key="k")):
        with pytest.raises(WireError) as error:
            client.check(frame)
        assert error.value.code == "out-of-order"
