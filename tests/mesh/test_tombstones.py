"""Tombstones: written whole, read back, and forbidding even where they cannot be read."""

import getpass
import os
import socket
import stat
import time
from pathlib import Path

import pytest

from xmesh_mesh.tombstones import UNREADABLE, Tombstone, bury, read, who_am_i


def test_a_tombstone_says_who_why_and_when(tmp_path: Path) -> None:
    path = tmp_path / "tombstones" / "w.json"
    before = time.time_ns() // 1_000_000
    stone = bury(path, "it spoke too much \u2014 really")
    assert read(path) == stone
    assert stone.why == "it spoke too much \u2014 really"
    assert before <= stone.at_ms <= time.time_ns() // 1_000_000
    assert len(stone.id) == 16
    assert bury(path, "again").id != stone.id
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_tombstone_forbids_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "w.json") is None


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b"[]", b"1", b"{}", b"\xff", b"[" * 100_000,
     b'{"id":"a","who":"b","why":"c","at_ms":"x"}', b'{"id":"a","who":"b","why":"c","at_ms":[]}',
     b'{"id":"a","who":"b","why":"c","at_ms":1e999}', b'{"id":"a","who":"b","why":"c"}'],
)  # fmt: skip
def test_a_tombstone_that_cannot_be_read_forbids_too(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.json"
    path.write_bytes(content)
    assert read(path) == Tombstone(UNREADABLE, "unknown", f"{path} cannot be read", 0)


def test_a_directory_in_its_place_forbids_too(tmp_path: Path) -> None:
    stone = read(tmp_path)
    assert stone is not None
    assert stone.id == UNREADABLE


def test_a_person_is_named_with_host_process_and_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert who_am_i().startswith(f"{getpass.getuser()}@{socket.gethostname()}/{os.getpid()}/")
    monkeypatch.setattr(os, "getuid", lambda: 987_654)
    assert who_am_i().startswith("987654@")
