"""Paying for calls, and trying again: scripted models for the rules, real servers for the money."""

import asyncio
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from helpers.vendors import (
    FREE_STATUSES,
    Dialect,
    Reply,
    Vendor,
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

from xmesh_mesh.errors import LedgerBusy
from xmesh_peer.calls import (
    Answered,
    Busy,
    Caller,
    Denial,
    Denied,
    Failed,
    Outcome,
    backoff_s,
    cost_nano,
    worst_case_nano,
)
from xmesh_peer.models.anthropic import AnthropicModel
from xmesh_peer.models.base import (
    EMIT_CMB,
    Message,
    Model,
    ModelAnswer,
    ModelError,
    ModelRequest,
    Tool,
    Usage,
)
from xmesh_peer.models.failures import Endpoint
from xmesh_peer.models.ollama import OllamaModel
from xmesh_peer.models.openai import OpenAIModel

TOOL = Tool("t", "say", {})
REQUEST = ModelRequest("sys", (Message("user", "é"),), TOOL, 100, None, 5.0)
REQUEST_BYTES = len("sys") + len("é".encode()) + len('["t","say"]') + len("{}")


@dataclass(frozen=True)
class Rate:
    input_nano: int
    output_nano: int


PRICE = Rate(3, 50)
WORST = (REQUEST_BYTES + 1024) * 3 + 100 * 50
ANSWER = ModelAnswer({"focus": "f"}, "", Usage(10, 4))
ANSWER_NANO = 10 * 3 + 4 * 50
FULL = Denial("day", "the day's money is spent", 3600.0)


@dataclass
class Book:
    """A purse that writes down what it is told, and denies or is busy on demand."""

    held: dict[str, int] = field(default_factory=dict)
    wakes: list[str] = field(default_factory=list)
    denials: list[Denial | LedgerBusy | None] = field(default_factory=list)
    busy_to_settle: bool = False

    async def reserve(self, call_id: str, wake_id: str, nano: int) -> Denial | None:
        verdict = self.denials.pop(0) if self.denials else None
        if isinstance(verdict, LedgerBusy):
            raise verdict
        if verdict is None:
            assert call_id not in self.held, "an id is used once"
            self.held[call_id] = nano
            self.wakes.append(wake_id)
        return verdict

    async def settle(self, call_id: str, nano: int) -> None:
        if self.busy_to_settle:
            raise LedgerBusy("locked")
        assert call_id in self.held
        self.held[call_id] = nano

    @property
    def sums(self) -> list[int]:
        return list(self.held.values())


class Script:
    """A model that says what it is told, and then hangs."""

    def __init__(self, *turns: ModelAnswer | ModelError) -> None:
        self.turns = list(turns)
        self.asked = asyncio.Event()
        self.requests: list[ModelRequest] = []

    async def call(self, request: ModelRequest) -> ModelAnswer:
        self.requests.append(request)
        self.asked.set()
        if not self.turns:
            await asyncio.Event().wait()
        turn = self.turns.pop(0)
        if isinstance(turn, ModelError):
            raise turn
        return turn

    async def close(self) -> None: ...


class Clock:
    """Virtual seconds: a sleep passes at once and is written down."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        self.now_s += 0.25
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Shortest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        assert a < b
        return a


class Longest(random.Random):
    """Draws the longest pause there is, so that ceilings show."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0.0
        return b


def error(
    kind: str = "server",
    *,
    retryable: bool = True,
    billed: str | Usage = "unknown",
    retry_after_s: float | None = None,
) -> ModelError:
    return ModelError(
        kind,  # type: ignore[arg-type]
        f"a {kind} error",
        retryable=retryable,
        billed=billed,  # type: ignore[arg-type]
        retry_after_s=retry_after_s,
    )


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def caller(model: Model, book: Book, clock: Clock, price: Rate | None = PRICE) -> Caller:
    return Caller(model, book, price, clock=clock, sleep=clock.sleep, rng=Longest())


async def run(book: Book, clock: Clock, *turns: ModelAnswer | ModelError) -> Outcome:
    return await caller(Script(*turns), book, clock).call("wake-1", REQUEST)


def test_a_price_is_per_token_and_side() -> None:
    assert cost_nano(Usage(10, 4), PRICE) == 230
    assert cost_nano(Usage(10, 4), None) == 0


def test_the_worst_case_is_a_token_for_each_byte_sent_and_all_the_output() -> None:
    assert worst_case_nano(REQUEST, PRICE) == WORST
    assert worst_case_nano(REQUEST, None) == 0


def test_the_worst_case_covers_the_tool_s_schema_and_every_message() -> None:
    longer = replace(REQUEST, messages=(*REQUEST.messages, Message("assistant", "four")))
    assert worst_case_nano(longer, PRICE) == WORST + 4 * 3
    schema = replace(REQUEST, tool=Tool("t", "say", {"a": "b"}))
    assert worst_case_nano(schema, PRICE) == WORST + len('"a":"b"') * 3


def test_the_worst_case_counts_text_that_no_encoding_takes() -> None:
    assert worst_case_nano(replace(REQUEST, system="\ud800"), PRICE) == WORST


@pytest.mark.parametrize(
    ("failures", "ceiling"),
    [(1, 1.0), (2, 2.0), (3, 4.0)],
)
def test_the_back_off_doubles_from_one_second(failures: int, ceiling: float) -> None:
    assert backoff_s(failures, Longest()) == ceiling


def test_the_back_off_is_drawn_from_the_whole_range_below_its_ceiling() -> None:
    rng = random.Random(1)
    drawn = [backoff_s(3, rng) for _ in range(1000)]
    assert 0 <= min(drawn) < 0.1
    assert 3.9 < max(drawn) <= 4.0


async def test_an_answer_is_returned_with_its_cost_and_stays_reserved_until_settled(
    book: Book, clock: Clock
) -> None:
    calling = caller(Script(ANSWER), book, clock)
    outcome = await calling.call("wake-1", REQUEST)
    assert isinstance(outcome, Answered)
    assert (outcome.answer, outcome.cost_nano) == (ANSWER, ANSWER_NANO)
    assert (outcome.attempts, outcome.took_s) == (1, 0.25)
    assert book.held == {outcome.call_id: WORST}
    assert book.wakes == ["wake-1"]
    await calling.settle(outcome)
    assert book.held == {outcome.call_id: ANSWER_NANO}


async def test_an_answer_without_usage_costs_the_worst_case(book: Book, clock: Clock) -> None:
    outcome = await run(book, clock, replace(ANSWER, usage=None))
    assert isinstance(outcome, Answered)
    assert outcome.cost_nano == WORST


async def test_an_answer_dearer_than_the_worst_case_is_paid_as_billed(
    book: Book, clock: Clock
) -> None:
    outcome = await run(book, clock, replace(ANSWER, usage=Usage(10_000, 10_000)))
    assert isinstance(outcome, Answered)
    assert outcome.cost_nano == 530_000 > WORST


async def test_without_a_price_calls_are_still_counted(book: Book, clock: Clock) -> None:
    outcome = await caller(Script(ANSWER), book, clock, None).call("wake-1", REQUEST)
    assert isinstance(outcome, Answered)
    assert (outcome.cost_nano, book.sums) == (0, [0])


async def test_no_call_is_made_that_is_not_reserved(book: Book, clock: Clock) -> None:
    book.denials = [FULL]
    model = Script(ANSWER)
    assert await caller(model, book, clock).call("wake-1", REQUEST) == Denied(FULL, 0)
    assert model.requests == []


async def test_a_busy_ledger_means_no_call(book: Book, clock: Clock) -> None:
    book.denials = [LedgerBusy("held by 4711")]
    model = Script(ANSWER)
    assert await caller(model, book, clock).call("wake-1", REQUEST) == Busy("held by 4711", 0)
    assert model.requests == []


async def test_a_cap_can_forbid_the_second_attempt(book: Book, clock: Clock) -> None:
    book.denials = [None, FULL]
    assert await run(book, clock, error(), ANSWER) == Denied(FULL, 1)
    book.denials = [None, LedgerBusy("held")]
    assert await run(book, clock, error(), ANSWER) == Busy("held", 1)


async def test_a_retryable_error_is_tried_three_times_each_with_its_own_reservation(
    book: Book, clock: Clock
) -> None:
    outcome = await run(book, clock, error(), error(), error(), ANSWER)
    assert outcome == Failed("server", "a server error", 3)
    assert book.sums == [WORST, WORST, WORST]
    assert clock.slept == [1.0, 2.0]


async def test_success_after_failures_counts_the_attempts(book: Book, clock: Clock) -> None:
    outcome = await run(book, clock, error(billed="no"), error(), ANSWER)
    assert isinstance(outcome, Answered)
    assert outcome.attempts == 3
    assert book.sums == [0, WORST, WORST]
    assert list(book.held)[-1] == outcome.call_id


async def test_call_ids_name_the_wake_and_never_repeat(book: Book, clock: Clock) -> None:
    for _ in range(2):  # as after a restart
        calling = caller(Script(error(), ANSWER, ANSWER), book, clock)
        for _ in range(2):
            await calling.call("wake-1", REQUEST)
    assert len(book.held) == 6
    ids = [re.fullmatch(r"wake-1#([0-9a-f]{8})\.(\d)", one) for one in book.held]
    assert [found[2] for found in ids if found] == ["1", "2", "3"] * 2
    assert len({found[1] for found in ids if found}) == 2


@pytest.mark.parametrize("kind", ["auth", "bad-request", "malformed"])
async def test_what_cannot_mend_is_not_tried_again(book: Book, clock: Clock, kind: str) -> None:
    outcome = await run(book, clock, error(kind, retryable=False, billed="no"), ANSWER)
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.attempts, clock.slept) == (kind, 1, [])
    assert book.sums == [0]


async def test_a_malformed_answer_is_paid_by_its_usage(book: Book, clock: Clock) -> None:
    await run(book, clock, error("malformed", retryable=False, billed=Usage(10, 4)))
    assert book.sums == [ANSWER_NANO]


async def test_a_failure_that_cannot_be_settled_stays_at_its_worst(
    book: Book, clock: Clock
) -> None:
    book.busy_to_settle = True
    outcome = await run(book, clock, error("auth", retryable=False, billed="no"))
    assert isinstance(outcome, Failed)
    assert book.sums == [WORST]


@pytest.mark.parametrize(
    ("asked_s", "slept"),
    [(None, [1.0]), (0.0, [1.0]), (0.5, [1.0]), (7.0, [7.0]), (60.0, [60.0])],
)
async def test_the_vendor_s_wish_to_wait_is_honoured(
    book: Book, clock: Clock, asked_s: float | None, slept: list[float]
) -> None:
    outcome = await run(book, clock, error("rate-limit", retry_after_s=asked_s), ANSWER)
    assert isinstance(outcome, Answered)
    assert clock.slept == slept


async def test_without_a_wish_the_shortest_pause_is_none(book: Book, clock: Clock) -> None:
    model = Script(error(), ANSWER)
    calling = Caller(model, book, PRICE, clock=clock, sleep=clock.sleep, rng=Shortest())
    assert isinstance(await calling.call("wake-1", REQUEST), Answered)
    assert clock.slept == [0.0]


async def test_a_wish_to_wait_longer_than_a_minute_ends_the_call(book: Book, clock: Clock) -> None:
    outcome = await run(book, clock, error("rate-limit", retry_after_s=60.5), ANSWER)
    assert outcome == Failed("rate-limit", "a rate-limit error", 1, 60.5)
    assert clock.slept == []


async def test_cancelled_in_flight_the_reservation_stays(book: Book, clock: Clock) -> None:
    model = Script()
    task = asyncio.create_task(caller(model, book, clock).call("wake-1", REQUEST))
    await model.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert book.sums == [WORST]


# From here on: real SDKs, real servers, and the bill that the server wrote.

MISBEHAVIOUR: dict[str, Reply] = {
    "call": tool_call({"focus": "a"}),
    "text": say("no"),
    "empty": say(""),
    "refusal": refusal(),
    "all the output": tool_call({"focus": "a"}, output_tokens=64),
    "no usage": tool_call({"focus": "a"}, states_usage=False, output_tokens=64),
    "unknown field": tool_call({"to": "bob"}),
    "wrong type": tool_call({"focus": [1]}),
    "no arguments": tool_call("{"),
    "truncated": tool_call({"focus": "a"}, length=True, output_tokens=64),
    "huge": tool_call({"focus": "x" * 100_000}, output_tokens=64),
    "garbage": garbage(),
    "wrong shape": Reply(body=[1], output_tokens=64),
    "cut": cut(),
    "hang": hang(),
    "drip": drip(),
    **{str(status): fail(status) for status in (400, 401, 403, 404, 413, 422, 429, 529)},
    **{str(status): fail(status) for status in (408, 409, 500, 502, 503)},
}


@pytest.fixture(params=["openai", "anthropic", "ollama"])
def vendor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    dialect: Dialect = request.param
    with serve(dialect, say("")) as running:
        yield running


def model_of(vendor: Vendor) -> Model:
    classes = {"openai": OpenAIModel, "anthropic": AnthropicModel, "ollama": OllamaModel}
    made: Model = classes[vendor.dialect](Endpoint(vendor.dialect, "m", vendor.url, "K", "k"))
    return made


async def pay(vendor: Vendor, book: Book, clock: Clock) -> Outcome:
    """One wake at ``vendor``, settled as the loop would; short only where nothing will come."""
    timeout_s = 20.0 if vendor.replies[0].act in {"answer", "cut"} else 0.25
    model = model_of(vendor)
    calling = caller(model, book, clock)
    request = ModelRequest("Ü" * 50, (Message("user", "go"),), EMIT_CMB, 64, None, timeout_s)
    outcome = await calling.call("wake-1", request)
    if isinstance(outcome, Answered):
        await calling.settle(outcome)
    await model.close()
    return outcome


@pytest.mark.parametrize("name", MISBEHAVIOUR)
async def test_settled_and_reserved_is_never_less_than_the_bill(
    vendor: Vendor, book: Book, clock: Clock, name: str
) -> None:
    vendor.replies = [MISBEHAVIOUR[name]]
    outcome = await pay(vendor, book, clock)
    assert not isinstance(outcome, Denied | Busy)
    # A busy machine can use an attempt up before its request arrives: reserved, and never billed.
    assert len(vendor.seen) <= len(book.held) == outcome.attempts
    assert sum(book.sums) >= vendor.billed_nano(PRICE.input_nano, PRICE.output_nano)


@pytest.mark.parametrize("status", sorted(FREE_STATUSES - {529}))
async def test_a_refused_call_costs_nothing(
    vendor: Vendor, book: Book, clock: Clock, status: int
) -> None:
    vendor.replies = [fail(status)]
    outcome = await pay(vendor, book, clock)
    assert isinstance(outcome, Failed)
    assert set(book.sums) == {0}
    assert vendor.billed_nano(1, 1) == 0


async def test_a_plain_answer_is_paid_to_the_nano(vendor: Vendor, book: Book, clock: Clock) -> None:
    vendor.replies = [tool_call({"focus": "a"})]
    await pay(vendor, book, clock)
    assert sum(book.sums) == vendor.billed_nano(PRICE.input_nano, PRICE.output_nano) > 0


async def test_a_server_that_recovers_is_asked_until_it_does(
    vendor: Vendor, book: Book, clock: Clock
) -> None:
    vendor.replies = [fail(429), fail(500), tool_call({"focus": "a"})]
    outcome = await pay(vendor, book, clock)
    assert isinstance(outcome, Answered)
    assert (outcome.attempts, len(vendor.seen)) == (3, 3)
    assert sum(book.sums) >= vendor.billed_nano(PRICE.input_nano, PRICE.output_nano)


async def test_a_bad_key_is_asked_once(vendor: Vendor, book: Book, clock: Clock) -> None:
    vendor.replies = [fail(401)]
    outcome = await pay(vendor, book, clock)
    assert isinstance(outcome, Failed)
    assert (outcome.kind, len(vendor.seen)) == ("auth", 1)


async def test_cancelling_a_real_call_keeps_its_reservation(
    vendor: Vendor, book: Book, clock: Clock
) -> None:
    vendor.replies = [hang()]
    model = model_of(vendor)
    request = ModelRequest("s", (Message("user", "go"),), EMIT_CMB, 64, None, 30.0)
    task = asyncio.create_task(caller(model, book, clock).call("wake-1", request))
    await asyncio.to_thread(vendor.wait_for, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await model.close()
    assert sum(book.sums) >= vendor.billed_nano(PRICE.input_nano, PRICE.output_nano) > 0
