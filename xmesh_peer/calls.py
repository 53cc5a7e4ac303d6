"""The one place that calls a model, pays for it, and tries again.

Each attempt is reserved at its worst case before a byte is sent, under a call id of its own:

    answered       the reservation stays until the caller has stored the answer, then ``settle``
    refused        (``billed`` "no") settled at nothing, here
    malformed      settled at the usage that the vendor stated, here
    anything else  cut, hung, cancelled, failed inside the vendor: it stays at its worst case

So whatever happens, what is settled and reserved is never less than what the vendor bills.
"""

import itertools
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from xmesh_mesh.errors import LedgerBusy
from xmesh_peer.models.base import (
    ErrorKind,
    Model,
    ModelAnswer,
    ModelError,
    ModelRequest,
    Usage,
)

__all__ = [
    "Answered",
    "Busy",
    "Caller",
    "Denial",
    "Denied",
    "Failed",
    "Outcome",
    "Purse",
    "Rates",
    "backoff_s",
    "cost_nano",
    "worst_case_nano",
]

MAX_ATTEMPTS = 3
OVERHEAD_TOKENS = 1024
FIRST_BACKOFF_S = 1.0
MAX_RETRY_AFTER_S = 60.0


class Rates(Protocol):
    """A price: integer nano-USD per token."""

    @property
    def input_nano(self) -> int: ...

    @property
    def output_nano(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Denial:
    """A cap that a reservation would break; ``retry_after_s`` is when room may be free, if ever."""

    limit: Literal["run", "hour", "day"]
    text: str
    retry_after_s: float | None


class Purse(Protocol):
    """The spend ledger as a caller sees it. Both methods may raise ``LedgerBusy``."""

    async def reserve(self, call_id: str, wake_id: str, nano: int) -> Denial | None: ...

    async def settle(self, call_id: str, nano: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Answered:
    """A paid answer. Store it, then hand this to ``Caller.settle``."""

    call_id: str
    answer: ModelAnswer
    cost_nano: int
    attempts: int
    took_s: float


@dataclass(frozen=True, slots=True)
class Denied:
    """A cap forbids the next attempt."""

    denial: Denial
    attempts: int


@dataclass(frozen=True, slots=True)
class Busy:
    """The ledger could not be written, so nothing was called; ``text`` names who holds it."""

    text: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer. ``kind`` "auth" will not mend by itself: the peer ends for good.

    ``retry_after_s``: how long the vendor asked to be left alone, counted from now.
    """

    kind: ErrorKind
    text: str
    attempts: int
    retry_after_s: float | None = None


Outcome = Answered | Denied | Busy | Failed


def cost_nano(usage: Usage, price: Rates | None) -> int:
    """What ``usage`` costs; nothing where there is no price."""
    if price is None:
        return 0
    return usage.input_tokens * price.input_nano + usage.output_tokens * price.output_nano


def worst_case_nano(request: ModelRequest, price: Rates | None) -> int:
    """The most that one attempt at ``request`` can cost: a token has at least one byte of UTF-8."""
    texts = [request.system, *(one.content for one in request.messages)]
    sent = sum(len(text.encode(errors="surrogatepass")) for text in texts)
    if request.tool is not None:
        sent += len(msgspec.json.encode([request.tool.name, request.tool.description]))
        sent += len(msgspec.json.encode(request.tool.parameters))
    return cost_nano(Usage(sent + OVERHEAD_TOKENS, request.max_tokens), price)


def backoff_s(failures: int, rng: random.Random) -> float:
    """The pause after so many ``failures`` (from 1): full jitter under 1 s, doubled each time."""
    return rng.uniform(0.0, FIRST_BACKOFF_S * 2.0 ** (failures - 1))


class Caller:
    """Calls ``model`` at ``price`` from ``purse``. ``clock`` and ``sleep`` count seconds.

    A call id is ``<wake>#<tag>.<n>``: the tag is this object's own, so that a wake which is asked
    again after a crash never passes for a call that is reserved already.
    """

    def __init__(
        self,
        model: Model,
        purse: Purse,
        price: Rates | None,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        rng: random.Random,
        attempts: int = MAX_ATTEMPTS,
    ) -> None:
        self._model = model
        self._purse = purse
        self._price = price
        self._clock = clock
        self._sleep = sleep
        self._rng = rng
        self._attempts = attempts
        self._tag = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    async def call(self, wake_id: str, request: ModelRequest) -> Outcome:
        """Ask, at most ``attempts`` times. Cancelled in flight, it leaves the reservation."""
        number = 1
        while isinstance(outcome := await self._attempt(wake_id, request, number), ModelError):
            pause = self._pause_s(outcome, number)
            if pause is None:
                return Failed(outcome.kind, str(outcome), number, outcome.retry_after_s)
            await self._sleep(pause)
            number += 1
        return outcome

    async def settle(self, answered: Answered) -> None:
        """Pay for an answer that is stored. Idempotent. May raise ``LedgerBusy``."""
        await self._purse.settle(answered.call_id, answered.cost_nano)

    async def _attempt(
        self, wake_id: str, request: ModelRequest, number: int
    ) -> Answered | Denied | Busy | ModelError:
        call_id = f"{wake_id}#{self._tag}.{next(self._numbers)}"
        worst = worst_case_nano(request, self._price)
        try:
            denial = await self._purse.reserve(call_id, wake_id, worst)
        except LedgerBusy as busy:
            return Busy(str(busy), number - 1)
        if denial is not None:
            return Denied(denial, number - 1)
        started = self._clock()
        try:
            answer = await self._model.call(request)
        except ModelError as error:
            await self._settle_failure(call_id, error)
            return error
        cost = worst if answer.usage is None else cost_nano(answer.usage, self._price)
        return Answered(call_id, answer, cost, number, self._clock() - started)

    async def _settle_failure(self, call_id: str, error: ModelError) -> None:
        if error.billed == "unknown":
            return
        nano = 0 if error.billed == "no" else cost_nano(error.billed, self._price)
        try:
            await self._purse.settle(call_id, nano)
        except LedgerBusy:
            return  # the reservation stands, which is never too little

    def _pause_s(self, error: ModelError, failures: int) -> float | None:
        """Seconds until the next attempt, or None when there is none."""
        asked = error.retry_after_s or 0.0
        if not error.retryable or failures >= self._attempts or asked > MAX_RETRY_AFTER_S:
            return None
        return max(asked, backoff_s(failures, self._rng))
