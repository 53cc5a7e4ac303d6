"""The log: one JSON object a line, with a sentence for people, and no way to end the peer."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from xmesh_peer.log import Log
from xmesh_peer.settings import Logging

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def in_process(code: str, *arguments: str, stderr: Any = subprocess.PIPE) -> tuple[int, str]:
    """Run ``code`` with a Log of its own at hand; return its exit code and stderr."""
    head = (
        "import os, sys; from xmesh_peer.log import Log\n"
        "from xmesh_peer.settings import Logging\n"
        "path = sys.argv[1]\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", head + code, *arguments],
        stderr=stderr,
        env=ENVIRONMENT,
        text=True,
        check=False,
    )
    return found.returncode, found.stderr


def test_each_line_is_an_object_with_time_level_event_peer_and_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = Log("w-01", Logging())
    log.info("woke", "wakes on\ncmb-1a2b \u2014 now", key="cmb-1")
    log.warning("refused", "refused it")
    log.error("ends", "it ends", exit_code=80)
    found = lines(capsys.readouterr().err)
    assert [entry["level"] for entry in found] == ["info", "warning", "error"]
    assert [entry["event"] for entry in found] == ["woke", "refused", "ends"]
    assert found[0]["text"] == "wakes on\ncmb-1a2b \u2014 now"
    assert (found[0]["key"], found[2]["exit_code"]) == ("cmb-1", 80)
    for entry in found:
        assert entry["peer"] == "w-01"
        told = datetime.fromisoformat(entry["ts"])
        assert abs(datetime.now(UTC) - told) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warn", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_lines_below_the_level_are_not_written(
    level: Any, written: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log("w-01", Logging(level=level))
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("event", name)
    assert [entry["text"] for entry in lines(capsys.readouterr().err)] == written


@pytest.mark.parametrize(("name", "kept"), [("info", True), ("warning", True), ("error", True),
    ("debug", False)])  # fmt: skip
def test_the_last_sentence_is_remembered_but_for_details(name: str, kept: bool) -> None:
    log = Log("w-01", Logging(level="error"))
    assert log.last == ""
    getattr(log, name)("event", "a sentence")
    assert log.last == ("a sentence" if kept else "")


def test_whatever_is_logged_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log("w-01", Logging())
    hostile = 'x"\n\r\u2028\x1b[2J\ud800{}%s'
    log.info("event", hostile, thing=object(), name=hostile)
    found = lines(capsys.readouterr().err)
    assert (found[0]["text"], found[0]["name"]) == (hostile, hostile)


def test_two_logs_keep_their_own_names_and_levels(capsys: pytest.CaptureFixture[str]) -> None:
    one, other = Log("one", Logging(level="debug")), Log("other", Logging(level="error"))
    one.debug("e", "a")
    other.info("e", "b")
    one.info("e", "c")
    found = [(entry["peer"], entry["text"]) for entry in lines(capsys.readouterr().err)]
    assert found == [("one", "a"), ("one", "c")]


def test_a_file_of_its_own_gets_the_same_lines(tmp_path: Path) -> None:
    path = tmp_path / "new" / "w.log"
    code, err = in_process(
        "log = Log('w-01', Logging(file_path=path))\n"
        "for text in ('one', 'zw\u00f6lf'): log.info('e', text)",
        str(path),
    )
    assert code == 0, err
    assert path.read_text() == err
    assert [entry["text"] for entry in lines(err)] == ["one", "zw\u00f6lf"]


def test_home_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "HOME", str(tmp_path))
    in_process("Log('w-01', Logging(file_path=path)).info('e', 'one')", "~/w.log")
    assert len(lines((tmp_path / "w.log").read_text())) == 1


def test_the_file_is_rotated_and_old_ones_go(tmp_path: Path) -> None:
    path = tmp_path / "w.log"
    code, err = in_process(
        "log = Log('w-01', Logging(file_path=path, max_file_size=1024, keep=2))\n"
        "for n in range(60): log.info('e', f'line {n}')",
        str(path),
    )
    assert code == 0, err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["w.log", "w.log.1", "w.log.2"]
    assert all(0 < file.stat().st_size <= 1024 for file in tmp_path.iterdir())
    newest = lines(path.read_text())
    assert newest[-1]["text"] == "line 59"
    assert len(lines(err)) == 60


@pytest.mark.parametrize("place", ["file/below/w.log", "directory", "~nobody-of-this-name/w.log"])
def test_a_file_that_cannot_be_opened_is_told_and_ends_nothing(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    path = place if place.startswith("~") else str(tmp_path / place)
    code, err = in_process("Log('w-01', Logging(file_path=path)).info('e', 'one')", path)
    assert code == 0, err
    told = lines(err)
    assert [entry["event"] for entry in told] == ["no-log-file", "e"]
    assert told[0]["level"] == "warning"
    assert "[logging] file_path" in told[0]["text"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_disk_that_is_full_ends_nothing_and_prints_no_traceback() -> None:
    code, err = in_process(
        "log = Log('w-01', Logging(file_path=path))\nfor n in range(3): log.info('e', 'one')",
        "/dev/full",
    )
    assert len(lines(err)) == 3
    with Path("/dev/full").open("w") as full:
        code, _ = in_process(
            "log = Log('w-01', Logging())\nfor n in range(3): log.info('e', 'one')\n"
            "os._exit(0 if log.last == 'one' else 1)",
            "",
            stderr=full,
        )
    assert code == 0


def test_a_file_that_cannot_be_rotated_loses_lines_and_ends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w.log"
    (tmp_path / "w.log.1" / "in the way").mkdir(parents=True)
    code, err = in_process(
        "log = Log('w-01', Logging(file_path=path, max_file_size=1024, keep=1))\n"
        "for n in range(40): log.info('e', f'line {n}')",
        str(path),
    )
    assert code == 0
    assert len(lines(err)) == 40
