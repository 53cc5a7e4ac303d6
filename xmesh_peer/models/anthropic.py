"""Anthropic's messages API."""

from typing import Any

import anthropic

from xmesh_peer.models.answers import (
    ToolCall,
    answer,
    decode_object,
    malformed,
    read_bounded,
    usage_of,
)
from xmesh_peer.models.base import Billed, ModelAnswer, ModelRequest, Tool
from xmesh_peer.models.failures import Endpoint, guarded

__all__ = ["AnthropicModel", "parameters", "read_answer"]

SAMPLING_VERSION = "2023-06-01"
"""The last version of the API that takes a temperature; later ones answer 400 to any."""

INPUTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class AnthropicModel:
    """One Claude model behind ``endpoint``; satisfies ``Model``."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client = anthropic.AsyncAnthropic(
            api_key=endpoint.secret or "none",
            base_url=endpoint.base_url,
            max_retries=0,
            http_client=anthropic.DefaultAsyncHttpxClient(follow_redirects=False),
        )

    async def call(self, request: ModelRequest) -> ModelAnswer:
        async with guarded(self._endpoint, request.timeout_s):
            create = self._client.messages.with_streaming_response.create
            sent = parameters(self._endpoint, request)
            async with create(**sent, timeout=request.timeout_s) as response:
                body = await read_bounded(response.iter_bytes())
            return read_answer(request.tool, decode_object(body, "the answer"))

    async def close(self) -> None:
        await self._client.close()


def parameters(endpoint: Endpoint, request: ModelRequest) -> dict[str, Any]:
    """The arguments of the SDK's ``create``."""
    sent: dict[str, Any] = {
        "model": endpoint.model,
        "system": request.system,
        "messages": [{"role": one.role, "content": one.content} for one in request.messages],
        "max_tokens": request.max_tokens,
    }
    if request.tool is not None:
        sent["tools"] = [_tool(request.tool)]
        sent["tool_choice"] = {"type": "auto"}
    if request.temperature is not None:
        sent["extra_body"] = {"temperature": request.temperature}
        sent["extra_headers"] = {"anthropic-version": SAMPLING_VERSION}
    return sent


def _tool(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.parameters,
    }


def read_answer(tool: Tool | None, body: dict[str, Any]) -> ModelAnswer:
    """The answer in a message's ``body``. Raises ``ModelError`` "malformed"."""
    usage = usage_of(body.get("usage"), INPUTS, ["output_tokens"])
    billed: Billed = "unknown" if usage is None else usage
    blocks = body.get("content")
    if not isinstance(blocks, list) or not all(isinstance(one, dict) for one in blocks):
        raise malformed("the answer has no content blocks", billed)
    reason = body.get("stop_reason")
    if reason == "max_tokens" and blocks and blocks[-1].get("type") == "tool_use":
        raise malformed("truncated: the answer hit max_tokens within the tool call", billed)
    return answer(
        tool,
        _calls(blocks, billed),
        text=_text(blocks),
        usage=usage,
        refused=reason == "refusal",
        truncated=reason == "max_tokens",
    )


def _calls(blocks: list[dict[str, Any]], billed: Billed) -> list[ToolCall]:
    uses = [one for one in blocks if one.get("type") == "tool_use"]
    if any(isinstance(one.get("input"), str) for one in uses):
        raise malformed("the tool's input is text, not an object", billed)
    return [(one.get("name", ""), one.get("input")) for one in uses]


def _text(blocks: list[dict[str, Any]]) -> str:
    texts = [one.get("text") for one in blocks if one.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))
