"""``xmesh-sup observe``: what a person says arrives, signed, or is refused with a reason."""

import argparse
import asyncio

import pytest
from helpers.bus import BusProcess, make_identity
from helpers.mesh import Mesh
from helpers.people import Listener, join

from xmesh_mesh.bus.frames import MemberStatus
from xmesh_mesh.bus.gateway_client import GatewayClient
from xmesh_mesh.canonical import b64u
from xmesh_mesh.errors import UsageError
from xmesh_mesh.introduction import Introduction
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor.commands import observe


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    observe.arguments(parser)
    return parser.parse_args(argv)


def member(name: str, *, connected: bool = True, node_id: str = "") -> MemberStatus:
    return MemberStatus(node_id or name, name, "triad", 0, 0, connected, 0)


def test_the_text_is_the_focus_and_each_field_has_a_flag() -> None:
    flags = [part for field in observe.FIELDS[1:] for part in (f"--{field}", f"my {field}")]
    texts = observe.texts_of(parsed("what", *flags))
    assert texts == {"focus": "what"} | {field: f"my {field}" for field in observe.FIELDS[1:]}
    assert observe.texts_of(parsed("--focus", "f", "--mood", "  ")) == {"focus": "f"}


@pytest.mark.parametrize("argv", [[], [""], [" \t"], ["--mood", ""]])
def test_nothing_cannot_be_said(argv: list[str]) -> None:
    with pytest.raises(UsageError, match="nothing is said"):
        observe.texts_of(parsed(*argv))


def test_the_focus_is_said_once() -> None:
    with pytest.raises(UsageError, match="leave out one"):
        observe.texts_of(parsed("a", "--focus", "b"))


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ([], "no peer is in the group yet"),
        ([member("a")], "a hears it"),
        ([member("a", connected=False)], "a is away and hears it when it is back"),
        ([member("a"), member("b")], "2 members hear it"),
        ([member("a"), member("b", connected=False)], "1 member hears it, 1 when they are back"),
    ],
)
def test_it_says_who_hears_it(members: list[MemberStatus], text: str) -> None:
    assert observe.hearers(members) == text


def test_a_name_means_the_one_that_is_connected() -> None:
    members = [member("a", node_id="new"), member("a", connected=False, node_id="old")]
    assert observe.addressee("a", members).node_id == "new"
    assert observe.addressee("a", members[::-1]).node_id == "new"


def remote(name: str, node_id: str, implementation: str = "xmesh") -> Introduction:
    return Introduction(node_id, name, "triad", "", implementation, "remote", 0, "")


def test_a_name_of_another_host_means_its_one_xmesh_peer() -> None:
    met = [remote("a", "1"), remote("a", "2", "mmp"), remote("b", "3"), remote("b", "4")]
    assert observe.addressee_afar("a", met, [], "triad") == "1"
    assert observe.addressee_afar("4", met, [], "triad") == "4"
    with pytest.raises(UsageError, match="2 nodes of other hosts") as several:
        observe.addressee_afar("b", met, [], "triad")
    assert several.value.fix == "give the node id instead: 3, 4"


@pytest.mark.parametrize("name", ["operator", "nobody", "sam"])
def test_neither_an_operator_nor_a_stock_node_can_be_addressed(name: str) -> None:
    met = [remote("operator", "1"), remote("sam", "2", "mmp")]
    with pytest.raises(UsageError):
        observe.addressee_afar(name, met, ["writer-01"], "triad")


def test_without_a_bus_it_fails_and_names_the_way_out(runtime_dir: RuntimeDir) -> None:
    done = Mesh(runtime_dir).sup("observe", "hello", check=False)
    assert done.returncode == 1
    assert "xmesh-sup up" in done.stderr
    assert "xmesh-sup listen" in done.stderr


def test_what_is_said_is_heard_signed_by_the_operator(runtime_dir: RuntimeDir) -> None:
    mesh = Mesh(runtime_dir)
    with BusProcess(runtime_dir):
        join(runtime_dir, "writer-01")
        with Listener(runtime_dir, "--since", "0") as listener:
            done = mesh.sup("observe", "hello", "--intent", "see it", "--to", "writer-01")
            said = mesh.json("observe", "again")
            first, second = listener.hears(2)
    assert "writer-01 is away and hears it when it is back" in done.stdout
    assert first["fields"] == {"focus": "hello", "intent": "see it"}
    assert first["to"] is not None
    assert (first["by"], first["refused"]) == ("operator", None)
    assert (second["key"], second["seq"]) == (said["key"], said["seq"])
    assert second["to"] is None
    assert said["hear_later"] == ["writer-01"]


def test_a_stranger_cannot_be_addressed(runtime_dir: RuntimeDir) -> None:
    with BusProcess(runtime_dir):
        join(runtime_dir, "writer-01")
        done = Mesh(runtime_dir).sup("observe", "x", "--to", "writer-02", check=False)
    assert done.returncode == 2
    assert "did you mean writer-01" in done.stderr


def test_a_peer_of_another_host_can_be_addressed(runtime_dir: RuntimeDir) -> None:
    afar = make_identity("afar-01")
    introduction = Introduction(
        *(afar.node_id, "afar-01", "triad", b64u(afar.public_key), "xmesh", "remote", 0, "")
    )

    async def introduce_it() -> None:
        gateway = GatewayClient(runtime_dir.bus_socket, "triad")
        await gateway.connect()
        await gateway.introduce(introduction)
        await gateway.close()

    mesh = Mesh(runtime_dir)
    with BusProcess(runtime_dir):
        join(runtime_dir, "writer-01")
        asyncio.run(introduce_it())
        shown = mesh.sup("observe", "x", "--to", "afar-01").stdout
        said = mesh.json("observe", "y", "--to", "afar-01")
        typo = mesh.sup("observe", "z", "--to", "afar-02", check=False)
    assert "it is for afar-01 on another host" in shown
    assert (said["to"], said["hear"], said["hear_later"]) == (afar.node_id, [], [])
    assert (typo.returncode, "did you mean afar-01" in typo.stderr) == (2, True)


def test_with_several_groups_it_asks_for_one(runtime_dir: RuntimeDir) -> None:
    with BusProcess(runtime_dir):
        join(runtime_dir, "a", "one")
        join(runtime_dir, "b", "two")
        mesh = Mesh(runtime_dir)
        unclear = mesh.sup("observe", "x", check=False)
        assert mesh.json("observe", "x", "--group", "two")["group"] == "two"
    assert unclear.returncode == 2
    assert "--group one" in unclear.stderr


@pytest.mark.parametrize("text", ["x" * 65_537, "\udcff"])
def test_what_makes_no_record_is_refused(runtime_dir: RuntimeDir, text: str) -> None:
    with BusProcess(runtime_dir):
        done = Mesh(runtime_dir).sup("observe", text, check=False)
    assert done.returncode == 2
    assert "that makes no record" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_operator_does_not_count_as_a_hearer_of_itself(runtime_dir: RuntimeDir) -> None:
    mesh = Mesh(runtime_dir)
    with BusProcess(runtime_dir):
        join(runtime_dir, "writer-01")
        mesh.sup("recall", "anything", check=False)
        assert mesh.json("observe", "hello")["hear_later"] == ["writer-01"]
