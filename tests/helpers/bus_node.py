"""A small node in a process of its own: it publishes and stores, and survives being killed.

    python -m helpers.bus_node ROOT NAME     (with tests/ on the path)

Its store is ``ROOT/NAME.db``. An emit is written to ``outbox`` first and to ``returned`` when the
bus has accepted it. Received records and the position are written in one transaction; ``times``
counts how often the client handed a record over.
"""

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from helpers.bus import GROUP, new_assertion

from xmesh_mesh.bus.client import BusClient, Delivery
from xmesh_mesh.identity import load_or_create
from xmesh_mesh.introduction import introduce
from xmesh_mesh.paths import RuntimeDir

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (assertion TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS returned (assertion TEXT PRIMARY KEY, seq INTEGER);
CREATE TABLE IF NOT EXISTS received (assertion TEXT PRIMARY KEY, seq INTEGER, times INTEGER);
CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY, epoch TEXT, seq INTEGER);
"""
TALK = "talk"


class Store:
    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None, timeout=5)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.db.executescript(SCHEMA)

    def position(self) -> tuple[str, int] | None:
        row = self.db.execute("SELECT epoch, seq FROM position").fetchone()
        return None if row is None else (row[0], row[1])

    def move(self, epoch: str, seq: int) -> None:
        self.db.execute("INSERT OR REPLACE INTO position VALUES (1, ?, ?)", (epoch, seq))

    def keep(self, delivery: Delivery) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute(
            "INSERT INTO received VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET times = times + 1",
            (delivery.assertion, delivery.seq),
        )
        self.move(delivery.epoch, delivery.seq)
        self.db.execute("COMMIT")

    def intend(self, assertion: str) -> None:
        self.db.execute("INSERT INTO outbox VALUES (?)", (assertion,))

    def unreturned(self) -> list[str]:
        sql = "SELECT assertion FROM outbox WHERE assertion NOT IN (SELECT assertion FROM returned)"
        return [row[0] for row in self.db.execute(sql)]

    def returned(self, assertion: str, seq: int) -> None:
        self.db.execute("INSERT OR IGNORE INTO returned VALUES (?, ?)", (assertion, seq))


async def live(root: Path, name: str) -> None:
    runtime = RuntimeDir(root)
    identity = load_or_create(runtime.identity(name), name)
    intro = introduce(identity, GROUP, implementation="test", now_ms=time.time_ns() // 1_000_000)
    store = Store(root / f"{name}.db")
    client = BusClient(runtime.bus_socket, intro, position=store.position)
    welcome = await client.connect(30)
    store.move(welcome.epoch, welcome.cursor)
    print("joined", flush=True)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(receive(client, store))
        for _ in range(2):
            tasks.create_task(publish(client, store, root / TALK))


async def receive(client: BusClient, store: Store) -> None:
    async for delivery in client.deliveries():
        store.keep(delivery)
        client.ack(delivery.seq)


async def publish(client: BusClient, store: Store, talk: Path) -> None:
    """Send what an earlier life left; then new emits for as long as the file ``talk`` is there."""
    for assertion in store.unreturned():
        store.returned(assertion, await client.publish(assertion, assertion.encode()))
    while True:
        await asyncio.sleep(random.uniform(0, 0.01))
        if not talk.exists():  # noqa: ASYNC240 - a stat, in a test
            continue
        assertion = new_assertion()
        store.intend(assertion)
        store.returned(assertion, await client.publish(assertion, assertion.encode() * 20))


class NodeProcess:
    """A node to start, kill and start again; ``returned`` and ``received`` read its store."""

    def __init__(self, runtime: RuntimeDir, name: str) -> None:
        self.runtime = runtime
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        tests = str(Path(__file__).parents[1])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "helpers.bus_node", str(self.runtime.root), self.name],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([tests, str(Path(tests).parent)])},
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        if wait:
            assert self.process.stdout.readline() == b"joined\n"

    def kill(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def returned(self) -> set[str]:
        return {row[0] for row in self._rows("SELECT assertion FROM returned")}

    def received(self) -> dict[str, int]:
        return dict(self._rows("SELECT assertion, times FROM received"))

    def unreturned(self) -> int:
        return len(self._rows("SELECT 1 FROM outbox")) - len(self.returned())

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        path = self.runtime.root / f"{self.name}.db"
        with contextlib.closing(sqlite3.connect(path, timeout=5)) as db:
            return db.execute(sql).fetchall()


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), sys.argv[2]))
