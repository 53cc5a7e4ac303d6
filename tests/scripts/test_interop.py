"""scripts/interop from the outside: what it needs, what it prints, and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import netns, stock

PROJECT = Path(__file__).resolve().parents[2]
SCRIPTS = PROJECT / "scripts"
PATHS = os.pathsep.join(map(str, (SCRIPTS, PROJECT / "tests", PROJECT)))


def interop(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(SCRIPTS / "interop.py"), *arguments],
        env={**os.environ, "PYTHONPATH": PATHS, **env},
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


def test_help_shows_an_example() -> None:
    done = interop("--help")
    assert done.returncode == 0
    assert "example: scripts/interop" in done.stdout


def test_without_stock_programs_it_says_what_is_missing() -> None:
    done = interop(XMESH_STOCK_SYM="", XMESH_STOCK_RELAY="")
    assert done.returncode == 2
    assert "XMESH_STOCK_SYM names no checkout of sym" in done.stderr
    assert done.stdout == ""


@pytest.mark.timeout(120)
def test_everything_over_a_relay_is_shown_as_json() -> None:
    reason = stock.unavailable(stock.SYM, stock.RELAY) or netns.unavailable()
    if reason:
        pytest.skip(reason)
    done = interop("--over", "relay", "--json")
    rows = json.loads(done.stdout)
    assert [row for row in rows if not row["ok"]] == []
    assert done.returncode == 0
    assert {row["over"] for row in rows} == {"relay"}
    assert all(row["by"] for row in rows)
