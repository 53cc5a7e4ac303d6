"""Two who do the same at once, and one who is slow: nobody is harmed."""

import os
import signal
import threading

import pytest
from helpers.mesh import ROLES, TASK, Mesh, in_threads, running, triad

from xmesh_mesh.paths import RuntimeDir

pytestmark = pytest.mark.timeout(120)

REHEARSAL = {"adapter": "rehearsal"}


def test_two_ups_at_once_end_with_one_supervisor_and_both_succeed(runtime_dir: RuntimeDir) -> None:
    files = list(map(str, triad(runtime_dir, REHEARSAL)))
    mesh = Mesh(runtime_dir)
    codes: list[int] = []

    def up() -> None:
        codes.append(mesh.sup("up", "-d", "--wait", *files, check=False).returncode)

    try:
        in_threads([threading.Thread(target=up) for _ in range(2)])
        assert codes == [0, 0]
        assert {mesh.peer(name)["state"] for name in ROLES} == {"running"}
    finally:
        mesh.end()


def test_a_stopped_process_holds_nobody_up_and_catches_up(runtime_dir: RuntimeDir) -> None:
    with running(runtime_dir, *triad(runtime_dir, REHEARSAL)) as mesh:
        slow = mesh.peer("reviewer-01")["pid"]
        os.kill(slow, signal.SIGSTOP)
        try:
            task = mesh.observe(*TASK)
            assert mesh.sup("wait", "--timeout", "3", check=False).returncode == 1
            assert any(e.created_by == "writer-01" for e in mesh.memory("test-writer-01"))
        finally:
            os.kill(slow, signal.SIGCONT)
        mesh.rest()
        heard = {e.key for e in mesh.memory("reviewer-01")}
        assert task in heard
        assert heard == {e.key for e in mesh.memory("writer-01")}
