"""Attestations of a node: one for each remote record, signed, in one chain over restarts."""

from pathlib import Path

import msgspec
import pytest
from helpers.nodes import GROUP, NOW, Author, deliver, node

from xmesh_mesh.node import Node, Received
from xmesh_mesh.wire.attestation import Attestation, next_prev, verify_statement

FARAWAY = Author("faraway-01")
WRITER = Author("writer-01")


def attested(me: Node, author: Author, received: Received) -> Attestation | None:
    with me.memory.transaction():
        statement = me.attest(author.node_id, received, NOW)
    return None if statement is None else msgspec.json.decode(statement, type=Attestation)


def test_each_verdict_on_a_remote_record_is_stated_and_signed(tmp_path: Path) -> None:
    with node(tmp_path) as me:
        me.meet(FARAWAY.from_afar())
        record = FARAWAY.says("a draft of the specification")
        received = deliver(me, FARAWAY, record)
        said = attested(me, FARAWAY, received)
        assert said is not None
        assert received.verdict is not None
        verify_statement(said, me.identity.public_key)
        assert (said.of, said.by, said.roster) == (record.key, me.identity.node_id, GROUP)
        assert (said.verdict, said.at) == (received.verdict.decision, NOW)
        assert len(said.categories) == 7
        assert (said.seq, said.prev, said.role) == (1, "genesis", "participant")


def test_the_chain_goes_on_over_a_restart(tmp_path: Path) -> None:
    last: Attestation | None = None
    for seq in (1, 2, 3):
        with node(tmp_path, name="me") as me:
            me.meet(FARAWAY.from_afar())
            received = deliver(me, FARAWAY, FARAWAY.says(f"draft number {seq}"))
            said = attested(me, FARAWAY, received)
        assert said is not None
        assert (said.seq, said.prev) == (seq, next_prev(last))
        last = said


def test_nothing_is_stated_of_local_records_duplicates_and_what_is_refused(tmp_path: Path) -> None:
    with node(tmp_path, WRITER) as me:
        me.meet(FARAWAY.from_afar())
        assert attested(me, WRITER, deliver(me, WRITER, WRITER.says("a draft"))) is None
        record = FARAWAY.says("a draft of it")
        assert attested(me, FARAWAY, deliver(me, FARAWAY, record)) is not None
        assert attested(me, FARAWAY, deliver(me, FARAWAY, record)) is None
        wrong = FARAWAY.says("a draft", group="elsewhere")
        assert attested(me, FARAWAY, deliver(me, FARAWAY, wrong)) is None


@pytest.mark.parametrize(("implementation", "drops"), [("mmp", True), ("xmesh", False)])
def test_a_stock_author_is_answered_field_by_field(
    tmp_path: Path, implementation: str, drops: bool
) -> None:
    with node(tmp_path) as me:
        me.meet(FARAWAY.from_afar(implementation=implementation))
        assert me.drops_echoes(FARAWAY.node_id) is drops
        asked = FARAWAY.says("what is the limit?")
        texts = {"focus": "five a second", "intent": "answer"}
        answer, _ = me.compose(texts, now_ms=NOW, parents=(asked.key,), by_field=drops)
        assert answer.all_parents() == (asked.key,)
        assert answer.parents == (() if drops else (asked.key,))
        cited = {field for field, parents in answer.category_parents().items() if parents}
        assert cited == (set(texts) if drops else set())
