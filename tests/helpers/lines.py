"""A process that is talked to in JSON lines: what it says is kept, requests are answered by id."""

import itertools
import json
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class LineProcess:
    """``lines`` is everything that it has said so far, oldest first; ``log`` gets its stderr."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.lines: list[Line] = []
        self.log = log
        self._ids = itertools.count(1)
        self._said = threading.Condition()
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command, env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, do: str, timeout_s: float = 15, **more: Any) -> Any:
        """Send a request; return what it answers, AssertionError with its words if it failed."""
        number = next(self._ids)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"id": number, "do": do, **more}).encode() + b"\n")
        self.process.stdin.flush()
        answer = self.await_line(lambda line: line.get("id") == number, do, timeout_s)
        assert "failed" not in answer, answer["failed"]
        return answer["ok"]

    def await_line(self, holds: Callable[[Line], Any], what: str, timeout_s: float = 15) -> Line:
        """Return the first line that ``holds``, said already or still to come."""
        with self._said:
            found = self._said.wait_for(lambda: self._find(holds), timeout_s)
        assert found, f"not within {timeout_s} s: {what}; last: {self.lines[-5:]}; {self.errors()}"
        return found

    def _find(self, holds: Callable[[Line], Any]) -> Line | None:
        return next((line for line in self.lines if holds(line)), None)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def errors(self) -> str:
        return self.log.read_text()[-2000:]

    def end(self) -> int:
        """Close its stdin and wait; return its exit code."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        return self._gone(15)

    def kill(self) -> None:
        self.process.kill()
        self._gone(5)

    def _gone(self, within_s: float) -> int:
        try:
            code = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait(5)
        self._reader.join(5)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            with self._said:
                self.lines.append(json.loads(raw))
                self._said.notify_all()
        with self._said:
            self._said.notify_all()
