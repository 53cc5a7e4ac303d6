"""What a Core Secure handshake is made with, what comes of it, and what a hello must satisfy."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from xmesh_mesh.canonical import b64u
from xmesh_mesh.errors import SignatureError
from xmesh_mesh.signing import verify_bytes
from xmesh_mesh.wire import e2e, secure
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import SECURE_VERSION, ClientHello, Implementation, ServerHello
from xmesh_mesh.wire.trust import KeyCheck, Self, check_group, check_name, read_key

TIMEOUT_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class SecurePeer:
    """A node that has proven to hold ``public_key``."""

    node_id: str
    name: str
    public_key: bytes
    implementation: Implementation
    extensions: tuple[str, ...]  # the selected ones


@dataclass(frozen=True, slots=True)
class ProofRequest:
    """What the local peer is asked to prove: that it takes part in this handshake."""

    role: secure.Role
    transcript: bytes


@dataclass(frozen=True, slots=True)
class Terms:
    """What a handshake is made with. ``e2e_private`` and ``nonce``: 32 fresh random bytes each.

    ``is_ours``: whether an X25519 public key is of a handshake that this gateway has under way.
    ``expected``: the node id that was dialled.
    """

    own: Self
    e2e_private: bytes = field(repr=False)
    nonce: bytes
    implementation: Implementation
    check: KeyCheck
    is_ours: Callable[[bytes], bool]
    offered: tuple[str, ...] = (secure.SEALED,)
    required: tuple[str, ...] = (secure.SEALED,)
    expected: str | None = None


def client_hello(terms: Terms) -> ClientHello:
    """Return the first frame of a handshake."""
    return ClientHello(
        protocol_version=SECURE_VERSION,
        room=terms.own.group,
        node_id=terms.own.node_id,
        name=terms.own.name,
        identity_public_key=b64u(terms.own.public_key),
        e2e_public_key=b64u(e2e.public_key(terms.e2e_private)),
        nonce=b64u(terms.nonce),
        implementation=terms.implementation,
        extensions=list(terms.offered),
    )


def server_hello(terms: Terms, hello: ClientHello) -> ServerHello:
    """Return the answer to ``hello``, proof and confirmation still empty.

    WireError ``downgrade`` where the two have too little in common.
    """
    chosen = sorted(set(hello.extensions) & set(terms.offered))
    check_chosen(terms, chosen, hello.extensions)
    return ServerHello(
        protocol_version=SECURE_VERSION,
        room=hello.room,
        node_id=terms.own.node_id,
        name=terms.own.name,
        identity_public_key=b64u(terms.own.public_key),
        e2e_public_key=b64u(e2e.public_key(terms.e2e_private)),
        nonce=b64u(terms.nonce),
        implementation=terms.implementation,
        extensions=list(terms.offered),
        client_nonce=hello.nonce,
        selected_extensions=chosen,
        proof="",
        key_confirmation="",
    )


def check_hello(terms: Terms, hello: ClientHello | ServerHello) -> None:
    """Check what can be checked before anything is proven; WireError."""
    if hello.protocol_version != SECURE_VERSION:
        raise WireError("version-mismatch")
    check_group(terms.own.group, hello.room)
    check_name(hello.name)
    read_key(hello.nonce)
    if terms.expected is not None and hello.node_id != terms.expected:
        raise WireError("node-changed", f"{hello.node_id} instead of {terms.expected}")
    if terms.is_ours(read_key(hello.e2e_public_key)):
        raise WireError("self-loop")
    same_key = read_key(hello.identity_public_key) == terms.own.public_key
    if hello.node_id == terms.own.node_id and not same_key:
        raise WireError("own-node-id")


def check_chosen(terms: Terms, chosen: Iterable[str], theirs: Iterable[str]) -> None:
    """WireError ``downgrade`` unless both offer what is chosen, and nothing needed is left out."""
    selected = set(chosen)
    if not selected <= set(terms.offered) & set(theirs):
        raise WireError("downgrade", "an extension was selected that not both offer")
    if not set(terms.required) <= selected:
        raise WireError("downgrade", "an extension that this node demands is not selected")


def check_proof(request: ProofRequest, proof: str, public_key: bytes) -> None:
    """WireError ``bad-proof`` unless the key's holder has signed what was asked for."""
    try:
        verify_bytes(secure.proof_payload(request.role, request.transcript), proof, public_key)
    except SignatureError:
        raise WireError("bad-proof") from None
