"""Ollama through its own SDK, against a server that misbehaves."""

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from helpers.vendors import (
    Reply,
    Vendor,
    closed_port,
    cut,
    drip,
    fail,
    garbage,
    hang,
    say,
    serve,
    tool_call,
)

from xmesh_peer.models.base import EMIT_CMB, Message, ModelAnswer, ModelError, ModelRequest, Usage
from xmesh_peer.models.failures import Endpoint
from xmesh_peer.models.ollama import OllamaModel, context_tokens

REQUEST = ModelRequest(
    system="You review.",
    messages=(Message("user", "A draft is ready."),),
    tool=EMIT_CMB,
    max_tokens=256,
    temperature=None,
    timeout_s=10.0,
)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with serve("ollama", say("")) as running:
        yield running


def model_at(url: str) -> OllamaModel:
    return OllamaModel(Endpoint("ollama", "llama-x", url))


async def ask(vendor: Vendor, reply: Reply, request: ModelRequest = REQUEST) -> ModelAnswer:
    vendor.replies = [reply]
    model = model_at(vendor.url)
    async with aclosing(_Closing(model)):
        return await model.call(request)


class _Closing:
    """``close`` under the name that ``aclosing`` calls."""

    def __init__(self, model: OllamaModel) -> None:
        self.aclose = model.close


async def fails(vendor: Vendor, reply: Reply, request: ModelRequest = REQUEST) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await ask(vendor, reply, request)
    assert len(vendor.seen) == 1, "one call is one request"
    return caught.value


async def test_a_tool_call_comes_back_as_arguments_with_the_usage(vendor: Vendor) -> None:
    answer = await ask(vendor, tool_call({"issue": "no tests", "to": "x"}))
    assert answer.arguments == {"issue": "no tests"}
    assert answer.dropped == ("to",)
    assert answer.usage == Usage(vendor.seen[0].input_tokens, 20)


async def test_the_request_carries_prompt_tool_and_bounds(vendor: Vendor) -> None:
    await ask(vendor, say("no"), replace(REQUEST, temperature=0.25))
    seen = vendor.seen[0]
    assert seen.path == "/api/chat"
    assert "authorization" not in seen.headers
    assert seen.body["model"] == "llama-x"
    assert seen.body["stream"] is False
    assert seen.body["messages"] == [
        {"role": "system", "content": "You review."},
        {"role": "user", "content": "A draft is ready."},
    ]
    assert seen.body["options"] == {"num_predict": 256, "num_ctx": 4096, "temperature": 0.25}
    function = seen.body["tools"][0]["function"]
    assert (function["name"], function["description"]) == ("emit_cmb", EMIT_CMB.description)
    assert list(function["parameters"]["properties"]) == list(EMIT_CMB.parameters["properties"])


async def test_no_temperature_is_sent_unless_one_is_set(vendor: Vendor) -> None:
    await ask(vendor, say("no"))
    assert "temperature" not in vendor.seen[0].body["options"]


async def test_a_key_is_sent_where_there_is_one(vendor: Vendor) -> None:
    model = OllamaModel(Endpoint("ollama", "llama-x", vendor.url, secret="k1"))
    async with aclosing(_Closing(model)):
        await model.call(REQUEST)
    assert vendor.seen[0].headers["authorization"] == "Bearer k1"


@pytest.mark.parametrize(
    ("system_bytes", "max_tokens", "window"),
    [
        (0, 3072, 4096),
        (0, 3073, 8192),
        (3 * 3072, 0, 4096),
        (3 * 3073, 0, 8192),
        (3 * 31_744, 0, 32_768),
        (3 * 31_745, 0, 65_536),
        (3 * 1_000_000, 0, 65_536),
    ],
)
def test_the_window_holds_prompt_and_answer(
    system_bytes: int, max_tokens: int, window: int
) -> None:
    request = replace(REQUEST, system="x" * system_bytes, messages=(), max_tokens=max_tokens)
    assert context_tokens(request) == window


def test_the_window_counts_messages_in_bytes() -> None:
    request = replace(REQUEST, system="", messages=(Message("user", "é" * 6000),), max_tokens=0)
    assert context_tokens(request) == 8192


async def test_text_without_a_call_declines(vendor: Vendor) -> None:
    answer = await ask(vendor, say("Nothing to add."))
    assert (answer.arguments, answer.text, answer.refused) == (None, "Nothing to add.", False)


async def test_an_empty_answer_declines(vendor: Vendor) -> None:
    assert (await ask(vendor, say(""))).arguments is None


async def test_text_cut_by_the_bound_is_marked(vendor: Vendor) -> None:
    assert (await ask(vendor, say("Well, I", length=True))).truncated


async def test_a_field_that_is_no_text_is_malformed_and_paid(vendor: Vendor) -> None:
    error = await fails(vendor, tool_call({"focus": ["f"]}))
    assert (error.kind, error.retryable) == ("malformed", False)
    assert error.billed == Usage(vendor.seen[0].input_tokens, 20)


SHAPES: list[Any] = [
    [],
    {},
    {"message": "hello"},
    {"message": {"role": "assistant", "tool_calls": {}}},
    {"message": {"role": "assistant", "tool_calls": [7]}},
    {"message": {"role": "assistant", "tool_calls": [{"function": {"name": "emit_cmb"}}]}},
    {"message": {"role": "assistant", "content": 7}},
    {"message": {"role": "a", "tool_calls": [{"function": {"name": "rm", "arguments": {}}}]}},
]


@pytest.mark.parametrize("body", SHAPES, ids=range(len(SHAPES)))
async def test_a_body_of_the_wrong_shape_is_malformed(vendor: Vendor, body: object) -> None:
    error = await fails(vendor, Reply(body=body))
    assert (error.kind, error.retryable, error.billed) == ("malformed", False, "unknown")


async def test_a_body_that_is_no_json_is_malformed(vendor: Vendor) -> None:
    error = await fails(vendor, garbage())
    assert (error.kind, error.billed) == ("malformed", "unknown")


@pytest.mark.parametrize(
    ("status", "kind", "retryable", "billed"),
    [
        (307, "bad-request", False, "unknown"),
        (400, "bad-request", False, "no"),
        (401, "auth", False, "no"),
        (404, "bad-request", False, "no"),
        (429, "rate-limit", True, "no"),
        (500, "server", True, "unknown"),
        (529, "server", True, "unknown"),
    ],
)
async def test_a_status_has_one_meaning(
    vendor: Vendor, status: int, kind: str, retryable: bool, billed: str
) -> None:
    error = await fails(vendor, fail(status))
    assert (error.kind, error.retryable, error.billed) == (kind, retryable, billed)


@pytest.mark.parametrize("reply", [hang(), drip()], ids=["hang", "drip"])
async def test_a_server_that_never_ends_is_left_in_time(vendor: Vendor, reply: Reply) -> None:
    error = await fails(vendor, reply, replace(REQUEST, timeout_s=0.5))
    assert (error.kind, error.retryable, error.billed) == ("timeout", True, "unknown")


async def test_a_connection_cut_within_the_body_costs_an_unknown_sum(vendor: Vendor) -> None:
    error = await fails(vendor, cut())
    assert (error.kind, error.retryable, error.billed) == ("connection", True, "unknown")


async def test_a_refused_connection_costs_nothing() -> None:
    model = model_at(f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(ModelError) as caught:
        await model.call(REQUEST)
    await model.close()
    error = caught.value
    assert (error.kind, error.retryable, error.billed) == ("connection", True, "no")
