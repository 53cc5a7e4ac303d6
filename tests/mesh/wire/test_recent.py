"""The window of ids, and who is shown which anchors."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from xmesh_mesh.record import Record
from xmesh_mesh.wire.recent import ANCHOR_EVERY_MS, DEDUPE_MS, MAX_IDS, Recent, anchors

HIGH = "01930f1e-0000-7000-8000-00000000000b"


def test_the_bounds_are_those_of_deployed_nodes() -> None:
    assert (DEDUPE_MS, MAX_IDS, ANCHOR_EVERY_MS) == (3_600_000, 10_000, 60_000)


def test_an_id_is_known_for_an_hour_and_longer_when_it_comes_again() -> None:
    recent = Recent()
    assert not recent.known("a", 0)
    recent.add("a", 0)
    assert recent.known("a", DEDUPE_MS - 1)
    assert not recent.known("a", DEDUPE_MS)
    recent.add("a", DEDUPE_MS - 1)
    assert recent.known("a", 2 * DEDUPE_MS - 2)


def test_asking_alone_notes_nothing() -> None:
    recent = Recent()
    assert not recent.known("a", 0)
    assert not recent.known("a", 1)
    assert len(recent) == 0


def test_the_oldest_goes_where_there_are_too_many() -> None:
    recent = Recent(size=2)
    recent.add("a", 0)
    recent.add("b", 0)
    recent.add("a", 1)
    recent.add("c", 1)
    assert [recent.known(i, 1) for i in "abc"] == [True, False, True]
    assert len(recent) == 2


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 50)), max_size=200))
def test_it_holds_no_more_than_its_size_and_forgets_what_is_old(
    notes: list[tuple[int, int]],
) -> None:
    recent = Recent(ttl_ms=100, size=10)
    now = 0
    for ident, pause in notes:
        now += pause
        recent.add(str(ident), now)
        assert recent.known(str(ident), now)
        assert len(recent) <= 10
    for ident in range(40, 50):
        recent.add(str(ident), now + 100)
    assert len(recent) <= 10
    assert not any(recent.known(str(i), now + 100) for i in range(31))


def test_anchors_are_due_once_a_minute_and_asking_does_not_put_that_off() -> None:
    gate = Recent(ANCHOR_EVERY_MS)
    assert gate.claim("n", 0)
    assert not gate.claim("n", 30_000)
    assert not gate.claim("n", 59_999)
    assert gate.claim("n", 60_000)
    assert gate.claim("m", 60_000)


def test_anchors_are_the_five_newest_that_the_node_may_read(
    records_of: Callable[..., Record],
) -> None:
    mine = records_of(focus="for bob", to=HIGH)
    other = records_of(focus="for carol", to=HIGH[:-1] + "c")
    public = [records_of(focus=f"news {i}") for i in range(6)]
    assert anchors([public[0], other, mine, *public[1:]], HIGH) == (
        public[0],
        mine,
        *public[1:4],
    )
    assert anchors([other], HIGH) == ()
