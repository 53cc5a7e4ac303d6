"""The circuit breaker, with times made up."""

import pytest

from xmesh_peer.safety.breaker import Breaker, Outcome, Permit, Phase


def fail(breaker: Breaker, times: int, now_s: float = 0.0) -> None:
    for _ in range(times):
        permit = breaker.ask(now_s)
        assert permit is not None
        breaker.report(permit, Outcome.FAILED, now_s)


def opened(now_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    fail(breaker, 5, now_s)
    return breaker


def probe(breaker: Breaker, now_s: float) -> Permit:
    permit = breaker.ask(now_s)
    assert permit is not None
    return permit


def test_stays_closed_after_four_failures_and_opens_after_five() -> None:
    breaker = Breaker()
    fail(breaker, 4)
    assert breaker.phase(0.0) is Phase.CLOSED
    fail(breaker, 1)
    assert breaker.phase(0.0) is Phase.OPEN
    assert breaker.ask(0.0) is None


def test_only_failures_in_a_row_count() -> None:
    breaker = Breaker()
    fail(breaker, 4)
    breaker.report(probe(breaker, 0.0), Outcome.OK, 0.0)
    fail(breaker, 4)
    assert breaker.phase(0.0) is Phase.CLOSED


def test_an_abandoned_call_neither_counts_nor_forgives() -> None:
    breaker = Breaker()
    fail(breaker, 4)
    breaker.report(probe(breaker, 0.0), Outcome.ABANDONED, 0.0)
    assert breaker.phase(0.0) is Phase.CLOSED
    fail(breaker, 1)
    assert breaker.phase(0.0) is Phase.OPEN


def test_half_opens_exactly_when_the_minute_is_over() -> None:
    breaker = opened(100.0)
    assert breaker.phase(159.999) is Phase.OPEN
    assert breaker.ask(159.999) is None
    assert breaker.phase(160.0) is Phase.HALF_OPEN
    assert breaker.ask(160.0) is not None


def test_says_how_long_to_wait() -> None:
    breaker = opened(100.0)
    assert breaker.retry_after_s(100.0) == 60.0
    assert breaker.retry_after_s(130.0) == 30.0
    assert breaker.retry_after_s(170.0) == 0.0
    assert Breaker().retry_after_s(0.0) == 0.0
    probe(breaker, 160.0)
    assert breaker.retry_after_s(100.0) == 0.0


def test_half_open_lets_a_single_probe_through() -> None:
    breaker = opened()
    probe(breaker, 60.0)
    assert breaker.phase(60.0) is Phase.HALF_OPEN
    assert breaker.ask(60.0) is None
    assert breaker.ask(10_000.0) is None


def test_a_probe_that_succeeds_closes_with_a_clean_slate() -> None:
    breaker = opened()
    breaker.report(probe(breaker, 60.0), Outcome.OK, 61.0)
    assert breaker.phase(61.0) is Phase.CLOSED
    fail(breaker, 4, 61.0)
    assert breaker.phase(61.0) is Phase.CLOSED
    fail(breaker, 1, 61.0)
    assert breaker.retry_after_s(61.0) == 60.0


def test_a_probe_that_is_abandoned_makes_room_for_the_next() -> None:
    breaker = opened()
    breaker.report(probe(breaker, 60.0), Outcome.ABANDONED, 61.0)
    assert breaker.phase(61.0) is Phase.HALF_OPEN
    breaker.report(probe(breaker, 61.0), Outcome.OK, 62.0)
    assert breaker.phase(62.0) is Phase.CLOSED


def test_each_failed_probe_doubles_the_wait_up_to_ten_minutes() -> None:
    breaker, now = opened(), 0.0
    waits = []
    for _ in range(6):
        wait = breaker.retry_after_s(now)
        waits.append(wait)
        now += wait
        breaker.report(probe(breaker, now), Outcome.FAILED, now)
        assert breaker.ask(now) is None
    assert waits == [60.0, 120.0, 240.0, 480.0, 600.0, 600.0]


def test_the_wait_starts_over_once_it_was_closed() -> None:
    breaker = opened()
    breaker.report(probe(breaker, 60.0), Outcome.FAILED, 60.0)
    breaker.report(probe(breaker, 180.0), Outcome.OK, 180.0)
    fail(breaker, 5, 200.0)
    assert breaker.retry_after_s(200.0) == 60.0


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_call_from_before_it_opened_changes_nothing_later(outcome: Outcome) -> None:
    breaker = Breaker()
    early = probe(breaker, 0.0)
    fail(breaker, 5)
    breaker.report(early, outcome, 1.0)
    assert breaker.phase(1.0) is Phase.OPEN
    assert breaker.retry_after_s(0.0) == 60.0
    probe(breaker, 60.0)
    breaker.report(early, outcome, 61.0)
    assert breaker.phase(61.0) is Phase.HALF_OPEN
    assert breaker.ask(61.0) is None


def test_a_late_failure_from_before_it_closed_does_not_count() -> None:
    breaker = Breaker()
    early = probe(breaker, 0.0)
    fail(breaker, 5)
    breaker.report(probe(breaker, 60.0), Outcome.OK, 60.0)
    fail(breaker, 4, 60.0)
    breaker.report(early, Outcome.FAILED, 60.0)
    assert breaker.phase(60.0) is Phase.CLOSED
