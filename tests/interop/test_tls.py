"""A relay beyond this host: by TLS only, and only where its certificate can be trusted."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.edge import Edge, eventually, linked
from helpers.netns import Lan
from helpers.relays import OurRelay
from helpers.tls_door import certificate, tls_door

from xmesh_mesh.paths import RuntimeDir


@dataclass
class Door:
    lan: Lan
    root: Path
    relay: OurRelay
    secure_url: str
    pem: Path


@pytest.fixture
def door(lan: Lan, runtime_dir: RuntimeDir) -> Iterator[Door]:
    """A relay on the first host, with a door with TLS before it."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    root, host = runtime_dir.root, lan.hosts[0]
    pem = certificate(root, host.address)
    with (
        OurRelay(root, host, token="a token") as relay,
        tls_door(host, pem, relay.port) as port,
    ):
        yield Door(lan, root, relay, f"wss://{host.address}:{port}", pem)


def test_two_hosts_meet_on_a_relay_behind_tls(door: Door) -> None:
    trusting = {"SSL_CERT_FILE": str(door.pem), "XMESH_PLAIN_RELAYS": ""}
    plan = {"lan": False, "relay": door.secure_url, "relay_token": "a token"}
    with (
        Edge(door.root, "one", door.lan.hosts[0], env=trusting) as one,
        Edge(door.root, "two", door.lan.hosts[1], env=trusting) as two,
    ):
        writer, reviewer = one.member("writer-01", **plan), two.member("reviewer-01", **plan)
        linked(one, two, "relay")
        writer.say("behind a door")
        reviewer.hears("behind a door")


def test_a_relay_whose_certificate_nobody_vouches_for_is_not_told_the_token(door: Door) -> None:
    plan = {"lan": False, "relay": door.secure_url, "relay_token": "a token"}
    with Edge(door.root, "two", door.lan.hosts[1], env={"XMESH_PLAIN_RELAYS": ""}) as two:
        two.member("reviewer-01", **plan)
        state = eventually(lambda: reason(two), "a reason")
    assert "certificate" in state


def test_a_relay_beyond_this_host_without_tls_is_not_even_tried(door: Door) -> None:
    url = f"ws://{door.lan.hosts[0].address}:{door.relay.port}"
    with Edge(door.root, "two", door.lan.hosts[1], env={"XMESH_PLAIN_RELAYS": ""}) as two:
        two.member("reviewer-01", lan=False, relay=url, relay_token="a token")
        state = eventually(lambda: reason(two), "a reason")
        assert two.endpoint("reviewer-01")["relay"]["state"] == "refused"
    assert "wss://" in state


def reason(edge: Edge) -> str:
    endpoints = edge.status()["endpoints"]
    return str(endpoints[0]["relay"]["reason"]) if endpoints else ""
