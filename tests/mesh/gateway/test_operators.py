"""What an operator says on one host reaches the peers of another, and nobody else speaks for it."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest_asyncio
from helpers.gateway import Host, Peer, Raw, identity_between, signed, until
from helpers.insider import Insider

from xmesh_mesh.canonical import b64u
from xmesh_mesh.gateway.operators import MAX_OPERATORS
from xmesh_mesh.identity import Identity, create_identity
from xmesh_mesh.introduction import Introduction, introduce
from xmesh_mesh.paths import OPERATOR
from xmesh_mesh.pins import Pins
from xmesh_mesh.record import encode
from xmesh_mesh.wire import frames


async def met(left: Host, right: Host, **options: str) -> tuple[Peer, Peer]:
    """Return alice of the left host and bob of the right one, who know each other."""
    alice, bob = await left.peer("alice", "0"), await right.peer("bob", "1")
    await left.start_gateway(**options)
    await right.start_gateway(**options)
    await until(lambda: "bob" in alice.met and "alice" in bob.met, "an introduction")
    return alice, bob


def pins(host: Host) -> Pins:
    return Pins(host.runtime.pins("lab") / "pins.json")


# Two hosts


async def test_what_an_operator_says_reaches_the_peers_of_another_host(
    left: Host, right: Host
) -> None:
    alice, bob = await met(left, right)
    record = await left.observe("a task")
    await until(lambda: alice.heard == bob.heard == ["a task"], "the task")
    assert bob.got[0].record == encode(record)
    assert not bob.got[0].history
    operator = bob.met[OPERATOR]
    assert operator.node_id == bob.got[0].author == left.operator.node_id
    assert (operator.implementation, operator.public_key) == (
        "xmesh",
        b64u(left.operator.public_key),
    )


async def test_the_order_of_operator_and_peer_is_kept(left: Host, right: Host) -> None:
    alice, bob = await met(left, right)
    said = []
    for number in range(10):
        await left.observe(f"task {number}")
        await alice.say(f"answer {number}")
        said += [f"task {number}", f"answer {number}"]
    await until(lambda: len(bob.got) == 20, "everything")
    assert bob.heard == said


async def test_each_word_of_an_operator_comes_once_over_however_many_links(
    left: Host, right: Host
) -> None:
    await left.peer("carol", "2")
    dave = await right.peer("dave", "3")
    alice, bob = await met(left, right)
    await until(lambda: {"alice", "carol"} <= set(bob.met) & set(dave.met), "introductions")
    await left.observe("a task")
    await until(lambda: bob.got and dave.got, "the task")
    await alice.say("the end")
    await until(lambda: bob.heard[-1] == dave.heard[-1] == "the end", "the end")
    assert bob.heard == dave.heard == ["a task", "the end"]


async def test_an_operator_speaks_to_one_peer_of_another_host(left: Host, right: Host) -> None:
    carol = await right.peer("carol", "2")
    alice, bob = await met(left, right)
    await until(lambda: "carol" in alice.met, "carol's introduction")
    await left.observe("for bob", to=bob.identity.node_id)
    await left.observe("for all")
    await until(lambda: len(bob.got) == 2 and carol.got, "records")
    assert (bob.heard, carol.heard, alice.heard) == (
        ["for bob", "for all"],
        ["for all"],
        ["for all"],
    )


async def test_what_is_for_a_local_peer_only_stays_at_home(left: Host, right: Host) -> None:
    alice, bob = await met(left, right)
    await left.observe("for alice", to=alice.identity.node_id)
    await left.observe("for all")
    await until(lambda: bob.got and len(alice.got) == 2, "records")
    assert bob.heard == ["for all"]


async def test_what_an_operator_said_while_a_host_was_away_comes_when_it_is_back(
    left: Host, right: Host
) -> None:
    _, bob = await met(left, right)
    await left.observe("before")
    await until(lambda: bob.heard == ["before"], "a record")
    await right.stop_gateway()
    await left.observe("meanwhile")
    await left.stop_gateway()
    await left.start_gateway()
    await right.start_gateway()
    await until(lambda: bob.heard == ["before", "meanwhile"], "what was missed")


async def test_both_operators_are_heard_and_told_apart(left: Host, right: Host) -> None:
    alice, bob = await met(left, right)
    await left.observe("from the left")
    await until(lambda: bob.heard == ["from the left"], "a record")
    await right.observe("from the right")
    await until(lambda: len(alice.got) == len(bob.got) == 2, "records")
    assert [each.author for each in alice.got] == [each.author for each in bob.got]
    assert {each.author for each in bob.got} == {left.operator.node_id, right.operator.node_id}


async def test_an_operator_learnt_from_elsewhere_is_not_passed_on(left: Host, right: Host) -> None:
    _, bob = await met(left, right)
    row = await right.wired("bob")
    third = await Insider(identity_between("third", "f")).greet(row["secure_port"])
    await until(lambda: "third" in bob.met, "an introduction")
    await left.observe("a task")
    await until(lambda: bob.heard == ["a task"], "the task")
    await bob.say("the end")
    await until(lambda: len(third.of(frames.CmbEncrypted)) == 1, "bob's word")
    assert third.of(frames.Operator) == []
    await third.close()


async def test_a_plain_node_is_sent_no_word_of_an_operator(left: Host) -> None:
    alice = await left.peer("alice", "0")
    await left.start_gateway()
    row = await left.wired("alice")
    sam = await Raw(identity_between("sam", "f")).greet(row["lan_port"])
    await until(lambda: "sam" in alice.met, "an introduction")
    await left.observe("among ours")
    await alice.say("for everybody")
    await until(lambda: sam.focus() == ["for everybody"], "a record")
    assert not any(isinstance(each, frames.Operator | frames.Unknown) for each in sam.frames)
    assert left.rows()["sam"]["waiting"] <= 1
    await sam.close()


async def test_peers_shows_an_operator_and_who_brings_its_words(left: Host, right: Host) -> None:
    _, bob = await met(left, right)
    await left.observe("a task")
    await until(lambda: bob.got, "the task")
    row = right.rows()[OPERATOR]
    assert (row["node_id"], row["via"], row["received"]) == (left.operator.node_id, "alice", 1)
    assert (row["transports"], row["local"]) == ([], "bob")
    assert OPERATOR not in left.rows()


async def test_strict_hears_an_operator_from_when_a_person_accepts_it(
    left: Host, right: Host
) -> None:
    alice, bob = await left.peer("alice", "0"), await right.peer("bob", "1")
    pins(right).add(alice.identity.node_id, alice.identity.public_key, "alice")
    await left.start_gateway()
    gateway = await right.start_gateway(trust="strict")
    await until(lambda: "bob" in alice.met and "alice" in bob.met, "an introduction")
    await left.observe("too early")
    (held,) = await until(lambda: gateway.status()["quarantine"], "the operator kept out")
    assert (held["name"], held["why"]) == (OPERATOR, "not-pinned")
    pins(right).accept(left.operator.node_id)
    await left.observe("in time")
    await until(lambda: bob.heard == ["in time"], "the operator's word")


async def test_a_bus_that_has_lost_its_journal_is_told_again_who_the_operator_is(
    left: Host, right: Host
) -> None:
    _, bob = await met(left, right)
    await left.observe("old")
    await until(lambda: bob.heard == ["old"], "a record")
    right.bus.kill()
    for file in right.runtime.root.glob("bus.db*"):
        file.unlink()
    right.bus.start()
    await left.observe("new")
    await until(lambda: bob.heard == ["old", "new"], "a record")


# What a remote node could try


@dataclass
class Scene:
    host: Host
    alice: Peer
    mallory: Insider
    operator: Identity  # a true one, of mallory's host

    def introduction(self, identity: Identity | None = None, group: str = "lab") -> Introduction:
        who = identity or self.operator
        now = time.time_ns() // 1_000_000
        return introduce(who, group, implementation="xmesh", now_ms=now)

    def say(self, focus: str, identity: Identity | None = None) -> None:
        who = identity or self.operator
        self.mallory.say(signed(who, focus), who.node_id)

    async def refused(self) -> dict[str, int]:
        """Return what was refused of all that was sent; the link stands."""
        await self.mallory.heard()
        found: dict[str, int] = self.host.rows()["mallory"]["refused"]
        return found


def new_operator(name: str = OPERATOR) -> Identity:
    return create_identity(name, time.time_ns() // 1_000_000)


@pytest_asyncio.fixture
async def scene(left: Host) -> AsyncIterator[Scene]:
    alice = await left.peer("alice", "0")
    await left.start_gateway()
    row = await left.wired("alice")
    mallory = await Insider(identity_between("mallory", "f")).greet(row["secure_port"])
    await until(lambda: "mallory" in alice.met, "an introduction")
    yield Scene(left, alice, mallory, new_operator())
    await mallory.close()


async def works(scene: Scene) -> None:
    """AssertionError unless the true operator is heard."""
    heard = scene.alice.heard
    scene.mallory.present(scene.introduction())
    scene.say("a true word")
    await until(lambda: scene.alice.heard == [*heard, "a true word"], "the operator's word")


async def test_nobody_speaks_for_one_who_was_not_introduced(scene: Scene) -> None:
    scene.say("by an operator whom nobody has presented")
    bob = await scene.host.peer("bob", "1")
    scene.say("as if by a local peer", bob.identity)
    assert await scene.refused() == {"wrong-author": 2}
    await works(scene)


async def test_nobody_speaks_for_another_nodes_operator(scene: Scene) -> None:
    row = await scene.host.wired("alice")
    trent = await Insider(identity_between("trent", "e")).greet(row["secure_port"])
    trent.present(scene.introduction())
    trent.say(signed(scene.operator, "home"), scene.operator.node_id)
    await until(lambda: scene.alice.heard == ["home"], "the operator's word")
    scene.say("away from home")
    assert await scene.refused() == {"wrong-author": 1}
    await trent.close()


async def test_an_introduction_that_its_operator_has_not_signed_is_refused(scene: Scene) -> None:
    true = scene.introduction()
    other = b64u(new_operator().public_key)
    changed: list[dict[str, Any]] = [{"public_key": other}, {"issued_ms": 1}, {"sig": ""}]
    scene.mallory.present(*(msgspec.structs.replace(true, **each) for each in changed))
    scene.say("all the same")
    refused = await scene.refused()
    assert refused == {"bad-signature": 3, "wrong-author": 1}
    assert set(scene.alice.met) == {"mallory"}
    await works(scene)


async def test_only_an_operator_of_the_group_is_presented_as_one(scene: Scene) -> None:
    scene.mallory.present(
        scene.introduction(new_operator("bob")),
        scene.introduction(group="other"),
    )
    assert await scene.refused() == {"wrong-author": 1, "wrong-audience": 1}
    await works(scene)


async def test_a_known_node_id_under_another_key_is_kept_apart(scene: Scene) -> None:
    await works(scene)
    await scene.host.observe("mine")
    await until(lambda: "mine" in scene.alice.heard, "the own operator's word")
    theirs, own = scene.operator.node_id, scene.host.operator.node_id
    for node_id in (theirs, own, scene.alice.identity.node_id):
        false = new_operator()
        false = Identity(node_id, OPERATOR, false.public_key, false.seed, 0)
        scene.mallory.present(scene.introduction(false))
    assert await scene.refused() == {"key-changed": 1, "own-node-id": 2}
    assert scene.host.gateway is not None
    held = {each["node_id"]: each["why"] for each in scene.host.gateway.status()["quarantine"]}
    assert held == {theirs: "key-changed", own: "our-id", scene.alice.identity.node_id: "our-id"}


async def test_the_own_operators_words_do_not_come_back(scene: Scene) -> None:
    await scene.host.observe("mine")
    (presented,) = await until(lambda: scene.mallory.of(frames.Operator), "an introduction")
    assert presented.node_id == scene.host.operator.node_id
    scene.mallory.present(scene.introduction(scene.host.operator))
    scene.say("as if by the own operator", scene.host.operator)
    assert await scene.refused() == {"own-node-id": 2}
    assert scene.host.gateway is not None
    assert scene.host.gateway.status()["quarantine"] == []


async def test_a_node_cannot_present_itself_or_a_peer_that_it_plays(scene: Scene) -> None:
    itself = replace(scene.mallory.identity, name=OPERATOR)
    scene.mallory.present(scene.introduction(itself))
    assert await scene.refused() == {"wrong-author": 1}
    assert scene.alice.met["mallory"].node_id == itself.node_id
    await works(scene)


async def test_a_record_that_the_operator_has_not_signed_is_refused(scene: Scene) -> None:
    await works(scene)
    node_id, record = scene.operator.node_id, signed(scene.operator, "forged")
    scene.mallory.say(signed(scene.mallory.identity, "forged"), node_id)
    scene.mallory.say(replace(record, sig=None), node_id)
    scene.mallory.say(replace(record, sig=signed(new_operator(), "forged").sig), node_id)
    assert await scene.refused() == {"unsigned": 1, "bad-signature": 2}


async def test_a_flood_of_operators_is_bounded(scene: Scene) -> None:
    many = [new_operator() for _ in range(MAX_OPERATORS + 20)]
    scene.mallory.present(*(scene.introduction(each) for each in many))
    assert await scene.refused() == {"too-many-operators": 20}
    members = scene.alice.client.members.values()
    assert sum(each.name == OPERATOR for each in members) == MAX_OPERATORS
    scene.mallory.present(scene.introduction(many[0]))
    scene.say("one of the first", many[0])
    await until(lambda: scene.alice.heard == ["one of the first"], "a record")


async def test_a_flood_of_keys_under_one_node_id_is_bounded(scene: Scene) -> None:
    await works(scene)
    for _ in range(MAX_OPERATORS + 20):
        other = new_operator()
        false = Identity(scene.operator.node_id, OPERATOR, other.public_key, other.seed, 0)
        scene.mallory.present(scene.introduction(false))
    refused = {"key-changed": MAX_OPERATORS - 1, "too-many-operators": 21}
    assert await scene.refused() == refused
    assert scene.host.gateway is not None
    assert len(scene.host.gateway.status()["quarantine"]) == MAX_OPERATORS - 1


async def test_another_link_of_the_same_node_brings_no_room_for_more_operators(
    scene: Scene,
) -> None:
    scene.mallory.present(*(scene.introduction(new_operator()) for _ in range(MAX_OPERATORS)))
    await scene.mallory.heard()
    await scene.mallory.close()
    await until(lambda: not scene.host.rows()["mallory"]["transports"], "mallory's leave")
    row = await scene.host.wired("alice")
    again = await Insider(scene.mallory.identity).greet(row["secure_port"])
    again.present(scene.introduction(new_operator()))
    await again.heard()
    assert scene.host.rows()["mallory"]["refused"] == {"too-many-operators": 1}
    await again.close()


async def test_a_plain_node_presents_nobody(scene: Scene) -> None:
    row = await scene.host.wired("alice")
    sam = await Raw(identity_between("sam", "e")).greet(row["lan_port"])
    await until(lambda: "sam" in scene.alice.met, "an introduction")
    sent = frames.Operator(
        node_id=scene.operator.node_id, name=OPERATOR, room="lab", public_key="k",
        implementation="xmesh", issued_ms=1, sig="s", voucher="v",
    )  # fmt: skip
    sam.send(sent, frames.Ping())
    await until(lambda: sam.of(frames.Pong), "a pong")
    assert scene.host.rows()["sam"]["refused"] == {"malformed": 1}
    await sam.close()


async def test_an_operator_is_not_heard_over_a_link_of_its_own(scene: Scene) -> None:
    await works(scene)
    row = await scene.host.wired("alice")
    plain = await Raw(scene.operator).greet(row["lan_port"])
    await plain.closed.wait()
    assert any("downgrade" in text for text in scene.host.said("refused"))
    await plain.close()
