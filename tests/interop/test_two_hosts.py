"""Two of our hosts, on a LAN with real multicast and TCP, and through a relay of ours."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from helpers.bus import wait_until
from helpers.edge import Edge, linked
from helpers.netns import Lan
from helpers.relays import OurRelay
from helpers.speakers import Member

from xmesh_mesh.paths import RuntimeDir

Hosts = tuple[Edge, Edge]

ASKED = "rate-limit /api/login"
ANSWERED = "five a second, then wait"


@pytest.fixture(params=["lan", "relay"])
def hosts(request: pytest.FixtureRequest, lan: Lan, runtime_dir: RuntimeDir) -> Iterator[Hosts]:
    """Two hosts, each with a member of group lab, that know each other over one transport."""
    with ExitStack() as stack:
        plan, places = {}, lan.hosts[:2][:2]
        if request.param == "relay":
            places = (lan.hosts[0], lan.hosts[0])  # a relay without TLS is for one host only
            relay = stack.enter_context(OurRelay(runtime_dir.root, lan.hosts[0]))
            plan = {"lan": False, "relay": relay.url}
        one, two = (
            stack.enter_context(Edge(runtime_dir.root, name, place))
            for name, place in zip(("one", "two"), places, strict=True)
        )
        one.member("writer-01", **plan)
        two.member("reviewer-01", **plan)
        linked(one, two, request.param)
        yield one, two


def members(hosts: Hosts) -> tuple[Member, Member]:
    one, two = hosts
    return one.members["writer-01"], two.members["reviewer-01"]


def test_hosts_find_each_other_and_speak_core_secure(hosts: Hosts) -> None:
    writer, reviewer = members(hosts)
    for edge, local, remote in ((hosts[0], writer, reviewer), (hosts[1], reviewer, writer)):
        (peer,) = edge.peers(local.name)
        assert (peer["node_id"], peer["name"]) == (remote.node_id, remote.name)
        assert peer["implementation"] == "xmesh"
        assert all(each["secure"] for each in peer["transports"])


def test_records_pass_both_ways_once_and_as_they_were_signed(hosts: Hosts) -> None:
    writer, reviewer = members(hosts)
    (asked,) = writer.say(ASKED)
    reviewer.hears(ASKED)
    (answered,) = reviewer.say(ANSWERED, parents=[asked.key])
    writer.hears(ANSWERED)
    assert reviewer.heard[0][2] == asked
    assert writer.heard[0][2] == answered
    assert writer.heard[0][2].parents == (asked.key,)
    assert (reviewer.texts(), writer.texts()) == ([ASKED], [ANSWERED])


def test_a_directed_record_reaches_its_addressee_alone(hosts: Hosts) -> None:
    one, two = hosts
    writer, reviewer = members(hosts)
    tester = two.member(
        "test-writer-01",
        lan=two.plan_of("reviewer-01")["lan"],
        relay=two.plan_of("reviewer-01")["relay"],
    )
    linked(one, two)
    writer.say("for the reviewer", to=reviewer.node_id)
    writer.say("for the tester", to=tester.node_id)
    writer.say("for all")
    for each in (reviewer, tester):
        each.hears("for all")
        # What is for all comes by whichever link is first, perhaps before what is for one.
        wait_until(lambda one=each: len(one.texts()) == 2, f"{each.name} hears two")
    assert set(reviewer.texts()) == {"for the reviewer", "for all"}
    assert set(tester.texts()) == {"for the tester", "for all"}


def test_groups_stay_apart(hosts: Hosts) -> None:
    one, two = hosts
    writer, reviewer = members(hosts)
    plan = two.plan_of("reviewer-01")
    outsider = two.member("outsider-01", "other", lan=plan["lan"], relay=plan["relay"])
    writer.say("among us")
    reviewer.hears("among us")
    outsider.say("among others")
    reviewer.say("among us too")
    writer.hears("among us too")
    assert outsider.texts() == []
    assert writer.texts() == ["among us too"]
    assert one.peers("writer-01")[0]["node_id"] == reviewer.node_id


def test_two_local_peers_are_never_joined_through_the_world(hosts: Hosts) -> None:
    one, _ = hosts
    plan = one.plan_of("writer-01")
    second = one.member("spec-01", lan=plan["lan"], relay=plan["relay"])
    linked(*hosts)
    writer, reviewer = members(hosts)
    second.say("said at home")
    writer.hears("said at home")
    reviewer.hears("said at home")
    local = {writer.node_id, second.node_id}
    assert not any(peer["node_id"] in local for peer in one.peers())
    assert writer.texts() == ["said at home"]


@pytest.mark.parametrize("dead", ["gateway", "both gateways"])
def test_a_dead_gateway_loses_nothing_that_is_said_meanwhile(hosts: Hosts, dead: str) -> None:
    one, two = hosts
    writer, reviewer = members(hosts)
    writer.say("before")
    reviewer.hears("before")
    ended = (one, two) if dead == "both gateways" else (one,)
    # Killed, it would not go back to a relay before an earlier session is surely dead there.
    number = signal.SIGKILL if one.plan_of("writer-01")["lan"] else signal.SIGTERM
    for edge in ended:
        edge.end_gateway(number)
    writer.say("meanwhile, here")
    reviewer.say("meanwhile, there")
    for edge in ended:
        edge.start_gateway()
    reviewer.hears("meanwhile, here", timeout_s=45)
    writer.hears("meanwhile, there", timeout_s=45)
    assert reviewer.texts() == ["before", "meanwhile, here"]
    assert writer.texts() == ["meanwhile, there"]
