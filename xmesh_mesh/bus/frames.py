"""What a bus and its clients say to each other: one msgpack map a frame, told apart by its tag.

A client speaks ``Hello`` first and is a *member* (a durable cursor), a *publisher* (introduced, no
cursor) or a *tail* (reads along from a place of its choice). Everything that arrives is checked
against these types and bounds before anybody looks at it.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from xmesh_mesh.errors import RecordError
from xmesh_mesh.introduction import Introduction
from xmesh_mesh.record import MAX_RECORD_BYTES

__all__ = [
    "MAX_FRAME_BYTES",
    "MAX_RECORD_BYTES",
    "MAX_WINDOW",
    "Accepted",
    "Ack",
    "Answer",
    "Deliver",
    "Hello",
    "Introduced",
    "Leave",
    "Left",
    "MemberStatus",
    "Ping",
    "Pong",
    "Publish",
    "Refused",
    "Remove",
    "Removed",
    "Request",
    "Role",
    "Status",
    "StatusReply",
    "Welcome",
    "decode_answer",
    "decode_request",
    "encode",
]

MAX_WINDOW = 1_024
# ZeroMQ cuts a connection that sends more than this. It is far above a record's bound, so that a
# record somewhat too large is refused by name.
MAX_FRAME_BYTES = 1_048_576

Role = Literal["member", "publisher", "tail"]
Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)]
RequestNumber = Annotated[int, Meta(ge=0, le=2**53)]
NodeId = Annotated[str, Meta(min_length=1, max_length=64)]
Token = Annotated[str, Meta(min_length=1, max_length=64)]
Assertion = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
# Wider than ``check_group`` allows, so that a wrong one is refused with a sentence.
GroupName = Annotated[str, Meta(max_length=64)]


class _Frame(msgspec.Struct, frozen=True, tag_field="t", tag=str.lower):
    pass


class Hello(_Frame, frozen=True):
    """The first frame of a connection. ``session`` is the same for as long as the client lives.

    ``position`` is the (epoch, seq) up to which a member holds everything in its own store.
    ``group`` and ``since`` are a tail's: it reads what came after ``since``, or what comes now.
    """

    session: Token
    role: Role
    introduction: Introduction | None = None
    position: tuple[Token, Seq] | None = None
    window: Annotated[int, Meta(ge=1, le=MAX_WINDOW)] = 64
    own: bool = False
    group: GroupName = ""
    since: Seq | None = None


class Publish(_Frame, frozen=True):
    request: RequestNumber
    assertion: Assertion
    record: bytes
    to: NodeId | None = None


class Ack(_Frame, frozen=True):
    """Everything up to and including ``seq`` is in the client's own hands."""

    seq: Seq


class Ping(_Frame, frozen=True):
    pass


class Status(_Frame, frozen=True):
    pass


class Leave(_Frame, frozen=True):
    """The client ends. A member stays a living member."""


class Remove(_Frame, frozen=True):
    """An operator's word: the node is not a living member any more."""

    node_id: NodeId


class Welcome(_Frame, frozen=True):
    """``members``: everybody in the group whose records may come, publishers included."""

    epoch: str
    head: int
    cursor: int
    members: list[Introduction]


class Introduced(_Frame, frozen=True):
    introduction: Introduction


class Accepted(_Frame, frozen=True):
    """The record is in the journal, on disk, as ``seq``."""

    request: int
    seq: int


class Refused(_Frame, frozen=True):
    """``request`` is None where the refusal is for the client itself, not for one record."""

    request: int | None
    code: str
    text: str = ""


class Deliver(_Frame, frozen=True):
    seq: int
    author: str
    assertion: str
    record: bytes
    accepted_ms: int


class Pong(_Frame, frozen=True):
    pass


class Left(_Frame, frozen=True):
    pass


class Removed(_Frame, frozen=True):
    """``found``: whether the node was a living member until now."""

    node_id: str
    found: bool


class MemberStatus(msgspec.Struct, frozen=True):
    """``pending`` is undelivered or unacknowledged; ``lost`` is what retention cut before that."""

    node_id: str
    name: str
    group: str
    cursor: int
    pending: int
    connected: bool
    lost: int


class StatusReply(_Frame, frozen=True):
    epoch: str
    head: int
    pid: int
    members: list[MemberStatus]
    records: int
    cut: int = 0
    sessions: int = 0


Request = Hello | Publish | Ack | Ping | Status | Leave | Remove
Answer = Welcome | Introduced | Accepted | Refused | Deliver | Pong | Left | Removed | StatusReply

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode(frame: Request | Answer) -> bytes:
    return _encoder.encode(frame)


def decode_request(data: bytes) -> Request:
    """Return what a client says; raise RecordError ``malformed`` for anything else."""
    try:
        return _requests.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RecordError("malformed", str(error)) from None


def decode_answer(data: bytes) -> Answer:
    """Return what the bus says; raise RecordError ``malformed`` for anything else."""
    try:
        return _answers.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RecordError("malformed", str(error)) from None
