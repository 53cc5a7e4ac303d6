"""Anthropic's API through its own SDK, against a server that misbehaves."""

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
    refusal,
    say,
    serve,
    tool_call,
)

from xmesh_peer.models.anthropic import AnthropicModel
from xmesh_peer.models.base import EMIT_CMB, Message, ModelAnswer, ModelError, ModelRequest, Usage
from xmesh_peer.models.failures import Endpoint

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
    with serve("anthropic", say("")) as running:
        yield running


def model_at(url: str) -> AnthropicModel:
    return AnthropicModel(Endpoint("anthropic", "claude-x", url, "ANTHROPIC_API_KEY", "sk-1"))


async def ask(vendor: Vendor, reply: Reply, request: ModelRequest = REQUEST) -> ModelAnswer:
    vendor.replies = [reply]
    model = model_at(vendor.url)
    async with aclosing(_Closing(model)):
        return await model.call(request)


class _Closing:
    """``close`` under the name that ``aclosing`` calls."""

    def __init__(self, model: AnthropicModel) -> None:
        self.aclose = model.close


async def fails(vendor: Vendor, reply: Reply, request: ModelRequest = REQUEST) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await ask(vendor, reply, request)
    assert len(vendor.seen) == 1, "one call is one request"
    return caught.value


async def test_a_tool_call_comes_back_with_cached_input_counted_as_input(vendor: Vendor) -> None:
    answer = await ask(vendor, tool_call({"issue": "no tests"}))
    assert answer.arguments == {"issue": "no tests"}
    assert answer.usage == Usage(vendor.seen[0].input_tokens, 20)


async def test_the_request_carries_prompt_tool_bound_and_key(vendor: Vendor) -> None:
    await ask(vendor, say("no"))
    seen = vendor.seen[0]
    assert seen.path == "/v1/messages"
    sent_keys = {seen.headers.get("x-api-key"), seen.headers.get("authorization")}
    assert sent_keys & {"sk-1", "Bearer sk-1"}, "the header differs between major versions"
    assert seen.body == {
        "model": "claude-x",
        "system": "You review.",
        "messages": [{"role": "user", "content": "A draft is ready."}],
        "tools": [
            {
                "name": "emit_cmb",
                "description": EMIT_CMB.description,
                "input_schema": EMIT_CMB.parameters,
            }
        ],
        "tool_choice": {"type": "auto"},
        "max_tokens": 256,
    }


async def test_a_temperature_goes_with_the_api_version_that_takes_one(vendor: Vendor) -> None:
    await ask(vendor, say("no"), replace(REQUEST, temperature=0.25))
    assert vendor.seen[0].body["temperature"] == 0.25
    assert vendor.seen[0].headers["anthropic-version"] == "2023-06-01"


async def test_a_large_output_bound_is_no_reason_for_the_sdk_to_refuse(vendor: Vendor) -> None:
    assert (await ask(vendor, say("no"), replace(REQUEST, max_tokens=100_000))).text == "no"


async def test_text_without_a_call_declines(vendor: Vendor) -> None:
    answer = await ask(vendor, say("Nothing to add."))
    assert (answer.arguments, answer.text, answer.refused) == (None, "Nothing to add.", False)


async def test_an_empty_answer_declines(vendor: Vendor) -> None:
    assert (await ask(vendor, say(""))).arguments is None


async def test_a_refusal_is_marked_and_emits_nothing(vendor: Vendor) -> None:
    answer = await ask(vendor, replace(refusal("No."), arguments={"focus": "half a thought"}))
    assert (answer.refused, answer.arguments, answer.text) == (True, None, "No.")


async def test_text_cut_by_the_bound_is_marked(vendor: Vendor) -> None:
    assert (await ask(vendor, say("Well, I", length=True))).truncated


async def test_a_tool_call_cut_by_the_bound_is_malformed_and_paid(vendor: Vendor) -> None:
    error = await fails(vendor, tool_call({"focus": "the dr"}, length=True))
    assert (error.kind, error.retryable) == ("malformed", False)
    assert error.billed == Usage(vendor.seen[0].input_tokens, 20)


async def test_input_that_is_text_is_malformed_and_paid(vendor: Vendor) -> None:
    error = await fails(vendor, tool_call('{"focus": "f"}'))
    assert error.kind == "malformed"
    assert error.billed == Usage(vendor.seen[0].input_tokens, 20)


SHAPES: list[Any] = [
    [],
    {},
    {"content": "hello"},
    {"content": ["hello"]},
    {"content": [{"type": "tool_use", "name": "emit_cmb", "input": [1]}]},
    {"content": [{"type": "tool_use", "input": {}}]},
]


@pytest.mark.parametrize("body", SHAPES, ids=range(len(SHAPES)))
async def test_a_body_of_the_wrong_shape_is_malformed(vendor: Vendor, body: object) -> None:
    error = await fails(vendor, Reply(body=body))
    assert (error.kind, error.retryable, error.billed) == ("malformed", False, "unknown")


async def test_blocks_of_other_kinds_and_wrong_texts_are_passed_over(vendor: Vendor) -> None:
    blocks = [{"type": "thinking", "text": "hm"}, {"type": "text", "text": 7}]
    answer = await ask(vendor, Reply(body={"content": [*blocks, {"type": "text", "text": "a"}]}))
    assert (answer.text, answer.usage) == ("a", None)


async def test_a_body_that_is_no_json_is_malformed(vendor: Vendor) -> None:
    error = await fails(vendor, garbage())
    assert (error.kind, error.billed) == ("malformed", "unknown")


async def test_a_huge_body_is_not_read_to_its_end(vendor: Vendor) -> None:
    assert "larger" in str(await fails(vendor, garbage(b" " * (4 * 1024 * 1024 + 1))))


@pytest.mark.parametrize(
    ("status", "kind", "retryable", "billed"),
    [
        (307, "bad-request", False, "unknown"),
        (400, "bad-request", False, "no"),
        (401, "auth", False, "no"),
        (404, "bad-request", False, "no"),
        (429, "rate-limit", True, "no"),
        (500, "server", True, "unknown"),
        (528, "server", True, "unknown"),
        (529, "server", True, "no"),
        (530, "server", True, "unknown"),
    ],
)
async def test_a_status_has_one_meaning(
    vendor: Vendor, status: int, kind: str, retryable: bool, billed: str
) -> None:
    error = await fails(vendor, fail(status, retry_after="3"))
    assert (error.kind, error.retryable, error.billed) == (kind, retryable, billed)
    assert error.retry_after_s == 3.0


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
