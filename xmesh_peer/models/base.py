"""What every model looks like from inside a peer: one request, one answer, one kind of error.

Nothing here knows a vendor. ``billed`` is the word that the money depends on: see ``ModelError``.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from xmesh_mesh.errors import XmeshError

__all__ = [
    "EMIT_CMB",
    "Billed",
    "ErrorKind",
    "Message",
    "Model",
    "ModelAnswer",
    "ModelError",
    "ModelRequest",
    "Tool",
    "Usage",
]

ErrorKind = Literal[
    "auth", "rate-limit", "server", "timeout", "connection", "malformed", "bad-request"
]


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Tool:
    """``parameters`` is a JSON Schema of type object; its properties are the only known fields."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """``max_tokens`` bounds the output; ``timeout_s`` bounds the call, connect to last byte.

    Without a tool, the answer is plain text.
    """

    system: str
    messages: tuple[Message, ...]
    tool: Tool | None
    max_tokens: int
    temperature: float | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the vendor bills them: cached input is input, reasoning is output."""

    input_tokens: int
    output_tokens: int


Billed = Literal["no", "unknown"] | Usage


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What the model said, cleaned.

    ``arguments``: the tool call's known fields, each a non-blank string, never an empty mapping;
    None when the model declined. ``dropped``: names of fields that the tool does not have.
    ``usage``: None when the vendor did not state it (it then counts at the worst case).
    """

    arguments: dict[str, str] | None
    text: str
    usage: Usage | None
    refused: bool = False
    truncated: bool = False
    dropped: tuple[str, ...] = ()


class Model(Protocol):
    """A model that can be asked. A call raises ``ModelError`` and is never repeated in here."""

    async def call(self, request: ModelRequest) -> ModelAnswer: ...

    async def close(self) -> None: ...


class ModelError(XmeshError):
    """A call without an answer.

    ``billed``: "no" only where the vendor refused before it ran the model; "unknown" must be
    charged at the worst case; a ``Usage`` is what the vendor says that it charged.
    ``retryable``: the same request may succeed later. ``retry_after_s``: the vendor's own wish.
    """

    def __init__(
        self,
        kind: ErrorKind,
        what: str,
        *,
        retryable: bool,
        billed: Billed,
        retry_after_s: float | None = None,
        where: str = "",
        fix: str = "",
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.kind: ErrorKind = kind
        self.retryable = retryable
        self.billed: Billed = billed
        self.retry_after_s = retry_after_s


_FIELDS = {
    "focus": "What this message is about: the subject, in a phrase or a short sentence.",
    "issue": "What is wrong, missing, risky or undecided, if anything is.",
    "intent": "What you want to happen next, and who should do it.",
    "motivation": "Why it matters: the reason or the evidence behind it.",
    "commitment": "What you have done, or promise to do, in checkable words.",
    "perspective": "The standpoint you speak from, and what you may not be able to see from there.",
    "mood": "How the work feels to you right now, in a few words.",
}

EMIT_CMB = Tool(
    name="emit_cmb",
    description=(
        "Say something to your group. Call it once, and only if you add something new that a"
        " member can use. Fill only the fields you have something to say in, in plain text. To"
        " stay silent, do not call it."
    ),
    parameters={
        "type": "object",
        "properties": {
            name: {"type": "string", "description": text} for name, text in _FIELDS.items()
        },
        "additionalProperties": False,
    },
)
