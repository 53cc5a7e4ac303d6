"""What waits to be sent: in order, counted exactly, bounded for each and for all."""

from xmesh_mesh.relay.outbox import ITEM_BYTES, Closing, Outboxes

BYE = Closing(1001, "bye")


def item(size: int) -> bytes:
    """Bytes that cost ``size`` in a queue."""
    return b"x" * (size - ITEM_BYTES)


def opened(*conns: int, most: int = 1_000, in_all: int = 10_000) -> Outboxes:
    outboxes = Outboxes(most, in_all)
    for conn in conns:
        outboxes.open(conn)
    return outboxes


def test_items_come_out_in_order_and_give_their_room_back() -> None:
    outboxes = opened(1)
    assert outboxes.put(1, b"a") is None
    assert outboxes.put(1, b"bb") is None
    assert outboxes.size == 3 + 2 * ITEM_BYTES
    assert [outboxes.take(1) for _ in range(3)] == [b"a", b"bb", None]
    assert outboxes.size == 0


def test_a_closing_comes_after_what_waits_and_nothing_comes_after_it() -> None:
    outboxes = opened(1)
    outboxes.put(1, b"a")
    outboxes.close(1, BYE)
    assert outboxes.put(1, b"late") is None
    assert [outboxes.take(1) for _ in range(3)] == [b"a", BYE, None]
    assert outboxes.size == 0


def test_a_full_queue_is_given_up_at_one_byte_too_many_and_not_before() -> None:
    outboxes = opened(1, 2, most=500)
    outboxes.put(2, b"other")
    assert outboxes.put(1, item(300)) is None
    assert outboxes.put(1, item(200)) is None
    assert outboxes.put(1, b"") == 1
    assert outboxes.take(1) is None
    assert outboxes.put(1, b"more") is None
    outboxes.close(1, BYE)
    assert [outboxes.take(1), outboxes.take(1)] == [BYE, None]
    assert outboxes.size == 5 + ITEM_BYTES
    assert outboxes.take(2) == b"other"


def test_where_all_are_too_much_the_longest_queue_is_given_up() -> None:
    outboxes = opened(1, 2, 3, most=1_000, in_all=1_000)
    assert outboxes.put(1, item(400)) is None
    assert outboxes.put(2, item(500)) is None
    assert outboxes.put(3, item(100)) is None
    assert outboxes.put(3, b"") == 2
    assert outboxes.size == 500 + ITEM_BYTES
    assert outboxes.take(2) is None
    assert outboxes.take(1) == item(400)


def test_what_is_dropped_is_not_counted_any_more() -> None:
    outboxes = opened(1, 2)
    outboxes.put(1, b"a")
    outboxes.put(2, b"b")
    outboxes.drop(1)
    outboxes.drop(1)
    assert outboxes.size == 1 + ITEM_BYTES
    assert outboxes.take(1) is None
    assert outboxes.put(1, b"a") is None
    outboxes.close(1, BYE)
    assert outboxes.take(1) is None
