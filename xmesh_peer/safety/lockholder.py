"""Who holds a SQLite database's write lock? For the sentence that a person reads.

SQLite locks fixed bytes of its files (sqlite.org/walformat.html, "locks"; os_unix.c), and Linux
lists all locks in /proc/locks. Elsewhere, and whenever anything is in the way, the answer is
"unknown".
"""

import os
from pathlib import Path

__all__ = ["MAIN_BYTES", "SHM_BYTES", "UNKNOWN", "find_holder", "writers"]

UNKNOWN = "unknown"
_MAX_COMMAND = 120

# Write, checkpoint and recovery lock in the -shm file; pending, reserved and shared in the main.
SHM_BYTES = (120, 122)
MAIN_BYTES = (0x40000000, 0x400001FF)


def find_holder(database: Path) -> str:
    """Return "pid 123 (its command line)" of whoever may write the database now, or "unknown"."""
    try:
        listed = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return UNKNOWN
    shm, main = _inode(Path(f"{database}-shm")), _inode(database)
    pids = writers(listed, {shm: SHM_BYTES, main: MAIN_BYTES})
    return _describe(pids[0]) if pids else UNKNOWN


def writers(listed: str, files: dict[int, tuple[int, int]]) -> list[int]:
    """Return the pids with a write lock on the first to last byte of a file, by inode.

    ``listed`` is the text of /proc/locks (proc(5)): number, class, mode, kind, pid,
    major:minor:inode, first byte, last byte or EOF. A lock that is waited for has "->" after the
    number; a holder in another pid namespace has a pid of 0 or less.
    """
    rows = (line.split() for line in listed.splitlines())
    return [int(row[4]) for row in rows if len(row) == 8 and _matches(row, files)]


def _matches(row: list[str], files: dict[int, tuple[int, int]]) -> bool:
    _, _, _, kind, pid, place, first, last = row
    try:
        wanted = files.get(int(place.rpartition(":")[2]))
        if kind != "WRITE" or wanted is None or int(pid) <= 0:
            return False
        return int(first) <= wanted[1] and (last == "EOF" or int(last) >= wanted[0])
    except ValueError:
        return False


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return -1


def _describe(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return f"pid {pid}"
    command = os.fsdecode(raw).replace("\0", " ").strip()
    shown = "".join(char if char.isprintable() else "?" for char in command)[:_MAX_COMMAND]
    return f"pid {pid} ({shown})" if shown else f"pid {pid}"
