"""What a peer says of itself: one JSON object a line, with one sentence for people in ``text``.

Lines go to stderr, which the supervisor keeps as the peer's log, and to ``[logging] file_path``
where one is set. A log that cannot be written never ends the peer.
"""

import contextlib
import logging
import logging.handlers
import sys
from pathlib import Path
from typing import Any

import structlog

from xmesh_peer.settings import Logging

_LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40}


class Log:
    """Remembers the last sentence, so that ``status`` can show it."""

    def __init__(self, peer: str, settings: Logging) -> None:
        self.last = ""
        output = _Output(settings)
        logger = structlog.wrap_logger(
            output,
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
                structlog.processors.JSONRenderer(),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        )
        self._logger = logger.bind(peer=peer)
        if output.problem:
            self.warning("no-log-file", output.problem)

    def info(self, event: str, text: str, **fields: Any) -> None:
        self.last = text
        self._logger.info(event, text=text, **fields)

    def debug(self, event: str, text: str, **fields: Any) -> None:
        self._logger.debug(event, text=text, **fields)

    def warning(self, event: str, text: str, **fields: Any) -> None:
        self.last = text
        self._logger.warning(event, text=text, **fields)

    def error(self, event: str, text: str, **fields: Any) -> None:
        self.last = text
        self._logger.error(event, text=text, **fields)


class _QuietFile(logging.handlers.RotatingFileHandler):
    """Loses lines on a full disk instead of filling stderr with tracebacks."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        pass


class _Output:
    """The end of the pipe: stderr, and a rotating file where one is configured."""

    def __init__(self, settings: Logging) -> None:
        self.problem = ""
        self._file: logging.Handler | None = None
        if settings.file_path:
            try:
                self._file = _open(settings)
            except (OSError, RuntimeError) as error:
                self.problem = f"[logging] file_path cannot be used, stderr only: {error}"

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        if self._file:
            self._file.handle(logging.makeLogRecord({"msg": line}))

    debug = info = warning = error = msg


def _open(settings: Logging) -> _QuietFile:
    path = Path(settings.file_path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    return _QuietFile(
        path, maxBytes=settings.max_file_size, backupCount=settings.keep, encoding="utf-8"
    )
