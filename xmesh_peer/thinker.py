"""What wakes: one wake at a time goes through budget, breaker and model, and is ruled upon.

    oldest wake ──► thread share ──► second look ──► wake budget ──► breaker ──► context
                ──► model ──► ruling ──► memory (answer, record, outbox, wake done: one
                transaction) ──► settlement

A wake that may not be acted on yet stays queued, and its peer says why. The queue's bound and
what gives way beyond it are ``memory.MAX_QUEUED_WAKES``.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Never

import msgspec

from xmesh_mesh.errors import (
    BudgetError,
    ConfigError,
    KilledError,
    LedgerBusy,
    RecordError,
    StoreError,
)
from xmesh_mesh.memory import Answer, Wake
from xmesh_mesh.node import Node
from xmesh_peer import context
from xmesh_peer.calls import Answered, Busy, Caller, Denied, Failed
from xmesh_peer.decisions import Ruling, addressee, rule
from xmesh_peer.models.base import EMIT_CMB, Message, ModelRequest
from xmesh_peer.presence import RETRY_S, Cause, Presence, now_ms
from xmesh_peer.recollect import Recollection, recollect
from xmesh_peer.safety.breaker import Breaker, Outcome, Permit, Phase
from xmesh_peer.safety.cycle import thread_check
from xmesh_peer.safety.gates import Gates
from xmesh_peer.safety.ledger import Purse
from xmesh_peer.settings import Settings
from xmesh_peer.triage import Triage


class Thinker:
    """Acts on wakes until the presence stops.

    Raises what ends the peer for good: BudgetError (the run's money is spent), ConfigError (the
    vendor does not take the key), KilledError (a cause that ``[supervise] kill_on`` names).
    """

    def __init__(
        self,
        *,
        node: Node,
        caller: Caller,
        purse: Purse,
        settings: Settings,
        presence: Presence,
        others: Callable[[], int],
        emitted: Callable[[], None],
        bury: Callable[[str], None],
        triage: Triage | None = None,
    ) -> None:
        self.calls = 0
        self.woken = asyncio.Event()
        self._node = node
        self._memory = node.memory
        self._name = node.identity.name
        self._caller = caller
        self._purse = purse
        self._settings = settings
        self._presence = presence
        self._log = presence.log
        self._others = others
        self._emitted = emitted
        self._bury = bury
        self._triage = triage
        self._breaker = Breaker()
        self._gates = Gates.from_setting(settings.safety.approval_gates)

    @property
    def breaker(self) -> Phase:
        return self._breaker.phase(time.monotonic())

    async def run(self) -> None:
        """Act on one wake after the other; a store or ledger that is away is waited for."""
        while not self._presence.stopping.is_set():
            try:
                wake = self._memory.next_wake()
                if wake is not None:
                    await self._act_on(wake)
                    continue
            except (StoreError, LedgerBusy) as error:
                await self._presence.wait_out(error.what)
                continue
            self._presence.rest()
            self.woken.clear()
            await self.woken.wait()

    async def settle_stored(self) -> None:
        """Tell the ledger what stored answers cost; what it can't take now stays at its worst."""
        for call, cost_nano in self._memory.unsettled():
            try:
                await self._purse.settle(call, cost_nano)
            except (LedgerBusy, StoreError) as error:
                self._log.warning("unsettled", f"{call} counts at its worst case: {error.what}")
                return
            self._memory.mark_settled(call)

    async def _act_on(self, wake: Wake) -> None:
        safety = self._settings.safety
        share = thread_check(self._memory.used_in_thread(wake.thread), safety.max_per_thread)
        if share.suppress:
            self._finish(wake, "limited", share.reason)
            return
        if self._triage is not None:
            self._presence.think("on whether what it heard matters to it")
            asleep = await self._triage.keeps_asleep(wake)
            if asleep:
                self._finish(wake, "slept", asleep)
                return
        recollection = recollect(self._memory, wake, self._settings.context, safety.cycle_depth)
        if recollection is None:
            self._finish(wake, "failed", "the record's words are gone")
        elif await self._may_wake(wake):
            permit = self._breaker.ask(time.monotonic())
            if permit is not None:
                await self._reason(wake, recollection, permit)
            else:
                wait_s = self._breaker.retry_after_s(time.monotonic())
                await self._presence.defer("breaker", "the circuit breaker is open", wait_s)

    async def _may_wake(self, wake: Wake) -> bool:
        decision = await self._purse.admit_wake(wake.assertion)
        for warning in decision.warnings:
            self._log.warning("budget-warning", warning)
        denial = decision.denial
        if denial is not None:
            cause: Cause = "minute" if denial.limit == "minute" else "budget"
            await self._presence.defer(cause, denial.text, denial.retry_after_s)
        return denial is None

    async def _reason(self, wake: Wake, recollection: Recollection, permit: Permit) -> None:
        woke = recollection.woke
        self._presence.think(f"on {woke.key[:12]} from {woke.created_by}")
        self._log.info("woke", f"wakes on {woke.key[:12]} from {woke.created_by}", key=woke.key)
        self._memory.begin_wake(wake.assertion)
        self.calls += 1
        outcome: Answered | Denied | Busy | Failed | None = None
        try:
            outcome = await self._caller.call(wake.assertion, self._request(recollection))
        finally:
            self._report(permit, outcome)
        match outcome:
            case Answered():
                await self._answered(wake, recollection, outcome)
            case Denied(denial):
                await self._over_budget(denial.limit, denial.text, denial.retry_after_s)
            case Busy(text):
                await self._presence.defer("ledger", text, RETRY_S)
            case Failed():
                await self._failed(wake, outcome)

    def _report(self, permit: Permit, outcome: object) -> None:
        """Tell the breaker what it wants to know: whether the vendor answered."""
        verdicts: dict[type, Outcome] = {Answered: Outcome.OK, Failed: Outcome.FAILED}
        self._breaker.report(
            permit, verdicts.get(type(outcome), Outcome.ABANDONED), time.monotonic()
        )

    def _request(self, recollection: Recollection) -> ModelRequest:
        settings = self._settings
        system = context.system_prompt(
            name=settings.identity.name,
            role=settings.identity.role,
            charter=settings.identity.charter,
            group=settings.mesh.group,
        )
        prompt = context.build(
            system, recollection.remembrance, settings.context.max_context_tokens
        )
        return ModelRequest(
            system=prompt.system,
            messages=(Message("user", prompt.user),),
            tool=EMIT_CMB,
            max_tokens=settings.model.max_tokens_per_call,
            temperature=settings.model.temperature,
            timeout_s=settings.model.timeout_s,
        )

    # What an answer becomes

    async def _answered(self, wake: Wake, recollection: Recollection, answered: Answered) -> None:
        if answered.answer.dropped:
            names = ", ".join(answered.answer.dropped)
            self._log.warning("unknown-fields", f"the model used fields that do not exist: {names}")
        safety = self._settings.safety
        ruling = rule(answered.answer, recollection.thread, safety.cycle_depth, self._gates)
        while True:
            try:
                outcome = self._commit(wake, recollection, answered, ruling)
                break
            except StoreError as error:
                await self._presence.wait_out(f"cannot store a paid answer: {error.what}")
        await self.settle_stored()
        if outcome == "emitted":
            self._emitted()
        if outcome == "held":
            self._maybe_end("gate", ruling.detail)

    def _commit(
        self, wake: Wake, recollection: Recollection, answered: Answered, ruling: Ruling
    ) -> str:
        """Store the answer and all that follows from it in one transaction; return the outcome."""
        outcome: str = ruling.outcome
        detail, emitted = ruling.detail, None
        with self._memory.transaction():
            if outcome in {"emitted", "held"}:
                try:
                    emitted = self._compose(wake, recollection, ruling)
                except RecordError as error:
                    outcome, detail = "malformed", f"the answer makes no record: {error}"
            answer = Answer(
                answered.call_id,
                answered.cost_nano,
                msgspec.json.encode(answered.answer).decode(),
            )
            self._finish(wake, outcome, detail, answer=answer, emitted=emitted)
        return outcome

    def _compose(self, wake: Wake, recollection: Recollection, ruling: Ruling) -> str:
        """Sign the record and store it, in the outbox or held; return its assertion id."""
        woke, at_ms = recollection.woke, now_ms()
        to = addressee(self._settings.routing.response_routing, woke.author, self._others())
        record, assertion = self._node.compose(
            ruling.texts,
            now_ms=at_ms,
            parents=(woke.key,),
            to=to,
            by_field=self._node.drops_echoes(woke.author),
        )
        if ruling.outcome == "held":
            hits = msgspec.json.encode(ruling.hits).decode()
            self._memory.hold(record, assertion, wake.assertion, hits, at_ms)
        else:
            author = self._node.identity.node_id
            self._memory.remember_own(record, assertion, author, now_ms=at_ms)
        return assertion

    def _finish(
        self,
        wake: Wake,
        outcome: str,
        detail: str,
        *,
        answer: Answer | None = None,
        emitted: str | None = None,
    ) -> None:
        self._memory.finish_wake(
            wake.assertion, outcome, detail, now_ms=now_ms(), answer=answer, emitted=emitted
        )
        facts: dict[str, Any] = {"wake": wake.assertion, "emitted": emitted} if emitted else {}
        self._log.info(outcome, f"{outcome}: {detail}", **facts)

    # When it cannot go on

    async def _failed(self, wake: Wake, failed: Failed) -> None:
        if failed.kind == "auth":
            raise ConfigError(
                f"the vendor does not accept the key: {failed.text}",
                where=f"{self._name} [model]",
                fix=f"set a valid key, then: xmesh-sup up … or: xmesh-sup start {self._name}",
            )
        if self.breaker is Phase.OPEN:
            self._maybe_end("breaker", failed.text)
        if failed.retry_after_s is not None:
            await self._presence.defer("vendor", failed.text, failed.retry_after_s)
            return
        outcome = "malformed" if failed.kind == "malformed" else "failed"
        tries = "1 attempt" if failed.attempts == 1 else f"{failed.attempts} attempts"
        self._finish(wake, outcome, f"{failed.text} ({tries})")

    async def _over_budget(self, limit: str, text: str, retry_after_s: float | None) -> None:
        self._maybe_end(f"budget_{limit}", text)
        if limit == "run" or retry_after_s is None:
            raise BudgetError(
                text,
                fix=f"raise the cap, or begin a new run with: xmesh-sup restart {self._name}",
            )
        await self._presence.defer("budget", text, retry_after_s)

    def _maybe_end(self, cause: str, text: str) -> None:
        if cause in self._settings.supervise.kill_on:
            self._end(f"[supervise] kill_on {cause}: {text}")

    def _end(self, why: str) -> Never:
        self._bury(why)
        raise KilledError(why, where=self._name)
