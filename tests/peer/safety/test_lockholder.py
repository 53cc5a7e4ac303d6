"""Who holds the lock: reading /proc/locks."""

from pathlib import Path

from xmesh_peer.safety.lockholder import MAIN_BYTES, SHM_BYTES, UNKNOWN, find_holder, writers

FILES = {77: SHM_BYTES}


def row(**given: object) -> str:
    values = {"kind": "WRITE", "pid": 42, "inode": 77, "first": 120, "last": 120} | given
    return "1: POSIX  ADVISORY  {kind} {pid} 08:01:{inode} {first} {last}".format(**values)


def test_finds_who_writes_the_byte() -> None:
    assert writers(row(), FILES) == [42]
    assert writers(f"{row(inode=78)}\n{row(pid=43)}\n", FILES) == [43]
    assert writers(row(first=0, last="EOF"), FILES) == [42]
    assert writers(row(pid=1), FILES) == [1]
    assert writers(row(first=0, last=1073742335), FILES) == [42]


def test_looks_at_the_bytes_that_sqlite_locks() -> None:
    pending, shared_size = 0x40000000, 510
    assert (*SHM_BYTES, *MAIN_BYTES) == (120, 122, pending, pending + 2 + shared_size - 1)


def test_takes_the_range_exactly() -> None:
    assert writers(row(first=122, last=130), FILES) == [42]
    assert writers(row(first=100, last=120), FILES) == [42]
    assert writers(row(first=123, last=130), FILES) == []
    assert writers(row(first=100, last=119), FILES) == []


def test_leaves_out_readers_waiters_and_strangers() -> None:
    assert writers(row(kind="READ"), FILES) == []
    assert writers(row().replace("1: ", "1: -> "), FILES) == []
    assert writers(row(pid=0), FILES) == []
    assert writers(row(pid=-1), FILES) == []
    assert writers(row(inode=7), FILES) == []


def test_garbage_names_nobody() -> None:
    assert writers("a b c d e f g h\n\n1 2 3\n", FILES) == []
    assert writers(row(inode="x"), FILES) == []
    assert writers(row(first="x"), FILES) == []


def test_a_file_that_is_not_there_has_no_holder(tmp_path: Path) -> None:
    assert find_holder(tmp_path / "none.db") == UNKNOWN
