"""Deadlines: due exactly when their time has come, oldest first."""

from xmesh_mesh.relay.deadlines import Deadlines


def test_nothing_is_due_before_its_time() -> None:
    deadlines = Deadlines(100)
    deadlines.start(1, 5)
    assert deadlines.next_ms == 105
    assert deadlines.take(104) == []
    assert deadlines.take(105) == [1]
    assert deadlines.take(999) == []
    assert deadlines.next_ms is None


def test_the_oldest_comes_first_and_a_new_start_counts_from_then() -> None:
    deadlines = Deadlines(100)
    for conn, at in ((1, 0), (2, 10), (1, 20)):
        deadlines.start(conn, at)
    assert deadlines.next_ms == 110
    assert deadlines.take(119) == [2]
    assert deadlines.take(120) == [1]


def test_who_is_stopped_is_never_due() -> None:
    deadlines = Deadlines(100)
    deadlines.start(1, 0)
    deadlines.start(2, 0)
    deadlines.stop(1)
    deadlines.stop(77)
    assert deadlines.take(100) == [2]
