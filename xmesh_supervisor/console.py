"""Log lines for people: read from the children's files, merged by time, made safe to show."""

import json
import os
import queue
import sys
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from xmesh_mesh.paths import RuntimeDir
from xmesh_supervisor.events import FleetEvent

__all__ = ["LogLine", "Narrator", "Tail", "parse", "render", "safe"]

_MOST_READ = 1_048_576
_OWN = "supervisor"


@dataclass(frozen=True, slots=True, order=True)
class LogLine:
    """``ts`` is ISO 8601 in UTC, so lines sort by it; ``fields`` is the whole line as it was."""

    ts: str
    peer: str
    text: str
    level: str = "info"
    fields: "dict[str, object]" = field(default_factory=dict, compare=False)


def parse(line: bytes, peer: str, last_ts: str) -> LogLine:
    """Return one line of ``peer``'s log; what is no JSON (a traceback) keeps ``last_ts``."""
    try:
        value = json.loads(line)
        text = str(value["text"])
        ts = str(value.get("ts") or last_ts)
        level = str(value.get("level", "info"))
        return LogLine(ts, str(value.get("peer", peer)), text, level, value)
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
        text = line.decode(errors="replace")
        return LogLine(last_ts, peer, text, "info", {"ts": last_ts, "peer": peer, "text": text})


def safe(text: str) -> str:
    """Return ``text`` on one line without anything that could steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def render(line: LogLine) -> str:
    """Return a line as it is shown: time, peer, sentence, and the level where it alarms."""
    alarm = f"{line.level.upper()} " if line.level in {"warning", "warn", "error"} else ""
    return f"{line.ts[11:19]:<8}  {safe(line.peer):<16} {alarm}{safe(line.text)}"


class Tail:
    """The logs of a root: what is there, then what comes. ``names`` empty means everybody."""

    def __init__(
        self, root: RuntimeDir, names: Collection[str] = (), *, events: bool = True
    ) -> None:
        self._root = root
        self._names = frozenset(names)
        self._events = [root.events] if events else []
        self._positions: dict[Path, int] = {}
        self._last_ts: dict[Path, str] = {}

    def skip(self) -> None:
        """Begin at the ends of all files."""
        self._positions = {path: _size(path) for path in self._files()}

    def recent(self, count: int) -> list[LogLine]:
        """Return the newest ``count`` lines of all files together, and go on after them."""
        lines: list[LogLine] = []
        for path in self._files():
            rotated = path.with_name(f"{path.name}.1")
            for source in (rotated, path):
                size = _size(source)
                self._positions.setdefault(source, max(0, size - _MOST_READ))
                lines.extend(self._read(source))
        lines.sort(key=lambda line: line.ts)
        return lines[-count:] if count else []

    def more(self) -> list[LogLine]:
        """Return what was written since, by time."""
        lines = [line for path in self._files() for line in self._read(path)]
        return sorted(lines, key=lambda line: line.ts)

    def _files(self) -> Iterable[Path]:
        logs = sorted((self._root.root / "logs").glob("*.log"))
        wanted = [path for path in logs if not self._names or path.stem in self._names]
        return [*wanted, *self._events]

    def _read(self, path: Path) -> list[LogLine]:
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                position = self._positions.get(path, 0)
                # A log that was rotated is shorter than what we have read of it.
                file.seek(position if position <= size else 0)
                data = file.read(_MOST_READ)
                whole = data.rpartition(b"\n")[0]
                used = len(whole) + 1 if whole or data.startswith(b"\n") else 0
                self._positions[path] = (position if position <= size else 0) + used
        except OSError:
            return []
        lines = [self._parsed(line, path) for line in whole.split(b"\n") if line.strip()]
        return [line for line in lines if not self._names or line.peer in self._names]

    def _parsed(self, line: bytes, path: Path) -> LogLine:
        peer = _OWN if path == self._root.events else path.name.partition(".log")[0]
        parsed = parse(line, peer, self._last_ts.get(path, ""))
        self._last_ts[path] = parsed.ts
        return parsed


class Narrator:
    """Prints events and logs from a thread of its own: a terminal that stands still (Ctrl-S, a
    full pipe) must never stop the supervisor."""

    def __init__(self, root: RuntimeDir) -> None:
        self._tail = Tail(root, events=False)
        self._tail.skip()
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="narrator", daemon=True)
        self._thread.start()

    def hear(self, event: FleetEvent) -> None:
        self._queue.put(_event_text(event))

    def say(self, text: str) -> None:
        self._queue.put(text)

    def close(self) -> None:
        """Print what is left, for at most half a second."""
        self._queue.put(None)
        self._thread.join(0.5)

    def _run(self) -> None:
        try:
            while True:
                try:
                    text = self._queue.get(timeout=0.1)
                    if text is None:
                        return
                    _print(text)
                except queue.Empty:
                    for line in self._tail.more():
                        _print(render(line))
        except (OSError, ValueError):
            return  # nobody reads any more; the supervisor goes on


def _event_text(event: FleetEvent) -> str:
    return f"{event.peer}  {safe(event.text)}"


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
