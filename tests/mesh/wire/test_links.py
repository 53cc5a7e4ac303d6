"""Two connections to one node, and when to open one: every row of the tables."""

import pytest

from xmesh_mesh.wire.links import Cause, Keep, choose, dial_after

LOW = "01930f1e-0000-7000-8000-00000000000a"
HIGH = "01930f1e-0000-7000-8000-00000000000b"


def keep(*, low: bool, new: bool, old: bool, ago: int = 0) -> Keep:
    own, peer = (LOW, HIGH) if low else (HIGH, LOW)
    return choose(
        own_id=own, peer_id=peer, new_outbound=new, old_outbound=old, old_heard_ms_ago=ago
    )


@pytest.mark.parametrize("low", [True, False])
@pytest.mark.parametrize("outbound", [True, False])
def test_of_two_in_one_direction_the_old_one_stays(low: bool, outbound: bool) -> None:
    assert keep(low=low, new=outbound, old=outbound) is Keep.OLD


@pytest.mark.parametrize("new_is_lows", [True, False])
def test_of_a_dual_dial_the_one_that_the_lower_id_opened_stays_on_both_ends(
    new_is_lows: bool,
) -> None:
    expected = Keep.NEW if new_is_lows else Keep.OLD
    assert keep(low=True, new=new_is_lows, old=not new_is_lows) is expected
    assert keep(low=False, new=not new_is_lows, old=new_is_lows) is expected


@pytest.mark.parametrize("low", [True, False])
@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("old", [True, False])
def test_a_connection_that_was_quiet_for_more_than_a_second_gives_way(
    low: bool, new: bool, old: bool
) -> None:
    assert keep(low=low, new=new, old=old, ago=1_001) is Keep.NEW
    assert keep(low=low, new=new, old=old, ago=1_000) is keep(low=low, new=new, old=old)


@pytest.mark.parametrize(
    ("cause", "secure", "low", "after_ms"),
    [
        (Cause.FOUND, False, True, 20_000),
        (Cause.FOUND, False, False, None),
        (Cause.FOUND, True, True, 0),
        (Cause.FOUND, True, False, 20_000),
        (Cause.LOST, False, True, 20_000),
        (Cause.LOST, False, False, None),
        (Cause.LOST, True, True, 500),
        (Cause.LOST, True, False, 20_000),
        (Cause.MUTE, False, True, 500),
        (Cause.MUTE, False, False, 500),
        (Cause.MUTE, True, True, 500),
        (Cause.MUTE, True, False, 500),
    ],
)
def test_when_to_dial(cause: Cause, secure: bool, low: bool, after_ms: int | None) -> None:
    own, peer = (LOW, HIGH) if low else (HIGH, LOW)
    assert dial_after(cause, own_id=own, peer_id=peer, secure=secure) == after_ms


@pytest.mark.parametrize(
    ("cause", "after_ms"), [(Cause.FOUND, 0), (Cause.LOST, 500), (Cause.MUTE, 500)]
)
def test_what_is_configured_is_dialled_at_once(cause: Cause, after_ms: int) -> None:
    assert dial_after(cause, own_id=HIGH, peer_id=LOW, secure=False, configured=True) == after_ms
