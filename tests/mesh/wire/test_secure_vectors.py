"""Core Secure and the rest of the wire, value by value: the published, the deployed, and ours."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from nacl.bindings import crypto_sign_seed_keypair

from xmesh_mesh.canonical import b64u, unb64u
from xmesh_mesh.record import from_wire
from xmesh_mesh.signing import sign_bytes, verify
from xmesh_mesh.wire import attestation, e2e, frames, records, sealed, secure
from xmesh_mesh.wire.attestation import Attestation, Checkpoint, Grant, Witness
from xmesh_mesh.wire.frames import ClientFinish, ClientHello, CmbEncrypted, Implementation
from xmesh_mesh.wire.secure_handshake import SecureHandshake
from xmesh_mesh.wire.secure_terms import Terms
from xmesh_mesh.wire.trust import KeyVerdict, Self

OWN = json.loads(Path(__file__).with_name("vectors.json").read_text())


def typed(value: dict[str, Any]) -> Any:
    return frames.decode(json.dumps(value).encode())


def terms_of(vector: dict[str, Any], side: str) -> Terms:
    party = vector["fixture"]["handshake"][side]
    return Terms(
        own=Self(
            party["nodeId"],
            party["name"],
            vector["fixture"]["handshake"]["room"],
            unb64u(party["identityPublicKey"], 32),
        ),
        e2e_private=unb64u(vector["fixture"][f"{side}E2EPrivateKeyBase64url"], 32),
        nonce=unb64u(party["nonce"], 32),
        implementation=Implementation(**party["implementation"]),
        check=lambda *_: KeyVerdict.TRUSTED,
        is_ours=lambda _: False,
        offered=tuple(party["extensions"]),
        required=(),
    )


@pytest.fixture
def published(shared_vectors: Path) -> dict[str, Any]:
    return json.loads((shared_vectors / "published/mmp-v2-handshake.vector.json").read_text())


def test_published_key_schedule(published: dict[str, Any]) -> None:
    shown, expected = published["fixture"]["frames"], published["expected"]
    client, server = typed(shown["clientHello"]), typed(shown["serverHello"])
    transcript = secure.transcript(client, server, server.selected_extensions)
    assert transcript.hex() == expected["transcriptHex"]
    assert secure.transcript_hash(transcript).hex() == expected["transcriptHashHex"]
    private = unb64u(published["fixture"]["clientE2EPrivateKeyBase64url"], 32)
    secret = e2e.shared_secret(private, unb64u(server.e2e_public_key, 32))
    assert secret.hex() == expected["sharedSecretHex"]
    keys = secure.schedule(secret, transcript)
    assert keys.session_id == expected["sessionId"]
    assert keys.client_to_server.hex() == expected["clientToServerKeyHex"]
    assert keys.server_to_client.hex() == expected["serverToClientKeyHex"]
    assert keys.client_finished.hex() == expected["clientFinishedKeyHex"]
    assert keys.server_finished.hex() == expected["serverFinishedKeyHex"]
    roles: tuple[secure.Role, ...] = ("client", "server")
    for role in roles:
        payload = secure.proof_payload(role, transcript)
        assert payload.hex() == expected[f"{role}ProofPayloadHex"]
        seed = unb64u(published["fixture"][f"{role}IdentityPrivateSeedBase64url"], 32)
        assert b64u(sign_bytes(payload, seed)) == expected[f"{role}ProofBase64url"]
        confirmed = secure.confirmation(role, keys, transcript).hex()
        assert confirmed == expected[f"{role}KeyConfirmationHex"]


def test_published_handshake_frame_by_frame(published: dict[str, Any]) -> None:
    shown, expected = published["fixture"]["frames"], published["expected"]
    client = SecureHandshake("client", terms_of(published, "client"), now_ms=0)
    server = SecureHandshake("server", terms_of(published, "server"), now_ms=0)
    hello = client.start()
    assert hello == typed(shown["clientHello"])
    server.receive(hello)
    answer = server.proved(expected["serverProofBase64url"])
    assert answer == typed(shown["serverHello"])
    client.receive(answer)
    finish = client.proved(expected["clientProofBase64url"])
    assert finish == typed(shown["clientFinish"])
    server.receive(finish)
    assert client.session is not None
    assert server.session is not None
    assert client.session.id == server.session.id == expected["sessionId"]
    assert client.peer is not None
    assert client.peer.extensions == ("admission-attestation-v1",)


def session_of(vector: dict[str, Any], role: secure.Role, cases: list[Any]) -> Any:
    """Return a session with the vector's keys, as far on as the first of ``cases`` says."""
    by_direction = {case["direction"]: bytes.fromhex(case["trafficKeyHex"]) for case in cases}
    keys = secure.Keys(
        vector["sessionId"],
        by_direction.get("client-to-server", bytes(32)),
        by_direction.get("server-to-client", bytes(32)),
        b"",
        b"",
    )
    return sealed.SecureSession(role, keys)


def sealed_frame(vector: dict[str, Any], case: dict[str, Any], metadata: Any) -> CmbEncrypted:
    return CmbEncrypted(
        protocol_version=vector["protocolVersion"],
        suite=vector["suite"],
        session_id=vector["sessionId"],
        sequence=case["sequence"],
        direction=case["direction"],
        metadata=Raw(json.dumps(metadata).encode()),
        sealed=case["sealedBase64url"],
    )


RECEIVER: dict[str, secure.Role] = {"client-to-server": "server", "server-to-client": "client"}
SENDER: dict[str, secure.Role] = {"client-to-server": "client", "server-to-client": "server"}


def test_published_sealed_frames(shared_vectors: Path) -> None:
    vector = json.loads((shared_vectors / "published/mmp-v2-e2e.vector.json").read_text())
    none = vector["noApplication"]
    groups = [
        ([c for c in vector["cases"] if c["direction"] == "client-to-server"], vector),
        ([c for c in vector["cases"] if c["direction"] == "server-to-client"], vector),
        ([none["case"]], none),
    ]
    assert sum(len(cases) for cases, _ in groups) == 4
    for cases, source in groups:
        receiver = session_of(vector, RECEIVER[cases[0]["direction"]], cases)
        sender = session_of(vector, SENDER[cases[0]["direction"]], cases)
        for case in cases:
            _check_case(vector, source, case, sender, receiver)


def _check_case(vector: Any, source: Any, case: Any, sender: Any, receiver: Any) -> None:
    metadata = source["metadata"]
    frame = sealed_frame(vector, case, metadata)
    opened = receiver.open(frame)
    assert opened.node_id == metadata["createdByNodeId"]
    assert "asrt-" + opened.assertion == metadata["assertionId"]
    bound = sealed._metadata.decode(bytes(frame.metadata))
    aad = receiver._aad(case["direction"], int(case["sequence"]), bound)
    assert aad.hex() == case["aadHex"]
    assert int(case["sequence"]).to_bytes(12).hex() == case["nonceHex"]
    plain = json.loads(source["protectedPlaintextUtf8"])
    record = from_wire({"categories": plain["categories"], "metadata": metadata})
    data = opened.record.application.data if opened.record.application else None
    assert data == plain.get("applicationData")
    assert opened.record.categories == record.categories
    made = sender.seal(opened.record, opened.node_id)
    assert (made.sealed, made.sequence) == (case["sealedBase64url"], case["sequence"])
    assert json.loads(bytes(made.metadata)) == metadata


@pytest.fixture
def deployed(shared_vectors: Path) -> dict[str, Any]:
    return json.loads((shared_vectors / "deployed/stock-wire.json").read_text())


def test_deployed_statements(deployed: dict[str, Any]) -> None:
    public, _ = crypto_sign_seed_keypair(bytes.fromhex(deployed["testKey"]["seedHex"]))
    kinds: dict[str, Any] = {
        "attestation": Attestation,
        "checkpoint": Checkpoint,
        "witness": Witness,
        "roleGrant": Grant,
        "roleRevoke": Grant,
    }
    for name, kind in kinds.items():
        statement = msgspec.convert(deployed[name]["value"], kind)
        assert statement.text() == deployed[name]["payload"]
        attestation.verify_statement(statement, public)


def test_deployed_attestation_is_made_alike(deployed: dict[str, Any]) -> None:
    value = deployed["attestation"]["value"]
    unsigned = {k: v for k, v in value.items() if k not in {"sig", "sigAlg"}}
    made = attestation.attest(
        msgspec.convert(unsigned, Attestation), bytes.fromhex(deployed["testKey"]["seedHex"])
    )
    assert msgspec.to_builtins(made) == value


def test_deployed_checkpoint_root(deployed: dict[str, Any]) -> None:
    checkpoint = deployed["checkpoint"]
    assert attestation.checkpoint_root(checkpoint["leaves"]) == checkpoint["value"]["root"]


def test_our_handshake_values(alice: Any, bob: Any) -> None:
    hello, answer, finish = (typed(f) for f in OWN["handshake"]["frames"])
    assert isinstance(hello, ClientHello)
    assert isinstance(finish, ClientFinish)
    server = SecureHandshake("server", node_terms(bob, "node-2"), now_ms=0)
    server.receive(hello)
    assert server.proof_request is not None
    assert server.proof_request.transcript.hex() == OWN["handshake"]["transcriptHex"]
    assert server.proved(bob.prove(server.proof_request)) == answer
    server.receive(finish)
    assert server.session is not None
    assert server.session.id == OWN["handshake"]["sessionId"]
    record = from_wire(OWN["handshake"]["record"])
    for frame in OWN["handshake"]["sealed"]:
        opened = server.session.open(typed(frame))
        assert (opened.record, opened.node_id) == (record, alice.own.node_id)
        verify(opened.record, alice.own.public_key)


def node_terms(node: Any, name: str) -> Terms:
    own = Self(node.own.node_id, name, "lab", node.own.public_key, node.own.e2e_private)
    terms: Terms = node.terms(own=own)
    return terms


@pytest.mark.skipif(not e2e.AVAILABLE, reason="this machine has no AES in hardware")
def test_our_values_of_the_deployed_encryption() -> None:
    vector = OWN["e2e"]
    private = bytes.fromhex(vector["privateHex"])
    assert e2e.to_spki(e2e.public_key(private)) == vector["e2ePublicKey"]
    secret = e2e.shared_secret(private, e2e.from_spki(vector["peerE2ePublicKey"]))
    assert secret.hex() == vector["secretHex"]
    frame = typed({"type": "cmb", "cmb": vector["cmb"]})
    record = from_wire(OWN["handshake"]["record"])
    assert records.record_of(e2e.unseal(frame.cmb, secret)) == record
    resealed = e2e.seal(records.body_of(record), secret, bytes(range(12)))
    assert json.loads(msgspec.json.encode(resealed)) == vector["cmb"]


def test_our_attestations(alice: Any) -> None:
    made = [msgspec.convert(a["value"], Attestation) for a in OWN["attestations"]]
    for statement, vector in zip(made, OWN["attestations"], strict=True):
        assert statement.text() == vector["text"]
        attestation.verify_statement(statement, alice.own.public_key)
        assert attestation.attest(statement, alice.seed) == statement
    assert attestation.next_prev(None) == made[0].prev == "genesis"
    assert attestation.next_prev(made[0]) == made[1].prev


def test_our_checkpoint_roots() -> None:
    roots = [attestation.checkpoint_root(list("abcde"[:n])) for n in range(1, 6)]
    assert roots == OWN["checkpointRoots"]


def test_a_peer_cannot_be_led_to_sign_anything_but_a_transcript() -> None:
    for data in (b"", b"mmp-sig-v2\n1:x", b"mmp-handshake-transcript-v1\n"):
        with pytest.raises(ValueError, match="transcript"):
            secure.proof_payload("client", data)
