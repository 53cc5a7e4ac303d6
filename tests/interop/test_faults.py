"""What goes wrong between hosts: nothing is taken twice, nothing of ours is lost."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import combinations, permutations
from pathlib import Path

import pytest
from helpers.bus import wait_until
from helpers.edge import Edge, linked
from helpers.netns import Lan
from helpers.relays import OurRelay
from helpers.speakers import Member
from helpers.tap import Tap, tap

from xmesh_mesh.paths import RuntimeDir

GHOST_S = 60  # a lost relay session is given up after 20 s, and nobody comes back before 25 s
SILENT_S = 60  # a dead TCP connection is noticed after 30 s, and dialled anew


@contextmanager
def on_lan(root: Path, lan: Lan, *names: str) -> Iterator[list[Edge]]:
    """Yield hosts, each with one member of its own, that have found each other."""
    with ExitStack() as stack:
        edges = [
            stack.enter_context(Edge(root, host.name, host))
            for host, _ in zip(lan.hosts, names, strict=False)
        ]
        for edge, name in zip(edges, names, strict=True):
            edge.member(name)
        for number, edge in enumerate(edges):
            for other in edges[number + 1 :]:
                linked(edge, other, "lan")
        yield edges


@contextmanager
def on_relay(root: Path, lan: Lan) -> Iterator[tuple[list[Edge], list[Tap]]]:
    """Yield two hosts that reach each other over a relay only, each through a tap of its own."""
    host = lan.hosts[0]
    with ExitStack() as stack:
        relay = stack.enter_context(OurRelay(root, host))
        edges, taps = [], []
        for name, member in (("one", "writer-01"), ("two", "reviewer-01")):
            taps.append(stack.enter_context(tap(root / f"tap-{name}", relay.url, host)))
            edges.append(stack.enter_context(Edge(root, name, host)))
            edges[-1].member(member, lan=False, relay=taps[-1].url)
        linked(edges[0], edges[1], "relay")
        yield edges, taps


def only(edge: Edge) -> Member:
    (member,) = edge.members.values()
    return member


def numbered(what: str, count: int, first: int = 0) -> list[str]:
    return [f"{what} {number}" for number in range(first, first + count)]


def check_heard(member: Member, author: Member, timeout_s: float) -> None:
    """Return once ``member`` has all that ``author`` has said, in its order and each once."""
    wanted = [record.text("focus") for record in author.said]
    member.hears(*wanted, timeout_s=timeout_s)
    assert member.texts(by=author.name) == wanted


def resets(edges: list[Edge], taps: list[Tap], for_s: float, every_s: float) -> int:
    """Break the relay connections again and again while both talk; return how often."""
    began, count = time.monotonic(), 0
    while time.monotonic() - began < for_s:
        only(edges[0]).say(f"from one, {count}")
        only(edges[1]).say(f"from two, {count}")
        taps[count % 2].reset()
        count += 1
        until_moment(began + count * every_s)
    return count


def until_moment(moment: float) -> None:
    wait_until(lambda: time.monotonic() >= moment, "the next moment")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_relay_that_resets_every_two_seconds_for_two_minutes_loses_and_doubles_nothing(
    lan: Lan, runtime_dir: RuntimeDir
) -> None:
    with on_relay(runtime_dir.root, lan) as (edges, taps):
        assert resets(edges, taps, 120, 2) >= 59
        check_heard(only(edges[0]), only(edges[1]), 2 * GHOST_S)
        check_heard(only(edges[1]), only(edges[0]), 2 * GHOST_S)


@pytest.mark.timeout(120)
def test_a_network_that_is_gone_and_back_loses_and_doubles_nothing(
    lan: Lan, runtime_dir: RuntimeDir
) -> None:
    with on_lan(runtime_dir.root, lan, "writer-01", "reviewer-01") as (one, two):
        only(one).say(*numbered("before", 3))
        check_heard(only(two), only(one), 20)
        lan.cut(lan.hosts[0])
        only(one).say(*numbered("gone, from one", 30))
        only(two).say(*numbered("gone, from two", 30))
        lan.mend(lan.hosts[0])
        check_heard(only(two), only(one), SILENT_S)
        check_heard(only(one), only(two), SILENT_S)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_network_that_is_gone_for_longer_than_a_link_lives_loses_and_doubles_nothing(
    lan: Lan, runtime_dir: RuntimeDir
) -> None:
    with on_lan(runtime_dir.root, lan, "writer-01", "reviewer-01") as (one, two):
        lan.cut(lan.hosts[0])
        only(one).say(*numbered("gone, from one", 30))
        only(two).say(*numbered("gone, from two", 30))
        gone = (one, "writer-01", only(two)), (two, "reviewer-01", only(one))
        for edge, local, remote in gone:
            links = partial(edge.transports, local, remote.node_id)
            wait_until(lambda: not links(), "the link is given up", 90)  # noqa: B023
        lan.mend(lan.hosts[0])
        check_heard(only(two), only(one), 90)
        check_heard(only(one), only(two), 90)


@pytest.mark.timeout(120)
def test_a_half_open_connection_gives_way_to_a_new_one(lan: Lan, runtime_dir: RuntimeDir) -> None:
    with on_lan(runtime_dir.root, lan, "writer-01", "reviewer-01") as (one, two):
        lan.cut(lan.hosts[1])
        two.kill_gateway()  # its end of the connection is gone, and nobody tells the other one
        only(one).say(*numbered("into the void", 5))
        lan.mend(lan.hosts[1])
        two.start_gateway()
        check_heard(only(two), only(one), SILENT_S)
        only(two).say("and back")
        check_heard(only(one), only(two), SILENT_S)
        assert len(one.transports("writer-01", only(two).node_id)) == 1


@pytest.mark.timeout(120)
def test_a_reader_that_stands_still_costs_no_memory_and_harms_nobody(
    lan: Lan, runtime_dir: RuntimeDir
) -> None:
    with on_lan(runtime_dir.root, lan, "writer-01", "slow-01", "quick-01") as (one, slow, quick):
        assert slow.gateway is not None
        before = memory_mb(one)
        os.kill(slow.gateway.pid, signal.SIGSTOP)
        try:
            only(one).say(*(f"{number} {'x' * 60_000}" for number in range(150)))
            check_heard(only(quick), only(one), 60)
            assert memory_mb(one) - before < 60
        finally:
            os.kill(slow.gateway.pid, signal.SIGCONT)
        check_heard(only(slow), only(one), SILENT_S)


def memory_mb(edge: Edge) -> float:
    assert edge.gateway is not None
    text = Path(f"/proc/{edge.gateway.pid}/statm").read_text()
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.slow  # its short form stands beside the gateway's own tests
@pytest.mark.timeout(120)
def test_two_hosts_that_find_each_other_at_once_end_with_one_connection(
    lan: Lan, runtime_dir: RuntimeDir
) -> None:
    with on_lan(runtime_dir.root, lan, "writer-01", "reviewer-01") as (one, two):
        for number in range(3):
            for edge in (one, two):
                edge.end_gateway()
            for edge in (one, two):
                edge.start_gateway()
            linked(one, two, "lan")
            only(one).say(f"from one, {number}")
            only(two).say(f"from two, {number}")
            check_heard(only(two), only(one), SILENT_S)
            check_heard(only(one), only(two), SILENT_S)
            until_one_connection(one, two)


def until_one_connection(one: Edge, two: Edge) -> None:
    """Return once one TCP connection is open between the secure ports of two hosts."""
    ports = [edge.endpoint(only(edge).name)["secure_port"] for edge in (one, two)]
    assert one.host is not None
    host = one.host
    wait_until(lambda: sum(map(host.established, ports)) == 1, "one connection")


@pytest.mark.timeout(120)
def test_three_hosts_and_a_restart_tell_each_other_everything_once_and_no_more(
    lan: Lan, runtime_dir: RuntimeDir
) -> None:
    with on_lan(runtime_dir.root, lan, "writer-01", "reviewer-01", "tester-01") as edges:
        for edge in edges:
            only(edge).say(*numbered(f"{only(edge).name} before", 20))
        edges[1].kill_gateway()
        for edge in edges:
            only(edge).say(*numbered(f"{only(edge).name} meanwhile", 20))
        edges[1].start_gateway()
        for edge in edges:
            for author in (other for other in edges if other is not edge):
                check_heard(only(edge), only(author), SILENT_S)
        check_counts(edges)


def check_counts(edges: list[Edge]) -> None:
    """What was sent is what was said, to each of two, and a window at most of it again."""
    for edge in edges:
        rows = edge.peers(only(edge).name)
        assert len(rows) == len(edges) - 1
        for row in rows:
            assert row["sent"] <= 40 + 2 * 64, row
            assert row["waiting"] == 0
            assert sum(row["refused"].values()) == 0, row


@pytest.mark.timeout(120)
def test_a_way_too_many_brings_nothing_twice_and_one_too_few_loses_nothing(
    lan: Lan, runtime_dir: RuntimeDir
) -> None:
    """Three hosts, each with a LAN and a relay to the others; the relay goes, and comes again."""
    with ExitStack() as stack:
        relay = stack.enter_context(OurRelay(runtime_dir.root, lan.hosts[0]))
        url = f"ws://{lan.hosts[0].address}:{relay.port}"
        edges = [stack.enter_context(Edge(runtime_dir.root, host.name, host)) for host in lan.hosts]
        for number, edge in enumerate(edges):
            edge.member(f"peer-{number}", relay=url)
        for one, two in combinations(edges, 2):
            linked(one, two, "lan")
            linked(one, two, "relay")
        for step in (lambda: None, relay.end, relay.start):
            step()
            for edge in edges:
                only(edge).say(*numbered(only(edge).name, 10, len(only(edge).said)))
        for one, two in permutations(edges, 2):
            check_heard(only(one), only(two), SILENT_S)
        for edge in edges:
            assert all(sum(row["refused"].values()) == 0 for row in edge.peers())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("off_s", [-3_600, 3_600])
def test_a_clock_that_is_an_hour_off_is_no_hindrance(
    lan: Lan, runtime_dir: RuntimeDir, off_s: int
) -> None:
    with ExitStack() as stack:
        one = stack.enter_context(Edge(runtime_dir.root, "one", lan.hosts[0], clock_off_s=off_s))
        two = stack.enter_context(Edge(runtime_dir.root, "two", lan.hosts[1]))
        one.member("writer-01")
        two.member("reviewer-01")
        linked(one, two, "lan")
        only(one).say(*numbered("an hour off", 5))
        only(two).say(*numbered("on time", 5))
        check_heard(only(two), only(one), 20)
        check_heard(only(one), only(two), 20)
        two.kill_gateway()
        only(one).say("an hour off, while two is away")
        two.start_gateway()
        check_heard(only(two), only(one), SILENT_S)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("over", ["lan", "relay"])
def test_a_long_backlog_of_long_records_arrives_whole(
    lan: Lan, runtime_dir: RuntimeDir, over: str
) -> None:
    with ExitStack() as stack:
        if over == "lan":
            one, two = stack.enter_context(on_lan(runtime_dir.root, lan, "writer-01", "slow-01"))
        else:
            (one, two), _ = stack.enter_context(on_relay(runtime_dir.root, lan))
        two.end_gateway()
        fields = ("issue", "intent", "motivation")
        for number in range(100):
            only(one).say_all({"focus": f"long {number}", **dict.fromkeys(fields, "x" * 60_000)})
        two.start_gateway()
        check_heard(only(two), only(one), 120)


@pytest.mark.timeout(120)
def test_a_flood_from_one_host_leaves_the_others_unharmed(
    lan: Lan, runtime_dir: RuntimeDir
) -> None:
    names = ("listener-01", "flooder-01", "quiet-01")
    with on_lan(runtime_dir.root, lan, *names) as (here, flood, quiet):
        words = numbered("flood", 2_000)
        flooding = threading.Thread(target=only(flood).say, args=words)
        flooding.start()
        wait_until(lambda: len(only(here).heard) > 100, "the flood to begin")
        took_ms = sorted(heard_after_ms(only(quiet), only(here), number) for number in range(20))
        during = len(only(here).texts(by="flooder-01"))
        flooding.join()
        assert during < len(words), "the flood was over already"
        assert took_ms[18] < 500, took_ms
        check_heard(only(here), only(flood), 60)


def heard_after_ms(speaker: Member, listener: Member, number: int) -> float:
    """Say one record; return after how many milliseconds it was heard."""
    said_ms = time.monotonic() * 1000
    speaker.say(f"quiet {number}")
    listener.hears(f"quiet {number}")
    return time.monotonic() * 1000 - said_ms


@pytest.mark.timeout(120)
def test_a_bus_that_is_killed_under_a_gateway_loses_and_doubles_nothing(
    lan: Lan, runtime_dir: RuntimeDir
) -> None:
    with on_lan(runtime_dir.root, lan, "writer-01", "reviewer-01") as (one, two):
        for number in range(3):
            only(one).say(*numbered("from one", 20, number * 20))
            only(two).say(*numbered("from two", 20, number * 20))
            one.restart_bus()
        check_heard(only(two), only(one), SILENT_S)
        check_heard(only(one), only(two), SILENT_S)
