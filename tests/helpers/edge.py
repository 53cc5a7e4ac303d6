"""A host's edge without models: a bus, a gateway, and members that tests speak through.

A member is a whole local peer to the gateway: it joins the bus, signs what it says, and gives the
proofs that handshakes ask for. What it is delivered is kept in order, each record once.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar

from helpers.bus import BusProcess, make_identity, wait_until
from helpers.netns import Host
from helpers.speakers import Loop, Member

from xmesh_mesh.paths import RuntimeDir

T = TypeVar("T")
Json = dict[str, Any]
_ANSWER_S = 5.0
LATE_CLOCK = Path(__file__).with_name("late_clock.py")


class Edge:
    """A bus and a gateway on one host; ``plan`` says which members are on the wire, and how.

    ``clock_off_s``: by how many seconds the wall clock of the gateway and its members is off.
    ``env`` is for the gateway; there, relays without TLS are allowed unless it says otherwise.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        host: Host | None = None,
        *,
        clock_off_s: int = 0,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.clock_off_s = clock_off_s
        self._env = env
        self.runtime = RuntimeDir(root / name).ensure()
        self.host = host
        self.members: dict[str, Member] = {}
        self.gateway: subprocess.Popen[bytes] | None = None
        self._stack = ExitStack()
        self._loop = Loop()
        self._stack.callback(self._loop.close)
        self._plan: list[Json] = []

    def __enter__(self) -> Self:
        self._bus = self._stack.enter_context(BusProcess(self.runtime))
        self.start_gateway()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for member in self.members.values():
            member.leave()
        if self.gateway is not None and self.gateway.poll() is None:
            self.end_gateway()
        self._stack.close()

    # Members and the plan

    def member(self, name: str, group: str = "lab", **plan: Any) -> Member:
        """Join somebody and put it on the wire as ``plan`` says (``lan``, ``relay``, …)."""
        identity = make_identity(name)
        member = Member(self._loop, self._bus.socket, identity, group, self.clock_off_s)
        self.members[name] = member.join()
        self._plan.append({"name": name, "group": group, "lan": True, "relay": "", **plan})
        self.send_plan()
        return member

    def plan_of(self, name: str) -> Json:
        return next(row for row in self._plan if row["name"] == name)

    def replan(self, name: str, **plan: Any) -> None:
        self.plan_of(name).update(plan)
        self.send_plan()

    def send_plan(self) -> None:
        rows = [{"relay_token": "", "trust": "tofu", **row} for row in self._plan]
        answer = self.ask({"cmd": "plan", "peers": rows})
        assert answer.get("ok"), answer

    # The gateway

    def start_gateway(self) -> None:
        reader, writer = os.pipe()
        home = {"HOME": str(self.runtime.root), "XMESH_RUNTIME_DIR": str(self.runtime.root)}
        lan = {"XMESH_LAN_ADDRESSES": "" if self.host else "127.0.0.1", "XMESH_PLAIN_RELAYS": "1"}
        command = [sys.executable, *self._late(), "xmesh_mesh.gateway.main"]
        with self._log.open("ab") as log:
            self.gateway = subprocess.Popen(
                self.host.command(*command) if self.host else command,
                env={**os.environ, **home, **lan, **self._env, "XMESH_READY_FD": str(writer)},
                pass_fds=(writer,), stderr=log, stdout=log,
            )  # fmt: skip
        os.close(writer)
        said = os.read(reader, 16)
        os.close(reader)
        assert said == b"ready\n", self.log()
        if self._plan:
            self.send_plan()

    def _late(self) -> list[str]:
        return [str(LATE_CLOCK), str(self.clock_off_s)] if self.clock_off_s else ["-m"]

    def restart_bus(self) -> None:
        """Kill the bus, and start it again over the same journal."""
        self._bus.kill()
        self._bus.start()

    def end_gateway(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.gateway is not None
        self.gateway.send_signal(number)
        return self.gateway.wait(20)

    def kill_gateway(self) -> None:
        self.end_gateway(signal.SIGKILL)

    def ask(self, request: Json) -> Json:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_ANSWER_S)
            client.connect(str(self.runtime.gateway_socket))
            client.sendall(json.dumps(request).encode() + b"\n")
            answer: Json = json.loads(client.makefile("rb").readline())
        return answer

    def status(self) -> Json:
        return self.ask({"cmd": "status"})

    def endpoint(self, name: str) -> Json:
        return next(each for each in self.status()["endpoints"] if each["name"] == name)

    def peers(self, local: str = "") -> list[Json]:
        """Return the remotes, of one local peer where ``local`` names it."""
        return [peer for peer in self.status()["peers"] if local in {"", peer["local"]}]

    def transports(self, local: str, remote: str) -> list[Json]:
        """Return the transports that a local peer has to the node ``remote`` now."""
        found = (peer for peer in self.peers(local) if peer["node_id"] == remote)
        return [each for peer in found for each in peer["transports"]]

    def until_linked(self, local: str, remote: str, kind: str = "", timeout_s: float = 20) -> None:
        wait_until(
            lambda: any(kind in {"", t["kind"]} for t in self.transports(local, remote)),
            f"{local} has a {kind} link to {remote[:13]}; {self.peers(local)}", timeout_s,
        )  # fmt: skip

    def log(self) -> str:
        return self._log.read_text()

    @property
    def _log(self) -> Path:
        return self.runtime.root / "gateway.log"


def eventually(holds: Callable[[], T], what: str, timeout_s: float = 20) -> T:
    """Return what ``holds`` returns once that is true."""
    found: list[T] = []

    def look() -> bool:
        found[:] = [holds()]
        return bool(found[0])

    wait_until(look, what, timeout_s)
    return found[0]


def linked(one: Edge, two: Edge, kind: str = "", timeout_s: float = 20) -> None:
    """Return once every member of one edge has a link to every member of the other."""
    for here, there in ((one, two), (two, one)):
        for local in here.members.values():
            for remote in there.members.values():
                if local.group == remote.group:
                    here.until_linked(local.name, remote.node_id, kind, timeout_s)
