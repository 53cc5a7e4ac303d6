"""What is announced and believed: DNS-SD names, TXT, the registry's files, addresses."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.gateway import new_node_id

from xmesh_mesh.errors import ConfigError
from xmesh_mesh.gateway.addresses import VARIABLE, chosen_addresses, lan_addresses
from xmesh_mesh.gateway.registry import FRESH_MS, SAME_MS, Entry, Registry, is_current, sighting_of
from xmesh_mesh.gateway.services import Sighting, read_txt, service_type, txt
from xmesh_mesh.gateway.sockets import Sockets
from xmesh_mesh.wire.trust import Self

NODE = new_node_id()


def test_a_group_is_a_service_type_and_default_is_the_old_one() -> None:
    assert service_type("default") == "_sym._tcp.local."
    assert service_type("coding-triad") == "_coding-triad._tcp.local."


def test_the_txt_says_what_deployed_nodes_read_and_one_key_of_ours() -> None:
    own = Self(NODE, "alice", "lab", bytes(32))
    said = txt(own, "host", 5)
    assert list(said) == ["node-id", "node-name", "public-key", "hostname", "secure-port"]
    raw: dict[bytes, bytes | None] = {k.encode(): v.encode() for k, v in said.items()}
    assert read_txt(raw, ["10.0.0.1"], 4) == Sighting(NODE, "alice", ("10.0.0.1",), 4, 5)


@pytest.mark.parametrize(
    ("properties", "addresses", "port"),
    [
        ({}, ["10.0.0.1"], 4),
        ({b"node-id": b"x"}, [], 4),
        ({b"node-id": b"x"}, ["10.0.0.1"], 0),
        ({b"node-id": b"x" * 99}, ["10.0.0.1"], 4),
        ({b"node-id": None}, ["10.0.0.1"], 4),
    ],
)
def test_a_service_that_does_not_say_who_and_where_is_nobody(
    properties: dict[bytes, bytes | None], addresses: list[str], port: int
) -> None:
    assert read_txt(properties, addresses, port) is None


@pytest.mark.parametrize("port", [b"", b"0", b"99999", b"-1", b"1e3", "²".encode(), b"x" * 99])
def test_a_secure_port_that_is_none_is_as_if_it_were_not_there(port: bytes) -> None:
    found = read_txt({b"node-id": b"n", b"secure-port": port}, ["10.0.0.1"], 4)
    assert found is not None
    assert found.secure_port is None


def entry(**changes: Any) -> Entry:
    values: dict[str, Any] = {
        "node_id": NODE,
        "name": "alice",
        "port": 4,
        "pid": os.getpid(),
        "service_type": "_lab._tcp",
        "ts": 1_000.0,
        "secure_port": 5,
    }
    return Entry(**(values | changes))


def test_the_registry_gives_back_what_was_written_in_the_deployed_form(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.write(entry())
    (file,) = (tmp_path / ".sym" / "loopback").iterdir()
    assert file.name == f"{NODE}.json"
    assert json.loads(file.read_bytes()) == {
        "nodeId": NODE, "name": "alice", "port": 4, "pid": os.getpid(),
        "serviceType": "_lab._tcp", "ts": 1_000.0, "securePort": 5,
    }  # fmt: skip
    assert registry.entries(0) == [entry()]
    assert sighting_of(entry()) == Sighting(NODE, "alice", ("127.0.0.1",), 4, 5)
    registry.remove(NODE)
    assert registry.entries(SAME_MS - 1) == [entry()], "read once for all who ask at a time"
    assert registry.entries(SAME_MS) == []


def test_what_is_no_entry_in_the_registry_is_left_out(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    assert registry.entries(0) == []
    registry.write(entry())
    folder = tmp_path / ".sym" / "loopback"
    other = new_node_id()
    (folder / f"{other}.json").write_bytes((folder / f"{NODE}.json").read_bytes())
    (folder / f"{new_node_id()}.json").write_bytes(b"\xff")
    (folder / f"{new_node_id()}.json").mkdir()
    (folder / "evil.json").write_text("{}")
    (folder / f"{new_node_id()}.json").write_text("[" * 5_000)
    assert registry.entries(SAME_MS) == [entry()]


def test_an_entry_counts_in_its_group_while_it_is_fresh_and_its_process_lives() -> None:
    def current(made: Entry, now_ms: int = 1_000, *, alive: bool = True) -> bool:
        return is_current(made, "lab", now_ms, lambda _: alive)

    assert current(entry())
    assert current(entry(service_type=""))
    assert not current(entry(service_type="_sym._tcp"))
    assert not current(entry(), 1_000 + FRESH_MS)
    assert not current(entry(), alive=False)


def test_addresses_may_be_chosen_and_loopback_is_announced_nowhere() -> None:
    assert chosen_addresses({}) == ()
    assert chosen_addresses({VARIABLE: "10.0.0.1, 127.0.0.1"}) == ("10.0.0.1", "127.0.0.1")
    assert lan_addresses(("10.0.0.1", "127.0.0.1")) == ("10.0.0.1",)
    assert not any(each.startswith("127.") for each in lan_addresses(()))
    with pytest.raises(ConfigError):
        chosen_addresses({VARIABLE: "eth0"})


def test_connections_are_bounded_in_all_and_strangers_of_one_address() -> None:
    sockets = Sockets(total=4, strangers=2)
    first, second = sockets.enter("a"), sockets.enter("a")
    assert first is not None
    assert second is not None
    assert sockets.enter("a") is None
    first.settle()
    assert sockets.enter("a") is not None, "who is known is no stranger"
    assert sockets.enter("b") is not None
    assert sockets.enter("c") is None
    first.leave()
    assert sockets.enter("c") is not None
    second.leave()
    assert sockets.enter("a") is not None


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_a_port_that_cannot_be_one_is_no_place_to_dial(port: int) -> None:
    said = {b"node-id": new_node_id().encode(), b"node-name": b"x"}
    assert read_txt(said, ["10.0.0.1"], port) is None
    found = read_txt({**said, b"secure-port": str(port).encode()}, ["10.0.0.1"], 65_535)
    assert found is not None
    assert (found.port, found.secure_port) == (65_535, None)


@pytest.mark.parametrize("port", [1, 65_535])
def test_the_lowest_and_the_highest_port_are_ports(port: int) -> None:
    said = {b"node-id": new_node_id().encode(), b"secure-port": str(port).encode()}
    found = read_txt(said, ["10.0.0.1"], port)
    assert found is not None
    assert (found.port, found.secure_port) == (port, port)
