"""The guard: kill -9 of the supervisor leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers.fleet import SupervisorProcess, eventually, left, spec

from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor import tree
from xmesh_supervisor.guard import sweep

DEAF = {"ignore_term": 1, "daemon": 1}


def one_round(supervisor: SupervisorProcess) -> float:
    """Start, kill -9 the supervisor, and return the seconds until nothing was left."""
    if supervisor.process is None or supervisor.process.poll() is not None:
        supervisor.start()
    supervisor.apply(spec("deaf", DEAF), spec("plain"))
    supervisor.kill_dead()
    begun = time.monotonic()
    eventually(lambda: not left(supervisor.root), within_s=2.0)
    return time.monotonic() - begun


def test_kill_9_of_the_supervisor_leaves_nothing_ten_times(
    supervisor: SupervisorProcess,
) -> None:
    for _ in range(10):
        one_round(supervisor)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_9_of_the_supervisor_leaves_nothing_a_hundred_times(
    supervisor: SupervisorProcess,
) -> None:
    took = sorted(one_round(supervisor) for _ in range(100))
    print(f"\nsupervisor gone to all gone: p50 {took[49]:.3f} s, max {took[99]:.3f} s")


def test_the_guard_is_deaf_to_polite_signals(supervisor: SupervisorProcess) -> None:
    guard = supervisor.child("guard")["pid"]
    eventually(lambda: supervisor.child("guard")["state"] == "running")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(guard, number)
    supervisor.apply(spec("deaf", DEAF))
    assert supervisor.child("guard")["pid"] == guard
    supervisor.kill_dead()
    eventually(lambda: not left(supervisor.root), within_s=2.0)


def test_killing_guard_and_supervisor_at_once_is_cleared_by_the_next_one(
    supervisor: SupervisorProcess,
) -> None:
    supervisor.apply(spec("deaf", DEAF))
    eventually(lambda: len(left(supervisor.root)) == 4)
    before = {process.pid for process in left(supervisor.root)}
    assert supervisor.process is not None
    supervisor.process.send_signal(signal.SIGSTOP)
    os.kill(max(before & guards(supervisor.root)), signal.SIGKILL)
    supervisor.kill_dead()
    assert left(supervisor.root)
    supervisor.start()
    assert not before & {process.pid for process in left(supervisor.root)}


def guards(root: RuntimeDir) -> set[int]:
    mine = tree.tag(root.root, "guard")
    return {process.pid for process in tree.scan() if process.tag == mine}


def test_a_sweep_spares_guards_and_other_roots(runtime_dir: RuntimeDir) -> None:
    root = runtime_dir.root
    tags = [tree.tag(root, "p"), tree.tag(root, "guard"), tree.tag(root / "other", "p")]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", "input()"],
            env={**os.environ, tree.TAG: tag},
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        for tag in tags
    ]
    try:
        eventually(lambda: {p.tag for p in tree.scan()} >= set(tags))
        assert sweep(root)
        assert children[0].wait(5) == -signal.SIGKILL
        assert [child.poll() for child in children[1:]] == [None, None]
    finally:
        for child in children:
            child.kill()
            child.communicate()
