"""Two nodes with fixed keys, and a record of each; the keys are test keys, never identities."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from nacl.bindings import crypto_sign_seed_keypair

from xmesh_mesh.canonical import b64u
from xmesh_mesh.record import Record, compose
from xmesh_mesh.signing import sign, sign_bytes
from xmesh_mesh.wire.frames import Implementation
from xmesh_mesh.wire.secure import proof_payload
from xmesh_mesh.wire.secure_handshake import SecureHandshake
from xmesh_mesh.wire.secure_terms import ProofRequest, Terms
from xmesh_mesh.wire.trust import KeyVerdict, Self

LOW = "01930f1e-0000-7000-8000-00000000000a"
HIGH = "01930f1e-0000-7000-8000-00000000000b"


@dataclass(frozen=True)
class Node:
    seed: bytes
    own: Self
    nonce: bytes

    def prove(self, request: ProofRequest | None) -> str:
        assert request is not None
        return b64u(sign_bytes(proof_payload(request.role, request.transcript), self.seed))

    def terms(self, **changes: object) -> Terms:
        values: dict[str, object] = {
            "own": self.own,
            "e2e_private": self.own.e2e_private,
            "nonce": self.nonce,
            "implementation": Implementation("xmesh", "1"),
            "check": lambda *_: KeyVerdict.TRUSTED,
            "is_ours": lambda _: False,
        }
        return Terms(**(values | changes))  # type: ignore[arg-type]


def make_node(number: int, node_id: str, name: str) -> Node:
    seed = bytes([number]) * 32
    public, _ = crypto_sign_seed_keypair(seed)
    own = Self(node_id, name, "lab", public, bytes([number + 32]) * 32)
    return Node(seed, own, bytes([number + 64]) * 32)


@pytest.fixture
def alice() -> Node:
    return make_node(1, LOW, "alice")


@pytest.fixture
def bob() -> Node:
    return make_node(2, HIGH, "bob")


@pytest.fixture
def record(alice: Node) -> Record:
    """A signed record of alice, to everybody."""
    return make_record(alice)


@pytest.fixture
def to_bob(alice: Node) -> Record:
    """A signed record of alice, to bob."""
    return make_record(alice, to=HIGH)


@pytest.fixture
def records_of(alice: Node) -> Callable[..., Record]:
    return lambda **changes: make_record(alice, **changes)


def make_record(node: Node, *, focus: str = "a limit at the door", to: str | None = None) -> Record:
    texts = {"focus": focus, "issue": "née: five a second"}
    unsigned = compose(
        texts, created_by=node.own.name, created_ms=1_800_000_000_000, group="lab", to=to
    )
    return sign(unsigned, node.seed)


@pytest.fixture
def opened(alice: Node, bob: Node) -> tuple[SecureHandshake, SecureHandshake]:
    """Alice (client) and bob (server), through with their handshake."""
    client = SecureHandshake("client", alice.terms(), now_ms=0)
    server = SecureHandshake("server", bob.terms(), now_ms=0)
    server.receive(client.start())
    client.receive(server.proved(bob.prove(server.proof_request)))
    server.receive(client.proved(alice.prove(client.proof_request)))
    return client, server
