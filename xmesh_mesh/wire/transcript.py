"""What a peer looks at before it proves a handshake: the transcript, read strictly.

Pure. The bytes come from the gateway, which is trusted with no signature: whatever is not exactly
a transcript in which the peer itself takes part is refused.
"""

from dataclasses import dataclass

from xmesh_mesh.canonical import b64u, counted, nfc
from xmesh_mesh.identity import Identity
from xmesh_mesh.signing import sign_bytes
from xmesh_mesh.wire import secure
from xmesh_mesh.wire.frames import SECURE_VERSION
from xmesh_mesh.wire.types import MAX_LIST

__all__ = ["Party", "Transcript", "prove", "read_transcript"]

_MAX_DIGITS = 5


@dataclass(frozen=True, slots=True)
class Party:
    node_id: str
    identity_public_key: str
    e2e_public_key: str
    name: str
    implementation: str
    implementation_version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Transcript:
    """What both sides of a handshake have said (see ``secure.transcript``)."""

    version: str
    group: str
    client_nonce: str
    server_nonce: str
    client: Party
    server: Party
    chosen: tuple[str, ...]

    def party(self, role: secure.Role) -> Party:
        return self.client if role == "client" else self.server


def prove(identity: Identity, group: str, role: secure.Role, transcript: bytes) -> str:
    """Return the signature (base64url) by which ``identity`` proves its part in a handshake.

    ValueError unless the bytes are a transcript of this version and group in which ``role`` is
    this very node, under its own key.
    """
    said = read_transcript(transcript)
    own = said.party(role)
    if said.version != SECURE_VERSION or nfc(said.group) != nfc(group):
        raise ValueError(f"a handshake of version {said.version!r} in group {said.group!r}")
    if (own.node_id, own.name) != (identity.node_id, identity.name):
        raise ValueError(f"the {role} of this handshake is {own.node_id}")
    if own.identity_public_key != b64u(identity.public_key):
        raise ValueError(f"the {role} of this handshake has another key")
    return b64u(sign_bytes(secure.proof_payload(role, transcript), identity.seed))


def read_transcript(data: bytes) -> Transcript:
    """Read what ``secure.transcript`` writes; ValueError for anything that it would not write."""
    if not data.startswith(secure.TRANSCRIPT):
        raise ValueError("no handshake transcript")
    reader = _Reader(data, len(secure.TRANSCRIPT))
    version, group, client_nonce, server_nonce = (reader.text() for _ in range(4))
    client, server, chosen = reader.party(), reader.party(), reader.texts()
    reader.end()
    return Transcript(version, group, client_nonce, server_nonce, client, server, chosen)


class _Reader:
    """Reads ``lp`` texts one after the other; ValueError where there is none."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def text(self) -> str:
        colon = self._data.find(b":", self._at, self._at + _MAX_DIGITS + 1)
        size = _number(self._data[self._at : colon] if colon > 0 else b"")
        begin, self._at = colon + 1, colon + 1 + size
        if self._at > len(self._data):
            raise ValueError("the transcript ends within a text")
        return self._data[begin : self._at].decode()

    def texts(self) -> tuple[str, ...]:
        count = _number(self.text().encode())
        if count > MAX_LIST:
            raise ValueError(f"a list has at most {MAX_LIST} texts")
        begin = self._at
        found = tuple(self.text() for _ in range(count))
        if not counted(found).endswith(self._data[begin : self._at]):
            raise ValueError("a list is out of order")
        return found

    def party(self) -> Party:
        node_id, identity_key, e2e_key, name, implementation, version = (
            self.text() for _ in range(6)
        )
        return Party(*(node_id, identity_key, e2e_key, name, implementation, version), self.texts())

    def end(self) -> None:
        if self._at != len(self._data):
            raise ValueError("something follows the transcript")


def _number(digits: bytes) -> int:
    """Return a number in the one spelling that counts."""
    if not digits.isdigit() or len(digits) > _MAX_DIGITS or (digits[:1] == b"0" != digits):
        raise ValueError("no number where one must be")
    return int(digits)
