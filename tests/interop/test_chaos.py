"""Three hosts on a LAN and a relay, and everything between them failing at random while they talk.

At the end everything is mended and comes to rest: each has heard what the others have said, once.
"""

import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import permutations

import pytest
from helpers.bus import wait_until
from helpers.edge import Edge
from helpers.netns import Lan
from helpers.relays import OurRelay
from helpers.speakers import Member

from xmesh_mesh.paths import RuntimeDir

REST_S = 150  # a link is given up after 30 s, a relay gone back to after 25 s more, dials back off


class Chaos:
    """``run`` does one harm after the other, and lets everybody speak between them."""

    def __init__(self, lan: Lan, edges: list[Edge], relay: OurRelay, seed: int) -> None:
        self.lan = lan
        self.edges = edges
        self.relay = relay
        self.harms: list[str] = []
        self._rng = random.Random(seed)
        self._relay_runs = True
        self._deeds: dict[str, Callable[[Edge], None]] = {
            "cut": self._cut,
            "mend": self._mend,
            "kill": self._kill,
            "bus": lambda edge: edge.restart_bus(),
            "relay": lambda _: self._turn_relay(),
        }

    def run(self, for_s: float) -> None:
        end = time.monotonic() + for_s
        while time.monotonic() < end:
            name, edge = self._rng.choice(list(self._deeds)), self._rng.choice(self.edges)
            self.harms.append(name)
            self._deeds[name](edge)
            self._speak()
            pause = time.monotonic() + self._rng.uniform(0, 2)
            wait_until(lambda until=pause: time.monotonic() > until, "the next harm")

    def mend_all(self) -> None:
        for edge in self.edges:
            self._mend(edge)
        if not self._relay_runs:
            self._turn_relay()

    def _speak(self) -> None:
        for edge in self.edges:
            member = only(edge)
            member.say(*(f"{member.name} {len(member.said)}" for _ in range(1)))

    def _cut(self, edge: Edge) -> None:
        assert edge.host is not None
        self.lan.cut(edge.host)

    def _mend(self, edge: Edge) -> None:
        assert edge.host is not None
        self.lan.mend(edge.host)

    def _kill(self, edge: Edge) -> None:
        edge.kill_gateway()
        edge.start_gateway()

    def _turn_relay(self) -> None:
        if self._relay_runs:
            self.relay.end()
        else:
            self.relay.start()
        self._relay_runs = not self._relay_runs


def only(edge: Edge) -> Member:
    (member,) = edge.members.values()
    return member


def check_chaos(lan: Lan, root: RuntimeDir, for_s: float) -> None:
    seed = int(os.environ.get("XMESH_CHAOS_SEED") or random.randrange(2**32))
    with ExitStack() as stack:
        relay = stack.enter_context(OurRelay(root.root, lan.hosts[0]))
        edges = [stack.enter_context(Edge(root.root, host.name, host)) for host in lan.hosts]
        url = f"ws://{lan.hosts[0].address}:{relay.port}"
        for number, edge in enumerate(edges):
            edge.member(f"peer-{number}", relay=url)
        for one, two in permutations(edges, 2):
            one.until_linked(only(one).name, only(two).node_id)
        chaos = Chaos(lan, edges, relay, seed)
        chaos.run(for_s)
        chaos.mend_all()
        check_rest(edges, f"seed {seed}, {chaos.harms}")
    sys.stderr.write(f"\nseed {seed}: {len(chaos.harms)} harms, {len(only(edges[0]).said)} said\n")


def check_rest(edges: list[Edge], what: str) -> None:
    for one, two in permutations(edges, 2):
        said = [record.text("focus") for record in only(two).said]
        heard = only(one)
        wait_until(lambda s=said, h=heard: set(s) <= set(h.texts()), what, REST_S)
        assert sorted(heard.texts(by=only(two).name)) == sorted(said), what
    for one, two in permutations(edges, 2):
        assert only(one).texts(by=only(two).name) == [r.text("focus") for r in only(two).said], what


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_hosts_whose_world_falls_apart_for_minutes_have_heard_each_other_once(
    lan: Lan, runtime_dir: RuntimeDir
) -> None:
    check_chaos(lan, runtime_dir, float(os.environ.get("XMESH_CHAOS_S") or 240))


@pytest.mark.timeout(240)
def test_three_hosts_whose_world_falls_apart_for_a_moment_have_heard_each_other_once(
    lan: Lan, runtime_dir: RuntimeDir
) -> None:
    check_chaos(lan, runtime_dir, 8)
