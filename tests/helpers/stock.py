"""Stock ``sym`` nodes and a stock ``sym-relay`` as live processes, each in a home of its own.

XMESH_STOCK_SYM and XMESH_STOCK_RELAY name checkouts in which ``npm install`` has run; without them
``unavailable`` says so. On the LAN a stock node listens on every interface and multicasts, so it
is started in a network namespace (``netns``), or reaches a relay on loopback only.
"""

import json
import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from helpers.bus import wait_until
from helpers.lines import Line, LineProcess
from helpers.netns import Host

DRIVER = Path(__file__).with_name("stock_node.cjs")
SYM, RELAY = "XMESH_STOCK_SYM", "XMESH_STOCK_RELAY"
_NEEDS = {SYM: ("sym", "bonjour-service"), RELAY: ("sym-relay", "ws")}
_CLEAN = ("PATH", "LANG", "TMPDIR")


def unavailable(*variables: str) -> str | None:
    """Return why the stock programs that these variables name cannot be run, None if they can."""
    return next(filter(None, map(_missing, variables)), None)


def _missing(variable: str) -> str | None:
    name, package = _NEEDS[variable]
    checkout = os.environ.get(variable)
    if not checkout:
        return f"{variable} names no checkout of {name}"
    if shutil.which("node") is None:
        return f"node is not here to run {name}"
    if not (Path(checkout) / "node_modules" / package).is_dir():
        return f"'npm install' has not run in {checkout}"
    return None


def service_type(group: str) -> str:
    return "_sym._tcp" if group == "default" else f"_{group}._tcp"


class StockNode:
    """One stock node. Its state stays where it is, so it can ``stop`` and ``start`` again."""

    def __init__(
        self, root: Path, name: str, group: str, *, host: Host | None = None, **options: Any
    ) -> None:
        self.name = name
        self.group = group
        self.node_id = ""
        self.host = host
        self._home = root / f"stock-{name}"
        self._home.mkdir(parents=True, exist_ok=True)
        room = {"room": group, "discoveryServiceType": service_type(group)}
        self._options = {"name": name, **room, "relayOnly": host is None, **options}
        self._lines: LineProcess | None = None

    @property
    def io(self) -> LineProcess:
        assert self._lines is not None, f"{self.name} has not been started"
        return self._lines

    def start(self) -> Self:
        command = ["node", str(DRIVER), os.environ[SYM], json.dumps(self._options)]
        if self.host is not None:
            command = self.host.command(*command)
        self._lines = LineProcess(command, _environment(self._home), self._home / "stderr.log")
        ready = self.event("ready")[0]
        self.node_id, self.port = ready["nodeId"], ready["port"]
        return self

    def stop(self) -> None:
        """Stop it as its own user would; AssertionError if it had crashed."""
        code = self.io.end()
        assert code == 0, f"the stock node {self.name} ended with {code}: {self.io.errors()}"

    def kill(self) -> None:
        self.io.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lines is not None and self._lines.alive:
            self._lines.end()

    # What it is told to do

    def remember(
        self, focus: str, *, to: str | None = None, parents: Sequence[str] = (), **texts: str
    ) -> Line:
        """Say something to all, or to the node ``to``; return what it stored of it, or {}."""
        options: dict[str, Any] = {"to": to} if to else {}
        if parents:
            options["parents"] = [{"key": key} for key in parents]
        said = self.io.ask("remember", categories={"focus": focus, **texts}, options=options)
        return dict(said or {})

    def talk(self, texts: Sequence[str], per_s: float = 0) -> list[Line]:
        """Say one record about each text; return for each its ``key`` and when (wall, ms)."""
        said: list[Line] = self.io.ask("talk", timeout_s=120, texts=texts, perS=per_s)
        return said

    def judged(self) -> dict[str, float]:
        """Return when (wall, ms) it was done with each record that came, by the record's key."""
        lines = [line for line in list(self.io.lines) if line.get("event") == "svaf-decision"]
        return {line["values"][0]["cmbKey"]: line["at"] for line in lines}

    def fetch(self, key: str) -> Line | None:
        found: Line | None = self.io.ask("fetch", key=key)
        return found

    def stored(self) -> list[Line]:
        """Return everything in its store."""
        found: list[Line] = self.io.ask("stored")
        return found

    def decisions(self) -> list[Line]:
        found: list[Line] = self.io.ask("decisions")
        return found

    def attested(self, key: str) -> dict[str, str]:
        """Return the verdicts on a record that it has verified, by the node id that signed them."""
        return {each["by"]: each["verdict"] for each in self.io.ask("attestations", key=key)}

    def chain(self, by: str) -> Line:
        """Return what it says of the chain of all that a node has attested."""
        found: Line = self.io.ask("chain", by=by)
        return found

    def peers(self) -> dict[str, Line]:
        """Return the peers that it has now, by node id."""
        return {peer["peerId"]: peer for peer in self.io.ask("status")["peers"]}

    # What it has seen

    def event(self, name: str, timeout_s: float = 15, **wanted: Any) -> list[Any]:
        """Return the values of the first such event whose first value has all of ``wanted``."""
        line = self.io.await_line(lambda line: _is(line, name, wanted), name, timeout_s)
        values: list[Any] = line["values"]
        return values

    def events(self, name: str, **wanted: Any) -> list[list[Any]]:
        return [line["values"] for line in list(self.io.lines) if _is(line, name, wanted)]

    def accepted(self, key: str, timeout_s: float = 15) -> Line:
        """Return the entry of the record that was sent under ``key``, once it was accepted.

        A node with memories keeps of a record what it can judge, under an address of its own.
        """
        line = self.io.await_line(
            lambda line: line.get("event") == "cmb-accepted" and key in _keys(line),
            f"{self.name} accepts {key}; {self.complaints()}",
            timeout_s,
        )
        entry: Line = line["values"][0]
        return entry

    def complaints(self, *of: str) -> list[Line]:
        """Return what it has counted as refused, forged or undelivered of nodes with these names.

        Stock nodes on a relay refuse what others of another group say; ``of`` leaves that out.
        """
        metrics = (values[0] for values in self.events("metric"))
        words = ("rejected", "unverif", "forged", "undelivered")
        found = [metric for metric in metrics if any(word in metric["type"] for word in words)]
        return [metric for metric in found if not of or metric.get("from") in of]


def _is(line: Line, name: str, wanted: Mapping[str, Any]) -> bool:
    if line.get("event") != name:
        return False
    first = line["values"][0] if line["values"] else None
    return not wanted or (isinstance(first, dict) and wanted.items() <= first.items())


def _keys(line: Line) -> list[Any]:
    """Return the addresses that an entry goes by: as it came, and as it is kept."""
    entry = line["values"][0]
    cmb = entry.get("cmb") or {}
    return [
        entry.get("_incomingKey"),
        cmb.get("metadata", {}).get("key"),
        cmb.get("admission", {}).get("of"),
    ]


def _environment(home: Path) -> dict[str, str]:
    """Return a clean environment: it must find no other node's state and no relay's address."""
    clean = {name: os.environ[name] for name in _CLEAN if name in os.environ}
    return {**clean, "HOME": str(home), "SYM_STATE_DIR": str(home / "state")}


class StockRelay:
    """A stock relay on a port of this host's loopback, or of another host."""

    def __init__(self, root: Path, *, token: str = "", host: Host | None = None) -> None:
        self.port = free_port()
        self._host = host
        self._log = root / "stock-relay.log"
        self._env = {**_environment(root), "PORT": str(self.port), "SYM_RELAY_TOKEN": token}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        command = ["node", str(Path(os.environ[RELAY]) / "server.js")]
        if self._host is not None:
            command = self._host.command(*command)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self._env, stdout=log, stderr=log)
        wait_until(self._listens, "the stock relay listens")
        return self

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)

    def _listens(self) -> bool:
        assert self.alive, self._log.read_text()
        if self._host is not None:
            return "listening" in self._log.read_text().lower()
        return _health(self.port)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.alive:
            self.stop()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _health(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def stock_pair(root: Path, group: str, relay: str) -> Iterator[tuple[StockNode, StockNode]]:
    """Yield two stock nodes on a relay: how stock does by itself, to measure ours against."""
    with (
        StockNode(root, "stock-a", group, relay=relay) as one,
        StockNode(root, "stock-b", group, relay=relay) as two,
    ):
        one.event("peer-joined", id=two.node_id)
        two.event("peer-joined", id=one.node_id)
        yield one, two
