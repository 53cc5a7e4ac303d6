"""The spend ledger on real SQLite, with a made-up clock."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.spend import FakeClock, account

from xmesh_mesh.errors import StoreError
from xmesh_peer import calls
from xmesh_peer.safety.budgets import DAY_MS, HOUR_MS, MINUTE_MS
from xmesh_peer.safety.ledger import (
    MAX_CALL_NANO,
    Lifetime,
    Purse,
    SpendLedger,
    Spent,
)

RUN = "run-1"
PEER = "writer-01"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: FakeClock) -> Iterator[SpendLedger]:
    with SpendLedger(tmp_path / "spend.db", clock=clock) as opened:
        yield opened


@pytest.mark.parametrize("cap", ["run_nano", "hour_nano", "day_nano"])
def test_money_reaches_each_cap_exactly_and_never_passes_it(ledger: SpendLedger, cap: str) -> None:
    who = account(**{cap: 100})
    assert ledger.reserve(who, "a", "w", 60) is None
    denied = ledger.reserve(who, "b", "w", 41)
    assert denied is not None
    assert denied.limit == cap.removesuffix("_nano")
    assert ledger.reserve(who, "c", "w", 40) is None
    assert ledger.reserve(who, "d", "w", 1) is not None
    assert ledger.reserve(who, "e", "w", 0) is None
    assert ledger.spent(PEER, RUN).run_nano == 100


def test_settling_frees_the_difference_once(ledger: SpendLedger) -> None:
    who = account(run_nano=100)
    ledger.reserve(who, "a", "w", 100)
    ledger.settle(PEER, "a", 30)
    ledger.settle(PEER, "a", 30)
    ledger.settle(PEER, "a", 0)
    assert ledger.spent(PEER, RUN).run_nano == 30
    assert ledger.reserve(who, "b", "w", 71) is not None
    assert ledger.reserve(who, "b", "w", 70) is None


def test_a_bill_over_the_worst_case_is_kept_as_billed(ledger: SpendLedger) -> None:
    ledger.reserve(account(), "a", "w", 10)
    ledger.settle(PEER, "a", 15)
    assert ledger.spent(PEER, RUN).run_nano == 15


def test_a_repeated_call_id_is_charged_again_and_the_newest_is_settled(ledger: SpendLedger) -> None:
    ledger.reserve(account(), "a", "w", 10)
    ledger.reserve(account(), "a", "w", 20)
    ledger.settle(PEER, "a", 3)
    ledger.settle(PEER, "a", 3)
    assert ledger.spent(PEER, RUN).run_nano == 13


def test_settling_what_was_never_reserved_is_an_error(ledger: SpendLedger) -> None:
    ledger.reserve(account("other"), "a", "w", 1)
    with pytest.raises(StoreError, match="reserved nothing"):
        ledger.settle(PEER, "a", 1)


@pytest.mark.parametrize("nano", [-1, MAX_CALL_NANO + 1])
def test_impossible_amounts_are_refused(ledger: SpendLedger, nano: int) -> None:
    with pytest.raises(ValueError, match="cannot cost"):
        ledger.reserve(account(), "a", "w", nano)
    ledger.reserve(account(), "a", "w", 1)
    with pytest.raises(ValueError, match="cannot cost"):
        ledger.settle(PEER, "a", nano)


def test_the_largest_amount_is_taken(ledger: SpendLedger) -> None:
    assert MAX_CALL_NANO == 1_000_000 * 1_000_000_000
    rich = account(run_nano=10**18, hour_nano=10**18, day_nano=10**18)
    assert ledger.reserve(rich, "a", "w", MAX_CALL_NANO) is None
    ledger.settle(PEER, "a", MAX_CALL_NANO)
    assert ledger.spent(PEER, RUN).run_nano == MAX_CALL_NANO


def test_peers_runs_and_calls_of_one_name_are_apart(ledger: SpendLedger) -> None:
    ledger.reserve(account(run_nano=10), "a", "w", 10)
    assert ledger.reserve(account("other", run_nano=10), "a", "w", 10) is None
    assert ledger.reserve(account(PEER, "run-2", run_nano=10), "a", "w", 10) is None
    ledger.settle("other", "a", 1)
    assert ledger.spent(PEER, RUN) == Spent(10, 20, 20, 0, 0, 0)
    assert ledger.spent("other", RUN) == Spent(1, 1, 1, 0, 0, 0)


def test_an_hour_and_a_day_end_exactly(ledger: SpendLedger, clock: FakeClock) -> None:
    who = account(hour_nano=10, day_nano=15)
    ledger.reserve(who, "a", "w", 10)
    clock.pass_ms(HOUR_MS - 1)
    denied = ledger.reserve(who, "b", "w", 1)
    assert denied is not None
    assert (denied.limit, denied.retry_after_s) == ("hour", 0.001)
    clock.pass_ms(1)
    assert ledger.reserve(who, "b", "w", 5) is None
    clock.pass_ms(HOUR_MS)
    denied = ledger.reserve(who, "c", "w", 1)
    assert denied is not None
    assert (denied.limit, denied.retry_after_s) == ("day", (DAY_MS - 2 * HOUR_MS) / 1000)
    clock.pass_ms(DAY_MS - 2 * HOUR_MS - 1)
    assert ledger.reserve(who, "c", "w", 1) is not None
    clock.pass_ms(1)
    assert ledger.reserve(who, "c", "w", 1) is None


def test_the_longest_denial_is_told(ledger: SpendLedger) -> None:
    who = account(run_nano=10, hour_nano=10, day_nano=10)
    ledger.reserve(who, "a", "w", 10)
    denied = ledger.reserve(who, "b", "w", 1)
    assert denied is not None
    assert (denied.limit, denied.retry_after_s) == ("run", None)


def test_a_lost_call_counts_in_its_run_for_good(ledger: SpendLedger, clock: FakeClock) -> None:
    ledger.reserve(account(run_nano=10), "lost", "w", 10)
    clock.pass_ms(30 * DAY_MS)
    assert ledger.reserve(account(run_nano=10), "b", "w", 1) is not None
    assert ledger.spent(PEER, RUN) == Spent(10, 0, 0, 0, 0, 0)
    assert ledger.lifetimes()[PEER] == Lifetime(10, lost_nano=10, calls=1, wakes=0)


@pytest.mark.parametrize(
    ("cap", "span"),
    [("wakes_minute", MINUTE_MS), ("wakes_hour", HOUR_MS), ("wakes_day", DAY_MS)],
)
def test_wakes_fill_each_window_exactly(
    ledger: SpendLedger, clock: FakeClock, cap: str, span: int
) -> None:
    who = account(**{cap: 2})
    assert ledger.admit_wake(who, "1").denial is None
    clock.pass_ms(10)
    assert ledger.admit_wake(who, "2").denial is None
    clock.pass_ms(span - 11)
    denied = ledger.admit_wake(who, "3").denial
    assert denied is not None
    assert (denied.limit, denied.retry_after_s) == (cap.removeprefix("wakes_"), 0.001)
    clock.pass_ms(1)
    assert ledger.admit_wake(who, "3").denial is None
    assert ledger.admit_wake(who, "4").denial is not None


def test_a_wake_that_was_admitted_counts_once_even_when_the_cap_is_reached(
    ledger: SpendLedger,
) -> None:
    who = account(wakes_hour=1)
    for _ in range(3):
        assert ledger.admit_wake(who, "1").denial is None
    assert ledger.spent(PEER, RUN).wakes_hour == 1
    assert ledger.admit_wake(who, "2").denial is not None
    assert ledger.admit_wake(account("other", wakes_hour=1), "1").denial is None


def test_a_warning_at_eighty_percent_comes_once_a_window(
    ledger: SpendLedger, clock: FakeClock
) -> None:
    who = account(wakes_minute=5)
    heard = [ledger.admit_wake(who, str(number)).warnings for number in range(5)]
    assert [len(warnings) for warnings in heard] == [0, 0, 0, 1, 0]
    assert "max_wakes_per_minute" in heard[3][0]
    clock.pass_ms(MINUTE_MS)
    again = [ledger.admit_wake(who, f"b{number}").warnings for number in range(4)]
    assert [len(warnings) for warnings in again] == [0, 0, 0, 1]


def test_money_is_warned_of_too_and_a_run_once_each(ledger: SpendLedger) -> None:
    who = account(run_nano=10)
    ledger.reserve(who, "a", "w", 8)
    (told,) = ledger.admit_wake(who, "1").warnings
    assert "max_cost_usd_per_run" in told
    assert ledger.admit_wake(who, "2").warnings == ()
    other_run = account(PEER, "run-2", run_nano=10)
    ledger.reserve(other_run, "b", "w", 8)
    assert len(ledger.admit_wake(other_run, "3").warnings) == 1


def test_a_step_of_the_wall_clock_frees_nothing(ledger: SpendLedger, clock: FakeClock) -> None:
    who = account(hour_nano=10)
    ledger.reserve(who, "a", "w", 10)
    for wall_ms in (0, 10**15):
        clock.wall_ms = wall_ms
        assert ledger.reserve(who, "b", "w", 1) is not None


def test_a_reboot_frees_nothing_however_long_the_machine_was_off(
    tmp_path: Path, clock: FakeClock
) -> None:
    who = account(hour_nano=10)
    path = tmp_path / "spend.db"
    with SpendLedger(path, clock=clock) as ledger:
        ledger.reserve(who, "a", "w", 10)
    clock.boot, clock.up_ms = "boot-b", 10 * DAY_MS
    clock.wall_ms += 10 * DAY_MS
    with SpendLedger(path, clock=clock) as ledger:
        assert ledger.reserve(who, "b", "w", 1) is not None
        clock.pass_ms(HOUR_MS - 1)
        assert ledger.reserve(who, "b", "w", 1) is not None
        clock.pass_ms(1)
        assert ledger.reserve(who, "b", "w", 1) is None


def test_two_ledgers_on_one_file_agree(
    ledger: SpendLedger, clock: FakeClock, tmp_path: Path
) -> None:
    who = account(hour_nano=10)
    ledger.reserve(who, "a", "w", 10)
    clock.pass_ms(HOUR_MS // 2)
    with SpendLedger(tmp_path / "spend.db", clock=clock) as other:
        assert other.reserve(who, "b", "w", 1) is not None
        clock.pass_ms(HOUR_MS // 2)
        assert other.reserve(who, "b", "w", 10) is None
    assert ledger.reserve(who, "c", "w", 1) is not None


def test_what_was_spent_survives_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "spend.db"
    with SpendLedger(path, clock=clock) as ledger:
        ledger.reserve(account(), "a", "w", 7)
        ledger.admit_wake(account(), "w")
    with SpendLedger(path, clock=clock) as ledger:
        assert ledger.spent(PEER, RUN) == Spent(7, 7, 7, 1, 1, 1)
    assert path.stat().st_mode & 0o777 == 0o600


def test_reading_shows_windows_as_of_now(ledger: SpendLedger, clock: FakeClock) -> None:
    ledger.reserve(account(), "a", "w", 7)
    ledger.admit_wake(account(), "w")
    clock.pass_ms(MINUTE_MS)
    assert ledger.spent(PEER, RUN) == Spent(7, 7, 7, 0, 1, 1)
    clock.pass_ms(HOUR_MS - MINUTE_MS)
    assert ledger.spent(PEER, RUN) == Spent(7, 0, 7, 0, 0, 1)
    clock.pass_ms(DAY_MS - HOUR_MS)
    assert ledger.spent(PEER, RUN) == Spent(7, 0, 0, 0, 0, 0)


def test_lifetimes_add_all_runs_and_name_what_was_lost(ledger: SpendLedger) -> None:
    ledger.admit_wake(account(), "w")
    ledger.admit_wake(account("idle"), "w")
    ledger.reserve(account(), "a", "w", 10)
    ledger.reserve(account(PEER, "run-2"), "b", "w", 20)
    ledger.settle(PEER, "b", 5)
    ledger.reserve(account("asleep"), "c", "w", 3)
    assert ledger.lifetimes() == {
        "asleep": Lifetime(3, 3, 1, 0),
        "idle": Lifetime(0, 0, 0, 1),
        PEER: Lifetime(15, 10, 2, 1),
    }


def test_readonly_looks_and_cannot_write(ledger: SpendLedger, tmp_path: Path) -> None:
    ledger.reserve(account(), "a", "w", 7)
    with SpendLedger.open_readonly(tmp_path / "spend.db") as looking:
        assert looking.lifetimes()[PEER].nano == 7
        with pytest.raises(StoreError, match="cannot be used"):
            looking.reserve(account(), "b", "w", 1)


async def test_the_purse_is_what_a_caller_needs(ledger: SpendLedger) -> None:
    purse = Purse(ledger, account(hour_nano=10))
    as_caller_sees_it: calls.Purse = purse
    assert await as_caller_sees_it.reserve("a", "w", 10) is None
    denied = await as_caller_sees_it.reserve("b", "w", 1)
    assert isinstance(denied, calls.Denial)
    assert (denied.limit, denied.retry_after_s) == ("hour", 3600.0)
    await as_caller_sees_it.settle("a", 4)
    assert (await purse.admit_wake("w")).denial is None
    assert ledger.spent(PEER, RUN) == Spent(4, 4, 4, 1, 1, 1)
