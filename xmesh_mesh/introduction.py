"""How a node presents itself on the bus: who it is, in which group, under which key.

The signature proves that whoever made the introduction holds the key; whether the key is the one
that the node had before is for ``pins`` to say.
"""

import re
import unicodedata
from typing import Literal

import msgspec

from xmesh_mesh.canonical import b64u, lp, unb64u
from xmesh_mesh.errors import ConfigError, RecordError
from xmesh_mesh.identity import NODE_ID_PATTERN, Identity
from xmesh_mesh.paths import check_group
from xmesh_mesh.signing import sign_bytes, verify_bytes

Origin = Literal["local", "remote"]

MAX_NAME = 64  # bytes of UTF-8, MMP's rule for names

_DOMAIN = b"xmesh-introduction-v1\n"
_KEY_BYTES = 32
_MAX_IMPLEMENTATION = 128
_MAX_INTEGER = 2**53 - 1
_NODE_ID = re.compile(NODE_ID_PATTERN)


class Introduction(msgspec.Struct, frozen=True):
    """A signed statement of a node about itself; of a remote one, the gateway's word for it.

    What a remote node has signed is another protocol's, so ``sig`` is empty there; ``public_key``
    is, where it has named none.
    """

    node_id: str
    name: str
    group: str
    public_key: str  # base64url of 32 bytes
    implementation: str
    origin: Origin
    issued_ms: int
    sig: str


def introduce(
    identity: Identity,
    group: str,
    *,
    implementation: str,
    origin: Origin = "local",
    now_ms: int,
) -> Introduction:
    """Return ``identity``'s signed introduction to ``group``."""
    unsigned = Introduction(
        node_id=identity.node_id,
        name=identity.name,
        group=group,
        public_key=b64u(identity.public_key),
        implementation=implementation,
        origin=origin,
        issued_ms=now_ms,
        sig="",
    )
    sig = b64u(sign_bytes(_preimage(unsigned), identity.seed))
    return msgspec.structs.replace(unsigned, sig=sig)


def check_introduction(intro: Introduction) -> bytes:
    """Return the public key that the introduction is signed with.

    RecordError ``malformed`` where a value is out of bounds; SignatureError ``bad-signature``.
    """
    try:
        _check_values(intro)
        public_key = unb64u(intro.public_key, _KEY_BYTES)
        message = _preimage(intro)
    except (ConfigError, ValueError) as error:
        raise RecordError("malformed", f"the introduction is malformed: {error}") from error
    verify_bytes(message, intro.sig, public_key)
    return public_key


def check_remote(intro: Introduction) -> bytes | None:
    """Return the public key of a remote node that a gateway introduces; None if it has named none.

    RecordError ``malformed`` where a value is out of bounds or it is no remote node's;
    SignatureError ``bad-signature`` where there is a signature and it does not hold.
    """
    if intro.origin != "remote":
        raise RecordError("malformed", "the introduction is not one of a remote node")
    if intro.sig:
        return check_introduction(intro)
    try:
        _check_values(intro)
        return unb64u(intro.public_key, _KEY_BYTES) if intro.public_key else None
    except (ConfigError, ValueError) as error:
        raise RecordError("malformed", f"the introduction is malformed: {error}") from error


def _check_values(intro: Introduction) -> None:
    """ValueError or ConfigError where a value could not be that of a node."""
    if not _NODE_ID.match(intro.node_id):
        raise ValueError("the node id is no lower-case UUID of version 7 or 4")
    if not 0 < len(intro.name.encode()) <= MAX_NAME or _has_controls(intro.name):
        raise ValueError(f"a name has 1 to {MAX_NAME} bytes and no control characters")
    if len(intro.implementation.encode()) > _MAX_IMPLEMENTATION:
        raise ValueError(f"an implementation has at most {_MAX_IMPLEMENTATION} bytes")
    if not 0 <= intro.issued_ms <= _MAX_INTEGER:
        raise ValueError("the time is out of range")
    check_group(intro.group)


def _has_controls(text: str) -> bool:
    return any(unicodedata.category(char) == "Cc" for char in text)


def _preimage(intro: Introduction) -> bytes:
    parts = (
        intro.node_id,
        intro.name,
        intro.group,
        intro.public_key,
        intro.implementation,
        intro.origin,
        str(intro.issued_ms),
    )
    return _DOMAIN + b"".join(map(lp, parts))
