"""A peer proves its own handshakes, and signs nothing else that it is asked to."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh.canonical import counted, lp, unb64u
from xmesh_mesh.identity import Identity
from xmesh_mesh.introduction import _preimage, introduce
from xmesh_mesh.record import compose
from xmesh_mesh.signing import signing_preimage
from xmesh_mesh.wire import secure
from xmesh_mesh.wire.attestation import Attestation
from xmesh_mesh.wire.secure_handshake import SecureHandshake
from xmesh_mesh.wire.secure_terms import ProofRequest, check_proof
from xmesh_mesh.wire.transcript import prove, read_transcript
from xmesh_mesh.wire.types import MAX_LIST

from .conftest import HIGH, LOW, Node, make_node

ALICE, BOB = make_node(1, LOW, "alice"), make_node(2, HIGH, "bob")


def identity(node: Node) -> Identity:
    return Identity(node.own.node_id, node.own.name, node.own.public_key, node.seed, 0)


def shaken(client: Node = ALICE, server: Node = BOB) -> bytes:
    """Return the transcript of a handshake, as the server sees it."""
    one = SecureHandshake("client", client.terms(), now_ms=0)
    two = SecureHandshake("server", server.terms(), now_ms=0)
    two.receive(one.start())
    assert two.proof_request is not None
    return two.proof_request.transcript


TRANSCRIPT = shaken()


@pytest.mark.parametrize(("role", "node"), [("client", ALICE), ("server", BOB)])
def test_each_side_proves_its_part_and_the_other_side_takes_it(
    role: secure.Role, node: Node
) -> None:
    sig = prove(identity(node), "lab", role, TRANSCRIPT)
    check_proof(ProofRequest(role, TRANSCRIPT), sig, node.own.public_key)
    assert len(unb64u(sig, 64)) == 64


def test_a_whole_handshake_is_read_as_it_was_written() -> None:
    said = read_transcript(TRANSCRIPT)
    assert (said.version, said.group, said.chosen) == ("2.0", "lab", (secure.SEALED,))
    assert (said.client.node_id, said.server.node_id) == (LOW, HIGH)
    assert (said.client.name, said.server.implementation) == ("alice", "xmesh")


@pytest.mark.parametrize(
    ("who", "group", "role"),
    [
        (ALICE, "lab", "server"),
        (BOB, "lab", "client"),
        (ALICE, "other", "client"),
        (make_node(3, LOW, "alice"), "lab", "client"),
        (make_node(1, HIGH, "alice"), "lab", "client"),
        (make_node(1, LOW, "somebody"), "lab", "client"),
    ],
    ids=["other role", "not me", "other group", "other key", "other id", "other name"],
)
def test_a_handshake_that_is_not_ones_own_is_not_proven(
    who: Node, group: str, role: secure.Role
) -> None:
    with pytest.raises(ValueError, match="handshake"):
        prove(identity(who), group, role, TRANSCRIPT)


def test_another_version_is_not_proven() -> None:
    older = TRANSCRIPT.replace(lp("2.0"), lp("1.9"), 1)
    with pytest.raises(ValueError, match=r"version '1\.9'"):
        prove(identity(ALICE), "lab", "client", older)


def other_signables() -> list[bytes]:
    """Return what else a node signs, each as the bytes that would be signed."""
    me = identity(ALICE)
    record = compose({"focus": "x"}, created_by=me.name, created_ms=0, group="lab")
    statement = Attestation(
        of=record.key, by=me.node_id, at=0, roster="lab", verdict="aligned", categories={},
        role="participant", seq=1, prev="genesis",
    )  # fmt: skip
    introduction = introduce(me, "lab", implementation="xmesh", now_ms=0)
    return [
        signing_preimage(record),
        statement.text().encode(),
        _preimage(introduction),
        secure.proof_payload("client", TRANSCRIPT),
        msgspec.json.encode(introduction),
    ]


@pytest.mark.parametrize("signable", other_signables())
def test_nothing_else_that_a_node_signs_can_be_had_as_a_proof(signable: bytes) -> None:
    me = identity(ALICE)
    for data in (signable, secure.TRANSCRIPT + signable, TRANSCRIPT + signable):
        for role in ("client", "server"):
            with pytest.raises(ValueError, match=r"."):
                prove(me, "lab", role, data)


def test_what_is_signed_as_a_proof_is_nothing_else() -> None:
    *others, proof, _ = other_signables()
    for signable in others:
        assert not signable.startswith(proof[:23])


@given(st.integers(0, len(TRANSCRIPT) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_changes_what_is_signed(at: int, change: int) -> None:
    data = bytearray(TRANSCRIPT)
    data[at] ^= change
    try:
        sig = prove(identity(ALICE), "lab", "client", bytes(data))
    except ValueError:
        return
    assert sig != prove(identity(ALICE), "lab", "client", TRANSCRIPT)


@given(st.binary(max_size=200).map(secure.TRANSCRIPT.__add__) | st.binary(max_size=200))
def test_what_is_no_transcript_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_transcript(data)


@given(st.integers(0, len(TRANSCRIPT) - 1))
def test_a_cut_transcript_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_transcript(TRANSCRIPT[:size])


@pytest.mark.parametrize(
    "tail",
    [
        lp(str(MAX_LIST + 1)) + lp("x") * (MAX_LIST + 1),
        counted(["a", "b"])[:-6] + lp("b") + lp("a"),
        lp("01") + lp("x"),
        lp("1"),
        b"01:1" + lp("x"),
    ],
    ids=["too many", "out of order", "leading zero", "too few", "zero in a length"],
)
def test_a_list_has_one_form(tail: bytes) -> None:
    head = TRANSCRIPT[: -len(counted([secure.SEALED]))]
    assert read_transcript(head + counted([secure.SEALED, "a"])).chosen
    with pytest.raises(ValueError, match=r"."):
        read_transcript(head + tail)
