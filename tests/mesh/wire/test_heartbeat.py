"""A link's pulse, to the millisecond."""

import pytest

from xmesh_mesh.wire.frames import NodeStats, Ping, Pong, Stats, Unknown
from xmesh_mesh.wire.heartbeat import Beat, Heartbeat


def asked(at_ms: int = 10_000) -> Heartbeat:
    pulse = Heartbeat(0)
    assert pulse.tick(at_ms) is Beat.PING
    return pulse


def test_a_ping_is_due_ten_seconds_after_the_last_proof() -> None:
    pulse = Heartbeat(1)
    assert pulse.tick(10_000) is Beat.REST
    pulse.heard(Pong(), 5_000)
    assert pulse.tick(14_999) is Beat.REST
    assert pulse.tick(15_000) is Beat.PING
    assert pulse.tick(15_001) is Beat.REST  # asked once


@pytest.mark.parametrize("frame", [Pong(), NodeStats(stats=Stats()), Unknown("x")])
def test_any_frame_but_a_ping_proves_the_link(frame: Pong) -> None:
    pulse = asked()
    pulse.heard(Ping(), 10_001)
    pulse.heard(frame, 12_999)
    assert pulse.unanswered_for(13_000) is None
    assert pulse.tick(13_000) is Beat.REST
    assert pulse.tick(22_998) is Beat.REST
    assert pulse.tick(22_999) is Beat.PING
    assert pulse.tick(26_000) is Beat.REST  # the earlier ping counts no more


def test_pings_alone_show_a_mute_link_three_seconds_after_ours() -> None:
    pulse = asked()
    pulse.heard(Ping(), 10_500)
    assert pulse.tick(12_999) is Beat.REST
    assert pulse.tick(13_000) is Beat.MUTE


def test_pings_do_not_put_off_our_own() -> None:
    pulse = Heartbeat(0)
    for at in range(0, 10_000, 1_000):
        pulse.heard(Ping(), at)
    assert pulse.tick(10_000) is Beat.PING
    assert pulse.tick(13_000) is Beat.REST  # those came before we asked
    pulse.heard(Ping(), 14_000)
    assert pulse.tick(14_000) is Beat.MUTE


def test_a_link_that_brings_nothing_is_silent_after_twenty_seconds() -> None:
    pulse = asked()
    assert pulse.tick(29_999) is Beat.REST
    assert pulse.tick(30_000) is Beat.SILENT


def test_a_process_that_slept_asks_before_it_gives_up() -> None:
    pulse = Heartbeat(0)
    assert pulse.tick(3_600_000) is Beat.PING
    assert pulse.tick(3_600_001) is Beat.REST
    assert (pulse.unproven_for(3_600_001), pulse.unanswered_for(3_600_001)) == (3_600_001, 1)
