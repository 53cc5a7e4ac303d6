"""What a bus and its clients say to each other: one msgpack map a frame, told apart by its tag.

A client speaks ``Hello`` first and is a *member* (a durable cursor), a *publisher* (introduced, no
cursor), a *tail* (reads along from a place of its choice) or the *gateway* of a group (reads along,
and speaks for remote nodes; see ``edge_frames``). Everything that arrives is checked against these
types and bounds before anybody looks at it.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from xmesh_mesh.bus.edge_frames import (
    Attest,
    Attested,
    Collide,
    Introduce,
    Proof,
    ProofAsked,
    Prove,
    Proved,
    Unproved,
)
from xmesh_mesh.bus.frame_types import (
    MAX_FRAME_BYTES,
    MAX_WINDOW,
    Assertion,
    Frame,
    GroupName,
    NodeId,
    RequestNumber,
    Role,
    Seq,
    Token,
)
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


class Hello(Frame, frozen=True):
    """The first frame of a connection. ``session`` is the same for as long as the client lives.

    ``position`` is the (epoch, seq) up to which a member or gateway holds everything in its own
    store. ``group`` and ``since`` are a tail's or gateway's: it reads what came after ``since``, or
    what comes now; a gateway's ``position`` comes before its ``since``.
    """

    session: Token
    role: Role
    introduction: Introduction | None = None
    position: tuple[Token, Seq] | None = None
    window: Annotated[int, Meta(ge=1, le=MAX_WINDOW)] = 64
    own: bool = False
    group: GroupName = ""
    since: Seq | None = None


class Publish(Frame, frozen=True):
    """``author`` and ``history`` are a gateway's: a remote node that it has introduced said this;
    and it is old news, which is remembered and wakes nobody."""

    request: RequestNumber
    assertion: Assertion
    record: bytes
    to: NodeId | None = None
    author: NodeId | None = None
    history: bool = False


class Ack(Frame, frozen=True):
    """Everything up to and including ``seq`` is in the client's own hands."""

    seq: Seq


class Ping(Frame, frozen=True):
    pass


class Status(Frame, frozen=True):
    pass


class Leave(Frame, frozen=True):
    """The client ends. A member stays a living member."""


class Remove(Frame, frozen=True):
    """An operator's word: the node is not a living member any more; with ``remote``, a node of
    another host, and nobody else, is known no more."""

    node_id: NodeId
    remote: bool = False


class Welcome(Frame, frozen=True):
    """``members``: everybody in the group whose records may come, publishers included."""

    epoch: str
    head: int
    cursor: int
    members: list[Introduction]


class Introduced(Frame, frozen=True):
    introduction: Introduction


class Accepted(Frame, frozen=True):
    """The record is in the journal, on disk, as ``seq``; so is an introduction, whose seq is 0."""

    request: int
    seq: int


class Refused(Frame, frozen=True):
    """``request`` is None where the refusal is for the client itself, not for one record."""

    request: int | None
    code: str
    text: str = ""


class Deliver(Frame, frozen=True):
    seq: int
    author: str
    assertion: str
    record: bytes
    accepted_ms: int
    history: bool = False


class Pong(Frame, frozen=True):
    pass


class Left(Frame, frozen=True):
    pass


class Removed(Frame, frozen=True):
    """``found``: whether the node was a living member, or a known remote, until now."""

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


class StatusReply(Frame, frozen=True):
    epoch: str
    head: int
    pid: int
    members: list[MemberStatus]
    records: int
    cut: int = 0
    sessions: int = 0


EdgeRequest = Introduce | Prove | Proof | Collide | Attest
EdgeAnswer = ProofAsked | Proved | Unproved | Attested
Request = Hello | Publish | Ack | Ping | Status | Leave | Remove | EdgeRequest
Answer = (
    Welcome | Introduced | Accepted | Refused | Deliver | Pong | Left | Removed | StatusReply
    | EdgeAnswer
)  # fmt: skip

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
