"""The documented refusals of the wire: one error, and a table of what its codes mean.

Whatever arrives is parsed, or refused with a ``WireError`` (a record inside a frame: with a
``RecordError``). ``fatal`` says whether the link is to be closed, or only the frame dropped.
"""

from typing import Final

from xmesh_mesh.errors import XmeshError

FATAL: Final = {
    "bad-length": "a frame announces no bytes, or more than the limit: the stream is lost",
    "handshake-expected": "the first frame of a link is not a handshake",
    "bad-handshake": "a handshake with a key or a name that cannot be one",
    "handshake-timeout": "no handshake came in time",
    "out-of-order": "a frame that the handshake or the session has no place for now",
    "version-mismatch": "another protocol version or suite than 2.0 Core Secure",
    "group-mismatch": "the other side is of another group, or names none",
    "own-node-id": "somebody else presents our node id; no proof that it is us",
    "self-loop": "the other end of this link is this gateway itself",
    "collision": "somebody has proven to hold our own key",
    "node-changed": "the link belongs to another node than the handshake says",
    "key-changed": "the node's key is not the one pinned for it",
    "not-trusted": "the node's key is not pinned, and only pinned ones are let in",
    "downgrade": "a node that was secure once comes without it, or drops what both offer",
    "nonce-mismatch": "the answer is not one to our own hello",
    "transcript-mismatch": "both sides have not seen the same handshake",
    "bad-proof": "the identity key's holder did not sign this handshake",
    "bad-confirmation": "both sides have not derived the same keys",
    "weak-key": "a key that makes a shared secret anybody can guess",
    "bad-sequence": "a sealed frame was repeated, left out or moved",
    "wrong-session": "a sealed frame of another session or direction",
    "bad-seal": "a sealed frame was altered, or sealed under another key",
}

DROPPED: Final = {
    "bad-json": "the payload is no JSON object",
    "no-type": "the payload does not say what it is",
    "malformed": "a frame of a known type with a wrong shape, type or size",
    "no-secret": "encrypted, and there is no secret shared with the sender",
    "cannot-open": "encrypted under another secret, or altered",
    "no-encryption": "this machine has no AES-256-GCM in hardware",
    "not-sendable": "a frame that we never send, or never over this transport",
    "too-large": "a frame over the limit; it is not sent",
}


class WireError(XmeshError):
    """What came, or was to be sent, is refused; ``code`` is a key of one of the two tables."""

    def __init__(self, code: str, what: str = "") -> None:
        super().__init__(what or FATAL.get(code) or DROPPED[code])
        self.code = code

    @property
    def fatal(self) -> bool:
        """Whether the link cannot go on after this."""
        return self.code in FATAL
