"""The ground that the interop tests stand on: stock programs alone, and a LAN of namespaces."""

import subprocess
from pathlib import Path

import pytest
from helpers.bus import wait_until
from helpers.netns import Host, Lan
from helpers.stock import StockNode, StockRelay, stock_pair

from xmesh_mesh.paths import RuntimeDir


@pytest.mark.usefixtures("stock_sym")
def test_two_stock_nodes_meet_by_multicast_and_exchange_a_record(
    lan: Lan, runtime_dir: RuntimeDir
) -> None:
    one, two = (
        StockNode(runtime_dir.root, f"stock-{h.name}", "lab", host=h) for h in lan.hosts[:2]
    )
    with one, two:
        one.event("peer-joined", id=two.node_id)
        two.event("peer-joined", id=one.node_id)
        said = one.remember("the harbour crane needs a gearbox")
        assert two.accepted(said["key"])["remixed"]
        assert two.complaints() == []
        one.stop()
        two.stop()


@pytest.mark.usefixtures("stock_sym", "stock_relay")
def test_two_stock_nodes_meet_on_a_stock_relay(runtime_dir: RuntimeDir) -> None:
    root: Path = runtime_dir.root
    with StockRelay(root) as relay, stock_pair(root, "lab", relay.url) as (one, two):
        said = one.remember("the lighthouse keeper counts ships")
        assert two.accepted(said["key"])
        assert two.stored()


def test_a_cut_host_is_not_reached_and_is_again_once_mended(lan: Lan) -> None:
    one, two, _ = lan.hosts
    server = subprocess.Popen(two.python("-c", SERVER))
    try:
        wait_until(lambda: reaches(one, two), "a server to listen")
        lan.cut(one)
        assert not reaches(one, two)
        lan.mend(one)
        assert reaches(one, two)
    finally:
        server.kill()
        server.wait()


SERVER = "import socket; s = socket.create_server(('', 9)); [s.accept() for _ in range(99)]"


def reaches(one: Host, two: Host) -> bool:
    connect = f"import socket; socket.create_connection(('{two.address}', 9), 0.5)"
    done = subprocess.run(one.python("-c", connect), capture_output=True, check=False)
    return done.returncode == 0
