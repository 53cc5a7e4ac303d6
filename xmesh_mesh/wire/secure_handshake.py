"""MMP 2.0 Core Secure, the handshake: three frames, after which both have proven their keys.

The gateway holds no signing key. Where a proof is due, ``proof_request`` holds what the peer is to
sign (see ``secure.proof_payload``); ``proved`` takes its signature and gives the next frame. After
any WireError the handshake is over, and so is the link.

    client                                            server
    start() ────────── client-hello ────────────────► receive(): proof_request
    receive(): proof_request ◄────── server-hello ─── proved()
    proved() ───────── client-finish ───────────────► receive(): session
"""

import hmac
from enum import Enum
from typing import Final

from msgspec.structs import replace

from xmesh_mesh.canonical import b64u
from xmesh_mesh.wire import e2e, secure
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import ClientFinish, ClientHello, Frame, ServerHello, Unknown
from xmesh_mesh.wire.sealed import SecureSession
from xmesh_mesh.wire.secure_terms import (
    TIMEOUT_MS,
    ProofRequest,
    SecurePeer,
    Terms,
    check_chosen,
    check_hello,
    check_proof,
    client_hello,
    server_hello,
)
from xmesh_mesh.wire.trust import check_key, read_key


class Phase(Enum):
    START = "start"
    AWAIT_HELLO = "await-hello"
    PROVING = "proving"
    AWAIT_FINISH = "await-finish"
    OPEN = "open"
    CLOSED = "closed"


# What each side takes, and when; anything else is out of order.
EXPECTED: Final[dict[tuple[secure.Role, Phase], type[Frame]]] = {
    ("client", Phase.AWAIT_HELLO): ServerHello,
    ("server", Phase.AWAIT_HELLO): ClientHello,
    ("server", Phase.AWAIT_FINISH): ClientFinish,
}


class SecureHandshake:
    """One side of one handshake. ``peer`` and ``session`` are set when it is through."""

    def __init__(self, role: secure.Role, terms: Terms, *, now_ms: int) -> None:
        self.role: secure.Role = role
        self.phase = Phase.START if role == "client" else Phase.AWAIT_HELLO
        self.peer: SecurePeer | None = None
        self.session: SecureSession | None = None
        self.proof_request: ProofRequest | None = None
        self._terms = terms
        self._deadline_ms = now_ms + TIMEOUT_MS
        self._client_hello: ClientHello
        self._server_hello: ServerHello
        self._transcript: bytes
        self._keys: secure.Keys

    def start(self) -> ClientHello:
        """Return the client's first frame."""
        if self.phase is not Phase.START:
            raise self._failed(WireError("out-of-order"))
        self.phase = Phase.AWAIT_HELLO
        self._client_hello = client_hello(self._terms)
        return self._client_hello

    def receive(self, frame: Frame | Unknown) -> None:
        """Take the other side's next frame; WireError ends the handshake."""
        if type(frame) is not EXPECTED.get((self.role, self.phase)):
            raise self._failed(WireError("out-of-order"))
        try:
            self._take(frame)
        except WireError as error:
            raise self._failed(error) from None

    def proved(self, proof: str) -> Frame:
        """Take the local peer's signature (base64url); return the frame that carries it."""
        request = self.proof_request
        if self.phase is not Phase.PROVING or request is None:
            raise self._failed(WireError("out-of-order"))
        try:
            check_proof(request, proof, self._terms.own.public_key)
        except WireError as error:
            raise self._failed(error) from None
        self.proof_request = None
        return self._finish(proof) if self.role == "client" else self._greet(proof)

    def tick(self, now_ms: int) -> None:
        """WireError ``handshake-timeout`` once it is too late."""
        if now_ms >= self._deadline_ms and self.phase not in {Phase.OPEN, Phase.CLOSED}:
            raise self._failed(WireError("handshake-timeout"))

    def _take(self, frame: Frame | Unknown) -> None:
        match frame:
            case ClientHello():
                self._take_client_hello(frame)
            case ServerHello():
                self._take_server_hello(frame)
            case ClientFinish():
                self._take_client_finish(frame)

    def _take_client_hello(self, hello: ClientHello) -> None:
        check_hello(self._terms, hello)
        self._client_hello = hello
        self._server_hello = server_hello(self._terms, hello)
        self._agree(hello.e2e_public_key)

    def _take_server_hello(self, hello: ServerHello) -> None:
        if hello.client_nonce != self._client_hello.nonce:
            raise WireError("nonce-mismatch")
        check_hello(self._terms, hello)
        check_chosen(self._terms, hello.selected_extensions, hello.extensions)
        self._server_hello = hello
        self._agree(hello.e2e_public_key)
        self._check_peer("server", hello, hello.proof, hello.key_confirmation)

    def _take_client_finish(self, finish: ClientFinish) -> None:
        if finish.transcript_hash != secure.transcript_hash(self._transcript).hex():
            raise WireError("transcript-mismatch")
        self._check_peer("client", self._client_hello, finish.proof, finish.key_confirmation)
        self._open()

    def _agree(self, their_e2e: str) -> None:
        """Derive the keys from what both said, and ask for our own proof."""
        secret = e2e.shared_secret(self._terms.e2e_private, read_key(their_e2e))
        chosen = self._server_hello.selected_extensions
        self._transcript = secure.transcript(self._client_hello, self._server_hello, chosen)
        self._keys = secure.schedule(secret, self._transcript)
        self.proof_request = ProofRequest(self.role, self._transcript)
        self.phase = Phase.PROVING

    def _check_peer(
        self, role: secure.Role, hello: ClientHello | ServerHello, proof: str, confirmed: str
    ) -> None:
        """Check the other side's proof and confirmation; only then its key is held against pins."""
        key = read_key(hello.identity_public_key)
        check_proof(ProofRequest(role, self._transcript), proof, key)
        if not hmac.compare_digest(self._confirmation(role).encode(), confirmed.encode()):
            raise WireError("bad-confirmation")
        if key == self._terms.own.public_key:
            raise WireError("collision", f"{hello.node_id} holds the key of this peer")
        check_key(self._terms.check, hello.node_id, key, hello.name)
        chosen = tuple(self._server_hello.selected_extensions)
        self.peer = SecurePeer(hello.node_id, hello.name, key, hello.implementation, chosen)

    def _greet(self, proof: str) -> ServerHello:
        self.phase = Phase.AWAIT_FINISH
        confirmed = self._confirmation("server")
        return replace(self._server_hello, proof=proof, key_confirmation=confirmed)

    def _finish(self, proof: str) -> ClientFinish:
        self._open()
        return ClientFinish(
            transcript_hash=secure.transcript_hash(self._transcript).hex(),
            proof=proof,
            key_confirmation=self._confirmation("client"),
        )

    def _confirmation(self, role: secure.Role) -> str:
        return b64u(secure.confirmation(role, self._keys, self._transcript))

    def _open(self) -> None:
        self.phase = Phase.OPEN
        self.session = SecureSession(self.role, self._keys)

    def _failed(self, error: WireError) -> WireError:
        self.phase = Phase.CLOSED
        self.proof_request = None
        if error.fatal:
            return error
        return WireError("bad-handshake", str(error))
