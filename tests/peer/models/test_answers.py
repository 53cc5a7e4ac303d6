"""The rules for what a model sends, each at its boundary."""

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from xmesh_peer.models.answers import answer, clean, decode_object, read_bounded, usage_of
from xmesh_peer.models.base import EMIT_CMB, ModelAnswer, ModelError, Usage

USAGE = Usage(5, 7)


def read(raw: object, **more: Any) -> ModelAnswer:
    return answer(EMIT_CMB, [("emit_cmb", raw)], text="", usage=USAGE, **more)


def malformed(raw: object, **more: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        read(raw, **more)
    assert (caught.value.kind, caught.value.retryable) == ("malformed", False)
    assert caught.value.billed == USAGE
    return caught.value


def test_the_tool_has_the_seven_fields_all_optional() -> None:
    assert list(EMIT_CMB.parameters["properties"]) == [
        "focus",
        "issue",
        "intent",
        "motivation",
        "commitment",
        "perspective",
        "mood",
    ]
    assert EMIT_CMB.parameters["type"] == "object"
    assert EMIT_CMB.parameters["additionalProperties"] is False
    assert "required" not in EMIT_CMB.parameters
    assert all(one["type"] == "string" for one in EMIT_CMB.parameters["properties"].values())


@pytest.mark.parametrize("raw", [{"focus": "a"}, '{"focus": "a"}'])
def test_arguments_may_be_text_or_an_object(raw: object) -> None:
    assert read(raw).arguments == {"focus": "a"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (0, "0"),
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        (10**30, "1" + "0" * 30),
        (10**4200, "1" + "0" * 3999),
        (math.inf, "null"),
    ],
)
def test_numbers_and_booleans_are_written_out(value: object, text: str) -> None:
    assert read({"focus": value}).arguments == {"focus": text}


def test_null_means_absent() -> None:
    assert read({"focus": None, "mood": "calm"}).arguments == {"mood": "calm"}


@pytest.mark.parametrize("value", [[], {}, ["a"], {"text": "a"}])
def test_lists_and_objects_are_malformed(value: object) -> None:
    assert "field focus" in str(malformed({"focus": value, "mood": "calm"}))


@pytest.mark.parametrize("raw", ["[]", '"focus"', "7", "null", "{", 7, [], True, "[" * 10_000])
def test_arguments_that_are_no_object_are_malformed(raw: object) -> None:
    malformed(raw)


@pytest.mark.parametrize("raw", [None, "", "{}", {}, {"focus": ""}, {"focus": " \x00\n"}])
def test_a_call_without_a_word_declines(raw: object) -> None:
    assert read(raw).arguments is None


def test_unknown_fields_are_dropped_and_named() -> None:
    got = read({"focus": "a", "to": "bob", "x" * 65: 1, "\x1b[2J": None})
    assert got.arguments == {"focus": "a"}
    assert got.dropped == ("to", "x" * 64, "[2J")


def test_no_more_than_sixteen_dropped_names_are_kept() -> None:
    assert len(read({"focus": "a"} | {f"k{n}": n for n in range(16)}).dropped) == 16
    assert len(read({"focus": "a"} | {f"k{n}": n for n in range(17)}).dropped) == 16


def test_unknown_fields_only_are_malformed() -> None:
    malformed({"message": "hello"})


def test_unknown_fields_beside_a_blank_one_decline() -> None:
    got = read({"focus": "", "to": "bob"})
    assert (got.arguments, got.dropped) == (None, ("to",))


def test_the_first_call_of_the_tool_counts() -> None:
    calls = [("other", {}), ("emit_cmb", {"focus": "1"}), ("emit_cmb", {"focus": "2"})]
    assert answer(EMIT_CMB, calls, text="", usage=None).arguments == {"focus": "1"}


def test_a_tool_that_was_not_given_is_malformed() -> None:
    with pytest.raises(ModelError) as caught:
        answer(EMIT_CMB, [("shell", {"focus": "1"})], text="", usage=None)
    assert caught.value.billed == "unknown"


def test_a_refusal_overrides_a_call_unread() -> None:
    got = read("{", refused=True)
    assert (got.arguments, got.refused) == (None, True)


def test_only_a_bounded_answer_is_called_truncated() -> None:
    assert "truncated" in str(malformed("{", truncated=True))
    assert "truncated" not in str(malformed("{", truncated=False))
    whole = read({"focus": "a"}, truncated=True)
    assert (whole.arguments, whole.truncated) == ({"focus": "a"}, True)


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("a\x00\x08\x0b\x0c\x0d\x1f\x7f\x80\x85\x9fb", "ab"),
        ("a\ud800\udfffb", "ab"),
        ("a\x20\x7e\xa0\ud7ff\ue000b", "a\x20\x7e\xa0\ud7ff\ue000b"),
        ("  a  ", "a"),
        ("\x00 \x1b a", "a"),
        ("x" * 4000, "x" * 4000),
        ("x" * 4001, "x" * 4000),
        ("x" * 3999 + " y", "x" * 3999),
    ],
)
def test_text_is_cleaned_and_bounded(raw: str, kept: str) -> None:
    assert clean(raw) == kept


def test_the_answer_in_words_is_cleaned_too() -> None:
    assert answer(EMIT_CMB, [], text="\x1bhi" + "x" * 5000, usage=None).text == "hi" + "x" * 3998


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"in": 1, "out": 2}, Usage(1, 2)),
        ({"in": 1, "cached": 5, "out": 2}, Usage(6, 2)),
        ({"in": 1, "cached": None, "out": 0}, Usage(1, 0)),
        ({"in": 100_000_000, "out": 0}, Usage(100_000_000, 0)),
        ({"in": 100_000_001, "out": 0}, None),
        ({"in": -1, "out": 0}, None),
        ({"in": 1, "out": -1}, None),
        ({"in": 1, "cached": -1, "out": 0}, None),
        ({"in": True, "out": 0}, None),
        ({"in": 1.0, "out": 0}, None),
        ({"in": "1", "out": 0}, None),
        ({"in": 1}, None),
        ({"in": None, "out": 1}, None),
        ({"out": 1}, None),
        ([1, 2], None),
        (None, None),
    ],
)
def test_usage_is_believed_only_when_every_count_is_sane(
    counts: object, usage: Usage | None
) -> None:
    assert usage_of(counts, ["in", "cached"], ["out"]) == usage


def test_a_document_names_itself_in_its_error() -> None:
    assert decode_object(b'{"a": 1}', "the answer") == {"a": 1}
    with pytest.raises(ModelError, match="the answer is not JSON"):
        decode_object(b"{", "the answer")
    with pytest.raises(ModelError, match="the answer is not an object"):
        decode_object(b"[]", "the answer")


async def test_a_body_of_exactly_the_bound_is_read() -> None:
    assert await read_bounded(_chunks(2), limit=4) == b"abab"


async def test_a_body_over_the_bound_is_left_at_once() -> None:
    chunks = _chunks(1000)
    with pytest.raises(ModelError):
        await read_bounded(chunks, limit=5)
    assert await anext(chunks) == b"ab"
    await chunks.aclose()  # type: ignore[attr-defined]


async def _chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"ab"
