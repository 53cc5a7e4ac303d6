"""A host of its own: runtime directory, home, a real bus, peers on it, and a gateway."""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec
from helpers import netns
from helpers.bus import BusProcess

from xmesh_mesh.bus.client import BusClient, Delivery
from xmesh_mesh.canonical import b64u
from xmesh_mesh.gateway.service import Gateway
from xmesh_mesh.gateway.store import Store
from xmesh_mesh.identity import Identity, create_identity, uuid7
from xmesh_mesh.introduction import Introduction, introduce
from xmesh_mesh.paths import OPERATOR, RuntimeDir
from xmesh_mesh.record import Record, compose, decode, encode
from xmesh_mesh.signing import assertion_id, sign, sign_bytes
from xmesh_mesh.wire import frames, records
from xmesh_mesh.wire.codec import FrameReader, pack
from xmesh_mesh.wire.secure import Role, proof_payload

GROUP = "lab"
LOOPBACK = "127.0.0.1"


async def until(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
    """Wait until ``condition`` holds, and return what it says; AssertionError otherwise."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.01)
    return found


def identity_between(name: str, first: str = "0") -> Identity:
    """Return an identity whose node id begins with this digit: ids decide who dials."""
    made = create_identity(name, time.time_ns() // 1_000_000)
    node_id = first + made.node_id[1:]
    return Identity(node_id, name, made.public_key, made.seed, made.created_ms)


class Peer:
    """A member of a bus that signs and keeps what it is given; no agent."""

    def __init__(self, bus: BusProcess, identity: Identity, group: str = GROUP) -> None:
        self.identity = identity
        self.group = group
        self.got: list[Delivery] = []
        self.proofs = 0
        now = time.time_ns() // 1_000_000
        self.client = BusClient(
            bus.socket,
            introduce(identity, group, implementation="xmesh", now_ms=now),
            prove=self._prove,
        )
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> Self:
        await self.client.connect()
        self._reader = asyncio.create_task(self._read())
        return self

    async def stop(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await self.client.close()

    async def say(self, focus: str, *, to: str | None = None) -> Record:
        record = self.record(focus, to=to)
        await self.publish(record)
        return record

    async def publish(self, record: Record) -> None:
        await self.client.publish(assertion_id(record), encode(record), record.to)

    def record(self, focus: str, *, to: str | None = None, padding: int = 0) -> Record:
        """Return a signed record; ``padding``: bytes in each of four more fields."""
        long = dict.fromkeys(("issue", "intent", "motivation", "perspective"), "x" * padding)
        unsigned = compose(
            {"focus": focus, **long},
            created_by=self.identity.name,
            created_ms=time.time_ns() // 1_000_000,
            group=self.group,
            to=to,
        )
        return sign(unsigned, self.identity.seed)

    @property
    def heard(self) -> list[str]:
        """Return the focus of each record that came."""
        return [decode(each.record).text("focus") for each in self.got]

    @property
    def met(self) -> dict[str, Introduction]:
        """Return the remotes that were introduced, by name."""
        members = self.client.members.values()
        return {each.name: each for each in members if each.origin == "remote"}

    def _prove(self, role: Role, transcript: bytes) -> str:
        self.proofs += 1
        return b64u(sign_bytes(proof_payload(role, transcript), self.identity.seed))

    async def _read(self) -> None:
        async for delivery in self.client.deliveries():
            self.got.append(delivery)
            self.client.ack(delivery.seq)


class Host:
    """One machine's worth. ``home`` may be another host's: then they share a registry.

    ``net``: the network namespace that a gateway's process runs in; loopback otherwise.
    """

    def __init__(self, home: Path | None = None, net: netns.Host | None = None) -> None:
        self.net = net
        self.root = Path(tempfile.mkdtemp(prefix="xg-", dir="/tmp"))
        self.runtime = RuntimeDir(self.root / "r").ensure()
        self.home = home or self.root / "home"
        self.home.mkdir(exist_ok=True)
        self.bus = BusProcess(self.runtime)
        self.peers: dict[str, Peer] = {}
        self.log: list[tuple[str, str, str]] = []
        self.gateway: Gateway | None = None
        self.process: asyncio.subprocess.Process | None = None
        self._store: Store | None = None
        self._task: asyncio.Task[None] | None = None
        self._plan: dict[str, Any] = {"peers": []}
        self.operator = create_identity(OPERATOR, time.time_ns() // 1_000_000)

    async def __aenter__(self) -> Self:
        self.bus.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_gateway()
        for peer in self.peers.values():
            await peer.stop()
        self.bus.__exit__(None, None, None)
        shutil.rmtree(self.root, ignore_errors=True)

    async def observe(self, focus: str, *, to: str | None = None, group: str = GROUP) -> Record:
        """Say something as this host's operator does: a publisher that comes and goes."""
        now = time.time_ns() // 1_000_000
        introduction = introduce(self.operator, group, implementation="xmesh", now_ms=now)
        record = signed(self.operator, focus, group=group, to=to)
        client = BusClient(self.bus.socket, introduction, role="publisher")
        await client.connect()
        await client.publish(assertion_id(record), encode(record), to)
        await client.close()
        return record

    async def peer(self, name: str, first: str = "0", group: str = GROUP) -> Peer:
        peer = await Peer(self.bus, identity_between(name, first), group).start()
        self.peers[name] = peer
        return peer

    def plan(self, **options: Any) -> dict[str, Any]:
        """Return a plan for all peers with the same options."""
        rows = [
            {"name": name, "group": peer.group, "lan": True} | options
            for name, peer in self.peers.items()
        ]
        self._plan = {"cmd": "plan", "peers": rows}
        return self._plan

    async def start_gateway(self, **options: Any) -> Gateway:
        """Run a gateway in this process."""
        self._store = Store.open(self.runtime.gateway_db)
        self.gateway = Gateway(
            self.runtime, self._store, self._say, home=self.home, addresses=(LOOPBACK,)
        )
        self._task = asyncio.create_task(self.gateway.run())
        self.gateway.apply(self.plan(**options))
        return self.gateway

    async def stop_gateway(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._store is not None:
            self._store.close()
            self._store = None
        self.gateway = None

    async def start_process(self, **options: Any) -> None:
        """Run ``xmesh-gateway`` as a process, and give it its plan."""
        reader, writer = os.pipe()
        environment = os.environ | {
            "XMESH_RUNTIME_DIR": str(self.runtime.root),
            "XMESH_LAN_ADDRESSES": "" if self.net else LOOPBACK,
            "XMESH_READY_FD": str(writer),
            "HOME": str(self.home),
        }
        with (self.root / "gateway.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._command(sys.executable, "-m", "xmesh_mesh.gateway.main"),
                env=environment,
                pass_fds=(writer,),
                stderr=log,
            )
        os.close(writer)
        said = await asyncio.to_thread(os.read, reader, 16)
        os.close(reader)
        assert said == b"ready\n", (self.root / "gateway.log").read_text()
        assert await self.ask(self.plan(**options)) == {"ok": True}

    def _command(self, *argv: str) -> list[str]:
        return self.net.command(*argv) if self.net else list(argv)

    async def kill_process(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        path = self.runtime.gateway_socket
        reader, writer = await asyncio.open_unix_connection(path, limit=2**22)
        writer.write(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        return answer

    async def links(self) -> dict[str, Any]:
        """Return the peers of a gateway process by the remote's name."""
        status = await self.ask({"cmd": "status"})
        return {row["name"]: row for row in status["peers"]}

    def rows(self) -> dict[str, Any]:
        """Return the gateway's peers by the remote's name."""
        assert self.gateway is not None
        return {row["name"]: row for row in self.gateway.status()["peers"]}

    def endpoint(self, name: str) -> dict[str, Any]:
        assert self.gateway is not None
        found = [row for row in self.gateway.status()["endpoints"] if row["name"] == name]
        return found[0] if found else {}

    async def wired(self, name: str) -> dict[str, Any]:
        """Return the endpoint of a peer once it listens on the LAN."""
        await until(lambda: self.endpoint(name).get("secure_port"), f"{name} on the wire")
        return self.endpoint(name)

    def said(self, event: str) -> list[str]:
        return [text for _, kind, text in self.log if kind == event]

    def _say(self, level: str, event: str, text: str) -> None:
        self.log.append((level, event, text))


def signed(identity: Identity, focus: str, *, group: str = GROUP, to: str | None = None) -> Record:
    """Return a record as its author signs it."""
    now = time.time_ns() // 1_000_000
    unsigned = compose(
        {"focus": focus}, created_by=identity.name, created_ms=now, group=group, to=to
    )
    return sign(unsigned, identity.seed)


def new_node_id() -> str:
    return uuid7(time.time_ns() // 1_000_000)


class Raw:
    """Somebody on a plain TCP connection who may say anything: how deployed nodes speak."""

    def __init__(self, identity: Identity, group: str = GROUP) -> None:
        self.identity = identity
        self.group = group
        self.frames: list[frames.Frame | frames.Unknown] = []
        self.closed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def connect(self, port: int, *, read: bool = True) -> Self:
        self._reader, self.writer = await asyncio.open_connection(LOOPBACK, port)
        if read:
            self._task = asyncio.create_task(self._read())
        return self

    async def greet(self, port: int, **changes: Any) -> Self:
        """Connect, and return once the handshake was answered."""
        await self.connect(port)
        self.send(self.handshake(**changes))
        await until(lambda: self.frames or self.closed.is_set(), "an answer")
        return self

    def handshake(self, **changes: Any) -> frames.Handshake:
        values: dict[str, Any] = {
            "node_id": self.identity.node_id,
            "name": self.identity.name,
            "version": "0.2.3",
            "extensions": [],
            "room": self.group,
            "public_key": b64u(self.identity.public_key),
            "lifecycle_role": "participant",
        }
        return frames.Handshake(**(values | changes))

    def send(self, *said: frames.Frame) -> None:
        for frame in said:
            self.writer.write(pack(msgspec.json.encode(frame)))

    def record(self, focus: str, **changes: Any) -> Record:
        """Return a record, signed as this node would."""
        values: dict[str, Any] = {
            "created_by": self.identity.name,
            "created_ms": time.time_ns() // 1_000_000,
            "group": self.group,
        }
        return sign(compose({"focus": focus}, **(values | changes)), self.identity.seed)

    def say(self, focus: str, **changes: Any) -> None:
        self.send(records.cmb(self.record(focus, **changes)))

    def of(self, kind: type[frames.Frame]) -> list[Any]:
        return [each for each in self.frames if isinstance(each, kind)]

    def focus(self) -> list[str]:
        """Return the focus of each record that came."""
        return [records.record_of(each.cmb).text("focus") for each in self.of(frames.Cmb)]

    async def close(self) -> None:
        self.writer.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        reader = FrameReader()
        try:
            while data := await self._reader.read(65_536):
                self.frames += [frames.decode(payload) for payload in reader.receive(data)]
        except ConnectionError:
            pass
        finally:
            self.closed.set()
