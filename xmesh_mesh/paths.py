"""Where things live on disk, and which names may become part of a path."""

import fcntl
import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from xmesh_mesh.errors import ConfigError

OPERATOR = "operator"
GATEWAY = "gateway"
RESERVED_NAMES = frozenset({"bus", "encoder", "supervisor", GATEWAY, "guard", OPERATOR})

# The kernel's sun_path holds 108 bytes on Linux and 104 on macOS; ZeroMQ adds nothing to it.
MAX_SOCKET_PATH = 100
_LONGEST_SOCKET_NAME = len("/supervisor.sock")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_GROUP = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")


def check_name(name: str, *, where: str = "") -> str:
    """Return ``name`` if it may name a peer (and so a file), else raise ConfigError."""
    if not _NAME.match(name):
        raise ConfigError(
            f"{name!r} cannot name a peer",
            where=where,
            fix="use 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit",
        )
    if name.lower() in RESERVED_NAMES:
        raise ConfigError(
            f"{name!r} is a name that xmesh uses itself",
            where=where,
            fix=f"choose another, for example {name}-01",
        )
    return name


def check_group(group: str, *, where: str = "") -> str:
    """Return ``group`` if deployed MMP nodes would take it as a room, else raise ConfigError."""
    if len(group) > 63 or not _GROUP.match(group):
        raise ConfigError(
            f"{group!r} cannot name a group",
            where=where,
            fix="use lower-case letters, digits and single hyphens, such as 'coding-triad'",
        )
    return group


@dataclass(frozen=True)
class RuntimeDir:
    """One root (mode 0700) that holds everything xmesh writes on this host."""

    root: Path

    @classmethod
    def from_env(cls) -> Self:
        """Return ``$XMESH_RUNTIME_DIR``, else ``~/.xmesh``; nothing is created."""
        configured = os.environ.get("XMESH_RUNTIME_DIR") or "~/.xmesh"
        try:
            return cls(Path(configured).expanduser().absolute())
        except (RuntimeError, OSError) as error:
            raise ConfigError(
                f"the runtime directory cannot be told: {error}",
                where=f"XMESH_RUNTIME_DIR={configured}",
                fix="set XMESH_RUNTIME_DIR to an absolute path",
            ) from error

    def ensure(self) -> Self:
        """Create the root, make it private, and check that sockets fit below it."""
        where = f"XMESH_RUNTIME_DIR={self.root}"
        if len(os.fsencode(self.root)) + _LONGEST_SOCKET_NAME > MAX_SOCKET_PATH:
            raise ConfigError(
                "the runtime directory's path is too long for a Unix socket below it",
                where=where,
                fix=f"choose one under {MAX_SOCKET_PATH - _LONGEST_SOCKET_NAME} bytes",
            )
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
        except OSError as error:
            raise ConfigError(
                f"the runtime directory cannot be made: {error.strerror}",
                where=where,
                fix="set XMESH_RUNTIME_DIR to a directory that you may write",
            ) from error
        return self

    @property
    def bus_socket(self) -> Path:
        return self.root / "bus.sock"

    @property
    def bus_db(self) -> Path:
        return self.root / "bus.db"

    @property
    def bus_lock(self) -> Path:
        return self.root / "bus.lock"

    @property
    def spend_db(self) -> Path:
        return self.root / "spend.db"

    @property
    def events(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def supervisor_socket(self) -> Path:
        return self.root / "supervisor.sock"

    @property
    def supervisor_db(self) -> Path:
        return self.root / "supervisor.db"

    @property
    def supervisor_lock(self) -> Path:
        return self.root / "supervisor.lock"

    @property
    def gateway_socket(self) -> Path:
        return self.root / "gateway.sock"

    @property
    def gateway_db(self) -> Path:
        return self.root / "gateway.db"

    @property
    def gateway_lock(self) -> Path:
        return self.root / "gateway.lock"

    @property
    def encoder_socket(self) -> Path:
        return self.root / "encoder.sock"

    @property
    def encoder_lock(self) -> Path:
        return self.root / "encoder.lock"

    def node(self, name: str) -> Path:
        """Return the node's own directory; ``name`` has been through ``check_name``."""
        return self.root / "nodes" / name

    def memory(self, name: str) -> Path:
        return self.node(name) / "memory.db"

    def calibration(self, name: str) -> Path:
        """Return where a peer's own calibration lies, if somebody has taught it."""
        return self.node(name) / "calibration.json"

    def lessons(self, name: str) -> Path:
        """Return where it stands what a person says that a peer should have done."""
        return self.node(name) / "lessons.jsonl"

    def node_lock(self, name: str) -> Path:
        return self.node(name) / "lock"

    def identity(self, name: str) -> Path:
        return self.root / "keys" / f"{name}.json"

    def pins(self, group: str) -> Path:
        return self.root / "trusted-keys" / group

    def log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    def tombstone(self, name: str) -> Path:
        return self.root / "tombstones" / f"{name}.json"

    def peer_socket(self, name: str) -> Path:
        """Return the peer's control socket; raise ConfigError where the path would not fit."""
        path = self.root / f"{name}.sock"
        if len(os.fsencode(path)) > MAX_SOCKET_PATH:
            raise ConfigError(
                f"the path of {name}'s control socket is longer than {MAX_SOCKET_PATH} bytes",
                where=str(path),
                fix="shorten the peer's name or set XMESH_RUNTIME_DIR to a shorter path",
            )
        return path


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace ``path`` by ``data``, synced: after a crash either the old or the new is there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make a creation, rename or removal in ``path`` durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class FileLock:
    """An exclusive lock on a file, held by this process until ``release`` or its death.

    The file also carries one line of JSON that says who holds it, for people.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def acquire(self, **holder: Any) -> bool:
        """Try once; return whether the lock is ours now. ``holder`` is written into the file.

        OSError where the file cannot be opened or the file system knows no locks.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if isinstance(error, BlockingIOError):
                return False
            raise
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps({"pid": os.getpid(), **holder}).encode() + b"\n")
        self._handle = handle
        return True

    def holder(self) -> dict[str, Any]:
        """Return what the last holder wrote; empty where nothing readable is there."""
        try:
            value = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
