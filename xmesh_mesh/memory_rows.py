"""What a node's memory is made of: the tables of its file, and the types of what is read back."""

import json
from dataclasses import dataclass
from typing import Any

from xmesh_mesh.errors import RecordError, StoreError
from xmesh_mesh.record import Record, decode

SCHEMA_VERSION = 2

# What admission keeps: how it judged (``judged``), and what a small model said to a small question
# (``questions``: the prompt's digest and the answer).
_ADMISSION = """
CREATE TABLE judged(
  assertion TEXT PRIMARY KEY, judge TEXT NOT NULL, label TEXT NOT NULL, sure INTEGER NOT NULL,
  asked INTEGER NOT NULL DEFAULT 0, tokens INTEGER NOT NULL DEFAULT 0,
  nano INTEGER NOT NULL DEFAULT 0, seen TEXT NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX judged_at ON judged(at_ms);
CREATE TABLE questions(
  digest TEXT PRIMARY KEY, answer TEXT NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX wakes_emitted ON wakes(n) WHERE outcome = 'emitted';
CREATE INDEX records_author ON records(author, n)"""
UPGRADES = {1: _ADMISSION}

_BASE = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE records(
  n INTEGER PRIMARY KEY, assertion TEXT NOT NULL UNIQUE, key TEXT NOT NULL, author TEXT NOT NULL,
  created_by TEXT NOT NULL, created_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL,
  seq INTEGER NOT NULL, own INTEGER NOT NULL, directed INTEGER NOT NULL, admitted INTEGER NOT NULL,
  thread TEXT NOT NULL, verdict TEXT NOT NULL, drift REAL, reasons TEXT NOT NULL,
  fields TEXT NOT NULL, mood TEXT NOT NULL, wire BLOB);
CREATE INDEX records_key ON records(key);
CREATE INDEX records_thread ON records(thread, n);
CREATE INDEX records_admitted ON records(n) WHERE admitted;
CREATE INDEX records_own ON records(n) WHERE own;
CREATE TABLE parents(child TEXT NOT NULL, parent TEXT NOT NULL, PRIMARY KEY(child, parent))
  WITHOUT ROWID;
CREATE INDEX parents_parent ON parents(parent);
CREATE VIRTUAL TABLE words USING fts5(body);
CREATE TABLE wakes(
  assertion TEXT PRIMARY KEY, n INTEGER NOT NULL, thread TEXT NOT NULL, directed INTEGER NOT NULL,
  state TEXT NOT NULL, outcome TEXT, detail TEXT NOT NULL DEFAULT '', emitted TEXT,
  queued_ms INTEGER NOT NULL, done_ms INTEGER);
CREATE INDEX wakes_open ON wakes(n) WHERE state IN ('queued', 'running');
CREATE INDEX wakes_thread ON wakes(thread);
CREATE TABLE answers(
  call TEXT PRIMARY KEY, wake TEXT NOT NULL, cost_nano INTEGER NOT NULL, settled INTEGER NOT NULL,
  answer TEXT NOT NULL, at_ms INTEGER NOT NULL);
CREATE INDEX answers_unsettled ON answers(call) WHERE NOT settled;
CREATE TABLE outbox(
  assertion TEXT PRIMARY KEY, n INTEGER NOT NULL, recipient TEXT, wire BLOB NOT NULL);
CREATE VIEW prunable AS SELECT n FROM records WHERE wire IS NOT NULL AND assertion NOT IN
  (SELECT assertion FROM wakes WHERE state IN ('queued', 'running'));
CREATE TABLE held(
  assertion TEXT PRIMARY KEY, wake TEXT NOT NULL, hits TEXT NOT NULL, wire BLOB NOT NULL,
  at_ms INTEGER NOT NULL);
"""

SCHEMA = ";".join((_BASE.rstrip().rstrip(";"), _ADMISSION))

SELECT_REMEMBERED = """
SELECT r.n, r.assertion, r.key, r.author, r.created_by, r.created_ms, r.received_ms, r.seq, r.own,
  r.directed, r.admitted, r.thread, r.verdict, r.drift, r.reasons, r.fields, r.mood, r.wire,
  w.state, w.outcome, w.detail, w.emitted
FROM records r LEFT JOIN wakes w USING (assertion)
"""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the membrane found about one record, ready to be stored."""

    author: str
    own: bool
    directed: bool
    admitted: bool
    verdict: str
    drift: float | None
    reasons: tuple[str, ...]
    fields: str
    mood: str
    judgement: "Judgement | None" = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """How the first judge decided: by which kernel, what, how surely; ``seen`` is JSON."""

    judge: str
    label: str
    sure: bool
    seen: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """One stored record with its verdict and what came of it.

    ``record`` is None where retention has taken the words. ``wake`` is the state of the wake it
    caused (queued, running, done, dropped) or None; ``outcome`` is what a finished one led to,
    ``emitted`` the assertion of the record that it led to.
    """

    n: int
    assertion: str
    key: str
    author: str
    created_by: str
    created_ms: int
    received_ms: int
    seq: int
    own: bool
    directed: bool
    admitted: bool
    thread: str
    verdict: str
    drift: float | None
    reasons: tuple[str, ...]
    fields: str
    mood: str
    record: Record | None
    wake: str | None
    outcome: str | None
    detail: str | None
    emitted: str | None


@dataclass(frozen=True, slots=True)
class Wake:
    """A record that waits to be acted on. ``assertion`` names the record and the wake."""

    assertion: str
    thread: str
    directed: bool
    state: str
    queued_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer as it is stored, so that a crash never pays for it twice."""

    call: str
    cost_nano: int
    text: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A signed record on its way to the bus."""

    assertion: str
    recipient: str | None
    wire: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """A signed record that a gate keeps back for a person."""

    assertion: str
    wake: str
    hits: str
    record: Record
    at_ms: int


def remembered(row: tuple[Any, ...]) -> Remembered:
    """Read a row of ``SELECT_REMEMBERED``, whose columns are in the order of the fields."""
    values = dict(zip(Remembered.__slots__, row, strict=True))
    return Remembered(**values | {
        "own": bool(values["own"]),
        "directed": bool(values["directed"]),
        "admitted": bool(values["admitted"]),
        "reasons": tuple(json.loads(values["reasons"])),
        "record": _words(values["record"]),
    })  # fmt: skip


def _words(wire: bytes | None) -> Record | None:
    try:
        return decode(wire) if wire is not None else None
    except RecordError as error:
        raise StoreError(f"a stored record is damaged: {error}") from error
