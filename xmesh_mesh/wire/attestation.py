"""What nodes sign about each other's records: attestations, checkpoints, witnesses, role grants.

The signed text joins values with ``|``, so no value may hold one: the types see to that, and with
them no two statements have one text. ``method`` is not signed. Source: deployed nodes.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from xmesh_mesh.canonical import FIELDS, b64u
from xmesh_mesh.errors import SignatureError
from xmesh_mesh.signing import sign_bytes, verify_bytes
from xmesh_mesh.wire.types import Count, Label, NodeId

GENESIS = "genesis"

Verdict = Literal["aligned", "guarded", "redundant", "rejected"]
FieldVerdict = Literal["admit", "guard", "redundant", "reject", "silent"]
Word = Annotated[str, Meta(pattern=r"^[^|,]*\Z", max_length=256)]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", max_length=64)]


class _Signed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    sig: Label | None = None
    sig_alg: Label | None = msgspec.field(default=None, name="sigAlg")


class Attestation(_Signed, frozen=True, kw_only=True):
    """``by`` judged the record ``of``; ``seq`` and ``prev`` chain its attestations."""

    of: Annotated[str, Meta(pattern=r"^cmb-[0-9a-f]{64}\Z", max_length=68)]
    by: NodeId
    at: Count
    roster: Word | None = None
    method: Label | None = None
    verdict: Verdict
    categories: Annotated[dict[Label, FieldVerdict], Meta(max_length=32)]
    role: Word
    seq: Count
    prev: Word

    def text(self) -> str:
        fields = ",".join(f"{f}:{self.categories.get(f, '')}" for f in FIELDS)
        judged = (self.of, self.by, self.at, self.roster, self.verdict, fields)
        return _joined((*judged, self.role, self.seq, self.prev))


class Checkpoint(_Signed, frozen=True, kw_only=True):
    """``by`` commits to its chain of attestations up to ``upto_seq``."""

    type: Literal["checkpoint"] = "checkpoint"
    by: NodeId
    roster: Word | None = None
    upto_seq: Count
    root: Hash
    at: Count

    def text(self) -> str:
        return _joined((self.type, self.by, self.roster, self.upto_seq, self.root, self.at))


class Witness(_Signed, frozen=True, kw_only=True):
    """``by`` has seen the checkpoint of ``attester``."""

    type: Literal["witness"] = "witness"
    attester: NodeId
    roster: Word | None = None
    upto_seq: Count
    root: Hash
    by: NodeId
    role: Word
    at: Count

    def text(self) -> str:
        chain = (self.attester, self.roster, self.upto_seq, self.root)
        return _joined((self.type, *chain, self.by, self.role, self.at))


class Grant(_Signed, frozen=True, kw_only=True, rename="camel"):
    """``granted_by`` gives ``grantee`` a role, or takes it away. We confer nothing by it."""

    type: Literal["role-grant", "role-revoke"]
    grantee: NodeId
    role: Word | None = None
    granted_by: NodeId
    granted_at: Count
    grantee_key: Word | None = None

    def text(self) -> str:
        given = (self.granted_by, self.granted_at, self.grantee_key)
        return _joined((self.type, self.grantee, self.role, *given))


Statement = Attestation | Checkpoint | Witness | Grant


def verify_statement(statement: Statement, public_key: bytes) -> None:
    """Return if the key's holder signed it, else SignatureError ``unsigned``, ``bad-signature``."""
    if statement.sig is None or statement.sig_alg != "ed25519":
        raise SignatureError("unsigned", "the statement carries no Ed25519 signature")
    verify_bytes(statement.text().encode(), statement.sig, public_key)


def attest(unsigned: Attestation, seed: bytes) -> Attestation:
    """Return the attestation signed with ``by``'s 32-byte seed; only the peer itself has it."""
    sig = b64u(sign_bytes(unsigned.text().encode(), seed))
    return msgspec.structs.replace(unsigned, sig=sig, sig_alg="ed25519")


def next_prev(last: Attestation | None) -> str:
    """Return ``prev`` for the attestation after ``last``: the hash of its signature's text."""
    if last is None:
        return GENESIS
    return sha256((last.sig or "").encode()).hexdigest()


def checkpoint_root(sigs: Sequence[str]) -> str:
    """Return the root over a chain's signatures; an odd node is paired with itself.

    ValueError on an empty chain.
    """
    if not sigs:
        raise ValueError("a checkpoint covers at least one attestation")
    level = [sha256(sig.encode()).digest() for sig in sigs]
    while len(level) > 1:
        level += level[-1:] * (len(level) % 2)
        level = [sha256(level[i] + level[i + 1]).digest() for i in range(0, len(level), 2)]
    return level[0].hex()


def _joined(values: Sequence[str | int | None]) -> str:
    return "|".join("" if value is None else str(value) for value in values)
