"""Records in frames: into a ``cmb`` and out of it, and the answers to ``cmb-fetch``."""

import msgspec
from msgspec import Raw

from xmesh_mesh.canonical import content_address
from xmesh_mesh.errors import RecordError
from xmesh_mesh.record import Record, decode, to_wire
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import Cmb, CmbBody, CmbFetch, CmbFetchResult

_encode = msgspec.json.Encoder().encode
_body = msgspec.json.Decoder(CmbBody)


def body_of(record: Record) -> CmbBody:
    """Return the record in clear, without anything that it did not sign beside it."""
    wire = to_wire(record)
    return CmbBody(
        categories=Raw(_encode(wire["categories"])), metadata=Raw(_encode(wire["metadata"]))
    )


def record_of(body: CmbBody) -> Record:
    """Read the record, unverified; RecordError. WireError ``no-secret`` if it is encrypted."""
    if body.sealing is not None:
        raise WireError("no-secret")
    return joined(bytes(body.categories), bytes(body.metadata))


def joined(categories: bytes, metadata: bytes) -> Record:
    """Read a record from two pieces of JSON, each known to be one value; RecordError."""
    return decode(b'{"categories":%b,"metadata":%b}' % (categories, metadata))


def cmb(record: Record, *, body: CmbBody | None = None, anchor: bool = False) -> Cmb:
    """Return the frame for a record, or for ``body``, what encryption has made of it.

    A directed one says so in all three places that deployed nodes look at.
    """
    return Cmb(
        cmb=body or body_of(record),
        timestamp=record.created_ms,
        to=record.to,
        directed=record.to is not None,
        anchor=anchor,
    )


def fetch_answer(request: CmbFetch, record: Record | None, now_ms: int) -> CmbFetchResult:
    """Return the answer that gives ``record`` away, or says that there is none."""
    return CmbFetchResult(
        req_id=request.req_id,
        key=request.key,
        found=record is not None,
        cmb=Raw(_encode(body_of(record)) if record else b"null"),
        timestamp=now_ms,
    )


def fetched(result: CmbFetchResult, key: str) -> Record | None:
    """Return the record that was asked for by ``key``, unverified, or None if there is none.

    RecordError: ``malformed``, or ``content-mismatch`` where it is not the one asked for.
    """
    if not result.found:
        return None
    try:
        record = record_of(_body.decode(result.cmb))
    except (msgspec.MsgspecError, ValueError, RecursionError, WireError) as error:
        raise RecordError("malformed", str(error)[:200]) from None
    if not key == result.key == record.key == content_address(record.texts()):
        raise RecordError("content-mismatch", "the answer is not the record that was asked for")
    return record
