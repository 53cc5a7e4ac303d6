"""OpenAI's chat completions: for OpenAI, Mistral and every server that speaks the same API."""

from typing import Any
from urllib.parse import urlsplit

import openai

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

__all__ = ["OpenAIModel", "parameters", "read_answer"]

OPENAI_HOST = "api.openai.com"


class OpenAIModel:
    """One chat model behind ``endpoint``; satisfies ``Model``."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client = openai.AsyncOpenAI(
            api_key=endpoint.secret or "none",
            base_url=endpoint.base_url,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
        )

    async def call(self, request: ModelRequest) -> ModelAnswer:
        async with guarded(self._endpoint, request.timeout_s):
            create = self._client.chat.completions.with_streaming_response.create
            sent = parameters(self._endpoint, request)
            async with create(**sent, timeout=request.timeout_s) as response:
                body = await read_bounded(response.iter_bytes())
            return read_answer(request.tool, decode_object(body, "the answer"))

    async def close(self) -> None:
        await self._client.close()


def parameters(endpoint: Endpoint, request: ModelRequest) -> dict[str, Any]:
    """The request's body. Only OpenAI itself knows ``max_completion_tokens`` for certain."""
    own = urlsplit(endpoint.base_url).hostname == OPENAI_HOST
    turns = [{"role": one.role, "content": one.content} for one in request.messages]
    sent: dict[str, Any] = {
        "model": endpoint.model,
        "messages": [{"role": "system", "content": request.system}, *turns],
        "max_completion_tokens" if own else "max_tokens": request.max_tokens,
    }
    if request.tool is not None:
        sent["tools"] = [{"type": "function", "function": _function(request.tool)}]
        sent["tool_choice"] = "auto"
    if own:
        # A project may default to a dearer tier; the price that was reserved is this one's.
        sent["service_tier"] = "default"
    if request.temperature is not None:
        sent["temperature"] = request.temperature
    return sent


def _function(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}


def read_answer(tool: Tool | None, body: dict[str, Any]) -> ModelAnswer:
    """The answer in a chat completion's ``body``. Raises ``ModelError`` "malformed"."""
    usage = usage_of(body.get("usage"), ["prompt_tokens"], ["completion_tokens"])
    billed: Billed = "unknown" if usage is None else usage
    choice = _choice(body, billed)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise malformed("the answer has no message", billed)
    reason = choice.get("finish_reason")
    refusal = message.get("refusal")
    return answer(
        tool,
        _calls(message.get("tool_calls"), billed),
        text=_text(refusal or message.get("content")),
        usage=usage,
        refused=bool(refusal) or reason == "content_filter",
        truncated=reason == "length",
    )


def _choice(body: dict[str, Any], billed: Billed) -> dict[str, Any]:
    choices = body.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    raise malformed("the answer has no choices", billed)


def _calls(value: object, billed: Billed) -> list[ToolCall]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise malformed("tool_calls is not a list", billed)
    functions = [call.get("function") if isinstance(call, dict) else None for call in value]
    if not all(isinstance(one, dict) for one in functions):
        raise malformed("a tool call is no function call", billed)
    return [(one.get("name"), one.get("arguments")) for one in functions if one is not None]


def _text(content: object) -> str:
    """Plain content, or the text parts that some servers send in its place."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))
