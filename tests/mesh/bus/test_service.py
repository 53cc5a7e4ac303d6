"""What the bus answers, to whom it delivers and what it refuses, without sockets."""

import sqlite3

import msgspec
import pytest
from helpers.bus import GROUP
from helpers.bus_service import Desk, assertion, identity, introduction, memory, node_id

from xmesh_mesh.bus import frames
from xmesh_mesh.bus.delivery import PAGE, PAGES_A_TURN
from xmesh_mesh.bus.joining import CONTEST_MS, CONTEST_STEP_MS, MAX_CONTESTS
from xmesh_mesh.bus.journal import JournalDamaged
from xmesh_mesh.bus.retention import RETENTION
from xmesh_mesh.bus.service import SWEEP_MS
from xmesh_mesh.bus.upkeep import CURSOR_DELAY_MS, PRUNE_AGAIN_MS, PRUNE_MS, RETRY_MS
from xmesh_mesh.identity import Identity
from xmesh_mesh.introduction import introduce


@pytest.fixture
def desk() -> Desk:
    return Desk()


def refused(answers: list[object]) -> list[str]:
    return [each.code for each in answers if isinstance(each, frames.Refused)]


def test_a_record_goes_to_every_member_but_its_author(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        desk.join(name)
    assert desk.publish("a", 7) == frames.Accepted(7, 1)
    assert (desk.delivered("a"), desk.delivered("b"), desk.delivered("c")) == ([], [7], [7])


def test_a_delivery_says_who_when_and_what(desk: Desk) -> None:
    desk.join("a")
    desk.join("b")
    desk.publish("a", 7)
    (deliver,) = desk.outlet.take(b"b", frames.Deliver)
    assert deliver == frames.Deliver(
        1, node_id("a"), assertion(7), (7).to_bytes(8), desk.now.wall_ms
    )


def test_an_author_who_asks_for_it_gets_its_own(desk: Desk) -> None:
    desk.join("a", own=True)
    answers = desk.say(b"a", frames.Publish(1, assertion(1), b"mine"))
    assert [type(each) for each in answers] == [frames.Accepted, frames.Deliver]


def test_a_publisher_is_given_nothing(desk: Desk) -> None:
    desk.join("a")
    desk.hello("p", role="publisher")
    desk.publish("a", 1)
    assert desk.delivered("p") == []


def test_groups_never_mix(desk: Desk) -> None:
    desk.join("a")
    desk.join("b", group="other")
    desk.publish("a", 1)
    assert desk.delivered("b") == []


def test_a_directed_record_goes_to_its_addressee_and_to_tails_only(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        desk.join(name)
    desk.say(b"tail", frames.Hello("t", "tail", group=GROUP))
    desk.publish("a", 1, to="b")
    assert (desk.delivered("b"), desk.delivered("c"), desk.delivered("tail")) == ([1], [], [1])


@pytest.mark.parametrize("to", ["nobody", "elsewhere"])
def test_a_record_for_somebody_who_is_no_member_here_is_refused(desk: Desk, to: str) -> None:
    desk.join("a")
    desk.join("elsewhere", group="other")
    assert desk.publish("a", 1, to=to).code == "unknown-recipient"
    assert desk.journal.head == 0


def test_a_record_for_a_publisher_is_accepted_and_shown_to_tails(desk: Desk) -> None:
    desk.join("a")
    desk.hello("p", role="publisher")
    desk.say(b"tail", frames.Hello("t", "tail", group=GROUP))
    assert desk.publish("a", 1, to="p").seq == 1
    assert (desk.delivered("a"), desk.delivered("tail")) == ([], [1])


def test_the_same_assertion_is_accepted_once_and_answers_its_old_seq(desk: Desk) -> None:
    desk.join("a")
    desk.join("b")
    assert [desk.publish("a", 1).seq, desk.publish("a", 2).seq, desk.publish("a", 1).seq] == [
        1,
        2,
        1,
    ]
    publish = frames.Publish(9, assertion(9), b"twice in one batch")
    assert desk.say(b"a", publish, publish) == [frames.Accepted(9, 3)] * 2
    assert desk.journal.head == 3


def test_two_authors_may_say_the_same(desk: Desk) -> None:
    desk.join("a")
    desk.join("b")
    assert [desk.publish("a", 1).seq, desk.publish("b", 1).seq] == [1, 2]


@pytest.mark.parametrize(("size", "code"), [(262_144, None), (262_145, "too-large")])
def test_a_record_has_a_size_that_is_still_taken(desk: Desk, size: int, code: str | None) -> None:
    desk.join("a")
    assert getattr(desk.publish("a", 1, size=size), "code", None) == code


def test_who_has_not_said_hello_is_told_to(desk: Desk) -> None:
    assert desk.publish("a", 1) == frames.Refused(1, "no-session")
    assert refused(desk.say(b"a", frames.Ping())) == ["no-session"]
    assert refused(desk.say(b"a", frames.Ack(1))) == ["no-session"]


def test_a_tail_cannot_publish(desk: Desk) -> None:
    desk.say(b"t", frames.Hello("t", "tail", group=GROUP))
    assert refused(desk.say(b"t", frames.Publish(1, assertion(1), b""))) == ["no-session"]


def test_a_session_is_kept_alive_by_pings_and_ended_by_leaving(desk: Desk) -> None:
    desk.join("a")
    assert desk.say(b"a", frames.Ping()) == [frames.Pong()]
    assert desk.say(b"a", frames.Leave()) == [frames.Left()]
    assert refused(desk.say(b"a", frames.Ping())) == ["no-session"]


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x80", b"\x81\xa1t\xa3who", b"\xdd" * 9, b"[" * 999]
)
def test_garbage_is_refused_and_the_rest_of_the_batch_served(desk: Desk, data: bytes) -> None:
    desk.join("a")
    publish = frames.encode(frames.Publish(1, assertion(1), b"good"))
    desk.raw((b"x", data), (b"a", publish), (b"x", data))
    assert refused(desk.outlet.take(b"x")) == ["malformed"] * 2
    assert desk.outlet.take(b"a") == [frames.Accepted(1, 1)]


def test_a_member_must_introduce_itself(desk: Desk) -> None:
    for role in ("member", "publisher"):
        assert refused(desk.say(b"a", frames.Hello("s", role))) == ["bad-introduction"]


def test_an_introduction_must_be_signed_by_its_key(desk: Desk) -> None:
    forged = msgspec.structs.replace(introduction("a"), name="b")
    assert refused(desk.say(b"a", frames.Hello("s", "member", forged))) == ["bad-introduction"]


def test_a_tail_needs_a_group_that_could_be_one(desk: Desk) -> None:
    assert refused(desk.say(b"t", frames.Hello("t", "tail", group="No Group"))) == [
        "bad-introduction"
    ]


def test_everybody_is_introduced_before_they_speak(desk: Desk) -> None:
    assert [each.name for each in desk.join("a").members] == ["a"]
    desk.say(b"tail", frames.Hello("t", "tail", group=GROUP))
    desk.join("c", group="other")
    desk.outlet.sent.clear()
    hello = frames.Hello("p", "publisher", introduction("pub"))
    desk.raw(
        (b"pub", frames.encode(hello)),
        (b"pub", frames.encode(frames.Publish(1, assertion(1), b""))),
    )
    for route in (b"a", b"tail"):
        first, second = desk.outlet.take(route)
        assert first == frames.Introduced(introduction("pub"))
        assert isinstance(second, frames.Deliver)
    assert desk.outlet.take(b"c") == []
    assert {each.name for each in desk.join("b").members} == {"a", "pub", "b"}


def test_an_introduction_is_news_once_and_again_when_it_says_something_new(desk: Desk) -> None:
    desk.join("a")
    desk.join("b")
    desk.outlet.sent.clear()
    desk.join("b")
    assert desk.outlet.take(b"a") == []
    made_again = introduce(identity("b"), GROUP, implementation="xmesh-test", now_ms=5)
    desk.say(b"b", frames.Hello("session-b", "member", made_again))
    assert desk.outlet.take(b"a") == []
    newer = introduce(identity("b"), GROUP, implementation="xmesh-test 2", now_ms=5)
    desk.say(b"b", frames.Hello("session-b", "member", newer))
    assert desk.outlet.take(b"a") == [frames.Introduced(newer)]
    assert desk.outlet.take(b"b") == []


def test_a_new_member_starts_at_the_head(desk: Desk) -> None:
    desk.join("a")
    desk.publish("a", 1)
    welcome = desk.join("b")
    assert (welcome.head, welcome.cursor, desk.delivered("b")) == (1, 1, [])


def test_a_member_gets_what_came_while_it_was_away(desk: Desk) -> None:
    desk.join("a")
    desk.join("b")
    desk.say(b"b", frames.Leave())
    desk.publish("a", 1)
    desk.restart()
    desk.join("a")
    desk.publish("a", 2)
    answers = desk.hello("b")
    assert isinstance(answers[0], frames.Welcome)
    assert [each.seq for each in answers[1:]] == [1, 2]


def test_a_member_never_gets_what_was_said_before_it_first_joined(desk: Desk) -> None:
    desk.join("a")
    desk.publish("a", 1)
    epoch = desk.join("b").epoch
    desk.publish("a", 2)
    assert desk.join("b", position=(epoch, 2)).cursor == 2
    assert desk.join("b", position=(epoch, 0)).cursor == 1


def test_a_member_that_changes_its_group_is_new_in_the_other(desk: Desk) -> None:
    desk.join("a")
    desk.join("c", group="other")
    desk.join("b")
    desk.publish("a", 1)
    assert desk.join("b", group="other").cursor == 1
    assert desk.publish("c", 2, to="b").seq == 2
    assert desk.delivered("b") == [2]
    assert desk.publish("a", 3, to="b").code == "unknown-recipient"


def test_a_client_that_says_hello_again_replaces_its_own_session(desk: Desk) -> None:
    desk.join("a")
    desk.join("b")
    desk.hello("b", route=b"b2")
    desk.publish("a", 1)
    assert desk.delivered("b") == []
    assert desk.delivered("b2") == [1]


def test_a_second_process_of_a_node_is_refused_and_the_first_undisturbed(desk: Desk) -> None:
    desk.join("a")
    desk.join("b")
    assert refused(desk.hello("b", route=b"b2", session="other")) == []
    desk.advance(CONTEST_MS - 1)
    assert refused(desk.outlet.take(b"b2")) == []
    assert desk.say(b"b2", frames.Ping()) == [frames.Pong()]
    desk.advance(1)
    assert refused(desk.outlet.take(b"b2")) == ["collision"]
    desk.outlet.sent.clear()
    desk.publish("a", 1)
    assert (desk.delivered("b"), desk.delivered("b2")) == ([1], [])
    assert refused(desk.say(b"b2", frames.Ping())) == ["no-session"]


def test_a_process_that_follows_a_dead_one_is_let_in_at_once(desk: Desk) -> None:
    desk.join("b")
    desk.outlet.gone.add(b"b")
    assert isinstance(desk.hello("b", route=b"b2", session="other")[0], frames.Welcome)


def test_a_process_that_follows_a_dying_one_is_let_in_when_that_is_gone(desk: Desk) -> None:
    desk.join("b")
    desk.hello("b", route=b"b2", session="other")
    assert desk.service.wait_ms(desk.now) == CONTEST_STEP_MS
    desk.outlet.gone.add(b"b")
    desk.advance(CONTEST_STEP_MS)
    assert isinstance(desk.outlet.take(b"b2")[0], frames.Welcome)


def test_two_live_nodes_of_one_group_cannot_share_a_name(desk: Desk) -> None:
    desk.join("b")
    other = introduce(_stranger(), GROUP, implementation="x", now_ms=1)
    desk.say(b"b2", frames.Hello("other", "member", other))
    desk.advance(CONTEST_MS)
    assert refused(desk.outlet.take(b"b2")) == ["name-taken"]
    elsewhere = introduce(_stranger(), "other", implementation="x", now_ms=1)
    (answer,) = desk.say(b"b3", frames.Hello("third", "member", elsewhere))
    assert isinstance(answer, frames.Welcome)


def _stranger() -> Identity:
    return identity.__wrapped__("b")


def test_publishers_of_one_node_stand_beside_each_other_and_beside_the_member(desk: Desk) -> None:
    desk.join("a")
    for number in (1, 2):
        session, route = f"p{number}", f"p{number}".encode()
        answers = desk.hello("a", route=route, session=session, role="publisher")
        assert isinstance(answers[0], frames.Welcome)
    assert [each.node_id for each in desk.say(b"s", frames.Status())[0].members] == [node_id("a")]


def test_a_window_is_never_exceeded_and_an_acknowledgement_opens_it(desk: Desk) -> None:
    desk.join("a")
    desk.join("b", window=2)
    marks = [desk.publish("a", mark).seq for mark in range(1, 6)]
    assert marks == [1, 2, 3, 4, 5]
    assert desk.delivered("b") == [1, 2]
    desk.raw((b"b", frames.encode(frames.Ack(1))))
    assert desk.delivered("b") == [3]
    desk.raw((b"b", frames.encode(frames.Ack(3))))
    assert desk.delivered("b") == [4, 5]


def test_a_slow_member_delays_nobody(desk: Desk) -> None:
    for name in ("a", "b"):
        desk.join(name)
    desk.join("slow", window=1)
    for mark in range(1, 50):
        desk.publish("a", mark)
    assert desk.delivered("b") == list(range(1, 50))
    assert desk.delivered("slow") == [1]


def test_a_member_whose_pipe_is_full_is_dropped_and_served_again_when_it_comes_back(
    desk: Desk,
) -> None:
    desk.join("a")
    desk.join("b")
    desk.outlet.gone.add(b"b")
    desk.publish("a", 1)
    desk.outlet.gone.clear()
    assert refused(desk.say(b"b", frames.Ping())) == ["no-session"]
    assert [each.seq for each in desk.hello("b")[1:]] == [1]


def test_a_tail_reads_from_where_it_says_and_what_comes(desk: Desk) -> None:
    desk.join("a", own=False)
    for mark in (1, 2, 3):
        desk.publish("a", mark)
    answers = desk.say(b"t", frames.Hello("t", "tail", group=GROUP, since=1))
    assert [each.seq for each in answers[1:]] == [2, 3]
    (welcome,) = desk.say(b"u", frames.Hello("u", "tail", group=GROUP))
    assert (welcome.cursor, welcome.members) == (3, [introduction("a")])
    desk.publish("a", 4)
    assert desk.delivered("u") == [4]


def test_a_long_way_to_catch_up_is_gone_in_turns(desk: Desk) -> None:
    desk.join("a")
    desk.join("b")
    desk.say(b"b", frames.Leave())
    for mark in range(600):
        desk.publish("a", mark)
    first = [each for each in desk.hello("b", window=1024) if isinstance(each, frames.Deliver)]
    assert len(first) == PAGE * PAGES_A_TURN
    assert desk.service.wait_ms(desk.now) == 0
    desk.advance(0)
    desk.advance(0)
    assert desk.delivered("b") == list(range(PAGE * PAGES_A_TURN, 600))
    assert desk.service.wait_ms(desk.now) > 0


def test_status_tells_cursor_pending_and_who_is_there(desk: Desk) -> None:
    desk.join("a")
    desk.join("b")
    desk.publish("a", 1)
    desk.publish("a", 2, to="b")
    desk.publish("b", 3)
    (status,) = desk.say(b"s", frames.Status())
    by_name = {each.name: each for each in status.members}
    assert (status.epoch, status.head, status.records) == (desk.journal.epoch, 3, 3)
    assert (by_name["a"].cursor, by_name["a"].pending) == (2, 1)
    assert (by_name["b"].cursor, by_name["b"].pending, by_name["b"].connected) == (0, 2, True)
    desk.outlet.gone.add(b"b")
    desk.raw((b"b", frames.encode(frames.Ack(1))))
    (status,) = desk.say(b"s", frames.Status())
    by_name = {each.name: each for each in status.members}
    assert (by_name["b"].cursor, by_name["b"].pending, by_name["b"].connected) == (1, 1, False)


def test_connections_that_ended_without_a_word_are_forgotten_after_a_while(desk: Desk) -> None:
    desk.hello("a", role="publisher")
    desk.outlet.gone.add(b"a")
    desk.advance(SWEEP_MS - 1)
    desk.outlet.gone.clear()
    assert desk.say(b"a", frames.Ping()) == [frames.Pong()]
    desk.outlet.gone.add(b"a")
    assert desk.service.wait_ms(desk.now) == 1
    desk.advance(1)
    assert desk.service.wait_ms(desk.now) > 1
    desk.outlet.gone.clear()
    assert refused(desk.say(b"a", frames.Ping())) == ["no-session"]


def test_a_removed_node_is_no_living_member(desk: Desk) -> None:
    desk.join("a")
    desk.join("b")
    remove = frames.Remove(node_id("b"))
    assert desk.say(b"s", remove) == [frames.Removed(node_id("b"), found=True)]
    assert desk.say(b"s", remove) == [frames.Removed(node_id("b"), found=False)]
    assert desk.publish("a", 1, to="b").code == "unknown-recipient"
    desk.publish("a", 2)
    assert desk.delivered("b") == []
    assert desk.join("b").cursor == 1


def test_cursors_are_written_a_while_after_they_move(desk: Desk) -> None:
    desk.join("a")
    desk.join("b")
    desk.advance(200)
    desk.publish("a", 1)
    desk.say(b"b", frames.Ack(1))
    desk.advance(CURSOR_DELAY_MS - 1)
    assert _cursors(desk) == {"a": 0, "b": 0}
    desk.advance(1)
    assert _cursors(desk) == {"a": 1, "b": 1}


def test_further_moves_neither_hasten_nor_postpone_the_writing(desk: Desk) -> None:
    desk.join("a")
    desk.advance(200)
    desk.publish("a", 1)
    desk.advance(CURSOR_DELAY_MS - 1)
    desk.publish("a", 2)
    assert _cursors(desk) == {"a": 0}
    assert desk.service.wait_ms(desk.now) == 1
    desk.advance(1)
    assert _cursors(desk) == {"a": 2}


def test_cursors_that_cannot_be_written_are_tried_again_later(desk: Desk) -> None:
    desk.join("a")
    desk.advance(200)
    desk.publish("a", 1)
    desk.connection.execute("PRAGMA query_only = ON")
    desk.advance(CURSOR_DELAY_MS)
    assert desk.service.wait_ms(desk.now) == RETRY_MS
    desk.connection.execute("PRAGMA query_only = OFF")
    desk.advance(RETRY_MS)
    assert _cursors(desk) == {"a": 1}


@pytest.mark.parametrize(("records", "wait_ms"), [(500, PRUNE_AGAIN_MS), (499, PRUNE_MS)])
def test_retention_goes_on_soon_while_there_is_more_to_take(
    desk: Desk, records: int, wait_ms: int
) -> None:
    desk.join("a")
    for mark in range(records):
        desk.publish("a", mark)
    desk.mono_ms += RETENTION.age_ms + 1
    desk.advance(0)
    assert desk.service.wait_ms(desk.now) == wait_ms


def test_a_batch_before_they_are_due_leaves_cursors_to_be_written(desk: Desk) -> None:
    desk.join("a")
    desk.join("b")
    desk.publish("a", 1)
    desk.say(b"b", frames.Ack(1))
    desk.hello("c", role="publisher")
    assert _cursors(desk) == {"a": 0, "b": 0}
    desk.mono_ms += CURSOR_DELAY_MS
    desk.hello("c", role="publisher")
    assert _cursors(desk) == {"a": 1, "b": 1}


def test_cursors_go_along_with_a_batch_when_they_are_due(desk: Desk) -> None:
    desk.join("a")
    desk.join("b")
    desk.publish("a", 1)
    desk.say(b"b", frames.Ack(1))
    desk.mono_ms += CURSOR_DELAY_MS
    desk.publish("a", 2)
    assert _cursors(desk) == {"a": 1, "b": 1}


def test_cursors_are_written_at_the_end(desk: Desk) -> None:
    desk.join("a")
    desk.publish("a", 1)
    desk.service.close()
    assert _cursors(desk) == {"a": 1}


def _cursors(desk: Desk) -> dict[str, int]:
    return {member.name: member.cursor for member in desk.journal.members()}


def test_a_full_disk_refuses_what_needs_it_serves_the_rest_and_passes(desk: Desk) -> None:
    desk.join("a")
    desk.join("b")
    desk.publish("a", 1)
    desk.outlet.sent.clear()
    _fill(desk.connection)
    publish = frames.Publish(2, assertion(2), bytes(200_000))
    hello = frames.Hello("n", "member", introduction("new"))
    batch = ((b"b", frames.Ping()), (b"a", publish), (b"n", hello))
    desk.raw(*((route, frames.encode(frame)) for route, frame in batch), (b"x", b"?"))
    assert refused(desk.outlet.take(b"a")) == ["journal-unavailable"]
    assert refused(desk.outlet.take(b"n")) == ["journal-unavailable"]
    assert desk.outlet.take(b"b") == [frames.Pong()]
    assert refused(desk.outlet.take(b"x")) == ["malformed"]
    assert refused(desk.say(b"n", frames.Ping())) == ["no-session"]
    assert desk.journal.head == 1
    desk.connection.execute("PRAGMA max_page_count = 1000000")
    assert desk.say(b"a", publish) == [frames.Accepted(2, 2)]
    assert [each for _, each in desk.logged] == ["journal-unavailable", "journal-available"]
    new = desk.hello("new", route=b"n")
    assert {each.name for each in new[0].members} == {"a", "b", "new"}


def _fill(connection: sqlite3.Connection) -> None:
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_damaged_journal_ends_the_service_and_everybody_is_told(desk: Desk) -> None:
    desk.join("a")
    desk.connection.execute("DROP TABLE ids")
    with pytest.raises(JournalDamaged):
        desk.publish("a", 1)
    desk.outlet.sent.clear()
    desk.service.dismiss()
    assert refused(desk.outlet.take(b"a")) == ["no-session"]


def test_a_member_of_an_earlier_journal_gets_all_of_the_new_one(desk: Desk) -> None:
    desk.join("a")
    old = desk.journal.epoch
    desk.connection = memory()
    desk.restart()
    desk.join("a")
    desk.publish("a", 1)
    answers = desk.hello("b", position=(old, 5))
    assert [each.seq for each in answers[1:]] == [1]


def test_only_so_many_contests_wait_at_a_time(desk: Desk) -> None:
    desk.join("b")
    codes = []
    for number in range(MAX_CONTESTS + 1):
        codes += refused(desk.hello("b", route=b"%d" % number, session=f"s{number}"))
    assert codes == ["collision"]


def test_retention_takes_from_who_is_behind_and_says_so(desk: Desk) -> None:
    desk.join("a")
    desk.join("b")
    desk.publish("a", 1)
    desk.mono_ms += RETENTION.age_ms + 1
    desk.advance(0)
    (status,) = desk.say(b"s", frames.Status())
    by_name = {each.name: each for each in status.members}
    assert (by_name["a"].lost, by_name["b"].lost, status.cut, status.records) == (0, 1, 1, 0)
    assert (by_name["b"].cursor, by_name["b"].pending) == (1, 0)
    assert ("warning", "retention-cut") in desk.logged
