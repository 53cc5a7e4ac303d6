"""Runtime directories that leave nothing behind, and meshes run in them as a person does."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from bench_parts.figures import BenchError
from xmesh_mesh.paths import RuntimeDir
from xmesh_peer.plan import VENDORS
from xmesh_supervisor import client

GROUP = "bench"
TRIAD = ("writer-01", "reviewer-01", "test-writer-01")
REHEARSAL = {"adapter": "rehearsal"}

_KEYS = {vendor.key_env for vendor in VENDORS.values()} | {"OLLAMA_HOST", "SYM_RELAY_URL"}
_SUP = str(Path(sys.executable).with_name("xmesh-sup"))
_TIMEOUT_S = 60
_GONE_WITHIN_S = 20.0
_LIVE: list[RuntimeDir] = []

_TOML = """
[identity]
name = "{name}"
charter = "Drafts and reviews the specification, design, code and tests of an endpoint."
[mesh]
group = "{group}"
lan = false
[model]
{model}
[admission]
triage = "off"
[budget]
max_wakes_per_minute = 100000
max_wakes_per_hour = 100000
max_wakes_per_day = 100000
max_cost_usd_per_hour = 1000.0
max_cost_usd_per_day = 1000.0
max_cost_usd_per_run = 1000.0
"""


class Mesh:
    """A runtime directory and the commands that work on it."""

    def __init__(self, root: RuntimeDir) -> None:
        self.root = root
        self._env = {
            **{name: value for name, value in os.environ.items() if _is_neutral(name)},
            "XMESH_RUNTIME_DIR": str(root.root),
            "OPENAI_API_KEY": "none-needed",
            "NO_PROXY": "*",
        }

    def sup(self, *arguments: str) -> str:
        """Run one ``xmesh-sup`` to its end; return what it printed."""
        done = subprocess.run(
            [_SUP, *arguments],
            env=self._env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise BenchError(f"xmesh-sup {' '.join(arguments)} exits {done.returncode}: {said}")
        return done.stdout

    def timed(self, *arguments: str) -> float:
        """Return the wall time, in ms, of one ``xmesh-sup``."""
        began = time.perf_counter()
        self.sup(*arguments)
        return (time.perf_counter() - began) * 1000

    def peer_file(self, name: str, model: Mapping[str, str] = REHEARSAL) -> str:
        """Write an agent.toml whose budget stops nothing."""
        path = self.root.root / f"{name}.toml"
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in model.items())
        if model is not REHEARSAL:
            lines += "\nprice = {input = 0.0, output = 0.0}"
        path.write_text(_TOML.format(name=name, group=GROUP, model=lines))
        return str(path)

    def up(self, *files: str) -> float:
        """Start these peers; return the ms until the command said that all are ready."""
        return self.timed("up", "-d", "--wait", *files)

    def status(self) -> dict[str, Any]:
        return client.ask(self.root, "status")

    def pids(self) -> dict[str, int]:
        """Return every process by name: supervisor, guard, bus and the peers."""
        status = self.status()
        children = {one["name"]: one["pid"] for one in status["infrastructure"] + status["peers"]}
        return {"supervisor": status["supervisor"]["pid"], **children}


def _is_neutral(variable: str) -> bool:
    return variable not in _KEYS and not variable.startswith("XMESH_")


@contextmanager
def runtime() -> Iterator[RuntimeDir]:
    """Yield a runtime directory; in the end its processes are killed and it is removed."""
    root = RuntimeDir(Path(tempfile.gettempdir()) / f"xmesh-bench-{secrets.token_hex(4)}")
    _LIVE.append(root)
    try:
        yield root.ensure()
    finally:
        _clear(root)
        _LIVE.remove(root)


def clear_all() -> None:
    """Leave nothing behind, whatever was under way: for a signal handler that ends the bench."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            process.kill()
    for root in _LIVE:
        _clear(root)


@contextmanager
def mesh() -> Iterator[Mesh]:
    with runtime() as root:
        yield Mesh(root)


def _clear(root: RuntimeDir) -> None:
    _end_all(root)
    shutil.rmtree(root.root, ignore_errors=True)


def _end_all(root: RuntimeDir) -> None:
    """Kill what works in this directory, also what a command has just started there."""
    deadline = time.monotonic() + _GONE_WITHIN_S
    while found := _processes_of(root):
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=1)
        if time.monotonic() > deadline:
            raise BenchError(f"these processes do not end: {found}")


def _processes_of(root: RuntimeDir) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _is_in(root, process)]


def _is_in(root: RuntimeDir, process: psutil.Process) -> bool:
    try:
        return process.environ().get("XMESH_RUNTIME_DIR") == str(root.root)
    except psutil.Error:
        return False
