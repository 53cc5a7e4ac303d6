"""A child dies with its parent, and says once that it is ready."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from xmesh_mesh import child

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

_CHILD = """
import os, sys, time
from xmesh_mesh import child
child.die_with_parent()
assert "XMESH_PARENT" not in os.environ
print(os.getpid(), flush=True)
time.sleep(60)
"""

_PARENT = """
import os, subprocess, sys, time
env = {**os.environ, "XMESH_PARENT": str(os.getpid())}
started = subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=env)
time.sleep(60)
"""


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def gone(pid: int) -> bool:
    """Whether the process is no more, or a zombie that nobody reaps."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells of a parent's death on Linux")
def test_a_child_is_killed_when_its_parent_is() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, _CHILD], stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert until(lambda: gone(pid))


def test_a_child_whose_parent_is_dead_already_ends_at_once() -> None:
    environment = {**ENVIRONMENT, child.PARENT: str(os.getppid() or 1)}
    found = subprocess.run(
        [sys.executable, "-c", _CHILD], env=environment, check=False, capture_output=True
    )
    assert (found.returncode, found.stdout, found.stderr) == (1, b"", b"")


def test_a_program_started_by_hand_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(child.PARENT, raising=False)
    monkeypatch.delenv(child.READY_FD, raising=False)
    child.die_with_parent()
    child.announce_ready()


def test_readiness_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setenv(child.READY_FD, str(writing))
    child.announce_ready()
    child.announce_ready()
    assert os.read(reading, 100) == b"ready\n"
    assert os.read(reading, 100) == b""
    assert child.READY_FD not in os.environ
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(writing)
    os.close(reading)


def test_a_supervisor_that_is_gone_does_not_hinder_readiness(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setenv(child.READY_FD, str(writing))
    child.announce_ready()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(writing)
