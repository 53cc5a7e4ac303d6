"""Records in a frame as a stranger may send them: altered, renamed, with false descent."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.nodes import GROUP, NOW, Author, deliver, node
from helpers.records import KEY_A, KEY_B, KEY_C

from xmesh_mesh.errors import RecordError
from xmesh_mesh.lineage import ancestors
from xmesh_mesh.node import Node
from xmesh_mesh.record import SUITE_PUBLISHED, Record, compose, encode
from xmesh_mesh.signing import assertion_id, sign
from xmesh_mesh.wire import frames, records, sending
from xmesh_mesh.wire.errors import WireError

WRITER = Author("writer-01")
TESTER = Author("test-writer-01")
WORDS = {"focus": "a draft of the specification", "intent": "review it", "mood": "cálm"}


@pytest.fixture
def me(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path, WRITER, TESTER) as made:
        yield made


def arrive(me: Node, author: Author, payload: bytes) -> tuple[str, str]:
    """Take a payload in as a gateway and a peer do; return why not, and the assertion if so."""
    try:
        frame = frames.decode(payload)
        if not isinstance(frame, frames.Cmb):
            return "no-record", ""
        record = records.record_of(frame.cmb)
    except (WireError, RecordError) as error:
        return error.code, ""
    received = deliver(me, author, encode(record))
    return received.refused, received.assertion


def published() -> Record:
    """Return a record of WRITER's in the suite that names the node too."""
    cited = {"focus": [KEY_B]}
    unsigned = compose(
        WORDS, created_by=WRITER.identity.name, created_ms=NOW, group=GROUP, to=None,
        parents=[KEY_A], category_parents=cited, valence=0.5, arousal=-0.25,
    )  # fmt: skip
    named = replace(unsigned, suite=SUITE_PUBLISHED, created_by_node_id=WRITER.node_id)
    return sign(named, WRITER.identity.seed)


SIGNED = {"deployed": WRITER.says(WORDS, parents=[KEY_A]), "published": published()}


@pytest.mark.parametrize("suite", SIGNED)
def test_a_bit_flipped_in_each_byte_of_a_record_changes_nothing_that_is_believed(
    me: Node, suite: str
) -> None:
    honest = SIGNED[suite]
    payload = sending.encode(records.cmb(honest), "lan")
    codes = set()
    for place in range(len(payload)):
        flipped = bytearray(payload)
        flipped[place] ^= 1 << place % 8
        refused, assertion = arrive(me, WRITER, bytes(flipped))
        codes.add(refused)
        assert assertion in {"", assertion_id(honest)}, bytes(flipped)
    assert {"bad-signature", "content-mismatch", "malformed"} <= codes
    assert me.memory.counts()["records"] == 1


@pytest.mark.parametrize("suite", SIGNED)
def test_a_record_is_its_authors_only(me: Node, suite: str) -> None:
    payload = sending.encode(records.cmb(SIGNED[suite]), "lan")
    assert arrive(me, TESTER, payload) == ("bad-signature", "")
    assert me.memory.counts()["records"] == 0


def test_a_node_cannot_sign_under_another_ones_name_or_id(me: Node) -> None:
    as_writer = replace(TESTER.says(WORDS), created_by=WRITER.identity.name)
    as_node = replace(published(), created_by=TESTER.identity.name)
    for forged in (as_writer, as_node):
        signed = sign(forged, TESTER.identity.seed)
        payload = sending.encode(records.cmb(signed), "lan")
        assert arrive(me, TESTER, payload) == ("wrong-author", "")


FORGED: dict[str, Any] = {
    "parents added": {"parents": [KEY_A, KEY_B]},
    "parents exchanged": {"parents": [KEY_C]},
    "parents taken away": {"parents": []},
    "lineage taken away": None,
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_forged_parents_are_refused(me: Node, forged: Any) -> None:
    wire = json.loads(sending.encode(records.cmb(SIGNED["deployed"]), "lan"))
    wire["cmb"]["metadata"]["lineage"] = forged
    assert arrive(me, WRITER, json.dumps(wire).encode()) == ("bad-signature", "")


def test_forged_parents_of_a_single_field_are_refused(me: Node) -> None:
    wire = json.loads(sending.encode(records.cmb(SIGNED["deployed"]), "lan"))
    wire["cmb"]["categories"]["focus"]["meta"]["parents"] = [KEY_B]
    assert arrive(me, WRITER, json.dumps(wire).encode()) == ("bad-signature", "")


def test_foreign_parents_are_cited_and_open_no_thread_that_is_here(me: Node) -> None:
    deliver(me, TESTER, TESTER.says({"focus": "a thread that is here"}))
    foreign = WRITER.says(WORDS, parents=[KEY_A, KEY_B])
    assert arrive(me, WRITER, sending.encode(records.cmb(foreign), "lan"))[0] == ""
    stored = me.memory.record(foreign.key)
    assert stored is not None
    assert set(me.memory.parents_of(foreign.key)) == {KEY_A, KEY_B}
    assert me.memory.in_thread(stored.thread, newest=9) == [stored]


def test_ancestors_that_a_sender_supplies_are_not_looked_at(me: Node) -> None:
    wire = json.loads(sending.encode(records.cmb(SIGNED["deployed"]), "lan"))
    claimed = {"parents": [KEY_C], "ancestors": [KEY_B, KEY_C], "method": None}
    wire["cmb"]["lineage"] = claimed
    wire["cmb"]["metadata"]["lineage"]["ancestors"] = [KEY_B, KEY_C]
    refused, assertion = arrive(me, WRITER, json.dumps(wire).encode())
    assert (refused, assertion) == ("", assertion_id(SIGNED["deployed"]))
    found = ancestors(SIGNED["deployed"].key, me.memory.parents_of, 99)
    assert found == [(1, KEY_A)]
