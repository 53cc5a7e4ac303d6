"""Killed is killed: what a kill ends, and what comes back after a start."""

import os
import subprocess
import sys

import msgspec
import pytest
from helpers.mesh import TASK, agent_toml, running, triad

from xmesh_mesh.bus.frames import Welcome
from xmesh_mesh.errors import ExitCode
from xmesh_mesh.memory import Memory
from xmesh_mesh.paths import RuntimeDir
from xmesh_peer.config import load
from xmesh_peer.main import _floor
from xmesh_peer.plan import resolve

pytestmark = pytest.mark.timeout(120)

REHEARSAL = {"adapter": "rehearsal"}


def test_what_was_said_while_a_peer_was_dead_is_remembered_and_wakes_it_no_more(
    runtime_dir: RuntimeDir,
) -> None:
    with running(runtime_dir, *triad(runtime_dir, REHEARSAL)) as mesh:
        mesh.sup("kill", "reviewer-01", "--why", "a test")
        assert mesh.peer("reviewer-01")["state"] == "killed"
        missed = mesh.observe(*TASK)
        mesh.rest()
        assert mesh.sup("restart", "reviewer-01", check=False).returncode == 1
        mesh.sup("start", "reviewer-01")
        mesh.rest()
        entry = next(e for e in mesh.memory("reviewer-01") if e.key == missed)
        assert (entry.admitted, entry.wake) == (True, None)
        assert mesh.status("reviewer-01")["calls"] == 0
        fresh = mesh.observe("review the login specification", "--to", "reviewer-01")
        mesh.rest()
        entry = next(e for e in mesh.memory("reviewer-01") if e.key == fresh)
        assert entry.wake == "done"


def test_stopped_is_not_killed_and_catches_up(runtime_dir: RuntimeDir) -> None:
    with running(runtime_dir, *triad(runtime_dir, REHEARSAL)) as mesh:
        mesh.sup("stop", "reviewer-01")
        task = mesh.observe(*TASK)
        mesh.rest()
        mesh.sup("start", "reviewer-01")
        mesh.rest()
        entry = next(e for e in mesh.memory("reviewer-01") if e.key == task)
        assert entry.wake == "done"


def test_a_second_process_of_a_node_exits_with_the_collision_code_and_harms_nobody(
    runtime_dir: RuntimeDir,
) -> None:
    path = agent_toml(runtime_dir.root / "w.toml", "writer-01", "writer", model=REHEARSAL)
    with running(runtime_dir, path) as mesh:
        before = mesh.peer("writer-01")["pid"]
        plan = msgspec.json.encode(resolve(load(path), path, {}, terminal=True)).decode()
        second = subprocess.run(
            [sys.executable, "-m", "xmesh_peer.main"],
            env={**os.environ, "XMESH_RUNTIME_DIR": str(runtime_dir.root), "XMESH_PLAN": plan},
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        assert second.returncode == ExitCode.COLLISION
        assert str(before) in second.stderr
        mesh.observe("draft a spec for the login endpoint")
        mesh.rest()
        assert mesh.peer("writer-01")["pid"] == before
        assert mesh.status("writer-01")["emitted"] == 1


def test_old_news_is_of_one_journal_only(runtime_dir: RuntimeDir) -> None:
    memory = Memory.open(runtime_dir.memory("w"))
    try:
        assert _floor(memory, Welcome("a", 5, 0, [])) == -1
        memory.set_meta("old-news", "until-joined")
        assert _floor(memory, Welcome("a", 7, 0, [])) == 7
        assert _floor(memory, Welcome("a", 9, 0, [])) == 7
        assert _floor(memory, Welcome("b", 1, 0, [])) == -1
    finally:
        memory.close()
