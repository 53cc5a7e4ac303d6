"""Environments of children, and the spawner in a process of its own."""

import subprocess
import sys
from pathlib import Path

from helpers.fleet import PROJECT

from xmesh_supervisor import tree
from xmesh_supervisor.processes import child_environment, plain

ROOT = Path("/run/x")


def test_a_child_gets_no_key_but_its_own_and_nothing_that_is_the_parents() -> None:
    base = {
        "PATH": "/bin",
        "ANTHROPIC_API_KEY": "a",
        "OPENAI_API_KEY": "o",
        "MISTRAL_API_KEY": "m",
        "SYM_RELAY_TOKEN": "t",
        "MY_KEY": "k",
        "XMESH_LIFT": "old",
        "NOTIFY_SOCKET": "/n",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
    }
    own = {"OPENAI_API_KEY": "mine", "XMESH_RUN": "r"}
    found = child_environment(base, root=ROOT, name="p", keys=frozenset({"MY_KEY"}), own=own)
    assert found == {
        "PATH": "/bin",
        "OPENAI_API_KEY": "mine",
        "XMESH_RUN": "r",
        "XMESH_RUNTIME_DIR": "/run/x",
        "XMESH_TAG": tree.tag(ROOT, "p"),
    }


def test_bus_and_guard_get_the_plain_environment_only() -> None:
    kept = {"PATH": "1", "HOME": "2", "LC_ALL": "3", "PYTHONPATH": "4", "LD_LIBRARY_PATH": "5"}
    assert plain({**kept, "SOME_TOKEN": "s", "XPATH": "6"}) == kept


SPAWNER = """
import os, signal, sys, time
from pathlib import Path
from xmesh_supervisor import tree
from xmesh_supervisor.processes import Launch, PopenSpawner, collect_orphans

collect_orphans()
spawner = PopenSpawner()
orphan = "import os,time\\nif os.fork()==0:\\n  time.sleep(0.1)\\n  os._exit(0)\\nos._exit(7)"
def ended(pid):
    for _ in range(2000):
        for found, code in spawner.reap():
            if found == pid:
                return code
        time.sleep(0.005)
def launch(code):
    return Launch([sys.executable, "-c", code], dict(os.environ), Path(sys.argv[1]))

child = spawner.spawn(launch("import sys; sys.stderr.write('hello')"))
assert child.started == tree.started(child.pid)
assert ended(child.pid) == 0
assert os.read(child.ready, 9) == b""                  # end of file: it never said ready
assert ended(spawner.spawn(launch(orphan)).pid) == 7
deadline = time.monotonic() + 10
while any(p.ppid == os.getpid() for p in tree.scan()):
    assert time.monotonic() < deadline
    spawner.reap()
time.sleep(0.05)
spawner.reap()
try:
    os.waitpid(-1, os.WNOHANG)
    raise SystemExit("an orphan was not reaped")
except ChildProcessError:
    pass
sleeper = spawner.spawn(launch("import time; time.sleep(99)"))
assert os.getsid(sleeper.pid) == sleeper.pid
spawner.signal(sleeper.pid, signal.SIGKILL)
assert ended(sleeper.pid) == -9
spawner.signal(sleeper.pid, signal.SIGKILL)            # reaped: nobody is hit
waiting = os.listdir("/proc/self/fd")
try:
    spawner.spawn(Launch(["/no/such/program"], {}, Path(sys.argv[1])))
except FileNotFoundError:
    assert os.listdir("/proc/self/fd") == waiting
    print("fine")
"""


def test_the_spawner_tells_exits_reaps_orphans_and_leaks_nothing(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    done = subprocess.run(
        [sys.executable, "-c", SPAWNER, str(log)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.stdout == "fine\n", done.stderr
    assert log.read_text() == "hello"
    assert log.stat().st_mode & 0o777 == 0o600
