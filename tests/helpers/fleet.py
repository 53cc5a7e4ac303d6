"""A real supervisor process over stub children, and how a test looks at it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor import client, tree

HERE = Path(__file__).resolve()
PROJECT = HERE.parents[2]
STUB = (sys.executable, "-I", "-S", str(HERE.with_name("stub.py")))
GATEWAY_STUB = (sys.executable, "-I", "-S", str(HERE.with_name("gateway_stub.py")))
READY_S = 1.0
"""How long a stub may take to become ready; a real peer has 30 s."""


def spec(name: str, plan: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return a Spec, as the control socket takes it, of a stub that does what ``plan`` says."""
    return {"name": name, "plan": json.dumps(dict(plan or {})), "stop_timeout_s": 5.0, **fields}


def eventually(holds: Callable[[], Any], within_s: float = 10.0) -> Any:
    """Return what ``holds`` returns once that is true; fail after ``within_s`` seconds."""
    deadline = time.monotonic() + within_s
    while not (value := holds()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {holds}"
        time.sleep(0.005)
    return value


class SupervisorProcess:
    """``python fleet.py ROOT``: a supervisor whose peers, bus and gateway are stubs."""

    def __init__(self, root: RuntimeDir, env: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.env = {**os.environ, "PYTHONPATH": str(PROJECT), **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "SupervisorProcess":
        with (self.root.root / "supervisor.err").open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE), str(self.root.root)],
                env=self.env,
                stdout=errors,
                stderr=errors,
            )
        eventually(self.answers)
        return self

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.root.root / "supervisor.err").read_text()
        try:
            return bool(client.ask(self.root, "status", timeout_s=1.0))
        except client.SupervisorAway:
            return False

    def apply(self, *specs: dict[str, Any], wait: bool = True, **more: Any) -> dict[str, Any]:
        """Apply and return what was last said of each peer, and the answer under ``""``."""
        said: dict[str, Any] = {}
        for line in client.call(self.root, "apply", specs=list(specs), wait=wait, **more):
            said[line.get("peer", "")] = line
        return said

    def ask(self, command: str, *names: str) -> dict[str, Any]:
        """Send a command for ``names``; return the lines by peer, the answer under ``""``."""
        said: dict[str, Any] = {}
        for line in client.call(self.root, command, names=list(names)):
            said[line.get("peer", "")] = line
        return said

    def peer(self, name: str) -> dict[str, Any]:
        peers = client.ask(self.root, "status")["peers"]
        return next(peer for peer in peers if peer["name"] == name)

    def state(self, name: str) -> str:
        return str(self.peer(name)["state"])

    def child(self, name: str) -> dict[str, Any]:
        """Return guard, bus or gateway."""
        children = client.ask(self.root, "status")["infrastructure"]
        return next(child for child in children if child["name"] == name)

    def has(self, name: str) -> bool:
        """Return whether guard, bus or gateway is there, or should be."""
        children = client.ask(self.root, "status")["infrastructure"]
        return any(child["name"] == name for child in children)

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment that the stub last started with."""
        value: dict[str, str] = json.loads((self.root.root / f"env-{name}.json").read_text())
        return value

    def kill_dead(self) -> None:
        """kill -9 the supervisor itself."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """End it in order if it still lives, and whatever it may have left behind."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill_dead()
        prefix = tree.root_tag(self.root.root)
        tree.end_all(lambda tag: tag.startswith(prefix))


def left(root: RuntimeDir) -> list[tree.Process]:
    """Return every living process of this root."""
    prefix = tree.root_tag(root.root)
    return tree.find(lambda tag: tag.startswith(prefix))


def main() -> None:
    from xmesh_supervisor.daemon import Supervisor
    from xmesh_supervisor.infrastructure import COMMANDS

    root = RuntimeDir(Path(sys.argv[1]))
    commands = {**COMMANDS, "bus": STUB, "gateway": GATEWAY_STUB, "peer": STUB}
    Supervisor(root, commands=commands, ready_s=READY_S).run()


if __name__ == "__main__":
    main()
