"""What a client keeps of its deliveries, over sessions and over journals."""

import pytest
from helpers.bus_service import introduction

from xmesh_mesh.bus import frames
from xmesh_mesh.bus.inbox import Delivery, Inbox


def welcome(epoch: str = "e", head: int = 10, cursor: int = 10) -> frames.Welcome:
    return frames.Welcome(epoch, head, cursor, [])


def deliver(seq: int) -> frames.Deliver:
    return frames.Deliver(seq, "author", f"{seq:064x}", b"record", 7)


@pytest.fixture
def inbox() -> Inbox:
    begun = Inbox()
    begun.begin(welcome())
    return begun


def test_a_delivery_carries_its_place(inbox: Inbox) -> None:
    assert inbox.put(deliver(11))
    assert inbox.take() == Delivery("e", 11, "author", f"{11:064x}", b"record", 7)


def test_what_came_in_an_earlier_session_is_not_kept_twice(inbox: Inbox) -> None:
    assert [inbox.put(deliver(seq)) for seq in (11, 12)] == [True, True]
    inbox.begin(welcome(head=12, cursor=10))
    assert [inbox.put(deliver(seq)) for seq in (11, 12, 13)] == [False, False, True]
    assert len(inbox.waiting) == 3


def test_what_lies_before_the_cursor_is_not_news(inbox: Inbox) -> None:
    assert not inbox.put(deliver(10))


@pytest.mark.parametrize(
    ("epoch", "head", "again"), [("e", 12, False), ("e", 11, True), ("other", 12, True)]
)
def test_another_journal_is_read_from_its_own_cursor(
    inbox: Inbox, epoch: str, head: int, again: bool
) -> None:
    inbox.put(deliver(12))
    inbox.begin(welcome(epoch, head, 3))
    assert (inbox.epoch, inbox.put(deliver(4))) == (epoch, again)
    assert len(inbox.waiting) == 1 + again


def test_acknowledgements_only_grow_and_stay_within_what_came(inbox: Inbox) -> None:
    for seq in (11, 12):
        inbox.put(deliver(seq))
        inbox.take()
    assert [inbox.acknowledge(seq) for seq in (10, 11, 11, 99)] == [False, True, False, True]
    assert inbox.acknowledged == 12


def test_an_acknowledgement_of_another_journals_delivery_says_nothing_to_this_one(
    inbox: Inbox,
) -> None:
    inbox.put(deliver(11))
    inbox.take()
    inbox.begin(welcome("other", 50, 0))
    assert not inbox.acknowledge(11)
    inbox.put(deliver(5))
    inbox.take()
    assert inbox.acknowledge(5)


def test_introductions_lie_between_deliveries(inbox: Inbox) -> None:
    inbox.put(deliver(11))
    inbox.waiting.append(introduction("a"))
    inbox.take()
    assert inbox.take() == introduction("a")
    assert inbox.acknowledge(11)
