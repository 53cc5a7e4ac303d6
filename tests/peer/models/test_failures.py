"""The tables of failures, and what a server may ask for."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from xmesh_peer.models.base import ModelError
from xmesh_peer.models.failures import Endpoint, from_exception, guarded, retry_after_s, rule_for

AT = Endpoint("openai", "m", "https://user:pw@api.example.org/v1", "KEY_ENV", "sk-1")
NOW_S = 1_700_000_000.0


class ConnectTimeout(Exception):  # noqa: N818 - the name is what is recognised
    pass


class ConnectError(Exception):
    pass


class ReadTimeout(Exception):  # noqa: N818
    pass


class StatusError(Exception):
    def __init__(self, status_code: object, code: object = None, headers: object = None) -> None:
        super().__init__("vendor's words")
        self.status_code = status_code
        self.code = code
        self.response = SimpleNamespace(headers=headers)


def caused_by(cause: Exception) -> Exception:
    error = RuntimeError("wrapped")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "retryable", "billed"),
    [
        (ConnectError(), "connection", True, "no"),
        (caused_by(ConnectError()), "connection", True, "no"),
        (caused_by(ConnectTimeout()), "connection", True, "no"),
        (ConnectionRefusedError(), "connection", True, "no"),
        (ConnectionError(), "connection", True, "no"),
        (ConnectionResetError(), "connection", True, "unknown"),
        (OSError(), "connection", True, "unknown"),
        (caused_by(ReadTimeout()), "timeout", True, "unknown"),
        (ValueError(), "malformed", False, "unknown"),
        (TypeError(), "malformed", False, "unknown"),
        (AttributeError(), "malformed", False, "unknown"),
        (RecursionError(), "malformed", False, "unknown"),
        (StatusError(-1), "connection", True, "unknown"),
        (StatusError(0), "connection", True, "unknown"),
        (StatusError("401"), "connection", True, "unknown"),
        (StatusError(401), "auth", False, "no"),
        (StatusError(429, "rate_limit_exceeded"), "rate-limit", True, "no"),
        (StatusError(429, "insufficient_quota"), "rate-limit", False, "no"),
    ],
)
def test_an_exception_has_one_meaning(
    error: Exception, kind: str, retryable: bool, billed: str
) -> None:
    got = from_exception(error, AT, NOW_S)
    assert (got.kind, got.retryable, got.billed) == (kind, retryable, billed)


def test_causes_that_form_a_ring_end() -> None:
    one, two = RuntimeError(), RuntimeError()
    one.__cause__, two.__cause__ = two, one
    assert from_exception(one, AT, NOW_S).kind == "connection"


def test_an_empty_account_is_told_by_status_and_code_together() -> None:
    assert rule_for("openai", 429, "insufficient_quota").retryable is False
    assert rule_for("openai", 500, "insufficient_quota").retryable is True


@pytest.mark.parametrize(
    ("status", "kind", "retryable", "billed"),
    [
        (400, "bad-request", False, "no"),
        (401, "auth", False, "no"),
        (403, "auth", False, "no"),
        (404, "bad-request", False, "no"),
        (408, "timeout", True, "unknown"),
        (409, "bad-request", False, "unknown"),
        (413, "bad-request", False, "no"),
        (422, "bad-request", False, "no"),
        (429, "rate-limit", True, "no"),
        (499, "bad-request", False, "unknown"),
        (500, "server", True, "unknown"),
        (529, "server", True, "unknown"),
    ],
)
def test_a_status_has_one_meaning(status: int, kind: str, retryable: bool, billed: str) -> None:
    rule = rule_for("openai", status)
    assert (rule.kind, rule.retryable, rule.billed) == (kind, retryable, billed)


def test_only_anthropic_refuses_before_the_model_with_529() -> None:
    assert rule_for("anthropic", 529).billed == "no"
    assert rule_for("anthropic", 528).billed == "unknown"
    assert rule_for("mistral", 529).billed == "unknown"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:20 GMT"}, 0.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:19 GMT"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Tue, 99 Nov 2023 99:99:99 GMT"}, None),
        ({"retry-after": "\x00" * 1000}, None),
    ],
)
def test_the_wait_asked_for_is_read_or_ignored(
    headers: Mapping[str, str], seconds: float | None
) -> None:
    assert retry_after_s(headers, NOW_S) == seconds


def test_the_wait_comes_from_the_response_of_the_error() -> None:
    error = StatusError(429, headers={"retry-after": "7"})
    assert from_exception(error, AT, NOW_S).retry_after_s == 7.0
    assert from_exception(StatusError(429, headers=[7]), AT, NOW_S).retry_after_s is None


def test_messages_are_short_clean_and_without_secrets() -> None:
    error = from_exception(ValueError("sk-1\x1b[2J" + "x" * 1000), AT, NOW_S)
    assert error.what.startswith("ValueError: ***[2Jxxx")
    assert len(error.what) == 300
    assert error.where == "openai m at api.example.org"
    assert "pw" not in str(error)


def test_an_endpoint_never_shows_its_secret() -> None:
    assert repr(AT) == "<Endpoint openai m at api.example.org>"
    assert str(Endpoint("openai", "m", "nonsense")) == "openai m at ?"


def test_without_a_key_variable_the_fix_names_the_environment() -> None:
    error = from_exception(StatusError(401), Endpoint("openai", "m", "http://h"), NOW_S)
    assert error.fix == "put a valid key into the environment"


async def test_an_error_of_ours_passes_and_learns_its_place() -> None:
    with pytest.raises(ModelError) as caught:
        async with guarded(AT, 5):
            raise ModelError("malformed", "x", retryable=False, billed="unknown")
    assert caught.value.where == "openai m at api.example.org"


async def test_the_bound_in_time_is_named() -> None:
    with pytest.raises(ModelError, match=r"within 0\.01 s") as caught:
        async with guarded(AT, 0.01):
            await asyncio.Event().wait()
    assert (caught.value.kind, caught.value.billed) == ("timeout", "unknown")


async def test_cancellation_is_not_an_error_of_the_vendor() -> None:
    with pytest.raises(asyncio.CancelledError):
        async with guarded(AT, 5):
            raise asyncio.CancelledError
