"""Tables of the pure core: where a member starts, what it wants, how much it gets."""

import pytest

from xmesh_mesh.bus.core import (
    RECENT_BYTES,
    WINDOW_BYTES,
    Recent,
    Session,
    Sessions,
    starting_cursor,
)
from xmesh_mesh.bus.frames import Role
from xmesh_mesh.bus.journal import Entry, Member

KNOWN = Member("n", "g", "name", joined=10, cursor=20)


def test_the_stated_bounds_on_memory() -> None:
    assert (WINDOW_BYTES, RECENT_BYTES) == (4 * 2**20, 8 * 2**20)


def session(
    role: Role = "member", *, window: int = 4, own: bool = False, cursor: int = 0
) -> Session:
    return Session(b"r", "token", role, "me", "name", "g", cursor, window, own)


def entry(seq: int, author: str = "you", to: str | None = None, size: int = 1) -> Entry:
    return Entry(seq, author, to, 0, "", bytes(size))


@pytest.mark.parametrize(
    ("known", "position", "expected"),
    [
        (None, None, 100),
        (None, ("ours", 5), 100),
        (None, ("older", 5), 0),
        (KNOWN, None, 20),
        (KNOWN, ("older", 50), 20),
        (KNOWN, ("ours", 50), 50),
        (KNOWN, ("ours", 15), 15),
        (KNOWN, ("ours", 9), 10),
        (KNOWN, ("ours", 0), 10),
        (KNOWN, ("ours", 100), 100),
        (KNOWN, ("ours", 101), 100),
    ],
)
def test_where_a_member_starts(
    known: Member | None, position: tuple[str, int] | None, expected: int
) -> None:
    assert starting_cursor(known, position, "ours", 100) == expected


@pytest.mark.parametrize(
    ("role", "own", "author", "to", "wanted"),
    [
        ("member", False, "you", None, True),
        ("member", False, "you", "me", True),
        ("member", False, "you", "third", False),
        ("member", False, "me", None, False),
        ("member", False, "me", "me", False),
        ("member", True, "me", None, True),
        ("member", True, "me", "me", True),
        ("member", True, "me", "you", False),
        ("member", True, "you", "third", False),
        ("tail", False, "you", "third", True),
        ("tail", False, "me", None, True),
    ],
)
def test_what_is_meant_for_whom(
    role: Role, own: bool, author: str, to: str | None, wanted: bool
) -> None:
    assert session(role, own=own).wants(entry(1, author, to)) is wanted


@pytest.mark.parametrize(
    ("role", "receives"), [("member", True), ("tail", True), ("publisher", False)]
)
def test_who_receives_at_all(role: Role, receives: bool) -> None:
    assert session(role).receives is receives


def test_a_window_counts_what_is_unacknowledged() -> None:
    one = session(window=2)
    assert [each.seq for each in one.take(map(entry, (1, 2, 3)))] == [1, 2]
    assert (one.sent, one.cursor, one.has_credit()) == (2, 0, False)
    assert one.acknowledge(1, 3)
    assert (one.cursor, one.has_credit()) == (1, True)
    assert [each.seq for each in one.take([entry(3)])] == [3]


def test_a_window_counts_bytes_too() -> None:
    one = session(window=100)
    assert len(list(one.take([entry(1, size=WINDOW_BYTES - 1), entry(2), entry(3)]))) == 2
    assert not one.has_credit()
    one.acknowledge(1, 3)
    assert one.has_credit()


def test_what_is_not_meant_for_it_moves_an_idle_cursor_only() -> None:
    one = session()
    assert list(one.take([entry(1, author="me"), entry(2), entry(3, author="me")])) == [entry(2)]
    assert (one.sent, one.cursor) == (3, 1)
    one.acknowledge(2, 3)
    assert one.cursor == 3


def test_the_last_acknowledgement_takes_the_cursor_to_what_was_looked_at() -> None:
    one = session()
    list(one.take([entry(1)]))
    one.skip_to(9)
    assert (one.sent, one.cursor) == (9, 0)
    assert one.acknowledge(1, 9)
    assert one.cursor == 9


def test_an_acknowledgement_says_whether_it_moved_and_never_moves_back_or_past_the_head() -> None:
    one = session(cursor=5)
    assert not one.acknowledge(5, 8)
    assert not one.acknowledge(3, 8)
    assert one.acknowledge(99, 8)
    assert (one.cursor, one.sent) == (8, 8)


@pytest.mark.parametrize(
    ("take", "acknowledged", "head", "settled"),
    [(0, 0, 0, True), (0, 0, 1, False), (1, 0, 1, True), (1, 0, 2, False), (1, 1, 1, True)],
)
def test_when_nothing_is_left_to_do(take: int, acknowledged: int, head: int, settled: bool) -> None:
    one = session()
    list(one.take(map(entry, range(1, take + 1))))
    one.acknowledge(acknowledged, head)
    assert one.is_settled(head) is settled


def other(route: bytes, token: str, role: Role, node: str, name: str, group: str) -> Session:
    return Session(route, token, role, node, name, group, 0, window=1, own=False)


@pytest.mark.parametrize(
    ("role", "node", "name", "group", "token", "code"),
    [
        ("member", "n", "x", "g", "t2", "collision"),
        ("member", "n", "x", "h", "t2", "collision"),
        ("member", "n", "x", "g", "t1", None),
        ("member", "m", "name", "g", "t2", "name-taken"),
        ("member", "m", "name", "h", "t2", None),
        ("member", "m", "x", "g", "t2", None),
        ("publisher", "n", "name", "g", "t2", None),
        ("tail", "n", "name", "g", "t2", None),
    ],
)
def test_who_stands_in_the_way(
    role: Role, node: str, name: str, group: str, token: str, code: str | None
) -> None:
    sessions = Sessions()
    sessions.open(other(b"r", "t1", role, "n", "name", "g"))
    found = sessions.rival(node, name, group, token)
    assert (found and found[1]) == code


def test_a_client_has_one_session() -> None:
    sessions = Sessions()
    for route in (b"1", b"2"):
        sessions.open(other(route, "t", "member", "n", "name", "g"))
    sessions.open(other(b"3", "u", "tail", "", "", "g"))
    assert (len(sessions), sessions.get(b"1")) == (2, None)
    assert [each.route for each in sessions.receivers("g")] == [b"2", b"3"]
    assert sessions.receivers("h") == []


def test_only_a_member_is_found_by_its_node() -> None:
    sessions = Sessions()
    sessions.open(other(b"p", "t", "publisher", "n", "name", "g"))
    assert sessions.member("n") is None
    sessions.open(other(b"m", "u", "member", "n", "name", "g"))
    found = sessions.member("n")
    assert found is not None
    assert found.route == b"m"
    assert sessions.member("m") is None


def test_recent_knows_what_came_after_its_beginning() -> None:
    recent = Recent(floor=10)
    for seq, group in ((11, "g"), (12, "h"), (13, "g"), (14, "g")):
        recent.add(group, entry(seq))
    assert recent.after("g", 9, 9) is None
    assert [each.seq for each in recent.after("g", 10, 2) or []] == [11, 13]
    assert [each.seq for each in recent.after("g", 11, 9) or []] == [13, 14]
    assert recent.after("g", 14, 9) == []


def test_recent_forgets_the_older_half_when_it_is_full() -> None:
    recent = Recent(floor=0, limit_bytes=4 * 1_000)
    for seq in range(1, 5):
        recent.add("g", entry(seq, size=1_000 - 512))
    assert recent.after("g", 0, 1) is not None
    recent.add("g", entry(5, size=1))
    assert recent.after("g", 2, 1) is None
    assert [each.seq for each in recent.after("g", 3, 9) or []] == [4, 5]
    for seq in range(6, 9):
        recent.add("g", entry(seq, size=1))
    assert len(recent.after("g", 3, 9) or []) == 5
