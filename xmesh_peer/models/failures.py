"""Every way in which a call can fail, as two tables: by HTTP status and by exception.

The SDKs share no base class, so an exception is known by what it carries: ``status_code`` and
``response`` (the vendor answered), its own class name and those of its causes (it did not).
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit

from xmesh_peer.models.answers import clean
from xmesh_peer.models.base import ErrorKind, ModelError

__all__ = ["Endpoint", "from_exception", "guarded", "retry_after_s", "rule_for"]

MAX_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Whom a model calls. ``secret`` is cut out of every message; ``key_env`` says where it is."""

    adapter: str
    model: str
    base_url: str
    key_env: str = ""
    secret: str = ""

    def __str__(self) -> str:
        return f"{self.adapter} {self.model} at {urlsplit(self.base_url).hostname or '?'}"

    def __repr__(self) -> str:
        return f"<Endpoint {self}>"


@dataclass(frozen=True, slots=True)
class Rule:
    kind: ErrorKind
    retryable: bool
    billed: Literal["no", "unknown"]
    fix: str = ""


_KEY = Rule("auth", False, "no", "put a valid key into {key_env}")
_SHAPE = Rule("bad-request", False, "no", "check [model] in agent.toml")
_SERVER = Rule("server", True, "unknown")
_OTHER = Rule("bad-request", False, "unknown", "check [model] in agent.toml")

STATUS: Mapping[int, Rule] = {
    400: _SHAPE,
    401: _KEY,
    403: _KEY,
    404: Rule("bad-request", False, "no", "check model_name and base_url in agent.toml"),
    408: Rule("timeout", True, "unknown"),
    413: Rule("bad-request", False, "no", "lower max_context_tokens in agent.toml"),
    422: _SHAPE,
    429: Rule("rate-limit", True, "no"),
}
OVERLOADED = Rule("server", True, "no")
NO_CREDIT = Rule("rate-limit", False, "no", "the account has no credit left: top it up")
TIMEOUT = Rule("timeout", True, "unknown", "raise timeout_s under [model] in agent.toml")
UNSENT = Rule("connection", True, "no", "check base_url, and that the server runs")
LOST = Rule("connection", True, "unknown")
UNREADABLE = Rule("malformed", False, "unknown", "check that base_url speaks this vendor's API")

UNSENT_NAMES = frozenset(
    {"ConnectError", "ConnectTimeout", "ConnectionRefusedError", "ConnectionError"}
)


def rule_for(adapter: str, status: int, code: str = "") -> Rule:
    """The rule for an HTTP ``status``; ``code`` is the vendor's own word for the error."""
    if status == 529 and adapter == "anthropic":
        return OVERLOADED
    if status == 429 and code == "insufficient_quota":
        return NO_CREDIT
    return STATUS.get(status, _SERVER if status >= 500 else _OTHER)


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Seconds to wait by ``retry-after-ms`` or ``retry-after`` (RFC 9110 §10.2.3), or None."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _number(headers.get(name, ""))
        if seconds is not None:
            return max(0.0, seconds * unit)
    return _until(headers.get("retry-after", ""), now_s)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _until(date: str, now_s: float) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


def _rule_without_status(error: Exception) -> Rule:
    names = [type(one).__name__ for one in _causes(error)]
    if not UNSENT_NAMES.isdisjoint(names):
        return UNSENT
    if any("Timeout" in name for name in names):
        return TIMEOUT
    unreadable = isinstance(error, ValueError | TypeError | AttributeError | RecursionError)
    return UNREADABLE if unreadable else LOST


def _status(error: Exception) -> int | None:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) and status > 0 else None


def _headers(error: Exception) -> Mapping[str, str]:
    headers = getattr(getattr(error, "response", None), "headers", None)
    return headers if isinstance(headers, Mapping) else {}


def from_exception(error: Exception, endpoint: Endpoint, now_s: float) -> ModelError:
    """What an SDK's ``error`` means: see the tables above."""
    status = _status(error)
    if status is None:
        rule, what = _rule_without_status(error), f"{type(error).__name__}: {error}"
    else:
        rule = rule_for(endpoint.adapter, status, str(getattr(error, "code", "")))
        what = f"HTTP {status}: {error}"
    return _error(rule, what, endpoint, retry_after_s(_headers(error), now_s))


def _error(rule: Rule, what: str, endpoint: Endpoint, retry_after: float | None) -> ModelError:
    if endpoint.secret:
        what = what.replace(endpoint.secret, "***")
    return ModelError(
        rule.kind,
        clean(what, MAX_MESSAGE),
        retryable=rule.retryable,
        billed=rule.billed,
        retry_after_s=retry_after,
        where=str(endpoint),
        fix=rule.fix.format(key_env=endpoint.key_env or "the environment"),
    )


@asynccontextmanager
async def guarded(endpoint: Endpoint, timeout_s: float) -> AsyncIterator[None]:
    """Run one call of an SDK: bounded in time as a whole, and failing with ``ModelError`` only.

    Cancellation passes through. Every other exception is caught because a hostile body reaches
    code of the SDK that was not written for it.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        what = f"no whole answer within {timeout_s:g} s"
        raise _error(TIMEOUT, what, endpoint, None) from None
    except ModelError as error:
        error.where = str(endpoint)
        raise
    except Exception as error:  # noqa: BLE001 - see the docstring
        raise from_exception(error, endpoint, time.time()) from None
