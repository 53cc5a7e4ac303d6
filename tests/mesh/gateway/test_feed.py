"""How far a remote has come: only a pong vouches, and a change of links sends again."""

from xmesh_mesh.gateway.feed import WINDOW, WINDOW_BYTES, Feed


def fed(*seqs: int, cursor: int = 0) -> Feed:
    feed = Feed(cursor)
    for seq in seqs:
        feed.took(seq)
    return feed


def test_what_was_sent_is_not_vouched_for_before_a_pong() -> None:
    feed = fed(3, 7)
    feed.pinged()
    assert (feed.cursor, feed.sent) == (0, 7)
    assert feed.ponged()
    assert feed.cursor == 7


def test_a_pong_vouches_for_what_was_sent_before_its_ping_only() -> None:
    feed = fed(3)
    feed.pinged()
    feed.took(7)
    assert feed.ponged()
    assert (feed.cursor, feed.sent) == (3, 7)
    assert feed.wants_ping


def test_a_pong_to_no_ping_moves_nothing() -> None:
    feed = fed(3)
    assert not feed.ponged()
    assert feed.cursor == 0


def test_no_more_than_a_window_is_sent_without_a_pong() -> None:
    feed = fed(*range(1, WINDOW + 1))
    assert feed.room == 0
    feed.pinged()
    feed.ponged()
    assert feed.room == WINDOW


def test_another_link_begins_after_what_is_vouched_for() -> None:
    feed = fed(3, 7)
    feed.pinged()
    feed.ponged()
    feed.took(9)
    feed.pinged()
    feed.rewind()
    assert (feed.sent, feed.room) == (7, WINDOW)
    assert not feed.ponged(), "a pong of the old link counts for nothing"


def test_records_for_others_are_passed_without_a_ping() -> None:
    feed = Feed(5)
    feed.passed(9)
    assert (feed.cursor, feed.wants_ping) == (9, False)


def test_what_is_passed_waits_for_what_was_sent_before_it() -> None:
    feed = fed(6, cursor=5)
    feed.passed(9)
    assert (feed.cursor, feed.sent) == (5, 9)
    feed.pinged()
    feed.ponged()
    assert feed.cursor == 9


def test_no_more_than_a_window_of_bytes_is_sent_without_a_pong_however_few_records() -> None:
    feed = Feed(0)
    feed.took(1, WINDOW_BYTES - 1)
    assert feed.room > 0
    feed.took(2, 100)
    assert feed.room == 0
    feed.pinged()
    feed.ponged()
    assert feed.room == WINDOW
    feed.took(3, WINDOW_BYTES)
    feed.rewind()
    assert feed.room == WINDOW


def test_the_window_is_full_at_its_bytes_to_the_byte_and_anew_after_a_change_of_links() -> None:
    feed = fed(1)
    feed.rewind()
    feed.took(2, WINDOW_BYTES - 1)
    assert feed.room == WINDOW - 1
    feed.took(3, 1)
    assert feed.room == 0
    assert Feed(0).room == WINDOW == 64
    assert WINDOW_BYTES == 1_048_576


def test_a_pong_that_vouches_for_nothing_new_moves_nothing() -> None:
    feed = Feed(5)
    feed.pinged()
    assert not feed.ponged()
