"""What a gateway may ask of the bus, and that nobody else may; without sockets."""

from typing import Any

import pytest
from helpers.bus import GROUP, make_remote
from helpers.bus_service import Desk, assertion, introduction, node_id

from xmesh_mesh.bus import edge_frames, frames
from xmesh_mesh.bus.edge import MAX_REMOTES
from xmesh_mesh.bus.proofs import MAX_PROOFS, PROOF_MS
from xmesh_mesh.introduction import Introduction

REMOTE = make_remote("faraway")
GATEWAY = b"gateway"


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.join("a")
    gateway(desk)
    return desk


def gateway(desk: Desk, route: bytes = GATEWAY, **options: Any) -> frames.Welcome:
    group = options.pop("group", GROUP)
    hello = frames.Hello(f"s-{route.decode()}", "gateway", group=group, **options)
    answers = desk.say(route, hello)
    return next(each for each in answers if isinstance(each, frames.Welcome))


def introduce(desk: Desk, remote: Introduction = REMOTE, route: bytes = GATEWAY) -> Any:
    (answer,) = [
        each for each in desk.say(route, edge_frames.Introduce(1, remote))
        if isinstance(each, frames.Accepted | frames.Refused)
    ]  # fmt: skip
    return answer


def publish(desk: Desk, mark: int, route: bytes = GATEWAY, **options: Any) -> Any:
    options = {"author": REMOTE.node_id, **options}
    request = frames.Publish(mark, assertion(mark), mark.to_bytes(8), **options)
    (answer,) = [
        each for each in desk.say(route, request)
        if isinstance(each, frames.Accepted | frames.Refused)
    ]  # fmt: skip
    return answer


def test_a_gateway_hears_everything_said_in_its_group_and_nothing_else(desk: Desk) -> None:
    desk.join("b")
    desk.join("elsewhere", group="other")
    desk.publish("a", 1)
    desk.publish("a", 2, to="b")
    desk.publish("elsewhere", 3)
    assert desk.delivered("gateway") == [1, 2]


def test_a_remote_node_is_made_known_to_the_members_and_to_who_joins_later(desk: Desk) -> None:
    desk.outlet.take(b"a")
    assert introduce(desk) == frames.Accepted(1, 0)
    assert desk.outlet.take(b"a", frames.Introduced) == [frames.Introduced(REMOTE)]
    assert REMOTE in desk.join("b").members
    desk.restart()
    assert REMOTE in desk.join("c").members


def test_what_a_remote_said_reaches_the_members_under_its_name(desk: Desk) -> None:
    introduce(desk)
    desk.outlet.take(b"a")
    assert publish(desk, 7) == frames.Accepted(7, 1)
    (deliver,) = desk.outlet.take(b"a", frames.Deliver)
    assert (deliver.author, deliver.record) == (REMOTE.node_id, (7).to_bytes(8))
    assert not deliver.history


def test_old_news_is_marked_as_such_also_from_disk(desk: Desk) -> None:
    introduce(desk)
    desk.outlet.take(b"a")
    publish(desk, 1, history=True)
    publish(desk, 2)
    assert [d.history for d in desk.outlet.take(b"a", frames.Deliver)] == [True, False]
    desk.restart()
    hello = frames.Hello("s", "gateway", position=(desk.journal.epoch, 0), group=GROUP)
    again = [each for each in desk.say(GATEWAY, hello) if isinstance(each, frames.Deliver)]
    assert [(each.seq, each.history) for each in again] == [(1, True), (2, False)]


def test_the_same_record_over_two_links_is_one(desk: Desk) -> None:
    introduce(desk)
    assert publish(desk, 1).seq == publish(desk, 1, history=True).seq == 1
    assert desk.journal.head == 1


def test_a_record_of_somebody_who_was_not_introduced_is_refused(desk: Desk) -> None:
    assert publish(desk, 1).code == "unknown-author"
    assert publish(desk, 1, author=None).code == "unknown-author"
    assert publish(desk, 1, author=node_id("a")).code == "unknown-author"
    introduce(desk)
    gateway(desk, b"other", group="other")
    assert publish(desk, 1, route=b"other").code == "unknown-author"
    assert desk.journal.head == 0


def test_nobody_but_a_gateway_speaks_for_others_or_of_old_news(desk: Desk) -> None:
    introduce(desk)
    assert publish(desk, 1, route=b"a").code == "not-a-gateway"
    assert publish(desk, 1, route=b"a", author=None, history=True).code == "not-a-gateway"
    assert desk.journal.head == 0


@pytest.mark.parametrize(
    ("remote", "code"),
    [
        (introduction("b"), "bad-introduction"),
        (make_remote("x", sig="AAAA"), "bad-introduction"),
        (make_remote("x", node_id="no-uuid"), "bad-introduction"),
        (make_remote("x", public_key="AAAA"), "bad-introduction"),
        (make_remote("x", group="other"), "bad-introduction"),
        (make_remote("x" * 65), "bad-introduction"),
        (make_remote("x", node_id=node_id("a")), "own-node"),
    ],
    ids=["local", "forged", "no id", "no key", "other group", "long name", "own"],
)
def test_a_remote_that_cannot_be_one_is_refused(
    desk: Desk, remote: Introduction, code: str
) -> None:
    assert introduce(desk, remote).code == code


def test_a_node_of_another_group_of_this_host_is_no_remote_either(desk: Desk) -> None:
    desk.join("b", group="other")
    assert introduce(desk, make_remote("x", node_id=node_id("b"))).code == "own-node"


def test_a_remote_without_a_key_may_be_introduced(desk: Desk) -> None:
    assert isinstance(introduce(desk, make_remote("old", public_key="")), frames.Accepted)


def test_a_group_has_room_for_so_many_remotes_and_a_removed_one_makes_room(desk: Desk) -> None:
    with desk.journal.batch():
        for number in range(MAX_REMOTES):
            desk.journal.introduce(make_remote(f"r-{number}"))
    desk.restart()
    gateway(desk)
    assert introduce(desk).code == "too-many-remotes"
    (known, *_) = [each for each in desk.journal.introductions() if each.origin == "remote"]
    assert isinstance(introduce(desk, known), frames.Accepted)
    gone = frames.Remove(known.node_id, remote=True)
    assert desk.say(b"x", gone) == [frames.Removed(known.node_id, found=True)]
    assert desk.say(b"x", gone) == [frames.Removed(known.node_id, found=False)]
    assert isinstance(introduce(desk), frames.Accepted)
    assert MAX_REMOTES == 1_024


def test_a_remote_addresses_members_of_this_host_only(desk: Desk) -> None:
    other = make_remote("further")
    introduce(desk)
    introduce(desk, other)
    assert publish(desk, 1, to=other.node_id).code == "unknown-recipient"
    assert publish(desk, 2, to=REMOTE.node_id).code == "unknown-recipient"
    desk.outlet.take(b"a")
    assert publish(desk, 3, to=node_id("a")) == frames.Accepted(3, 1)
    assert desk.delivered("a") == [3]


def test_forgetting_a_remote_never_ends_a_member(desk: Desk) -> None:
    (removed,) = desk.say(b"x", frames.Remove(node_id("a"), remote=True))
    assert not removed.found
    assert desk.say(b"a", frames.Ping()) == [frames.Pong()]
    assert node_id("a") in {member.node_id for member in desk.journal.members()}


def test_members_may_address_a_remote(desk: Desk) -> None:
    introduce(desk)
    request = frames.Publish(1, assertion(1), b"12345678", REMOTE.node_id)
    assert desk.say(b"a", request) == [frames.Accepted(1, 1)]
    assert len(desk.outlet.take(GATEWAY, frames.Deliver)) == 1


@pytest.mark.parametrize("role", ["member", "publisher"])
def test_nobody_joins_as_a_remote(desk: Desk, role: frames.Role) -> None:
    answers = desk.say(b"x", frames.Hello("x", role, make_remote("x")))
    assert [each.code for each in answers] == ["bad-introduction"]


def test_a_newer_gateway_replaces_the_older_one_of_its_group_only(desk: Desk) -> None:
    gateway(desk, b"elsewhere", group="other")
    gateway(desk, b"newer")
    (refusal,) = desk.outlet.take(GATEWAY)
    assert (refusal.request, refusal.code) == (None, "replaced")
    assert desk.say(GATEWAY, frames.Ping())[0].code == "no-session"
    assert desk.say(b"elsewhere", frames.Ping()) == [frames.Pong()]
    desk.publish("a", 1)
    assert (desk.delivered("newer"), desk.delivered("gateway")) == ([1], [])


def test_a_gateway_goes_on_from_its_position_and_reads_a_new_journal_whole(desk: Desk) -> None:
    for mark in (1, 2, 3):
        desk.publish("a", mark)
    epoch = desk.journal.epoch
    assert gateway(desk, b"g1", position=(epoch, 2)).cursor == 2
    assert gateway(desk, b"g2", position=("another epoch", 2)).cursor == 0
    assert gateway(desk, b"g3").cursor == 3
    assert gateway(desk, b"g4", since=1).cursor == 1


def ask(desk: Desk, name: str = "a", number: int = 5, route: bytes = GATEWAY) -> list[Any]:
    return desk.say(route, edge_frames.Prove(number, node_id(name), "server", b"what was said"))


def test_a_proof_goes_from_the_member_that_was_asked_to_the_gateway(desk: Desk) -> None:
    desk.join("b")
    desk.outlet.take(b"a")
    assert ask(desk) == []
    (asked,) = desk.outlet.take(b"a")
    assert (asked.role, asked.transcript) == ("server", b"what was said")
    assert desk.outlet.take(b"b") == []
    desk.say(b"b", edge_frames.Proof(asked.token, "forged"))
    desk.say(b"a", edge_frames.Proof(asked.token, "mine"))
    desk.say(b"a", edge_frames.Proof(asked.token, "again"))
    assert desk.outlet.take(GATEWAY) == [edge_frames.Proved(5, "mine")]


def test_a_member_may_decline(desk: Desk) -> None:
    ask(desk)
    (asked,) = desk.outlet.take(b"a", edge_frames.ProofAsked)
    desk.say(b"a", edge_frames.Proof(asked.token))
    assert desk.outlet.take(GATEWAY) == [edge_frames.Unproved(5, "declined")]


def test_nobody_waits_longer_than_five_seconds_for_a_member(desk: Desk) -> None:
    ask(desk)
    assert desk.service.wait_ms(desk.now) <= PROOF_MS
    desk.advance(PROOF_MS - 1)
    assert desk.outlet.take(GATEWAY) == []
    desk.advance(1)
    assert desk.outlet.take(GATEWAY) == [edge_frames.Unproved(5, "timeout")]


def test_a_member_of_another_group_or_none_proves_nothing(desk: Desk) -> None:
    desk.join("b", group="other")
    desk.outlet.take(b"b")
    unproved = edge_frames.Unproved(5, "not-connected")
    assert (ask(desk, "b"), ask(desk, "nobody")) == ([unproved], [unproved])
    assert desk.outlet.take(b"b") == []


def test_only_so_many_proofs_are_under_way(desk: Desk) -> None:
    for number in range(MAX_PROOFS):
        ask(desk, number=number)
    assert ask(desk) == [edge_frames.Unproved(5, "busy")]


def test_a_collision_ends_the_member_that_it_concerns(desk: Desk) -> None:
    desk.join("b")
    desk.outlet.take(b"a")
    desk.say(GATEWAY, edge_frames.Collide(node_id("a"), "lives on host two as well"))
    (refusal,) = desk.outlet.take(b"a")
    assert refusal == frames.Refused(None, "collision", "lives on host two as well")
    assert desk.say(b"b", frames.Ping()) == [frames.Pong()]
    desk.advance(1)
    assert isinstance(desk.join("a"), frames.Welcome)


def test_an_attestation_reaches_the_gateway_of_the_group_only(desk: Desk) -> None:
    gateway(desk, b"other", group="other")
    desk.say(b"a", edge_frames.Attest(b"stated"))
    assert desk.outlet.take(GATEWAY) == [edge_frames.Attested(node_id("a"), b"stated")]
    assert desk.outlet.take(b"other") == []
    assert desk.journal.records() == 0


@pytest.mark.parametrize(
    "request_",
    [
        edge_frames.Introduce(1, REMOTE),
        edge_frames.Prove(1, node_id("a"), "client", b""),
        edge_frames.Collide(node_id("a"), "text"),
    ],
    ids=lambda request: type(request).__name__,
)
def test_what_is_a_gateways_nobody_else_may_ask(desk: Desk, request_: frames.Request) -> None:
    desk.join("b")
    desk.outlet.take(b"a")
    assert [each.code for each in desk.say(b"b", request_)] == ["not-a-gateway"]
    assert [each.code for each in desk.say(b"stranger", request_)] == ["no-session"]
    assert desk.outlet.take(b"a") == []


@pytest.mark.parametrize(
    ("route", "code"), [(b"stranger", "no-session"), (GATEWAY, "not-a-member")]
)
def test_only_members_attest(desk: Desk, route: bytes, code: str) -> None:
    assert [each.code for each in desk.say(route, edge_frames.Attest(b""))] == [code]


def test_while_nothing_can_be_written_proofs_go_on_and_introductions_are_asked_for_again(
    desk: Desk,
) -> None:
    ask(desk)
    (asked,) = desk.outlet.take(b"a", edge_frames.ProofAsked)
    desk.connection.execute("PRAGMA max_page_count = 1")
    big = frames.Publish(9, assertion(9), bytes(200_000))
    desk.raw(
        (b"a", frames.encode(edge_frames.Proof(asked.token, "mine"))),
        (GATEWAY, frames.encode(edge_frames.Introduce(1, REMOTE))),
        (b"a", frames.encode(big)),
    )
    proved, refusal = sorted(desk.outlet.take(GATEWAY), key=lambda each: type(each).__name__)
    assert proved == edge_frames.Proved(5, "mine")
    assert (refusal.request, refusal.code) == (1, "journal-unavailable")
    desk.connection.execute("PRAGMA max_page_count = 1000000")
    assert introduce(desk) == frames.Accepted(1, 0)
