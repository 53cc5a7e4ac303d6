"""Between two hosts, over LAN and relay: how many records, and how late; beside stock nodes.

A record counts when a node on the other host has verified, judged and stored it. The hosts are
network namespaces where those can be made; stock nodes are there if XMESH_STOCK_SYM and
XMESH_STOCK_RELAY name checkouts of them.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from helpers import netns, stock
from helpers.bus import wait_until
from helpers.edge import Edge, linked
from helpers.netns import Host, Lan
from helpers.relays import OurRelay
from helpers.speakers import Member
from helpers.stock import StockNode, StockRelay

from bench_parts.figures import BenchError, Figure, median, p50_p99, total
from bench_parts.members import members
from bench_parts.mesh import GROUP, runtime
from bench_parts.resources import cpu_s, size_mb
from bench_parts.speaker import long_texts

_FLOOD = 400
_PACED = 100
_PER_S = 20
_IDLE_S = 10.0
_SETTLE_S = 3.0
_WITHIN_S = 120.0
_LINKED_S = 240.0


def wire() -> list[Figure]:
    """Ours to ours, then stock to stock, each as fast as it goes and paced."""
    with runtime() as root, _hosts() as lan:
        figures = [*_ours(root.root, lan, "LAN"), *_ours(root.root, lan, "relay")]
        if stock.unavailable(stock.SYM, stock.RELAY) is None:
            figures += [*_stock(root.root, lan, "LAN"), *_stock(root.root, lan, "relay")]
        return figures


@contextmanager
def _hosts() -> Iterator[Lan]:
    reason = netns.unavailable()
    if reason:
        raise BenchError(reason)
    with netns.lan("one", "two") as lan:
        yield lan


def _ours(root: Path, lan: Lan, over: str) -> list[Figure]:
    with ExitStack() as stack:
        places, plan = _placed(stack, root, lan, over)
        one, two = (
            stack.enter_context(Edge(root, f"{over}-{number}", host))
            for number, host in enumerate(places)
        )
        speaker = one.member("speaker-01", GROUP, **plan)
        two.member("listener-01", GROUP, **plan)
        linked(one, two)
        return [_flood(speaker, two, over), *_paced(speaker, two, over)]


def _placed(
    stack: ExitStack, root: Path, lan: Lan, over: str
) -> tuple[tuple[Host, ...], dict[str, Any]]:
    """Return the hosts, and how a peer is on the wire there; a relay without TLS has one host."""
    if over == "LAN":
        return lan.hosts, {"lan": True}
    relay = stack.enter_context(OurRelay(root, lan.hosts[0]))
    return (lan.hosts[0], lan.hosts[0]), {"lan": False, "relay": relay.url}


def _flood(speaker: Member, there: Edge, over: str) -> Figure:
    records = [speaker.compose(long_texts()) for _ in range(_FLOOD)]
    with members(there.runtime, 1, _FLOOD, stores=True) as (node,):
        began_ns = time.time_ns()
        speaker.publish(records)
        rate = _FLOOD / ((max(node.stored()) - began_ns) / 1e9)
    return median(f"flood, {over} 1 to 1, verified and stored", [rate], "records/s")


def _paced(speaker: Member, there: Edge, over: str) -> list[Figure]:
    out_ns = []
    with members(there.runtime, 1, _PACED, stores=True) as (node,):
        began = time.monotonic()
        for number in range(_PACED):
            record = speaker.compose(long_texts())
            time.sleep(max(0.0, began + number / _PER_S - time.monotonic()))
            out_ns.append(time.time_ns())
            speaker.publish([record])
        late = [(done - out) / 1e6 for out, done in zip(out_ns, node.stored(), strict=True)]
    return p50_p99(f"{_PER_S}/s, {over} 1 to 1, verified and stored", late)


def _stock(root: Path, lan: Lan, over: str) -> list[Figure]:
    """The same of two stock nodes, judged and stored as they do it."""
    with _stock_pair(root, lan, over) as (one, two):
        rate = _FLOOD / (max(_judged(one, two, _FLOOD, 0)) / 1000)
        late = _judged(one, two, _PACED, _PER_S, alone=True)
    what = f"{over} 1 to 1, verified and stored"
    return [
        median(f"stock: flood, {what}", [rate], "records/s"),
        *p50_p99(f"stock: {_PER_S}/s, {what}", late),
    ]


@contextmanager
def _stock_pair(root: Path, lan: Lan, over: str) -> Iterator[tuple[StockNode, StockNode]]:
    with ExitStack() as stack:
        places, options = lan.hosts, {}
        if over == "relay":
            relay = stack.enter_context(StockRelay(root, host=lan.hosts[0]))
            places = (lan.hosts[0], lan.hosts[0])
            options = {"relay": relay.url, "relayOnly": True}
        one, two = (
            stack.enter_context(StockNode(root, f"{over}-{number}", GROUP, host=host, **options))
            for number, host in enumerate(places)
        )
        for here, there in ((one, two), (two, one)):
            here.event("peer-joined", id=there.node_id)
        yield one, two


def _judged(
    one: StockNode, two: StockNode, count: int, per_s: float, *, alone: bool = False
) -> list[float]:
    """Return after how many ms each record was done with, since the first was said or ``alone``."""
    said = one.talk([long_texts()["focus"] for _ in range(count)], per_s)
    wait_until(lambda: all(each["key"] in two.judged() for each in said), "all", _WITHIN_S)
    done = two.judged()
    return [done[each["key"]] - (each if alone else said[0])["at"] for each in said]


def gateway() -> list[Figure]:
    """What the gateway takes while nobody speaks: 1, 10 and 50 local peers, one remote."""
    return [figure for count in (1, 10, 50) for figure in _idle(count)]


def _idle(count: int) -> list[Figure]:
    with runtime() as root, _hosts() as lan, ExitStack() as stack:
        one, two = (stack.enter_context(Edge(root.root, host.name, host)) for host in lan.hosts)
        two.member("remote-01", GROUP)
        for number in range(count):
            one.member(f"peer-{number}", GROUP)
        linked(one, two, timeout_s=_LINKED_S)
        return _taken(one, count)


def _taken(edge: Edge, count: int) -> list[Figure]:
    assert edge.gateway is not None
    pid = edge.gateway.pid
    time.sleep(_SETTLE_S)
    before = cpu_s(pid)
    time.sleep(_IDLE_S)
    percent = 100 * (cpu_s(pid) - before) / _IDLE_S
    rss, pss = size_mb(pid)
    what = f"gateway, {count} peer{'s' if count > 1 else ''}"
    return [
        total(f"{what}: RSS", [rss], "MB"),
        total(f"{what}: PSS", [pss], "MB"),
        total(f"{what}, idle", [percent], "% of a core"),
    ]
