"""Ollama's chat API, on this machine or another."""

from typing import Any

import ollama

from xmesh_peer.models.answers import ToolCall, answer, usage_of
from xmesh_peer.models.base import ModelAnswer, ModelRequest, Tool
from xmesh_peer.models.failures import Endpoint, guarded

__all__ = ["OllamaModel", "context_tokens", "parameters", "read_answer"]

MIN_CONTEXT = 4096
MAX_CONTEXT = 65_536


class OllamaModel:
    """One local model behind ``endpoint``; satisfies ``Model``."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        headers = {"Authorization": f"Bearer {endpoint.secret}"} if endpoint.secret else {}
        self._client = ollama.AsyncClient(
            host=endpoint.base_url, headers=headers, follow_redirects=False
        )

    async def call(self, request: ModelRequest) -> ModelAnswer:
        async with guarded(self._endpoint, request.timeout_s):
            response = await self._client.chat(**parameters(self._endpoint, request), stream=False)
            return read_answer(request.tool, response.model_dump())

    async def close(self) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]


def context_tokens(request: ModelRequest) -> int:
    """A window that holds the request at three bytes a token, and the answer: a power of two.

    The server cuts what does not fit in its small default, silently; and it loads the model anew
    whenever the number changes, hence the coarse steps.
    """
    texts = [request.system, *(one.content for one in request.messages)]
    need = sum(len(text.encode(errors="replace")) for text in texts) // 3 + request.max_tokens
    window = MIN_CONTEXT
    while window < need + 1024 and window < MAX_CONTEXT:
        window *= 2
    return window


def parameters(endpoint: Endpoint, request: ModelRequest) -> dict[str, Any]:
    """The arguments of the SDK's ``chat``."""
    turns = [{"role": one.role, "content": one.content} for one in request.messages]
    tool = request.tool
    options: dict[str, Any] = {
        "num_predict": request.max_tokens,
        "num_ctx": context_tokens(request),
    }
    if request.temperature is not None:
        options["temperature"] = request.temperature
    return {
        "model": endpoint.model,
        "messages": [{"role": "system", "content": request.system}, *turns],
        "options": options,
        **({"tools": [{"type": "function", "function": _function(tool)}]} if tool else {}),
    }


def _function(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}


def read_answer(tool: Tool | None, body: dict[str, Any]) -> ModelAnswer:
    """The answer in a chat response's ``body``, whose types the SDK has checked."""
    usage = usage_of(body, ["prompt_eval_count"], ["eval_count"])
    message = body["message"]
    return answer(
        tool,
        _calls(message["tool_calls"] or []),
        text=message["content"] or "",
        usage=usage,
        truncated=body["done_reason"] == "length",
    )


def _calls(calls: list[dict[str, Any]]) -> list[ToolCall]:
    return [(one["function"]["name"], one["function"]["arguments"]) for one in calls]
