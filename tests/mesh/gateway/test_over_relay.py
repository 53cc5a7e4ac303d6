"""Two hosts meet through a relay of ours, over WebSockets; a tap shows what the relay reads."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from helpers.gateway import Host, Peer, until
from helpers.taps import RelayTap, TcpTap

from xmesh_mesh.gateway import conversation
from xmesh_mesh.wire import relay_retry


@pytest_asyncio.fixture
async def tap() -> AsyncIterator[RelayTap]:
    async with RelayTap("secret") as made:
        yield made


async def met(left: Host, right: Host, tap: RelayTap) -> tuple[Peer, Peer]:
    alice, bob = await left.peer("alice", "0"), await right.peer("bob", "1")
    for host in (left, right):
        await host.start_gateway(lan=False, relay=tap.url, relay_token="secret")
    await until(lambda: "bob" in alice.met and "alice" in bob.met, "an introduction")
    return alice, bob


async def test_records_go_both_ways_and_the_relay_reads_none_of_them(
    left: Host, right: Host, tap: RelayTap
) -> None:
    alice, bob = await met(left, right, tap)
    await alice.say("a word of alice")
    await bob.say("a word of bob", to=alice.identity.node_id)
    await until(
        lambda: alice.heard == ["a word of bob"] and bob.heard == ["a word of alice"], "records"
    )
    assert alice.met["bob"].implementation == "xmesh"
    assert left.rows()["bob"]["preferred"] == "relay"
    assert len(tap.payloads("cmb-encrypted")) == 4  # each on its way in and out
    assert tap.payloads("cmb") == []
    assert "a word of" not in json.dumps(tap.messages)


async def test_an_operator_is_heard_over_the_relay_and_after_the_other_side_began_anew(
    left: Host, right: Host, tap: RelayTap
) -> None:
    _, bob = await met(left, right, tap)
    await left.observe("a task")
    await until(lambda: bob.heard == ["a task"], "the task")
    await right.stop_gateway()
    await left.observe("meanwhile")
    await right.start_gateway(lan=False, relay=tap.url, relay_token="secret")
    await until(lambda: bob.heard == ["a task", "meanwhile"], "what was missed")
    assert len(tap.payloads("xmesh-operator")) == 4  # once a session, on its way in and out
    assert "meanwhile" not in json.dumps(tap.messages)
    assert right.rows()["alice"]["refused"] == {}


async def test_a_wrong_token_is_shown_and_not_hammered(left: Host, tap: RelayTap) -> None:
    await left.peer("alice")
    await left.start_gateway(lan=False, relay=tap.url, relay_token="wrong")
    found = await until(
        lambda: (
            (relay := left.endpoint("alice").get("relay")) and relay["state"] == "waiting" and relay
        ),
        "a refusal",
    )
    assert "4003" in found["reason"]


async def test_a_second_process_under_one_identity_ends_one_of_them(
    left: Host, right: Host, tap: RelayTap
) -> None:
    alice = await left.peer("alice")
    right.peers["alice"] = await Peer(right.bus, alice.identity).start()
    await left.start_gateway(lan=False, relay=tap.url, relay_token="secret")
    await until(lambda: left.endpoint("alice").get("relay", {}).get("state") == "joined", "alice")
    await right.start_gateway(lan=False, relay=tap.url, relay_token="secret")
    await until(lambda: right.endpoint("alice").get("collision"), "a collision")
    assert "4006" in right.endpoint("alice")["collision"]
    assert left.endpoint("alice")["collision"] == ""


async def test_a_relay_that_resets_again_and_again_loses_and_doubles_nothing(
    left: Host, right: Host, tap: RelayTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_retry, "GHOST_MS", 50)
    monkeypatch.setattr(relay_retry, "MAX_MS", 200)
    alice, bob = await met(left, right, tap)
    for turn in range(4):
        await alice.say(f"before cut {turn}")
        tap.cut()
        await bob.say(f"after cut {turn}")
        await until(lambda: _joined(left) and _joined(right), "both back")
    await until(lambda: len(alice.got) >= 4 and len(bob.got) >= 4, "all that was said")
    await alice.say("the end")
    await until(lambda: bob.heard[-1] == "the end", "the end")
    assert bob.heard == [*(f"before cut {turn}" for turn in range(4)), "the end"]
    assert alice.heard == [f"after cut {turn}" for turn in range(4)]


async def test_long_records_for_many_go_over_one_relay_connection_whole(
    left: Host, right: Host, tap: RelayTap
) -> None:
    alice = await left.peer("alice", "0")
    many = [await right.peer(f"bob-{number}", "1") for number in range(12)]
    for host in (left, right):
        await host.start_gateway(lan=False, relay=tap.url, relay_token="secret")
    await until(lambda: len(alice.met) == 12, "all introductions")
    for number in range(6):
        # 200 KB each, in fields of at most 64 KiB.
        record = alice.record(f"{number}", padding=50_000)
        await alice.publish(record)
    await until(lambda: all(len(bob.got) == 6 for bob in many), "all records", 40)
    assert all(bob.heard == [str(number) for number in range(6)] for bob in many)
    assert left.said("relay") == right.said("relay") == []


async def test_when_the_lan_fails_the_relay_carries_on_and_nobody_has_left(
    left: Host, tap: RelayTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "UNWELL_MS", 200)
    async with Host() as right, TcpTap() as cable:
        alice, bob = await left.peer("alice", "0"), await right.peer("bob", "1")
        await right.start_gateway(relay=tap.url, relay_token="secret")
        port = await until(lambda: right.endpoint("bob").get("secure_port"), "a port")
        await cable.to(port)
        cable.register(left.home, bob.identity)
        await left.start_gateway(relay=tap.url, relay_token="secret")
        await until(lambda: _transports(left) == {"lan", "relay"}, "two ways to bob")
        await alice.say("over the cable")
        await until(lambda: bob.heard == ["over the cable"], "a record")
        assert left.rows()["bob"]["preferred"] == "lan"
        cable.freeze()
        await alice.say("by the other way")
        await until(lambda: bob.heard[-1] == "by the other way", "a record")
        assert left.rows()["bob"]["preferred"] == "relay"
        assert bob.heard == ["over the cable", "by the other way"]


def _joined(host: Host) -> bool:
    assert host.gateway is not None
    rows = host.gateway.status()["endpoints"]
    return bool(rows) and all(row["relay"]["state"] == "joined" for row in rows)


def _transports(host: Host) -> set[str]:
    return {each["kind"] for row in host.rows().values() for each in row["transports"]}
