"""``xmesh-sup trust``: a person sees which keys are believed, and decides."""

import json
from itertools import count
from typing import Any

import pytest
from helpers.bus import BusProcess, make_identity, make_remote
from helpers.mesh import Mesh

from xmesh_mesh.bus.gateway_client import GatewayClient
from xmesh_mesh.canonical import b64u
from xmesh_mesh.errors import PublishRefused
from xmesh_mesh.identity import fingerprint
from xmesh_mesh.paths import RuntimeDir
from xmesh_mesh.pins import Pins

ONE, TWO = make_identity("one"), make_identity("two")
FOREIGN = make_identity("foreign")


@pytest.fixture
def pins(runtime_dir: RuntimeDir) -> Pins:
    return Pins(runtime_dir.pins("lab") / "pins.json")


@pytest.fixture
def mesh(runtime_dir: RuntimeDir) -> Mesh:
    return Mesh(runtime_dir)


def refused(mesh: Mesh, *arguments: str) -> str:
    done = mesh.sup("trust", *arguments, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


def test_a_host_that_knows_nobody_says_so(mesh: Mesh) -> None:
    assert mesh.sup("trust", "list").stdout == "no keys are pinned here yet\n"
    assert mesh.json("trust", "list") == {}


def test_a_list_shows_fingerprints_that_two_people_can_compare(mesh: Mesh, pins: Pins) -> None:
    pins.pin(ONE.node_id, ONE.public_key, "one")
    pins.note_secure(ONE.node_id)
    shown = mesh.sup("trust", "list").stdout
    assert "group lab: 1 pinned, 0 in quarantine" in shown
    assert f"  {fingerprint(ONE.public_key)}\n" in shown
    assert "pinned at first sight, secure" in shown
    (pin,) = mesh.json("trust", "list")["lab"]["pinned"]
    assert pin["fingerprint"] == fingerprint(ONE.public_key)
    assert (pin["public_key"], pin["secure"]) == (b64u(ONE.public_key), True)


def test_quarantine_says_why_and_what_to_type(mesh: Mesh, pins: Pins) -> None:
    pins.pin(ONE.node_id, ONE.public_key, "one")
    pins.pin(ONE.node_id, FOREIGN.public_key, "one\x1b[2J")
    pins.quarantine(TWO.node_id, None, "two", "our-name")
    shown = mesh.sup("trust", "list", "--group", "lab").stdout
    assert "it came with another key than the pinned one" in shown
    assert "it bears the name of a peer of this host" in shown
    assert f"xmesh-sup trust accept {ONE.node_id} --group lab" in shown
    assert f"trust accept {TWO.node_id}" not in shown
    assert fingerprint(FOREIGN.public_key) in shown
    assert "\x1b" not in shown


def test_an_accepted_key_is_believed_from_then_on(mesh: Mesh, pins: Pins) -> None:
    pins.pin(ONE.node_id, ONE.public_key, "one")
    pins.pin(ONE.node_id, FOREIGN.public_key, "one")
    told = mesh.sup("trust", "accept", ONE.node_id[:20]).stdout
    assert fingerprint(FOREIGN.public_key) in told
    assert pins.key(ONE.node_id) == FOREIGN.public_key
    assert pins.quarantined() == []


def test_of_several_keys_one_is_named(mesh: Mesh, pins: Pins) -> None:
    pins.pin(ONE.node_id, ONE.public_key, "one")
    for other in (TWO, FOREIGN):
        pins.pin(ONE.node_id, other.public_key, "one")
    assert "2 different keys" in refused(mesh, "accept", ONE.node_id)
    mesh.sup("trust", "accept", ONE.node_id, "--public-key", b64u(TWO.public_key))
    assert pins.key(ONE.node_id) == TWO.public_key


def test_a_key_is_added_by_hand_before_its_node_was_ever_seen(mesh: Mesh, pins: Pins) -> None:
    key = b64u(ONE.public_key)
    made = mesh.json("trust", "add", ONE.node_id, key, "--name", "one", "--group", "lab")
    assert (made["group"], made["by_hand"], made["name"]) == ("lab", True, "one")
    assert pins.key(ONE.node_id) == ONE.public_key
    other = b64u(TWO.public_key)
    assert "another key pinned" in refused(mesh, "add", ONE.node_id, other, "--group", "lab")


def test_a_key_that_begins_with_a_dash_is_no_option(mesh: Mesh, pins: Pins) -> None:
    keys = (make_identity("dash").public_key for _ in count())
    dashed = next(key for key in keys if b64u(key).startswith("-"))
    mesh.json("trust", "add", ONE.node_id, b64u(dashed), "--group", "lab")
    assert pins.key(ONE.node_id) == dashed


def test_a_removed_node_is_unknown(mesh: Mesh, pins: Pins) -> None:
    pins.pin(ONE.node_id, ONE.public_key, "one")
    assert "is forgotten in lab" in mesh.sup("trust", "remove", ONE.node_id).stdout
    assert pins.key(ONE.node_id) is None


async def test_a_removed_node_is_unknown_to_a_running_bus_too(
    runtime_dir: RuntimeDir, mesh: Mesh
) -> None:
    remote = make_remote("faraway", "lab")
    Pins(runtime_dir.pins("lab") / "pins.json").quarantine(
        remote.node_id, None, "faraway", "our-name"
    )
    with BusProcess(runtime_dir) as bus:
        edge = GatewayClient(bus.socket, "lab")
        await edge.connect()
        await edge.introduce(remote)
        mesh.sup("trust", "remove", remote.node_id)
        with pytest.raises(PublishRefused, match="no remote node"):
            await edge.publish_for(remote.node_id, "a" * 64, b"said")
        await edge.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("accept", "0193"), "no node '0193' is in quarantine"),
        (("remove", "0193"), "no node '0193' is known in lab"),
        (("add", "0193", "x"), "is no node id"),
        (("add", ONE.node_id, "x"), "is no public key"),
        (("list", "--group", "A b"), "cannot name a group"),
        (("forget", "x"), "invalid choice"),
        ((), "required"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_next_step(
    mesh: Mesh, pins: Pins, arguments: tuple[str, ...], says: str
) -> None:
    pins.pin(TWO.node_id, TWO.public_key, "two")
    done = mesh.sup("trust", *arguments, check=False)
    assert done.returncode in {2, 78}
    assert says in done.stderr


def test_the_beginning_of_two_ids_names_neither(mesh: Mesh, pins: Pins) -> None:
    for who in (ONE, TWO):
        pins.pin(who.node_id, who.public_key, who.name)
    assert "may be" in refused(mesh, "remove", "01")
    assert len(pins.pinned()) == 2


def test_with_several_groups_the_one_that_is_meant_is_named(
    mesh: Mesh, pins: Pins, runtime_dir: RuntimeDir
) -> None:
    pins.pin(ONE.node_id, ONE.public_key, "one")
    other = Pins(runtime_dir.pins("other") / "pins.json")
    other.pin(ONE.node_id, ONE.public_key, "one")
    assert "in several groups: lab, other" in refused(mesh, "remove", ONE.node_id)
    mesh.sup("trust", "remove", ONE.node_id, "--group", "other")
    assert (other.pinned(), len(pins.pinned())) == ([], 1)
    assert set(mesh.json("trust", "list")) == {"lab", "other"}


def test_a_garbled_file_is_named_with_what_to_do(mesh: Mesh, runtime_dir: RuntimeDir) -> None:
    path = runtime_dir.pins("lab") / "pins.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    done = mesh.sup("trust", "list", check=False)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert "restore it from a backup" in done.stderr


@pytest.mark.parametrize("verb", ["", "list", "accept", "add", "remove"])
def test_help_explains_each_verb_with_an_example(mesh: Mesh, verb: str) -> None:
    shown = mesh.sup("trust", *([verb] if verb else []), "--help").stdout
    assert "example:\n  xmesh-sup trust" in shown
    assert "exit codes: 0 done" in shown


def test_json_is_one_document(mesh: Mesh, pins: Pins) -> None:
    pins.pin(ONE.node_id, ONE.public_key, "one")
    pins.pin(ONE.node_id, TWO.public_key, "one")
    listed: Any = mesh.json("trust", "list", "--group", "lab")
    assert listed["lab"]["quarantine"][0]["why"] == "key-changed"
    removed = json.loads(mesh.sup("trust", "remove", ONE.node_id, "--json").stdout)
    assert removed == {"group": "lab", "removed": ONE.node_id}
