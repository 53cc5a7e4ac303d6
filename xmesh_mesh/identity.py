"""Who a node is: a random id and an Ed25519 key pair, in one private file.

Peers pin the first key that they see for a node id, for good. So a key file that cannot be read
stops the node: minting a new key would cut the node off from everybody who knows it.
"""

import contextlib
import os
import secrets
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated
from uuid import UUID

import msgspec
from nacl.bindings import crypto_sign_seed_keypair

from xmesh_mesh.canonical import b64u, unb64u
from xmesh_mesh.errors import ConfigError
from xmesh_mesh.paths import sync_directory

# Ids of version 4 are tolerated: older MMP nodes have them.
NODE_ID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z"

_KEY_BYTES = 32
_MAX_FILE_BYTES = 65_536
_FINGERPRINT = b"xmesh-fingerprint-v1\n"


@dataclass(frozen=True, slots=True)
class Identity:
    """A node. ``seed`` is the private key: it never leaves the process but into its file."""

    node_id: str  # lower-case UUIDv7
    name: str
    public_key: bytes  # 32 bytes, Ed25519
    seed: bytes = field(repr=False)  # 32 bytes, RFC 8032
    created_ms: int


class _File(msgspec.Struct, rename="camel"):
    node_id: Annotated[str, msgspec.Meta(pattern=NODE_ID_PATTERN)]
    name: str
    created_at: int
    public_key: str
    private_key: str


def create_identity(name: str, now_ms: int) -> Identity:
    """Return a new node with a random id and key; nothing is written."""
    return _from_seed(uuid7(now_ms), name, secrets.token_bytes(_KEY_BYTES), now_ms)


def load_or_create(path: Path, name: str) -> Identity:
    """Return the identity in ``path``, made there (0600) if the file does not exist.

    Two processes that do this at once get the same one. ConfigError where the file cannot be
    read, is open to others, is garbled, or is another node's; it is never replaced.
    """
    try:
        if not path.exists():
            _create(path, create_identity(name, time.time_ns() // 1_000_000))
        return _load(path, name)
    except OSError as error:
        raise ConfigError(
            f"the key file cannot be read or made: {error.strerror}",
            where=str(path),
            fix=f"make {path} readable and its directory writable for this user",
        ) from error


def fingerprint(public_key: bytes) -> str:
    """Return 60 decimal digits in groups of five, for two people to compare aloud."""
    number = int.from_bytes(sha256(_FINGERPRINT + public_key).digest()) % 10**60
    digits = f"{number:060d}"
    return " ".join(digits[start : start + 5] for start in range(0, 60, 5))


def uuid7(now_ms: int) -> str:
    """Return a random UUID version 7 (RFC 9562) whose first 48 bits are ``now_ms``."""
    value = (now_ms & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(UUID(int=value))


def _from_seed(node_id: str, name: str, seed: bytes, created_ms: int) -> Identity:
    public_key, _ = crypto_sign_seed_keypair(seed)
    return Identity(node_id, name, public_key, seed, created_ms)


def _create(path: Path, identity: Identity) -> None:
    """Write a complete file under ``path`` unless there is one; link(2) lets one writer win."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_to_json(identity))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink()
    sync_directory(path.parent)


def _to_json(identity: Identity) -> bytes:
    file = _File(
        node_id=identity.node_id,
        name=identity.name,
        created_at=identity.created_ms,
        public_key=b64u(identity.public_key),
        private_key=b64u(identity.seed),
    )
    return msgspec.json.format(msgspec.json.encode(file)) + b"\n"


def _load(path: Path, name: str) -> Identity:
    with path.open("rb") as file:
        _check_private(path, os.fstat(file.fileno()).st_mode)
        data = file.read(_MAX_FILE_BYTES)
    try:
        content = msgspec.json.decode(data, type=_File)
        seed = unb64u(content.private_key, _KEY_BYTES)
        identity = _from_seed(content.node_id, content.name, seed, content.created_at)
        matches = unb64u(content.public_key, _KEY_BYTES) == identity.public_key
    except (msgspec.MsgspecError, ValueError, RecursionError):
        matches = False
    if not matches:
        # No cause and no detail: either could quote the key.
        raise ConfigError(
            "the key file is garbled",
            where=str(path),
            fix=f"restore it from a backup; or, to become a new node, move it away: "
            f"mv {path} {path}.broken",
        ) from None
    return _check_name(path, identity, name)


def _check_private(path: Path, mode: int) -> None:
    if mode & 0o077:
        raise ConfigError(
            f"other users of this host can reach the private key (mode {mode & 0o777:04o})",
            where=str(path),
            fix=f"chmod 600 {path}",
        )


def _check_name(path: Path, identity: Identity, name: str) -> Identity:
    if identity.name != name:
        raise ConfigError(
            f"the key file belongs to {identity.name!r}, not to {name!r}",
            where=str(path),
            fix="give every peer a key file of its own; a copied one makes two nodes with one id",
        )
    return identity
