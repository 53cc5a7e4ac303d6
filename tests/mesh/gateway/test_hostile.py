"""What strangers on the LAN can do to a gateway: nothing that lasts, and nothing to the others."""

import asyncio
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import msgspec
import pytest
import pytest_asyncio
from helpers.gateway import Host, Peer, Raw, identity_between, new_node_id, until

from xmesh_mesh.canonical import b64u
from xmesh_mesh.gateway import pace
from xmesh_mesh.gateway.feed import WINDOW
from xmesh_mesh.record import encode
from xmesh_mesh.signing import sign
from xmesh_mesh.wire import frames, records
from xmesh_mesh.wire.codec import MAX_PAYLOAD


@dataclass
class Scene:
    host: Host
    alice: Peer
    port: int
    secure_port: int

    def stranger(self, name: str = "sam", group: str = "lab") -> Raw:
        return Raw(identity_between(name, "f"), group)


@pytest_asyncio.fixture
async def scene(left: Host) -> AsyncIterator[Scene]:
    alice = await left.peer("alice", "0")
    await left.start_gateway()
    row = await left.wired("alice")
    yield Scene(left, alice, row["lan_port"], row["secure_port"])


async def greeted(scene: Scene, name: str = "sam") -> Raw:
    """Return a stranger whom alice has met."""
    sam = await scene.stranger(name).greet(scene.port)
    await until(lambda: name in scene.alice.met, "an introduction")
    return sam


async def works(scene: Scene) -> None:
    """AssertionError unless a newcomer and alice hear each other."""
    name = f"n{len(scene.alice.met)}"
    new = await greeted(scene, name)
    new.say(f"hello from {name}")
    await until(lambda: f"hello from {name}" in scene.alice.heard, "a newcomer's word")
    await scene.alice.say(f"hello {name}")
    await until(lambda: f"hello {name}" in new.focus(), "alice's word")
    await new.close()


async def test_a_plain_node_is_introduced_heard_and_answered(scene: Scene) -> None:
    sam = await greeted(scene)
    assert scene.alice.met["sam"].implementation == "mmp"
    (answer,) = sam.of(frames.Handshake)
    assert (answer.name, answer.room, answer.version) == ("alice", "lab", "0.2.3")
    sam.say("hello")
    sam.send(frames.Ping())
    await until(lambda: sam.of(frames.Pong), "a pong")
    await until(lambda: scene.alice.heard == ["hello"], "a record")
    await sam.close()


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0\0\0\0",
        struct.pack(">I", MAX_PAYLOAD + 1),
        struct.pack(">I", 2) + b"{}",
        struct.pack(">I", 4) + b"null",
        struct.pack(">I", 15) + b'{"type":"ping"}',
        b"\xff" * 100_000,
    ],
)
async def test_garbage_ends_its_own_connection_only(scene: Scene, said: bytes) -> None:
    for port in (scene.port, scene.secure_port):
        raw = await scene.stranger().connect(port)
        raw.writer.write(said)
        if said[4:5] not in {b"{", b"n"} or b"ping" in said:
            await asyncio.wait_for(raw.closed.wait(), 5)
        await raw.close()
    await works(scene)


async def test_a_record_is_refused_where_it_is_not_what_it_should_be(scene: Scene) -> None:
    sam = await greeted(scene)
    good = sam.record("good")
    other = identity_between("other")
    sam.send(
        records.cmb(sign(good, other.seed)),  # another's signature
        records.cmb(replace(good, sig=None)),
        records.cmb(sam.record("for another group", group="other")),
        records.cmb(sam.record("for somebody else", to=new_node_id())),
        records.cmb(sam.record("under another name", created_by="bob")),
        records.cmb(good),
    )
    await until(lambda: scene.alice.heard == ["good"], "the good one")
    refused = scene.host.rows()["sam"]["refused"]
    assert refused == {
        "bad-signature": 1,
        "unsigned": 1,
        "wrong-audience": 1,
        "wrong-recipient": 1,
        "wrong-author": 1,
    }
    await sam.close()


async def test_a_repeated_record_comes_once_and_each_refusal_is_said_once(scene: Scene) -> None:
    sam = await greeted(scene)
    record = sam.record("again and again")
    sam.send(*[records.cmb(record)] * 5, *[records.cmb(replace(record, sig=None))] * 5)
    sam.say("the end")
    await until(lambda: scene.alice.heard[-1:] == ["the end"], "the end")
    assert scene.alice.heard == ["again and again", "the end"]
    assert scene.host.rows()["sam"]["refused"] == {"unsigned": 5}
    assert len([text for text in scene.host.said("refused") if "unsigned" in text]) == 1
    await sam.close()


async def test_another_group_is_told_from_the_handshake(scene: Scene) -> None:
    raw = await scene.stranger(group="other").greet(scene.port)
    await raw.closed.wait()
    assert raw.frames == []
    assert any("group-mismatch" in text for text in scene.host.said("refused"))
    assert scene.alice.met == {}
    await raw.close()


async def test_a_foreign_key_under_our_node_id_is_quarantined_and_ends_nobody(scene: Scene) -> None:
    raw = scene.stranger()
    await raw.greet(scene.port, node_id=scene.alice.identity.node_id)
    await raw.closed.wait()
    assert scene.host.gateway is not None
    (held,) = scene.host.gateway.status()["quarantine"]
    assert (held["why"], held["public_key"]) == ("our-id", b64u(raw.identity.public_key))
    assert scene.host.endpoint("alice")["collision"] == ""
    await raw.close()
    await works(scene)


async def test_a_node_that_comes_with_another_key_is_kept_out(scene: Scene) -> None:
    sam = await greeted(scene)
    await sam.close()
    await until(lambda: not scene.host.rows()["sam"]["transports"], "sam's leave")
    other = identity_between("x")
    again = Raw(sam.identity)
    await again.greet(scene.port, public_key=b64u(other.public_key))
    await again.closed.wait()
    assert again.frames == []
    assert any("key-changed" in text for text in scene.host.said("refused"))
    await again.close()


async def test_anchors_of_a_first_contact_are_old_news_and_later_ones_are_not(scene: Scene) -> None:
    sam = await greeted(scene)
    old, missed = sam.record("old"), sam.record("missed")
    sam.send(records.cmb(old, anchor=True))
    await until(lambda: len(scene.alice.got) == 1, "the anchor")
    await sam.close()
    await until(lambda: not scene.host.rows()["sam"]["transports"], "sam's leave")
    again = await Raw(sam.identity).greet(scene.port)
    again.send(records.cmb(old, anchor=True), records.cmb(missed, anchor=True))
    await until(lambda: len(scene.alice.got) == 2, "what was missed")
    assert [each.history for each in scene.alice.got] == [True, False]
    await again.close()


async def test_a_fetch_gives_own_broadcasts_and_what_is_for_the_asker(scene: Scene) -> None:
    sam = await greeted(scene)
    for_all = await scene.alice.say("for all")
    for_sam = await scene.alice.say("for sam", to=sam.identity.node_id)
    bob = await scene.host.peer("bob", "1")
    for_bob = await bob.say("of bob")
    await until(lambda: sam.focus() == ["for all", "for sam"], "records")
    for record in (for_all, for_sam, for_bob):
        sam.send(frames.CmbFetch(req_id=record.key, key=record.key))
    await until(lambda: len(sam.of(frames.CmbFetchResult)) == 3, "answers")
    assert [each.found for each in sam.of(frames.CmbFetchResult)] == [True, True, False]
    await sam.close()


async def test_open_lets_in_a_node_without_a_key_until_it_shows_one(left: Host) -> None:
    alice = await left.peer("alice", "0")
    await left.start_gateway(trust="open")
    row = await left.wired("alice")
    sam = await Raw(identity_between("sam", "f")).greet(row["lan_port"], public_key=None)
    await until(lambda: "sam" in alice.met, "an introduction")
    sam.send(records.cmb(replace(sam.record("no name on it"), sig=None)))
    await until(lambda: alice.heard == ["no name on it"], "an unsigned record")
    await sam.close()
    await until(lambda: not left.rows()["sam"]["transports"], "sam's leave")
    keyed = await Raw(sam.identity).greet(row["lan_port"])
    keyed.say("signed")
    keyed.send(records.cmb(replace(keyed.record("unsigned again"), sig=None)))
    keyed.say("the end")
    await until(lambda: alice.heard[1:] == ["signed", "the end"], "signed records")
    assert left.rows()["sam"]["refused"] == {"unsigned": 1}
    await keyed.close()


async def test_messages_are_logged_seldom_and_wake_nobody(scene: Scene) -> None:
    sam = await greeted(scene)
    sam.send(*(frames.Message(content=f"hello\n{number}") for number in range(5)))
    sam.say("the end")
    await until(lambda: scene.alice.heard == ["the end"], "a record")
    (told,) = scene.host.said("message")
    assert r"hello\n0" in told
    await sam.close()


async def test_a_relay_in_clear_beyond_this_host_is_not_used_and_shown(left: Host) -> None:
    await left.peer("alice")
    await left.start_gateway(lan=False, relay="ws://192.0.2.1:80")
    found = await until(lambda: left.endpoint("alice").get("relay"), "the relay's row")
    assert found["state"] == "refused"
    assert "wss://" in found["reason"]


async def test_a_flood_is_read_more_slowly_and_hinders_nobody(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "FRAMES_BURST", 20)
    sam = await greeted(scene)
    sam.send(*(records.cmb(sam.record(f"flood {number}")) for number in range(500)))
    await works(scene)
    assert len(scene.alice.got) < 400
    await sam.close()


async def test_a_reader_that_never_reads_is_sent_a_window_and_hinders_nobody(scene: Scene) -> None:
    deaf = await scene.stranger("deaf").connect(scene.port, read=False)
    deaf.send(deaf.handshake())
    await until(lambda: "deaf" in scene.alice.met, "an introduction")
    transport = deaf.writer.transport
    transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(WINDOW + 20):
        await scene.alice.say("x" * 30_000)
    await works(scene)
    row = scene.host.rows()["deaf"]
    assert row["sent"] <= WINDOW < row["sent"] + row["waiting"]
    await deaf.close()


async def test_a_frame_of_the_largest_size_is_read_and_one_byte_more_ends_the_link(
    scene: Scene,
) -> None:
    sam = await greeted(scene)
    body = b'{"type":"unheard-of","x":"%b"}'
    fits = body % (b"x" * (MAX_PAYLOAD - len(body) + 2))
    assert len(fits) == MAX_PAYLOAD
    sam.writer.write(struct.pack(">I", len(fits)) + fits)
    sam.send(frames.Ping())
    await until(lambda: sam.of(frames.Pong), "a pong")
    sam.writer.write(struct.pack(">I", MAX_PAYLOAD + 1) + fits)
    await asyncio.wait_for(sam.closed.wait(), 5)
    await sam.close()


async def test_the_records_that_leave_are_the_bytes_that_were_signed(scene: Scene) -> None:
    sam = await greeted(scene)
    record = await scene.alice.say("as it was signed")
    (cmb,) = await until(lambda: sam.of(frames.Cmb), "a record")
    assert encode(records.record_of(cmb.cmb)) == encode(record)
    assert b"lineage" not in msgspec.json.encode(cmb).replace(b'"lineage":null', b"")
    await sam.close()
