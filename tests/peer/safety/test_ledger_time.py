"""The ledger's own clock: a step of the wall clock, or a reboot, frees nothing."""

from xmesh_peer.safety.ledger_time import Anchor, Reading, advance, read_clock


def test_begins_at_nothing() -> None:
    assert advance(None, Reading("a", 500, 9)) == Anchor("a", 500, 0)


def test_moves_on_by_what_the_boot_clock_moved() -> None:
    anchor = Anchor("a", 500, 70)
    assert advance(anchor, Reading("a", 750, 0)) == Anchor("a", 750, 320)
    assert advance(anchor, Reading("a", 500, 0)) == anchor


def test_many_small_steps_lose_nothing() -> None:
    anchor = Anchor("a", 0, 0)
    for up_ms in range(1, 1001):
        anchor = advance(anchor, Reading("a", up_ms, 0))
    assert anchor.ledger_ms == 1000


def test_the_wall_clock_decides_nothing() -> None:
    anchor = Anchor("a", 500, 70)
    assert advance(anchor, Reading("a", 501, 0)) == advance(anchor, Reading("a", 501, 10**15))


def test_another_boot_adds_nothing_and_counts_from_there() -> None:
    after = advance(Anchor("a", 500, 70), Reading("b", 9_000, 0))
    assert after == Anchor("b", 9_000, 70)
    assert advance(after, Reading("b", 9_010, 0)).ledger_ms == 80


def test_a_reading_behind_the_anchor_gains_nothing_later() -> None:
    anchor = advance(Anchor("a", 500, 70), Reading("a", 100, 0))
    assert anchor == Anchor("a", 500, 70)
    assert advance(anchor, Reading("a", 510, 0)).ledger_ms == 80


def test_where_boots_cannot_be_told_apart_a_reboot_still_gains_nothing() -> None:
    anchor = advance(Anchor("", 500, 70), Reading("", 100, 0))
    assert anchor == Anchor("", 100, 70)
    assert advance(anchor, Reading("", 110, 0)).ledger_ms == 80


def test_the_real_clock_goes_forward_within_one_boot() -> None:
    first, second = read_clock(), read_clock()
    assert first.boot == second.boot
    assert 0 <= second.up_ms - first.up_ms < 60_000
    assert first.wall_ms > 1_600_000_000_000
