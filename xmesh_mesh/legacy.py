"""Retired addresses and signatures, to check what older nodes left behind. Nothing mints them.

``root-v1`` and ``remix-v1`` are flat hashes under today's ``cmb-`` prefix; the 1.x scheme has the
prefix ``cmb1-``, binds a remix to its receiver, and signs with ``mmp-sig-v1``. Source: MMP 1.1,
sections 8.2.1 and 18.3.1.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from xmesh_mesh.canonical import flat_preimage, lp, nfc
from xmesh_mesh.signing import verify_bytes

_V1 = b"mmp-sig-v1\n"


def root_v1(texts: Mapping[str, str]) -> str:
    return "cmb-" + _digest(flat_preimage(texts, ["root"]))


def remix_v1(texts: Mapping[str, str], parents: Sequence[str]) -> str:
    tail = ["remix", str(len(parents)), *sorted(parents)]
    return "cmb-" + _digest(flat_preimage(texts, tail))


def root_1x(texts: Mapping[str, str]) -> str:
    return "cmb1-" + _digest(flat_preimage(texts, ["root"]))


def remix_1x(texts: Mapping[str, str], parents: Sequence[str], receiver: str) -> str:
    """Return the address that ``receiver``, by its name, gave to what it made of ``parents``."""
    tail = ["remix", str(len(parents)), *sorted(parents), receiver]
    return "cmb1-" + _digest(flat_preimage(texts, tail))


def preimage_v1(key: str, created_by: str, created_ms: int, group: str, to: str = "") -> bytes:
    """Return what ``mmp-sig-v1`` signs; an empty ``to`` is a broadcast."""
    parts = (key, nfc(created_by), str(created_ms), nfc(group), to)
    return _V1 + b"".join(map(lp, parts))


def verify_v1(preimage: bytes, sig: str, public_key: bytes) -> None:
    """Return if the key's holder signed ``preimage``, else SignatureError ``bad-signature``."""
    verify_bytes(preimage, sig, public_key)


def _digest(preimage: bytes) -> str:
    return sha256(preimage).hexdigest()
