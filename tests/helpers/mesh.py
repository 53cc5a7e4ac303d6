"""A whole mesh as a person runs it: through ``xmesh-sup``, in a runtime directory of its own."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers.netns import Host
from helpers.vendors import Dialect, Reply, Vendor, say, tool_call

from xmesh_mesh.memory import Memory, Remembered
from xmesh_mesh.paths import RuntimeDir
from xmesh_peer.models.base import EMIT_CMB, Message, ModelRequest
from xmesh_peer.models.rehearsal import RehearsalModel

PROJECT = Path(__file__).resolve().parents[2]
# What would make a mesh speak with somebody outside of it.
KEYS = (
    *("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "MISTRAL_API_KEY", "OLLAMA_HOST"),
    *("SYM_RELAY_URL", "SYM_RELAY_TOKEN"),
)

ROLES = {"writer-01": "writer", "reviewer-01": "reviewer", "test-writer-01": "test-writer"}
TASK = ("rate-limit /api/login", "--intent", "draft a spec, review it, add tests")

_TOML = """
[identity]
name = "{name}"
role = "{role}"
{identity}

[role_weights]
{weights}

[mesh]
group = "{group}"
{mesh}

[model]
{model}

[admission]
triage = "{triage}"
[budget]
{budget}

[safety]
{safety}

[supervise]
{supervise}

[routing]
response_routing = "{routing}"
"""


def agent_toml(
    path: Path,
    name: str,
    role: str,
    *,
    model: Mapping[str, Any],
    budget: Mapping[str, Any] | None = None,
    safety: Mapping[str, Any] | None = None,
    supervise: Mapping[str, Any] | None = None,
    group: str = "e2e",
    mesh: Mapping[str, Any] | None = None,
    routing: str = "broadcast",
    triage: str = "off",
    identity: Mapping[str, Any] | None = None,
    weights: Mapping[str, float] | None = None,
) -> Path:
    """Write an agent.toml. The wake budget is ample unless ``budget`` says otherwise; the local
    network is out of reach, and a model is asked by wakes alone unless ``triage`` says otherwise.
    ``mesh`` and ``identity`` add to their sections."""
    ample = dict.fromkeys(("max_wakes_per_minute", "max_wakes_per_hour"), 10_000)
    text = _TOML.format(
        name=name,
        role=role,
        identity=_lines(identity or {}),
        weights=_lines(weights or {}),
        group=group,
        mesh=_lines({"lan": False, **(mesh or {})}),
        model=_lines(model),
        budget=_lines({**ample, **(budget or {})}),
        safety=_lines(safety or {}),
        supervise=_lines(supervise or {}),
        routing=routing,
        triage=triage,
    )
    path.write_text(text)
    return path


def _lines(values: Mapping[str, Any]) -> str:
    return "\n".join(f"{key} = {_toml(value)}" for key, value in values.items())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


class Mesh:
    """A runtime directory and the commands that work on it. ``end`` leaves no process behind.

    ``host`` is where they run, this machine itself where it is None.
    """

    def __init__(self, root: RuntimeDir, host: Host | None = None, **env: str) -> None:
        self.root = root
        self._host = host
        clean = {key: value for key, value in os.environ.items() if key not in KEYS}
        if host is not None:
            clean |= {"XMESH_LAN_ADDRESSES": ""}  # its network is its own
        self.env = {**clean, "XMESH_RUNTIME_DIR": str(root.root), "NO_PROXY": "*", **env}

    def sup(
        self, *arguments: str, check: bool = True, timeout: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "xmesh_supervisor.cli", *arguments]
        done = subprocess.run(
            self._host.command(*command) if self._host else command,
            env={**self.env, "PYTHONPATH": str(PROJECT)},
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, (
            f"{arguments}: {done.stdout}{done.stderr}{self.logs()}"
        )
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self.sup(*arguments, "--json").stdout)

    def up(self, *files: Path) -> None:
        self.sup("up", "-d", "--wait", *map(str, files))

    def observe(self, *arguments: str) -> str:
        """Say something; return its key."""
        return str(self.json("observe", *arguments)["key"])

    def rest(self, timeout_s: float = 50) -> None:
        self.sup("wait", "--timeout", str(timeout_s), timeout=timeout_s + 10)

    def peer(self, name: str) -> dict[str, Any]:
        return next(row for row in self.json("ps")["peers"] if row["name"] == name)

    def status(self, name: str) -> dict[str, Any]:
        """Return what the peer says of itself."""
        found: dict[str, Any] = self.peer(name)["status"]
        return found

    def calls(self) -> int:
        return sum(row["status"]["calls"] for row in self.json("ps")["peers"])

    def memory(self, name: str) -> list[Remembered]:
        """Return everything that a peer remembers, oldest first."""
        memory = Memory.open_readonly(self.root.memory(name))
        try:
            return memory.latest(10_000)[::-1]
        finally:
            memory.close()

    def end(self) -> None:
        self.sup("down", check=False)

    def logs(self) -> str:
        texts = (path.read_text() for path in sorted((self.root.root / "logs").glob("*.log")))
        return "\n".join(text[-1500:] for text in texts)


@contextmanager
def running(root: RuntimeDir, *files: Path, host: Host | None = None, **env: str) -> Iterator[Mesh]:
    mesh = Mesh(root, host, **env)
    try:
        mesh.up(*files)
        yield mesh
    finally:
        mesh.end()


class ThinkingVendor(Vendor):
    """A vendor whose model is the rehearsal: it answers from what the HTTP request carries.

    So whatever an SDK loses or garbles on the way, the conversation loses too.
    """

    def take(self, seen_path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Reply:
        with self.arrived:
            self.replies = [_reply(self.dialect, body)]
            return super().take(seen_path, headers, body)


def _reply(dialect: Dialect, body: dict[str, Any]) -> Reply:
    messages = body["messages"]
    system = body["system"] if dialect == "anthropic" else messages[0]["content"]
    request = ModelRequest(
        system=system if isinstance(system, str) else system[0]["text"],
        messages=(Message("user", messages[-1]["content"]),),
        tool=EMIT_CMB, max_tokens=500, temperature=None, timeout_s=5,
    )  # fmt: skip
    answer = asyncio.run(RehearsalModel("writer").call(request))
    return say(answer.text) if answer.arguments is None else tool_call(answer.arguments)


@contextmanager
def thinking(dialect: Dialect) -> Iterator[ThinkingVendor]:
    vendor = ThinkingVendor(dialect)
    try:
        yield vendor
    finally:
        vendor.close()


def triad(root: RuntimeDir, model: Mapping[str, Any], **more: Any) -> list[Path]:
    """Write the three files of a triad that shares one ``model`` table."""
    return [
        agent_toml(root.root / f"{name}.toml", name, role, model=model, **more)
        for name, role in ROLES.items()
    ]


def chain_depth(entries: Sequence[Remembered]) -> int:
    """Return how many records the longest chain of answers among ``entries`` has."""
    parents = {entry.key: entry.record.all_parents() if entry.record else () for entry in entries}
    depth: dict[str, int] = {}
    for key, cited in parents.items():  # oldest first, so parents come before children
        depth[key] = 1 + max((depth.get(parent, 0) for parent in cited), default=0)
    return max(depth.values(), default=0)


def in_threads(work: Sequence[threading.Thread]) -> None:
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
