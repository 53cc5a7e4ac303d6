"""Two hosts with buses and gateways of their own meet by the same-host registry, over real TCP."""

import msgspec
from helpers.gateway import Host, Peer, Raw, identity_between, until

from xmesh_mesh.identity import Identity
from xmesh_mesh.pins import Pins
from xmesh_mesh.wire.attestation import Attestation
from xmesh_mesh.wire.frames import AttestationFrame


async def met(left: Host, right: Host, **options: str) -> tuple[Peer, Peer]:
    """Return alice of the left host and bob of the right one, who know each other."""
    alice, bob = await left.peer("alice", "0"), await right.peer("bob", "1")
    await left.start_gateway(**options)
    await right.start_gateway(**options)
    await until(lambda: "bob" in alice.met and "alice" in bob.met, "an introduction")
    return alice, bob


async def test_records_go_both_ways_between_two_hosts(left: Host, right: Host) -> None:
    alice, bob = await met(left, right)
    await alice.say("from alice")
    await bob.say("from bob")
    await until(lambda: alice.heard == ["from bob"] and bob.heard == ["from alice"], "records")
    assert alice.met["bob"].implementation == "xmesh"
    row = left.rows()["bob"]
    assert row["preferred"] == "lan"
    assert [each["secure"] for each in row["transports"]] == [True]


async def test_a_directed_record_goes_to_its_addressee_only(left: Host, right: Host) -> None:
    carol = await right.peer("carol", "2")
    alice, bob = await met(left, right)
    await until(lambda: "carol" in alice.met, "carol's introduction")
    await alice.say("for bob", to=bob.identity.node_id)
    await alice.say("for all")
    await until(lambda: len(bob.got) == 2 and carol.heard == ["for all"], "records")
    assert bob.heard == ["for bob", "for all"]


async def test_each_record_comes_once_though_several_peers_of_a_host_hear_it(
    left: Host, right: Host
) -> None:
    carol = await right.peer("carol", "2")
    alice, bob = await met(left, right)
    await until(lambda: "carol" in alice.met, "carol's introduction")
    for number in range(5):
        await alice.say(f"word {number}")
    await until(lambda: len(bob.got) >= 5 and len(carol.got) >= 5, "records")
    await bob.say("the end")
    await until(lambda: carol.heard[-1] == "the end", "bob's word")
    assert bob.heard == [f"word {number}" for number in range(5)]
    assert carol.heard == [*bob.heard, "the end"]


async def test_groups_never_meet(left: Host, right: Host) -> None:
    dave = await left.peer("dave", "2", group="other")
    erin = await right.peer("erin", "3", group="other")
    alice, bob = await met(left, right)
    await until(lambda: "erin" in dave.met and "dave" in erin.met, "the other group's meeting")
    await alice.say("in the lab")
    await dave.say("elsewhere")
    await until(lambda: bob.heard == ["in the lab"] and erin.heard == ["elsewhere"], "records")
    assert set(alice.met) == {"bob"}


async def test_two_peers_of_one_host_are_never_joined_through_the_world(left: Host) -> None:
    await left.peer("alice", "0")
    carol = await left.peer("carol", "1")
    gateway = await left.start_gateway()
    port = await until(lambda: left.endpoint("alice").get("lan_port"), "a port")
    returned = await Raw(carol.identity).greet(port)
    await returned.closed.wait()
    assert any("self-loop" in text for text in left.said("refused"))
    assert gateway.status()["peers"] == []
    await returned.close()


async def test_what_was_said_while_a_host_was_away_comes_when_it_is_back(
    left: Host, right: Host
) -> None:
    alice, bob = await met(left, right)
    await alice.say("before")
    await until(lambda: bob.heard == ["before"], "a record")
    await right.stop_gateway()
    for number in range(100):
        await alice.say(f"meanwhile {number}")
    await right.start_gateway()
    await until(lambda: len(bob.got) >= 101, "what bob has missed")
    assert bob.heard == ["before", *(f"meanwhile {number}" for number in range(100))]


async def test_what_was_said_while_the_own_gateway_was_away_goes_out_when_it_is_back(
    left: Host, right: Host
) -> None:
    alice, bob = await met(left, right)
    await left.stop_gateway()
    await alice.say("into the dark")
    await left.start_gateway()
    await until(lambda: bob.heard == ["into the dark"], "a record")


async def test_a_stranger_is_not_told_what_was_said_before_it_came(left: Host, right: Host) -> None:
    alice, bob = await left.peer("alice", "0"), await right.peer("bob", "1")
    await left.start_gateway()
    await until(lambda: left.endpoint("alice"), "alice on the wire")
    await alice.say("long ago")
    await until(lambda: _stored(left) == 1, "the record in the store")
    await right.start_gateway()
    await until(lambda: "bob" in alice.met, "an introduction")
    await alice.say("now")
    await until(lambda: bob.got, "a record")
    assert bob.heard == ["now"]


async def test_a_remote_with_another_key_is_kept_out_and_shown(left: Host, right: Host) -> None:
    alice, bob = await left.peer("alice", "0"), await right.peer("bob", "1")
    other = Identity(bob.identity.node_id, "bob", alice.identity.public_key, b"", 0)
    pins = Pins(left.runtime.pins("lab") / "pins.json")
    pins.pin(other.node_id, bytes(32), "bob")
    gateway = await left.start_gateway()
    await right.start_gateway()
    (held,) = await until(lambda: gateway.status()["quarantine"], "a quarantined key")
    assert (held["name"], held["why"]) == ("bob", "key-changed")
    assert any("key-changed" in text for text in left.said("refused"))
    assert "bob" not in alice.met


async def test_strict_lets_in_whom_a_person_accepts(left: Host, right: Host) -> None:
    alice, bob = await left.peer("alice", "0"), await right.peer("bob", "1")
    gateway = await left.start_gateway(trust="strict")
    await right.start_gateway()
    (held,) = await until(lambda: gateway.status()["quarantine"], "a stranger")
    assert held["why"] == "not-pinned"
    Pins(left.runtime.pins("lab") / "pins.json").accept(bob.identity.node_id)
    await until(lambda: "bob" in alice.met, "bob, let in")
    assert gateway.status()["quarantine"] == []


async def test_a_pin_taken_away_ends_the_links_at_once_and_one_given_back_brings_them_back(
    left: Host, right: Host
) -> None:
    alice, bob = await left.peer("alice", "0"), await right.peer("bob", "1")
    pins = Pins(left.runtime.pins("lab") / "pins.json")
    pins.add(bob.identity.node_id, bob.identity.public_key, "bob")
    await left.start_gateway(trust="strict")
    await right.start_gateway()
    await until(lambda: "bob" in alice.met and left.rows()["bob"]["transports"], "a link")
    pins.remove(bob.identity.node_id)
    await until(lambda: not left.rows()["bob"]["transports"], "the end of the link")
    pins.add(bob.identity.node_id, bob.identity.public_key, "bob")
    await until(lambda: left.rows()["bob"]["transports"], "a link again")
    await bob.say("back")
    await until(lambda: alice.heard == ["back"], "a record")


async def test_a_stranger_under_the_name_of_a_local_peer_is_kept_out(
    left: Host, right: Host
) -> None:
    alice = await left.peer("alice", "0")
    await right.peer("alice", "1")
    gateway = await left.start_gateway()
    await right.start_gateway()
    (held,) = await until(lambda: gateway.status()["quarantine"], "a namesake")
    assert held["why"] == "our-name"
    assert alice.met == {}
    await alice.say("undisturbed")


async def test_a_person_lets_in_a_node_under_the_name_of_a_local_peer(
    left: Host, right: Host
) -> None:
    alice = await left.peer("alice", "0")
    namesake = await right.peer("alice", "1")
    pins(right).add(alice.identity.node_id, alice.identity.public_key, "alice")
    gateway = await left.start_gateway()
    await right.start_gateway()
    await until(lambda: gateway.status()["quarantine"], "a namesake")
    pins(left).accept(namesake.identity.node_id)
    await until(lambda: "alice" in alice.met, "the namesake, let in")
    await namesake.say("another alice")
    await until(lambda: alice.heard == ["another alice"], "its word")
    assert gateway.status()["quarantine"] == []
    assert left.rows()["alice"]["node_id"] == namesake.identity.node_id


async def test_a_node_that_calls_itself_the_operator_is_kept_out(left: Host) -> None:
    alice = await left.peer("alice", "0")
    gateway = await left.start_gateway()
    row = await left.wired("alice")
    fake = await Raw(identity_between("operator", "f")).greet(row["lan_port"])
    await fake.closed.wait()
    (held,) = gateway.status()["quarantine"]
    assert (held["name"], held["why"]) == ("operator", "our-name")
    assert alice.met == {}
    await fake.close()


def pins(host: Host) -> Pins:
    return Pins(host.runtime.pins("lab") / "pins.json")


def _stored(host: Host) -> int:
    assert host.gateway is not None
    return int(host.gateway.status()["groups"]["lab"]["stored"])


async def test_a_bus_that_is_killed_and_restarted_loses_nothing_on_its_way_out_or_in(
    left: Host, right: Host
) -> None:
    alice, bob = await met(left, right)
    await alice.say("before")
    await until(lambda: bob.heard == ["before"], "a record")
    left.bus.kill()
    await bob.say("while alice's bus is away")
    left.bus.start()
    await alice.say("after")
    await until(lambda: bob.heard == ["before", "after"], "alice's word")
    await until(lambda: alice.heard == ["while alice's bus is away"], "bob's word")


async def test_a_bus_that_has_lost_its_journal_is_followed_from_its_new_beginning(
    left: Host, right: Host
) -> None:
    alice, bob = await met(left, right)
    for number in range(3):
        await alice.say(f"old {number}")
    await until(lambda: len(bob.got) == 3, "records")
    left.bus.kill()
    for file in left.runtime.root.glob("bus.db*"):
        file.unlink()
    left.bus.start()
    await alice.say("new")
    await bob.say("back")
    await until(lambda: bob.heard[3:] == ["new"] and alice.heard == ["back"], "new words")


async def test_a_peer_taken_out_of_the_plan_leaves_the_wire_and_the_others_stay(
    left: Host, right: Host
) -> None:
    await left.peer("carol", "2")
    alice, bob = await met(left, right)
    await until(lambda: set(bob.met) == {"alice", "carol"}, "introductions")
    assert left.gateway is not None
    left.gateway.apply({"cmd": "plan", "peers": [{"name": "alice", "group": "lab"}]})
    await until(lambda: not left.endpoint("carol"), "carol off the wire")
    await until(lambda: not right.rows()["carol"]["transports"], "carol's link closed")
    await alice.say("still here")
    await until(lambda: bob.heard == ["still here"], "a record")


async def test_a_plain_link_from_a_node_that_was_secure_once_is_refused(
    left: Host, right: Host
) -> None:
    _, bob = await met(left, right)
    await right.stop_gateway()
    await until(lambda: not left.rows()["bob"]["transports"], "bob's leave")
    raw = await Raw(bob.identity).greet(left.endpoint("alice")["lan_port"])
    await raw.closed.wait()
    assert raw.frames == []
    assert any("downgrade" in text for text in left.said("refused"))
    await raw.close()


async def test_a_statement_of_a_peer_goes_to_all_who_are_linked(left: Host) -> None:
    alice = await left.peer("alice", "0")
    await left.start_gateway()
    row = await left.wired("alice")
    sam = await Raw(identity_between("sam", "f")).greet(row["lan_port"])
    await until(lambda: "sam" in alice.met, "an introduction")
    said = Attestation(
        of="cmb-" + "0" * 64, by=alice.identity.node_id, at=1, roster="lab", verdict="aligned",
        categories={}, role="participant", seq=1, prev="genesis",
    )  # fmt: skip
    alice.client.attest(msgspec.json.encode(said))
    (frame,) = await until(lambda: sam.of(AttestationFrame), "a statement")
    assert frame.attestation == said
    forged = msgspec.structs.replace(said, by=sam.identity.node_id)
    alice.client.attest(msgspec.json.encode(forged))
    await alice.say("the end")
    await until(lambda: sam.focus() == ["the end"], "a record")
    assert len(sam.of(AttestationFrame)) == 1
    await sam.close()
