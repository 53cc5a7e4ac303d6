"""Everything that can be found out about the peers of a root, from whoever still answers."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xmesh_mesh import tombstones
from xmesh_mesh.errors import XmeshError
from xmesh_mesh.paths import GATEWAY, RuntimeDir
from xmesh_supervisor import client
from xmesh_supervisor.ledger import Row, recorded
from xmesh_supervisor.lifecycle import ALIVE
from xmesh_supervisor.output import ago
from xmesh_supervisor.world import World, read

__all__ = ["Census", "Entry", "take"]

_ANSWER_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One peer. ``status`` is its own answer, empty where it gave none."""

    name: str
    state: str
    pid: int | None
    uptime_s: float | None
    model: str
    run: str
    restarts: int
    reason: str
    last_exit: str
    status: Mapping[str, Any] = field(default_factory=dict)
    since: str = ""

    @property
    def shown_state(self) -> str:
        """Return the peer's own word (asleep, thinking…) while it runs, else the supervisor's."""
        own = self.status.get("state")
        return str(own) if self.state == "running" and own else self.state

    @property
    def note(self) -> str:
        """Return why it is as it is, and the command that changes it."""
        hint = _HINTS.get(self.state, "").format(name=self.name)
        if self.state == "running":
            hint = "" if self.status else "does not answer"
            return str(self.status.get("note") or hint or self._history())
        reason = self.reason or (self.last_exit if self.state == "backoff" else "")
        return "; ".join(part for part in (reason, hint, self.since) if part)

    def _history(self) -> str:
        return f"last exit: {self.last_exit}" if self.restarts and self.last_exit else ""


_HINTS = {
    "stopped": "xmesh-sup start {name}",
    "killed": "xmesh-sup start {name} lifts it",
    "parked": "xmesh-sup start {name}",
    "final": "xmesh-sup restart {name} begins a new run",
    "backoff": "is started again soon",
}


@dataclass(frozen=True, slots=True)
class Census:
    """``trouble`` is empty while a supervisor answers, else says what is known of it."""

    entries: list[Entry]
    supervisor: Mapping[str, Any] = field(default_factory=dict)
    infrastructure: list[Mapping[str, Any]] = field(default_factory=list)
    trouble: str = ""
    world: World | None = None
    """What the gateway says of other hosts; None where none runs, or none answers."""

    @property
    def gateway_trouble(self) -> str:
        """Return why the gateway that somebody asks for is of no use now; empty otherwise."""
        for child in self.infrastructure:
            if child["name"] == GATEWAY and (child["state"] != "running" or self.world is None):
                reason = f": {child['reason']}" if child["reason"] else ""
                silent = "running, and does not answer"
                return f"{silent if child['state'] == 'running' else child['state']}{reason}"
        return ""

    @property
    def supervised(self) -> bool:
        return not self.trouble

    def as_json(self) -> dict[str, Any]:
        return {
            "supervisor": dict(self.supervisor) or None,
            "trouble": self.trouble or None,
            "infrastructure": self.infrastructure,
            "gateway_trouble": self.gateway_trouble or None,
            "peers": [
                {
                    "name": entry.name,
                    "state": entry.state,
                    "pid": entry.pid,
                    "uptime_s": entry.uptime_s,
                    "model": entry.model,
                    "run": entry.run,
                    "restarts": entry.restarts,
                    "note": entry.note,
                    "last_exit": entry.last_exit,
                    "status": dict(entry.status) or None,
                    "links": self.world.links(entry.name) if self.world else None,
                }
                for entry in self.entries
            ],
        }


def take(root: RuntimeDir) -> Census:
    """Ask the supervisor and, all at once, the peers; fall back to the record on disk."""
    try:
        answer = client.ask(root, "status", timeout_s=_ANSWER_WITHIN_S)
    except XmeshError as error:
        return _from_record(root, str(error))
    names = [peer["name"] for peer in answer["peers"] if peer["state"] in {"running", "stopping"}]
    sockets = {name: root.peer_socket(name) for name in names}
    if any(child["name"] == GATEWAY for child in answer["infrastructure"]):
        sockets[GATEWAY] = root.gateway_socket
    said = client.ask_peers(sockets, "status")
    around = read(said.pop(GATEWAY, {}))
    entries = [_entry(peer, said.get(peer["name"], {})) for peer in answer["peers"]]
    return Census(entries, answer["supervisor"], answer["infrastructure"], world=around)


def _entry(peer: Mapping[str, Any], status: Mapping[str, Any]) -> Entry:
    keys = ("name", "state", "pid", "uptime_s", "model", "run", "restarts", "reason", "last_exit")
    return Entry(**{key: peer[key] for key in keys}, status=status)


def _from_record(root: RuntimeDir, trouble: str) -> Census:
    """Return the peers as last recorded; with a hung supervisor they may still answer."""
    rows = recorded(root.supervisor_db)
    said = client.ask_peers({row.name: root.peer_socket(row.name) for row in rows}, "status")
    now_ms = time.time_ns() // 1_000_000
    entries = [_recorded_entry(root, row, said.get(row.name, {}), now_ms) for row in rows]
    return Census(entries, trouble=trouble)


def _recorded_entry(
    root: RuntimeDir,
    row: Row,
    status: Mapping[str, Any],
    now_ms: int,
) -> Entry:
    """Return one peer; its own answer, then a tombstone, tell more than the record."""
    stone = tombstones.read(root.tombstone(row.name))
    state, reason = str(row.state), row.reason
    if status:
        state = "running"
    elif stone:
        state, reason = "killed", f"by {stone.who}: {stone.why}".rstrip(": ")
    elif row.state in ALIVE:
        state, reason = "gone", f"was {row.state}"
    return Entry(
        name=row.name,
        state=state,
        pid=status.get("pid"),
        uptime_s=status.get("uptime_s"),
        model=_model(row.spec),
        run=row.run,
        restarts=row.restarts,
        reason=reason,
        last_exit=row.last_exit,
        status=status,
        since=f"recorded {ago(row.since_ms, now_ms)}",
    )


def _model(spec: str) -> str:
    try:
        value = json.loads(spec)
        return "/".join(part for part in (value["adapter"], value["model"]) if part)
    except (ValueError, KeyError, TypeError):
        return ""
