"""Write the project's own vectors of the wire to standard output.

They fix the formats: run this only to add a case, and look at every line that changed, because a
changed value is a node that nobody understands any more. The keys are test keys.

    python tests/mesh/wire/make_wire_vectors.py > tests/mesh/wire/vectors.json
"""

import json
import sys
from typing import Any

import msgspec
from msgspec.structs import replace
from nacl.bindings import crypto_sign_seed_keypair

from xmesh_mesh.canonical import b64u
from xmesh_mesh.record import compose, to_wire
from xmesh_mesh.signing import sign, sign_bytes
from xmesh_mesh.wire import attestation, e2e, records, secure
from xmesh_mesh.wire.frames import Implementation
from xmesh_mesh.wire.secure_handshake import SecureHandshake
from xmesh_mesh.wire.secure_terms import Terms
from xmesh_mesh.wire.trust import KeyVerdict, Self

IDS = ("01930f1e-0000-7000-8000-00000000000a", "01930f1e-0000-7000-8000-00000000000b")


def terms(number: int) -> Terms:
    public, _ = crypto_sign_seed_keypair(bytes([number]) * 32)
    private = bytes([number + 32]) * 32
    return Terms(
        own=Self(IDS[number - 1], f"node-{number}", "lab", public, private),
        e2e_private=private,
        nonce=bytes([number + 64]) * 32,
        implementation=Implementation("xmesh", "1"),
        check=lambda *_: KeyVerdict.TRUSTED,
        is_ours=lambda _: False,
    )


def handshake() -> dict[str, Any]:
    client = SecureHandshake("client", terms(1), now_ms=0)
    server = SecureHandshake("server", terms(2), now_ms=0)
    hello = client.start()
    server.receive(hello)
    answer = server.proved(proof(server, 2))
    client.receive(answer)
    transcript = client.proof_request.transcript if client.proof_request else b""
    finish = client.proved(proof(client, 1))
    server.receive(finish)
    assert client.session is not None
    frames = [client.session.seal(record(), IDS[0]) for _ in range(2)]
    return {
        "frames": [msgspec.to_builtins(f) for f in (hello, answer, finish)],
        "transcriptHex": transcript.hex(),
        "sessionId": client.session.id,
        "record": to_wire(record()),
        "sealed": [json.loads(msgspec.json.encode(f)) for f in frames],
    }


def proof(side: SecureHandshake, number: int) -> str:
    request = side.proof_request
    assert request is not None
    payload = secure.proof_payload(request.role, request.transcript)
    return b64u(sign_bytes(payload, bytes([number]) * 32))


def record() -> Any:
    texts = {"focus": "a limit at the door", "issue": "née: five a second"}
    unsigned = compose(texts, created_by="node-1", created_ms=1_800_000_000_123, group="lab")
    return sign(unsigned, bytes([1]) * 32)


def opportunistic() -> dict[str, Any]:
    private, other = bytes([7]) * 32, bytes([8]) * 32
    secret = e2e.shared_secret(private, e2e.public_key(other))
    sealed = e2e.seal(records.body_of(record()), secret, bytes(range(12)))
    return {
        "privateHex": private.hex(),
        "e2ePublicKey": e2e.to_spki(e2e.public_key(private)),
        "peerE2ePublicKey": e2e.to_spki(e2e.public_key(other)),
        "secretHex": secret.hex(),
        "cmb": json.loads(msgspec.json.encode(sealed)),
    }


def statements() -> list[dict[str, Any]]:
    first = attestation.Attestation(
        of=record().key,
        by=IDS[0],
        at=1_800_000_000_123,
        roster="lab",
        method="heuristic",
        verdict="guarded",
        categories={"focus": "admit", "mood": "silent", "issue": "guard"},
        role="participant",
        seq=1,
        prev=attestation.GENESIS,
    )
    signed = attestation.attest(first, bytes([1]) * 32)
    second = replace(first, seq=2, prev=attestation.next_prev(signed), roster=None)
    made = [signed, attestation.attest(second, bytes([1]) * 32)]
    return [{"value": msgspec.to_builtins(s), "text": s.text()} for s in made]


def main() -> None:
    vectors = {
        "note": "Fixed values of the wire. The keys are test keys: never an identity.",
        "handshake": handshake(),
        "e2e": opportunistic(),
        "attestations": statements(),
        "checkpointRoots": [attestation.checkpoint_root(list("abcde"[:n])) for n in range(1, 6)],
    }
    json.dump(vectors, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
