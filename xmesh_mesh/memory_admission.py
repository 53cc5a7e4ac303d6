"""The part of a node's memory that admission reads and writes: anchors and judgements.

Everything that is read for one judgement is bounded by an index and a limit, however much is
remembered. Part of ``Memory``.
"""

from dataclasses import dataclass
from typing import Any

from xmesh_mesh.judging.situation import Standing
from xmesh_mesh.memory_rows import Judgement
from xmesh_mesh.sqlite_file import SqliteFile

__all__ = ["AdmissionMemory", "CallCosts", "Count"]

NEWEST, OWN, ANSWERED = 24, 8, 8
AUTHORS_NEWEST = 20
KEEP_QUESTIONS = 1_000
KEEP_JUDGED = 5_000

# The outcome of a wake in which the peer spoke.
EMITTED = "emitted"

_ANSWERED = "EXISTS(SELECT 1 FROM wakes w WHERE w.n = r.n AND w.outcome = 'emitted')"
_ANCHORS = f"""
SELECT n, {_ANSWERED} FROM (
  SELECT n FROM (SELECT n FROM records WHERE admitted ORDER BY n DESC LIMIT {NEWEST})
  UNION SELECT n FROM (SELECT n FROM records WHERE own ORDER BY n DESC LIMIT {OWN})
  UNION SELECT n FROM
    (SELECT n FROM wakes WHERE outcome = 'emitted' ORDER BY n DESC LIMIT {ANSWERED})
) r ORDER BY n DESC"""  # noqa: S608 - this module's own
_STANDING = f"""
SELECT verdict, {_ANSWERED} FROM records r WHERE author = ? ORDER BY n DESC LIMIT {AUTHORS_NEWEST}
"""  # noqa: S608 - this module's own


@dataclass(frozen=True, slots=True)
class Count:
    """So many records of one judge, label and sureness; ``woke`` of them woke, ``asked`` were
    asked about, for ``tokens`` and ``nano``; the wakes that came of them cost ``wake_nano``."""

    judge: str
    label: str
    sure: bool
    records: int
    woke: int
    asked: int
    tokens: int
    nano: int
    wake_nano: int


@dataclass(frozen=True, slots=True)
class CallCosts:
    """Of all answers so far: how many, what they cost in nano-USD, and their tokens where the
    vendor stated them."""

    calls: int
    nano: int
    tokens: int


class AdmissionMemory(SqliteFile):
    """Every method raises StoreError where the file cannot be read or written."""

    def anchor_rows(self) -> dict[int, bool]:
        """Return the numbers of the records to judge by (newest, own, answered), newest first,
        each with whether it was answered."""
        return {row[0]: bool(row[1]) for row in self._all(_ANCHORS)}

    def wires(self, numbers: list[int]) -> dict[int, bytes]:
        """Return the records under these numbers, as they came; without those that lost words."""
        marks = ", ".join("?" * len(numbers))
        rows = self._all(
            f"SELECT n, wire FROM records WHERE wire IS NOT NULL AND n IN ({marks})",  # noqa: S608
            *numbers,
        )
        return dict(rows)

    def standing(self, author: str) -> Standing:
        """Return what the newest records of ``author`` were to this node."""
        rows = self._all(_STANDING, author)
        verdicts = [row[0] for row in rows]
        return Standing(
            news=sum(verdict in {"aligned", "guarded"} for verdict in verdicts),
            repeats=verdicts.count("redundant"),
            foreign=verdicts.count("rejected"),
            answered=sum(bool(row[1]) for row in rows),
        )

    # How it was judged

    def note_judgement(self, assertion: str, judgement: Judgement, now_ms: int) -> None:
        """Keep how a record was judged; inside ``transaction``."""
        self._run(
            "INSERT OR REPLACE INTO judged(assertion, judge, label, sure, seen, at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            assertion, judgement.judge, judgement.label, judgement.sure, judgement.seen, now_ms,
        )  # fmt: skip

    def judgement(self, assertion: str) -> Judgement | None:
        row = self._one(
            "SELECT judge, label, sure, seen FROM judged WHERE assertion = ?", assertion
        )
        return Judgement(row[0], row[1], bool(row[2]), row[3]) if row else None

    def note_question(self, assertion: str, tokens: int, nano: int) -> None:
        """Note that a model was asked about a record, and what that took."""
        self._run(
            "UPDATE judged SET asked = 1, tokens = tokens + ?, nano = nano + ?"
            " WHERE assertion = ?",
            tokens, nano, assertion,
        )  # fmt: skip

    def revise(self, assertion: str, verdict: str, admitted: bool, reason: str) -> None:
        """Replace a record's verdict by a second look's, and add the reason."""
        self._run(
            "UPDATE records SET verdict = ?, admitted = ?,"
            " reasons = json_insert(reasons, '$[#]', ?) WHERE assertion = ?",
            verdict, admitted, reason, assertion,
        )  # fmt: skip

    def answer_to(self, digest: str) -> str | None:
        """Return the answer to a question that was asked before, word for word."""
        row = self._one("SELECT answer FROM questions WHERE digest = ?", digest)
        return None if row is None else str(row[0])

    def keep_answer(self, digest: str, answer: str, now_ms: int) -> None:
        """Keep an answer; of all, the newest are kept."""
        self._run("INSERT OR REPLACE INTO questions VALUES (?, ?, ?)", digest, answer, now_ms)
        self._run(
            "DELETE FROM questions WHERE digest IN"
            " (SELECT digest FROM questions ORDER BY at_ms DESC LIMIT -1 OFFSET ?)",
            KEEP_QUESTIONS,
        )  # fmt: skip

    def prune_judged(self) -> None:
        """Forget how all but the newest records were judged."""
        self._run(
            "DELETE FROM judged WHERE at_ms < coalesce((SELECT at_ms FROM judged"
            " ORDER BY at_ms DESC LIMIT 1 OFFSET ?), 0)",
            KEEP_JUDGED,
        )

    # What a person is shown

    def admission_counts(self, since_ms: int = 0) -> list[Count]:
        """Return how records were judged since then."""
        rows: list[Any] = self._all(
            "SELECT j.judge, j.label, j.sure, count(*), coalesce(sum(w.assertion IS NOT NULL"
            "  AND coalesce(w.outcome, '') != 'slept'), 0), sum(j.asked), sum(j.tokens),"
            "  sum(j.nano), coalesce(sum((SELECT sum(a.cost_nano) FROM answers a"
            "  WHERE a.wake = j.assertion)), 0)"
            " FROM judged j LEFT JOIN wakes w USING (assertion) WHERE j.at_ms >= ?"
            " GROUP BY j.judge, j.label, j.sure ORDER BY 1, 2, 3",
            since_ms,
        )
        return [Count(r[0], r[1], bool(r[2]), *r[3:]) for r in rows]

    def call_costs(self) -> CallCosts:
        row = self._one(
            "SELECT count(*), coalesce(sum(cost_nano), 0),"
            " coalesce(sum(coalesce(json_extract(answer, '$.usage.input_tokens'), 0)"
            "  + coalesce(json_extract(answer, '$.usage.output_tokens'), 0)), 0) FROM answers"
        )
        return CallCosts(*map(int, row))
