"""The byte forms that addresses and signatures are computed over.

MMP hashes text as ``lp(s)``: the decimal byte length of UTF-8(s), a colon, UTF-8(s). Text that
people wrote is brought to Unicode NFC first. A string with a lone surrogate has no UTF-8 form;
``lp`` raises UnicodeEncodeError on it, and records are refused before it could come here.
"""

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from unicodedata import normalize

FIELDS: tuple[str, ...] = (
    "focus",
    "issue",
    "intent",
    "motivation",
    "commitment",
    "perspective",
    "mood",
)

_CONTENT = b"mmp-cmb-v1\n"
_PARENTS = b"mmp-fp-v1\n"
_KEY = re.compile(r"cmb-[0-9a-f]{64}\Z")


def nfc(text: str) -> str:
    return text if text.isascii() else normalize("NFC", text)


def lp(text: str) -> bytes:
    """Return ``text`` as its length and bytes, so that no two lists of texts look alike."""
    data = text.encode()
    return b"%d:%b" % (len(data), data)


def counted(refs: Sequence[str]) -> bytes:
    """Return how many refs there are, and the refs in the order of their UTF-8 bytes."""
    # Code points sort as their UTF-8 bytes do.
    return lp(str(len(refs))) + b"".join(map(lp, sorted(refs)))


def b64u(data: bytes) -> str:
    """Encode as base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64u(text: str, size: int) -> bytes:
    """Decode the one spelling that ``b64u`` gives to ``size`` bytes; ValueError on any other."""
    try:
        data = urlsafe_b64decode(text + "==")  # more padding than is needed is ignored
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64url") from error
    if len(data) != size or b64u(data) != text:
        raise ValueError(f"not {size} bytes in base64url")
    return data


def is_key(text: str) -> bool:
    """Return whether ``text`` is a content address of the current scheme."""
    return _KEY.match(text) is not None


def category_key(field: str, text: str) -> bytes:
    """Return the 32 bytes that address one field's text."""
    return sha256(_CONTENT + lp(field) + lp(nfc(text))).digest()


def content_address(texts: Mapping[str, str]) -> str:
    """Return the Merkle address of seven texts (block-v2); a missing one counts as empty."""
    level = [sha256(b"\0" + category_key(f, texts.get(f, ""))).digest() for f in FIELDS]
    while len(level) > 1:
        pairs = [_join(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
    return f"cmb-{level[0].hex()}"


def parents_commitment(parents: Mapping[str, Sequence[str]]) -> str:
    """Return the hash that binds every field's own parents into a signature."""
    body = b"".join(lp(field) + counted(parents.get(field, ())) for field in FIELDS)
    return sha256(_PARENTS + body).hexdigest()


def flat_preimage(texts: Mapping[str, str], tail: Iterable[str]) -> bytes:
    """Return what the retired flat addresses hash: seven texts, then ``tail``."""
    parts = [nfc(texts.get(field, "")) for field in FIELDS]
    return _CONTENT + b"".join(map(lp, [*parts, *tail]))


def _join(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()
