"""The spend ledger: every wake and every nano-USD of all peers of this host, durably.

Money is reserved at its worst case before a call and settled after it. Until it is settled, a
reservation counts in full; one whose call was lost counts in full for good. Every reservation is
checked against all caps and written in one transaction, so nobody ever gets past one: what is
settled, or else reserved, plus the new amount stays at or under the cap.

An amount belongs to the moment of its reservation, a wake to that of its admission, in the
ledger's own time (``ledger_time``).
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, cast

from xmesh_mesh.errors import StoreError
from xmesh_peer import calls
from xmesh_peer.safety import budgets
from xmesh_peer.safety.budgets import Caps, Denial, Gauge
from xmesh_peer.safety.ledger_time import Anchor, Clock, Reading, advance, read_clock
from xmesh_peer.safety.spend_db import WAIT_S, SpendDb

__all__ = [
    "MAX_CALL_NANO",
    "Account",
    "Lifetime",
    "Purse",
    "SpendLedger",
    "Spent",
    "WakeDecision",
]

# A million dollars; sums of these stay far below what 64 bits hold.
MAX_CALL_NANO = 10**15


@dataclass(frozen=True, slots=True)
class Account:
    """Who spends, in which run, up to what."""

    peer: str
    run: str
    caps: Caps


@dataclass(frozen=True, slots=True)
class WakeDecision:
    """May this wake run? ``denial`` says why not; ``warnings`` are sentences for the log."""

    denial: Denial | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spent:
    """What counts against a peer's caps now; money is settled, or else reserved."""

    run_nano: int
    hour_nano: int
    day_nano: int
    wakes_minute: int
    wakes_hour: int
    wakes_day: int


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A peer's totals since this ledger began; ``lost_nano`` is the part never settled."""

    nano: int
    lost_nano: int
    calls: int
    wakes: int


@dataclass(frozen=True, slots=True)
class _Now:
    """The moment of a transaction: ledger time decides, wall time is for people."""

    ledger_ms: int
    wall_ms: int


class SpendLedger:
    """The ledger at ``path``. Synchronous; any thread may call it; ``Purse`` is for asyncio.

    Every method may raise LedgerBusy after ``wait_s`` and StoreError; then nothing was written
    that the caller could rely on, and a call must not be made.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock = read_clock,
        wait_s: float = WAIT_S,
        readonly: bool = False,
    ) -> None:
        self._db = SpendDb.open(path, readonly=readonly, wait_s=wait_s)
        self._clock = clock

    @classmethod
    def open_readonly(cls, path: Path, *, clock: Clock = read_clock) -> Self:
        """Open for looking only: StoreError where there is no ledger, or on any write."""
        return cls(path, clock=clock, readonly=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what is open stays reserved."""
        self._db.close()

    def admit_wake(self, account: Account, wake_id: str) -> WakeDecision:
        """Count a wake if every cap allows it. One that was admitted before is not counted again.

        The warnings say which of the peer's six caps is 80 % used, each once a window.
        """
        with self._writing() as (db, now):
            denied = _admit(db, account, wake_id, now)
            if denied is not None:
                return WakeDecision(denied)
            return WakeDecision(None, tuple(_warnings(db, account, now)))

    def reserve(self, account: Account, call_id: str, wake_id: str, nano: int) -> Denial | None:
        """Reserve the worst case of one call, or say which cap forbids it.

        A known ``call_id`` is another call and is charged again: both may be billed.
        """
        if not 0 <= nano <= MAX_CALL_NANO:
            raise ValueError(f"a call cannot cost {nano} nano-USD")
        with self._writing() as (db, now):
            denied = _refusal(db, account, _money_gauges(db, account, now), nano, now)
            if denied is None:
                db.execute(
                    "INSERT INTO calls (peer, call, wake, run, at_ms, wall_ms, reserved_nano,"
                    " counted_nano) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
                    (account.peer, call_id, wake_id, account.run, now.ledger_ms, now.wall_ms, nano),
                )
            return denied

    def settle(self, peer: str, call_id: str, nano: int) -> None:
        """Replace the newest reservation of that id by what the call cost; once settled, it stays.

        StoreError where nothing was reserved under the id.
        """
        if not 0 <= nano <= MAX_CALL_NANO:
            raise ValueError(f"a call cannot cost {nano} nano-USD")
        with self._writing() as (db, _):
            (newest,) = db.execute(
                "SELECT max(id) FROM calls WHERE peer = ? AND call = ?", (peer, call_id)
            ).fetchone()
            if newest is None:
                raise StoreError(f"{peer} reserved nothing under {call_id!r}", where="spend.db")
            db.execute(
                "UPDATE calls SET settled_nano = ?1, counted_nano = ?1"
                " WHERE id = ?2 AND settled_nano IS NULL",
                (nano, newest),
            )

    def spent(self, peer: str, run: str) -> Spent:
        """Return what counts now; zeros for a peer or run that never spent."""
        with self._db.reading() as db:
            now = _moment(db, self._clock())[1]
            return Spent(
                _run_nano(db, peer, run),
                *(_nano_since(db, peer, now, span) for span in (budgets.HOUR_MS, budgets.DAY_MS)),
                *(_wakes_since(db, peer, now, span) for span in _WAKE_SPANS),
            )

    def lifetimes(self) -> dict[str, Lifetime]:
        """Return every peer's totals, all runs together."""
        with self._db.reading() as db:
            wakes = dict(db.execute("SELECT peer, count(*) FROM wakes GROUP BY peer").fetchall())
            money = {
                peer: (nano, lost, count)
                for peer, nano, lost, count in db.execute(
                    "SELECT peer, sum(counted_nano),"
                    " sum(iif(settled_nano IS NULL, reserved_nano, 0)), count(*)"
                    " FROM calls GROUP BY peer"
                )
            }
        return {
            peer: Lifetime(*money.get(peer, (0, 0, 0)), wakes=wakes.get(peer, 0))
            for peer in sorted({*wakes, *money})
        }

    @contextlib.contextmanager
    def _writing(self) -> Iterator[tuple[sqlite3.Connection, _Now]]:
        with self._db.writing() as db:
            anchor, now = _moment(db, self._clock())
            db.execute(
                "INSERT OR REPLACE INTO clock (one, boot, up_ms, ledger_ms) VALUES (1, ?, ?, ?)",
                (anchor.boot, anchor.up_ms, anchor.ledger_ms),
            )
            yield db, now


class Purse:
    """One peer's side of the ledger, for asyncio: ``calls.Purse``, and wakes.

    A cancelled wait does not undo what the ledger is writing: a reservation may remain.
    """

    def __init__(self, ledger: SpendLedger, account: Account) -> None:
        self._ledger = ledger
        self._account = account

    async def admit_wake(self, wake_id: str) -> WakeDecision:
        """See ``SpendLedger.admit_wake``."""
        return await asyncio.to_thread(self._ledger.admit_wake, self._account, wake_id)

    async def reserve(self, call_id: str, wake_id: str, nano: int) -> calls.Denial | None:
        """See ``SpendLedger.reserve``."""
        denied = await asyncio.to_thread(
            self._ledger.reserve, self._account, call_id, wake_id, nano
        )
        if denied is None:
            return None
        limit = cast("Literal['run', 'hour', 'day']", denied.limit)  # no money cap per minute
        return calls.Denial(limit, denied.text, denied.retry_after_s)

    async def settle(self, call_id: str, nano: int) -> None:
        """See ``SpendLedger.settle``."""
        await asyncio.to_thread(self._ledger.settle, self._account.peer, call_id, nano)


_WAKE_SPANS = (budgets.MINUTE_MS, budgets.HOUR_MS, budgets.DAY_MS)


def _moment(db: sqlite3.Connection, reading: Reading) -> tuple[Anchor, _Now]:
    row = db.execute("SELECT boot, up_ms, ledger_ms FROM clock").fetchone()
    anchor = advance(Anchor(*row) if row else None, reading)
    return anchor, _Now(anchor.ledger_ms, reading.wall_ms)


def _admit(db: sqlite3.Connection, account: Account, wake_id: str, now: _Now) -> Denial | None:
    known = "SELECT 1 FROM wakes WHERE peer = ? AND wake = ?"
    if db.execute(known, (account.peer, wake_id)).fetchone():
        return None
    denied = _refusal(db, account, _wake_gauges(db, account, now), 1, now)
    if denied is None:
        db.execute(
            "INSERT INTO wakes (peer, wake, run, at_ms, wall_ms) VALUES (?, ?, ?, ?, ?)",
            (account.peer, wake_id, account.run, now.ledger_ms, now.wall_ms),
        )
    return denied


def _refusal(
    db: sqlite3.Connection, account: Account, gauges: tuple[Gauge, ...], new: int, now: _Now
) -> Denial | None:
    return budgets.longest(
        budgets.denial(account.peer, gauge, new, _wait_ms(db, account.peer, gauge, new, now))
        for gauge in gauges
        if not budgets.fits(gauge, new)
    )


_ITEMS: dict[budgets.Unit, str] = {
    "wakes": "SELECT at_ms, 1 FROM wakes WHERE peer = ? AND at_ms > ? ORDER BY at_ms",
    "nano": "SELECT at_ms, counted_nano FROM calls WHERE peer = ? AND at_ms > ? ORDER BY at_ms",
}


def _wait_ms(db: sqlite3.Connection, peer: str, gauge: Gauge, new: int, now: _Now) -> int | None:
    if gauge.window_ms is None:
        return None
    items = db.execute(_ITEMS[gauge.unit], (peer, now.ledger_ms - gauge.window_ms)).fetchall()
    return budgets.retry_after_ms(items, gauge, new, now.ledger_ms)


def _warnings(db: sqlite3.Connection, account: Account, now: _Now) -> Iterator[str]:
    for gauge in (*_wake_gauges(db, account, now), *_money_gauges(db, account, now)):
        # A window goes on from run to run; the cap of a run begins anew with each.
        where = (account.peer, gauge.key, account.run if gauge.window_ms is None else "")
        row = db.execute(
            "SELECT at_ms FROM warnings WHERE peer = ? AND key = ? AND run = ?", where
        ).fetchone()
        if budgets.warning_due(gauge, row[0] if row else None, now.ledger_ms):
            db.execute(
                "INSERT OR REPLACE INTO warnings VALUES (?, ?, ?, ?)", (*where, now.ledger_ms)
            )
            yield budgets.warning(account.peer, gauge)


def _wake_gauges(db: sqlite3.Connection, account: Account, now: _Now) -> tuple[Gauge, ...]:
    minute, hour, day = (_wakes_since(db, account.peer, now, span) for span in _WAKE_SPANS)
    return (
        Gauge("wakes", "minute", account.caps.wakes_minute, minute),
        Gauge("wakes", "hour", account.caps.wakes_hour, hour),
        Gauge("wakes", "day", account.caps.wakes_day, day),
    )


def _money_gauges(db: sqlite3.Connection, account: Account, now: _Now) -> tuple[Gauge, ...]:
    peer, caps = account.peer, account.caps
    return (
        Gauge("nano", "run", caps.run_nano, _run_nano(db, peer, account.run)),
        Gauge("nano", "hour", caps.hour_nano, _nano_since(db, peer, now, budgets.HOUR_MS)),
        Gauge("nano", "day", caps.day_nano, _nano_since(db, peer, now, budgets.DAY_MS)),
    )


def _wakes_since(db: sqlite3.Connection, peer: str, now: _Now, span_ms: int) -> int:
    return _number(
        db,
        "SELECT count(*) FROM wakes WHERE peer = ? AND at_ms > ?",
        (peer, now.ledger_ms - span_ms),
    )


def _nano_since(db: sqlite3.Connection, peer: str, now: _Now, span_ms: int) -> int:
    return _number(
        db,
        "SELECT coalesce(sum(counted_nano), 0) FROM calls WHERE peer = ? AND at_ms > ?",
        (peer, now.ledger_ms - span_ms),
    )


def _run_nano(db: sqlite3.Connection, peer: str, run: str) -> int:
    return _number(
        db,
        "SELECT coalesce(sum(counted_nano), 0) FROM calls WHERE peer = ? AND run = ?",
        (peer, run),
    )


def _number(db: sqlite3.Connection, query: str, values: tuple[object, ...]) -> int:
    return int(db.execute(query, values).fetchone()[0])
