"""What an author signs, and how a receiver finds out whether it did.

Two suites: ``mmp-sig-v2``, which deployed nodes emit and so do we, and ``mmp-sig-v2.0``, the
published one. Both bind address, author, time, room, recipient, block parents and every field's
parents. Not bound: mood's numbers, ``lineage.method``, the per-field ``meta.key``.
"""

from dataclasses import replace
from hashlib import sha256

from nacl.bindings import (
    crypto_sign,
    crypto_sign_BYTES,
    crypto_sign_open,
    crypto_sign_PUBLICKEYBYTES,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import CryptoError

from xmesh_mesh.canonical import (
    b64u,
    content_address,
    counted,
    is_key,
    lp,
    nfc,
    parents_commitment,
    unb64u,
)
from xmesh_mesh.errors import SignatureError
from xmesh_mesh.record import ADDRESS_SCHEME, SUITE_PUBLISHED, Application, Record

_V2 = b"mmp-sig-v2\n"
_V2_0 = b"mmp-sig-v2.0\n"
_APPLICATION = b"mmp-app-v1\n"


def signing_preimage(record: Record) -> bytes:
    """Return the bytes that the record's signature covers, for the record's suite."""
    if record.suite == SUITE_PUBLISHED:
        return _published_preimage(record)
    parts = (
        record.key,
        nfc(record.created_by),
        str(record.created_ms),
        nfc(record.group or ""),
        nfc(record.to or ""),
    )
    return _V2 + b"".join(map(lp, parts)) + counted(record.parents) + _fields_commitment(record)


def assertion_id(record: Record) -> str:
    """Return 64 hex digits that identify this emit: who said what, when, to whom, after what."""
    return sha256(signing_preimage(record)).hexdigest()


def sign(record: Record, seed: bytes) -> Record:
    """Return ``record`` with its author's signature; ``seed`` is the 32-byte Ed25519 seed."""
    return replace(record, sig=b64u(sign_bytes(signing_preimage(record), seed)))


def verify(record: Record, public_key: bytes) -> None:
    """Return if the holder of ``public_key`` signed exactly this record, else SignatureError.

    Codes, in the order of the checks: ``unsigned``, ``legacy-key-rejected`` (an address of a
    retired scheme), ``bad-signature``, ``content-mismatch`` (words that are not the address's).
    """
    if record.sig is None:
        raise SignatureError("unsigned", "the record carries no signature")
    if not is_key(record.key):
        raise SignatureError("legacy-key-rejected", "the record's address is of a retired scheme")
    verify_bytes(signing_preimage(record), record.sig, public_key)
    _check_words(record)


def check_unsigned(record: Record) -> None:
    """Return if the record, which nobody vouches for, at least is what its address says.

    SignatureError as in ``verify``; ``bad-signature`` where it does carry a signature.
    """
    if record.sig is not None:
        raise SignatureError("bad-signature", "nobody's key is known for this signature")
    if not is_key(record.key):
        raise SignatureError("legacy-key-rejected", "the record's address is of a retired scheme")
    _check_words(record)


def _check_words(record: Record) -> None:
    if content_address(record.texts()) != record.key:
        raise SignatureError("content-mismatch", "the record's words are not those of its address")
    if record.application is not None and not _intact(record.application):
        raise SignatureError("content-mismatch", "the record's payload is not the one it describes")


def sign_bytes(message: bytes, seed: bytes) -> bytes:
    """Return the 64-byte Ed25519 signature of ``message``."""
    _, secret_key = crypto_sign_seed_keypair(seed)
    return crypto_sign(message, secret_key)[:crypto_sign_BYTES]


def verify_bytes(message: bytes, sig: str, public_key: bytes) -> None:
    """Return if ``sig`` (base64url) signs ``message``, else SignatureError ``bad-signature``."""
    try:
        if len(public_key) != crypto_sign_PUBLICKEYBYTES:
            raise ValueError("not a public key")
        crypto_sign_open(unb64u(sig, crypto_sign_BYTES) + message, public_key)
    except (CryptoError, ValueError) as error:
        raise SignatureError("bad-signature", "the signature is not this author's") from error


def _published_preimage(record: Record) -> bytes:
    head = (
        "2.0",
        ADDRESS_SCHEME,
        record.key,
        record.created_by_node_id or "",
        nfc(record.created_by),
        str(record.created_ms),
        # Deployed JavaScript renders an absent room as this word.
        "null" if record.group is None else nfc(record.group),
        record.to or "",
    )
    tail = _fields_commitment(record) + lp(_application_commitment(record.application))
    return _V2_0 + b"".join(map(lp, head)) + counted(record.parents) + tail


def _fields_commitment(record: Record) -> bytes:
    return lp(parents_commitment(record.category_parents()))


def _application_commitment(application: Application | None) -> str:
    if application is None:
        return sha256(_APPLICATION + lp("0")).hexdigest()
    parts = (
        "1",
        application.media_type,
        nfc(application.schema),
        "base64url",
        str(application.byte_length),
        application.digest,
    )
    return sha256(_APPLICATION + b"".join(map(lp, parts))).hexdigest()


def _intact(application: Application) -> bool:
    """Return whether the payload, where it travels along, is the described one."""
    if application.data is None:
        return True
    try:
        data = unb64u(application.data, application.byte_length)
    except ValueError:
        return False
    return application.digest == f"sha256-{sha256(data).hexdigest()}"
