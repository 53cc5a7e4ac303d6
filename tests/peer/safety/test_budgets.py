"""The arithmetic of caps, at its boundaries."""

import pytest

from xmesh_peer.safety.budgets import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    Caps,
    Denial,
    Gauge,
    Span,
    caps_of,
    denial,
    fits,
    is_near,
    longest,
    retry_after_ms,
    usd,
    usd_to_nano,
    warning,
    warning_due,
)
from xmesh_peer.settings import Budget


def gauge(used: int, cap: int = 100, span: Span = "hour") -> Gauge:
    return Gauge("nano", span, cap, used)


def test_a_cap_may_be_reached_and_not_passed() -> None:
    assert fits(gauge(99), 1)
    assert not fits(gauge(99), 2)
    assert not fits(gauge(100), 1)
    assert fits(gauge(100), 0)
    assert fits(gauge(0, cap=0), 0)
    assert not fits(gauge(0, cap=0), 1)


@pytest.mark.parametrize(
    ("span", "length"),
    [("run", None), ("minute", 60_000), ("hour", 3_600_000), ("day", 86_400_000)],
)
def test_windows_have_their_length(span: Span, length: int | None) -> None:
    assert gauge(0, span=span).window_ms == length


def test_near_begins_at_eighty_percent_exactly() -> None:
    assert not is_near(gauge(79))
    assert is_near(gauge(80))
    assert not is_near(gauge(799, cap=1000))
    assert not is_near(gauge(0, cap=0))
    assert is_near(gauge(1, cap=1))


def test_a_warning_comes_once_a_window() -> None:
    assert warning_due(gauge(80), None, 5)
    assert not warning_due(gauge(79), None, 5)
    assert not warning_due(gauge(80), 5, 5 + HOUR_MS - 1)
    assert warning_due(gauge(80), 5, 5 + HOUR_MS)
    assert not warning_due(gauge(80, span="run"), 5, 5 + 100 * DAY_MS)


def test_waits_until_enough_has_left_the_window() -> None:
    items = [(1000, 40), (2000, 30), (3000, 30)]
    full = gauge(100)
    assert retry_after_ms(items, full, 1, 5000) == 1000 + HOUR_MS - 5000
    assert retry_after_ms(items, full, 40, 5000) == 1000 + HOUR_MS - 5000
    assert retry_after_ms(items, full, 41, 5000) == 2000 + HOUR_MS - 5000
    assert retry_after_ms(items, full, 100, 5000) == 3000 + HOUR_MS - 5000


def test_waiting_helps_neither_a_run_nor_what_is_over_the_cap_alone() -> None:
    assert retry_after_ms([(0, 100)], gauge(100, span="run"), 1, 5) is None
    assert retry_after_ms([(0, 100)], gauge(100), 101, 5) is None
    assert retry_after_ms([], gauge(100), 1, 5) is None


def test_the_longest_denial_wins_and_never_is_longest() -> None:
    short, long, never = Denial("hour", "", 5.0), Denial("day", "", 9.0), Denial("run", "", None)
    assert longest([]) is None
    assert longest([short, long]) is long
    assert longest([short, never, long]) is never


def test_words_name_amounts_window_and_key() -> None:
    found = denial("writer-01", gauge(900_000_000, 1_000_000_000), 200_000_000, 1500)
    assert found == Denial(
        "hour",
        "writer-01 has used $0.9000 of $1.0000 per hour, and this needs up to $0.2000"
        " ([budget] max_cost_usd_per_hour)",
        1.5,
    )
    wakes = Gauge("wakes", "minute", 10, 10)
    assert denial("w", wakes, 1, None) == Denial(
        "minute",
        "w has used 10 wakes of 10 wakes per minute, and this needs 1 wake"
        " ([budget] max_wakes_per_minute)",
        None,
    )
    assert "10 wakes of 10 wakes per minute (100 %" in warning("w", wakes)


def test_money_is_written_exactly() -> None:
    assert usd(0) == "$0.0000"
    assert usd(1) == "$0.000000001"
    assert usd(12_345_000_000) == "$12.3450"


def test_caps_are_never_rounded_up() -> None:
    assert usd_to_nano(0.1) == 100_000_000
    assert usd_to_nano(0.29) == 290_000_000
    assert usd_to_nano(1.9999999999) == 1_999_999_999
    assert usd_to_nano(5) == 5_000_000_000


def test_caps_come_from_the_settings() -> None:
    assert caps_of(Budget()) == Caps(10, 100, 1000, 5_000_000_000, 1_000_000_000, 10_000_000_000)
    assert HOUR_MS == 60 * MINUTE_MS
