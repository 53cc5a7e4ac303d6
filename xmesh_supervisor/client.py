"""The command line's side of the supervisor's and the peers' sockets. Blocking, and light."""

import contextlib
import json
import selectors
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from xmesh_mesh.errors import SupervisorError
from xmesh_mesh.paths import FileLock, RuntimeDir

__all__ = ["SupervisorAway", "ask", "ask_peers", "away", "call", "is_running"]

PEERS_WITHIN_S = 0.3
_MAX_ANSWER = 4 * 1024 * 1024
_READ_AT_ONCE = 65_536


class SupervisorAway(SupervisorError):  # noqa: N818 - a state of the world, named as one
    """Nobody supervises this root, or nobody who answers. The command line exits with 3."""

    status: ClassVar[int] = 3


def call(
    root: RuntimeDir,
    command: str,
    *,
    timeout_s: float | None = 90.0,
    **arguments: object,
) -> Iterator[dict[str, Any]]:
    """Send one command; yield its progress lines and its last one.

    Raises SupervisorAway, and SupervisorError with the supervisor's own words where it refuses.
    ``timeout_s`` bounds the wait for each line.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(root.supervisor_socket))
            connection.sendall(json.dumps({"cmd": command, **arguments}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                yield from _answers(lines)
    except TimeoutError as error:
        raise _hung(root, timeout_s) from error
    except OSError as error:
        raise away(root) from error


def ask(root: RuntimeDir, command: str, **arguments: Any) -> dict[str, Any]:
    """Send one command and return its last line."""
    answer: dict[str, Any] = {}
    for line in call(root, command, **arguments):
        answer = line
    return answer


def listens(root: RuntimeDir) -> bool:
    """Return whether commands can be sent; a supervisor that has just begun is not so far yet."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(root.supervisor_socket))
    except OSError:
        return False
    return True


def is_running(root: RuntimeDir) -> bool:
    """Return whether some process supervises this root, answering or not."""
    if not root.supervisor_lock.exists():
        return False
    lock = FileLock(root.supervisor_lock)
    free = lock.acquire(role="probe")
    lock.release()
    return not free


def away(root: RuntimeDir) -> SupervisorAway:
    if is_running(root):
        return _hung(root, None)
    return SupervisorAway(
        "no supervisor runs",
        where=str(root.root),
        fix="xmesh-sup up FILES… starts one; xmesh-sup up resumes what was running",
    )


def ask_peers(
    sockets: Mapping[str, Path],
    command: str,
    within_s: float = PEERS_WITHIN_S,
) -> dict[str, dict[str, Any]]:
    """Ask all peers at once; return the answers of those who gave one in time."""
    deadline = time.monotonic() + within_s
    answers: dict[str, bytes] = {}
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for name, path in sockets.items():
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(within_s)
            with contextlib.suppress(OSError):
                connection.connect(str(path))
                connection.sendall(json.dumps({"cmd": command}).encode() + b"\n")
                connection.setblocking(False)
                selector.register(connection, selectors.EVENT_READ, name)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if _read_some(key.fileobj, key.data, answers):
                    selector.unregister(key.fileobj)
    return {name: value for name, data in answers.items() if (value := _object(data))}


def _read_some(connection: Any, name: str, answers: dict[str, bytes]) -> bool:
    """Return whether this peer has said all that it will be listened to for."""
    try:
        data = connection.recv(_READ_AT_ONCE)
    except BlockingIOError:
        return False
    except OSError:
        return True
    answers[name] = answers.get(name, b"") + data
    return not data or data.endswith(b"\n") or len(answers[name]) > _MAX_ANSWER


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _answers(lines: Any) -> Iterator[dict[str, Any]]:
    for line in lines:
        answer = _object(line)
        if answer.get("ok") is False:
            raise SupervisorError(
                str(answer.get("error", "the supervisor refused")),
                where=str(answer.get("where", "")),
                fix=str(answer.get("fix", "")),
            )
        yield answer
        if "ok" in answer:
            return
    raise SupervisorAway("the supervisor ended while it was asked", fix="xmesh-sup ps")


def _hung(root: RuntimeDir, timeout_s: float | None) -> SupervisorAway:
    pid = FileLock(root.supervisor_lock).holder().get("pid", "unknown")
    waited = f" within {timeout_s:g} s" if timeout_s is not None else ""
    return SupervisorAway(
        f"the supervisor (pid {pid}) does not answer{waited}",
        where=str(root.root),
        fix=f"kill -9 {pid} ends it and all that it runs; xmesh-sup up resumes",
    )
