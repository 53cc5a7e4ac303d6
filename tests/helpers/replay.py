"""A recorded stream said again in a living mesh.

Its three peers are processes under a supervisor, everybody else a member of the bus, who says each
message as soon as the peers have said what comes before it. The peers have their words from a
``RecordedVendor`` and speak only because they woke: one that sleeps through what it ought to answer
shows as a stall, and may make up for it when it next wakes.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.bus import make_identity
from helpers.mesh import Mesh, agent_toml, running
from helpers.recorded import GROUP, RecordedVendor, Row, Stream, recorded
from helpers.speakers import Loop, Member

from xmesh_mesh.memory import Remembered
from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor.commands import wait

__all__ = ["Outcome", "replay"]

_POLL_S = 0.01
_REST_S = 60.0

# A recorded thread has ten turns of one peer and few commitments, so what ends threads is out of
# the way; a gate would hold words that a person wrote.
_SAFETY = {"max_per_thread": 1_000, "cycle_depth": 1, "approval_gates": "none"}
_BUDGET = {f"max_cost_usd_per_{span}": 1_000.0 for span in ("run", "hour", "day")}
_PRICE = {"input": 1.0, "output": 4.0}


@dataclass
class Outcome:
    """What came of a task.

    ``stalls``: what was said although the mesh had come to rest before the peers had said all that
    comes before it. ``unsaid``: what the peers never said. ``unsurfaced``: each peer with another
    that never woke it. ``foreign``: so many pairs of a peer and a message that is none of its
    business; ``woken`` are those that woke. ``failed``: whatever else a wake or question ended as.
    """

    task: str
    stalls: list[str]
    unsaid: list[str]
    unsurfaced: list[tuple[str, str]] = field(default_factory=list)
    foreign: int = 0
    woken: list[tuple[str, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    calls: int = 0
    questions: int = 0
    took_s: float = 0.0

    @property
    def completed(self) -> bool:
        return not self.unsaid and not self.unsurfaced

    def __str__(self) -> str:
        missing = f"not completed: unsaid {self.unsaid}, unsurfaced {self.unsurfaced}"
        return (
            f"{self.task}: {'completed' if self.completed else missing}, {len(self.stalls)} stalls,"
            f" {len(self.woken)} of {self.foreign} foreign pairs woke, {self.calls} calls,"
            f" {self.questions} questions, {self.took_s:.1f} s"
        )


def replay(path: Path, root: RuntimeDir, *, triage: str) -> Outcome:
    """Let the peers of the stream in ``path`` live through it in ``root``."""
    stream, began_s = Stream.load(path), time.monotonic()
    with recorded(stream) as vendor:
        files = [_agent(root, peer, vendor.url, triage) for peer in stream.peers.values()]
        with (
            running(root, *files, OPENAI_API_KEY="sk-test") as mesh,
            _joined(root, stream, vendor) as everybody,
        ):
            stalls = everybody.speak()
            mesh.rest()
            unsaid = [r.id for r in stream.said_by(*stream.peers) if r.id not in everybody.said()]
            found = Outcome(stream.task, stalls, unsaid, calls=mesh.calls())
            _count(found, stream, mesh)
    found.failed += vendor.unrecorded
    found.questions, found.took_s = vendor.questions, time.monotonic() - began_s
    return found


def _agent(root: RuntimeDir, peer: Mapping[str, Any], url: str, triage: str) -> Path:
    return agent_toml(
        root.root / f"{peer['name']}.toml",
        peer["name"],
        peer["role"],
        identity={"charter": peer["charter"]},
        weights=peer["weights"],
        model={"adapter": "openai", "model_name": "m", "base_url": url, "price": _PRICE},
        budget={**_BUDGET, "max_wakes_per_day": 10_000},
        safety=_SAFETY,
        group=GROUP,
        triage=triage,
    )


def _count(found: Outcome, stream: Stream, mesh: Mesh) -> None:
    for name in stream.peers:
        wakes = [entry for entry in mesh.memory(name) if entry.wake is not None]
        woke = [entry for entry in wakes if entry.outcome != "slept"]
        authors = {entry.created_by for entry in woke}
        others = [other for other in stream.peers if other != name]
        found.unsurfaced += [(name, other) for other in others if other not in authors]
        foreign = [row for row in stream.rows if row.label.get(name) == "foreign"]
        keys = {entry.key for entry in woke}
        found.foreign += len(foreign)
        found.woken += [(name, row.id) for row in foreign if row.key in keys]
        found.failed += _failures(name, wakes)


def _failures(name: str, wakes: Sequence[Remembered]) -> list[str]:
    usual = {"emitted", "declined", "slept"}
    return [f"{name}: {e.outcome}: {e.detail}" for e in wakes if e.outcome not in usual]


class _Everybody:
    """Everybody but the peers: the authors of the stream, and a witness who says nothing."""

    def __init__(self, root: RuntimeDir, stream: Stream, vendor: RecordedVendor) -> None:
        self._root = root
        self._stream = stream
        self._vendor = vendor
        self._loop = Loop()
        self._witness = self._member("witness")
        names = dict.fromkeys(row.author for row in stream.rows if row.author not in stream.peers)
        self._authors = {name: self._member(name) for name in names}

    def _member(self, name: str) -> Member:
        return Member(self._loop, self._root.bus_socket, make_identity(name), GROUP).join()

    def leave(self) -> None:
        for member in (*self._authors.values(), self._witness):
            member.leave()
        self._loop.close()

    def speak(self) -> list[str]:
        """Say all that is not the peers' to say, each when its time has come; return the stalls.

        A message that the peers owe is waited for once.
        """
        stalls: list[str] = []
        owed: set[str] = set()
        for row in self._stream.rows:
            if row.author in self._stream.peers:
                owed.add(row.id)
                continue
            if not self._hears(owed):
                stalls.append(row.id)
            owed.clear()
            self._say(row)
        return stalls if self._hears(owed) else [*stalls, "the end"]

    def said(self) -> dict[str, str]:
        """Return (id, key) of everything of the stream that has been said."""
        keys = {record.key for _, _, record in list(self._witness.heard)}
        return {row.id: row.key for row in self._stream.rows if row.key in keys}

    def _say(self, row: Row) -> None:
        said = self.said()
        parents = [said[parent] for parent in row.parents if parent in said]
        self._authors[row.author].say_all(row.texts, parents=parents)

    def _hears(self, owed: set[str]) -> bool:
        """Return once all of ``owed`` has been said, or False once the mesh rests without it."""
        before: wait.Look | None = None
        deadline_s = time.monotonic() + _REST_S
        while not self._has_heard(owed):
            assert time.monotonic() < deadline_s, f"no rest, and still unsaid: {owed}"
            now = wait.look(self._root)
            if before is not None and wait.is_quiet(before, now) and self._is_up_to(now):
                return self._has_heard(owed)
            before = now
            self._listen(owed, wait.GAP_S)
        return True

    def _listen(self, owed: set[str], for_s: float) -> None:
        until_s = time.monotonic() + for_s
        while not self._has_heard(owed) and time.monotonic() < until_s:
            time.sleep(_POLL_S)

    def _has_heard(self, owed: set[str]) -> bool:
        said = self.said()
        self._vendor.hear(said.values())
        return owed <= said.keys()

    def _is_up_to(self, now: wait.Look) -> bool:
        heard = self._witness.heard
        return now.head is not None and bool(heard) and heard[-1][1].seq >= now.head[1]


@contextmanager
def _joined(root: RuntimeDir, stream: Stream, vendor: RecordedVendor) -> Iterator[_Everybody]:
    everybody = _Everybody(root, stream, vendor)
    try:
        yield everybody
    finally:
        everybody.leave()
