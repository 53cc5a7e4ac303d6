"""A second look at what the judge is unsure of: a small question to a small model.

Reserved and settled in the same ledger as every call, asked once for the same message before the
same memory, and whatever goes wrong, the judge's leaning stands.
"""

import json
from collections.abc import Callable, Mapping
from typing import Literal

from xmesh_mesh.errors import LedgerBusy, StoreError
from xmesh_mesh.judging.decision import Label
from xmesh_mesh.memory import Memory, Remembered, Wake
from xmesh_mesh.memory_rows import Judgement
from xmesh_peer.calls import Answered, Caller, Denied, Failed, Outcome
from xmesh_peer.log import Log
from xmesh_peer.question import Question, parse, request
from xmesh_peer.thrift import Thrift, worth_asking

__all__ = ["Triage"]

TIMEOUT_S = 10.0
_META = "triage"
_NEAREST = 3

Mode = Literal["auto", "off", "always"]


class Triage:
    """``caller`` asks the model; ``now_ms`` is wall time, for people."""

    def __init__(
        self,
        mode: Mode,
        caller: Caller,
        memory: Memory,
        charter: str,
        log: Log,
        *,
        now_ms: Callable[[], int],
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._mode = mode
        self._caller = caller
        self._memory = memory
        self._charter = charter
        self._log = log
        self._now_ms = now_ms
        self._timeout_s = min(timeout_s, TIMEOUT_S)

    async def keeps_asleep(self, wake: Wake) -> str:
        """Return why this wake need not be acted on, "" where it must be."""
        judgement = self._memory.judgement(wake.assertion)
        if wake.directed or judgement is None or judgement.sure:
            return ""
        found = self._memory.by_assertion(wake.assertion)
        if found is None or found.record is None:
            return ""
        mail = found.record.spoken()
        label = await self._second_look(wake, judgement, found, mail)
        reason = f"a second look says {label}" if label else "no second look: the leaning stands"
        final = label or judgement.label
        self._note(wake, final, reason)
        return "" if final == "relevant" else f"{final}: {reason}"

    def _note(self, wake: Wake, final: str, reason: str) -> None:
        verdict = {"relevant": "aligned", "redundant": "redundant"}.get(final, "rejected")
        self._memory.revise(wake.assertion, verdict, final == "relevant", reason)

    async def _second_look(
        self, wake: Wake, judgement: Judgement, found: Remembered, mail: Mapping[str, str]
    ) -> Label | None:
        question = Question(self._charter, self._nearest(found), mail)
        known = self._memory.answer_to(question.digest)
        if known is not None:
            return _label(known)
        if not self._may_ask():
            self._count(passed=True)
            return None
        outcome = await self._caller.call(wake.assertion, request(question, self._timeout_s))
        return await self._heard(wake, judgement, question, outcome)

    async def _heard(
        self, wake: Wake, judgement: Judgement, question: Question, outcome: Outcome
    ) -> Label | None:
        if not isinstance(outcome, Answered):
            self._log.info("unasked", f"no second look: {_why(outcome)}")
            return None
        usage = outcome.answer.usage
        tokens = usage.input_tokens + usage.output_tokens if usage else 0
        self._memory.note_question(wake.assertion, tokens, outcome.cost_nano)
        await self._settle(outcome)
        label = parse(outcome.answer)
        if label is not None:
            self._memory.keep_answer(question.digest, label, self._now_ms())
        saved = judgement.label == "relevant" and label in {"redundant", "foreign"}
        self._count(tokens=tokens, nano=outcome.cost_nano, saved=saved)
        return label

    async def _settle(self, answered: Answered) -> None:
        try:
            await self._caller.settle(answered)
        except (LedgerBusy, StoreError) as error:
            self._log.warning("unsettled", f"a question counts at its worst case: {error.what}")

    def _nearest(self, found: Remembered) -> list[dict[str, str]]:
        """Return what is known nearest to the message: by field, then the newest."""
        keys = [row["nearest"] for row in json.loads(found.fields).values() if row.get("nearest")]
        near = self._memory.by_keys(list(dict.fromkeys(keys)))
        entries = [*near, *self._memory.newest(_NEAREST + 1)]
        before = {entry.key: entry for entry in entries if entry.n < found.n}
        return [one.record.spoken() for one in before.values() if one.record][:_NEAREST]

    # What questions cost and saved so far

    def _may_ask(self) -> bool:
        if self._mode != "auto":
            return self._mode == "always"
        tally = self._tally()
        costs = self._memory.call_costs()
        paid, calls = costs.nano > 0, max(1, costs.calls)
        return worth_asking(
            Thrift(
                asked=tally["asked"],
                passed=tally["passed"],
                saved=tally["saved"],
                cost=tally["nano"] if paid else tally["tokens"],
                call=costs.nano // calls if paid else costs.tokens // calls or _CALL_TOKENS,
            )
        )

    def _tally(self) -> dict[str, int]:
        stored = json.loads(self._memory.meta(_META) or "{}")
        return {name: int(stored.get(name, 0)) for name in _TALLY}

    def _count(
        self, *, tokens: int = 0, nano: int = 0, saved: bool = False, passed: bool = False
    ) -> None:
        tally = self._tally()
        tally["asked"] += not passed
        tally["passed"] = tally["passed"] + 1 if passed else 0
        tally["saved"] += saved
        tally["tokens"] += tokens
        tally["nano"] += nano
        self._memory.set_meta(_META, json.dumps(tally))


_TALLY = ("asked", "passed", "saved", "tokens", "nano")
# Where calls cost no money their size is what counts: a prompt and an answer, on the small side.
_CALL_TOKENS = 2_000


def _label(text: str) -> Label | None:
    match text:
        case "relevant" | "redundant" | "foreign":
            return text
        case _:
            return None


def _why(outcome: Outcome) -> str:
    match outcome:
        case Denied(denial):
            return denial.text
        case Failed():
            return outcome.text
        case _:
            return getattr(outcome, "text", "no answer")
