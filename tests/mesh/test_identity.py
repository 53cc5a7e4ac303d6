"""Identities: made once, kept private, never replaced."""

import json
import multiprocessing
import os
import re
import uuid
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_sign_seed_keypair

from xmesh_mesh.canonical import b64u, unb64u
from xmesh_mesh.errors import ConfigError, ExitCode
from xmesh_mesh.identity import Identity, create_identity, fingerprint, load_or_create, uuid7
from xmesh_mesh.paths import RuntimeDir

RACERS = 6


@pytest.fixture
def path(runtime_dir: RuntimeDir) -> Path:
    return runtime_dir.identity("writer-01")


def refusal(path: Path, name: str = "writer-01") -> ConfigError:
    with pytest.raises(ConfigError) as error:
        load_or_create(path, name)
    assert error.value.where == str(path)
    assert error.value.exit_code == ExitCode.CONFIG
    return error.value


def rewrite(path: Path, **changes: object) -> dict[str, object]:
    value = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(value))
    return value  # type: ignore[no-any-return]


def race(path: Path, start: Barrier, results: "multiprocessing.Queue[str]") -> None:
    start.wait()
    identity = load_or_create(path, "writer-01")
    results.put(f"{identity.node_id} {b64u(identity.public_key)}")


@given(st.integers(0, 2**48 - 1))
def test_a_node_id_is_a_uuid7_of_its_time(now_ms: int) -> None:
    parsed = uuid.UUID(uuid7(now_ms))
    assert str(parsed) == uuid7(now_ms)[:13] + str(parsed)[13:] == str(parsed).lower()
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == now_ms


def test_every_node_id_and_key_is_new() -> None:
    made = [create_identity("a", 5) for _ in range(20)]
    assert len({one.node_id for one in made}) == len({one.seed for one in made}) == 20
    # Both halves of the random part vary.
    assert len({one.node_id[15:18] for one in made}) > 1
    assert len({one.node_id[20:] for one in made}) == 20


def test_the_public_key_is_the_seeds() -> None:
    made = create_identity("writer-01", 7)
    assert crypto_sign_seed_keypair(made.seed)[0] == made.public_key
    assert (made.name, made.created_ms, len(made.seed)) == ("writer-01", 7, 32)


def test_the_private_key_is_never_shown() -> None:
    made = create_identity("writer-01", 7)
    shown = f"{made!r} {made}"
    assert "seed" not in shown
    for form in (repr(made.seed), made.seed.hex(), b64u(made.seed)):
        assert form.strip("b'") not in shown


def test_an_identity_is_made_once_and_found_again(path: Path) -> None:
    made = load_or_create(path, "writer-01")
    content = path.read_bytes()
    assert load_or_create(path, "writer-01") == made
    assert path.read_bytes() == content


def test_the_file_is_private_and_alone(path: Path) -> None:
    load_or_create(path, "writer-01")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_the_file_has_the_keys_of_mmp(path: Path) -> None:
    made = load_or_create(path, "writer-01")
    value = json.loads(path.read_text())
    assert value == {
        "nodeId": made.node_id,
        "name": "writer-01",
        "createdAt": made.created_ms,
        "publicKey": b64u(made.public_key),
        "privateKey": b64u(made.seed),
    }
    assert unb64u(value["privateKey"], 32) == made.seed
    assert made.created_ms > 1_700_000_000_000


def test_an_id_of_version_4_is_tolerated(path: Path) -> None:
    load_or_create(path, "writer-01")
    node_id = str(uuid.uuid4())
    rewrite(path, nodeId=node_id, hostname="unknown keys are ignored")
    assert load_or_create(path, "writer-01").node_id == node_id


def test_processes_that_race_end_with_one_identity(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(RACERS), context.Queue()
    racers = [context.Process(target=race, args=(path, start, results)) for _ in range(RACERS)]
    for racer in racers:
        racer.start()
    found = {results.get(timeout=30) for _ in racers}
    for racer in racers:
        racer.join(timeout=30)
        assert racer.exitcode == 0
        racer.close()
    results.close()
    results.join_thread()
    identity = load_or_create(path, "writer-01")
    assert found == {f"{identity.node_id} {b64u(identity.public_key)}"}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("bit", [0o040, 0o020, 0o010, 0o004, 0o002, 0o001])
def test_a_key_file_open_to_others_is_refused_with_the_command_that_helps(
    path: Path, bit: int
) -> None:
    load_or_create(path, "writer-01")
    path.chmod(0o600 | bit)
    assert refusal(path).fix == f"chmod 600 {path}"
    path.chmod(0o400)
    load_or_create(path, "writer-01")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 40, b"null", b"{}", b"[" * 70_000])
def test_a_garbled_file_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    load_or_create(path, "writer-01")
    path.write_bytes(content)
    assert "garbled" in refusal(path).what
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "changes",
    [
        {"nodeId": "7"},
        {"nodeId": "01930F1E-0000-7000-8000-00000000BEEF"},
        {"nodeId": "01930f1e-0000-1000-8000-00000000beef"},
        {"nodeId": "01930f1e-0000-7000-c000-00000000beef"},
        {"nodeId": "01930f1e-0000-7000-8000-00000000beef\n"},
        {"privateKey": b64u(bytes(31))},
        {"privateKey": b64u(bytes(32))},
        {"publicKey": b64u(bytes(32))},
        {"publicKey": b64u(bytes(33))},
        {"createdAt": "yesterday"},
        {"name": None},
    ],
    ids=repr,
)
def test_a_value_that_cannot_be_is_refused_without_quoting_the_key(
    path: Path, changes: dict[str, object]
) -> None:
    load_or_create(path, "writer-01")
    value = rewrite(path, **changes)
    error = refusal(path)
    assert "garbled" in error.what
    assert error.__cause__ is None
    assert str(value["privateKey"]) not in str(error)


def test_a_file_copied_from_another_peer_is_refused(path: Path) -> None:
    load_or_create(path, "writer-01")
    copy = path.with_name("writer-02.json")
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o600)
    assert "writer-01" in refusal(copy, "writer-02").what


def test_a_file_that_cannot_be_made_is_a_configuration_error(runtime_dir: RuntimeDir) -> None:
    blocker = runtime_dir.root / "keys"
    blocker.write_text("no directory")
    assert "cannot be read or made" in refusal(runtime_dir.identity("writer-01")).what


def test_a_directory_in_the_files_place_is_a_configuration_error(path: Path) -> None:
    path.mkdir(parents=True)
    refusal(path)


def test_a_dangling_link_is_not_written_through(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.symlink_to(path.with_name("elsewhere"))
    refusal(path)
    assert not path.with_name("elsewhere").exists()


def test_a_fingerprint_is_twelve_groups_of_five_digits() -> None:
    made = create_identity("a", 1)
    assert re.fullmatch(r"\d{5}( \d{5}){11}", fingerprint(made.public_key))
    assert fingerprint(made.public_key) != fingerprint(os.urandom(32))


def test_equal_identities_are_equal() -> None:
    made = create_identity("a", 1)
    assert made == Identity(made.node_id, "a", made.public_key, made.seed, 1)
