"""Two links to one remote: the better one is used, and one ping at a time is open."""

from xmesh_mesh.gateway.conversation import REPEAT_MS, UNWELL_MS, Conversation, Deed, Do, Line
from xmesh_mesh.wire.frames import NodeStats, Ping, Pong, Stats
from xmesh_mesh.wire.heartbeat import MUTE_AFTER_MS, PING_AFTER_MS, SILENT_AFTER_MS
from xmesh_mesh.wire.types import Transport

LOW, HIGH = "0" * 36, "f" * 36
WORD = NodeStats(stats=Stats())


def line(transport: Transport = "lan", *, secure: bool = False, outbound: bool = True) -> Line:
    return Line(transport, secure, outbound, 0)


def with_lines(*lines: Line) -> Conversation:
    conversation = Conversation(LOW, HIGH, 0)
    for each in lines:
        assert conversation.add(each, 0) == []
    conversation.preferred(0)
    return conversation


def test_the_lan_is_preferred_to_a_relay_and_core_secure_to_the_lan() -> None:
    relay, lan = line("relay"), line()
    assert with_lines(relay, lan).preferred(0) is lan
    secure = line("relay", secure=True)
    assert with_lines(secure, lan).preferred(0) is secure


def test_an_unanswered_ping_makes_the_other_link_the_better_one() -> None:
    lan, relay = line(), line("relay")
    conversation = with_lines(lan, relay)
    conversation.feed.took(1)
    assert conversation.ping_due(0) is lan
    assert conversation.preferred(UNWELL_MS - 1) is lan
    assert conversation.would_change(UNWELL_MS)
    assert conversation.preferred(UNWELL_MS) is relay
    assert conversation.feed.sent == 0, "what is not vouched for goes over the other link"


def test_a_pong_that_comes_by_the_other_link_answers_the_open_ping() -> None:
    lan, relay = line(), line("relay")
    conversation = with_lines(lan, relay)
    conversation.feed.took(1)
    conversation.ping_due(0)
    assert conversation.heard(relay, Pong(), 10)
    assert conversation.feed.cursor == 1
    assert lan.is_well(UNWELL_MS)


def test_one_ping_is_open_at_a_time() -> None:
    lan, relay = line(), line("relay")
    conversation = with_lines(lan, relay)
    assert conversation.tick(PING_AFTER_MS) == [Deed(Do.PING, lan)]
    conversation.feed.took(1)
    assert conversation.ping_due(PING_AFTER_MS) is None
    conversation.heard(lan, Pong(), PING_AFTER_MS)
    assert conversation.tick(PING_AFTER_MS) == [Deed(Do.PING, relay)]


def test_a_pong_to_the_other_links_ping_vouches_for_no_record() -> None:
    lan, relay = line(), line("relay")
    conversation = with_lines(lan, relay)
    conversation.heard(lan, WORD, PING_AFTER_MS)
    assert conversation.tick(PING_AFTER_MS) == [Deed(Do.PING, relay)]
    conversation.feed.took(1)
    assert not conversation.heard(relay, Pong(), PING_AFTER_MS)
    assert conversation.feed.cursor == 0


def test_a_heartbeats_pong_vouches_for_what_went_out_before_its_ping() -> None:
    lan = line()
    conversation = with_lines(lan)
    conversation.feed.took(1)
    assert conversation.tick(PING_AFTER_MS) == [Deed(Do.PING, lan)]
    assert conversation.heard(lan, Pong(), PING_AFTER_MS + 1)
    assert conversation.feed.cursor == 1


def test_a_link_on_which_only_pings_come_is_mute_and_one_without_any_is_silent() -> None:
    lan = line()
    conversation = with_lines(lan)
    conversation.tick(PING_AFTER_MS)
    conversation.heard(lan, Ping(), PING_AFTER_MS + 1)
    assert conversation.tick(PING_AFTER_MS + MUTE_AFTER_MS) == [Deed(Do.CLOSE_MUTE, lan)]
    quiet = line()
    conversation = with_lines(quiet)
    conversation.tick(PING_AFTER_MS)
    later = PING_AFTER_MS + SILENT_AFTER_MS
    assert Deed(Do.CLOSE, quiet) in conversation.tick(later)


def test_a_ping_whose_pong_never_comes_on_a_live_link_is_sent_again() -> None:
    lan = line()
    conversation = with_lines(lan)
    conversation.feed.took(1)
    conversation.ping_due(0)
    conversation.heard(lan, WORD, 5_000)
    assert conversation.tick(REPEAT_MS - 1) == []
    conversation.heard(lan, WORD, REPEAT_MS)
    assert conversation.tick(REPEAT_MS) == [Deed(Do.PING, lan)]
    assert conversation.heard(lan, Pong(), REPEAT_MS + 1)
    assert conversation.feed.cursor == 1


def test_of_two_lan_links_the_rules_of_dual_dials_choose() -> None:
    old, new = line(outbound=False), line(outbound=True)
    conversation = with_lines(old)
    assert conversation.add(new, 500) == [old], "the lower id keeps what it has dialled itself"
    again = line(outbound=False)
    assert conversation.add(again, 600) == [again]
    assert conversation.lines == [new]


def test_a_secure_link_replaces_a_plain_one_and_never_the_other_way() -> None:
    plain, secure = line(), line(secure=True)
    conversation = with_lines(plain)
    assert conversation.add(secure, 0) == [plain]
    assert conversation.add(line(), 5_000) != []
    assert conversation.lines == [secure]


def test_a_link_that_begins_anew_sends_again_what_is_not_vouched_for() -> None:
    relay = line("relay", secure=True)
    conversation = with_lines(relay)
    conversation.feed.took(1)
    conversation.renewed(relay)
    assert conversation.preferred(1) is relay
    assert conversation.feed.sent == 0


def test_the_loss_of_a_link_leaves_the_other_in_charge() -> None:
    lan, relay = line(), line("relay")
    conversation = with_lines(lan, relay)
    conversation.feed.took(1)
    conversation.ping_due(0)
    assert conversation.remove(lan)
    assert not conversation.remove(lan)
    assert conversation.preferred(1) is relay
    assert conversation.feed.sent == 0
    conversation.feed.took(1)
    assert conversation.ping_due(1) is relay


def test_a_second_ping_vouches_for_no_more_than_the_first() -> None:
    lan = line()
    conversation = with_lines(lan)
    conversation.feed.took(1)
    conversation.ping_due(0)
    conversation.heard(lan, WORD, 1)
    conversation.feed.took(2)
    assert conversation.tick(1 + PING_AFTER_MS) == [Deed(Do.PING, lan)]
    assert conversation.heard(lan, Pong(), 2 + PING_AFTER_MS)
    assert conversation.feed.cursor == 1


def test_among_ours_the_other_link_does_not_wait_for_a_ping_that_went_lost() -> None:
    lan, relay = line(secure=True), line("relay", secure=True)
    conversation = with_lines(lan, relay)
    conversation.feed.took(1)
    assert conversation.ping_due(0) is lan
    assert not conversation.heard(relay, Pong(), 1), "ours answer where they were asked"
    assert conversation.preferred(UNWELL_MS) is relay
    conversation.feed.took(1)
    assert conversation.ping_due(UNWELL_MS) is relay
    assert conversation.heard(relay, Pong(), UNWELL_MS + 1)
    assert conversation.feed.cursor == 1
    assert Deed(Do.CLOSE, lan) in conversation.tick(SILENT_AFTER_MS), "the lost one is noticed too"
