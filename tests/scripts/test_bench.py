"""scripts/bench from the outside: what it prints, and that it leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench.py"
PARTS = {
    "ready", "wake", "answer", "bus", "emit", "admission", "context", "memory", "cpu", "ps", "kill",
    "wire", "gateway",
}  # fmt: skip
KEYS = {"part", "what", "value", "unit", "low", "high", "samples", "to_beat", "ratio"}


def bench(directory: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start it with ``directory`` for whatever it writes."""
    return subprocess.Popen(
        [sys.executable, str(BENCH), *arguments],
        env={**os.environ, "TMPDIR": str(directory)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_of(directory: Path) -> list[psutil.Process]:
    """Return every process that works below ``directory``."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(directory) in process.environ().get("XMESH_RUNTIME_DIR", ""):
                found.append(process)
        except psutil.Error:
            continue
    return found


def check_figures(figures: list[dict[str, Any]]) -> None:
    for figure in figures:
        assert set(figure) == KEYS
        assert figure["value"] >= 0
        assert figure["samples"] >= 1
        assert (figure["ratio"] is None) >= (figure["to_beat"] is None)


@pytest.mark.timeout(120)
def test_one_part_as_json_has_its_figures_and_leaves_no_process_and_no_directory(
    runtime_dir: Any,
) -> None:
    process = bench(runtime_dir.root, "--part", "ps", "--json")
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    document = json.loads(output)
    assert document["failed"] == {}
    assert {figure["part"] for figure in document["figures"]} == {"ps"}
    check_figures(document["figures"])
    assert [line.startswith("bench: ") for line in errors.splitlines()] == [True, True]
    assert list(runtime_dir.root.iterdir()) == []
    assert processes_of(runtime_dir.root) == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_process_and_no_directory(
    runtime_dir: Any, number: signal.Signals
) -> None:
    process = bench(runtime_dir.root, "--part", "cpu")
    deadline = time.monotonic() + 30
    while len(processes_of(runtime_dir.root)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    output, _ = process.communicate(timeout=25)
    assert process.returncode == 130
    assert output == ""
    assert list(runtime_dir.root.iterdir()) == []
    assert processes_of(runtime_dir.root) == []


def test_help_shows_an_example(tmp_path: Path) -> None:
    process = bench(tmp_path, "--help")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "example: scripts/bench" in output


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_parts_give_figures(runtime_dir: Any) -> None:
    process = bench(runtime_dir.root, "--json")
    output, errors = process.communicate(timeout=590)
    assert process.returncode == 0, errors
    document = json.loads(output)
    assert {figure["part"] for figure in document["figures"]} == PARTS
    check_figures(document["figures"])
    assert [figure["what"] for figure in document["figures"] if figure["to_beat"]]
    assert list(runtime_dir.root.iterdir()) == []
