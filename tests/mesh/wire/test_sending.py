"""What may leave. The hazards are the inputs that end, mute or confuse a stock node or relay."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from xmesh_mesh.errors import RecordError
from xmesh_mesh.record import MAX_TEXT, Record
from xmesh_mesh.wire import e2e, frames, records, sending
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.relay import RelayClient
from xmesh_mesh.wire.types import Transport

NODE = "01930f1e-0000-7000-8000-00000000000a"
PEER = "01930f1e-0000-7000-8000-00000000000b"
BOTH: tuple[Transport, ...] = ("lan", "relay")

STATS = frames.NodeStats(stats=frames.Stats())
INSIGHT = frames.Insight(anomaly=0.1, remix_score=0.2, coherence=0.3)
RAW = frames.CmbBody(categories=Raw(b"null"), metadata=Raw(b"null"))

# Sentence by sentence what breaks a stock 0.12.1 node, or a stock relay.
HAZARDS: list[tuple[str, Any, tuple[Transport, ...]]] = [
    ("a mood frame with text", frames.Mood(mood="calm"), BOTH),
    ("a message with content that is no text", frames.Message(content=7), BOTH),  # type: ignore[arg-type]
    ("a well-formed message to the stock daemon", frames.Message(content="hi"), ("relay",)),
    ("an insight with numbers that are none", msgspec.structs.replace(INSIGHT, anomaly="x"), BOTH),
    ("any insight", INSIGHT, BOTH),
    ("JSON null", None, BOTH),
    ("peer-info with a null element", frames.PeerInfo(peers=[None]), BOTH),  # type: ignore[list-item]
    ("any peer-info", frames.PeerInfo(peers=[]), BOTH),
    ("a record that is none", frames.Cmb(cmb=RAW), BOTH),
    ("a fetch result that is no record", frames.CmbFetchResult(
        req_id="1", key="k", found=True, cmb=Raw(b'{"categories":{},"metadata":{}}')), BOTH),
    ("a wrongly typed handshake", frames.Handshake(node_id=NODE, name=7), BOTH),  # type: ignore[arg-type]
    ("a handshake without a node id", frames.Handshake(node_id="", name="n"), BOTH),
    ("a wake channel", frames.WakeChannel(platform="apns"), BOTH),
    ("node stats", STATS, BOTH),
    ("a type nobody knows", frames.Unknown("state-sync"), BOTH),
    ("a mapping that has passed no type", {"type": "mood", "mood": "calm"}, BOTH),
]  # fmt: skip


@pytest.mark.parametrize(("what", "frame", "transports"), HAZARDS, ids=[h[0] for h in HAZARDS])
def test_what_breaks_stock_cannot_be_encoded(
    what: str, frame: Any, transports: tuple[Transport, ...]
) -> None:
    for over in transports:
        with pytest.raises(WireError) as refused:
            sending.encode(frame, over)
        assert refused.value.code == "not-sendable"


def test_the_table_of_what_leaves_is_closed() -> None:
    sent = {over: {frames.type_of(f) for f, t in sending.OUTGOING.items() if over in t}
            for over in BOTH}  # fmt: skip
    everywhere = {
        "handshake", "cmb", "cmb-fetch", "cmb-fetch-result", "ping", "pong", "attestation",
        "error", "client-hello", "server-hello", "client-finish", "cmb-encrypted",
        "xmesh-operator",
    }  # fmt: skip
    assert sent["relay"] == everywhere
    assert sent["lan"] == everywhere | {"message"}


def test_a_message_leaves_over_the_lan() -> None:
    payload = sending.encode(frames.Message(content="hi", sender=NODE), "lan")
    assert json.loads(payload) == {"type": "message", "content": "hi", "from": NODE}


def test_the_relay_client_sends_through_the_same_table() -> None:
    client = RelayClient(NODE, "a", None, 0)
    client.opened(0)
    client.receive(b'{"type":"relay-peers","peers":[]}', 0)
    with pytest.raises(WireError) as refused:
        client.send(PEER, frames.Mood(mood="calm"))
    assert refused.value.code == "not-sendable"


def test_a_record_leaves_as_deployed_nodes_expect_it(record: Record) -> None:
    sent = json.loads(sending.encode(records.cmb(record), "lan"))
    assert set(sent) == {"type", "timestamp", "cmb"}
    assert set(sent["cmb"]) == {"categories", "metadata"}  # no unsigned lineage, no payload
    assert sent["timestamp"] == record.created_ms


def test_a_directed_record_says_so_in_three_places(to_bob: Record) -> None:
    sent = json.loads(sending.encode(records.cmb(to_bob), "lan"))
    assert (sent["to"], sent["directed"], sent["cmb"]["metadata"]["to"]) == (PEER, True, PEER)


def test_an_anchor_is_marked(record: Record) -> None:
    sent = json.loads(sending.encode(records.cmb(record, anchor=True), "lan"))
    assert sent["_anchor"] is True


def test_a_record_is_read_back_as_it_was(record: Record) -> None:
    frame = frames.decode(sending.encode(records.cmb(record), "relay"))
    assert isinstance(frame, frames.Cmb)
    assert records.record_of(frame.cmb) == record


def test_a_handshake_leaves_in_its_documented_shape() -> None:
    frame = frames.Handshake(node_id=NODE, name="n", extensions=[], room="lab", e2e_public_key="e")
    assert json.loads(sending.encode(frame, "lan")) == {
        "type": "handshake",
        "nodeId": NODE,
        "name": "n",
        "extensions": [],
        "room": "lab",
        "e2ePublicKey": "e",
    }


def test_a_frame_over_the_limit_is_not_sent() -> None:
    def sealed(size: int) -> frames.CmbEncrypted:
        return frames.CmbEncrypted(
            protocol_version="2.0",
            suite="s",
            session_id="i",
            sequence="0",
            direction="client-to-server",
            metadata=Raw(b"{}"),
            sealed="x" * size,
        )

    room = 1_048_576 - len(sending.encode(sealed(0), "lan"))
    assert len(sending.encode(sealed(room), "lan")) == 1_048_576
    with pytest.raises(WireError) as refused:
        sending.encode(sealed(room + 1), "lan")
    assert refused.value.code == "too-large"


def test_an_encrypted_record_leaves_only_well_formed(record: Record) -> None:
    body = records.body_of(record)
    for categories, nonce in ((b'"!"', "A" * 16), (b'"QQ=="', "QQ=="), (b"{}", "A" * 16)):
        bad = frames.CmbBody(
            categories=Raw(categories), metadata=body.metadata, sealing=frames.Sealing(nonce)
        )
        with pytest.raises(WireError) as refused:
            sending.encode(records.cmb(record, body=bad), "lan")
        assert refused.value.code == "not-sendable"


def test_an_encrypted_record_leaves_only_with_metadata(record: Record) -> None:
    sealing = frames.Sealing("A" * 16)
    for metadata, leaves in ((bytes(records.body_of(record).metadata), True), (b"{}", False)):
        body = frames.CmbBody(categories=Raw(b'"QQ=="'), metadata=Raw(metadata), sealing=sealing)
        assert sends(records.cmb(record, body=body)) is leaves


def sends(frame: frames.Frame) -> bool:
    try:
        return bool(sending.encode(frame, "lan"))
    except WireError:
        return False


def test_a_record_too_large_for_anybody_is_not_sent(record: Record) -> None:
    body = records.body_of(record)
    text = "x" * (MAX_TEXT + 1)
    large = frames.CmbBody(
        categories=Raw(msgspec.json.encode({"focus": text})), metadata=body.metadata
    )
    with pytest.raises(WireError):
        sending.encode(frames.Cmb(cmb=large), "lan")


def test_fetch_is_answered_with_the_record_and_the_answer_is_checked(record: Record) -> None:
    request = frames.CmbFetch(req_id="7", key=record.key)
    sent = sending.encode(records.fetch_answer(request, record, 9), "relay")
    assert set(json.loads(sent)["cmb"]) == {"categories", "metadata"}
    answer = frames.decode(sent)
    assert isinstance(answer, frames.CmbFetchResult)
    assert (answer.req_id, answer.found, answer.timestamp) == ("7", True, 9)
    assert records.fetched(answer, record.key) == record


def test_fetch_of_what_is_not_there_is_answered_no(record: Record) -> None:
    request = frames.CmbFetch(req_id="7", key=record.key)
    answer = frames.decode(sending.encode(records.fetch_answer(request, None, 9), "lan"))
    assert isinstance(answer, frames.CmbFetchResult)
    assert records.fetched(answer, record.key) is None


def test_a_forged_fetch_answer_is_refused(record: Record) -> None:
    answer = records.fetch_answer(frames.CmbFetch(req_id="7", key=record.key), record, 9)
    other = "cmb-" + "0" * 64
    words = bytes(answer.cmb).replace(b"a limit", b"no limit")
    forged = [
        (answer, other),
        (msgspec.structs.replace(answer, key=other), record.key),
        (msgspec.structs.replace(answer, cmb=Raw(words)), record.key),
        (msgspec.structs.replace(answer, cmb=Raw(b"null")), record.key),
        (msgspec.structs.replace(answer, cmb=Raw(b"[1]")), record.key),
        (msgspec.structs.replace(answer, cmb=Raw(b'{"categories":{},"metadata":{}}')), record.key),
    ]
    for result, asked in forged:
        with pytest.raises(RecordError):
            records.fetched(result, asked)


def test_an_encrypted_body_is_no_record_yet(record: Record) -> None:
    sealed = e2e.seal(records.body_of(record), bytes(32), bytes(12))
    with pytest.raises(WireError) as refused:
        records.record_of(sealed)
    assert refused.value.code == "no-secret"
