"""Chaos: kill -9 the bus and the peers at random under load, then let ``check.py`` count.

    python tests/chaos/driver.py --kills 200 [--seed N]

A bus and three rehearsal peers are started as processes and started again whenever they die. Two
emitters in this process publish without pause; each acknowledged emit is written to a file. Half
of the kills come within 5 ms of an acknowledgement, which is when the bus has just committed and
the peers are about to; the others at random moments. At the end everything comes to rest, is
stopped, and the stores are checked by a program of its own.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from xmesh_mesh.bus.client import BusClient, status
from xmesh_mesh.errors import BusError
from xmesh_mesh.identity import create_identity
from xmesh_mesh.introduction import introduce
from xmesh_mesh.paths import RuntimeDir
from xmesh_mesh.record import compose, encode
from xmesh_mesh.signing import assertion_id, sign
from xmesh_peer.config import load
from xmesh_peer.plan import resolve

GROUP = "chaos"
ROLES = ("writer", "reviewer", "test-writer")
EMITS_PER_S = 48
TASK_EVERY = 12
CLOSE_S = 0.005
REST_TIMEOUT_S = 90.0

CONFIG = """
[identity]
name = "{role}-01"
role = "{role}"
[mesh]
group = "{group}"
lan = false
[model]
adapter = "rehearsal"
[budget]
max_wakes_per_minute = 1000000
max_wakes_per_hour = 1000000
max_wakes_per_day = 1000000
"""


@dataclass
class Child:
    """A process that is started again whenever it is gone."""

    name: str
    command: list[str]
    env: dict[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    kills: int = 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.env, stderr=log, stdin=subprocess.DEVNULL
            )

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> bool:
        """Kill it if it runs; return whether it did."""
        if self.process is None or not self.runs():
            return False
        self.process.kill()
        self.process.wait()
        self.kills += 1
        return True

    def stop(self) -> int:
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@dataclass
class Load:
    """What the emitters have done; ``committed`` is set anew at each acknowledgement."""

    returned: Path
    emits: int = 0
    acknowledged_at: float = 0.0
    committed: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, assertion: str) -> None:
        self.emits += 1
        self.acknowledged_at = time.monotonic()
        with self.returned.open("a") as file:
            file.write(assertion + "\n")
        self.committed.set()
        self.committed.clear()


async def emit_forever(root: RuntimeDir, number: int, load: Load, rng: random.Random) -> None:
    """Publish without pause: as number 1 a task now and then that wakes the peers, else items
    of no concern to them. Whoever brings tasks is listened to, so nobody brings both."""
    identity = create_identity(f"emitter-{number}", time.time_ns() // 1_000_000)
    introduction = introduce(identity, GROUP, implementation="chaos", now_ms=_now_ms())
    client = BusClient(root.bus_socket, introduction, role="publisher")
    await client.connect(30)
    count = 0
    try:
        while True:
            count += 1
            texts = {"focus": f"bell {number}-{count} rings over the harbour", "mood": "steady"}
            if number == 1:
                texts = {
                    "focus": f"endpoint {number}-{count}",
                    "intent": "draft a spec, review it, add tests",
                }
            record = compose(texts, created_by=identity.name, created_ms=_now_ms(), group=GROUP)
            signed = sign(record, identity.seed)
            assertion = assertion_id(signed)
            await client.publish(assertion, encode(signed))
            load.note(assertion)
            await asyncio.sleep(
                rng.uniform(0, 2 / EMITS_PER_S) * (TASK_EVERY if number == 1 else 1)
            )
    finally:
        await client.close()


async def revive(children: list[Child]) -> None:
    while True:
        for child in children:
            if not child.runs():
                child.start()
        await asyncio.sleep(0.01)


async def kill_at_random(children: list[Child], load: Load, kills: int, rng: random.Random) -> int:
    """Kill so often; return how many kills came within 5 ms of an acknowledgement."""
    close = done = 0
    while done < kills:
        await asyncio.sleep(rng.uniform(0.2, 0.9))
        if 2 * close <= done:
            await load.committed.wait()
            time.sleep(rng.uniform(0, 0.003))  # noqa: ASYNC251 - a timer of the loop is too coarse
        victim = rng.choice([child for child in children if child.runs()] or children)
        moment = time.monotonic()
        if victim.kill():
            done += 1
            close += moment - load.acknowledged_at <= CLOSE_S
    return close


async def rest(root: RuntimeDir) -> None:
    """Wait until every peer is connected, has everything, and has nothing left to do."""
    deadline = time.monotonic() + REST_TIMEOUT_S
    calm = 0
    while calm < 3:
        if time.monotonic() > deadline:
            raise SystemExit(
                f"the mesh did not come to rest in {REST_TIMEOUT_S:.0f} s: {_snapshot(root)}"
            )
        calm = calm + 1 if _is_calm(root) else 0
        await asyncio.sleep(0.2)


def _is_calm(root: RuntimeDir) -> bool:
    try:
        members = status(root.bus_socket).members
    except BusError:
        return False
    peers = [_ask(root, f"{role}-01") for role in ROLES]
    busy = any(
        p is None or p["outbox"] or p["wakes"]["queued"] or p["wakes"]["running"] for p in peers
    )
    return not busy and all(m.connected and not m.pending for m in members)


def _ask(root: RuntimeDir, name: str) -> dict | None:
    import socket

    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(str(root.peer_socket(name)))
            connection.sendall(b'{"cmd":"status"}\n')
            return json.loads(connection.makefile().readline())
    except (OSError, ValueError):
        return None


def _snapshot(root: RuntimeDir) -> str:
    try:
        return f"{status(root.bus_socket).members} {[_ask(root, f'{role}-01') for role in ROLES]}"
    except BusError as error:
        return str(error)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def make_children(root: RuntimeDir) -> list[Child]:
    env = {**os.environ, "XMESH_RUNTIME_DIR": str(root.root)}
    logs = root.root / "logs"
    logs.mkdir()
    children = [
        Child("bus", [sys.executable, "-m", "xmesh_mesh.bus.broker"], env, logs / "bus.log")
    ]
    for role in ROLES:
        path = root.root / f"{role}.toml"
        path.write_text(CONFIG.format(role=role, group=GROUP))
        plan = resolve(load(path), path, {}, terminal=True)
        peer_env = {**env, "XMESH_PLAN": msgspec.json.encode(plan).decode(), "XMESH_RUN": "chaos"}
        command = [sys.executable, "-m", "xmesh_peer.main"]
        children.append(Child(f"{role}-01", command, peer_env, logs / f"{role}-01.log"))
    return children


async def run(root: RuntimeDir, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    load = Load(root.root / "returned.txt")
    children = make_children(root)
    began = time.monotonic()
    reviving = asyncio.create_task(revive(children))
    try:
        await _members_joined(root)
        emitting = [
            asyncio.create_task(emit_forever(root, n, load, random.Random(seed + n)))
            for n in (1, 2)
        ]
        started = time.monotonic()
        close = await kill_at_random(children, load, kills, rng)
        took = time.monotonic() - started
        returned = f"{load.emits} emits returned, {load.emits / took:.1f}/s"
        for task in emitting:
            task.cancel()
        await asyncio.gather(*emitting, return_exceptions=True)
        await rest(root)
    finally:
        reviving.cancel()
        codes = {child.name: child.stop() for child in reversed(children)}
    per_child = ", ".join(f"{child.name} {child.kills}" for child in children)
    print(f"{kills} kills ({per_child}), {close} within 5 ms of a commit")
    print(f"{returned}; {time.monotonic() - began:.0f} s in all; exits {codes}")


async def _members_joined(root: RuntimeDir) -> None:
    """Wait until all three are living members: the promise begins there."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(BusError):
            if len(status(root.bus_socket, 0.5).members) == len(ROLES):
                return
        await asyncio.sleep(0.05)
    raise SystemExit("the peers did not join")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--keep", action="store_true", help="keep the stores and logs")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    root = RuntimeDir(Path(tempfile.mkdtemp(prefix="xm-chaos-", dir="/tmp"))).ensure()
    try:
        asyncio.run(run(root, arguments.kills, arguments.seed))
        check = Path(__file__).with_name("check.py")
        return subprocess.run([sys.executable, str(check), str(root.root)], check=False).returncode
    finally:
        if arguments.keep:
            print(f"kept: {root.root}")
        else:
            shutil.rmtree(root.root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
