"""Lines on stderr: one JSON object each, or plain text. Clients cannot flood them.

A name in a line has come from a client; texts hold it as Python's ``repr``, without control
characters.
"""

import contextlib
import json
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from xmesh_mesh.relay.throttle import Bucket, now_ms

__all__ = ["LEVELS", "Log"]

LEVELS = {"error": 0, "warn": 1, "warning": 1, "info": 2, "debug": 3}
LINES_PER_S = 20
LINES_BURST = 1_000


class Log(logging.Handler):
    """Called by a process, and a handler for what libraries log."""

    def __init__(
        self,
        *,
        plain: bool,
        threshold: str,
        write: Callable[[bytes], object] | None = None,
        peer: str = "relay",
    ) -> None:
        super().__init__(logging.WARNING)
        self._peer = peer
        self._plain = plain
        self._threshold = LEVELS.get(threshold.lower(), LEVELS["info"])
        self._write = write or _to_stderr
        self._bucket = Bucket(LINES_PER_S, LINES_BURST, now_ms())
        self._left_out = 0
        self._quiet_until_ms = 0

    def __call__(self, level: str, event: str, text: str, **fields: Any) -> None:
        """Write a line, unless there were far too many: then count it."""
        if LEVELS[level] > self._threshold:
            return
        now = now_ms()
        if now < self._quiet_until_ms:
            self._left_out += 1
            return
        self._quiet_until_ms = now + self._bucket.spend(1, now)
        if self._left_out:
            fields["left_out"], self._left_out = self._left_out, 0
        # The log may lie on a full disk; that must not end the process.
        with contextlib.suppress(OSError):
            self._write(self._line(level, event, text, fields).encode() + b"\n")

    def emit(self, record: logging.LogRecord) -> None:
        """Write what a library says, with its error in one line."""
        error = record.exc_info[1] if record.exc_info else None
        text = record.getMessage() + (f": {error!r}" if error else "")
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self(level, "library", text, logger=record.name)

    def _line(self, level: str, event: str, text: str, fields: dict[str, Any]) -> str:
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        if self._plain:
            rest = "".join(f" {key}={value}" for key, value in fields.items())
            return f"{stamp} {level} {text}{rest}"
        head = {"ts": stamp, "level": level, "event": event, "peer": self._peer, "text": text}
        return json.dumps(head | fields)


def _to_stderr(line: bytes) -> None:
    os.write(2, line)
