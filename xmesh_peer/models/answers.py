"""From a vendor's bytes to a clean answer. A pure core that believes nothing of what it reads.

Rules for the tool's arguments: they are one JSON object. Strings are taken, numbers and booleans
are written out as JSON writes them, null means absent, a list or an object is malformed. A field
that the tool does not have is dropped and named. Control characters (C0, DEL, C1; newline and tab
stay) and lone surrogates are removed, blanks around the text too, and each text is cut at
``MAX_TEXT`` characters. Fields that end up blank are absent; a call without any field at all is a
declined answer; one with unknown fields only is malformed.
"""

from collections.abc import AsyncIterable, Mapping, Sequence
from typing import Any

import msgspec

from xmesh_peer.models.base import Billed, ModelAnswer, ModelError, Tool, Usage

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_TEXT",
    "ToolCall",
    "answer",
    "clean",
    "decode_object",
    "malformed",
    "read_bounded",
    "usage_of",
]

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_TEXT = 4000
MAX_TOKENS = 100_000_000
MAX_NAME = 64
MAX_DROPPED = 16

_UNSAFE = dict.fromkeys(
    [*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000)],
)

ToolCall = tuple[str, Any]
"""Name and arguments of one tool call; the arguments as JSON text or as an object."""


def malformed(what: str, billed: Billed) -> ModelError:
    """The error to raise for an answer that makes no sense; asking again would cost the same."""
    return ModelError("malformed", what, retryable=False, billed=billed)


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """``text`` without control characters and outer blanks, at most ``limit`` characters."""
    return text.translate(_UNSAFE).strip()[:limit].rstrip()


async def read_bounded(chunks: AsyncIterable[bytes], limit: int = MAX_BODY_BYTES) -> bytes:
    """All of ``chunks``; a body of more than ``limit`` bytes is malformed and not read on."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise malformed(f"the answer is larger than {limit} bytes", "unknown")
    return bytes(body)


def decode_object(body: bytes | str, what: str, billed: Billed = "unknown") -> dict[str, Any]:
    """The JSON object in ``body``; ``what`` names it in the error."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise malformed(f"{what} is not JSON", billed) from None
    if not isinstance(value, dict):
        raise malformed(f"{what} is not an object", billed)
    return value


def usage_of(value: object, inputs: Sequence[str], outputs: Sequence[str]) -> Usage | None:
    """Token counts added up from ``value``; None unless every count there is a sane integer.

    The first name of each side has to be there, the others may be absent or null.
    """
    if not isinstance(value, Mapping):
        return None
    sums = [_sum(value, names) for names in (inputs, outputs)]
    if sums[0] is None or sums[1] is None:
        return None
    return Usage(sums[0], sums[1])


def _sum(counts: Mapping[Any, Any], names: Sequence[str]) -> int | None:
    total = 0
    for index, name in enumerate(names):
        count = counts.get(name)
        if count is None and index > 0:
            continue
        if type(count) is not int or not 0 <= count <= MAX_TOKENS:
            return None
        total += count
    return total


def answer(
    tool: Tool | None,
    calls: Sequence[ToolCall],
    *,
    text: str,
    usage: Usage | None,
    refused: bool = False,
    truncated: bool = False,
) -> ModelAnswer:
    """The answer in these ``calls``: the first call of ``tool`` counts, a refusal overrides it.

    Raises ``ModelError`` "malformed", billed by ``usage`` where there is one.
    """
    billed: Billed = "unknown" if usage is None else usage
    arguments: dict[str, str] | None = None
    dropped: tuple[str, ...] = ()
    if calls and not refused:
        if tool is None:
            raise malformed("the model called a tool that it was not given", billed)
        raw = _object(_first(tool, calls, billed), truncated=truncated, billed=billed)
        arguments, dropped = _fields(tool, raw, billed)
    return ModelAnswer(arguments or None, clean(text), usage, refused, truncated, dropped)


def _first(tool: Tool, calls: Sequence[ToolCall], billed: Billed) -> object:
    for name, arguments in calls:
        if name == tool.name:
            return arguments
    raise malformed("the model called a tool that it was not given", billed)


def _object(raw: object, *, truncated: bool, billed: Billed) -> Mapping[Any, Any]:
    if raw is None or raw == "":
        return {}
    if isinstance(raw, Mapping):
        return raw
    if not isinstance(raw, str):
        raise malformed("the tool's arguments are not an object", billed)
    try:
        return decode_object(raw, "the text of the tool's arguments", billed)
    except ModelError:
        if truncated:
            what = "truncated: the answer hit max_tokens within the tool call"
            raise malformed(what, billed) from None
        raise


def _fields(
    tool: Tool, raw: Mapping[Any, Any], billed: Billed
) -> tuple[dict[str, str], tuple[str, ...]]:
    known: Mapping[str, Any] = tool.parameters["properties"]
    dropped = [clean(str(name), MAX_NAME) for name in raw if name not in known]
    texts = {name: _text(name, raw[name], billed) for name in known if name in raw}
    if dropped and not texts:
        raise malformed("the tool call has none of the tool's fields", billed)
    spoken = {name: text for name, text in texts.items() if text}
    return spoken, tuple(dropped[:MAX_DROPPED])


def _text(name: str, value: object, billed: Billed) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool | int | float):
        return clean(msgspec.json.encode(value).decode())
    raise malformed(f"field {name} of the tool call is not text", billed)
