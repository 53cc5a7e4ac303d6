"""OpenAI's API through its own SDK, against a server that misbehaves."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
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
    refusal,
    say,
    serve,
    tool_call,
)

from xmesh_peer.models.base import EMIT_CMB, Message, ModelAnswer, ModelError, ModelRequest, Usage
from xmesh_peer.models.failures import Endpoint
from xmesh_peer.models.openai import OpenAIModel, parameters

REQUEST = ModelRequest(
    system="You are a writer.",
    messages=(Message("user", "A draft is wanted."), Message("assistant", "Noted.")),
    tool=EMIT_CMB,
    max_tokens=256,
    temperature=None,
    timeout_s=10.0,
)
KEY = "sk-a-very-secret-key"


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with serve("openai", tool_call({"focus": "a draft", "mood": "calm"})) as running:
        yield running


@asynccontextmanager
async def model_at(url: str, key: str = KEY) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel(Endpoint("openai", "gpt-x", url, "OPENAI_API_KEY", key))
    try:
        yield model
    finally:
        await model.close()


async def ask(vendor: Vendor, reply: Reply, request: ModelRequest = REQUEST) -> ModelAnswer:
    vendor.replies = [reply]
    async with model_at(vendor.url) as model:
        return await model.call(request)


async def fails(vendor: Vendor, reply: Reply, request: ModelRequest = REQUEST) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await ask(vendor, reply, request)
    assert len(vendor.seen) == 1, "one call is one request"
    return caught.value


class Together(Vendor):
    """Answers nobody before two have asked."""

    def take(self, seen_path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Reply:
        reply = super().take(seen_path, headers, body)
        self.wait_for(2)
        return reply


async def test_of_two_calls_at_once_each_is_told_its_own_usage() -> None:
    longer = replace(REQUEST, system=REQUEST.system * 10)
    with closing(Together("openai", tool_call({"focus": "a draft"}))) as vendor:
        async with model_at(vendor.url) as model:
            answers = await asyncio.gather(model.call(REQUEST), model.call(longer))
    told = [answer.usage.input_tokens for answer in answers if answer.usage]
    assert told[1] - told[0] == 9 * len(REQUEST.system)


async def test_a_tool_call_comes_back_as_arguments_with_the_usage(vendor: Vendor) -> None:
    answer = await ask(vendor, tool_call({"focus": "a draft", "mood": "calm"}))
    billed = Usage(vendor.seen[0].input_tokens, 20)
    assert answer == ModelAnswer({"focus": "a draft", "mood": "calm"}, "", billed)


async def test_the_request_carries_prompt_tool_bound_and_key(vendor: Vendor) -> None:
    await ask(vendor, say("no"), replace(REQUEST, temperature=0.5))
    seen = vendor.seen[0]
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.body == {
        "model": "gpt-x",
        "messages": [
            {"role": "system", "content": "You are a writer."},
            {"role": "user", "content": "A draft is wanted."},
            {"role": "assistant", "content": "Noted."},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "emit_cmb",
                    "description": EMIT_CMB.description,
                    "parameters": EMIT_CMB.parameters,
                },
            }
        ],
        "tool_choice": "auto",
        "max_tokens": 256,
        "temperature": 0.5,
    }


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://api.mistral.ai/v1", "max_tokens"),
        ("http://127.0.0.1:8000/v1", "max_tokens"),
        ("https://api.openai.com.example.org/v1", "max_tokens"),
    ],
)
def test_only_openai_itself_gets_max_completion_tokens(url: str, name: str) -> None:
    sent = parameters(Endpoint("openai", "m", url), REQUEST)
    assert sent[name] == 256
    assert len({"max_tokens", "max_completion_tokens"} & set(sent)) == 1
    assert sent.get("service_tier") == ("default" if name == "max_completion_tokens" else None)
    assert "temperature" not in sent
    assert "stream" not in sent


async def test_text_without_a_call_declines(vendor: Vendor) -> None:
    answer = await ask(vendor, say("Nothing to add."))
    assert (answer.arguments, answer.text) == (None, "Nothing to add.")
    assert not answer.refused
    assert not answer.truncated


async def test_an_empty_answer_declines(vendor: Vendor) -> None:
    assert (await ask(vendor, say(""))).arguments is None


async def test_text_parts_are_joined(vendor: Vendor) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "thinking"}, 7, {"type": "text", "text": "b"}]
    body = {"choices": [{"message": {"content": parts}}], "usage": None}
    answer = await ask(vendor, Reply(body=body))
    assert (answer.text, answer.usage) == ("a\nb", None)


async def test_a_refusal_is_marked_and_emits_nothing(vendor: Vendor) -> None:
    answer = await ask(vendor, refusal("I can't."))
    assert (answer.refused, answer.arguments, answer.text) == (True, None, "I can't.")


async def test_a_content_filter_is_a_refusal(vendor: Vendor) -> None:
    body = {"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}
    assert (await ask(vendor, Reply(body=body))).refused


async def test_text_cut_by_the_bound_is_marked(vendor: Vendor) -> None:
    assert (await ask(vendor, say("Well, I", length=True))).truncated


async def test_a_tool_call_cut_by_the_bound_is_malformed_and_paid(vendor: Vendor) -> None:
    error = await fails(vendor, tool_call('{"focus": "the dr', length=True))
    assert (error.kind, error.retryable) == ("malformed", False)
    assert error.billed == Usage(vendor.seen[0].input_tokens, 20)
    assert "truncated" in str(error)


async def test_malformed_arguments_are_paid(vendor: Vendor) -> None:
    error = await fails(vendor, tool_call('{"focus": "the dr'))
    assert error.kind == "malformed"
    assert error.billed == Usage(vendor.seen[0].input_tokens, 20)
    assert "truncated" not in str(error)


async def test_malformed_arguments_without_usage_are_of_unknown_cost(vendor: Vendor) -> None:
    assert (await fails(vendor, tool_call("[1]", states_usage=False))).billed == "unknown"


async def test_unknown_fields_are_dropped_and_named(vendor: Vendor) -> None:
    answer = await ask(vendor, tool_call({"focus": "f", "to": "bob"}))
    assert (answer.arguments, answer.dropped) == ({"focus": "f"}, ("to",))


async def test_a_huge_field_is_bounded(vendor: Vendor) -> None:
    answer = await ask(vendor, tool_call({"focus": "x" * 2_000_000}))
    assert answer.arguments == {"focus": "x" * 4000}


async def test_a_huge_body_is_not_read_to_its_end(vendor: Vendor) -> None:
    error = await fails(vendor, garbage(b" " * (4 * 1024 * 1024 + 1)))
    assert (error.kind, error.billed) == ("malformed", "unknown")
    assert "larger" in str(error)


SHAPES: list[Any] = [
    [],
    {},
    {"choices": []},
    {"choices": {}},
    {"choices": [7]},
    {"choices": [{"message": "hello"}]},
    {"choices": [{"message": {"tool_calls": {}}}]},
    {"choices": [{"message": {"tool_calls": [7]}}]},
    {"choices": [{"message": {"tool_calls": [{"function": 7}]}}]},
    {"choices": [{"message": {"tool_calls": [{"function": {}}]}}]},
    {"choices": [{"message": {"tool_calls": [{"function": {"name": "rm", "arguments": "{}"}}]}}]},
    {"error": {"message": "upstream fell over"}},
]


@pytest.mark.parametrize("body", SHAPES, ids=range(len(SHAPES)))
async def test_a_body_of_the_wrong_shape_is_malformed(vendor: Vendor, body: object) -> None:
    error = await fails(vendor, Reply(body=body))
    assert (error.kind, error.retryable, error.billed) == ("malformed", False, "unknown")


@pytest.mark.parametrize(
    "body", [b"", b'{"id": ', b"<html>", b"\xff\xfe", b"[" * 200_000, b'{"n": NaN}']
)
async def test_a_body_that_is_no_json_is_malformed(vendor: Vendor, body: bytes) -> None:
    error = await fails(vendor, garbage(body))
    assert (error.kind, error.retryable, error.billed) == ("malformed", False, "unknown")


@pytest.mark.parametrize(
    ("status", "kind", "retryable", "billed"),
    [
        (302, "bad-request", False, "unknown"),
        (400, "bad-request", False, "no"),
        (401, "auth", False, "no"),
        (402, "bad-request", False, "unknown"),
        (403, "auth", False, "no"),
        (404, "bad-request", False, "no"),
        (408, "timeout", True, "unknown"),
        (413, "bad-request", False, "no"),
        (422, "bad-request", False, "no"),
        (429, "rate-limit", True, "no"),
        (499, "bad-request", False, "unknown"),
        (500, "server", True, "unknown"),
        (503, "server", True, "unknown"),
        (529, "server", True, "unknown"),
    ],
)
async def test_a_status_has_one_meaning(
    vendor: Vendor, status: int, kind: str, retryable: bool, billed: str
) -> None:
    error = await fails(vendor, fail(status))
    assert (error.kind, error.retryable, error.billed) == (kind, retryable, billed)
    assert error.retry_after_s is None
    assert f"HTTP {status}" in str(error)


async def test_the_wait_that_a_vendor_asks_for_is_kept(vendor: Vendor) -> None:
    assert (await fails(vendor, fail(429, retry_after="7"))).retry_after_s == 7.0


async def test_an_empty_account_is_not_tried_again(vendor: Vendor) -> None:
    error = await fails(vendor, fail(429, code="insufficient_quota"))
    assert (error.kind, error.retryable, error.billed) == ("rate-limit", False, "no")


async def test_a_bad_key_is_explained_and_never_printed(vendor: Vendor) -> None:
    error = await fails(vendor, fail(401, text=f"bad key {KEY}"))
    assert KEY not in str(error)
    assert "openai gpt-x at 127.0.0.1" in str(error)
    assert "put a valid key into OPENAI_API_KEY" in str(error)


@pytest.mark.parametrize("reply", [hang(), drip()], ids=["hang", "drip"])
async def test_a_server_that_never_ends_is_left_in_time(vendor: Vendor, reply: Reply) -> None:
    started = time.monotonic()
    error = await fails(vendor, reply, replace(REQUEST, timeout_s=0.5))
    assert (error.kind, error.retryable, error.billed) == ("timeout", True, "unknown")
    assert time.monotonic() - started < 5


async def test_a_connection_cut_within_the_body_costs_an_unknown_sum(vendor: Vendor) -> None:
    error = await fails(vendor, cut())
    assert (error.kind, error.retryable, error.billed) == ("connection", True, "unknown")


async def test_a_refused_connection_costs_nothing() -> None:
    async with model_at(f"http://127.0.0.1:{closed_port()}/v1") as model:
        with pytest.raises(ModelError) as caught:
            await model.call(REQUEST)
    error = caught.value
    assert (error.kind, error.retryable, error.billed) == ("connection", True, "no")


async def test_a_redirect_is_not_followed(vendor: Vendor) -> None:
    error = await fails(vendor, fail(307, location=vendor.url + "/elsewhere"))
    assert error.kind == "bad-request"


async def test_cancelling_a_call_ends_it_as_cancelled(vendor: Vendor) -> None:
    task = asyncio.create_task(ask(vendor, hang()))
    await asyncio.to_thread(vendor.wait_for, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_server_that_wants_no_key_gets_a_placeholder(vendor: Vendor) -> None:
    async with model_at(vendor.url, key="") as model:
        await model.call(REQUEST)
    assert vendor.seen[0].headers["authorization"] == "Bearer none"
