"""A real peer and nodes of other hosts: what a gateway brings it, and what it gives back."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from helpers.bus import make_identity, wait_until
from helpers.mesh import Mesh, agent_toml, running

from xmesh_mesh.bus.gateway_client import GatewayClient
from xmesh_mesh.bus.inbox import Attested, Delivery
from xmesh_mesh.canonical import b64u
from xmesh_mesh.errors import ProofRefused
from xmesh_mesh.identity import Identity, load_or_create
from xmesh_mesh.introduction import Introduction
from xmesh_mesh.memory import Remembered
from xmesh_mesh.paths import RuntimeDir
from xmesh_mesh.pins import Pins
from xmesh_mesh.record import Record, compose, decode, encode
from xmesh_mesh.signing import assertion_id, sign, signing_preimage
from xmesh_mesh.wire.attestation import Attestation, verify_statement
from xmesh_mesh.wire.frames import Implementation
from xmesh_mesh.wire.secure_handshake import SecureHandshake
from xmesh_mesh.wire.secure_terms import ProofRequest, Terms, check_proof
from xmesh_mesh.wire.trust import KeyVerdict, Self

pytestmark = pytest.mark.timeout(90)

GROUP = "e2e"
NAME = "writer-01"
QUESTION = {"focus": "draft a specification for the login endpoint", "intent": "draft it"}
FARAWAY = make_identity("faraway-01")


def mesh_of_one(root: RuntimeDir, **mesh: Any) -> Path:
    path = root.root / "w.toml"
    return agent_toml(path, NAME, "writer", model={"adapter": "rehearsal"}, mesh=mesh)


@asynccontextmanager
async def gateway(mesh: Mesh) -> AsyncIterator[GatewayClient]:
    client = GatewayClient(mesh.root.bus_socket, GROUP)
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


def afar(implementation: str = "mmp", **changes: str) -> Introduction:
    who = (FARAWAY.node_id, FARAWAY.name, GROUP, b64u(FARAWAY.public_key))
    told = Introduction(*who, implementation, "remote", 1, "")
    return msgspec.structs.replace(told, **changes)


def says(texts: Mapping[str, str], *, to: str | None = None, unsigned: bool = False) -> Record:
    now_ms = 1_790_000_000_000
    record = compose(texts, created_by=FARAWAY.name, created_ms=now_ms, group=GROUP, to=to)
    return record if unsigned else sign(record, FARAWAY.seed)


async def bring(edge: GatewayClient, record: Record, *, history: bool = False) -> None:
    assertion, data = assertion_id(record), encode(record)
    await edge.publish_for(FARAWAY.node_id, assertion, data, record.to, history=history)


async def heard(edge: GatewayClient, kind: type, author: str) -> Any:
    """Return the next item of this kind that is of this author."""
    async with asyncio.timeout(30), aclosing(edge.stream()) as stream:
        async for item in stream:
            if isinstance(item, Delivery):
                edge.ack(item.seq)
            if isinstance(item, kind) and author in {
                getattr(item, "author", ""), getattr(item, "node_id", "")
            }:  # fmt: skip
                return item
    raise AssertionError(kind)


def peer(root: RuntimeDir) -> Identity:
    return load_or_create(root.identity(NAME), NAME)


def remembered(mesh: Mesh, record: Record) -> Remembered | None:
    return next((entry for entry in mesh.memory(NAME) if entry.key == record.key), None)


@pytest.mark.parametrize("implementation", ["mmp", "xmesh"])
async def test_a_question_from_afar_is_answered_so_that_its_author_takes_the_answer(
    runtime_dir: RuntimeDir, implementation: str
) -> None:
    with running(runtime_dir, mesh_of_one(runtime_dir)) as mesh:
        async with gateway(mesh) as edge:
            await edge.introduce(afar(implementation))
            question = says(QUESTION)
            await bring(edge, question)
            answer = decode((await heard(edge, Delivery, peer(runtime_dir).node_id)).record)
        assert answer.all_parents() == (question.key,)
        assert answer.parents == (() if implementation == "mmp" else (question.key,))
        assert QUESTION["focus"] in mesh.sup("trace", question.key).stdout
        assert answer.key[:12] in mesh.sup("trace", question.key).stdout


async def test_old_news_from_afar_is_remembered_and_wakes_nobody(runtime_dir: RuntimeDir) -> None:
    with running(runtime_dir, mesh_of_one(runtime_dir)) as mesh:
        async with gateway(mesh) as edge:
            await edge.introduce(afar())
            await bring(edge, says(QUESTION), history=True)
            mesh.rest()
        entry = remembered(mesh, says(QUESTION))
        assert entry is not None
        assert (entry.admitted, entry.wake) == (True, None)
        assert mesh.status(NAME)["calls"] == 0


async def test_a_verdict_on_a_record_from_afar_goes_out_signed(runtime_dir: RuntimeDir) -> None:
    with running(runtime_dir, mesh_of_one(runtime_dir)) as mesh:
        me = peer(runtime_dir)
        async with gateway(mesh) as edge:
            await edge.introduce(afar())
            foreign = says({"focus": "zebras graze at dawn"})
            await bring(edge, foreign)
            item = await heard(edge, Attested, me.node_id)
        said = msgspec.json.decode(item.statement, type=Attestation)
        verify_statement(said, me.public_key)
        assert (said.of, said.by, said.verdict) == (foreign.key, me.node_id, "rejected")


async def test_a_gateway_gets_a_proof_signed_and_nothing_else(runtime_dir: RuntimeDir) -> None:
    with running(runtime_dir, mesh_of_one(runtime_dir)) as mesh:
        me = peer(runtime_dir)
        transcript = handshake_with(me)
        async with gateway(mesh) as edge:
            sig = await edge.prove(me.node_id, "server", transcript)
            check_proof(ProofRequest("server", transcript), sig, me.public_key)
            record = compose(QUESTION, created_by=NAME, created_ms=0, group=GROUP)
            for wanted in (signing_preimage(record), b"", transcript[:-1], b"cmb-|role|1|genesis"):
                with pytest.raises(ProofRefused) as refused:
                    await edge.prove(me.node_id, "server", wanted)
                assert refused.value.code == "declined"
            with pytest.raises(ProofRefused):
                await edge.prove(me.node_id, "client", transcript)
        assert "did not sign what the gateway asked for" in mesh.sup("logs", NAME).stdout


def handshake_with(me: Identity) -> bytes:
    """Return the transcript of a handshake in which ``me`` is the server."""
    client, server = (
        SecureHandshake(role, terms(who), now_ms=0)
        for role, who in (("client", FARAWAY), ("server", me))
    )  # fmt: skip
    server.receive(client.start())
    assert server.proof_request is not None
    return server.proof_request.transcript


def terms(who: Identity) -> Terms:
    return Terms(
        own=Self(who.node_id, who.name, GROUP, who.public_key),
        e2e_private=bytes([7]) * 32 if who is FARAWAY else bytes([9]) * 32,
        nonce=bytes(32),
        implementation=Implementation("xmesh", "1"),
        check=lambda *_: KeyVerdict.TRUSTED,
        is_ours=lambda _: False,
    )


async def test_a_peer_whose_identity_lives_elsewhere_ends_for_good_and_says_where(
    runtime_dir: RuntimeDir,
) -> None:
    other = agent_toml(
        runtime_dir.root / "r.toml", "reviewer-01", "reviewer", model={"adapter": "rehearsal"}
    )
    with running(runtime_dir, mesh_of_one(runtime_dir), other) as mesh:

        def has_ended() -> bool:
            return bool(mesh.peer(NAME)["state"] == "final")

        async with gateway(mesh) as edge:
            edge.collide(peer(runtime_dir).node_id, "192.0.2.7:4711 proves to be writer-01 too")
            await asyncio.to_thread(wait_until, has_ended, "it has ended for good")
        shown = mesh.peer(NAME)
        assert "exit 80" in shown["note"]
        assert "192.0.2.7:4711 proves to be writer-01 too" in shown["note"]
        assert shown["restarts"] == 0
        assert mesh.peer("reviewer-01")["state"] == "running"


async def test_open_hears_the_unsigned_until_they_sign(runtime_dir: RuntimeDir) -> None:
    with running(runtime_dir, mesh_of_one(runtime_dir, trust="open")) as mesh:
        unsigned = says({"focus": "draft the design of the endpoint"}, unsigned=True)
        signed = says({"focus": "draft the tests of the endpoint"})
        later = says({"focus": "draft the code of the endpoint"}, unsigned=True)
        async with gateway(mesh) as edge:
            await edge.introduce(afar())
            for record in (unsigned, signed, later):
                await bring(edge, record)
            mesh.rest()
        assert [remembered(mesh, r) is not None for r in (unsigned, signed, later)] == [
            *(True, True, False)
        ]
        assert "unsigned" in mesh.sup("why", unsigned.key).stdout
        assert mesh.sup("trace", unsigned.key).returncode == 0
        assert mesh.status(NAME)["refused"] == 1


async def test_strict_hears_a_stranger_once_a_person_has_accepted_it(
    runtime_dir: RuntimeDir,
) -> None:
    with running(runtime_dir, mesh_of_one(runtime_dir, trust="strict")) as mesh:
        async with gateway(mesh) as edge:
            await edge.introduce(afar())
            refused, taken = says(QUESTION), says({"focus": "draft the limits of the endpoint"})
            await bring(edge, refused)
            mesh.rest()
            Pins(runtime_dir.pins(GROUP) / "pins.json").accept(FARAWAY.node_id)
            await bring(edge, taken)
            mesh.rest()
        assert remembered(mesh, refused) is None
        assert remembered(mesh, taken) is not None
