"""What the supervisor reports: one sentence for people, with the facts beside it for programs."""

import datetime as dt
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["FleetEvent", "Journal", "Listeners"]

MAX_BYTES = 5 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FleetEvent:
    """``kind`` is a short stable word; ``peer`` is a child's name, or "supervisor"."""

    at_ms: int
    peer: str
    kind: str
    text: str
    level: str = "info"

    def line(self) -> dict[str, Any]:
        """Return it in the form that every log line of xmesh has."""
        moment = dt.datetime.fromtimestamp(self.at_ms / 1000, dt.UTC)
        return {
            "ts": moment.isoformat(timespec="milliseconds"),
            "level": self.level,
            "event": self.kind,
            "peer": self.peer,
            "text": self.text,
        }


class Journal:
    """``events.jsonl``: appended, never waited for; two files of at most 5 MiB."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: FleetEvent) -> None:
        data = json.dumps(event.line(), ensure_ascii=False).encode() + b"\n"
        try:
            if self.path.exists() and self.path.stat().st_size > MAX_BYTES:
                self.path.replace(self.path.with_suffix(".jsonl.1"))
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError:
            return  # a full disk must not end the supervisor
        try:
            os.write(handle, data)
        except OSError:
            pass
        finally:
            os.close(handle)


class Listeners:
    """Whoever wants to hear of events while they happen."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[FleetEvent], None]] = []

    def add(self, callback: Callable[[FleetEvent], None]) -> None:
        self._callbacks.append(callback)

    def remove(self, callback: Callable[[FleetEvent], None]) -> None:
        self._callbacks.remove(callback)

    def tell(self, event: FleetEvent) -> None:
        for callback in tuple(self._callbacks):
            callback(event)
