"""What the gateway and the bus say to each other, and what the members are asked on its behalf.

The gateway vouches for remote nodes and carries their records. It holds no key: what a handshake
must prove, it asks of the member whose key it is, who signs nothing else on request.
"""

from typing import Annotated, Literal

from msgspec import Meta

from xmesh_mesh.bus.frame_types import Frame, NodeId, RequestNumber, Token
from xmesh_mesh.introduction import Introduction

__all__ = [
    "MAX_STATEMENT_BYTES",
    "MAX_TEXT",
    "MAX_TRANSCRIPT_BYTES",
    "Attest",
    "Attested",
    "Collide",
    "Introduce",
    "Proof",
    "ProofAsked",
    "ProofRole",
    "Prove",
    "Proved",
    "Unproved",
]

MAX_TRANSCRIPT_BYTES = 16_384
MAX_STATEMENT_BYTES = 8_192
MAX_TEXT = 1_024

ProofRole = Literal["client", "server"]
Transcript = Annotated[bytes, Meta(max_length=MAX_TRANSCRIPT_BYTES)]
Statement = Annotated[bytes, Meta(max_length=MAX_STATEMENT_BYTES)]
Signature = Annotated[str, Meta(max_length=128)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]


class Introduce(Frame, frozen=True):
    """Gateway: a remote node is there. ``origin`` is "remote"; ``sig`` may be empty."""

    request: RequestNumber
    introduction: Introduction


class Prove(Frame, frozen=True):
    """Gateway: let the member prove, in this role, that it takes part in this handshake."""

    proof: RequestNumber
    node_id: NodeId
    role: ProofRole
    transcript: Transcript


class Collide(Frame, frozen=True):
    """Gateway: somebody else lives under the member's identity; the member must end."""

    node_id: NodeId
    text: Text


class Proof(Frame, frozen=True):
    """Member: the answer to ``ProofAsked``; an empty ``sig`` declines."""

    token: Token
    sig: Signature = ""


class Attest(Frame, frozen=True):
    """Member: a signed statement about somebody's record, for the world; kept nowhere."""

    statement: Statement


class ProofAsked(Frame, frozen=True):
    """To the member."""

    token: str
    role: ProofRole
    transcript: bytes


class Proved(Frame, frozen=True):
    """To the gateway."""

    proof: int
    sig: str


class Unproved(Frame, frozen=True):
    """To the gateway; ``code`` is ``not-connected``, ``declined``, ``timeout`` or ``busy``."""

    proof: int
    code: str


class Attested(Frame, frozen=True):
    """To the gateway: what a member of its group has stated."""

    node_id: str
    statement: bytes
