"""Names, where things live, whole files or none, and locks that die with their holder."""

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from xmesh_mesh.errors import ConfigError
from xmesh_mesh.paths import (
    MAX_SOCKET_PATH,
    FileLock,
    RuntimeDir,
    check_group,
    check_name,
    sync_directory,
    write_atomic,
)


@pytest.mark.parametrize("name", ["a", "Writer-01", "0x.y_z-", "x" * 64, "bus-01", "1"])
def test_a_usual_name_may_name_a_peer(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "x" * 65, ".hidden", "-x", "_x", "a/b", "../up", "a b", "a\n", "caf\u00e9", "a\0b", "a:b"],
)
def test_a_name_that_is_no_safe_file_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a peer") as caught:
        check_name(name, where="a.toml: identity.name")
    assert caught.value.where == "a.toml: identity.name"
    assert "64" in caught.value.fix


@pytest.mark.parametrize("name", ["bus", "supervisor", "gateway", "guard", "operator", "BUS"])
def test_names_that_xmesh_uses_itself_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="uses itself") as caught:
        check_name(name)
    assert f"{name}-01" in caught.value.fix


@pytest.mark.parametrize("group", ["a", "coding-triad", "x1-2", "7", "x" * 63])
def test_a_room_of_deployed_nodes_may_name_a_group(group: str) -> None:
    assert check_group(group) == group


@pytest.mark.parametrize(
    "group", ["", "x" * 64, "A", "a_b", "-a", "a-", "a--b", "a b", "a\n", "../a", "\u00e9"]
)
def test_anything_else_names_no_group(group: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a group") as caught:
        check_group(group, where="here")
    assert caught.value.where == "here"


# The runtime directory


def test_the_root_comes_from_the_environment_else_from_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for value, root in {
        "": tmp_path / ".xmesh",
        "~/x": tmp_path / "x",
        "rel": tmp_path / "rel",
        "/abs/y": Path("/abs/y"),
    }.items():
        monkeypatch.setenv("XMESH_RUNTIME_DIR", value)
        assert RuntimeDir.from_env() == RuntimeDir(root)
        assert not root.exists()
    monkeypatch.delenv("XMESH_RUNTIME_DIR")
    assert RuntimeDir.from_env().root == tmp_path / ".xmesh"


def test_a_home_that_cannot_be_told_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMESH_RUNTIME_DIR", "~nobody-of-this-name/x")
    with pytest.raises(ConfigError, match="cannot be told") as caught:
        RuntimeDir.from_env()
    assert "XMESH_RUNTIME_DIR" in caught.value.where


def test_the_root_is_made_private_even_if_it_was_open(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    for _ in range(2):
        made = RuntimeDir(root).ensure()
        assert made.root == root
        assert stat.S_IMODE(root.stat().st_mode) == 0o700
        root.chmod(0o777)


def test_a_root_leaves_room_for_the_longest_of_our_sockets() -> None:
    longest = MAX_SOCKET_PATH - len("/supervisor.sock")
    root = Path("/tmp/xm-" + "l" * (longest - len("/tmp/xm-")))
    try:
        made = RuntimeDir(root).ensure()
        assert len(str(made.supervisor_socket)) == MAX_SOCKET_PATH
        with pytest.raises(ConfigError, match="too long") as caught:
            RuntimeDir(Path(f"{root}l")).ensure()
        assert str(longest) in caught.value.fix
    finally:
        root.rmdir()
    wide = Path("/tmp/xm-" + "\u00e9" * ((longest - 8) // 2 + 1))
    with pytest.raises(ConfigError, match="too long"):
        RuntimeDir(wide).ensure()


def test_a_root_that_cannot_be_made_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="cannot be made"):
            RuntimeDir(root).ensure()


def test_everything_has_its_own_place_below_the_root() -> None:
    there = RuntimeDir(Path("/r"))
    found = {
        "bus.sock": there.bus_socket, "bus.db": there.bus_db, "bus.lock": there.bus_lock,
        "spend.db": there.spend_db, "events.jsonl": there.events,
        "supervisor.sock": there.supervisor_socket, "supervisor.db": there.supervisor_db,
        "supervisor.lock": there.supervisor_lock, "nodes/w": there.node("w"),
        "nodes/w/memory.db": there.memory("w"), "nodes/w/lock": there.node_lock("w"),
        "keys/w.json": there.identity("w"), "trusted-keys/g": there.pins("g"),
        "logs/w.log": there.log("w"), "tombstones/w.json": there.tombstone("w"),
        "w.sock": there.peer_socket("w"),
    }  # fmt: skip
    assert {name: str(path) for name, path in found.items()} == {n: f"/r/{n}" for n in found}


def test_a_peers_socket_that_would_not_fit_is_a_config_error() -> None:
    there = RuntimeDir(Path("/" + "r" * 30))
    name = "n" * (MAX_SOCKET_PATH - 31 - len("/.sock"))
    assert len(str(there.peer_socket(name))) == MAX_SOCKET_PATH
    with pytest.raises(ConfigError, match=f"longer than {MAX_SOCKET_PATH}"):
        there.peer_socket(name + "n")


# Whole files or none


def test_a_file_is_replaced_as_a_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]
    write_atomic(path, b"", mode=0o400)
    assert stat.S_IMODE(path.stat().st_mode) == 0o400


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (path / "full").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_atomic(path, b"x")
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_while_writing_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    code = (
        "import sys; from pathlib import Path; from xmesh_mesh.paths import write_atomic\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1; write_atomic(Path(sys.argv[1]), b'%d' % (n % 10) * 50_000)\n"
        "    print(n, flush=True)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for lines in (1, 3):
        with subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, env=environment
        ) as child:
            assert child.stdout is not None
            for _ in range(lines):
                child.stdout.readline()
            child.kill()
        data = path.read_bytes()
        assert len(data) == 50_000
        assert len(set(data)) == 1


def test_a_directory_that_is_not_there_cannot_be_synced(tmp_path: Path) -> None:
    sync_directory(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "ghost")


# Locks


def test_a_lock_is_had_once_and_says_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "nodes" / "w" / "lock"
    one, other = FileLock(path), FileLock(path)
    assert other.holder() == {}
    assert one.acquire(name="w")
    assert not other.acquire(name="longer than before")
    assert not one.acquire()
    assert other.holder() == {"pid": os.getpid(), "name": "w"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    one.release()
    one.release()
    assert other.acquire()
    assert one.holder() == {"pid": os.getpid()}
    other.release()


def test_a_lock_is_free_again_when_its_holder_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from xmesh_mesh.paths import FileLock\n"
        "assert FileLock(Path(sys.argv[1])).acquire()\nprint('held', flush=True)\n"
        "sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    lock = FileLock(tmp_path / "lock")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert not lock.acquire()
        assert lock.holder() == {"pid": child.pid}
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert lock.acquire()
    lock.release()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"[1]", b"\xff", b'"x"'])
def test_whatever_lies_in_a_lock_file_is_read_as_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lock").write_bytes(content)
    assert FileLock(tmp_path / "lock").holder() == {}


def test_a_lock_that_the_file_system_refuses_is_not_taken_for_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    open_files = Path("/dev/fd")
    handles = len(list(open_files.iterdir()))
    with pytest.raises(OSError, match="No locks"):
        FileLock(tmp_path / "lock").acquire()
    assert len(list(open_files.iterdir())) == handles


def test_what_a_holder_says_is_one_line_of_json(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert lock.acquire(name="w", run="r")
    text = lock.path.read_text()
    assert text.endswith("\n")
    assert json.loads(text) == {"pid": os.getpid(), "name": "w", "run": "r"}
    lock.release()
