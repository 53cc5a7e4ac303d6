"""kill: dead at once, with the whole tree, whatever the supervisor does; and dead for good."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.fleet import STUB, SupervisorProcess, eventually, left, spec

from xmesh_mesh import tombstones
from xmesh_mesh.errors import UsageError
from xmesh_mesh.paths import FileLock, RuntimeDir
from xmesh_supervisor import tree
from xmesh_supervisor.kill import kill, known_names

DEAF = {"ignore_term": 1, "daemon": 1}


@pytest.fixture
def frozen(supervisor: SupervisorProcess) -> Iterator[SupervisorProcess]:
    """A supervisor that hangs, with a deaf peer that has a daemon."""
    supervisor.apply(spec("deaf", DEAF), spec("other"))
    eventually(lambda: len(tree_of(supervisor.root, "deaf")) == 2)
    assert supervisor.process is not None
    supervisor.process.send_signal(signal.SIGSTOP)
    yield supervisor
    supervisor.process.send_signal(signal.SIGCONT)


def tree_of(root: RuntimeDir, name: str) -> list[tree.Process]:
    return tree.find(lambda tag: tag == tree.tag(root.root, name))


def test_a_killed_peer_is_gone_with_its_daemon_and_stays_dead(
    supervisor: SupervisorProcess,
) -> None:
    supervisor.apply(spec("deaf", DEAF), spec("other"))
    eventually(lambda: len(tree_of(supervisor.root, "deaf")) == 2)
    other = supervisor.peer("other")["pid"]
    (killed,) = kill(supervisor.root, ["deaf"], "it loops")
    assert killed.processes == 2
    assert 0 < killed.took_ms < 2000
    assert not tree_of(supervisor.root, "deaf")
    assert supervisor.state("deaf") == "killed"
    assert supervisor.peer("deaf")["reason"].endswith(": it loops")
    assert supervisor.peer("deaf")["restarts"] == 0
    assert supervisor.peer("other")["pid"] == other
    assert tombstones.read(supervisor.root.tombstone("deaf")) == killed.tombstone


def test_a_peer_that_crashes_and_returns_all_the_time_is_killed_for_good(
    supervisor: SupervisorProcess,
) -> None:
    crashing = spec("p", {"exit": 1, "ready": False}, max_restarts=1000)
    for _ in range(5):
        supervisor.apply(crashing, wait=False)
        eventually(lambda: supervisor.peer("p")["restarts"] > 0)
        kill(supervisor.root, ["p"], "")
        eventually(lambda: supervisor.state("p") == "killed")
        assert not tree_of(supervisor.root, "p")
        assert supervisor.peer("p")["desired"] == "stop"
        supervisor.root.tombstone("p").unlink()


def test_kill_works_while_the_supervisor_hangs(frozen: SupervisorProcess) -> None:
    begun = time.monotonic()
    (killed,) = kill(frozen.root, ["deaf"], "")
    assert killed.processes == 2
    assert time.monotonic() - begun < 5
    assert not tree_of(frozen.root, "deaf")
    assert frozen.process is not None
    frozen.process.send_signal(signal.SIGCONT)
    eventually(lambda: frozen.state("deaf") == "killed")


def test_kill_reaches_a_peer_that_was_started_by_hand(runtime_dir: RuntimeDir) -> None:
    node = runtime_dir.node("hand-01")
    node.mkdir(parents=True)
    holder = "import sys,fcntl,os,time;f=open(sys.argv[1],'w');fcntl.flock(f,2);"
    holder += "f.write('{\"pid\":%d}'%os.getpid());f.flush();print(flush=True);time.sleep(99)"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(runtime_dir.node_lock("hand-01"))],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (killed,) = kill(runtime_dir, ["hand-01"], "")
        assert killed.processes == 1
        assert process.wait(5) == -signal.SIGKILL


def test_a_stale_pid_in_the_lock_file_harms_nobody(runtime_dir: RuntimeDir) -> None:
    lock = runtime_dir.node_lock("p")
    lock.parent.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        lock.write_text(json.dumps({"pid": bystander.pid}))
        (killed,) = kill(runtime_dir, ["p"], "")
        assert killed.processes == 0
        assert bystander.poll() is None
        bystander.kill()


def test_the_lock_is_free_after_a_kill(runtime_dir: RuntimeDir) -> None:
    runtime_dir.node("p").mkdir(parents=True)
    kill(runtime_dir, ["p"], "")
    with runtime_dir.node_lock("p").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_that_nobody_known_holds_is_said(
    runtime_dir: RuntimeDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xmesh_supervisor.kill.WITHIN_S", 0.05)
    lock = FileLock(runtime_dir.node_lock("p"))
    assert lock.acquire(role="test")
    lock.path.write_text("{}")
    with pytest.raises(Exception, match="stays locked"):
        kill(runtime_dir, ["p"], "")
    assert runtime_dir.tombstone("p").exists()
    lock.release()


def test_an_unknown_name_kills_nobody_and_helps(supervisor: SupervisorProcess) -> None:
    supervisor.apply(spec("writer-01"))
    with pytest.raises(UsageError, match="did you mean writer-01"):
        kill(supervisor.root, ["writer-01", "writer-1"], "")
    assert supervisor.state("writer-01") == "running"


def test_neither_bus_nor_guard_nor_a_foreign_name_is_a_peer(
    supervisor: SupervisorProcess,
) -> None:
    supervisor.apply(spec("p"))
    env = {**os.environ, "XMESH_TAG": tree.tag(supervisor.root.root, "../../etc/x")}
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], env=env, stdin=subprocess.PIPE
    ) as process:
        assert known_names(supervisor.root) == ["p"]
        process.kill()


def command_line(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xmesh_supervisor.cli", *arguments],
        env={**os.environ, "XMESH_RUNTIME_DIR": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_kill_all_by_the_command_line_says_who_why_and_how_to_undo(
    supervisor: SupervisorProcess,
) -> None:
    supervisor.apply(spec("a", DEAF), spec("b"))
    done = command_line(supervisor.root.root, "kill", "--all", "--why", "enough", "--json")
    assert done.returncode == 0, done.stderr
    assert {each["name"]: each["tombstone"]["why"] for each in json.loads(done.stdout)} == {
        "a": "enough",
        "b": "enough",
    }
    shown = command_line(supervisor.root.root, "ps").stdout
    assert shown.count("enough; xmesh-sup start") == 2
    again = command_line(supervisor.root.root, "kill", "a")
    assert "dead until: xmesh-sup start a" in again.stdout


@pytest.mark.parametrize("arguments", [[], ["a", "--all"]])
def test_kill_wants_names_or_all(runtime_dir: RuntimeDir, arguments: list[str]) -> None:
    assert command_line(runtime_dir.root, "kill", *arguments).returncode == 2


def rounds(root: RuntimeDir, supervisor: SupervisorProcess, count: int) -> list[float]:
    took = []
    for _ in range(count):
        said = supervisor.ask("start", "deaf")
        assert said["deaf"]["state"] == "running", said
        assert len(tree_of(root, "deaf")) == 2
        (killed,) = kill(root, ["deaf"], "a round")
        assert killed.processes == 2
        assert not tree_of(root, "deaf")
        took.append(killed.took_ms)
    return sorted(took)


def test_ten_kills_take_milliseconds(supervisor: SupervisorProcess) -> None:
    supervisor.apply(spec("deaf", DEAF))
    took = rounds(supervisor.root, supervisor, 10)
    # The promise (p99 under 150 ms) is measured by the slow form; this machine may be busy.
    assert took[5] < 150, took


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_of_a_hundred_kills_ninety_nine_take_less_than_150_ms(
    supervisor: SupervisorProcess,
) -> None:
    supervisor.apply(spec("deaf", DEAF))
    took = rounds(supervisor.root, supervisor, 100)
    print(f"\nkill: p50 {took[49]:.1f} ms, p99 {took[98]:.1f} ms, max {took[99]:.1f} ms")
    assert took[98] < 150, took[-5:]


def test_nothing_is_left_of_a_fleet_without_supervisor_that_was_killed(
    runtime_dir: RuntimeDir,
) -> None:
    env = {
        **os.environ,
        "XMESH_RUNTIME_DIR": str(runtime_dir.root),
        "XMESH_TAG": tree.tag(runtime_dir.root, "p"),
        "XMESH_PLAN": json.dumps(DEAF),
    }
    with subprocess.Popen(STUB, env=env) as process:
        eventually(lambda: len(left(runtime_dir)) == 2)
        kill(runtime_dir, ["p"], "")
        assert process.wait(5) == -signal.SIGKILL
    assert not left(runtime_dir)
