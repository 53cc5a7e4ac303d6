"""A made-up clock, and small programs that use a spend ledger from processes of their own."""

import subprocess
import sys
from pathlib import Path

from xmesh_peer.safety.budgets import Caps
from xmesh_peer.safety.ledger import Account
from xmesh_peer.safety.ledger_time import Reading

PLENTY = 10**12


class FakeClock:
    """A machine's clocks, moved by hand."""

    def __init__(self) -> None:
        self.boot, self.up_ms, self.wall_ms = "boot-a", 1_000, 1_700_000_000_000

    def __call__(self) -> Reading:
        return Reading(self.boot, self.up_ms, self.wall_ms)

    def pass_ms(self, span_ms: int) -> None:
        """Let time pass, as both clocks see it."""
        self.up_ms += span_ms
        self.wall_ms += span_ms


def account(peer: str = "writer-01", run: str = "run-1", /, **caps: int) -> Account:
    """Return an account with plenty of everything but what ``caps`` names."""
    names = ("wakes_minute", "wakes_hour", "wakes_day", "run_nano", "hour_nano", "day_nano")
    return Account(peer, run, Caps(**{name: caps.get(name, PLENTY) for name in names}))


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python program that talks over its standard input and output."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": "tests:."},
    )


# Opens the ledger, says so, waits for a line, then reserves `nano` again and again until a cap
# forbids it, and prints how often that went well.
RESERVE_ALL = """
import sys
from pathlib import Path
from helpers.spend import account
from xmesh_peer.safety.ledger import SpendLedger
path, name, cap, nano = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
who, done = account(run_nano=cap), 0
with SpendLedger(path, wait_s=30.0) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    while ledger.reserve(who, f"{name}#{done}", name, nano) is None:
        done += 1
print(done)
"""

# Reserves once, says so, and then waits to be killed.
RESERVE_AND_HANG = """
import sys
from pathlib import Path
from helpers.spend import account
from xmesh_peer.safety.ledger import SpendLedger
with SpendLedger(Path(sys.argv[1])) as ledger:
    ledger.reserve(account(), "w#1", "w", int(sys.argv[2]))
    print("reserved", flush=True)
    sys.stdin.readline()
"""

# Holds the write lock until its standard input ends.
HOLD_LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""
