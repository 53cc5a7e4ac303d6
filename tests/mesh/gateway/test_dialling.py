"""Whom a local peer dials, and when: rather be dialled than dial, and never too often."""

from xmesh_mesh.gateway.dialling import AGAIN_MAX_MS, AGAIN_MS, MAX_PROSPECTS, Prospects
from xmesh_mesh.gateway.services import Sighting
from xmesh_mesh.wire.links import PATIENCE_MS, REDIAL_MS

OWN, LOW, HIGH = "5" * 36, "0" * 36, "f" * 36


def ours(node_id: str = HIGH, port: int = 2) -> Sighting:
    return Sighting(node_id, "bob", ("10.0.0.1",), 1, port)


def stock(node_id: str = HIGH) -> Sighting:
    return Sighting(node_id, "sam", ("10.0.0.1",), 1, None)


def seen(sighting: Sighting) -> Prospects:
    prospects = Prospects(OWN)
    prospects.seen(sighting, 0)
    return prospects


def test_one_of_ours_with_a_higher_id_is_dialled_at_once() -> None:
    assert seen(ours()).due(0) == [ours()]


def test_one_of_ours_with_a_lower_id_dials_us_or_is_dialled_late() -> None:
    prospects = seen(ours(LOW))
    assert prospects.due(PATIENCE_MS - 1) == []
    assert prospects.due(PATIENCE_MS) == [ours(LOW)]


def test_a_stock_node_is_dialled_late_or_never() -> None:
    assert seen(stock()).due(PATIENCE_MS - 1) == []
    assert seen(stock()).due(PATIENCE_MS) == [stock()]
    assert seen(stock(LOW)).due(10 * PATIENCE_MS) == []


def test_nobody_is_dialled_twice_at_once_or_while_linked() -> None:
    prospects = seen(ours())
    assert len(prospects.due(0)) == 1
    assert prospects.due(1) == []
    prospects.linked(HIGH)
    prospects.dialled(HIGH, 1, failed=False)
    assert prospects.due(PATIENCE_MS) == []


def test_a_node_that_has_dialled_us_is_not_dialled_when_it_is_found() -> None:
    prospects = Prospects(OWN)
    prospects.linked(HIGH)
    prospects.seen(ours(), 0)
    assert prospects.due(PATIENCE_MS) == []


def test_a_lost_link_is_dialled_again_and_a_mute_one_by_whoever_noticed() -> None:
    prospects = seen(ours())
    prospects.linked(HIGH)
    prospects.lost(HIGH, 100)
    assert prospects.due(100 + REDIAL_MS - 1) == []
    assert prospects.due(100 + REDIAL_MS) == [ours()]
    prospects = seen(stock(LOW))
    prospects.linked(LOW)
    prospects.lost(LOW, 100, mute=True)
    assert prospects.due(100 + REDIAL_MS) == [stock(LOW)]


def test_failures_make_the_next_dial_later_each_time_up_to_a_bound() -> None:
    prospects, now, waits = seen(ours()), 0, []
    for _ in range(8):
        assert prospects.due(now)
        prospects.dialled(HIGH, now, failed=True)
        began = now
        while not prospects._is_due(prospects._known[HIGH], now):
            now += 100
        waits.append(now - began)
    assert waits[:3] == [AGAIN_MS, 2 * AGAIN_MS, 4 * AGAIN_MS]
    assert waits[-1] == AGAIN_MAX_MS


def test_a_link_that_holds_makes_up_for_failures() -> None:
    prospects = seen(ours())
    for _ in range(3):
        prospects.due(0)
        prospects.dialled(HIGH, 0, failed=True)
    prospects.dialled(HIGH, 0, failed=False)
    prospects.due(100_000)
    prospects.dialled(HIGH, 100_000, failed=True)
    assert prospects.due(100_000 + AGAIN_MS)


def test_news_of_a_node_are_worth_a_new_try_at_once() -> None:
    prospects = seen(ours())
    prospects.due(0)
    prospects.dialled(HIGH, 0, failed=True)
    prospects.seen(ours(), 1)
    assert prospects.due(1) == []
    prospects.seen(ours(port=3), 2)
    assert prospects.due(2) == [ours(port=3)]


def test_who_is_gone_is_not_dialled() -> None:
    prospects = seen(ours())
    prospects.gone(HIGH)
    assert prospects.due(0) == []


def test_strangers_are_bounded_and_we_are_none() -> None:
    prospects = Prospects(OWN)
    prospects.seen(ours(OWN), 0)
    for number in range(MAX_PROSPECTS + 10):
        prospects.seen(ours(f"f{number:035}"), 0)
    due = prospects.due(0)
    assert len(due) == MAX_PROSPECTS
    assert OWN not in {each.node_id for each in due}
