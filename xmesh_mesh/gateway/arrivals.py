"""Is a record that a remote node sent what it must be? Every check before the bus sees it.

What a peer believes it verifies again; here it is kept out of the journal.
"""

from dataclasses import dataclass

from xmesh_mesh.canonical import nfc
from xmesh_mesh.errors import RecordError, SignatureError
from xmesh_mesh.record import Record, encode
from xmesh_mesh.signing import assertion_id, verify

__all__ = ["Arrival", "Author", "check_arrival"]


@dataclass(frozen=True, slots=True)
class Author:
    """A remote node as the handshake and the pins know it.

    ``may_be_unsigned``: the trust mode is open, and it has never signed.
    """

    node_id: str
    name: str
    public_key: bytes | None
    may_be_unsigned: bool


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record for the bus."""

    assertion: str
    data: bytes
    to: str | None
    signed: bool


def check_arrival(record: Record, author: Author, *, group: str, own_id: str) -> Arrival:
    """Return what is to be published.

    RecordError: what ``signing.verify`` raises, ``wrong-author``, ``wrong-audience``,
    ``wrong-recipient``, ``too-large``.
    """
    signed = _check_signature(record, author)
    _check_author(record, author)
    if nfc(record.group or "") != nfc(group):
        raise RecordError("wrong-audience", f"the record is for group {record.group}")
    if record.to not in {None, "", own_id}:
        raise RecordError("wrong-recipient", f"the record is for {record.to}")
    return Arrival(assertion_id(record), encode(record), record.to or None, signed)


def _check_signature(record: Record, author: Author) -> bool:
    if record.sig is None and author.may_be_unsigned:
        return False
    if author.public_key is None:
        raise SignatureError("unsigned", "the node has shown no key to verify its records with")
    verify(record, author.public_key)
    return True


def _check_author(record: Record, author: Author) -> None:
    """Hold name and node id against those of whom the link belongs to."""
    if record.created_by != author.name:
        raise RecordError("wrong-author", f"{author.name} brings a record of {record.created_by}")
    if record.created_by_node_id not in {None, author.node_id}:
        raise RecordError("wrong-author", f"{author.node_id} signs as {record.created_by_node_id}")
